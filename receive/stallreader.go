package receive

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// stallReader reads from a client that is not to be waited for longer than the
// timeout until it has sent stallBytes, or all that it has to say.
type stallReader struct {
	ctx     context.Context
	in      *os.File
	timeout time.Duration

	// milestones is how often the client has sent stallBytes, or begun anew, on
	// any of its channels.
	milestones *atomic.Int64

	// Since the last of them, the client has been waited for so long, for so many
	// bytes.
	last   int64
	waited time.Duration
	bytes  int
}

func newStallReader(ctx context.Context, in *os.File, timeout time.Duration) *stallReader {
	return &stallReader{ctx: ctx, in: in, timeout: timeout, milestones: new(atomic.Int64)}
}

var errClientStalls = errors.New("the client does not send any more")

func (r *stallReader) Read(p []byte) (int, error) {
	if err := r.wait(); err != nil {
		return 0, err
	}
	n, err := r.in.Read(p)
	if r.bytes += n; r.bytes >= stallBytes {
		r.expect()
	}
	return n, err
}

// wait waits until there is something to read.
func (r *stallReader) wait() error {
	fds := []unix.PollFd{{Fd: int32(r.in.Fd()), Events: unix.POLLIN}}
	for {
		if r.ctx.Err() != nil {
			return context.Cause(r.ctx)
		}
		clock := waitClock{time.Now()}
		n, err := unix.Poll(fds, int(waitSlice/time.Millisecond))
		r.waited += clock.step(time.Now())
		if now := r.milestones.Load(); now != r.last {
			r.last, r.waited = now, 0
		}
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return os.NewSyscallError("poll", err)
		case r.waited > r.timeout:
			return errClientStalls
		case n > 0:
			return nil
		}
	}
}

// expect begins the time that the client has for what comes next.
func (r *stallReader) expect() {
	r.last = r.milestones.Add(1)
	r.waited, r.bytes = 0, 0
}
