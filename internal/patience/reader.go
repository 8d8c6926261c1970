package patience

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// StallBytes is how many bytes have to come within a timeout, which is then begun anew.
const StallBytes = 1024

// ErrStalls is the error of a Reader whose client does not send what it ought to in time.
var ErrStalls = errors.New("the client does not send any more")

// Reader reads from a client that is not to be waited for longer than a timeout until it has sent StallBytes, or
// all that it has to say. Reading, Expect and what sets something belong to one goroutine; Also may be called by others, when the timeout is
// set.
type Reader struct {
	ctx     context.Context
	in      *os.File
	timeout time.Duration

	// milestones is how often the client has sent StallBytes, or begun anew, on
	// any of its channels.
	milestones *atomic.Int64

	// Since the last of them, the client has been waited for so long, for so many
	// bytes.
	last   int64
	waited time.Duration
	bytes  int
}

// NewReader returns a Reader from a file that can be polled. When ctx ends, so does reading, with its cause.
func NewReader(ctx context.Context, in *os.File, timeout time.Duration) *Reader {
	return &Reader{ctx: ctx, in: in, timeout: timeout, milestones: new(atomic.Int64)}
}

// Also returns a Reader from another channel of the same client, with the same timeout: what comes from one is
// progress of both.
func (r *Reader) Also(ctx context.Context, in *os.File) *Reader {
	also := NewReader(ctx, in, r.timeout)
	also.milestones = r.milestones
	return also
}

// SetTimeout sets the timeout from now on.
func (r *Reader) SetTimeout(timeout time.Duration) { r.timeout = timeout }

// SetContext sets the context that ends reading from now on.
func (r *Reader) SetContext(ctx context.Context) { r.ctx = ctx }

// Read reads what is there, and waits for a byte at least.
func (r *Reader) Read(p []byte) (int, error) {
	if err := r.wait(); err != nil {
		return 0, err
	}
	n, err := r.in.Read(p)
	if r.bytes += n; r.bytes >= StallBytes {
		r.Expect()
	}
	return n, err
}

// wait waits until there is something to read.
func (r *Reader) wait() error {
	fds := []unix.PollFd{{Fd: int32(r.in.Fd()), Events: unix.POLLIN}}
	for {
		if r.ctx.Err() != nil {
			return context.Cause(r.ctx)
		}
		clock := Start(time.Now())
		n, err := unix.Poll(fds, int(Slice/time.Millisecond))
		r.waited += clock.Step(time.Now())
		if now := r.milestones.Load(); now != r.last {
			r.last, r.waited = now, 0
		}
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return os.NewSyscallError("poll", err)
		case r.waited > r.timeout:
			return ErrStalls
		case n > 0:
			return nil
		}
	}
}

// Expect begins the time that the client has for what comes next.
func (r *Reader) Expect() {
	r.last = r.milestones.Add(1)
	r.waited, r.bytes = 0, 0
}
