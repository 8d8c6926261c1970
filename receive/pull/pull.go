// Package pull brings objects from a URL into a quarantine: libostree pulls them, through a gateway that keeps it to
// the URLs which are allowed, and to bounds.
package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"ostree-push/internal/patience"
	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
)

const (
	// remoteName is the source as a remote of the quarantine.
	remoteName = "_source"
	// retries of a request that fails for a passing reason.
	retries = 5
	// maxRefs bounds what a source may offer.
	maxRefs = 100_000
	// returnTime is how long a pull whose context has ended may take to
	// return before it is left behind.
	returnTime = time.Second
)

// Options say how to deal with a source.
type Options struct {
	Allowed func(*url.URL) bool // where it may redirect to
	Timeout time.Duration       // for which it may send nothing
	Sink    report.Sink         // of progress
}

// Source brings objects from a URL. It is a source of package receive.
type Source struct {
	Options
	url     *url.URL
	q       *quarantine.Quarantine
	gateway *gateway // nil: the source is a directory
	totals  report.Totals
}

// Open makes a URL, which has been checked, the source of a quarantine. Whoever opens one closes it.
func Open(source *url.URL, q *quarantine.Quarantine, options Options) (*Source, error) {
	p := &Source{Options: options, url: source, q: q}
	remote := source.String()
	if source.Scheme != "file" {
		var err error
		if p.gateway, err = openGateway(source, p.Allowed, p.Timeout); err != nil {
			return nil, fmt.Errorf("set up the source: %w", err)
		}
		remote = p.gateway.url
	}
	if err := q.Repo.AddRemote(remoteName, remote, nil); err != nil {
		p.Close()
		return nil, fmt.Errorf("set up the source: %w", err)
	}
	return p, nil
}

// Close ends all requests.
func (p *Source) Close() {
	if p.gateway != nil {
		p.gateway.close()
	}
}

// Totals are the objects and the bytes that have come.
func (p *Source) Totals() report.Totals { return p.totals }

// Refs reads the source's summary.
func (p *Source) Refs(ctx context.Context) (ostree.Refs, map[ostree.Ref]ostree.Digest, error) {
	ctx, cancel := patience.Within(ctx, p.Timeout, errStalled)
	defer cancel()
	var summary []byte
	err := p.leaveBehind(ctx, func() (err error) {
		summary, err = p.q.Repo.FetchSummary(ctx, remoteName, retries)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list the refs of the source: %w", err)
	}
	refs, err := ostree.ParseSummary(summary)
	if err != nil {
		return nil, nil, fmt.Errorf("list the refs of the source: %w", err)
	}
	if len(refs) > maxRefs {
		return nil, nil, fmt.Errorf("the source offers %d refs, and %d are the most", len(refs), maxRefs)
	}
	return refs, nil, nil
}

// Commits pulls commits without what they consist of. libostree sees by itself what the target has.
func (p *Source) Commits(ctx context.Context, commits []ostree.Checksum, _ ostree.Refs, _ func(ostree.Ref) []ostree.Tree) error {
	if len(commits) == 0 {
		return nil
	}
	if err := p.pull(ctx, commits, ostree.PullCommitOnly); err != nil {
		return fmt.Errorf("fetch the commits: %w", err)
	}
	return nil
}

// Objects pulls what commits consist of and the target does not have, and checks it.
func (p *Source) Objects(ctx context.Context, commits []ostree.Checksum) error {
	if len(commits) == 0 {
		return nil
	}
	if err := p.pull(ctx, commits, 0); err != nil {
		return fmt.Errorf("fetch the objects: %w", err)
	}
	if p.gateway == nil {
		// libostree does not count what it copies.
		if objects, bytes, err := p.q.Count(); err == nil {
			p.totals.Objects, p.totals.Bytes = objects, bytes
		}
	}
	p.Sink.Progress(report.Progress{Phase: report.Checking})
	return p.q.Check(ctx)
}

// Fetch brings single objects into the quarantine: a pull does not look for what a commit lacks that the
// target takes for whole.
func (p *Source) Fetch(ctx context.Context, objects []ostree.ObjectName) error {
	for _, e := range objects {
		if err := p.fetchObject(ctx, e); err != nil {
			return fmt.Errorf("fetch object %s, which is missing: %w", e.String(), err)
		}
		p.totals.Objects++
	}
	return nil
}

func (p *Source) fetchObject(ctx context.Context, e ostree.ObjectName) (err error) {
	f, err := p.q.Create(e)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(f.Name())
		}
	}()
	to := p.q.SpaceWriter(f)
	if p.gateway != nil {
		err = p.fetchFile(ctx, to, ostree.ArchivePath(e.Type, e.Sum))
	} else {
		err = copyObject(ctx, p.url.Path, to, e)
	}
	if err != nil {
		return err
	}
	if info, err := f.Stat(); err == nil {
		p.totals.Bytes += info.Size()
	}
	return quarantine.CheckFile(ctx, f, e)
}

