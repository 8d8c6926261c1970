package receive

import (
	"context"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// errHangup ends a receive whose pusher has gone.
var errHangup = errors.New("the connection to the pusher is lost")

// watchHangup returns a context that ends when nobody reads one of the files
// any more, which is how a lost ssh connection shows: sshd closes its ends. Standard
// input says nothing, since a pusher may well start with it closed.
func watchHangup(parent context.Context, files ...*os.File) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	wake, wakeEnd, err := os.Pipe()
	if err != nil {
		return ctx, func() { cancel(nil) }
	}
	fds := []unix.PollFd{{Fd: int32(wake.Fd()), Events: unix.POLLIN}}
	for _, f := range files {
		fds = append(fds, unix.PollFd{Fd: int32(f.Fd())})
	}
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			_, err := unix.Poll(fds, -1)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || fds[0].Revents != 0 {
				return
			}
			for i := range fds {
				switch {
				case fds[i].Revents&(unix.POLLERR|unix.POLLHUP) != 0:
					cancel(errHangup)
					return
				case fds[i].Revents&unix.POLLNVAL != 0:
					fds[i].Fd = -1 // was never open
				}
			}
		}
	}()
	return ctx, func() {
		wakeEnd.Close()
		wg.Wait()
		wake.Close()
		cancel(nil)
	}
}
