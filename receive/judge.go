package receive

import (
	"context"
	"fmt"
	"maps"
	"path"

	"ostree-push/ostree"
	"ostree-push/report"
)

// verdict is what is to become of one ref. An accepted one is merged; the
// merge fills in what it wrote.
type verdict struct {
	offer
	current ostree.Checksum // zero: the ref is new
	status  report.Status
	reason  string
	// warnings say in full why the ref should not move.
	warnings []string
	merged   ostree.Checksum
}

func (v *verdict) accepted() bool {
	return v.status == report.New || v.status == report.Updated || v.status == report.Forced
}

// verdicts are those of all refs, in their order.
type verdicts struct {
	all     []verdict
	current ostree.Refs // nothing to do for these
}

func (vs *verdicts) accepted() []verdict {
	var accepted []verdict
	for _, v := range vs.all {
		if v.accepted() {
			accepted = append(accepted, v)
		}
	}
	return accepted
}

// moved returns the refs that are accepted.
func (vs *verdicts) moved() []ostree.Ref {
	var refs []ostree.Ref
	for _, v := range vs.accepted() {
		refs = append(refs, v.ref)
	}
	return refs
}

// report says what became, or in a dry run would become, of each ref.
func (vs *verdicts) report(sink report.Sink) {
	for _, ref := range vs.current.Sorted() {
		sum := vs.current[ref].String()
		sink.Ref(report.Ref{Ref: ref, Status: report.UpToDate, Old: sum, New: sum, Received: sum})
	}
	for _, v := range vs.all {
		result := report.Ref{Ref: v.ref, Status: v.status, Received: v.commit.Checksum.String(), Reason: v.reason}
		if !v.current.IsZero() {
			result.Old = v.current.String()
		}
		switch {
		case !v.accepted():
			result.New = result.Old
		case !v.merged.IsZero():
			result.New = v.merged.String()
		}
		sink.Ref(result)
	}
}

// judge compares each offer with the target's current commit, and hands every
// verdict to announce.
func (r *receiver) judge(ctx context.Context, wanted *offers, announce func(verdict)) (*verdicts, error) {
	have, err := r.target.Refs(ctx)
	if err != nil {
		return nil, fmt.Errorf("list refs: %w", err)
	}
	vs := &verdicts{current: wanted.current}
	for _, offer := range wanted.offers {
		v := verdict{offer: offer, status: report.New}
		if sum, ok := have[offer.ref]; ok {
			current, err := r.target.LoadCommit(sum)
			if err != nil {
				return nil, fmt.Errorf("ref %s: load current commit %s: %w", offer.ref, sum, err)
			}
			v = compare(offer, current, r.config.Force)
			current.Close()
		}
		announce(v)
		vs.all = append(vs.all, v)
	}
	if err := vs.checkNames(have); err != nil {
		return nil, err
	}
	return vs, nil
}

// checkNames returns an error if an accepted ref could not be set because its
// name is a directory of another ref's, or the other way round. libostree would
// notice when it has set others already.
func (vs *verdicts) checkNames(have ostree.Refs) error {
	all := maps.Clone(have)
	for _, v := range vs.accepted() {
		all[v.ref] = v.commit.Checksum
	}
	for _, ref := range all.Sorted() {
		for dir := path.Dir(string(ref)); dir != "."; dir = path.Dir(dir) {
			if _, ok := all[ostree.Ref(dir)]; ok {
				return fmt.Errorf("refs %s and %s cannot both exist in a repository", dir, ref)
			}
		}
	}
	return nil
}

// compare judges a ref that exists: its commit is replaced only by a strictly
// newer one with other content, unless that is forced.
func compare(o offer, current *ostree.Commit, force bool) verdict {
	v := verdict{offer: o, current: current.Checksum, status: report.Updated}
	if o.commit.Timestamp <= current.Timestamp {
		v.reason = "not newer"
		v.warnings = append(v.warnings, fmt.Sprintf("received %s commit %s is not newer than current %s commit %s",
			o.ref, o.commit.Checksum, o.ref, current.Checksum))
	}
	if o.commit.Tree == current.Tree {
		v.reason = "same content"
		v.warnings = append(v.warnings, fmt.Sprintf("received %s commit %s has the same content as current %s commit %s",
			o.ref, o.commit.Checksum, o.ref, current.Checksum))
	}
	switch {
	case len(v.warnings) == 0:
	case force:
		v.status = report.Forced
	case sameButForBindings(o.commit, current):
		v.status = report.UpToDate
	default:
		v.status = report.Rejected
	}
	return v
}

// sameButForBindings reports whether current is what merging received has
// written, some other time.
func sameButForBindings(received, current *ostree.Commit) bool {
	return received.Tree == current.Tree && received.Timestamp == current.Timestamp &&
		received.Subject == current.Subject && received.Body == current.Body
}

// announce says why a ref should not move, and if it does all the same.
func (r *receiver) announce(v verdict) {
	for _, warning := range v.warnings {
		r.sink.Log(report.Warning, warning)
	}
	if v.status == report.Forced {
		r.sink.Log(report.Info, fmt.Sprintf("Forcing merge of ref %s", v.ref))
	}
}

// judgeAgain judges once more what was judged earlier, when the content of what
// was accepted then has arrived. It announces only what is different now.
func (r *receiver) judgeAgain(ctx context.Context, wanted *offers, earlier *verdicts) (*verdicts, error) {
	known := map[ostree.Ref]verdict{}
	for _, v := range earlier.all {
		known[v.ref] = v
	}
	vs, err := r.judge(ctx, wanted, func(v verdict) {
		if k := known[v.ref]; k.status != v.status || k.current != v.current {
			r.announce(v)
		}
	})
	if err != nil {
		return nil, err
	}
	vs.rejectUnfetched(earlier)
	return vs, nil
}

// rejectUnfetched rejects what was not accepted earlier, so that its content has
// not been fetched: its ref went back in the meantime.
func (vs *verdicts) rejectUnfetched(earlier *verdicts) {
	fetched := map[ostree.Ref]bool{}
	for _, v := range earlier.accepted() {
		fetched[v.ref] = true
	}
	for i := range vs.all {
		if v := &vs.all[i]; v.accepted() && !fetched[v.ref] {
			v.status, v.reason = report.Rejected, "the ref has changed meanwhile; push again"
		}
	}
}
