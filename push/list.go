package push

import (
	"context"
	"fmt"

	"ostree-push/ostree"
	"ostree-push/report"
	"ostree-push/stream"
)

// list tells what the wanted commits consist of, other than what the trees that they are compared with have.
func (s *streamPush) list(ctx context.Context, wanted []ostree.Checksum, bases map[ostree.Checksum]ostree.Tree) (*objectList, error) {
	list := &objectList{}
	w := s.newWalker(ctx, func(e ostree.ObjectName) error {
		if list.add(e); list.len()%stream.ListSize == 0 {
			return s.conn.Send(list.last())
		}
		return nil
	})
	offered := map[ostree.Checksum]bool{}
	for _, sum := range s.src.refs {
		offered[sum] = true
	}
	for _, sum := range wanted {
		if !offered[sum] {
			return nil, fmt.Errorf("the receiver wants commit %s, which was not offered", sum)
		}
		var base *ostree.Tree
		if tree, has := bases[sum]; has {
			base = &tree
		}
		if err := w.walkCommit(sum, base); err != nil {
			return nil, err
		}
	}
	s.sink.Log(report.Debug, fmt.Sprintf("Listing %d objects, for which %d trees were opened", list.len(), w.opened))
	if list.len()%stream.ListSize != 0 {
		if err := s.conn.Queue(list.last()); err != nil {
			return nil, err
		}
	}
	return list, s.conn.End(stream.List{})
}

// objectsOf returns what commits consist of.
func (s *streamPush) objectsOf(ctx context.Context, commits []ostree.Checksum) (map[seenKey]struct{}, error) {
	w := s.newWalker(ctx, func(ostree.ObjectName) error { return nil })
	for _, sum := range commits {
		if err := w.walkCommit(sum, nil); err != nil {
			return nil, err
		}
	}
	return w.seen, nil
}

// objectList is what has been listed, as it was sent: lists can be long.
type objectList struct{ lists []stream.List }

// add appends an object, to a new list if the last one is full.
func (l *objectList) add(e ostree.ObjectName) {
	if l.len()%stream.ListSize == 0 {
		l.lists = append(l.lists, stream.List{})
	}
	l.lists[len(l.lists)-1].Add(e)
}

func (l *objectList) last() stream.List { return l.lists[len(l.lists)-1] }

func (l *objectList) len() int {
	if len(l.lists) == 0 {
		return 0
	}
	return (len(l.lists)-1)*stream.ListSize + l.last().Len()
}

func (l *objectList) at(i int) ostree.ObjectName {
	return l.lists[i/stream.ListSize].At(i % stream.ListSize)
}
