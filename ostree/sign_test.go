package ostree_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ostree-push/ostree"
)

// What is signed here is verified by the ostree program, and the errors of what
// is not can be told apart.
func TestGPG(t *testing.T) {
	ctx := context.Background()
	key, stranger := newGPGKey(t), newGPGKey(t)
	path := initRepo(t, "archive")
	sum := commit(t, path, newCommit{ref: "main", dir: tree(t)})
	repo := open(t, path)
	if err := repo.AddRemote("trusting", "http://127.0.0.1:1/", map[string]string{"gpgkeypath": key.public}); err != nil {
		t.Fatal(err)
	}
	object, err := repo.CommitObject(sum)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(data []byte) error {
		t.Helper()
		signatures, err := repo.CommitSignatures(ctx, sum, ostree.GPGSignatures)
		if err != nil {
			t.Fatal(err)
		}
		return repo.GPGVerify(ctx, "trusting", data, signatures)
	}
	sign := func(key gpgKey) {
		t.Helper()
		if err := repo.GPGSignCommit(ctx, sum, key.id, key.home); err != nil {
			t.Fatal(err)
		}
	}

	if err := verify(object); !errors.Is(err, ostree.ErrNoSignature) {
		t.Errorf("unsigned: %v", err)
	}
	sign(stranger)
	if err := verify(object); !errors.Is(err, ostree.ErrMissingKey) {
		t.Errorf("signed by a stranger: %v", err)
	}
	sign(key)
	sign(key) // once is enough
	if err := verify(object); err != nil {
		t.Errorf("signed: %v", err)
	}
	if err := verify(append(bytes.Clone(object), 0)); !errors.Is(err, ostree.ErrInvalidSignature) {
		t.Errorf("signature over something else: %v", err)
	}
	if shown := program(t, "--repo="+path, "show", "--gpg-verify-remote=trusting", "main"); !bytes.Contains([]byte(shown), []byte("Found 2 signatures")) ||
		!bytes.Contains([]byte(shown), []byte("Good signature")) {
		t.Errorf("ostree show: %s", shown)
	}
}

// Other entries of what signatures are added to stay.
func TestSignaturesAdded(t *testing.T) {
	ctx := context.Background()
	path := initRepo(t, "bare-user")
	sum := commit(t, path, newCommit{ref: "main", dir: tree(t), args: []string{"--add-detached-metadata-string=other=entry"}})
	repo := open(t, path)
	add := func(key string, signatures ...string) {
		t.Helper()
		var raw [][]byte
		for _, s := range signatures {
			raw = append(raw, []byte(s))
		}
		if err := repo.AddCommitSignatures(ctx, sum, key, raw); err != nil {
			t.Fatal(err)
		}
		if err := repo.AddSummarySignatures(key, raw); err != nil {
			t.Fatal(err)
		}
	}
	add("ostree.sign.a", "one", "two")
	add("ostree.sign.b", "three")
	add("ostree.sign.a", "two", "four")
	for key, want := range map[string][][]byte{
		"ostree.sign.a": {[]byte("one"), []byte("two"), []byte("four")},
		"ostree.sign.b": {[]byte("three")},
		"ostree.sign.c": {},
	} {
		got, err := repo.CommitSignatures(ctx, sum, key)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", key, err, diff)
		}
	}
	if got := program(t, "--repo="+path, "show", "--print-detached-metadata-key=other", "main"); got != "'entry'\n" {
		t.Errorf("the other entry is %q", got)
	}
	sig, err := os.ReadFile(filepath.Join(path, "summary.sig"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"ostree.sign.a", "onetwofour", "ostree.sign.b", "three"} {
		if !bytes.Contains(sig, []byte(part)) {
			t.Errorf("%q is not in summary.sig: %q", part, sig)
		}
	}
	// It is for everybody to read.
	if info, err := os.Stat(filepath.Join(path, "summary.sig")); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("summary.sig: %v, %v", info.Mode(), err)
	}
}

// A commit object that is not the one its name says is an error.
func TestCorruptCommit(t *testing.T) {
	path := initRepo(t, "archive")
	sum := commit(t, path, newCommit{ref: "main", dir: tree(t), subject: "one"})
	other := commit(t, path, newCommit{ref: "other", dir: tree(t), subject: "two"})
	content, err := os.ReadFile(objectPath(path, other, "commit"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(objectPath(path, sum, "commit")); err != nil {
		t.Fatal(err)
	}
	write(t, objectPath(path, sum, "commit"), string(content))
	repo := open(t, path)
	if _, err := repo.CommitObject(sum); err == nil {
		t.Error("CommitObject does not notice")
	}
	if _, err := repo.LoadCommit(sum); err == nil {
		t.Error("LoadCommit does not notice")
	}
}
