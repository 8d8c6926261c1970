package quarantine_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/internal/otrepo"
	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
	"ostree-push/stream"
)

// newTarget makes an archive repository.
func newTarget(t testing.TB) *ostree.Repo {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "target")
	if err := otrepo.Init(dir, "archive"); err != nil {
		t.Fatal(err)
	}
	target, err := ostree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	return target
}

func newQuarantine(t testing.TB, target *ostree.Repo) *quarantine.Quarantine {
	t.Helper()
	q, err := quarantine.New(target)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// dirmeta is a dirmeta object of its own for each number: uid, gid and mode, 32 bits each, big endian, and no
// extended attributes (OSTREE_DIRMETA_GVARIANT_FORMAT).
func dirmeta(n uint8) (ostree.ObjectName, []byte) {
	data := []byte{0, 0, 0, n, 0, 0, 0, 0, 0, 0, 0x41, 0xed}
	return ostree.ObjectName{Type: ostree.ObjectDirMeta, Sum: sha256.Sum256(data)}, data
}

func write(t testing.TB, q *quarantine.Quarantine, n uint8) ostree.ObjectName {
	t.Helper()
	e, data := dirmeta(n)
	if err := q.Write(e, data); err != nil {
		t.Fatal(err)
	}
	return e
}

// quarantines counts what there is in a target's tmp/.
func quarantines(t testing.TB, target *ostree.Repo) int {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(target.Path(), "tmp", "ostree-receive-*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(dirs)
}

func TestRemove(t *testing.T) {
	target := newTarget(t)
	q := newQuarantine(t, target)
	e := write(t, q, 1)
	if !q.Has(e) {
		t.Error("what was written is not there")
	}
	if err := q.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if has, err := target.HasObject(t.Context(), e.Type, e.Sum); err != nil || has {
		t.Errorf("the target has it: %v, %v", has, err)
	}
	q.Remove()
	if n := quarantines(t, target); n != 0 {
		t.Errorf("%d quarantines are left", n)
	}
}

// Two objects are left by a push that was interrupted, one of them damaged by a crash of the machine. The next push
// gets the other one, and what has been emptied is removed.
func TestResume(t *testing.T) {
	target := newTarget(t)
	q := newQuarantine(t, target)
	whole, damaged := write(t, q, 1), write(t, q, 2)
	if err := q.MarkResumable(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(q.Dir().Name(), ostree.ArchivePath(damaged.Type, damaged.Sum)), 3); err != nil {
		t.Fatal(err)
	}
	q.Leave()
	if n := quarantines(t, target); n != 1 {
		t.Fatalf("%d quarantines are left", n)
	}

	q = newQuarantine(t, target)
	defer q.Remove()
	left := q.Resume(t.Context())
	missing, _ := dirmeta(3)
	for i, want := range map[ostree.ObjectName]bool{whole: true, damaged: true, missing: false} {
		if has, err := left.Take(i, int(i.Sum[0])); err != nil || has != want {
			t.Errorf("%s: %v, %v", i.String(), has, err)
		}
	}
	if _, err := left.Take(whole, 0); !quarantine.IsFault(err) {
		t.Errorf("twice: %v", err)
	}
	broken, taken := left.Finish()
	if len(broken) != 1 || broken[0].ObjectName != damaged || broken[0].Index != int(damaged.Sum[0]) || taken != 1 {
		t.Errorf("damaged %v, taken %d", broken, taken)
	}
	if !q.Has(whole) || q.Has(damaged) || q.Has(missing) {
		t.Error("the whole object alone ought to be there")
	}
	if n := quarantines(t, target); n != 1 {
		t.Errorf("%d quarantines are there, and not just our own", n)
	}
}

// What cannot be resumed from goes with its receiver, and what is of no use, too old, or too much, goes at the next receive.
// What somebody is at work on stays.
func TestLeftovers(t *testing.T) {
	target := newTarget(t)
	q := newQuarantine(t, target)
	write(t, q, 1)
	q.Leave()
	if n := quarantines(t, target); n != 0 {
		t.Errorf("%d quarantines are left that were not marked", n)
	}

	leave := func(age time.Duration) {
		q := newQuarantine(t, target)
		write(t, q, 1)
		if err := q.MarkResumable(); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(q.Dir().Name(), "resumable"), then, then); err != nil {
			t.Fatal(err)
		}
		q.Leave()
	}
	leave(25 * time.Hour)
	held := newQuarantine(t, target)
	defer held.Remove()
	if n := quarantines(t, target); n != 1 {
		t.Errorf("%d quarantines are there: the old one has not been removed", n)
	}
	for i := range 17 {
		leave(time.Duration(i) * time.Minute)
	}
	newQuarantine(t, target).Remove()
	if n := quarantines(t, target); n != 1+16 {
		t.Errorf("%d quarantines are there", n)
	}
	if !quarantine.RemoveLeftovers(filepath.Join(target.Path(), "tmp")) {
		t.Error("nothing was removed")
	}
	if n := quarantines(t, target); n != 1 {
		t.Errorf("%d quarantines are there", n)
	}
	if _, err := os.Stat(held.Dir().Name()); err != nil {
		t.Error(err)
	}
}

// Nothing arrives twice, and through no link.
func TestCreate(t *testing.T) {
	q := newQuarantine(t, newTarget(t))
	defer q.Remove()
	e := write(t, q, 1)
	if err := q.Write(e, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("twice: %v", err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	e, data := dirmeta(2)
	path := filepath.Join(q.Dir().Name(), ostree.ArchivePath(e.Type, e.Sum))
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(outside, path)); err != nil {
		t.Fatal(err)
	}
	if err := q.Write(e, data); err == nil {
		t.Error("a link was followed")
	}
	if f, err := q.Replace(filepath.Base(filepath.Dir(path)) + filepath.Base(path)); err == nil {
		f.Close()
		t.Error("a link was followed")
	}
	if _, err := os.Lstat(outside); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	q := newQuarantine(t, newTarget(t))
	defer q.Remove()
	write(t, q, 1)
	e, data := dirmeta(2)
	if err := q.Write(e, append(bytes.Clone(data), 0)); err != nil {
		t.Fatal(err)
	}
	if err := q.Check(t.Context()); !quarantine.IsFault(err) {
		t.Errorf("a damaged object: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if err := q.Check(ctx); !errors.Is(err, gone) || quarantine.IsFault(err) {
		t.Errorf("cancelled: %v", err)
	}
}

// Only a quarantine can be opened by its name.
func TestOpenDir(t *testing.T) {
	target := newTarget(t)
	q := newQuarantine(t, target)
	defer q.Remove()
	dir, err := quarantine.OpenDir(target.Path(), q.Name())
	if err != nil {
		t.Fatal(err)
	}
	dir.Close()
	for _, name := range []string{"", ".", "cache", "ostree-receive-", "ostree-receive-/../cache", q.Name() + "/objects"} {
		if dir, err := quarantine.OpenDir(target.Path(), name); err == nil {
			dir.Close()
			t.Errorf("%q was opened", name)
		}
	}
}

func TestRoom(t *testing.T) {
	target := newTarget(t)
	var fs unix.Statfs_t
	if err := unix.Statfs(target.Path(), &fs); err != nil {
		t.Fatal(err)
	}
	total := fs.Blocks * uint64(fs.Bsize)
	if err := os.WriteFile(filepath.Join(target.Path(), "config"),
		fmt.Appendf(nil, "[core]\nrepo_version=1\nmode=archive-z2\nmin-free-space-size=%sMB\n", strconv.FormatUint(total>>20+1, 10)), 0o644); err != nil {
		t.Fatal(err)
	}
	full, err := ostree.Open(target.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	q := newQuarantine(t, full)
	defer q.Remove()
	if err := q.NewRoom().Take(1); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("room: %v", err)
	}
	if _, err := q.SpaceWriter(new(bytes.Buffer)).Write([]byte("x")); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("writer: %v", err)
	}
	q2 := newQuarantine(t, target)
	defer q2.Remove()
	if err := q2.NewRoom().Take(1 << 62); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("more than any disk has: %v", err)
	}
}

func TestFault(t *testing.T) {
	for _, ours := range []error{nil, ostree.ErrCancelled, context.Canceled, &os.PathError{Op: "read", Path: "x", Err: unix.EIO}} {
		if quarantine.IsFault(quarantine.Fault(ours)) {
			t.Errorf("%v is said to be the sender's", ours)
		}
	}
	if !quarantine.IsFault(fmt.Errorf("list: %w", &stream.ProtocolError{})) {
		t.Error("what is against the protocol is the sender's")
	}
	if err := quarantine.Fault(errors.New("odd")); !quarantine.IsFault(fmt.Errorf("object: %w", err)) {
		t.Error("what is wrong with an object is the sender's")
	}
}
