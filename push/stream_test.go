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
	"ostree-push/ostree"
	"ostree-push/report"
	"ostree-push/stream"
)

// Whatever a receiver answers, the pusher ends, and sends nothing but what is below the
// refs that are pushed.
func FuzzAnswers(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "repo")
	tree := f.TempDir()
	if err := os.WriteFile(filepath.Join(tree, "file"), []byte("content"), 0o644); err != nil {
		f.Fatal(err)
	}
	if err := otrepo.Init(dir, "archive"); err != nil {
		f.Fatal(err)
	}
	sums := map[string]ostree.Checksum{}
	for _, ref := range []string{"pushed", "private"} {
		if err := os.WriteFile(filepath.Join(tree, "file"), []byte(ref), 0o644); err != nil {
			f.Fatal(err)
		}
		text, err := otrepo.Commit{Ref: ref, Dir: tree}.Write(dir)
		if err != nil {
			f.Fatal(err)
		}
		if sums[ref], err = ostree.ParseChecksum(text); err != nil {
			f.Fatal(err)
		}
	}
	repo, err := ostree.Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { repo.Close() })
	refs, err := repo.Refs(context.Background())
	if err != nil {
		f.Fatal(err)
	}

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
	add(c.SendAll(stream.State{{Ref: "pushed", Commit: sums["pushed"]}}))
	head := bytes.Clone(answers.Bytes())
	add(c.SendAll(stream.Wanted{sums["pushed"]}))
	add(c.SendAll(missing))
	answers.Reset()
	answers.Write(head)
	add(c.SendAll(stream.Wanted{sums["private"]}))
	add(c.SendAll(missing))

	private, err := repo.CommitObject(sums["private"])
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answers []byte) {
		src, err := newSource(repo, refs, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		s := &streamPush{
			src: src, named: []string{"pushed"},
			sink: &heard{Sink: report.NewText(io.Discard, "fuzz", report.Debug)},
			open: func(context.Context, talker) error { return errors.New("no") },
		}
		var sent sink
		s.run(t.Context(), &sent, bytes.NewReader(answers), func() {})
		if bytes.Contains(sent.Bytes(), private) {
			t.Error("it sends a commit that was not named")
		}
	})
}

type sink struct{ bytes.Buffer }

func (*sink) Close() error { return nil }
