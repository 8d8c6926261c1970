package e2e

import (
	"bytes"
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ostree-push/ostree"
)

// TestDetachedMetadataStays has a pusher offer a commit that the server has published, as the tip
// of another ref, with detached metadata of its own. Who verifies the published commit still finds
// the server's signatures, and no others.
func TestDetachedMetadataStays(t *testing.T) {
	t.Parallel()
	base := newStatesBase(t)
	for name, signed := range map[string]bool{"signed": true, "not signed": false} {
		base.over(t, name, true, func(t *testing.T, w *world) {
			// The server has merged and signed it, or taken it as it is; the pusher has
			// pulled it.
			sum := commitOf(t, w.target, "main")
			signature := addSignature(t, w.source, sum)
			if signed {
				addSignature(t, w.target, sum)
			}
			before := treasure(t, w.target)
			said := w.push(t, "again")
			w.checkKept(t, said, before)
			meta, err := os.ReadFile(objectOf(w.target, sum) + ".commitmeta")
			if (err == nil) != signed || bytes.Contains(meta, signature) {
				t.Errorf("the published commit has the metadata %q, %v", meta, err)
			}
		})
	}
}

// checkKept checks that a push has succeeded, and left alone what was there.
func (w *world) checkKept(t *testing.T, said saying, before map[string]string) {
	t.Helper()
	t.Logf("%v\n%s", said.err, said.stderr)
	if said.err != nil && w.transport != "protocol-0" {
		t.Errorf("the push fails: %v", said.err)
	}
	if diff := cmp.Diff(before, pick(treasure(t, w.target), before)); diff != "" {
		t.Errorf("files have been replaced:\n%s", diff)
	}
}

// TestDetachedMetadataComes has a new commit bring what it has.
func TestDetachedMetadataComes(t *testing.T) {
	t.Parallel()
	newStatesBase(t).over(t, "new", true, func(t *testing.T, w *world) {
		sum := commitOf(t, w.source, "main")
		signature := addSignature(t, w.source, sum)
		if said := w.push(t, "main"); said.err != nil {
			t.Errorf("%v\n%s", said.err, said.stderr)
		}
		if meta, err := os.ReadFile(objectOf(w.target, sum) + ".commitmeta"); !bytes.Contains(meta, signature) {
			t.Errorf("the signature has not come: %v", err)
		}
	})
}

// TestNothingIsReplaced pushes what the target has, or has begun to pull, and compares all that
// was there.
func TestNothingIsReplaced(t *testing.T) {
	t.Parallel()
	newStatesBase(t).over(t, "all", true, func(t *testing.T, w *world) {
		// A delta, and a commit that has been pulled without what belongs to it.
		output(t, "ostree", "--repo="+w.target, "static-delta", "generate", "--empty", "main")
		output(t, "ostree", "--repo="+w.source, "refs", "--create=first", "again^")
		output(t, "ostree", "--repo="+w.target, "remote", "add", "--no-gpg-verify", "o", "file://"+w.source)
		output(t, "ostree", "--repo="+w.target, "pull", "--mirror", "--commit-metadata-only", "o", "first")
		output(t, "ostree", "--repo="+w.source, "static-delta", "generate", "--empty", "--inline", "again")
		before := treasure(t, w.target)
		if w.transport == "protocol-0" { // whose client sends the whole history
			delete(before, "/state/"+commitOf(t, w.target, "first")+".commitpartial")
		}
		said := w.push(t, "main", "again")
		w.checkKept(t, said, before)
	})
}

// addSignature adds a signature that nobody has a key for to a commit.
func addSignature(t *testing.T, dir, sum string) []byte {
	t.Helper()
	repo, err := ostree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	checksum, err := ostree.ParseChecksum(sum)
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	rand.Read(signature)
	if err := repo.AddCommitSignatures(t.Context(), checksum, "ostree.sign.ed25519", [][]byte{signature}); err != nil {
		t.Fatal(err)
	}
	return signature
}

// treasure is what is in a repository's objects, deltas and state.
func treasure(t *testing.T, repo string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, dir := range []string{"objects", "deltas", "state"} {
		err := filepath.WalkDir(filepath.Join(repo, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			files[strings.TrimPrefix(path, repo)] = string(content)
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return files
}

// pick returns those of files that have the names of others.
func pick(files, others map[string]string) map[string]string {
	picked := map[string]string{}
	for name := range others {
		if content, ok := files[name]; ok {
			picked[name] = content
		}
	}
	return picked
}
