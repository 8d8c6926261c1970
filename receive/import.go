package receive

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
)

// This file decides what commits lack, has the source send that, and takes over into the target what has
// arrived. The receiver alone decides what is complete: what a source sends by itself only saves
// it from being asked.

// askMost is how many objects a source is asked for at once. If more are missing, it is asked again.
const askMost = 100_000

// complete asks the source for what commits lack, until nothing is missing.
func (r *receiver) complete(ctx context.Context, q *quarantine.Quarantine, from fetcher, commits []ostree.Checksum) error {
	asked := map[ostree.ObjectName]struct{}{}
	r.sink.Progress(report.Progress{Phase: report.Checking})
	for {
		q.StartSync() // the disk has nothing to do while trees are walked, and the transaction waits for it
		missing, err := r.missing(ctx, q, commits)
		if err != nil || len(missing) == 0 {
			return err
		}
		for _, e := range missing {
			if _, twice := asked[e]; twice {
				return fmt.Errorf("object %s is missing, though it has been sent", e.String())
			}
			asked[e] = struct{}{}
		}
		r.sink.Log(report.Debug, fmt.Sprintf("Asking for %d more objects", len(missing)))
		if err := from.Fetch(ctx, missing); err != nil {
			return err
		}
	}
}

// missing returns objects that commits name, and that are neither in the quarantine nor in the
// target, askMost at most. Of a tree that is missing it knows nothing more.
func (r *receiver) missing(ctx context.Context, q *quarantine.Quarantine, commits []ostree.Checksum) ([]ostree.ObjectName, error) {
	var found missingObjects
	err := walkTrees(ctx, q.Repo, commits, func(e ostree.ObjectName) error {
		if q.Has(e) {
			return nil
		}
		has, err := r.target.HasObject(ctx, e.Type, e.Sum)
		if err == nil && !has {
			found.add(e)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for what is missing: %w", err)
	}
	return found.list, nil
}

// missingObjects collects objects, each once. Any number of goroutines may add to it.
type missingObjects struct {
	mu   sync.Mutex
	seen map[ostree.ObjectName]struct{}
	list []ostree.ObjectName
}

func (m *missingObjects) add(e ostree.ObjectName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil {
		m.seen = map[ostree.ObjectName]struct{}{}
	}
	if _, twice := m.seen[e]; twice || len(m.list) == askMost {
		return
	}
	m.seen[e] = struct{}{}
	m.list = append(m.list, e)
}

// errLostObjects is the error of an import that finds objects neither in the target nor in the quarantine, which
// were there when it was looked for what is missing: somebody has pruned the repository meanwhile. They can be
// asked for.
var errLostObjects = errors.New("objects that were there have been removed meanwhile")

// importObjects has a transaction take over what commits consist of, and the commits. Everything in the
// quarantine has been checked. What is neither there nor in the target is errLostObjects.
func (r *receiver) importObjects(ctx context.Context, tx *ostree.Transaction, q *quarantine.Quarantine, commits []ostree.Checksum) error {
	r.sink.Log(report.Debug, "Importing the objects")
	meter := report.NewMeter(r.sink, report.Importing, q.Arrived())
	err := walkTrees(ctx, q.Repo, commits, func(e ostree.ObjectName) error {
		return r.importObject(ctx, tx, q, e, meter)
	})
	if err != nil {
		return fmt.Errorf("import the objects: %w", err)
	}
	for _, sum := range commits {
		if err := tx.ImportCommit(ctx, q.Repo, sum); err != nil {
			return fmt.Errorf("import commit %s: %w", sum, err)
		}
	}
	return nil
}

// importObject imports an object, unless the target has it: what is published is
// not to be replaced by another encoding of the same.
func (r *receiver) importObject(ctx context.Context, tx *ostree.Transaction, q *quarantine.Quarantine, e ostree.ObjectName, meter *report.Meter) error {
	has, err := r.target.HasObject(ctx, e.Type, e.Sum)
	if err != nil || has {
		return err
	}
	if !q.Has(e) {
		return fmt.Errorf("object %s: %w", e.String(), errLostObjects)
	}
	// Content may become larger than it was.
	if e.Type == ostree.ObjectFile && r.target.Mode() != ostree.ModeArchive {
		if err := q.CheckSpace(); err != nil {
			return err
		}
	}
	if err := tx.Take(ctx, q.Repo, e); err != nil {
		return fmt.Errorf("object %s: %w", e.String(), err)
	}
	meter.Add(1, 0)
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
