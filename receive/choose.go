package receive

import (
	"context"
	"fmt"
	"strings"

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

// choose returns those refs of a source that are asked for by name, all if there are no names, and that are
// allowed: the ones that are wanted, and the ones that are current already.
func (r *receiver) choose(ctx context.Context, offered ostree.Refs, names []string) (wanted, current ostree.Refs, err error) {
	chosen, err := named(offered, names)
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
