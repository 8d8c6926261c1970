package ostree_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"ostree-push/ostree"
)

// An archive repository takes the bytes of OpenContent for its own, whatever
// the mode of the repository that they come from.
func TestOpenContent(t *testing.T) {
	dir := tree(t)
	names := []string{"file", "empty", "large", "link", "sub/dir/nested"}
	// Attributes and, for root, owners are part of the object too.
	special := filepath.Join(dir, "special")
	write(t, special, "special")
	names = append(names, "special")
	hasXattr := unix.Setxattr(special, "user.test", []byte("value\x00\xff"), 0) == nil
	if os.Geteuid() == 0 {
		if err := os.Chown(special, 12345, 54321); err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(filepath.Join(dir, "link"), 12345, 54321); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(special, 0o755|os.ModeSetuid); err != nil {
			t.Fatal(err)
		}
	}

	for _, mode := range []string{"bare", "bare-user", "bare-user-only", "archive"} {
		t.Run(mode, func(t *testing.T) {
			c := newCommit{ref: "main", dir: dir}
			if mode == "bare-user-only" {
				c.args = []string{"--canonical-permissions", "--no-xattrs"}
			}
			path := initRepo(t, mode)
			commit(t, path, c)
			if ls := program(t, "--repo="+path, "ls", "-X", "main", "/special"); c.args == nil && hasXattr && !strings.Contains(ls, "user.test") {
				t.Errorf("the commit has no xattr: %s", ls)
			}
			repo := open(t, path)
			archive := initRepo(t, "archive")
			program(t, "--repo="+archive, "pull-local", path)
			for _, name := range names {
				sum := objectOf(t, path, name)
				file := objectPath(archive, sum, "filez")
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
				write(t, file, string(content(t, repo, sum)))
			}
			program(t, "--repo="+archive, "fsck", "--quiet")
		})
	}
}

// fsck does look at the bytes that TestOpenContent writes.
func TestFsck(t *testing.T) {
	path := initRepo(t, "archive")
	commit(t, path, newCommit{ref: "main", dir: tree(t)})
	repo := open(t, path)
	other := content(t, repo, objectOf(t, path, "large"))
	write(t, objectPath(path, objectOf(t, path, "file"), "filez"), string(other))
	programFails(t, "--repo="+path, "fsck", "--quiet")
}

func content(t *testing.T, repo *ostree.Repo, sum ostree.Checksum) []byte {
	t.Helper()
	r, err := repo.OpenContent(context.Background(), sum)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d bytes, %v", n, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOpenContentRead(t *testing.T) {
	path := initRepo(t, "bare-user")
	commit(t, path, newCommit{ref: "main", dir: tree(t)})
	repo, sum := open(t, path), objectOf(t, path, "large")
	want := content(t, repo, sum)
	r, err := repo.OpenContent(context.Background(), sum)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := r.Read(nil); n != 0 || err != nil {
		t.Errorf("reading nothing: %d, %v", n, err)
	}
	if got, err := io.ReadAll(iotest.OneByteReader(r)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("byte by byte: %d bytes, %v", len(got), err)
	}
}

func TestOpenContentFails(t *testing.T) {
	path := initRepo(t, "bare-user")
	commit(t, path, newCommit{ref: "main", dir: tree(t)})
	repo, sum := open(t, path), objectOf(t, path, "large")
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := repo.OpenContent(ctx, checksum(t, strings.Repeat("0", 63)+"1")); !errors.Is(err, ostree.ErrNotFound) {
		t.Errorf("a missing object: %v", err)
	}
	cancel()
	r, err := repo.OpenContent(ctx, sum)
	if err == nil { // it has read nothing yet
		defer r.Close()
		_, err = r.Read(make([]byte, 1))
	}
	if !errors.Is(err, ostree.ErrCancelled) {
		t.Errorf("cancelled: %v", err)
	}
}
