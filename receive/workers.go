package receive

import (
	"runtime"
	"sync"
)

// workers are as many goroutines as there are processors.
type workers struct{ done sync.WaitGroup }

// startWorkers has them do what comes from a channel, until that is closed.
func startWorkers[T any](work <-chan T, do func(T)) *workers {
	w := &workers{}
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

// wait waits until all is done.
func (w *workers) wait() { w.done.Wait() }
