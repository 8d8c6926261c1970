package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
	"ostree-push/stream"
)

// This file is one way to fill a quarantine: libostree pulls from a URL.

// remoteName is the quarantine's only remote.
const remoteName = "_receive"

const (
	// retries of a request that fails for a passing reason.
	retries = 5
	// A pull that moves less than stallBytes in the configured timeout is
	// given up; libostree itself would wait for ever.
	stallBytes = 1024
	// maxRefs bounds what a source may offer.
	maxRefs = 100_000
	// returnTime is how long a pull whose context has ended may take to
	// return before it is left behind.
	returnTime = time.Second
)

// offer is a ref of the source with its commit, which is in the quarantine.
type offer struct {
	ref       ostree.Ref
	commit    *ostree.Commit
	ancestors []ostree.Checksum // that come with it
	lease     *ostree.Checksum  // what the ref has to show, zero for nothing; nil: anything
}

// offers are those wanted, in the order of their refs, and the refs that are
// current already.
type offers struct {
	offers  []offer
	current ostree.Refs
	keep    bool // the commits are taken as they are
	atomic  bool // all refs move, or none
}

func (o *offers) close() {
	if o == nil {
		return
	}
	for _, offer := range o.offers {
		offer.commit.Close()
	}
}

// pullFiller fills a quarantine from a URL.
type pullFiller struct {
	r       *receiver
	source  *url.URL // has been checked
	gateway *gateway // nil: the source is a directory
}

// start makes the source the remote of the quarantine.
func (p *pullFiller) start(_ context.Context, q *quarantine.Quarantine) error {
	remote := p.source.String()
	if p.source.Scheme != "file" {
		var err error
		if p.gateway, err = openGateway(p.source, p.r.config.AllowsURL, p.r.config.Timeout); err != nil {
			return fmt.Errorf("set up the source: %w", err)
		}
		remote = p.gateway.url
	}
	return p.r.addRemote(q, remote)
}

func (p *pullFiller) close() {
	if p.gateway != nil {
		p.gateway.close()
	}
}

// connectKeys makes a remote that nothing is pulled from, for its keys.
func (r *receiver) connectKeys(q *quarantine.Quarantine) error {
	return r.addRemote(q, "file:///nowhere")
}

func (r *receiver) addRemote(q *quarantine.Quarantine, remote string) error {
	options := map[string]string{}
	if r.keyring != nil {
		// The name of the file may have characters in it that separate names
		// in this option.
		options["gpgkeypath"] = fmt.Sprintf("/proc/self/fd/%d", r.keyring.Fd())
	}
	if err := q.Repo.AddRemote(remoteName, remote, options); err != nil {
		return fmt.Errorf("set up the source: %w", err)
	}
	return nil
}

// fillCommits lists the source's refs and brings the commit objects of the
// wanted ones into the quarantine, without their content.
func (p *pullFiller) fillCommits(ctx context.Context, q *quarantine.Quarantine) (*offers, error) {
	source, err := p.sourceRefs(ctx, q)
	if err != nil {
		return nil, err
	}
	wanted, current, err := p.r.wantedOf(ctx, source)
	if err != nil {
		return nil, err
	}
	if len(wanted) > 0 {
		var sums []ostree.Checksum
		for _, ref := range wanted.Sorted() {
			sums = append(sums, wanted[ref])
		}
		if err := p.pull(ctx, q, sums, ostree.PullCommitOnly); err != nil {
			return nil, fmt.Errorf("fetch the commits: %w", err)
		}
	}
	return loadOffers(q, wanted, current)
}

