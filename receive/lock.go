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
	ctx, cancel := context.WithTimeoutCause(ctx, lockTimeout,
		cli.Hint(fmt.Errorf("another push into this repository has held %s for %v", path, lockTimeout), "push again when that one has ended"))
	defer cancel()
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for announced := false; ; announced = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return &repoLock{f}, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !announced {
			sink.Log(report.Info, "Waiting for another push into this repository to finish")
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for the repository's lock: %w", context.Cause(ctx))
		}
	}
}

func (l *repoLock) release() { l.f.Close() }
