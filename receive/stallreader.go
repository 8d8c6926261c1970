package receive

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// stallReader reads from a client, which has to send at least stallBytes in each
// timeout, or all that it has to say.
type stallReader struct {
	ctx     context.Context
	in      *os.File
	timeout time.Duration

	// The client has sent so many bytes since then.
	bytes int
	since time.Time
}

func newStallReader(ctx context.Context, in *os.File, timeout time.Duration) *stallReader {
	return &stallReader{ctx: ctx, in: in, timeout: timeout, since: time.Now()}
}

var errClientStalls = errors.New("the client does not send any more")

func (r *stallReader) Read(p []byte) (int, error) {
	fds := []unix.PollFd{{Fd: int32(r.in.Fd()), Events: unix.POLLIN}}
	const slice = 200 * time.Millisecond // in which the end of the context is noticed
	for {
		if err := r.ctx.Err(); err != nil {
			return 0, context.Cause(r.ctx)
		}
		n, err := unix.Poll(fds, int(slice/time.Millisecond))
		if n > 0 {
			break
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, os.NewSyscallError("poll", err)
		}
		if time.Since(r.since) > r.timeout {
			return 0, errClientStalls
		}
	}
	n, err := r.in.Read(p)
	if r.bytes += n; r.bytes >= stallBytes {
		r.expect()
	}
	if time.Since(r.since) > r.timeout {
		return 0, errClientStalls
	}
	return n, err
}

// expect begins the time that the client has for what comes next.
func (r *stallReader) expect() { r.since, r.bytes = time.Now(), 0 }
