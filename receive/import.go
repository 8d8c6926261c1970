package receive

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime"

	"ostree-push/ostree"
	"ostree-push/report"
)

// importAndMerge makes the accepted commits part of the target, in one
// transaction: all of them, or none.
func (r *receiver) importAndMerge(ctx context.Context, q *quarantine, vs *verdicts) error {
	return r.inTransaction(ctx, func(tx *ostree.Transaction) error {
		sums := checksums(vs.accepted())
		importAll := r.importObjects
		if r.filler.checked() {
			importAll = r.importChecked
		}
		if err := importAll(ctx, tx, q, sums); err != nil {
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

// importObjects checks every object in the quarantine, and links it into the
// target, or rewrites it in the form of the target's mode.
func (r *receiver) importObjects(ctx context.Context, tx *ostree.Transaction, q *quarantine, sums []ostree.Checksum) error {
	r.sink.Log(report.Debug, "Checking and importing the objects")
	source := url.URL{Scheme: "file", Path: q.dir}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := tx.Pull(ctx, ostree.PullOptions{
		Remote:  source.String(),
		Commits: sums,
		Flags:   ostree.PullUntrusted,
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

// importChecked imports commits, with all that they consist of, from a quarantine in which
// everything has been checked. A pull would do as well; but it has tables of all
// objects, which take more memory than everything else, and works on one processor.
func (r *receiver) importChecked(ctx context.Context, tx *ostree.Transaction, q *quarantine, sums []ostree.Checksum) error {
	r.sink.Log(report.Debug, "Importing the objects")
	full := tx.Resumed
	if err := r.importTrees(ctx, tx, q, sums, full); err != nil {
		return fmt.Errorf("import the objects: %w", err)
	}
	for _, sum := range sums {
		if err := r.importCommit(ctx, tx, q, sum, full); err != nil {
			return fmt.Errorf("import the objects: commit %s: %w", sum, err)
		}
	}
	return nil
}

// importTrees imports all that commits consist of. With full, it looks at what the
// target has, too: there may be less than there should be.
func (r *receiver) importTrees(ctx context.Context, tx *ostree.Transaction, q *quarantine, sums []ostree.Checksum, full bool) (err error) {
	m := newImporter(ctx, tx, q, r.target, full)
	defer func() { err = errors.Join(err, m.finish()) }()
	for _, sum := range sums {
		commit, err := q.repo.LoadCommit(sum)
		if err != nil {
			return err
		}
		commit.Close()
		if err := m.tree(commit.Tree); err != nil {
			return fmt.Errorf("commit %s: %w", sum, err)
		}
	}
	return nil
}

// importCommit imports a commit whose trees are there.
func (r *receiver) importCommit(ctx context.Context, tx *ostree.Transaction, q *quarantine, sum ostree.Checksum, full bool) error {
	if err := tx.Import(ctx, q.repo, ostree.ObjectCommit, sum); err != nil {
		return err
	}
	if tx.HasCompleted(sum) {
		return nil // it was not there
	}
	commit, err := r.target.LoadCommit(sum)
	if err != nil {
		return err
	}
	commit.Close()
	if !commit.Partial {
		return nil
	}
	// Somebody has begun to import it, and marked it.
	if !full {
		if err := r.importTrees(ctx, tx, q, []ostree.Checksum{sum}, true); err != nil {
			return err
		}
	}
	return tx.Completes(sum)
}

// importer walks trees, and imports what they consist of: content on all
// processors. What is below a tree that the target has is there, unless it is to be looked
// at in full.
type importer struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	tx     *ostree.Transaction
	q      *quarantine
	target *ostree.Repo
	full   bool
	trees  map[ostree.Checksum]struct{} // that have been walked

	work    chan []ostree.Checksum // content
	rest    []ostree.Checksum      // that is not in work yet
	workers *workers
}

// importBatch is how many objects are handed on at once.
const importBatch = 64

func newImporter(ctx context.Context, tx *ostree.Transaction, q *quarantine, target *ostree.Repo, full bool) *importer {
	m := &importer{tx: tx, q: q, target: target, full: full, trees: map[ostree.Checksum]struct{}{}}
	m.ctx, m.cancel = context.WithCancelCause(ctx)
	m.work = make(chan []ostree.Checksum, 2*runtime.GOMAXPROCS(0))
	m.workers = startWorkers(m.work, func(sums []ostree.Checksum) {
		if err := m.content(sums); err != nil {
			m.cancel(err)
		}
	})
	return m
}

// finish waits for the content.
func (m *importer) finish() error {
	if len(m.rest) > 0 {
		m.work <- m.rest
	}
	close(m.work)
	m.workers.wait()
	defer m.cancel(nil)
	if m.ctx.Err() != nil {
		return context.Cause(m.ctx)
	}
	return nil
}

func (m *importer) tree(tree ostree.Tree) error {
	if m.ctx.Err() != nil {
		return nil // finish says why
	}
	if err := m.object(ostree.ObjectDirMeta, tree.Meta); err != nil {
		return err
	}
	if _, walked := m.trees[tree.Contents]; walked {
		return nil
	}
	m.trees[tree.Contents] = struct{}{}
	has := m.q.repo
	if !m.q.hasObject(ostree.ObjectDirTree, tree.Contents) {
		if err := m.inTarget(ostree.ObjectDirTree, tree.Contents); err != nil || !m.full {
			return err
		}
		has = m.target
	}
	files, dirs, err := has.DirTree(tree.Contents)
	if err != nil {
		return err
	}
	for _, sum := range files {
		if m.rest = append(m.rest, sum); len(m.rest) == importBatch {
			m.work <- m.rest
			m.rest = nil
		}
	}
	for _, dir := range dirs {
		if err := m.tree(dir); err != nil {
			return err
		}
	}
	return m.object(ostree.ObjectDirTree, tree.Contents)
}

// content imports content objects, which may become larger than they were.
func (m *importer) content(sums []ostree.Checksum) error {
	if m.target.Mode() != ostree.ModeArchive {
		if err := m.q.checkSpace(); err != nil {
			return err
		}
	}
	for _, sum := range sums {
		if m.ctx.Err() != nil {
			return nil
		}
		if err := m.object(ostree.ObjectFile, sum); err != nil {
			return err
		}
	}
	return nil
}

// object imports an object, unless the target has it.
func (m *importer) object(t ostree.ObjectType, sum ostree.Checksum) error {
	if !m.q.hasObject(t, sum) {
		return m.inTarget(t, sum)
	}
	if err := m.tx.Import(m.ctx, m.q.repo, t, sum); err != nil {
		return fmt.Errorf("object %s: %w", sum, err)
	}
	return nil
}

func (m *importer) inTarget(t ostree.ObjectType, sum ostree.Checksum) error {
	has, err := m.target.HasObject(m.ctx, t, sum)
	if err == nil && !has {
		err = errors.New("it has not been sent")
	}
	if err != nil {
		return fmt.Errorf("object %s: %w", sum, err)
	}
	return nil
}
