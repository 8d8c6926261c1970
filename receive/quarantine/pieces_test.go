package quarantine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"ostree-push/internal/otrepo"
	"ostree-push/internal/ranges"
	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
)

var form = [16]byte{1}

// largeObject returns a content object with so many random bytes.
func largeObject(t *testing.T, size int) (e ostree.ObjectName, data []byte) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	text, err := otrepo.Large(dir, "archive", size)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := ostree.ParseChecksum(text)
	if err == nil {
		data, err = os.ReadFile(filepath.Join(dir, ostree.ArchivePath(ostree.ObjectFile, sum)))
	}
	if err != nil {
		t.Fatal(err)
	}
	return ostree.ObjectName{Type: ostree.ObjectFile, Sum: sum}, data
}

// put brings a piece.
func put(t *testing.T, p *quarantine.Pieces, data []byte, start, end int, last bool) {
	t.Helper()
	r := ranges.Range{Start: int64(start), End: int64(end)}
	if err := p.Claim(r, form, last); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Writer(r).Write(data[start:end]); err != nil {
		t.Fatal(err)
	}
}

func newPieces(t *testing.T, q *quarantine.Quarantine, e ostree.ObjectName) *quarantine.Pieces {
	t.Helper()
	p, err := q.NewPieces(e, form)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Pieces come in any order, while the object is checked.
func TestPieces(t *testing.T) {
	const size = 2 << 20
	e, data := largeObject(t, size)
	damaged := bytes.Clone(data)
	damaged[size/2]++
	// One that says that it has a header of 2 MiB is checked when it is there.
	header := bytes.Clone(data)
	binary.BigEndian.PutUint32(header, 2<<20)
	for _, test := range []struct {
		name  string
		data  []byte
		order []int // of pieces of 64 KiB
		fault bool
	}{
		{"in order", data, nil, false},
		{"backwards", data, []int{-1}, false},
		{"damaged", damaged, nil, true},
		{"damaged backwards", damaged, []int{-1}, true},
		{"with a header that is no such", header, nil, true},
	} {
		q := newQuarantine(t, newTarget(t))
		p := newPieces(t, q, e)
		checked := make(chan error, 1)
		go func() { checked <- p.Check(t.Context()) }()
		const step = 64 << 10
		n := (len(test.data) + step - 1) / step
		for i := range n {
			if test.order != nil {
				i = n - 1 - i
			}
			put(t, p, test.data, i*step, min((i+1)*step, len(test.data)), i == n-1)
		}
		if !p.IsWhole() {
			t.Errorf("%s: it is not whole", test.name)
		}
		err := <-checked
		if quarantine.IsFault(err) != test.fault || !test.fault && err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if err == nil {
			err = p.Finish()
		} else {
			err = p.Drop()
		}
		if err != nil || q.Has(e) == test.fault {
			t.Errorf("%s: %v, is there: %v", test.name, err, q.Has(e))
		}
		if left, _ := filepath.Glob(filepath.Join(q.Dir().Name(), "pieces/*")); len(left) > 0 {
			t.Errorf("%s: left are %q", test.name, left)
		}
		q.Remove()
	}
}

// Whoever waits for a piece that does not come is woken up when all is over.
func TestPiecesCancelled(t *testing.T) {
	e, data := largeObject(t, 1<<20)
	for _, begin := range []int{0, 4, 1 << 19} {
		q := newQuarantine(t, newTarget(t))
		p := newPieces(t, q, e)
		errOver := errors.New("it is over")
		ctx, cancel := context.WithCancelCause(t.Context())
		checked := make(chan error, 1)
		go func() { checked <- p.Check(ctx) }()
		put(t, p, data, 0, begin, false)
		cancel(errOver)
		if err := <-checked; !errors.Is(err, errOver) {
			t.Errorf("after %d bytes: %v", begin, err)
		}
		if err := p.Leave(); err != nil {
			t.Error(err)
		}
		q.Remove()
	}
}

// What is left of a large object is taken by the next receive, in whole blocks, and goes on from there.
func TestPiecesResumed(t *testing.T) {
	const k = 1 << 10
	e, data := largeObject(t, 6<<20)
	target := newTarget(t)
	q := newQuarantine(t, target)
	if err := q.MarkResumable(); err != nil {
		t.Fatal(err)
	}
	p := newPieces(t, q, e)
	put(t, p, data, 100*k, 300*k, false)
	put(t, p, data, 1<<20, 6<<20, false)
	if err := p.Leave(); err != nil {
		t.Fatal(err)
	}
	q.Leave()

	for range 2 { // once it is left as it was found
		q = newQuarantine(t, target)
		if err := q.MarkResumable(); err != nil {
			t.Fatal(err)
		}
		left := q.Resume(t.Context())
		if has, err := left.Take(e, 0); has || err != nil {
			t.Errorf("a part is taken for the whole: %v, %v", has, err)
		}
		if p = left.TakePieces(e); p == nil {
			t.Fatal("nothing is left")
		}
		if again := left.TakePieces(e); again != nil {
			t.Error("it is taken twice")
		}
		if _, err := left.Take(e, 1); !quarantine.IsFault(err) {
			t.Errorf("who lists it twice is told %v", err)
		}
		left.Finish()
		var want ranges.Set
		want.Add(ranges.Range{Start: 128 * k, End: 256 * k})
		want.Add(ranges.Range{Start: 1 << 20, End: 6 << 20})
		if got := p.Written(); len(got) != 2 || got[0] != want[0] || got[1] != want[1] || p.Form() != form {
			t.Errorf("what is left is %v in %v, and not %v", got, p.Form(), want)
		}
		if err := p.Leave(); err != nil {
			t.Error(err)
		}
		q.Leave()
	}
	q = newQuarantine(t, target)
	p = q.Resume(t.Context()).TakePieces(e)
	put(t, p, data, 0, 128*k, false)
	put(t, p, data, 256*k, 1<<20, false)
	put(t, p, data, 6<<20, len(data), true)
	if err := p.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := p.Finish(); err != nil || !q.Has(e) {
		t.Error(err)
	}
	q.Remove()
}

// leaveAndTake leaves a part of an object behind, and returns what the next receive takes of it.
func leaveAndTake(t *testing.T, target *ostree.Repo, q *quarantine.Quarantine, p *quarantine.Pieces) (*quarantine.Quarantine, *quarantine.Pieces) {
	t.Helper()
	if err := errors.Join(q.MarkResumable(), p.Leave()); err != nil {
		t.Fatal(err)
	}
	q.Leave()
	q = newQuarantine(t, target)
	left := q.Resume(t.Context())
	next := left.TakePieces(p.ObjectName)
	left.Finish()
	if next == nil {
		t.Fatal("nothing is left")
	}
	return q, next
}

// What had come behind the last whole block is no part of the object: it may have been longer than that is.
func TestPiecesTail(t *testing.T) {
	const k = 1 << 10
	e, data := largeObject(t, 6<<20)
	target := newTarget(t)
	q := newQuarantine(t, target)
	p := newPieces(t, q, e)
	put(t, p, append(data[:6<<20:6<<20], make([]byte, 60*k)...), 0, 6<<20+60*k, false)
	q, p = leaveAndTake(t, target, q, p)
	put(t, p, data, 6<<20, len(data), true)
	if err := errors.Join(p.Check(t.Context()), p.Finish()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(q.Dir().Name(), ostree.ArchivePath(e.Type, e.Sum)))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%v, it has %d bytes, and not %d", err, len(got), len(data))
	}
	q.Remove()
}

