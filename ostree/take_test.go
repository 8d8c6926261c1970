package ostree_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ostree-push/ostree"
)

// metadataBelow says of each file and directory below a directory what may be different though the content is the same.
// Directories are of now, and so their times are left out.
func metadataBelow(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var stat unix.Stat_t
		if err := unix.Lstat(path, &stat); err != nil {
			return err
		}
		names := make([]byte, 4096)
		n, err := unix.Llistxattr(path, names)
		said := fmt.Sprintf("mode %o, owner %d:%d, xattrs %q %v", stat.Mode, stat.Uid, stat.Gid, names[:max(n, 0)], err)
		if !d.IsDir() {
			said += fmt.Sprintf(", %d links, %d bytes, of %v", stat.Nlink, stat.Size, stat.Mtim)
		}
		all[strings.TrimPrefix(path, dir)] = said
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestTakeIsImport publishes the same with Take and with Import: files and directories have the same metadata, to the
// last bit.
func TestTakeIsImport(t *testing.T) {
	source := rich(t)
	main := refsOf(t, source)["main"]
	for _, umask := range []int{0o022, 0o077, 0o002} {
		for _, fsync := range []string{"true", "false"} {
			t.Run(fmt.Sprintf("umask %o, core.fsync=%s", umask, fsync), func(t *testing.T) {
				defer unix.Umask(unix.Umask(umask))
				publish := func(take bool) map[string]string {
					path := initRepo(t, "archive")
					program(t, "--repo="+path, "config", "set", "core.fsync", fsync)
					if err := os.Chmod(filepath.Join(path, "objects"), 0o755|fs.ModeSetgid); err != nil {
						t.Fatal(err)
					}
					repo, from := open(t, path), open(t, copyRepo(t, source))
					in(t, repo, func(tx *ostree.Transaction) {
						if take {
							takeTree(t, tx, from, main)
						} else {
							importTree(t, repo, tx, from, main)
						}
						if err := tx.ImportCommit(t.Context(), from, main); err != nil {
							t.Fatal(err)
						}
					})
					program(t, "--repo="+path, "fsck", "--quiet")
					left, _ := filepath.Glob(filepath.Join(from.Path(), "objects/*/*.[fd]*"))
					if take != (len(left) == 0) {
						t.Errorf("take is %v, and %d objects are left", take, len(left))
					}
					if err := os.RemoveAll(from.Path()); err != nil {
						t.Fatal(err)
					}
					return metadataBelow(t, filepath.Join(path, "objects"))
				}
				if diff := cmp.Diff(publish(false), publish(true)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// What is there stays, unless it is an empty file; and what was taken stays where it was if the transaction is aborted.
func TestTakeReplacesNothing(t *testing.T) {
	source := rich(t)
	main := refsOf(t, source)["main"]
	target := open(t, copyRepo(t, source))
	var empty []string
	kept := map[string]uint64{}
	for i, o := range objectsOf(t, target.Path()) {
		file := filepath.Join(target.Path(), ostree.ArchivePath(o.t, o.sum))
		if o.t != ostree.ObjectCommit && i%2 == 0 {
			empty = append(empty, file)
			if err := os.Truncate(file, 0); err != nil {
				t.Fatal(err)
			}
		} else {
			kept[file] = inode(t, file)
		}
	}
	from := open(t, copyRepo(t, source))
	tx, err := target.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	takeTree(t, tx, from, main)
	if err := tx.Abort(); err != nil {
		t.Fatal(err)
	}
	if got, want := len(objectsOf(t, from.Path())), len(objectsOf(t, source)); got != want {
		t.Errorf("of %d objects, %d are left", want, got)
	}
	in(t, target, func(tx *ostree.Transaction) { takeTree(t, tx, from, main) })
	for file, was := range kept {
		if inode(t, file) != was {
			t.Errorf("%s has been replaced", file)
		}
	}
	if len(kept) < 3 || len(empty) < 3 {
		t.Errorf("%d objects were there, and %d were empty", len(kept), len(empty))
	}
	program(t, "--repo="+target.Path(), "fsck", "--quiet")
}

func inode(t *testing.T, file string) uint64 {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Lstat(file, &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Ino
}

// What cannot be moved is imported: between repositories of other modes and of other owners.
func TestTakeElsewhere(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, target, from string){
		"owner": func(t *testing.T, _, from string) {
			if err := os.Chown(filepath.Join(from, "objects"), 12345, -1); err != nil {
				t.Skipf("not root: %v", err)
			}
		},
		"mode": func(t *testing.T, target, _ string) {
			program(t, "--repo="+target, "config", "set", "core.mode", "bare-user-only")
		},
	} {
		t.Run(name, func(t *testing.T) {
			source := initRepo(t, "archive")
			main := commit(t, source, newCommit{ref: "main", dir: tree(t), args: []string{"--canonical-permissions"}})
			target, from := initRepo(t, "archive"), open(t, copyRepo(t, source))
			prepare(t, target, from.Path())
			repo := open(t, target)
			in(t, repo, func(tx *ostree.Transaction) {
				takeTree(t, tx, from, main)
				if err := tx.ImportCommit(t.Context(), from, main); err != nil {
					t.Fatal(err)
				}
			})
			if got, want := len(objectsOf(t, from.Path())), len(objectsOf(t, source)); got != want {
				t.Errorf("of %d objects, %d are left", want, got)
			}
			move(t, repo, ostree.RefUpdate{Ref: "main", New: main})
			program(t, "--repo="+target, "fsck", "--quiet")
		})
	}
}

// An object that is nowhere is an error of the transaction, whose commit stays marked as partial.
func TestTakeLost(t *testing.T) {
	source := rich(t)
	main := refsOf(t, source)["main"]
	target, from := open(t, initRepo(t, "archive")), open(t, copyRepo(t, source))
	tx, err := target.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	takeTree(t, tx, from, main)
	if err := tx.ImportCommit(t.Context(), from, main); err != nil {
		t.Fatal(err)
	}
	lost := objectOf(t, from.Path(), "large")
	if err := os.Remove(objectPath(from.Path(), lost, "filez")); err != nil {
		t.Fatal(err)
	}
	err = tx.Commit(t.Context())
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), lost.String()) {
		t.Errorf("%v", err)
	}
	if err := tx.Abort(); err != nil {
		t.Fatal(err)
	}
	if partial, err := target.IsPartial(main); err != nil || !partial {
		t.Errorf("the commit is not marked: %v", err)
	}
	program(t, "--repo="+target.Path(), "fsck", "--quiet")
}
