package receive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"ostree-push/cli"
	"ostree-push/ostree"
	"ostree-push/receive/config"
	"ostree-push/receive/locate"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
)

// This file applies the configuration to a receive: which repository, which
// refs, which keys.

// CheckRefPattern returns an error if s cannot be one of Limits.Refs.
func CheckRefPattern(s string) error { return config.CheckRefPattern(s) }

// load reads the configuration.
func (l Limits) load() (*config.Policy, error) {
	sources := config.DefaultSources()
	if l.Config != "" {
		// One that is not there is fine elsewhere, but here somebody counts on it.
		if _, err := os.Stat(l.Config); err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		sources.Only = l.Config
	}
	policy, err := config.Load(sources)
	return policy, cli.Hint(err, "ostree-receive.toml(5) explains the options")
}

// find finds the repository that a pusher calls name, and the policy for it.
func (l Limits) find(policy *config.Policy, name string) (*locate.Location, *config.Config, error) {
	root := policy.Root()
	if l.Root != "" {
		root = l.Root
	}
	at, err := locate.Find(root, name)
	if err != nil {
		return nil, nil, err
	}
	c, err := policy.For(at.Path())
	if err == nil {
		err = c.Limit(l.Refs, l.NoForce)
	}
	if err != nil {
		at.Close()
		return nil, nil, err
	}
	return at, c, nil
}

// checkRefs returns an error that names the refs which may not be received.
func (r *receiver) checkRefs(refs []ostree.Ref) error {
	const most = 10
	var refused []string
	for _, ref := range refs {
		if !r.config.AllowsRef(string(ref)) {
			refused = append(refused, fmt.Sprintf("ref %s is not allowed here", ref))
		}
	}
	if n := len(refused) - most; n > 0 {
		refused = append(refused[:most], fmt.Sprintf("and so are %d more", n))
	}
	if len(refused) > 0 {
		return cli.Hint(errors.New(strings.Join(refused, "; ")), "what is allowed is up to the server's administrator: refs in its configuration, and --refs of this key")
	}
	return nil
}

// shown returns those refs of the target that the pusher is told of: the ones that may be
// received.
func (r *receiver) shown(refs ostree.Refs) ostree.Refs {
	shown := maps.Clone(refs)
	maps.DeleteFunc(shown, func(ref ostree.Ref, _ ostree.Checksum) bool { return !r.config.AllowsRef(string(ref)) })
	return shown
}

// hides reports whether the pusher is not to know of some refs of the target that others push.
func (r *receiver) hides(refs ostree.Refs) bool {
	for ref := range refs {
		if !generated(ref) && !r.config.AllowsRef(string(ref)) {
			return true
		}
	}
	return false
}

// verify checks the signatures of all that is offered, and that it is signed for where it
// is to go. One that is wrong fails the receive: somebody is not who they should be.
func (r *receiver) verify(ctx context.Context, q *quarantine.Quarantine, offered *offers) error {
	for _, o := range offered.offers {
		if err := r.keys.VerifyCommit(ctx, q.Repo, o.commit.Checksum); err != nil {
			return cli.Hint(fmt.Errorf("ref %s: commit %s: %w", o.ref, o.commit.Checksum, err),
				"sign the commit with a key that the server trusts, and push again (ostree-gpg-sign(1), ostree-sign(1))")
		}
		if err := r.checkPromotion(o); err != nil {
			return err
		}
	}
	return nil
}

// checkPromotion returns an error if a commit whose signature counts is signed for another
// ref: otherwise somebody without a key could publish what was signed for testing as stable.
func (r *receiver) checkPromotion(o offer) error {
	if !r.keys.Verifies() || r.config.AllowPromotion {
		return nil
	}
	return cli.Hint(checkBinding(o),
		"commit it on that ref, or for it as well (ostree commit --bind-ref=%s), and sign that; allow_promotion in the server's configuration allows other refs", o.ref)
}

// checkBinding returns an error if a commit is not bound to its ref. One without a binding is
// bound to nothing.
func checkBinding(o offer) error {
	bound, _ := o.commit.MetaStrings(ostree.MetaRefBinding)
	if len(bound) == 0 {
		return fmt.Errorf("ref %s: commit %s is bound to no ref", o.ref, o.commit.Checksum)
	}
	if !slices.Contains(bound, string(o.ref)) {
		return fmt.Errorf("ref %s: commit %s is bound to %s, not to this ref", o.ref, o.commit.Checksum, report.Printable(report.Shortened(strings.Join(bound, ", "), maxShown)))
	}
	if ref, ok := o.commit.MetaString(metaFlatpakRef); ok && ref != string(o.ref) {
		return fmt.Errorf("ref %s: commit %s is of %s by its %s, not of this ref", o.ref, o.commit.Checksum, report.Printable(report.Shortened(ref, maxShown)), metaFlatpakRef)
	}
	return nil
}

// maxShown is how much of what a commit says is shown, in bytes.
const maxShown = 200
