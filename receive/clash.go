package receive

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"

	"ostree-push/ostree"
)

// This file finds refs that cannot stand beside each other: the name of one is a directory of the other's.

// checkNames returns an error if an accepted ref could not be set because its
// name is a directory of another ref's, or the other way round. libostree would
// notice when it has set others already.
func (r *receiver) checkNames(ctx context.Context, vs *verdicts) error {
	taken := map[ostree.Ref]bool{} // by refs that are accepted, or are above one
	var accepted, above []ostree.Ref
	for _, v := range vs.accepted() {
		taken[v.ref] = true
		accepted = append(accepted, v.ref)
		above = slices.AppendSeq(above, dirsOf(v.ref))
	}
	slices.Sort(above)
	list, err := r.target.ReadRefs(ctx, slices.Compact(above))
	if err != nil {
		return fmt.Errorf("read refs: %w", err)
	}
	for ref := range list.All() {
		taken[ref] = true
	}
	all, err := r.withBelow(ctx, accepted)
	if err != nil {
		return err
	}
	for _, ref := range all {
		for dir := range dirsOf(ref) {
			if taken[dir] {
				return r.clash(dir, ref)
			}
		}
	}
	return nil
}

// withBelow returns refs and those that are below one of them, sorted.
func (r *receiver) withBelow(ctx context.Context, refs []ostree.Ref) ([]ostree.Ref, error) {
	all := slices.Clone(refs)
	for _, ref := range refs {
		below, err := r.target.RefsBelow(ctx, ref)
		if err != nil {
			return nil, fmt.Errorf("list refs: %w", err)
		}
		all = slices.AppendSeq(all, maps.Keys(below.All()))
	}
	slices.Sort(all)
	return all, nil
}

// dirsOf returns the directories that the name of a ref has, as refs, the last one first.
func dirsOf(ref ostree.Ref) iter.Seq[ostree.Ref] {
	return func(yield func(ostree.Ref) bool) {
		for dir := path.Dir(string(ref)); dir != "." && yield(ostree.Ref(dir)); {
			dir = path.Dir(dir)
		}
	}
}

// clash says that two refs cannot both exist. One that the pusher may not see is not named.
func (r *receiver) clash(dir, below ostree.Ref) error {
	const alone = "ref %s cannot exist beside another ref of the repository"
	switch {
	case !r.config.AllowsRef(string(dir)):
		return fmt.Errorf(alone, below)
	case !r.config.AllowsRef(string(below)):
		return fmt.Errorf(alone, dir)
	}
	return fmt.Errorf("refs %s and %s cannot both exist in a repository", dir, below)
}
