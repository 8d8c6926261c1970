package pull

import (
	"testing"
	"time"

	"ostree-push/internal/patience"
	"ostree-push/ostree"
)

func TestStallWatch(t *testing.T) {
	const timeout = 2 * time.Minute
	start := time.Unix(1700000000, 0)
	type look struct {
		after time.Duration // until then, things are as at the look before
		p     ostree.PullProgress
	}
	waiting := func(bytes uint64) ostree.PullProgress {
		return ostree.PullProgress{Fetched: 1, Requested: 2, Bytes: bytes}
	}
	for name, test := range map[string]struct {
		looks   []look
		stopped bool // nobody looks in between, as when the process is stopped
		stalled bool
	}{
		"nothing sent": {[]look{{0, waiting(0)}, {timeout + time.Second, waiting(0)}}, false, true},
		"a byte a minute": {[]look{{0, waiting(0)}, {time.Minute, waiting(1)},
			{2 * time.Minute, waiting(2)}, {3 * time.Minute, waiting(3)}}, false, true},
		"slow": {[]look{{0, waiting(0)}, {time.Minute, waiting(stallBytes)},
			{2 * time.Minute, waiting(2 * stallBytes)}, {3 * time.Minute, waiting(3 * stallBytes)}}, false, false},
		"busy without waiting": {[]look{{0, ostree.PullProgress{Fetched: 2, Requested: 2}},
			{time.Hour, ostree.PullProgress{Fetched: 2, Requested: 2}}}, false, false},
		"stopped for an hour": {[]look{{0, waiting(0)}, {time.Hour, waiting(0)}}, true, false},
		"not yet":             {[]look{{0, waiting(0)}, {timeout - time.Second, waiting(0)}}, false, false},
	} {
		stalled := false
		watch := newStallWatch(start, timeout, func() { stalled = true })
		now := start
		for i, look := range test.looks {
			for i > 0 && !test.stopped && now.Before(start.Add(look.after)) {
				watch.see(now, test.looks[i-1].p)
				now = now.Add(patience.Slice / 2)
			}
			now = start.Add(look.after)
			watch.see(now, look.p)
		}
		if stalled != test.stalled {
			t.Errorf("%s: stalled is %v", name, stalled)
		}
	}
}
