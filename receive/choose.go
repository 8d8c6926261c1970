package receive

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"ostree-push/internal/workers"
	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
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
	current []currentRef
	keep    bool // the commits are taken as they are
	atomic  bool // all refs move, or none
}

// currentRef is a ref for which there is nothing to do.
type currentRef struct {
	ref      ostree.Ref
	shows    ostree.Checksum
	received ostree.Checksum // that commit, or one that publishes the same
}

func (o *offers) refs() []ostree.Ref {
	var refs []ostree.Ref
	for _, offer := range o.offers {
		refs = append(refs, offer.ref)
	}
	return refs
}

func (o *offers) close() {
	if o == nil {
		return
	}
	for _, offer := range o.offers {
		offer.commit.Close()
	}
}

// choice is what is to become of the refs that a source offers, those that are asked for and allowed.
type choice struct {
	wanted  ostree.Refs
	current []currentRef
	have    *ostree.RefList // of the target, as far as it is about them
}

// choose chooses from the refs that are offered those that are asked for by name, all if there are no names. digests are those of what
// their commits publish, as far as the source tells.
func (r *receiver) choose(ctx context.Context, offered ostree.Refs, digests map[ostree.Ref]ostree.Digest, names []string) (*choice, error) {
	chosen, err := named(offered, names)
	if err != nil {
		return nil, err
	}
	refs := chosen.Sorted()
	if err := r.checkRefs(refs); err != nil {
		return nil, err
	}
	have, err := r.target.ReadRefs(ctx, refs)
	if err != nil {
		return nil, fmt.Errorf("read refs: %w", err)
	}
	current, err := r.current(ctx, have, chosen, digests)
	if err != nil {
		return nil, err
	}
	c := &choice{wanted: ostree.Refs{}, have: have}
	for _, ref := range refs {
		if current[ref] {
			c.current = append(c.current, currentRef{ref, have.Refs[ref], chosen[ref]})
			continue
		}
		r.sink.Log(report.Debug, fmt.Sprintf("ref %s: remote commit %s, current commit %s", ref, chosen[ref], have.Refs[ref]))
		c.wanted[ref] = chosen[ref]
	}
	return c, nil
}

// current returns which refs are up to date. There may be many, each with a commit that has to be read.
func (r *receiver) current(ctx context.Context, have *ostree.RefList, offered ostree.Refs, digests map[ostree.Ref]ostree.Digest) (map[ostree.Ref]bool, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	current := map[ostree.Ref]bool{}
	work := make(chan ostree.Ref)
	readers := workers.Start(work, func(ref ostree.Ref) {
		is, err := r.isCurrent(ctx, ref, offered[ref], have, digests)
		if err != nil {
			cancel(fmt.Errorf("ref %s: %w", ref, err))
		}
		mu.Lock()
		defer mu.Unlock()
		current[ref] = is
	})
	for ref := range offered {
		if ctx.Err() != nil {
			break
		}
		work <- ref
	}
	close(work)
	readers.Wait()
	return current, context.Cause(ctx)
}

// isCurrent reports whether a ref shows a commit that is whole, and the very one that is offered, or one that publishes the same, so that
// there is nothing to judge. What is wrong with a ref, judging says.
func (r *receiver) isCurrent(ctx context.Context, ref ostree.Ref, offered ostree.Checksum, have *ostree.RefList, digests map[ostree.Ref]ostree.Digest) (bool, error) {
	shows, ok := have.Refs[ref]
	if !ok || r.config.Force {
		return false, nil
	}
	if shows == offered {
		return r.isWhole(ctx, shows)
	}
	digest, tells := digests[ref]
	if _, alias := have.Aliases[ref]; alias || !tells || r.keys.Verifies() { // the signature is that of the other commit
		return false, nil
	}
	commit, err := r.target.LoadCommit(shows)
	if err != nil {
		return false, nil
	}
	defer commit.Close()
	return !commit.Partial && commit.PublishedDigest() == digest, nil
}

// isWhole reports whether the target has a commit that is not known to lack anything.
func (r *receiver) isWhole(ctx context.Context, sum ostree.Checksum) (bool, error) {
	has, err := r.target.HasObject(ctx, ostree.ObjectCommit, sum)
	if err != nil || !has {
		return false, err
	}
	partial, err := r.target.IsPartial(sum)
	return !partial, err
}

const (
	// nearest is how many ancestors of a ref's commit a source is told of, which it may have as well, and ancestorsMost how many
	// of all refs are read for that.
	nearest       = 8
	ancestorsMost = 1000
)

// trees returns a function that returns the trees of the commit which a wanted ref shows, and of its nearest ancestors, as far as these
// are there and whole.
func (r *receiver) trees(c *choice) func(ostree.Ref) []ostree.Tree {
	left := ancestorsMost
	return func(ref ostree.Ref) (trees []ostree.Tree) {
		_, wanted := c.wanted[ref]
		_, alias := c.have.Aliases[ref]
		if !wanted || alias {
			return nil
		}
		sum := c.have.Refs[ref]
		for n := 0; !sum.IsZero() && n <= nearest; n++ {
			if n > 0 {
				if left == 0 {
					break
				}
				left--
			}
			commit, err := r.target.LoadCommit(sum)
			if err != nil {
				break // judging says why, where it matters
			}
			if commit.Close(); !commit.Partial && !slices.Contains(trees, commit.Tree) {
				trees = append(trees, commit.Tree)
			}
			sum = commit.Parent
		}
		return trees
	}
}

// loadOffers reads the commits of wanted, which have arrived.
func loadOffers(q *quarantine.Quarantine, wanted ostree.Refs, current []currentRef) (*offers, error) {
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

func checksums(vs []verdict) []ostree.Checksum {
	var sums []ostree.Checksum
	for _, v := range vs {
		sums = append(sums, v.commit.Checksum)
	}
	return sums
}

// generated reports whether ref is made by updating a repository's metadata,
// so that it is never received from another one.
func generated(ref ostree.Ref) bool {
	return ref == ostree.MetadataRef ||
		strings.HasPrefix(string(ref), "appstream/") ||
		strings.HasPrefix(string(ref), "appstream2/")
}

// named returns the refs of a source that have a name: all, if there are none.
func named(source ostree.Refs, names []string) (ostree.Refs, error) {
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
