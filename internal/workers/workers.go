// Package workers has all processors work through what comes from a channel.
package workers

import (
	"runtime"
	"sync"
)

// Workers are as many goroutines as there are processors.
type Workers struct{ done sync.WaitGroup }

// Start has them call do for each item that comes from work, until that is closed.
func Start[T any](work <-chan T, do func(T)) *Workers {
	w := &Workers{}
	for range runtime.GOMAXPROCS(0) {
		w.done.Add(1)
		go func() {
			defer w.done.Done()
			for item := range work {
				do(item)
			}
		}()
	}
	return w
}

// Wait waits until all is done; the channel must have been closed.
func (w *Workers) Wait() { w.done.Wait() }