// An object that is whole and cannot be put where objects are, such as on a full disk, is left as one of which a part is there.
func TestPiecesUnfinished(t *testing.T) {
	e, data := largeObject(t, 6<<20)
	target := newTarget(t)
	q := newQuarantine(t, target)
	p := newPieces(t, q, e)
	put(t, p, data, 0, len(data), true)
	if err := p.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(q.Dir().Name(), filepath.Dir(ostree.ArchivePath(e.Type, e.Sum)))
	if err := os.WriteFile(dir, nil, 0o644); err != nil { // no directory can be made
		t.Fatal(err)
	}
	if err := p.Finish(); err == nil {
		t.Fatal("it has been put somewhere")
	}
	q, p = leaveAndTake(t, target, q, p)
	if n := p.Written().Len(); n < 6<<20 {
		t.Errorf("%d bytes are left", n)
	}
	p.Leave()
	q.Remove()
}

// A note whose object is whole, and is somewhere else by now, keeps nothing.
func TestPiecesNoteAlone(t *testing.T) {
	e, data := largeObject(t, 6<<20)
	target := newTarget(t)
	q := newQuarantine(t, target)
	p := newPieces(t, q, e)
	put(t, p, data, 0, 6<<20, false)
	dir := q.Dir().Name()
	if err := errors.Join(q.MarkResumable(), p.Leave(), os.Remove(filepath.Join(dir, "pieces", e.String()))); err != nil {
		t.Fatal(err)
	}
	q.Leave()
	if _, err := os.Stat(dir); err == nil {
		t.Error("it is kept")
	}
}

// Where what was left does not fit to what comes, or was wrong, nobody is to blame.
func TestOldPart(t *testing.T) {
	e, data := largeObject(t, 6<<20)
	damaged := bytes.Clone(data)
	damaged[1<<20]++
	target := newTarget(t)
	for _, test := range []struct {
		name string
		do   func(p *quarantine.Pieces) error
	}{
		{"damaged", func(p *quarantine.Pieces) error {
			put(t, p, data, 5<<20, len(data), true)
			return p.Check(t.Context())
		}},
		{"beyond the end", func(p *quarantine.Pieces) error {
			return p.Claim(ranges.Range{Start: 4 << 20, End: 4 << 20}, form, true)
		}},
		{"twice", func(p *quarantine.Pieces) error {
			return p.Claim(ranges.Range{Start: 0, End: 1 << 20}, form, false)
		}},
	} {
		q := newQuarantine(t, target)
		if err := q.MarkResumable(); err != nil {
			t.Fatal(err)
		}
		p := newPieces(t, q, e)
		put(t, p, damaged, 0, 5<<20, false)
		p.Leave()
		q.Leave()
		q = newQuarantine(t, target)
		p = q.Resume(t.Context()).TakePieces(e)
		if err := test.do(p); !errors.Is(err, quarantine.ErrOldPart) {
			t.Errorf("%s: %v", test.name, err)
		}
		if err := errors.Join(p.Restart(form), p.Drop()); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		q.Remove()
	}
}
