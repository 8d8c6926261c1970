package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/ostree"
	"ostree-push/stream"
)

// interruptPush has a pusher send the first n objects of its commit, and go.
func interruptPush(t *testing.T, s *lyingSource, v *victim, n int) {
	t.Helper()
	p, wait := newRogue(t, s, v)
	err := errors.Join(p.start(), p.list())
	for _, e := range p.entries[:n] {
		err = errors.Join(err, p.put(e, p.bodies[e]))
	}
	// The receiver gets what there is, and a part of what there is not.
	e := p.entries[len(p.entries)-1]
	err = errors.Join(err, p.conn.SendData(stream.Data{ObjectName: e, Length: 1 << 20, Last: true}, strings.NewReader("part")))
	if err == nil || !strings.Contains(err.Error(), "4 bytes, not 1048576") {
		t.Fatal(err)
	}
	p.conn.Flush()
	p.stdin.Close()
	if stderr, err := wait(); err == nil || !strings.Contains(stderr, stream.ErrEnded.Error()) {
		t.Errorf("the receiver ends with %v, and says %q", err, stderr)
	}
	if v.refs(t) != v.before {
		t.Error("the refs have changed")
	}
	output(t, "ostree", "--repo="+v.dir, "fsck", "-q")
}

// leftovers are the quarantines of a repository.
func (v *victim) leftovers() []string {
	all, _ := filepath.Glob(filepath.Join(v.dir, "tmp/ostree-receive-*"))
	return all
}

// What has arrived of an interrupted push is not asked for again, if it is what
// it should be.
func TestResume(t *testing.T) {
	t.Parallel()
	s := newLyingSource(t)
	path, body := s.object(t, "filez", "main")
	for _, test := range []struct {
		name string
		// harm is done to the file of the leftover.
		harm    func(dir, file string) error
		missing bool // the file has to be sent again
		left    int  // leftovers after the next push
	}{
		{"as it was", func(string, string) error { return nil }, false, 0},
		{"damaged", func(_, file string) error {
			damaged := append([]byte{}, body...)
			damaged[len(body)/2]++
			return os.WriteFile(file, damaged, 0o644)
		}, true, 0},
		{"cut short", func(_, file string) error { return os.Truncate(file, 100) }, true, 0},
		{"empty", func(_, file string) error { return os.Truncate(file, 0) }, true, 0},
		{"a link to itself", func(_, file string) error {
			return errors.Join(os.Rename(file, file+"-"), os.Symlink(file+"-", file))
		}, true, 0},
		{"a pipe", func(_, file string) error { return errors.Join(os.Remove(file), unix.Mkfifo(file, 0o644)) }, true, 0},
		{"gone", func(_, file string) error { return os.Remove(file) }, true, 0},
		{"of the day before yesterday", func(dir, _ string) error {
			then := time.Now().Add(-25 * time.Hour)
			return os.Chtimes(filepath.Join(dir, "resumable"), then, then)
		}, true, 0},
		{"being removed", func(dir, _ string) error { return os.Remove(filepath.Join(dir, "resumable")) }, true, 0},
		{"held by somebody", func(dir, _ string) error {
			held, err := os.Open(dir)
			if err != nil {
				return err
			}
			t.Cleanup(func() { held.Close() })
			return unix.Flock(int(held.Fd()), unix.LOCK_EX)
		}, true, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := newVictim(t)
			interruptPush(t, s, v, 1)
			left := v.leftovers()
			if len(left) != 1 {
				t.Fatalf("left: %v", left)
			}
			if err := test.harm(left[0], left[0]+path); err != nil {
				t.Fatal(err)
			}
			p, wait := newRogue(t, s, v)
			if err := errors.Join(p.start(), p.list()); err != nil {
				t.Fatal(err)
			}
			if got := p.missing.Has(0); got != test.missing {
				t.Errorf("the file is missing: %v", got)
			}
			if !p.missing.Has(1) {
				t.Error("the tree, which was not sent, is there")
			}
			if err := p.putAll(nil); err != nil {
				t.Error(err)
			}
			p.stdin.Close()
			if stderr, err := wait(); err != nil {
				t.Errorf("%v\n%s", err, stderr)
			}
			output(t, "ostree", "--repo="+v.dir, "fsck", "-q")
			output(t, "ostree", "--repo="+v.dir, "rev-parse", "main")
			if left := v.leftovers(); len(left) != test.left {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// What is left is bounded, in number and by the free space.
func TestLeftoversAreBounded(t *testing.T) {
	t.Parallel()
	s := newLyingSource(t)
	v := newVictim(t)
	interruptPush(t, s, v, 0)
	if left := v.leftovers(); len(left) != 0 {
		t.Errorf("a push of which nothing has arrived leaves %v", left)
	}

	interruptPush(t, s, v, 1)
	for range 20 {
		left := v.leftovers()[0]
		fresh := filepath.Join(v.dir, "tmp", "ostree-receive-copy"+filepath.Base(t.TempDir()))
		output(t, "cp", "-a", left, fresh)
	}
	interruptPush(t, s, v, 0)
	if n := len(v.leftovers()); n < 10 || n > 17 {
		t.Errorf("there are %d leftovers", n)
	}

	output(t, "ostree", "--repo="+v.dir, "config", "set", "core.min-free-space-size", "1000000TB")
	p, wait := newRogue(t, s, v)
	err := errors.Join(p.start(), p.list(), p.putAll(nil))
	p.stdin.Close()
	if stderr, waitErr := wait(); waitErr == nil || !strings.Contains(stderr, "no space left") {
		t.Errorf("%v, %v, %s", err, waitErr, stderr)
	}
	// What this one has received is not the reason, and there is little of it.
	if left := v.leftovers(); len(left) > 1 {
		t.Errorf("left although space is lacking: %v", left)
	}
}

// The tree that is not sent is asked for when the file is there, and the other
// way round.
func TestResumeTwice(t *testing.T) {
	t.Parallel()
	s := newLyingSource(t)
	v := newVictim(t)
	interruptPush(t, s, v, 1)
	interruptPush(t, s, v, 0)
	if left := v.leftovers(); len(left) != 1 {
		t.Fatalf("left: %v", left)
	}
	p, wait := newRogue(t, s, v)
	if err := errors.Join(p.start(), p.list()); err != nil {
		t.Fatal(err)
	}
	if p.entries[0].Type != ostree.ObjectFile || p.missing.Has(0) || !p.missing.Has(1) {
		t.Errorf("missing: %v", p.missing)
	}
	p.stdin.Close()
	wait()
}
