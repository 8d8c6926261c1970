package quarantine

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ostree-push/internal/otrepo"
	"ostree-push/ostree"
)

// An object that expands to more than it says is a bomb from the same size on, whichever way it came: through the
// gateway, which watches it, or in the stream, which checks it whole.
func TestInflateSlack(t *testing.T) {
	like, sum := contentObject(t)
	header := like[:8+binary.BigEndian.Uint32(like)]
	for more, bomb := range map[int64]bool{ostree.InflateSlack: false, ostree.InflateSlack + 1: true} {
		var object bytes.Buffer
		object.Write(header)
		binary.BigEndian.PutUint64(object.Bytes()[8:], 1)
		w, err := flate.NewWriter(&object, flate.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, zeros{}, 1+more); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := checkInflated(bytes.NewReader(object.Bytes())); errors.Is(err, ostree.ErrInflated) != bomb {
			t.Errorf("%d bytes more, as it passes: %v", more, err)
		}
		if err := ostree.CheckBytes(ostree.ObjectFile, sum, object.Bytes()); err == nil || errors.Is(err, ostree.ErrInflated) != bomb {
			t.Errorf("%d bytes more, whole: %v", more, err)
		}
	}
}

// What is let through unseen cannot be one: deflate makes no more of it.
func TestHarmless(t *testing.T) {
	for size, want := range map[int64]bool{-1: false, 0: true, ostree.InflateSlack / maxRatio: true, ostree.InflateSlack/maxRatio + 1: false} {
		if got := Harmless(size); got != want {
			t.Errorf("%d bytes: %v", size, got)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// contentObject returns a content object of an archive repository.
func contentObject(t *testing.T) ([]byte, ostree.Checksum) {
	t.Helper()
	tree, repo := t.TempDir(), filepath.Join(t.TempDir(), "repo")
	if err := os.WriteFile(filepath.Join(tree, "file"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := otrepo.Init(repo, "archive"); err != nil {
		t.Fatal(err)
	}
	if _, err := (otrepo.Commit{Ref: "main", Dir: tree}).Write(repo); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(repo, "objects", "*", "*.filez"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	object, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	sum, err := ostree.ParseChecksum(filepath.Base(filepath.Dir(files[0])) + strings.TrimSuffix(filepath.Base(files[0]), ".filez"))
	if err != nil {
		t.Fatal(err)
	}
	return object, sum
}