// wantedOf returns those refs of the source that are asked for, and that are
// allowed: the ones that are wanted, and the ones that are current already.
func (r *receiver) wantedOf(ctx context.Context, source ostree.Refs) (wanted, current ostree.Refs, err error) {
	chosen, err := choose(source, r.refs)
	if err != nil {
		return nil, nil, err
	}
	if err := r.checkRefs(chosen.Sorted()); err != nil {
		return nil, nil, err
	}
	have, err := r.target.Refs(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("list refs: %w", err)
	}
	wanted, current = ostree.Refs{}, ostree.Refs{}
	for _, ref := range chosen.Sorted() {
		r.sink.Log(report.Debug, fmt.Sprintf("ref %s: remote commit %s, current commit %s", ref, chosen[ref], have[ref]))
		whole, err := r.isWhole(ctx, have[ref])
		if err != nil {
			return nil, nil, fmt.Errorf("ref %s: %w", ref, err)
		}
		if chosen[ref] == have[ref] && whole && !r.config.Force {
			current[ref] = chosen[ref]
		} else {
			wanted[ref] = chosen[ref]
		}
	}
	return wanted, current, nil
}

// isWhole reports whether the target has a commit that is not known to lack anything.
func (r *receiver) isWhole(ctx context.Context, sum ostree.Checksum) (bool, error) {
	if sum.IsZero() {
		return false, nil
	}
	has, err := r.target.HasObject(ctx, ostree.ObjectCommit, sum)
	if err != nil || !has {
		return false, err
	}
	partial, err := r.target.IsPartial(sum)
	return !partial, err
}

// loadOffers reads the commits of wanted, which have arrived.
func loadOffers(q *quarantine.Quarantine, wanted, current ostree.Refs) (*offers, error) {
	result := &offers{current: current}
	for _, ref := range wanted.Sorted() {
		commit, err := q.Repo.LoadCommit(wanted[ref])
		if err != nil {
			result.close()
			return nil, fmt.Errorf("ref %s: commit %s: %w", ref, wanted[ref], err)
		}
		result.offers = append(result.offers, offer{ref: ref, commit: commit})
	}
	return result, nil
}

// fillContent brings everything that the accepted commits need and the target
// does not have into the quarantine.
func (p *pullFiller) fillContent(ctx context.Context, q *quarantine.Quarantine, accepted []verdict) error {
	if len(accepted) == 0 {
		return nil
	}
	if err := p.pull(ctx, q, checksums(accepted), 0); err != nil {
		return fmt.Errorf("fetch the objects: %w", err)
	}
	return q.Check(ctx)
}

// fetch brings single objects into the quarantine: a pull does not look for what a commit lacks that the
// target takes for whole.
func (p *pullFiller) fetch(ctx context.Context, q *quarantine.Quarantine, objects []stream.Entry) error {
	for _, e := range objects {
		if err := p.fetchObject(ctx, q, e); err != nil {
			return fmt.Errorf("fetch object %s, which is missing: %w", e.Name(), err)
		}
		p.r.totals.Objects++
	}
	return nil
}

func (p *pullFiller) fetchObject(ctx context.Context, q *quarantine.Quarantine, e stream.Entry) (err error) {
	f, err := q.Create(e)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(f.Name())
		}
	}()
	to := q.SpaceWriter(f)
	if p.gateway != nil {
		err = p.fetchFile(ctx, to, ostree.ArchivePath(e.Type, e.Sum))
	} else {
		err = copyObject(ctx, p.source.Path, to, e)
	}
	if err != nil {
		return err
	}
	if info, err := f.Stat(); err == nil {
		p.r.totals.Bytes += info.Size()
	}
	return quarantine.CheckFile(ctx, f, e)
}

