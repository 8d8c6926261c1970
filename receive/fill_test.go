package receive

import (
	"testing"
	"time"

	"ostree-push/ostree"
)

func TestStallWatch(t *testing.T) {
	const timeout = 2 * time.Minute
	start := time.Unix(1700000000, 0)
	type look struct {
		after time.Duration
		p     ostree.PullProgress
	}
	waiting := func(bytes uint64) ostree.PullProgress {
		return ostree.PullProgress{Fetched: 1, Requested: 2, Bytes: bytes}
	}
	for name, test := range map[string]struct {
		looks   []look
		stalled bool
	}{
		"nothing sent": {[]look{{0, waiting(0)}, {timeout + time.Second, waiting(0)}}, true},
		"a byte a minute": {[]look{{0, waiting(0)}, {time.Minute, waiting(1)},
			{2 * time.Minute, waiting(2)}, {3 * time.Minute, waiting(3)}}, true},
		"slow": {[]look{{0, waiting(0)}, {time.Minute, waiting(stallBytes)},
			{2 * time.Minute, waiting(2 * stallBytes)}, {3 * time.Minute, waiting(3 * stallBytes)}}, false},
		"busy without waiting": {[]look{{0, ostree.PullProgress{Fetched: 2, Requested: 2}},
			{time.Hour, ostree.PullProgress{Fetched: 2, Requested: 2}}}, false},
		"not yet": {[]look{{0, waiting(0)}, {timeout - time.Second, waiting(0)}}, false},
	} {
		stalled := false
		watch := newStallWatch(start, timeout, func() { stalled = true })
		for _, look := range test.looks {
			watch.see(start.Add(look.after), look.p)
		}
		if stalled != test.stalled {
			t.Errorf("%s: stalled is %v", name, stalled)
		}
	}
}
