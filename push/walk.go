package push

import (
	"context"
	"fmt"

	"ostree-push/ostree"
)

// walker lists the objects of trees, each once, and nothing before what it is made of. It opens no tree below one that a base, a tree
// which the receiver has, has at the same place.
type walker struct {
	ctx    context.Context
	repo   *ostree.Repo
	seen   map[seenKey]struct{} // listed, or the receiver's
	emit   func(ostree.ObjectName) error
	opened int // trees
}

func (s *streamPush) newWalker(ctx context.Context, emit func(ostree.ObjectName) error) *walker {
	return &walker{ctx: ctx, repo: s.src.repo, seen: map[seenKey]struct{}{}, emit: emit}
}

// seenKey is half of a checksum, which is enough to tell the objects of one
// repository apart, and the type.
type seenKey [17]byte

func keyOf(e ostree.ObjectName) (key seenKey) {
	key[0] = byte(e.Type)
	copy(key[1:], e.Sum[:])
	return key
}

// walkCommit lists what a commit consists of, beside a base, or nil.
func (w *walker) walkCommit(sum ostree.Checksum, base *ostree.Tree) error {
	commit, err := w.repo.LoadCommit(sum)
	if err != nil {
		return fmt.Errorf("local repository: commit %s: %w", sum, err)
	}
	commit.Close()
	if base != nil {
		w.skip(*base)
	}
	if err := w.walk(commit.Tree, base); err != nil {
		return fmt.Errorf("local repository: commit %s: %w", sum, err)
	}
	return nil
}

func (w *walker) walk(tree ostree.Tree, base *ostree.Tree) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if err := w.visit(ostree.ObjectDirMeta, tree.Meta); err != nil {
		return err
	}
	if _, seen := w.seen[keyOf(ostree.ObjectName{Type: ostree.ObjectDirTree, Sum: tree.Contents})]; seen {
		return nil
	}
	files, dirs, err := w.open(tree.Contents)
	if err != nil {
		return err
	}
	bases := w.openBase(base)
	for _, sum := range files {
		if err := w.visit(ostree.ObjectFile, sum); err != nil {
			return err
		}
	}
	for _, dir := range dirs {
		if err := w.walk(dir.Tree, bases[dir.Name]); err != nil {
			return err
		}
	}
	return w.visit(ostree.ObjectDirTree, tree.Contents)
}

func (w *walker) open(tree ostree.Checksum) ([]ostree.Checksum, []ostree.Dir, error) {
	w.opened++
	return w.repo.DirTree(tree)
}

// openBase leaves out of the list what a base names, and returns the directories in it, by their names. Only a part of it
// may be here, and what is wrong with that is wrong with nothing that is pushed.
func (w *walker) openBase(base *ostree.Tree) map[string]*ostree.Tree {
	if base == nil {
		return nil
	}
	files, dirs, err := w.open(base.Contents)
	if err != nil {
		return nil
	}
	for _, sum := range files {
		w.mark(ostree.ObjectFile, sum)
	}
	bases := make(map[string]*ostree.Tree, len(dirs))
	for i := range dirs {
		w.skip(dirs[i].Tree)
		bases[dirs[i].Name] = &dirs[i].Tree
	}
	return bases
}

// skip leaves a tree of the receiver's out of the list.
func (w *walker) skip(tree ostree.Tree) {
	w.mark(ostree.ObjectDirTree, tree.Contents)
	w.mark(ostree.ObjectDirMeta, tree.Meta)
}

func (w *walker) mark(t ostree.ObjectType, sum ostree.Checksum) {
	w.seen[keyOf(ostree.ObjectName{Type: t, Sum: sum})] = struct{}{}
}

func (w *walker) visit(t ostree.ObjectType, sum ostree.Checksum) error {
	e := ostree.ObjectName{Type: t, Sum: sum}
	if _, seen := w.seen[keyOf(e)]; seen {
		return nil
	}
	w.seen[keyOf(e)] = struct{}{}
	return w.emit(e)
}
