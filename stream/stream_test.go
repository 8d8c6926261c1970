package stream

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ostree-push/ostree"
)

// ends returns two ends of a connection, what is written to one of which can be
// read from the other afterwards.
func ends() (writer, reader *Conn) {
	var wire bytes.Buffer
	return New(strings.NewReader(""), &wire), New(&wire, io.Discard)
}

func TestGreeting(t *testing.T) {
	w, r := ends()
	if err := w.Greet(); err != nil {
		t.Fatal(err)
	}
	if ok, _ := r.Greeted(); !ok {
		t.Error("not greeted")
	}
	for _, other := range []string{"", "ostree-push stream 2\n", "usage: ostree-receive", Greeting[:5]} {
		if ok, _ := New(strings.NewReader(other), io.Discard).Greeted(); ok {
			t.Errorf("%q is no greeting", other)
		}
	}
}

func TestFrames(t *testing.T) {
	sum := func(b byte) (s ostree.Checksum) { s[0] = b; return s }
	w, r := ends()
	states := make([]RefState, 2500)
	for i := range states {
		states[i] = RefState{Ref: "ref", Commit: sum(1).String(), Timestamp: uint64(i)}
	}
	entry := Entry{ostree.ObjectDirTree, sum(2)}
	var bitmap Bitmap
	for i := range 19 {
		bitmap.Add(i%3 == 0)
	}
	for _, err := range []error{
		WriteRefs(w, State, states),
		w.PutCommit(sum(3), []byte("object"), []byte("meta")),
		w.WriteSums(Wanted, []ostree.Checksum{sum(4), sum(5)}),
		w.Write(List, AppendEntry(AppendEntry(nil, entry), Entry{ostree.ObjectFile, sum(6)})),
		w.WriteBitmap(&bitmap),
		w.PutObject(entry, 4, strings.NewReader("body")),
		w.End(Object),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func(kind Kind) func() ([]byte, error) { return func() ([]byte, error) { return r.ReadKind(kind) } }
	payload := func(kind Kind) []byte {
		t.Helper()
		p, err := r.ReadKind(kind)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	got, err := ReadRefs[RefState](read(State))
	if diff := cmp.Diff(states, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if s, object, meta, err := ParseCommit(payload(Commit)); err != nil || s != sum(3) || string(object) != "object" || string(meta) != "meta" {
		t.Errorf("commit %v %q %q %v", s, object, meta, err)
	}
	if sums, err := ParseSums(payload(Wanted)); err != nil || len(sums) != 2 || sums[1] != sum(5) {
		t.Errorf("%v %v", sums, err)
	}
	payload(Wanted)
	if list, err := ParseList(payload(List)); err != nil || len(list) != 2 || list[0] != entry {
		t.Errorf("%v %v", list, err)
	}
	b, err := ReadBitmap(19, read(Missing))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 19 {
		if b.Missing(i) != (i%3 == 0) {
			t.Errorf("missing %d: %v", i, b.Missing(i))
		}
	}
	if e, size, err := ParseObject(payload(Object)); err != nil || e != entry || size != 4 {
		t.Errorf("%v %d %v", e, size, err)
	}
	var body bytes.Buffer
	if err := r.Body(&body, 4); err != nil || body.String() != "body" {
		t.Errorf("%q %v", &body, err)
	}
	if len(payload(Object)) != 0 {
		t.Error("no end")
	}
	if _, _, err := r.Read(); !errors.Is(err, ErrEnded) {
		t.Errorf("%v", err)
	}
}

func TestBadFrames(t *testing.T) {
	parse := func(raw string) error {
		_, _, err := New(strings.NewReader(raw), io.Discard).Read()
		return err
	}
	if err := parse("G\x00\x10\x00\x01"); err == nil || errors.Is(err, ErrEnded) {
		t.Errorf("too large: %v", err)
	}
	for _, cut := range []string{"", "G", "G\x00\x00\x00\x05abcd"} {
		if err := parse(cut); !errors.Is(err, ErrEnded) {
			t.Errorf("%q: %v", cut, err)
		}
	}
	if _, err := ParseList([]byte{1}); err == nil {
		t.Error("a list of a byte")
	}
	if _, err := ParseList(make([]byte, 33)); err == nil {
		t.Error("type 0")
	}
	if _, err := ParseList(append([]byte{byte(ostree.ObjectCommit)}, make([]byte, 32)...)); err == nil {
		t.Error("a commit in a list")
	}
	if _, _, _, err := ParseCommit(append(make([]byte, 32), 0xff, 0xff, 0xff, 0xff)); err == nil {
		t.Error("metadata that is not there")
	}
	if _, _, err := ParseObject(append(append([]byte{1}, make([]byte, 32)...), 0xff, 0, 0, 0, 0, 0, 0, 0)); err == nil {
		t.Error("an endless object")
	}
	end := func() ([]byte, error) { return nil, nil }
	if _, err := ReadBitmap(9, end); err == nil {
		t.Error("a bitmap of nothing")
	}
	if _, err := ReadBitmap(1, func() ([]byte, error) { return make([]byte, 1000), nil }); err == nil {
		t.Error("a bitmap that does not end")
	}
	if err := New(strings.NewReader(""), io.Discard).PutObject(Entry{}, 5, strings.NewReader("1234")); err == nil {
		t.Error("a body that is too short")
	}
}

// Whatever comes, reading it neither fails in other ways than with an error, nor
// takes more memory than what has come.
func FuzzRead(f *testing.F) {
	f.Add([]byte("G\x00\x00\x00\x02[]G\x00\x00\x00\x00"))
	f.Add([]byte("L\x00\x00\x00\x21\x01aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"))
	f.Add([]byte("C\x00\x00\x00\x05abcde"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := New(bytes.NewReader(raw), io.Discard)
		for {
			kind, payload, err := c.Read()
			if err != nil {
				return
			}
			switch kind {
			case List:
				ParseList(payload)
			case Commit:
				ParseCommit(payload)
			case Wanted:
				ParseSums(payload)
			case Object:
				ParseObject(payload)
			case State:
				done := false
				ReadRefs[RefState](func() ([]byte, error) {
					if done {
						return nil, nil
					}
					done = true
					return payload, nil
				})
			}
		}
	})
}
