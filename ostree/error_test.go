package ostree_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ostree-push/ostree"
)

func TestErrorNotFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing")
	_, err := ostree.Open(path)
	var e *ostree.Error
	if !errors.As(err, &e) || e.Domain != "g-io-error-quark" || e.Code != 1 {
		t.Fatalf("%#v is not G_IO_ERROR_NOT_FOUND", err)
	}
	if !strings.Contains(err.Error(), "No such file or directory") {
		t.Errorf("message %q", err)
	}
	wrapped := fmt.Errorf("open: %w", err)
	for target, want := range map[error]bool{
		ostree.ErrNotFound:         true,
		fs.ErrNotExist:             true,
		ostree.ErrExists:           false,
		ostree.ErrCancelled:        false,
		ostree.ErrPermissionDenied: false,
		ostree.ErrNoSignature:      false,
		ostree.ErrInvalidSignature: false, // the same code, in another domain
		fs.ErrExist:                false,
		fs.ErrPermission:           false,
		context.Canceled:           false,
	} {
		if got := errors.Is(wrapped, target); got != want {
			t.Errorf("errors.Is(err, %q): %v", target, got)
		}
	}
}

func TestErrorPermission(t *testing.T) {
	repo := initRepo(t, "archive")
	objects := filepath.Join(repo, "objects")
	if err := os.Chmod(objects, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(objects, 0o755)
	if os.Geteuid() == 0 {
		// This thread opens files as nobody.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		unix.SetfsuidRetUid(65534)
		defer unix.SetfsuidRetUid(0)
	}
	_, err := ostree.Open(repo)
	if !errors.Is(err, ostree.ErrPermissionDenied) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%#v", err)
	}
}

// TestErrorSignature pulls with verification, which is as the remote is
// configured.
func TestErrorSignature(t *testing.T) {
	home, key := gpgKey(t)
	source, dir := initRepo(t, "archive"), tree(t)
	unsigned := commit(t, source, newCommit{ref: "unsigned", dir: dir, subject: "unsigned"})
	forged := commit(t, source, newCommit{ref: "forged", dir: dir, subject: "forged"})
	signed := commit(t, source, newCommit{ref: "signed", dir: dir, subject: "signed",
		args: []string{"--gpg-sign=" + key, "--gpg-homedir=" + home}})
	signature, err := os.ReadFile(objectPath(source, signed, "commitmeta"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, objectPath(source, forged, "commitmeta"), string(signature))

	path, url := create(t, "").Path(), serve(t, source)
	program(t, "--repo="+path, "remote", "add", "--no-gpg-verify", "careless", url)
	program(t, "--repo="+path, "remote", "add", "--set=gpg-verify=true", "keyless", url)
	program(t, "--repo="+path, "remote", "add", "--set=gpg-verify=true",
		"--gpg-import="+filepath.Join(home, "key"), "careful", url)
	repo := open(t, path)
	for _, c := range []struct {
		remote string
		sum    ostree.Checksum
		verify bool
		want   error
	}{
		{"careful", unsigned, true, ostree.ErrNoSignature},
		{"careful", forged, true, ostree.ErrInvalidSignature},
		{"careful", signed, true, nil},
		{"keyless", unsigned, true, ostree.ErrNoSignature},
		{"keyless", signed, true, ostree.ErrMissingKey},
		{"careless", unsigned, true, nil},
		{"careful", unsigned, false, nil},
	} {
		opts := pullAll(c.sum)
		opts.Remote, opts.Verify = c.remote, c.verify
		err := repo.Pull(context.Background(), opts)
		if !errors.Is(err, c.want) {
			t.Errorf("from %s, verify %v: %#v, want %#v", c.remote, c.verify, err, c.want)
		}
	}
}

// gpgKey makes a key in a GnuPG home of its own, where the file "key" has its
// public half.
func gpgKey(t *testing.T) (home, key string) {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip(err)
	}
	home, key = t.TempDir(), "test@example.org"
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() })
	for _, args := range [][]string{
		{"--passphrase", "", "--quick-gen-key", key, "ed25519", "sign", "never"},
		{"--output", filepath.Join(home, "key"), "--export", key},
	} {
		out, err := exec.Command("gpg", append([]string{"--homedir", home, "--batch"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("gpg %q: %v\n%s", args, err, out)
		}
	}
	return home, key
}
