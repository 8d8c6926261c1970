package ostree_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"ostree-push/ostree"
)

func TestCreate(t *testing.T) {
	parent := create(t, "")
	dir := filepath.Join(t.TempDir(), "repo")
	repo, err := ostree.Create(dir, ostree.ModeBareUser, ostree.CreateOptions{
		Parent: parent.Path(),
		Core:   map[string]string{"min-free-space-size": "3MB"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	if repo.Path() != dir {
		t.Errorf("path %q, want %q", repo.Path(), dir)
	}
	if repo.Mode() != ostree.ModeBareUser {
		t.Errorf("mode %q", repo.Mode())
	}
	if got := repo.Parents(); !slices.Equal(got, []string{parent.Path()}) {
		t.Errorf("parents %q, want only %q", got, parent.Path())
	}
	if got := repo.CoreOption("min-free-space-size"); got != "3MB" {
		t.Errorf("min-free-space-size %q", got)
	}
	if got := repo.CoreOption("other"); got != "" {
		t.Errorf("an option that is not set is %q", got)
	}
	if got, err := repo.MinFreeSpace(); got != 3<<20 || err != nil {
		t.Errorf("min. free space %d, %v", got, err)
	}
	if id := repo.CollectionID(); id != "" {
		t.Errorf("collection id %q", id)
	}
}

// A path must not be that of a file descriptor, which is another file later.
func TestCreateWithoutOptions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	repo, err := ostree.Create(dir, ostree.ModeArchive, ostree.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	if repo.Path() != dir {
		t.Errorf("path %q, want %q", repo.Path(), dir)
	}
}

func TestCreateFails(t *testing.T) {
	if _, err := ostree.Create(filepath.Join(t.TempDir(), "repo"), "no-mode", ostree.CreateOptions{}); err == nil {
		t.Error("made a repository of an unknown mode")
	}
	_, err := ostree.Create(filepath.Join(t.TempDir(), "no", "repo"), ostree.ModeArchive, ostree.CreateOptions{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a missing directory: %v", err)
	}
	_, err = ostree.Create(filepath.Join(t.TempDir(), "repo"), ostree.ModeArchive, ostree.CreateOptions{Parent: "/no/parent"})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("with a missing parent: %v", err)
	}
}

func TestOpenDefault(t *testing.T) {
	want := create(t, "").Path()
	t.Setenv("OSTREE_REPO", want)
	t.Chdir(t.TempDir())
	repo, err := ostree.OpenDefault()
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	if repo.Path() != want {
		t.Errorf("path %q, want %q", repo.Path(), want)
	}
}

func TestClose(t *testing.T) {
	repo := create(t, serve(t, t.TempDir()))
	repo.Close()
	repo.Close()
	if err := repo.Pull(context.Background(), pullAll()); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Pull: %v", err)
	}
	if _, err := repo.FetchSummary(context.Background(), "origin", 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("FetchSummary: %v", err)
	}
}

func TestLockShared(t *testing.T) {
	repo := create(t, "")
	program(t, "--repo="+repo.Path(), "config", "set", "core.lock-timeout-secs", "0")
	unlock, err := repo.LockShared(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	programFails(t, "--repo="+repo.Path(), "prune")
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	program(t, "--repo="+repo.Path(), "prune")

	tx, err := repo.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	programFails(t, "--repo="+repo.Path(), "prune")
	if err := tx.Abort(); err != nil {
		t.Fatal(err)
	}
	program(t, "--repo="+repo.Path(), "prune")
}

// While somebody else holds the exclusive lock, the wait ends with its context.
func TestLockSharedCancelled(t *testing.T) {
	repo := create(t, "")
	lock, err := os.OpenFile(filepath.Join(repo.Path(), ".lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.FcntlFlock(lock.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := repo.LockShared(ctx)
		done <- err
	}()
	cancel()
	if err := returns(t, "LockShared", done); !errors.Is(err, ostree.ErrCancelled) {
		t.Errorf("LockShared: %v", err)
	}
	if _, err := repo.Begin(ctx); !errors.Is(err, ostree.ErrCancelled) {
		t.Errorf("Begin: %v", err)
	}
}
