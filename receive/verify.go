package receive

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"ostree-push/cli"
	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
)

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
	if ref, ok := o.commit.MetaString(ostree.MetaFlatpakRef); ok && ref != string(o.ref) {
		return fmt.Errorf("ref %s: commit %s is of %s by its %s, not of this ref", o.ref, o.commit.Checksum, report.Printable(report.Shortened(ref, maxShown)), ostree.MetaFlatpakRef)
	}
	return nil
}

// maxShown is how much of what a commit says is shown, in bytes.
const maxShown = 200
