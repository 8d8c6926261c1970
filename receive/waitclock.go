package receive

import (
	"context"
	"time"
)

// waitSlice is the longest that is waited for somebody before the time is looked at, or
// the end of a context noticed.
const waitSlice = 200 * time.Millisecond

// waitClock says how long somebody has been waited for, who is given up after some
// time. It is looked at once in a waitSlice, and more than that never counts: if a look comes late,
// this process has been stopped (SIGSTOP, a frozen container or host), and it is not
// the other side that has not done anything.
type waitClock struct{ last time.Time }

// step returns how long has been waited since the last look.
func (c *waitClock) step(now time.Time) time.Duration {
	step := min(now.Sub(c.last), waitSlice)
	c.last = now
	return step
}

// withPatience returns a context that ends with a cause after so much time of waiting.
func withPatience(parent context.Context, timeout time.Duration, cause error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	go func() {
		clock := waitClock{time.Now()}
		ticker := time.NewTicker(waitSlice / 2)
		defer ticker.Stop()
		for waited := time.Duration(0); waited < timeout; {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				waited += clock.step(time.Now())
			}
		}
		cancel(cause)
	}()
	return ctx, func() { cancel(nil) }
}
