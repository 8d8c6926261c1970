package pull

import (
	"time"

	"ostree-push/internal/patience"
	"ostree-push/ostree"
)

// stallBytes: a pull that moves less than that in the configured timeout is given up; libostree itself would wait for ever.
const stallBytes = patience.StallBytes

// stallWatch notices a pull that waits for a source which does not send.
type stallWatch struct {
	clock   patience.Clock
	waited  time.Duration
	bytes   uint64
	timeout time.Duration
	stalled func()
}

func newStallWatch(now time.Time, timeout time.Duration, stalled func()) *stallWatch {
	return &stallWatch{clock: patience.Start(now), timeout: timeout, stalled: stalled}
}

func (s *stallWatch) see(now time.Time, p ostree.PullProgress) {
	step := s.clock.Step(now)
	waiting := p.Fetched < p.Requested
	if !waiting || p.Bytes-s.bytes >= stallBytes {
		s.waited, s.bytes = 0, p.Bytes
		return
	}
	if s.waited += step; s.waited > s.timeout {
		s.stalled()
	}
}