// fetchFile writes a file of the source, which is not to be waited for longer than the configured timeout.
func (p *pullFiller) fetchFile(ctx context.Context, to io.Writer, path string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(p.r.config.Timeout, func() { cancel(errStalled) })
	defer timer.Stop()
	return withCause(ctx, p.gateway.fetchTo(ctx, writerFunc(func(b []byte) (int, error) {
		timer.Reset(p.r.config.Timeout)
		return to.Write(b)
	}), path))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// copyObject writes an object of the repository in a directory, in the form that archive
// repositories have it in.
func copyObject(ctx context.Context, dir string, to io.Writer, e stream.Entry) error {
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

func checksums(vs []verdict) []ostree.Checksum {
	var sums []ostree.Checksum
	for _, v := range vs {
		sums = append(sums, v.commit.Checksum)
	}
	return sums
}

// sourceRefs reads the source's summary.
func (p *pullFiller) sourceRefs(ctx context.Context, q *quarantine.Quarantine) (ostree.Refs, error) {
	ctx, cancel := withPatience(ctx, p.r.config.Timeout, errStalled)
	defer cancel()
	var summary []byte
	err := p.leaveBehind(ctx, func() (err error) {
		summary, err = q.Repo.FetchSummary(ctx, remoteName, retries)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the refs of the source: %w", err)
	}
	refs, err := ostree.ParseSummary(summary)
	if err != nil {
		return nil, fmt.Errorf("list the refs of the source: %w", err)
	}
	if len(refs) > maxRefs {
		return nil, fmt.Errorf("the source offers %d refs, and %d are the most", len(refs), maxRefs)
	}
	return refs, nil
}

var errStalled = errors.New("the source does not send any more")

// pull brings commits into the quarantine. MIRROR and TRUSTED_HTTP store
// content objects as they arrive; the import checks every one.
func (p *pullFiller) pull(ctx context.Context, q *quarantine.Quarantine, commits []ostree.Checksum, flags ostree.PullFlags) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var last atomic.Pointer[ostree.PullProgress]
	stall := newStallWatch(time.Now(), p.r.config.Timeout, func() { cancel(errStalled) })
	err := p.leaveBehind(ctx, func() error {
		return q.Repo.Pull(ctx, ostree.PullOptions{
			Remote:  remoteName,
			Commits: commits,
			Flags:   flags | ostree.PullMirror | ostree.PullTrustedHTTP,
			Retries: retries,
			Progress: func(now ostree.PullProgress) {
				last.Store(&now)
				stall.see(time.Now(), now)
				if flags&ostree.PullCommitOnly == 0 {
					if err := q.CheckSpace(); err != nil {
						cancel(err)
					}
					p.r.sink.Progress(report.Progress{
						Phase: "Receiving objects",
						Done:  now.Fetched, Total: now.Requested, Bytes: int64(now.Bytes),
					})
				}
			},
		})
	})
	if end := last.Load(); end != nil {
		p.r.totals.Objects += end.Fetched
		p.r.totals.Bytes += int64(end.Bytes)
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

// stallWatch notices a pull that waits for a source which does not send.
type stallWatch struct {
	clock   waitClock
	waited  time.Duration
	bytes   uint64
	timeout time.Duration
	stalled func()
}

func newStallWatch(now time.Time, timeout time.Duration, stalled func()) *stallWatch {
	return &stallWatch{clock: waitClock{now}, timeout: timeout, stalled: stalled}
}

func (s *stallWatch) see(now time.Time, p ostree.PullProgress) {
	step := s.clock.step(now)
	waiting := p.Fetched < p.Requested
	if !waiting || p.Bytes-s.bytes >= stallBytes {
		s.waited, s.bytes = 0, p.Bytes
		return
	}
	if s.waited += step; s.waited > s.timeout {
		s.stalled()
	}
}

// leaveBehind runs f, which talks to the source. It ought to return soon after
// ctx is done, when its connections end. When it does not, it is left running
// in its goroutine: the process is about to end.
func (p *pullFiller) leaveBehind(ctx context.Context, f func() error) error {
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
		return withCause(ctx, err)
	case <-ctx.Done():
	}
	if p.gateway != nil {
		p.gateway.close()
	}
	timer := time.NewTimer(returnTime)
	defer timer.Stop()
	select {
	case err := <-done:
		return withCause(ctx, err)
	case <-timer.C:
		return context.Cause(ctx)
	}
}

// withCause says why ctx was done instead of just that f was cancelled.
func withCause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
