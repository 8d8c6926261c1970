package receive

import (
	"context"
	"time"

	"ostree-push/report"
)

// filler is a way to fill a quarantine.
type filler interface {
	// start gets the quarantine ready, with the keys to verify with.
	start(ctx context.Context, q *quarantine) error
	// fillCommits lists the source's refs, and brings the commits of those that
	// are wanted into the quarantine.
	fillCommits(ctx context.Context, q *quarantine) (*offers, error)
	// fillContent brings everything that the accepted commits need, and the
	// target does not have, into the quarantine. There may be none.
	fillContent(ctx context.Context, q *quarantine, accepted []verdict) error
	// checked reports whether each object has been compared with its checksum.
	checked() bool
	// close ends all dealings with the source.
	close()
}

// progressMeter shows progress now and then.
type progressMeter struct {
	sink report.Sink
	next time.Time
}

func (p *progressMeter) show(progress report.Progress) {
	const interval = 100 * time.Millisecond
	if now := time.Now(); now.After(p.next) || progress.Done == progress.Total {
		p.next = now.Add(interval)
		p.sink.Progress(progress)
	}
}
