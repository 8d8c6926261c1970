package receive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/cli"
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
	err = waitForLock(ctx, f, unix.LOCK_EX, lockWait{
		what:     "the repository's lock",
		announce: func() { sink.Log(report.Info, "Waiting for another push into this repository to finish") },
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
		err := waitForLock(ctx, f, unix.LOCK_SH, lockWait{
			what:     "libostree's lock of the repository",
			announce: func() { sink.Log(report.Info, "Waiting for another program that has locked this repository") },
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

// lockWait is what is said of a wait for a lock.
type lockWait struct {
	what     string
	announce func()
	timeout  error // that it has been waited for too long
}

// waitForLock waits until nobody else holds a lock on a file in the way.
func waitForLock(ctx context.Context, f *os.File, how int, w lockWait) error {
	ctx, cancel := withPatience(ctx, lockTimeout, w.timeout)
	defer cancel()
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for announced := false; ; announced = true {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
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
