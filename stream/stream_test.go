package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ostree-push/internal/ranges"
	"ostree-push/ostree"
)

// from returns two ends of a channel: what is written to that of side can be
// read from the other afterwards.
func from(side Side) (writer, reader *Conn) {
	var wire bytes.Buffer
	return New(side, strings.NewReader(""), &wire), New(other(side), &wire, io.Discard)
}

func other(side Side) Side {
	if side == Pusher {
		return Receiver
	}
	return Pusher
}

// reads returns the end of side, which reads that.
func reads(side Side, raw string) *Conn { return New(side, strings.NewReader(raw), io.Discard) }

func sum(b byte) (s ostree.Checksum) { s[0] = b; return s }

func TestGreeting(t *testing.T) {
	w, r := from(Receiver)
	if err := w.Greet(); err != nil {
		t.Fatal(err)
	}
	if ok, _ := r.Greeted(); !ok {
		t.Error("not greeted")
	}
	for _, other := range []string{"", "ostree-push stream 2\n", "usage: ostree-receive", Greeting[:5]} {
		if ok, _ := reads(Pusher, other).Greeted(); ok {
			t.Errorf("%q is no greeting", other)
		}
	}
}

// readAll reads a series.
func readAll[M ~[]E, E any](t *testing.T, r *Conn, next func(Reader) (M, bool, error)) (all M) {
	t.Helper()
	for {
		m, more, err := next(r)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return all
		}
		all = append(all, m...)
	}
}

// next reads a message.
func next[M Message](t *testing.T, r *Conn) M {
	t.Helper()
	m, more, err := Next[M](r)
	if err != nil || !more {
		t.Fatalf("%T: %v, %v", m, more, err)
	}
	return m
}

// ends reads the end of a series.
func ends[M Message](t *testing.T, r *Conn) {
	t.Helper()
	if m, more, err := Next[M](r); err != nil || more {
		t.Fatalf("%T: %v, %v", m, more, err)
	}
}

