package receive

import (
	"context"
	"errors"
	"fmt"

	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
)

// This file does what is done under the lock: judge once more, import, merge, and move the refs.

// moveRounds is how often refs that others change at that very moment are judged anew, and objects that
// others remove are asked for again, before it is given up.
const moveRounds = 10

// publish has the target take over what has arrived, and its refs and metadata show it.
func (r *receiver) publish(ctx context.Context, q *quarantine.Quarantine, from fetcher, wanted *offers, vs *verdicts) error {
	for range moveRounds {
		err := r.publishLocked(ctx, q, wanted, vs)
		if lost := (*lostError)(nil); !errors.As(err, &lost) {
			return err
		}
		// Nobody holds our lock while the source is asked.
		if err := r.complete(ctx, q, from, commitsOf(vs.due())); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w, %d times", errLostObjects, moveRounds)
}

// lostError is errLostObjects before any ref has moved, and before anything was reported: publishing can be tried
// again when the objects have been asked for.
type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

// publishLocked does so as long as nothing is lost before the first ref moves, which is a lostError. What has moved
// is reported, and its metadata updated, whatever happens to the other refs.
func (r *receiver) publishLocked(ctx context.Context, q *quarantine.Quarantine, wanted *offers, vs *verdicts) error {
	lock, err := lockRepo(ctx, r.target, r.sink)
	if err != nil {
		return err
	}
	defer lock.release()
	vs, err = r.moveRefs(ctx, q, wanted, vs)
	moved := vs.moved()
	switch {
	case err == nil:
		q.StartRemoval()
		vs.giveUp("the ref keeps changing; push again")
	case len(moved) == 0 && errors.Is(err, errLostObjects):
		return &lostError{err}
	case len(moved) == 0:
		return err
	case len(vs.due()) > 0:
		vs.giveUp("not reached")
		err = fmt.Errorf("refs have moved, but not all of them: %w", err)
	}
	vs.report(r.sink)
	// The refs have moved: from here on, finishing is the best that can be
	// done, whether anybody still waits for it or not.
	ctx = context.WithoutCancel(ctx)
	if len(moved) == 0 {
		r.sink.Log(report.Info, "No refs need updating")
		return r.catchUp(ctx)
	}
	r.warnOfLostSignatures(ctx, moved)
	return errors.Join(err, r.show(ctx, refsOf(moved)))
}

// moveRefs judges, imports and moves until no ref is left that is to move, or that others keep changing. The verdicts
// that it returns, of whatever came of it, say which refs have moved.
func (r *receiver) moveRefs(ctx context.Context, q *quarantine.Quarantine, wanted *offers, vs *verdicts) (*verdicts, error) {
	for range moveRounds {
		again, err := r.judgeAgain(ctx, wanted, vs)
		if err != nil {
			return vs, err
		}
		vs = again
		due := vs.due()
		if len(due) == 0 {
			break
		}
		if err := r.importAndMove(ctx, q, due); err != nil {
			return vs, err
		}
	}
	return vs, nil
}

func refsOf(vs []*verdict) []ostree.Ref {
	var refs []ostree.Ref
	for _, v := range vs {
		refs = append(refs, v.ref)
	}
	return refs
}

// importAndMove makes accepted commits part of the target, in one transaction, all or none, and then moves
// their refs. A ref that somebody else has changed meanwhile stays as it is.
func (r *receiver) importAndMove(ctx context.Context, q *quarantine.Quarantine, due []*verdict) error {
	// Nobody is to prune what no ref points to yet.
	unlock, err := lockShared(ctx, r.target, r.sink)
	if err != nil {
		return err
	}
	defer func() { unlock() }()
	if err := r.importAndMerge(ctx, q, due); err != nil {
		return err
	}
	return r.updateRefs(context.WithoutCancel(ctx), due)
}

// commitsOf returns the commits that refs are to show, and those that come with them.
func commitsOf(due []*verdict) []ostree.Checksum {
	var sums []ostree.Checksum
	for _, v := range due {
		sums = append(append(sums, v.commit.Checksum), v.ancestors...)
	}
	return sums
}

func (r *receiver) importAndMerge(ctx context.Context, q *quarantine.Quarantine, due []*verdict) (err error) {
	tx, err := r.target.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, abort(tx))
		}
	}()
	if err := r.importObjects(ctx, tx, q, commitsOf(due)); err != nil {
		return err
	}
	for _, v := range due {
		if err := r.merge(ctx, tx, q, v); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	// Not to be interrupted any more.
	if err := tx.Commit(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("commit the transaction: %w", err)
	}
	return nil
}

// updateRefs moves refs. All changes of refs go through it: whether each can be changed is looked at before
// the first one is, what is intended is on record before that, and each verdict says whether its ref has moved.
func (r *receiver) updateRefs(ctx context.Context, due []*verdict) error {
	if err := r.checkCanMove(due); err != nil {
		return err
	}
	var updates []ostree.RefUpdate
	byRef := map[ostree.Ref]*verdict{}
	for _, v := range due {
		updates = append(updates, ostree.RefUpdate{Ref: v.ref, Old: v.current, New: v.merged})
		byRef[v.ref] = v
	}
	before, err := r.remember(refsOf(due))
	if err != nil {
		return err
	}
	err = r.intend(due)
	if err == nil {
		err = r.target.UpdateRefs(ctx, updates, func(u ostree.RefUpdate, err error) {
			byRef[u.Ref].moved = err == nil
			if changed := (*ostree.RefChangedError)(nil); errors.As(err, &changed) {
				r.sink.Log(report.Info, fmt.Sprintf("Ref %s has been changed by somebody else meanwhile: judging it again", u.Ref))
			}
		})
	}
	// Of what was to move, only what has is pending.
	var moved []ostree.Ref
	for _, v := range due {
		if v.moved {
			moved = append(moved, v.ref)
		}
	}
	if before == nil && len(moved) == 0 {
		return errors.Join(err, r.forget())
	}
	return errors.Join(err, r.setPending(before, moved))
}
