package push

import (
	"context"
	"errors"
	"fmt"

	"ostree-push/ostree"
	"ostree-push/stream"
)

// walker lists the objects of trees, each once, and nothing before what it is
// made of.
type walker struct {
	ctx  context.Context
	repo *ostree.Repo
	seen map[seenKey]struct{}
	emit func(ostree.ObjectName) error
}

// seenKey is half of a checksum, which is enough to tell the objects of one
// repository apart, and the type.
type seenKey [17]byte

func keyOf(e ostree.ObjectName) (key seenKey) {
	key[0] = byte(e.Type)
	copy(key[1:], e.Sum[:])
	return key
}

// skipAll leaves out what is below the trees of the receiver's refs.
func (w *walker) skipAll(states stream.State) error {
	for _, state := range states {
		if err := w.skip(state.Tree); err != nil {
			return err
		}
	}
	return nil
}

// skip leaves out what is below a tree of the receiver's, as far as it is here.
func (w *walker) skip(tree ostree.Tree) error {
	has, err := w.repo.HasObject(w.ctx, ostree.ObjectDirTree, tree.Contents)
	if err != nil || !has {
		return err
	}
	w.emit = func(ostree.ObjectName) error { return nil }
	err = w.walk(tree)
	if errors.Is(err, ostree.ErrNotFound) {
		return nil // only a part of it is here
	}
	return err
}

func (w *walker) walkCommit(sum ostree.Checksum) error {
	commit, err := w.repo.LoadCommit(sum)
	if err != nil {
		return fmt.Errorf("local repository: commit %s: %w", sum, err)
	}
	commit.Close()
	if err := w.walk(commit.Tree); err != nil {
		return fmt.Errorf("local repository: commit %s: %w", sum, err)
	}
	return nil
}

func (w *walker) walk(tree ostree.Tree) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if err := w.visit(ostree.ObjectDirMeta, tree.Meta); err != nil {
		return err
	}
	if _, seen := w.seen[keyOf(ostree.ObjectName{Type: ostree.ObjectDirTree, Sum: tree.Contents})]; seen {
		return nil
	}
	files, dirs, err := w.repo.DirTree(tree.Contents)
	if err != nil {
		return err
	}
	for _, sum := range files {
		if err := w.visit(ostree.ObjectFile, sum); err != nil {
			return err
		}
	}
	for _, dir := range dirs {
		if err := w.walk(dir); err != nil {
			return err
		}
	}
	return w.visit(ostree.ObjectDirTree, tree.Contents)
}

func (w *walker) visit(t ostree.ObjectType, sum ostree.Checksum) error {
	e := ostree.ObjectName{Type: t, Sum: sum}
	if _, seen := w.seen[keyOf(e)]; seen {
		return nil
	}
	w.seen[keyOf(e)] = struct{}{}
	return w.emit(e)
}

// stateWalk is a walk of the trees that the receiver has, going on.
type stateWalk struct {
	walker *walker
	cancel context.CancelFunc
	err    error
	done   chan struct{}
}

func (s *streamPush) walkState(ctx context.Context, states stream.State) *stateWalk {
	ctx, cancel := context.WithCancel(ctx)
	walk := &stateWalk{
		walker: &walker{ctx: ctx, repo: s.src.repo, seen: map[seenKey]struct{}{}},
		cancel: cancel,
		done:   make(chan struct{}),
	}
	go func() {
		defer close(walk.done)
		walk.err = walk.walker.skipAll(states)
	}()
	return walk
}

// wait returns the walker, at the end of the walk.
func (w *stateWalk) wait() (*walker, error) {
	<-w.done
	return w.walker, w.err
}

// stop ends the walk. The walker is not to be used after that.
func (w *stateWalk) stop() {
	w.cancel()
	<-w.done
}
