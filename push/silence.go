package push

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// usualPatience is how long a receiver may say nothing. One of ours says every ten seconds that it
// is alive.
const usualPatience = time.Minute

// silence ends a push whose receiver says nothing for too long: what stops it, or the session
// that it runs in, may leave the connection as it is.
type silence struct {
	host     string
	patience time.Duration
	expects  atomic.Bool // the receiver is one that says that it is alive
	speaks   atomic.Bool // it has said something since the last look
}

// broken says that the receiver has said something.
func (s *silence) broken() { s.speaks.Store(true) }

// watch returns a context that ends when the receiver has said nothing for too long.
func (s *silence) watch(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	go func() {
		// Several looks, so that the time in which we did not run ourselves does not count.
		const looks = 10
		ticker := time.NewTicker(s.patience / looks)
		defer ticker.Stop()
		for silent := 0; silent < looks; silent++ {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
			if s.speaks.Swap(false) || !s.expects.Load() {
				silent = 0
			}
		}
		cancel(&silentError{s.host, s.patience})
	}()
	return ctx, func() { cancel(nil) }
}

// reader returns a reader from the receiver that notes that something has come.
func (s *silence) reader(r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		n, err := r.Read(p)
		if n > 0 {
			s.broken()
		}
		return n, err
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// silentError says that a receiver has said nothing for too long.
type silentError struct {
	host     string
	patience time.Duration
}

func (e *silentError) Error() string {
	return fmt.Sprintf("nothing has been heard from the receiver on %s for %v: it has stopped, or the server has", e.host, e.patience)
}
