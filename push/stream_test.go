package push

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"ostree-push/internal/otrepo"
	"ostree-push/internal/ranges"
	"ostree-push/ostree"
	"ostree-push/report"
	"ostree-push/stream"
)

// pushed returns a repository with the refs "pushed" and "private", their commits, and a stream that
// pushes the first one.
func pushed(tb testing.TB) (repo *ostree.Repo, sums map[string]ostree.Checksum, start func() *streamPush) {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "repo")
	tree := tb.TempDir()
	if err := otrepo.Init(dir, "archive"); err != nil {
		tb.Fatal(err)
	}
	sums = map[string]ostree.Checksum{}
	for _, ref := range []string{"pushed", "private"} {
		if err := os.WriteFile(filepath.Join(tree, "file"), []byte(ref), 0o644); err != nil {
			tb.Fatal(err)
		}
		text, err := otrepo.Commit{Ref: ref, Dir: tree}.Write(dir)
		if err != nil {
			tb.Fatal(err)
		}
		if sums[ref], err = ostree.ParseChecksum(text); err != nil {
			tb.Fatal(err)
		}
	}
	repo, err := ostree.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { repo.Close() })
	refs, digests, err := localRefs(context.Background(), repo, []string{"pushed"}, func(string) {})
	if err != nil {
		tb.Fatal(err)
	}
	return repo, sums, func() *streamPush {
		src, err := newSource(repo, refs, digests, func(string) {})
		if err != nil {
			tb.Fatal(err)
		}
		return &streamPush{
			src:  src,
			sink: &listener{Sink: report.NewText(io.Discard, "test", report.Debug)},
			open: func(context.Context, talker) error { return errors.New("no") },
		}
	}
}

// What a receiver may not answer is said, with the frame.
func TestBadAnswers(t *testing.T) {
	_, sums, start := pushed(t)
	hello := func(c *stream.Conn) { c.Send(stream.Hello{}); c.SendAll(stream.State{{}}) }
	var missing stream.Missing
	for range 17 {
		missing.Add(true)
	}
	for _, test := range []struct {
		name   string
		answer func(*stream.Conn)
		want   string
	}{
		{"a channel that has joined", func(c *stream.Conn) { c.Send(stream.Go{}) }, "what the receiver sends: a frame 'G' (Go) instead of 'H' (Hello)"},
		{"no refs", func(c *stream.Conn) { c.Send(stream.Hello{}); c.End(stream.Wanted{}) }, "what the receiver sends: a frame 'W' (Wanted) instead of 'S' (State)"},
		{"a state of too few refs", func(c *stream.Conn) { c.Send(stream.Hello{}); c.End(stream.State{}) }, "what the receiver sends: frames 'S' (State): 0 refs, and 1 were offered"},
		{"a state of too many refs", func(c *stream.Conn) { c.Send(stream.Hello{}); c.SendAll(stream.State{{}, {}}) }, "what the receiver sends: frames 'S' (State): 2 refs, and 1 were offered"},
		{"an offer of its own", func(c *stream.Conn) { hello(c); c.End(stream.Offer{}) }, "what the receiver sends: a frame 'O' (Offer), which only a pusher may send"},
		{"another commit", func(c *stream.Conn) { hello(c); c.SendAll(stream.Wanted{sums["private"]}) }, "the receiver wants commit " + sums["private"].String() + ", which was not offered"},
		{"more missing than listed", func(c *stream.Conn) { hello(c); c.SendAll(stream.Wanted{sums["pushed"]}); c.SendAll(missing) }, "what the receiver sends: frames 'M' (Missing): 3 bytes for 3 objects"},
	} {
		var answers bytes.Buffer
		c := stream.New(stream.Receiver, &bytes.Buffer{}, &answers)
		c.Greet()
		test.answer(c)
		var sent sink
		if err := start().run(t.Context(), &sent, &answers, func() {}); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v, not %s", test.name, err, test.want)
		}
		// The receiver is told why.
		var why bytes.Buffer
		p := stream.New(stream.Pusher, &bytes.Buffer{}, &why)
		p.Send(stream.Failure{Reason: test.want})
		if !bytes.HasSuffix(sent.Bytes(), why.Bytes()) {
			t.Errorf("%s: what was sent does not end with the reason: %q", test.name, sent.Bytes())
		}
	}
}

// A receiver that takes its time hears that the pusher is there.
func TestBusy(t *testing.T) {
	_, sums, start := pushed(t)
	stdin, toReceiver := io.Pipe()
	fromReceiver, stdout := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- start().run(t.Context(), toReceiver, fromReceiver, func() {}) }()
	c := stream.New(stream.Receiver, stdin, stdout)
	err := errors.Join(c.Greet(), c.Send(stream.Hello{}), c.SendAll(stream.State{{}}))
	for busy := 0; busy < 2 && err == nil; {
		var m stream.Message
		if m, err = c.Read(); m == (stream.Busy{}) {
			busy++
		}
	}
	if err != nil {
		t.Error(err)
	}
	go io.Copy(io.Discard, stdin)
	c.SendAll(stream.Wanted{sums["private"]})
	stdout.Close()
	if err := <-done; err == nil {
		t.Error("the push succeeds")
	}
}

// Whatever a receiver answers, the pusher ends, and sends nothing but what is below the
// refs that are pushed.
func FuzzAnswers(f *testing.F) {
	repo, sums, start := pushed(f)
	var answers bytes.Buffer
	c := stream.New(stream.Receiver, &bytes.Buffer{}, &answers)
	add := func(err error) {
		if err != nil {
			f.Fatal(err)
		}
		c.Flush()
		f.Add(bytes.Clone(answers.Bytes()))
	}
	add(c.Greet())
	var missing stream.Missing
	for range 8 {
		missing.Add(true)
	}
	add(c.Send(stream.Hello{Join: "x/y"}))
	commit, err := repo.LoadCommit(sums["private"])
	add(err)
	commit.Close()
	add(c.SendAll(stream.State{{Trees: []ostree.Tree{commit.Tree}}}))
	head := bytes.Clone(answers.Bytes())
	add(c.SendAll(stream.Wanted{sums["pushed"]}))
	add(c.SendAll(missing))
	add(c.SendAll(stream.Partial{{ObjectName: ostree.ObjectName{Type: ostree.ObjectFile}, Form: stream.Form{1}, Ranges: []ranges.Range{{Start: 0, End: 1 << 20}}}}))
	add(c.End(stream.Ask{}))
	answers.Reset()
	answers.Write(head)
	add(c.SendAll(stream.Wanted{sums["private"]}))
	add(c.SendAll(missing))

	private, err := repo.CommitObject(sums["private"])
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answers []byte) {
		var sent sink
		start().run(t.Context(), &sent, bytes.NewReader(answers), func() {})
		if bytes.Contains(sent.Bytes(), private) {
			t.Error("it sends a commit that was not named")
		}
	})
}

type sink struct{ bytes.Buffer }

func (*sink) Close() error { return nil }
