package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"

	"ostree-push/ostree"
	"ostree-push/receive/locate"
	"ostree-push/receive/pull"
	"ostree-push/receive/quarantine"
	"ostree-push/receive/sign"
	"ostree-push/receive/upload"
	"ostree-push/report"
)

// receiver is the server's end of a push under way: a repository that is received into, and the keys for it.
type receiver struct {
	*session
	sink   report.Sink
	output io.Writer // of programs that are run
	target *ostree.Repo
	keys   *sign.Keys
	warned bool // of bad refs
}

// open reads the keys, and opens the repository.
func (s *session) open(sink report.Sink, output io.Writer) (*receiver, error) {
	keys, err := sign.Open(s.config)
	if err != nil {
		return nil, err
	}
	target, err := openTarget(s.repo, s.config.Update)
	if err != nil {
		keys.Close()
		return nil, err
	}
	return &receiver{session: s, sink: sink, output: output, target: target, keys: keys}, nil
}

func (r *receiver) close() {
	r.target.Close()
	r.keys.Close()
}

// origin is where objects come from.
type origin struct {
	pusher *upload.Pusher // nil: from the URL
	url    *url.URL       // has been checked
}

// openSource makes an origin the source of a quarantine.
func (r *receiver) openSource(from origin, q *quarantine.Quarantine) (source, error) {
	var s source
	var err error
	if from.pusher != nil {
		s, err = upload.Open(from.pusher, q, r.config.Timeout, r.sink)
	} else {
		s, err = pull.Open(from.url, q, pull.Options{Allowed: r.config.AllowsURL, Timeout: r.config.Timeout, Sink: r.sink})
	}
	if err != nil {
		return nil, err // and no source at all
	}
	return s, nil
}

// receive is the whole job. Of the refs that are offered it receives those of the names, or all if there are none.
func (r *receiver) receive(ctx context.Context, from origin, names []string) (totals report.Totals, err error) {
	q, err := quarantine.New(r.target)
	if err != nil {
		return totals, err
	}
	defer func() {
		if keeps(err) {
			q.Leave()
		} else {
			q.Remove()
		}
	}()
	defer func() { err = q.HintOnSpace(err) }()
	source, err := r.openSource(from, q)
	if err != nil {
		return totals, err
	}
	defer source.Close()
	defer func() { totals = source.Totals() }()

	wanted, err := r.receiveCommits(ctx, q, source, names)
	if err != nil {
		return totals, err
	}
	defer wanted.close()
	if err := r.verify(ctx, q, wanted); err != nil {
		return totals, err
	}
	verdicts, err := r.judge(ctx, wanted, r.announce)
	if err != nil {
		return totals, err
	}
	accepted := checksums(verdicts.accepted())
	if len(accepted) == 0 {
		r.sink.Log(report.Info, "No refs need updating")
	}
	if r.config.DryRun {
		accepted = nil // nothing of it is needed
	}
	if err := source.Objects(ctx, accepted); err != nil {
		return totals, err
	}
	if len(accepted) == 0 {
		verdicts.report(r.sink)
		return totals, r.catchUpAlone(ctx)
	}
	if err := r.complete(ctx, q, source, commitsOf(verdicts.due())); err != nil {
		return totals, err
	}
	return totals, r.publish(ctx, q, source, wanted, verdicts)
}

// receiveCommits has the source offer its refs, chooses those that are wanted, and brings their commits into the quarantine.
func (r *receiver) receiveCommits(ctx context.Context, q *quarantine.Quarantine, source source, names []string) (*offers, error) {
	offered, digests, err := source.Refs(ctx)
	if err != nil {
		return nil, err
	}
	r.noteAsked(ctx)
	chosen, err := r.choose(ctx, offered, digests, names)
	if err != nil {
		return nil, err
	}
	var commits []ostree.Checksum
	for _, ref := range chosen.wanted.Sorted() {
		commits = append(commits, chosen.wanted[ref])
	}
	current := ostree.Refs{}
	for _, c := range chosen.current {
		current[c.ref] = c.shows
	}
	if err := source.Commits(ctx, commits, current, r.trees(chosen)); err != nil {
		return nil, err
	}
	return loadOffers(q, chosen.wanted, chosen.current)
}

// openTarget opens the repository to receive into, by an absolute path, since its
// quarantine refers to it by that. update is whether its metadata is to be updated.
func openTarget(at *locate.Location, update bool) (*ostree.Repo, error) {
	name := report.Printable(at.Name)
	target, err := ostree.Open(at.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, locate.NotFound(at.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("open repo %s: %w", name, err)
	}
	err = checkWritableAll(at)
	if err == nil && (update || updatesSummary(target)) {
		err = checkRefsReadable(at)
	}
	if err == nil {
		err = checkLocks(target)
	}
	if err == nil {
		_, err = readPending(target)
	}
	if err != nil {
		target.Close()
		return nil, err
	}
	return target, nil
}

// keeps reports whether what has arrived is of use to the next push, when a receive has ended with
// an error: unless something was wrong with it.
func keeps(err error) bool { return err != nil && !quarantine.IsFault(err) }
