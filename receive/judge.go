package receive

import (
	"context"
	"fmt"

	"ostree-push/cli"
	"ostree-push/ostree"
	"ostree-push/report"
)

// verdict is what is to become of one ref. An accepted one is merged; the
// merge fills in what it wrote, and moving the ref that it has moved.
type verdict struct {
	offer
	current ostree.Checksum // what the ref shows; zero: nothing
	parent  ostree.Checksum // current, unless that commit cannot be read
	status  report.Status
	reason  string
	// warnings say in full why the ref should not move.
	warnings []string
	merged   ostree.Checksum
	moved    bool
}

func (v *verdict) accepted() bool {
	return v.status == report.New || v.status == report.Updated || v.status == report.Forced
}

// verdicts are those of all refs, in their order.
type verdicts struct {
	all     []verdict
	current []currentRef // nothing to do for these
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

// due returns those that are accepted and have not moved yet.
func (vs *verdicts) due() []*verdict {
	var due []*verdict
	for i := range vs.all {
		if v := &vs.all[i]; v.accepted() && !v.moved {
			due = append(due, v)
		}
	}
	return due
}

// moved returns those whose refs have moved.
func (vs *verdicts) moved() []*verdict {
	var moved []*verdict
	for i := range vs.all {
		if v := &vs.all[i]; v.moved {
			moved = append(moved, v)
		}
	}
	return moved
}

// giveUp rejects what is accepted and has not moved.
func (vs *verdicts) giveUp(reason string) {
	for _, v := range vs.due() {
		v.status, v.reason = report.Rejected, reason
	}
}

// report says what became, or in a dry run would become, of each ref.
func (vs *verdicts) report(sink report.Sink) {
	for _, c := range vs.current {
		shows := c.shows.String()
		sink.Ref(report.Ref{Ref: c.ref, Status: report.UpToDate, Old: shows, New: shows, Received: c.received.String()})
	}
	for i := range vs.all {
		sink.Ref(vs.all[i].result())
	}
}

// result is what is said of a ref.
func (v *verdict) result() report.Ref {
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
	return result
}

// judge compares each offer with the target's current commit, and hands every
// verdict to announce.
func (r *receiver) judge(ctx context.Context, wanted *offers, announce func(verdict)) (*verdicts, error) {
	list, err := r.target.ReadRefs(ctx, wanted.refs())
	if err != nil {
		return nil, fmt.Errorf("read refs: %w", err)
	}
	vs := &verdicts{current: wanted.current}
	for _, offer := range wanted.offers {
		v := r.judgeOne(offer, list)
		if wanted.keep {
			v.keep()
		}
		announce(v)
		vs.all = append(vs.all, v)
	}
	if wanted.atomic {
		if err := vs.checkAll(); err != nil {
			return nil, err
		}
	}
	if err := r.checkNames(ctx, vs); err != nil {
		return nil, err
	}
	return vs, r.checkCanMove(vs.due())
}

// checkCanMove returns an error if a ref could not be moved.
func (r *receiver) checkCanMove(due []*verdict) error {
	for _, v := range due {
		if err := r.target.CheckRefUpdate(v.ref); err != nil {
			return err
		}
	}
	return checkRefsWritable(r.repo, refsOf(due))
}

// keep has the commit published as it is.
func (v *verdict) keep() {
	switch {
	case v.commit.Checksum == v.current && v.status != report.Updated:
		v.status, v.reason, v.warnings = report.UpToDate, "", nil
	case v.accepted():
		v.merged = v.commit.Checksum
	}
}

// checkAll returns an error if a ref is not to move that should.
func (vs *verdicts) checkAll() error {
	for _, v := range vs.all {
		if !v.accepted() && v.status != report.UpToDate {
			return cli.Hint(fmt.Errorf("ref %s: commit %s does not replace the current commit %s: %s", v.ref, v.commit.Checksum, v.current, v.reason),
				"commit anew, with a later timestamp; only a newer ostree-push can force")
		}
	}
	return nil
}

// judgeOne judges one offer. A ref that shows nothing that can be read does not keep it
// from being replaced.
func (r *receiver) judgeOne(o offer, list *ostree.RefList) verdict {
	v := verdict{offer: o, status: report.New}
	if to, alias := list.Aliases[o.ref]; alias {
		v.status, v.reason = report.Rejected, "it is an alias"
		if to != "" && r.config.AllowsRef(string(to)) {
			v.reason = fmt.Sprintf("it is an alias of %s", to)
		}
		v.current = list.Refs[o.ref]
		v.warnings = []string{fmt.Sprintf("ref %s cannot be pushed: %s; push the ref that it leads to", o.ref, v.reason)}
		return v
	}
	if now := list.Refs[o.ref]; o.lease != nil && now != *o.lease {
		v.status, v.reason, v.current = report.Rejected, "it is not at the commit that it was to be at", now
		return v
	}
	if err, bad := list.Bad[o.ref]; bad {
		r.sink.Log(report.Debug, fmt.Sprintf("ref %s is to be replaced: %v", o.ref, err))
		return v
	}
	sum, ok := list.Refs[o.ref]
	if !ok {
		return v
	}
	current, err := r.target.LoadCommit(sum)
	if err != nil {
		v.status, v.current = report.Updated, sum
		v.warnings = []string{fmt.Sprintf("ref %s: its current commit %s cannot be read, so what is pushed has no parent: %v", o.ref, sum, err)}
		return v
	}
	defer current.Close()
	v = compare(o, current, r.config.Force)
	if v.status == report.UpToDate && current.Partial {
		// The commit that it shows is whole again when what it is made of is here.
		v.status, v.reason, v.merged = report.Updated, "its objects were missing", sum
		v.ancestors = append(v.ancestors[:len(v.ancestors):len(v.ancestors)], sum)
	}
	return v
}

// compare judges a ref that exists: its commit is replaced only by a strictly
// newer one with other content, unless that is forced.
func compare(o offer, current *ostree.Commit, force bool) verdict {
	v := verdict{offer: o, current: current.Checksum, parent: current.Checksum, status: report.Updated}
	if o.commit.Timestamp <= current.Timestamp {
		v.reason = "not newer"
		v.warnings = append(v.warnings, fmt.Sprintf("received %s commit %s is not newer than current %s commit %s",
			o.ref, o.commit.Checksum, o.ref, current.Checksum))
	}
	sameTree := o.commit.Tree == current.Tree
	if sameTree {
		v.reason = "same content"
		v.warnings = append(v.warnings, fmt.Sprintf("received %s commit %s has the same content as current %s commit %s",
			o.ref, o.commit.Checksum, o.ref, current.Checksum))
	}
	switch {
	case len(v.warnings) == 0:
	case force:
		v.status = report.Forced
	case !sameTree:
		v.status = report.Rejected
	case !sameButForTime(o.commit, current):
		v.status, v.reason = report.Rejected, "other metadata"
		v.warnings = append(v.warnings, fmt.Sprintf("received %s commit %s differs from the current one in its metadata alone, and that is only taken with "+
			"the receiver's --force (--command='ostree-receive-1 --force', where the server allows it)",
			o.ref, o.commit.Checksum))
	case o.commit.Timestamp < current.Timestamp:
		v.status, v.reason = report.Rejected, "not newer"
	default:
		v.status, v.reason, v.warnings = report.UpToDate, "", nil
	}
	return v
}

// sameButForTime reports whether merging the one commit would publish just what the other
// one does, but for the timestamp.
func sameButForTime(received, current *ostree.Commit) bool {
	timeless := func(c ostree.Commit) *ostree.Commit {
		c.Timestamp = 0
		return &c
	}
	return timeless(*received).PublishedDigest() == timeless(*current).PublishedDigest()
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

// judgeAgain judges once more what was judged earlier, and what has not moved since: somebody else may
// have changed the refs. It announces only what is different now.
func (r *receiver) judgeAgain(ctx context.Context, wanted *offers, earlier *verdicts) (*verdicts, error) {
	known := map[ostree.Ref]verdict{}
	for _, v := range earlier.all {
		known[v.ref] = v
	}
	vs, err := r.judge(ctx, wanted, func(v verdict) {
		if k := known[v.ref]; !k.moved && (k.status != v.status || k.current != v.current) {
			r.announce(v)
		}
	})
	if err != nil {
		return nil, err
	}
	vs.takeOver(known)
	return vs, nil
}

// takeOver takes over from earlier verdicts those whose refs have moved, and rejects what was not accepted
// then, so that its content has not been fetched: its ref went back in the meantime.
func (vs *verdicts) takeOver(earlier map[ostree.Ref]verdict) {
	for i := range vs.all {
		v := &vs.all[i]
		if k := earlier[v.ref]; k.moved {
			*v = k
		} else if v.accepted() && !k.accepted() {
			v.status, v.reason = report.Rejected, "the ref has changed meanwhile; push again"
		}
	}
}
