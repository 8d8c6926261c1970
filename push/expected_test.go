package push

import (
	"context"
	"sync/atomic"
	"testing"

	"ostree-push/ostree"
)

// Sizes are added up beside the sending, and no more when that has ended: the repository is closed then.
func TestExpectEnds(t *testing.T) {
	s, e := largeObject(t, "bare-user", 1000)
	s.live = true
	for _, cancelled := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var adding atomic.Bool
		adding.Store(true)
		begun := make(chan struct{})
		stop := s.expect(ctx, func(yield func(ostree.ObjectName) bool) {
			defer adding.Store(false)
			close(begun)
			for yield(e) {
			}
		}, nil)
		<-begun
		if cancelled {
			cancel()
		}
		stop()
		if adding.Load() {
			t.Error("sizes are still added up")
		}
	}
}

// Where nobody looks, nothing is added up.
func TestExpectNothing(t *testing.T) {
	s, _ := largeObject(t, "archive", 1000)
	s.expect(t.Context(), func(func(ostree.ObjectName) bool) { t.Error("objects are looked at") }, nil)()
	if n, about := s.expected.Load().bytes(); n != 0 || about {
		t.Errorf("%d bytes are expected", n)
	}
}
