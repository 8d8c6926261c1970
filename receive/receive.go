package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"ostree-push/cli"
	"ostree-push/ostree"
	"ostree-push/receive/config"
	"ostree-push/receive/locate"
	"ostree-push/receive/quarantine"
	"ostree-push/receive/sign"
	"ostree-push/report"
)

// options says what to receive, and how.
type options struct {
	repo   *locate.Location
	url    string
	refs   []string // none: all
	config *config.Config
	output io.Writer // of programs that are run
	ledger *ledger   // of what is intended
}

// receiver is one receive under way.
type receiver struct {
	options
	sink     report.Sink
	target   *ostree.Repo
	filler   filler
	source   source   // that is asked for what is missing; the filler, if there is one
	keyring  *os.File // GPG keys to verify with; nil: the global ones
	gpgDir   *gpgDir  // nil: gpg is not run
	signer   *sign.Signer
	verifier sign.Verifier
	totals   report.Totals
}

// receive is the whole job.
func receive(ctx context.Context, opts options, sink report.Sink) (report.Totals, error) {
	r := &receiver{options: opts, sink: sink}
	defer r.close()
	source, err := r.config.CheckURL(r.url)
	if err != nil {
		return r.totals, cli.Hint(err, "allowed_urls in the server's configuration has those that may be pulled from")
	}
	r.filler = &pullFiller{r: r, source: source}
	r.source = r.filler
	err = r.run(ctx)
	return r.totals, err
}

// receiveStream is the whole job, from a stream.
func receiveStream(ctx context.Context, opts options, f *streamFiller, sink report.Sink) (report.Totals, error) {
	r := &receiver{options: opts, sink: sink, filler: f, source: f}
	defer r.close()
	f.r, f.in.timeout = r, opts.config.Timeout
	err := r.run(ctx)
	return r.totals, err
}

func (r *receiver) close() {
	if r.filler != nil {
		r.filler.close()
	}
	if r.keyring != nil {
		r.keyring.Close()
	}
	if r.gpgDir != nil {
		r.gpgDir.remove()
	}
}

func (r *receiver) run(ctx context.Context) (err error) {
	if err := r.loadKeys(); err != nil {
		return err
	}
	target, err := openTarget(r.repo)
	if err != nil {
		return err
	}
	defer target.Close()
	r.target = target

	q, err := quarantine.New(target)
	if err != nil {
		return err
	}
	defer func() {
		if keeps(err) {
			q.Leave()
		} else {
			q.Remove()
		}
	}()
	defer func() { err = q.HintOnSpace(err) }()
	if err := r.filler.start(ctx, q); err != nil {
		return err
	}

	wanted, err := r.filler.fillCommits(ctx, q)
	if err != nil {
		return err
	}
	defer wanted.close()
	if err := r.verify(ctx, q, wanted); err != nil {
		return err
	}
	if err := r.warnOfBadRefs(ctx); err != nil {
		return err
	}
	verdicts, err := r.judge(ctx, wanted, r.announce)
	if err != nil {
		return err
	}
	accepted := verdicts.accepted()
	if len(accepted) == 0 {
		r.sink.Log(report.Info, "No refs need updating")
	}
	if r.config.DryRun {
		accepted = nil // nothing of it is needed
	}
	if err := r.filler.fillContent(ctx, q, accepted); err != nil {
		return err
	}
	if len(accepted) == 0 {
		verdicts.report(r.sink)
		return r.catchUpAlone(ctx)
	}
	if err := r.complete(ctx, q, commitsOf(verdicts.due())); err != nil {
		return err
	}
	return r.publish(ctx, q, wanted, verdicts)
}

// openTarget opens the repository to receive into, by an absolute path, since its
// quarantine refers to it by that.
func openTarget(at *locate.Location) (*ostree.Repo, error) {
	name := report.Printable(at.Name)
	target, err := ostree.Open(at.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, locate.NotFound(at.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("open repo %s: %w", name, err)
	}
	err = checkWritableAll(at)
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

// generated reports whether ref is made by updating a repository's metadata,
// so that it is never received from another one.
func generated(ref ostree.Ref) bool {
	return ref == ostree.MetadataRef ||
		strings.HasPrefix(string(ref), "appstream/") ||
		strings.HasPrefix(string(ref), "appstream2/")
}

// choose returns the refs of the source that were asked for: all, if none are
// named.
func choose(source ostree.Refs, names []string) (ostree.Refs, error) {
	chosen := ostree.Refs{}
	for ref, sum := range source {
		if len(names) == 0 && !generated(ref) {
			chosen[ref] = sum
		}
	}
	for _, name := range names {
		ref := ostree.Ref(name)
		if generated(ref) {
			continue
		}
		sum, ok := source[ref]
		if !ok {
			return nil, fmt.Errorf("Could not find ref %s in summary file", report.Printable(name))
		}
		chosen[ref] = sum
	}
	return chosen, nil
}

// keeps reports whether what has arrived is of use to the next push, when a receive has ended with
// an error: unless something was wrong with it.
func keeps(err error) bool { return err != nil && !quarantine.IsFault(err) }
