package receive

import (
	"context"
	"time"

	"ostree-push/receive/quarantine"
	"ostree-push/report"
	"ostree-push/stream"
)

// filler is a way to fill a quarantine. When fillContent and fetch have returned without an error, every object in
// it has been compared with its checksum.
type filler interface {
	// start gets the quarantine ready, with the keys to verify with.
	start(ctx context.Context, q *quarantine.Quarantine) error
	// fillCommits lists the source's refs, and brings the commits of those that
	// are wanted into the quarantine.
	fillCommits(ctx context.Context, q *quarantine.Quarantine) (*offers, error)
	// fillContent brings what the accepted commits need, and the target does not have, into the
	// quarantine, as far as the source tells without being asked. There may be no commits.
	fillContent(ctx context.Context, q *quarantine.Quarantine, accepted []verdict) error
	source
	// close ends all dealings with the source.
	close()
}

// source has objects that it can be asked for.
type source interface {
	// fetch brings objects into the quarantine that the source is asked for by name, of which there is one
	// at least. It is an error if it cannot have all of them.
	fetch(ctx context.Context, q *quarantine.Quarantine, objects []stream.Entry) error
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
