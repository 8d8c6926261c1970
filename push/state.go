package push

import (
	"context"
	"sync"

	"ostree-push/ostree"
	"ostree-push/report"
	"ostree-push/stream"
)

// This file is about what the receiver has of the refs that it is offered.

// remoteState is that, as far as it matters to us.
type remoteState struct {
	due   stream.Offer                    // those that are not up to date
	bases map[ostree.Checksum]ostree.Tree // trees of the receiver's that are here, for commits of those
}

// readState reads what the receiver says of each ref of an offer. Of the trees that it names no more is kept than what is of use: there
// may be many.
func (s *streamPush) readState(ctx context.Context, offer stream.Offer) (remoteState, error) {
	state := remoteState{bases: map[ostree.Checksum]ostree.Tree{}}
	var upToDate []report.Ref
	n := 0
	for {
		part, more, err := stream.Next[stream.State](s)
		if err != nil {
			return state, err
		}
		if n += len(part); n > len(offer) || !more && n < len(offer) {
			return state, stream.Wrong[stream.State]("%d refs, and %d were offered", n, len(offer))
		}
		if !more {
			s.upToDate.are(upToDate)
			return state, nil
		}
		for i, has := range part {
			o := offer[n-len(part)+i]
			if has.UpToDate {
				shows := has.Shows.String()
				upToDate = append(upToDate, report.Ref{Ref: o.Ref, Status: report.UpToDate, Old: shows, New: shows, Received: o.Commit.String()})
				continue
			}
			state.due = append(state.due, o)
			if err := s.chooseBase(ctx, &state, o.Commit, has.Trees); err != nil {
				return state, err
			}
		}
	}
}

// chooseBase takes the first of the receiver's trees that is here to compare a commit with.
func (s *streamPush) chooseBase(ctx context.Context, state *remoteState, commit ostree.Checksum, trees []ostree.Tree) error {
	if _, has := state.bases[commit]; has {
		return nil
	}
	for _, tree := range trees {
		has, err := s.src.repo.HasObject(ctx, ostree.ObjectDirTree, tree.Contents)
		if err != nil {
			return err
		}
		if has {
			state.bases[commit] = tree
			return nil
		}
	}
	return nil
}

// upToDate hands on what a receiver says, and before the first result of a ref those of the refs that are up to date, which the receiver has
// told of in its state, and does not again.
type upToDate struct {
	report.Listener
	mu   sync.Mutex
	refs []report.Ref // not said yet
}

func (u *upToDate) are(refs []report.Ref) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.refs = refs
}

// say says which refs are up to date.
func (u *upToDate) say() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, ref := range u.refs {
		u.Listener.Ref(ref)
	}
	u.refs = nil
}

// Ref takes the result of another ref.
func (u *upToDate) Ref(r report.Ref) {
	u.say()
	u.Listener.Ref(r)
}
