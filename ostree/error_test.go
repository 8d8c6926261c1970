package ostree_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
