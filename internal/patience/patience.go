// Package patience bounds how long somebody is waited for, in the time that this process has really waited: one
// that was stopped meanwhile blames nobody. It also does what is to be done now and then meanwhile.
package patience

import (
	"context"
	"time"
)

// Slice is the longest that is waited for somebody before the time is looked at, or the end
// of a context noticed.
const Slice = 200 * time.Millisecond

// Clock says how long somebody has been waited for. It is looked at once in a Slice, and more than that never
// counts: if a look comes late, this process has been stopped (SIGSTOP, a frozen container or host), and it is not
// the other side that has not done anything.
type Clock struct{ last time.Time }

// Start returns a clock that has waited for nobody yet.
func Start(now time.Time) Clock { return Clock{now} }

// Step returns how long has been waited since the last look, or since the start.
func (c *Clock) Step(now time.Time) time.Duration {
	step := min(now.Sub(c.last), Slice)
	c.last = now
	return step
}

// Within returns a context that ends with a cause after so much time of waiting. The function that it returns
// ends the waiting, and has to be called.
func Within(parent context.Context, timeout time.Duration, cause error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	go func() {
		clock := Start(time.Now())
		ticker := time.NewTicker(Slice / 2)
		defer ticker.Stop()
		for waited := time.Duration(0); waited < timeout; {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				waited += clock.Step(time.Now())
			}
		}
		cancel(cause)
	}()
	return ctx, func() { cancel(nil) }
}

// Every does something again and again, that far apart, until the function that it returns is called, which waits for the last time to end.
func Every(interval time.Duration, do func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				do()
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// Cause returns why a context has ended, if it has, instead of an error, which then only says that something was
// cancelled.
func Cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
