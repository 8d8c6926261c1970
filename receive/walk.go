package receive

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"ostree-push/internal/workers"
	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
)

// This file walks what commits consist of. Nothing is inferred: a tree that is there says nothing of
// what it names, since a prune that was interrupted, `ostree fsck --delete`, a crash of the
// machine, and pulls of a part of a commit leave trees without it.

// maxDepth is how many levels of directories a commit may have: libostree walks
// trees by recursion, and a few ten thousand levels end its fsck and its prune.
const maxDepth = 1000

// treeWalk walks the trees of commits, and hands each object that they name, and that is no
// commit, to visit: content on all processors, in batches; trees and their metadata each once, and trees after what
// is below them.
type treeWalk struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	repo   *ostree.Repo // has the trees; of one that it does not have, nothing more is known
	visit  func(ostree.ObjectName) error

	heights map[ostree.Checksum]int      // levels, of the trees that have been walked
	metas   map[ostree.Checksum]struct{} // that have been visited: most directories have the same
	batch   []ostree.Checksum            // content that is not in work yet
	work    chan []ostree.Checksum
	workers *workers.Workers
}

// walkBatch is how many content objects are handed on at once.
const walkBatch = 64

// walkTrees walks the trees of commits. The first error of visit ends it.
func walkTrees(ctx context.Context, repo *ostree.Repo, commits []ostree.Checksum, visit func(ostree.ObjectName) error) (err error) {
	w := &treeWalk{repo: repo, visit: visit, heights: map[ostree.Checksum]int{}, metas: map[ostree.Checksum]struct{}{}}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.work = make(chan []ostree.Checksum, 2*runtime.GOMAXPROCS(0))
	w.workers = workers.Start(w.work, func(sums []ostree.Checksum) {
		for _, sum := range sums {
			if w.ctx.Err() != nil {
				return
			}
			if err := w.visit(ostree.ObjectName{Type: ostree.ObjectFile, Sum: sum}); err != nil {
				w.cancel(err)
			}
		}
	})
	for _, sum := range commits {
		if err := w.commit(sum); err != nil {
			w.cancel(fmt.Errorf("commit %s: %w", sum, err))
			break
		}
	}
	return w.finish()
}

// finish waits for the content.
func (w *treeWalk) finish() error {
	if len(w.batch) > 0 {
		w.work <- w.batch
	}
	close(w.work)
	w.workers.Wait()
	defer w.cancel(nil)
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return nil
}

func (w *treeWalk) commit(sum ostree.Checksum) error {
	commit, err := w.repo.LoadCommit(sum)
	if err != nil {
		return err
	}
	commit.Close()
	_, err = w.tree(commit.Tree, 1)
	return err
}

// tree walks a tree that is at a depth, and returns how many levels it has.
func (w *treeWalk) tree(tree ostree.Tree, depth int) (height int, err error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	if _, seen := w.metas[tree.Meta]; !seen {
		if err := w.visit(ostree.ObjectName{Type: ostree.ObjectDirMeta, Sum: tree.Meta}); err != nil {
			return 0, err
		}
		w.metas[tree.Meta] = struct{}{}
	}
	height, walked := w.heights[tree.Contents]
	if !walked {
		if height, err = w.walkTree(tree.Contents, depth); err != nil {
			return 0, err
		}
		w.heights[tree.Contents] = height
	}
	if depth+height-1 > maxDepth {
		return 0, quarantine.Fault(fmt.Errorf("it has more than %d levels of directories", maxDepth))
	}
	return height, nil
}

func (w *treeWalk) walkTree(sum ostree.Checksum, depth int) (height int, err error) {
	entry := ostree.ObjectName{Type: ostree.ObjectDirTree, Sum: sum}
	has, err := w.repo.HasObject(w.ctx, entry.Type, sum)
	if err != nil || !has {
		return 1, w.orVisit(err, entry)
	}
	if depth > maxDepth {
		return 1, nil // whoever called says so
	}
	files, dirs, err := w.repo.DirTree(sum)
	if errors.Is(err, ostree.ErrNotFound) {
		return 1, w.visit(entry) // somebody has removed it at this moment
	}
	if err != nil {
		return 0, fmt.Errorf("dirtree %s: %w", sum, err)
	}
	for _, file := range files {
		if w.batch = append(w.batch, file); len(w.batch) == walkBatch {
			w.work <- w.batch
			w.batch = nil
		}
	}
	for _, dir := range dirs {
		below, err := w.tree(dir.Tree, depth+1)
		if err != nil {
			return 0, err
		}
		height = max(height, below)
	}
	return height + 1, w.visit(entry)
}

func (w *treeWalk) orVisit(err error, entry ostree.ObjectName) error {
	if err != nil {
		return err
	}
	return w.visit(entry)
}
