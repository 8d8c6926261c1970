package patience

import (
	"sync/atomic"
	"testing"
	"time"
)

// What is done again and again is done no more, and is not under way any more, when it has been stopped.
func TestEvery(t *testing.T) {
	var times, underWay atomic.Int32
	twice := make(chan struct{})
	stop := Every(time.Millisecond, func() {
		underWay.Add(1)
		defer underWay.Add(-1)
		if times.Add(1) == 2 {
			close(twice)
		}
	})
	<-twice
	stop()
	if n := underWay.Load(); n != 0 {
		t.Errorf("%d are under way", n)
	}
	Every(time.Hour, func() { t.Error("it is done at once") })()
}
