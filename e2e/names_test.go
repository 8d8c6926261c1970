package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestNamesInTrees pushes trees with names that no client can check out. libostree's fsck has nothing against
// them; a pusher makes them by hand, as here.
func TestNamesInTrees(t *testing.T) {
	base := newStatesBase(t)
	base.commit(t, t.TempDir(), 4, "x", "y")
	for _, s := range []state{
		{name: "the same twice", fails: "two entries of the name x", make: func(t *testing.T, w *world) {
			w.forgeTree(t, func(tree []byte) []byte { return bytes.Replace(tree, []byte("y\x00"), []byte("x\x00"), 1) })
		}},
		{name: "none", fails: "without a name", make: func(t *testing.T, w *world) {
			w.forgeTree(t, func(tree []byte) []byte {
				// An a(say)a(sayay) of one file: its name, its checksum, and the ends of name, file and files.
				content := tree[len("x\x00"):][:sha256.Size]
				return append(append([]byte{0}, content...), 1, 1+sha256.Size+1, 1+sha256.Size+1+1)
			})
		}},
	} {
		base.over(t, s.name, true, func(t *testing.T, w *world) { w.checkState(t, s) })
	}
}

// forgeTree has main show a commit as it did, but with another root directory.
func (w *world) forgeTree(t *testing.T, change func(tree []byte) []byte) {
	t.Helper()
	contents := treeOf(t, w.source, "heads/main").Contents
	tree := read(t, objectOf(w.source, contents.String())+".dirtree")
	commit := read(t, objectOf(w.source, commitOf(t, w.source, "main"))+".commit")
	forged := w.writeObject(t, "dirtree", change(tree))
	sum := w.writeObject(t, "commit", bytes.Replace(commit, contents[:], forged[:], 1))
	writeRef(t, w.source, "heads/main", hex.EncodeToString(sum[:])+"\n")
}

// writeObject writes an object of metadata into the source.
func (w *world) writeObject(t *testing.T, extension string, data []byte) [sha256.Size]byte {
	t.Helper()
	sum := sha256.Sum256(data)
	path := objectOf(w.source, hex.EncodeToString(sum[:])) + "." + extension
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
		t.Fatal(err)
	}
	return sum
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
