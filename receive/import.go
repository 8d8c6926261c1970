package receive

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"ostree-push/ostree"
	"ostree-push/report"
)

// importAndMerge makes the accepted commits part of the target, in one
// transaction: all of them, or none.
func (r *receiver) importAndMerge(ctx context.Context, q *quarantine, vs *verdicts) error {
	return r.inTransaction(ctx, func(tx *ostree.Transaction) error {
		if err := r.importObjects(ctx, tx, q, checksums(vs.accepted())); err != nil {
			return err
		}
		for i := range vs.all {
			if v := &vs.all[i]; v.accepted() {
				if err := r.merge(ctx, tx, v); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// inTransaction runs f in a transaction of the target, which is committed
// unless f fails.
func (r *receiver) inTransaction(ctx context.Context, f func(*ostree.Transaction) error) (err error) {
	tx, err := r.target.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, abort(tx))
		}
	}()
	if err := f(tx); err != nil {
		return withCause(ctx, err)
	}
	// Not to be interrupted: libostree sets the refs one by one.
	if err := tx.Commit(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("commit the transaction: %w", err)
	}
	return nil
}

// abort drops the transaction. What libostree has staged stays in tmp/, where
// the next transaction finds it, and so must the marks in state/ that say that
// its commits are partial: without them, the next pull would take a staged
// commit for a complete one.
func abort(tx *ostree.Transaction) error {
	if err := tx.Abort(); err != nil {
		return fmt.Errorf("abort the transaction: %w", err)
	}
	return nil
}

// importObjects checks every object in the quarantine, unless that has been
// done, and links it into the target, or rewrites it in the form of the target's
// mode.
func (r *receiver) importObjects(ctx context.Context, tx *ostree.Transaction, q *quarantine, sums []ostree.Checksum) error {
	r.sink.Log(report.Debug, "Checking and importing the objects")
	source := url.URL{Scheme: "file", Path: q.dir}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	flags := ostree.PullUntrusted
	if r.filler != nil && r.filler.checked() {
		flags = 0
	}
	err := tx.Pull(ctx, ostree.PullOptions{
		Remote:  source.String(),
		Commits: sums,
		Flags:   flags,
		// Objects that are not linked may become larger than they say.
		Progress: func(ostree.PullProgress) {
			if err := q.checkSpace(); err != nil {
				cancel(err)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("import the objects: %w", withCause(ctx, err))
	}
	return nil
}