// What a receiver sends is what the pusher reads.
func TestReceiverToPusher(t *testing.T) {
	states := make(State, 25000) // more than a frame takes
	for i := range states {
		switch i % 3 {
		case 1:
			states[i] = RefState{UpToDate: true, Shows: sum(byte(i))}
		case 2:
			states[i] = RefState{Trees: slices.Repeat([]ostree.Tree{{Contents: sum(2), Meta: sum(byte(i))}}, 1+i%MaxTrees)}
		}
	}
	wanted := make(Wanted, MaxPayload/32+1)
	wanted[0], wanted[len(wanted)-1] = sum(4), sum(5)
	var missing Missing
	for i := range 19 {
		missing.Add(i%3 == 0)
	}
	ask := Ask{{Type: ostree.ObjectFile, Sum: sum(6)}, {Type: ostree.ObjectDirTree, Sum: sum(7)}}
	partial := Partial{
		{ostree.ObjectName{Type: ostree.ObjectFile, Sum: sum(6)}, Form{1, 2}, setOf(65536, 1<<20, 2<<20, 3<<40)},
		{ostree.ObjectName{Type: ostree.ObjectFile, Sum: sum(7)}, Form{3}, nil},
	}
	result := Result{Error: "why", Hints: []string{"one", ""}, Moved: true}

	w, r := from(Receiver)
	for _, err := range []error{
		w.Send(Hello{"secret"}), w.Send(Event("line\n")), w.SendAll(states), w.SendAll(wanted),
		w.SendAll(missing), w.SendAll(partial), w.SendAll(ask), w.SendAll(ask), w.Send(result),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if m := next[Hello](t, r); m.Join != "secret" {
		t.Errorf("%+v", m)
	}
	if m := next[Event](t, r); string(m) != "line\n" {
		t.Errorf("%q", m)
	}
	if !reflect.DeepEqual(states, readAll(t, r, Next[State])) {
		t.Error("another state")
	}
	if !slices.Equal(wanted, readAll(t, r, Next[Wanted])) {
		t.Error("other commits are wanted")
	}
	got, err := ReadMissing(r, 19)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 19 {
		if got.Has(i) != (i%3 == 0) {
			t.Errorf("missing %d: %v", i, got.Has(i))
		}
	}
	if diff := cmp.Diff(partial, Partial(readAll(t, r, Next[Partial]))); diff != "" {
		t.Error(diff)
	}
	for range 2 {
		if diff := cmp.Diff(ask, readAll(t, r, Next[Ask])); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff(result, next[Result](t, r)); diff != "" {
		t.Error(diff)
	}
	if _, err := r.Read(); !errors.Is(err, ErrEnded) {
		t.Errorf("%v", err)
	}
}

// setOf returns the ranges with these bounds, in pairs.
func setOf(bounds ...int64) (s ranges.Set) {
	for pair := range slices.Chunk(bounds, 2) {
		s.Add(ranges.Range{Start: pair[0], End: pair[1]})
	}
	return s
}

// What a pusher sends is what the receiver reads.
func TestPusherToReceiver(t *testing.T) {
	offer := Offer{{"main", sum(1), ostree.Digest{1}}, {"other", sum(2), ostree.Digest{2}}}
	commit := Commit{Sum: sum(3), Detached: []byte("meta"), Object: []byte("object")}
	entry := ostree.ObjectName{Type: ostree.ObjectDirTree, Sum: sum(4)}
	var list List
	list.Add(entry)
	list.Add(ostree.ObjectName{Type: ostree.ObjectFile, Sum: sum(5)})

	w, r := from(Pusher)
	for _, err := range []error{
		w.SendAll(offer), w.Queue(commit), w.End(commit), w.Send(list), w.End(list),
		w.SendData(Data{ObjectName: entry, Length: 4, Last: true}, strings.NewReader("body")), w.End(Data{}),
		w.SendData(Data{ObjectName: entry, Length: 0, Last: true}, strings.NewReader("")), w.Send(Busy{}), w.End(Data{}), w.Send(Failure{"tired"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(offer, readAll(t, r, Next[Offer])); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(commit, next[Commit](t, r)); diff != "" {
		t.Error(diff)
	}
	ends[Commit](t, r)
	if m := next[List](t, r); m.Len() != 2 || m.At(0) != entry || m.At(1) != (ostree.ObjectName{Type: ostree.ObjectFile, Sum: sum(5)}) {
		t.Errorf("%+v", m)
	}
	ends[List](t, r)
	if m := next[Data](t, r); m != (Data{ObjectName: entry, Length: 4, Last: true}) {
		t.Errorf("%+v", m)
	}
	var body bytes.Buffer
	if err := r.Body(&body, 4); err != nil || body.String() != "body" {
		t.Errorf("%q %v", &body, err)
	}
	ends[Data](t, r)
	next[Data](t, r)
	next[Busy](t, r)
	ends[Data](t, r)
	var failure Failure
	if _, _, err := Next[Data](r); !errors.As(err, &failure) || failure.Reason != "tired" {
		t.Errorf("%v", err)
	}
}

// TestFurtherChannel has a channel read by two: who reads what joins, and who reads the rest.
func TestFurtherChannel(t *testing.T) {
	w, first := from(Pusher)
	if err := w.Send(Join{"secret"}); err != nil {
		t.Fatal(err)
	}
	if m := next[Join](t, first); m.Secret != "secret" {
		t.Errorf("%+v", m)
	}
	w, second := from(Pusher)
	if err := w.End(Data{}); err != nil {
		t.Fatal(err)
	}
	ends[Data](t, second.After(Join{}))
	w, r := from(Receiver)
	if err := w.Send(Go{}); err != nil {
		t.Fatal(err)
	}
	next[Go](t, r)
}

// TestRefused has each side send what it may not: the error names the frame.
func TestRefused(t *testing.T) {
	many := make(Offer, MaxRefs+1)
	for i := range many {
		many[i].Ref = "main"
	}
	for _, test := range []struct {
		from Side
		send func(*Conn)
		want string
	}{
		{Pusher, func(c *Conn) { c.End(Data{}) }, "a frame 'D' (Data) instead of 'O' (Offer) or 'J' (Join)"},
		{Pusher, func(c *Conn) { c.End(Offer{}); c.End(List{}) }, "a frame 'L' (List) instead of 'C' (Commit)"},
		{Pusher, func(c *Conn) { c.Queue(many[:1]); c.End(Commit{}) }, "a frame 'C' (Commit) instead of 'O' (Offer)"},
		{Pusher, func(c *Conn) { c.End(Offer{}); c.End(Offer{}) }, "a frame 'O' (Offer) instead of 'C' (Commit)"},
		{Pusher, func(c *Conn) { c.Send(Join{}); c.Send(Join{}) }, "a frame 'J' (Join) instead of 'D' (Data)"},
		{Pusher, func(c *Conn) { c.Send(Hello{}) }, "a frame 'H' (Hello), which only a receiver may send"},
		{Pusher, func(c *Conn) { c.Send(Failure{}); c.End(Offer{}) }, "a frame 'O' (Offer) after 'F' (Failure), which is the last"},
		{Pusher, func(c *Conn) { c.SendAll(many) }, "frames 'O' (Offer): more than 100000 refs"},
		{Pusher, func(c *Conn) { c.Send(Offer{{Ref: "../x"}}) }, `a frame 'O' (Offer): invalid ref name "../x"`},
		{Receiver, func(c *Conn) { c.End(State{}) }, "a frame 'S' (State) instead of 'H' (Hello) or 'G' (Go)"},
		{Receiver, func(c *Conn) { c.Send(Hello{}); c.Send(Event{}); c.Send(Hello{}) }, "a frame 'H' (Hello) instead of 'S' (State)"},
		{Receiver, func(c *Conn) { c.Send(Go{}); c.Send(Go{}) }, "a frame 'G' (Go) instead of none after 'G' (Go)"},
		{Receiver, func(c *Conn) { c.Send(Result{}); c.Send(Event{}) }, "a frame 'E' (Event) after 'R' (Result), which is the last"},
		{Receiver, func(c *Conn) { c.End(Offer{}) }, "a frame 'O' (Offer), which only a pusher may send"},
		{Receiver, func(c *Conn) { c.frame('?', nil); c.Flush() }, "a frame '?', which is none"},
		{Receiver, func(c *Conn) { c.Send(Hello{}); c.w.WriteString("S\x00\x10\x00\x01"); c.Flush() }, "a frame 'S' (State) of 1048577 bytes, and 1048576 are the most"},
	} {
		w, r := from(test.from)
		test.send(w)
		var err error
		for err == nil {
			_, err = r.Read()
		}
		var protocol *ProtocolError
		if !errors.As(err, &protocol) || err.Error() != test.want {
			t.Errorf("%v, not %s", err, test.want)
		}
	}
	if _, _, err := Next[Join](reads(Receiver, "O\x00\x00\x00\x00")); err == nil || err.Error() != "a frame 'O' (Offer) instead of 'J' (Join)" {
		t.Errorf("another frame: %v", err)
	}
}

func TestBadFrames(t *testing.T) {
	for _, cut := range []string{"", "O", "O\x00\x00\x00\x05abcd"} {
		if _, err := reads(Receiver, cut).Read(); !errors.Is(err, ErrEnded) {
			t.Errorf("%q: %v", cut, err)
		}
	}
	for _, test := range []struct {
		kind    Kind
		payload string
		want    string
	}{
		{'L', "\x01", "too short"},
		{'L', zeros(33), "an object of type 0"},
		{'L', "\x04" + zeros(32), "an object of type 4"}, // a commit
		{'A', "\x09" + zeros(32), "an object of type 9"},
		{'W', zeros(33), "too short"},
		{'S', "\x01" + zeros(31), "too short"},
		{'S', "\x02\x02" + zeros(2*64-1), "too short"},
		{'S', "\x02\x00", "of which there are 0 trees"},
		{'S', "\x00\x03", "3 where 0, 1 or 2 has to be"},
		{'O', "\x00\x00\x00\x04main" + zeros(32+31), "too short"},
		{'O', "\x00\x00\x00\x05main", "too short"},
		{'O', "\xff\xff\xff\xffmain", "too short"},
		{'O', zeros(4 + 32), "invalid ref name"},
		{'C', "abcde", "too short"},
		{'C', zeros(32) + "\xff\xff\xff\xff", "too short"}, // of its metadata
		{'D', "\x01" + zeros(32+16) + "\xff" + zeros(7+8+1), "[0-9]+ bytes, which no object has"},
		{'D', "\x01" + zeros(32+16+8) + "\x7f" + zeros(7+1), "[0-9]+ bytes, which no object has"},
		{'D', "\x01" + zeros(32+16+8+4) + "\x01\x00\x00\x01\x01", "a piece of object 0{64} has 16777217 bytes, and 16777216 are the most"},
		{'D', "\x01" + zeros(32+16+8+4) + "\x00\x00\xff\xff\x00", "a piece of object 0{64} that is not the last has 65535 bytes, and 65536 are the least"},
		{'D', "\x01" + zeros(32+16+8+8) + "\x01\x00", "1 bytes too many"},
		{'P', "\x01" + zeros(32+16) + "\x00\x00\x27\x11", "10001 ranges of object 0{64}, and 10000 are the most"},
		{'P', "\x01" + zeros(32+16) + "\x00\x00\x00\x01" + zeros(16), "the ranges of object 0{64} are not in order"},
		{'P', "\x01" + zeros(32+16) + "\x00\x00\x00\x02" + zeros(15) + "\x05" + zeros(7) + "\x04" + zeros(7) + "\x05", "the ranges of object 0{64} are not in order"},
		{'P', "\x01" + zeros(32+16) + "\x00\x00\x00\x01" + zeros(15), "too short"},
		{'B', "x", "1 bytes too many"},
		{'F', "\xff", "not UTF-8"},
		{'G', "x", "1 bytes too many"},
		{'R', "", "too short"},
		{'R', "\x02\x00\x00\x00\x00", "2 where 0 or 1 has to be"},
		{'R', "\x01\x00\x00\x00\x00\x00\x00\x00\x01", "too short"},
	} {
		_, err := decode(test.kind, []byte(test.payload))
		var protocol *ProtocolError
		if want := regexp.MustCompile("^a frame " + regexp.QuoteMeta(test.kind.String()) + ": .*" + test.want); !errors.As(err, &protocol) || !want.MatchString(err.Error()) {
			t.Errorf("%v %.50q: %v, not %s", test.kind, test.payload, err, want)
		}
	}
	if _, err := decode('C', make([]byte, 32+4+ostree.MaxMetadataSize+1)); err == nil || !strings.HasSuffix(err.Error(), " is too large") {
		t.Errorf("a commit that is too large: %v", err)
	}
	if w, r := from(Pusher); w.Send(Failure{"\xff"}) != nil || next[Failure](t, r).Reason != "\ufffd" {
		t.Error("what is not UTF-8 is sent")
	}
	for _, size := range []int{0, 1, 3} {
		w, r := from(Receiver)
		w.SendAll(Missing{bits: make([]byte, size)})
		r.course = course{reader: Pusher, last: 'W'}
		if _, err := ReadMissing(r, 9); err == nil || err.Error() != fmt.Sprintf("frames 'M' (Missing): %d bytes for 9 objects", size) {
			t.Errorf("a bitmap of %d bytes for 9 objects: %v", size, err)
		}
	}
	if err := reads(Pusher, "").SendData(Data{Length: 5, Last: true}, strings.NewReader("1234")); err == nil {
		t.Error("a body that is too short")
	}
	if err := reads(Pusher, "").Send(Join{zeros(MaxPayload + 1)}); err == nil {
		t.Error("a frame that is too large is sent")
	}
}

func zeros(n int) string { return strings.Repeat("\x00", n) }

// TestTable compares the table with the types of messages, and with that of the page.
func TestTable(t *testing.T) {
	page, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for i := range frames {
		row := &frames[i]
		m := row.decode(&decoder{})
		if m.Kind() != row.kind || reflect.TypeOf(m).Name() != row.name {
			t.Errorf("%v has messages of the type %T, of the kind %v", row.kind, m, m.Kind())
		}
		rows = append(rows, fmt.Sprintf("| `%c` %s | %s | %s |", row.kind, row.name, row.from, when(row)))
	}
	line := regexp.MustCompile("(?m)^(\\| `[A-Z]` [A-Z][a-z]+ \\| [^|]* \\| [^|]* \\|) .*")
	var said []string
	for _, match := range line.FindAllSubmatch(page, -1) {
		said = append(said, string(match[1]))
	}
	if diff := cmp.Diff(rows, said); diff != "" {
		t.Errorf("the table of docs/protocol.md is another one (-code +page):\n%s", diff)
	}
}

// when says what the page does of when a frame may come.
func when(row *row) string {
	switch row.use {
	case anytime:
		return "at any time"
	case final:
		return "at any time; its last"
	}
	after := "first"
	if row.after != "" {
		letters := strings.Split(row.after, "")
		after = "after `" + strings.Join(letters, "`, `") + "`"
	}
	if row.use == series {
		after += "; a series"
	}
	return after
}

// Whatever comes, reading it neither fails in other ways than with an error, nor
// takes more memory than what has come.
func FuzzRead(f *testing.F) {
	f.Add([]byte("H\x00\x00\x00\x02x/G\x00\x00\x00\x00"))
	f.Add([]byte("O\x00\x00\x00\x00C\x00\x00\x00\x00L\x00\x00\x00\x21\x01aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"))
	f.Add([]byte("O\x00\x00\x00\x00C\x00\x00\x00\x05abcde"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, side := range []Side{Pusher, Receiver} {
			c := reads(side, string(raw))
			for {
				m, err := c.Read()
				if err != nil {
					break
				}
				if rowOf(m.Kind()).from == side {
					t.Errorf("the %s reads a frame %v", side, m.Kind())
				}
			}
		}
	})
}

// FuzzDecode has each frame decoded. What is accepted is encoded in one way only.
func FuzzDecode(f *testing.F) {
	var list List
	list.Add(ostree.ObjectName{Type: ostree.ObjectFile, Sum: sum(1)})
	partial := Partial{{ostree.ObjectName{Type: ostree.ObjectFile, Sum: sum(1)}, Form{1}, setOf(0, 5, 7, 1<<61)}}
	for _, m := range []Message{
		Hello{"x/y"}, Offer{{Ref: "a/b", Commit: sum(1), Digest: ostree.Digest{2}}},
		State{{}, {UpToDate: true, Shows: sum(1)}, {Trees: []ostree.Tree{{Contents: sum(2)}, {Meta: sum(3)}}}},
		Commit{Sum: sum(1), Detached: []byte("detached"), Object: []byte("object")}, Wanted{sum(1), sum(2)}, list,
		Missing{bits: []byte{0x80}}, partial, Data{ostree.ObjectName{Type: ostree.ObjectFile, Sum: sum(1)}, Form{1}, 1 << 20, 1 << 20, false}, Busy{}, Ask{{Type: ostree.ObjectDirMeta, Sum: sum(1)}},
		Failure{"tired"}, Event("{}\n"), Result{Error: "why", Hints: []string{"how"}, Moved: true}, Join{"x/y"}, Go{},
	} {
		e := &encoder{}
		m.encode(e)
		f.Add(byte(m.Kind()), e.p)
	}
	f.Fuzz(func(t *testing.T, letter byte, payload []byte) {
		kind := Kind(letter)
		if rowOf(kind) == nil {
			return
		}
		m, err := decode(kind, payload)
		if err != nil {
			var protocol *ProtocolError
			if !errors.As(err, &protocol) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		e := &encoder{}
		m.encode(e)
		if m.Kind() != kind || !bytes.Equal(e.p, payload) {
			t.Errorf("%v: %q is encoded as %v %q", kind, payload, m.Kind(), e.p)
		}
	})
}

// What waits to be sent goes out before the other end has heard nothing for long.
func TestKeepAlive(t *testing.T) {
	var out bytes.Buffer
	c := New(Pusher, nil, &out)
	if err := c.Queue(Join{Secret: "secret"}); err != nil || out.Len() > 0 {
		t.Fatalf("%q is sent: %v", &out, err)
	}
	for _, want := range []string{"J\x00\x00\x00\x06secret", "B\x00\x00\x00\x00", "B\x00\x00\x00\x00"} {
		if err := c.KeepAlive(Busy{}); err != nil || out.String() != want {
			t.Errorf("%q is sent, not %q: %v", &out, want, err)
		}
		out.Reset()
	}
}