// fetchFile writes a file of the source, which is not to be waited for longer than the configured timeout.
func (p *Source) fetchFile(ctx context.Context, to io.Writer, path string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(p.Timeout, func() { cancel(errStalled) })
	defer timer.Stop()
	return patience.Cause(ctx, p.gateway.fetchTo(ctx, writerFunc(func(b []byte) (int, error) {
		timer.Reset(p.Timeout)
		return to.Write(b)
	}), path))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// copyObject writes an object of the repository in a directory, in the form that archive
// repositories have it in.
func copyObject(ctx context.Context, dir string, to io.Writer, e ostree.ObjectName) error {
	source, err := ostree.Open(dir)
	if err != nil {
		return err
	}
	defer source.Close()
	if e.Type != ostree.ObjectFile {
		object, err := source.Metadata(e.Type, e.Sum)
		if err == nil {
			_, err = to.Write(object)
		}
		return err
	}
	content, err := source.OpenContent(ctx, e.Sum)
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = io.Copy(to, content)
	return err
}

var errStalled = errors.New("the source does not send any more")

// pull brings commits into the quarantine. MIRROR and TRUSTED_HTTP store
// content objects as they arrive, unchecked: Objects has the quarantine check every one.
func (p *Source) pull(ctx context.Context, commits []ostree.Checksum, flags ostree.PullFlags) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var last atomic.Pointer[ostree.PullProgress]
	stall := newStallWatch(time.Now(), p.Timeout, func() { cancel(errStalled) })
	err := p.leaveBehind(ctx, func() error {
		return p.q.Repo.Pull(ctx, ostree.PullOptions{
			Remote:  remoteName,
			Commits: commits,
			Flags:   flags | ostree.PullMirror | ostree.PullTrustedHTTP,
			Retries: retries,
			Progress: func(now ostree.PullProgress) {
				last.Store(&now)
				if ctx.Err() != nil {
					return // it may have been left behind, and the quarantine be gone
				}
				stall.see(time.Now(), now)
				if flags&ostree.PullCommitOnly == 0 {
					if err := p.q.CheckSpace(); err != nil {
						cancel(err)
					}
					p.Sink.Progress(report.Progress{
						Phase: report.Receiving,
						Done:  now.Fetched, Total: now.Requested, Bytes: int64(now.Bytes),
					})
				}
			},
		})
	})
	if end := last.Load(); end != nil {
		p.totals.Objects += end.Fetched
		p.totals.Bytes += int64(end.Bytes)
	}
	// The last look may have come after the pull was done.
	if err == nil {
		err = context.Cause(ctx)
	}
	if err == nil && p.gateway != nil {
		err = p.gateway.hostile()
	}
	return err
}

// leaveBehind runs f, which talks to the source. It ought to return soon after
// ctx is done, when its connections end. When it does not, it is left running
// in its goroutine: the process is about to end.
func (p *Source) leaveBehind(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := f()
		if p.gateway != nil {
			err = p.gateway.explain(err)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return patience.Cause(ctx, err)
	case <-ctx.Done():
	}
	if p.gateway != nil {
		p.gateway.close()
	}
	timer := time.NewTimer(returnTime)
	defer timer.Stop()
	select {
	case err := <-done:
		return patience.Cause(ctx, err)
	case <-timer.C:
		return context.Cause(ctx)
	}
}
