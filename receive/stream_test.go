package receive

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ostree-push/internal/otrepo"
	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
	"ostree-push/stream"
)

// Whatever a pusher sends in a stream, the receiver ends, and the repository is what it was
// but for what may be resumed from.
func FuzzStream(f *testing.F) {
	if _, err := exec.LookPath("ostree"); err != nil {
		f.Skip(err)
	}
	limits, files := fuzzed(f)
	for _, seed := range sessions(f) {
		f.Add(seed)
	}
	before := files(f)
	null := devNull(f)
	f.Fuzz(func(t *testing.T, input []byte) {
		path := filepath.Join(t.TempDir(), "input")
		if err := os.WriteFile(path, input, 0o600); err != nil {
			t.Fatal(err)
		}
		stdin, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer stdin.Close()
		for _, url := range []string{stream.URL, stream.JoinURL} {
			err = (&commandLine{Repo: "repo", URL: url}).run(context.Background(), process{limits, "fuzz", stdin, null, null})
			quarantine.RemoveLeftovers(filepath.Join(limits.Root, "repo", "tmp"))
			if after := files(t); after != before {
				t.Fatalf("%v, and the files were\n%s and are\n%s", err, before, after)
			}
			if _, err := stdin.Seek(0, 0); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// sessions are what an honest pusher sends, up to and without its end.
func sessions(f *testing.F) (all [][]byte) {
	source := filepath.Join(f.TempDir(), "source")
	if err := otrepo.Init(source, "archive"); err != nil {
		f.Fatal(err)
	}
	tree := f.TempDir()
	if err := os.WriteFile(filepath.Join(tree, "file"), []byte("content"), 0o644); err != nil {
		f.Fatal(err)
	}
	text, err := otrepo.Commit{Ref: "main", Dir: tree}.Write(source)
	if err != nil {
		f.Fatal(err)
	}
	sum, err := ostree.ParseChecksum(text)
	if err != nil {
		f.Fatal(err)
	}
	repo, err := ostree.Open(source)
	if err != nil {
		f.Fatal(err)
	}
	defer repo.Close()
	object, err := repo.CommitObject(sum)
	if err != nil {
		f.Fatal(err)
	}
	commit, err := repo.LoadCommit(sum)
	if err != nil {
		f.Fatal(err)
	}
	commit.Close()
	entry := ostree.ObjectName{Type: ostree.ObjectDirMeta, Sum: commit.Tree.Meta}
	meta, err := repo.Metadata(entry.Type, entry.Sum)
	if err != nil {
		f.Fatal(err)
	}

	var sent bytes.Buffer
	c := stream.New(stream.Pusher, strings.NewReader(""), &sent)
	snap := func(err error) {
		if err != nil {
			f.Fatal(err)
		}
		c.Flush()
		all = append(all, bytes.Clone(sent.Bytes()))
	}
	var list stream.List
	list.Add(entry)
	snap(c.SendAll(stream.Offer{{Ref: "main", Commit: sum}}))
	snap(c.Queue(stream.Commit{Sum: sum, Object: object}))
	snap(c.End(stream.Commit{}))
	snap(c.Send(list))
	snap(c.End(list))
	snap(c.SendData(stream.Data{ObjectName: entry, Length: int64(len(meta)), Last: true}, bytes.NewReader(meta)))
	return append(all, []byte("T\x00\x00\x00\x05x/key"))
}
