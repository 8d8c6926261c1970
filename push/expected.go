package push

import (
	"context"
	"iter"
	"sync"

	"ostree-push/ostree"
	"ostree-push/report"
	"ostree-push/stream"
)

// expected is how many bytes of objects are to arrive, which the receiver does not know. What of it has arrived, the receiver says.
type expected struct {
	mu      sync.Mutex
	counted bool  // the sizes of all objects are in what follows
	stored  int64 // of those that are sent as they are stored
	plain   int64 // of those that are compressed while they are sent, before that
	taken   int64 // of these, what has been compressed
	made    int64 // from that
	have    int64 // compressed bytes that the receiver has
}

// expect begins to add up the sizes of objects that are to be sent, of some of which the receiver has a part. That takes a while, in which
// the first are sent. The function that it returns ends it, and has to be called before the repository is closed. Nothing is added up where
// nobody looks.
func (s *streamPush) expect(ctx context.Context, objects iter.Seq[ostree.ObjectName], parts map[ostree.ObjectName]stream.PartialObject) (stop func()) {
	if !s.live {
		return func() {}
	}
	x := &expected{}
	s.expected.Store(x)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for e := range objects {
			if ctx.Err() != nil {
				return
			}
			x.add(s, e, parts[e])
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		x.counted = true
	}()
	return func() {
		cancel()
		<-ended
	}
}

// add adds the size of an object. That of one that cannot be read does not matter: it cannot be sent.
func (x *expected) add(s *streamPush, e ostree.ObjectName, part stream.PartialObject) {
	var stored, plain, have int64
	switch {
	case !s.sendsStored(e.Type):
		plain, have = s.contentSize(e), compressedPart(part).Len()
	case len(part.Ranges) > 0:
		if o, err := s.openStored(e, part); err == nil {
			stored = o.rest()
			o.close()
		}
	default:
		stored, _ = s.storedSize(e)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stored += stored
	x.plain += plain
	x.have += have
}

// compressed notes that bytes have been compressed, and what has been made from them.
func (x *expected) compressed(taken, made int64) {
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.taken += taken
	x.made += made
}

// bytes returns how many bytes are to arrive in all, 0 if nothing can be said yet. What is still to be compressed is taken to
// shrink as that did which has been, and then the number may turn out to be another one.
func (x *expected) bytes() (n int64, about bool) {
	if x == nil {
		return 0, false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	rest := x.plain - x.taken
	if !x.counted || rest > 0 && x.taken == 0 {
		return 0, false
	}
	n = x.stored + x.made - x.have
	if rest <= 0 {
		return n, false
	}
	return n + int64(float64(rest)*float64(x.made)/float64(x.taken)), true
}

// arrivals hears what a receiver says, and adds to how much has arrived how much there is.
type arrivals struct {
	report.Listener
	s *streamPush
}

func (a arrivals) Progress(p report.Progress) {
	if p.Phase == report.Receiving {
		p.Size, p.About = a.s.expected.Load().bytes()
	}
	a.Listener.Progress(p)
}
