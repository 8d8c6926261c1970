package receive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ostree-push/cli"
	"ostree-push/ostree"
	"ostree-push/receive/audit"
	"ostree-push/receive/sign"
	"ostree-push/report"
)

// This file is ostree-receive --update: what follows when refs have moved, by hand or from a hook, and
// the signatures that commits lack which were there before the keys.

const updateOption = "--update"

// updateLine is the grammar of the command lines with --update.
type updateLine struct {
	Repos  []string `arg:"" optional:"" name:"repo" sep:"none" help:"Repositories; those that have a policy of their own in the configuration if none are named."`
	Update bool     `required:"" help:"Sign commits that lack a signature, and update the metadata or run the hook."`

	cli.Common
}

// run updates all the repositories, whatever comes of the others. What went wrong with each has
// been said when it returns.
func (cl *updateLine) run(ctx context.Context, p process) error {
	repos, err := cl.repos(p.Limits)
	if err != nil {
		return err
	}
	var errs []error
	for _, repo := range repos {
		if ctx.Err() != nil {
			errs = append(errs, context.Cause(ctx))
			break
		}
		err := cl.update(ctx, p, repo)
		p.exit(err)
		errs = append(errs, err)
	}
	return asTold(errors.Join(errs...))
}

// repos returns the repositories to update.
func (cl *updateLine) repos(limits Limits) ([]string, error) {
	if len(cl.Repos) > 0 {
		return cl.Repos, nil
	}
	policy, err := limits.load()
	if err != nil {
		return nil, err
	}
	repos := policy.OwnRepos()
	if len(repos) == 0 {
		return nil, cli.Hint(&cli.UsageError{Err: errors.New("which REPO? The configuration has none that is there among its repos")},
			"ostree-receive %s REPO...", updateOption)
	}
	return repos, nil
}

// update updates one repository, and keeps account of it.
func (cl *updateLine) update(ctx context.Context, p process, repo string) (err error) {
	entry := audit.NewEntry()
	entry.Repository, entry.Transport = repo, audit.ByHand
	s, err := p.begin(entry, nil)
	if err != nil {
		return err
	}
	defer func() { err = s.end(ctx, err, recover()) }()
	entry.DryRun = s.config.DryRun
	text := report.NewText(p.stderr, p.name, textLevel(cl.Common, s.config))
	for _, warning := range s.warnings {
		text.Log(report.Warning, warning)
	}
	warnOfAccount(text, s.repo, "what root leaves in it that account may not be able to write; run this as that account")
	signed, err := s.updateAll(ctx, text)
	for _, ref := range signed.Sorted() {
		sum := signed[ref].String()
		entry.Refs = append(entry.Refs, audit.Ref{Ref: string(ref), Old: sum, New: sum, Verdict: audit.Signed})
	}
	if err != nil {
		err = fmt.Errorf("update repo %s: %w", report.Printable(repo), err)
	}
	return err
}

// updateAll signs and updates all that there is, and returns what it has signed.
func (s *session) updateAll(ctx context.Context, text *report.Text) (signed ostree.Refs, err error) {
	if s.config.DryRun {
		text.Log(report.Warning, "nothing is updated: dry_run is set in the configuration")
		return nil, nil
	}
	if !s.config.Update {
		// That is about what a receive does.
		s.config.Update, s.config.UpdateHook = true, nil
	}
	r, err := s.open(text, outputIn(text))
	if err != nil {
		return nil, err
	}
	defer r.close()
	locked, err := isLockedForUs(r.target)
	if err != nil {
		return nil, err
	}
	if locked {
		if signed, err = r.signRefs(ctx); err != nil {
			return signed, err
		}
		return signed, r.updateMetadata(ctx)
	}
	lock, err := lockRepo(ctx, r.target, r.sink)
	if err != nil {
		return nil, err
	}
	defer lock.release()
	signed, err = r.signRefs(ctx)
	if err == nil || len(signed) > 0 {
		// A hook is to know of those that are signed, whatever became of the others: they are not signed again.
		_, notRemembered := r.remember(signed.Sorted())
		err = errors.Join(err, notRemembered)
	}
	if err != nil {
		return signed, err
	}
	return signed, r.show(ctx, nil)
}

// signRefs gives the commits that refs show the signatures of this repository's keys, and returns the refs whose
// commits have got any.
func (r *receiver) signRefs(ctx context.Context) (signed ostree.Refs, err error) {
	refs, _, err := r.goodRefs(ctx)
	if err != nil || !r.keys.Signs() {
		return nil, err
	}
	signed = ostree.Refs{}
	added := map[ostree.Checksum]bool{} // refs may show the same commit
	for _, ref := range refs.Sorted() {
		sum := refs[ref]
		if _, done := added[sum]; !done {
			if added[sum], err = r.signOne(ctx, sum); err != nil {
				return signed, fmt.Errorf("ref %s: %w", ref, err)
			}
		}
		if added[sum] {
			signed[ref] = sum
		}
	}
	if len(signed) > 0 {
		r.sink.Log(report.Info, fmt.Sprintf("Signed the commits of %d refs", len(signed)))
	}
	return signed, nil
}

// signOne signs a commit, and reports whether that has added a signature.
func (r *receiver) signOne(ctx context.Context, sum ostree.Checksum) (added bool, err error) {
	before, err := sign.CountSignatures(ctx, r.target, sum)
	if err != nil {
		return false, err
	}
	if err := r.keys.SignCommit(ctx, r.target, sum); err != nil {
		return false, err
	}
	after, err := sign.CountSignatures(ctx, r.target, sum)
	return after > before, err
}

// lockedEnv is the variable in the environment by which a hook's own --update knows that the receiver that runs
// the hook has locked the repository, and waits for it: DEVICE:INODE of each one that is.
const lockedEnv = "OSTREE_RECEIVE_LOCKED"

// lockedAlso is the environment of what is run while a repository is locked, as others may be.
func lockedAlso(target *ostree.Repo) (string, error) {
	id, err := idOf(target)
	if err != nil {
		return "", err
	}
	return lockedEnv + "=" + strings.TrimSpace(os.Getenv(lockedEnv)+" "+id), nil
}

// isLockedForUs reports whether a hook of the repository runs this program.
func isLockedForUs(target *ostree.Repo) (bool, error) {
	id, err := idOf(target)
	return err == nil && slices.Contains(strings.Fields(os.Getenv(lockedEnv)), id), err
}

func idOf(target *ostree.Repo) (string, error) {
	var stat unix.Stat_t
	if err := unix.Stat(target.Path(), &stat); err != nil {
		return "", &os.PathError{Op: "stat", Path: target.Path(), Err: err}
	}
	return fmt.Sprintf("%d:%d", stat.Dev, stat.Ino), nil
}
