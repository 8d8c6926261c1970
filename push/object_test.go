package push

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ostree-push/internal/otrepo"
	"ostree-push/internal/ranges"
	"ostree-push/ostree"
	"ostree-push/stream"
)

// largeObject returns a push from a repository of that mode, and the object of its only file, which has so many random
// bytes.
func largeObject(t *testing.T, mode string, size int) (*streamPush, ostree.ObjectName) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	text, err := otrepo.Large(dir, mode, size)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := ostree.ParseChecksum(text)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := ostree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { repo.Close() })
	src := &source{repo: repo, dirs: []string{dir}}
	return &streamPush{src: src}, ostree.ObjectName{Type: ostree.ObjectFile, Sum: sum}
}

// pieces takes an object apart, of which a receiver has a part.
func pieces(t *testing.T, s *streamPush, e ostree.ObjectName, part stream.PartialObject) (all []stream.Data, bodies [][]byte) {
	t.Helper()
	o, err := s.openObject(t.Context(), e, part)
	if err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		var p piece
		if p, more, err = o.next(); err != nil {
			t.Fatal(err)
		}
		if int64(len(p.body)) != p.Length {
			t.Fatalf("%d bytes of %d", len(p.body), p.Length)
		}
		if !p.Last && (p.Length < stream.MinPiece || p.Length > pieceSize) {
			t.Errorf("a piece of %d bytes", p.Length)
		}
		all, bodies = append(all, p.Data), append(bodies, bytes.Clone(p.body))
		p.done()
	}
	return all, bodies
}

// TestObjects takes objects of all kinds apart: the pieces, and what the receiver has, are the object.
func TestObjects(t *testing.T) {
	for _, mode := range []string{"archive", "bare-user"} {
		for _, size := range []int{0, 1, pieceSize - 200, pieceSize, pieceSize + 1, 5*pieceSize + 12345} {
			s, e := largeObject(t, mode, size)
			all, bodies := pieces(t, s, e, stream.PartialObject{})
			whole := bytes.Join(bodies, nil)
			if err := ostree.CheckBytes(e.Type, e.Sum, whole); err != nil {
				t.Errorf("%s, %d: %v", mode, size, err)
			}
			if one := len(whole) <= pieceSize; one != (len(all) == 1) || one && (!all[0].Whole() || all[0].Form != stream.Form{}) {
				t.Errorf("%s, %d: %+v", mode, size, all)
			}
			if size < resumeSize {
				continue
			}
			end := int64(len(whole))
			for _, have := range []ranges.Set{
				setOf(0, 3<<20), setOf(1<<20, 2<<20), setOf(65536, 3*65536, 5<<20, end/65536*65536), setOf(0, end/65536*65536), setOf(0, end),
			} {
				checkRest(t, s, e, whole, stream.PartialObject{Form: all[0].Form, Ranges: have})
			}
			other, _ := pieces(t, s, e, stream.PartialObject{Form: stream.Form{9}, Ranges: setOf(0, 3<<20)})
			if len(other) != len(all) {
				t.Errorf("%s, %d: with a part in another form there are %d pieces, not %d", mode, size, len(other), len(all))
			}
		}
	}
}

// An object that has become shorter is found out before the frame of the piece is sent, within which nothing can be said of it.
func TestObjectCutShort(t *testing.T) {
	s, e := largeObject(t, "archive", 3*pieceSize)
	o, err := s.openObject(t.Context(), e, stream.PartialObject{})
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := o.next()
	if err == nil {
		p.done()
		err = os.Truncate(filepath.Join(s.src.dirs[0], ostree.ArchivePath(e.Type, e.Sum)), pieceSize+1)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, more, err := o.next(); more || err == nil || !strings.Contains(err.Error(), e.Sum.String()) {
		t.Errorf("%v, more: %v", err, more)
	}
}

// checkRest has just that sent which the receiver does not have.
func checkRest(t *testing.T, s *streamPush, e ostree.ObjectName, whole []byte, part stream.PartialObject) {
	t.Helper()
	got := make([]byte, len(whole))
	for _, r := range part.Ranges {
		copy(got[r.Start:r.End], whole[r.Start:r.End])
	}
	all, bodies := pieces(t, s, e, part)
	for i, p := range all {
		if part.Ranges.Overlaps(p.Range()) {
			t.Errorf("with %v, %v is sent", part.Ranges, p.Range())
		}
		copy(got[p.Offset:], bodies[i])
	}
	last := all[len(all)-1]
	if !bytes.Equal(got, whole) || !last.Last || last.Range().End != int64(len(whole)) {
		t.Errorf("with %v, the pieces %+v are not the rest", part.Ranges, all)
	}
}

// setOf returns the ranges with these bounds, in pairs.
func setOf(bounds ...int64) (s ranges.Set) {
	for i := 0; i < len(bounds); i += 2 {
		s.Add(ranges.Range{Start: bounds[i], End: bounds[i+1]})
	}
	return s
}
