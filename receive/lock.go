package receive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/cli"
	"ostree-push/internal/patience"
	"ostree-push/ostree"
	"ostree-push/report"
)

// repoLock is the lock that receivers into one repository take in turns, from
// the comparison with the current refs to the end of the metadata update. The
// kernel releases it when its holder dies.
type repoLock struct{ f *os.File }

const (
	lockName = ".ostree-receive.lock"
	// lockTimeout bounds the wait for others, each of which is at work for
	// seconds.
	lockTimeout = 10 * time.Minute
	lockPoll    = 50 * time.Millisecond
)

// lockRepo waits for the lock. No transaction may be open meanwhile: a hook
// that prunes holds this lock and waits for libostree's exclusive one.
func lockRepo(ctx context.Context, target *ostree.Repo, sink report.Sink) (*repoLock, error) {
	path := filepath.Join(target.Path(), lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o660)
	if err != nil {
		return nil, fmt.Errorf("open the repository's lock: %w", err)
	}
	err = waitForLock(ctx, f, func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }, lockWait{
		what:     "the repository's lock",
		announce: func() { announceWait(sink, "Waiting for another push into this repository to finish") },
		timeout: cli.Hint(fmt.Errorf("another push into this repository has held %s for %v", path, lockTimeout),
			"push again when that one has ended"),
	})
	if err != nil {
		f.Close()
		return nil, err
	}
	return &repoLock{f}, nil
}

func (l *repoLock) release() { l.f.Close() }

// lockShared takes libostree's shared lock on the repository, which keeps others from pruning it, and
// waits for those who do as long as for other receivers: libostree itself gives up after
// core.lock-timeout-secs, 30 by default.
func lockShared(ctx context.Context, target *ostree.Repo, sink report.Sink) (unlock func() error, err error) {
	path := filepath.Join(target.Path(), ".lock")
	if f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o660); err == nil {
		defer f.Close() // when libostree has it as well
		err := waitForLock(ctx, f, func() error { return lockAsLibostree(f) }, lockWait{
			what:     "libostree's lock of the repository",
			announce: func() { announceWait(sink, "Waiting for another program that has locked this repository") },
			timeout: cli.Hint(fmt.Errorf("another program, such as ostree prune, has held %s for %v", path, lockTimeout),
				"push again when that one has ended"),
		})
		if err != nil {
			return nil, err
		}
	}
	unlock, err = target.LockShared(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock the repository: %w", err)
	}
	return unlock, nil
}

// lockAsLibostree takes a shared lock of the kind that libostree takes, without waiting: that of an open file
// description, or an flock where the kernel has none.
func lockAsLibostree(f *os.File) error {
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK})
	if errors.Is(err, unix.EINVAL) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EACCES) {
		return unix.EWOULDBLOCK
	}
	return err
}

// checkLocks returns an error if one of the locks that a receive takes could not be.
func checkLocks(target *ostree.Repo) error {
	for _, name := range []string{lockName, ".lock"} {
		f, err := os.OpenFile(filepath.Join(target.Path(), name), os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return cli.Hint(fmt.Errorf("open the repository's lock: %w", err), "%s is to be a file of the account that receives: remove what is there", name)
		}
		f.Close()
	}
	return nil
}

// announceWait says that somebody else is waited for, who has a lock.
func announceWait(sink report.Sink, text string) {
	sink.Log(report.Info, text)
	sink.Progress(report.Progress{Phase: report.Waiting})
}

// lockWait is what is said of a wait for a lock.
type lockWait struct {
	what     string
	announce func()
	timeout  error // that it has been waited for too long
}

// waitForLock waits until lock, which takes a lock on a file without waiting, succeeds.
func waitForLock(ctx context.Context, f *os.File, lock func() error, w lockWait) error {
	ctx, cancel := patience.Within(ctx, lockTimeout, w.timeout)
	defer cancel()
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for announced := false; ; announced = true {
		err := lock()
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if !announced {
			w.announce()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", w.what, context.Cause(ctx))
		}
	}
}
