package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"ostree-push/ostree"
	"ostree-push/report"
	"ostree-push/stream"
)

const (
	// spreadBytes is how much has been sent, and how much is to come, before it is
	// worth while to open further channels, if that cannot be told beforehand.
	spreadBytes = 4 << 20
	// spreadTime is the shortest round trip with which one channel, whose window
	// is about 2 MB, may be what limits a push.
	spreadTime = 15 * time.Millisecond

	// defaultChannels is how many channels there are, at most, if that is not
	// said, and mostChannels how many there are then over the longest lines: sshd's
	// default for MaxSessions.
	defaultChannels = 4
	mostChannels    = 10
)

// channelsFor returns how many channels are enough to fill 1 Gbit/s.
func channelsFor(roundTrip time.Duration) int {
	return max(defaultChannels, int(min(roundTrip/spreadTime, mostChannels)))
}

// sender sends the missing objects, over several channels of the ssh connection if the push is large
// (docs/protocol.md), since one channel carries no more than its window in a round trip. All channels
// take pieces of objects in one order.
type sender struct {
	s      *streamPush
	ctx    context.Context // ends when the objects are sent, or cannot be
	cancel context.CancelCauseFunc
	push   context.Context // of the whole push

	mu      sync.Mutex
	changed sync.Cond // of what follows, where somebody may wait for it
	list    *objectList
	missing stream.Missing
	parts   map[ostree.ObjectName]stream.PartialObject // that the receiver has
	next    int                                        // in the list
	left    int                                        // objects that are still to be taken
	begun   []object                                   // have more pieces, and nobody takes one at the moment
	taking  int                                        // how many have somebody who does
	sent    int                                        // objects
	bytes   int64
	spread  bool // further channels are being opened, or would be of no use
	most    int  // channels
	done    bool // it is too late for another one
	joined  sync.WaitGroup
}

func newSender(ctx context.Context, s *streamPush, list *objectList, missing stream.Missing, parts stream.Partial) *sender {
	x := &sender{
		push: ctx, s: s, list: list, missing: missing, left: missing.Count(), most: channelsFor(s.roundTrip),
		parts: map[ostree.ObjectName]stream.PartialObject{},
	}
	for _, part := range parts {
		x.parts[part.ObjectName] = part
	}
	if s.channels != nil {
		x.most = *s.channels
	}
	x.changed.L = &x.mu
	x.ctx, x.cancel = context.WithCancelCause(ctx)
	context.AfterFunc(x.ctx, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.changed.Broadcast()
	})
	x.spread = x.most == 1 || s.secret == "" || s.roundTrip < spreadTime
	return x
}

// run sends everything.
func (x *sender) run() error {
	defer x.cancel(nil)
	defer x.s.expect(x.ctx, x.all(), x.parts)()
	if !x.spread && x.estimate() >= 2*spreadBytes {
		x.spreadOut()
	}
	err := x.send(x.s.conn)
	if err != nil {
		x.cancel(err)
	}
	x.mu.Lock()
	x.done = true
	x.mu.Unlock()
	x.joined.Wait()
	for _, o := range x.begun {
		o.close()
	}
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	return x.s.endObjects()
}

// all returns all objects that are to be sent.
func (x *sender) all() iter.Seq[ostree.ObjectName] {
	return func(yield func(ostree.ObjectName) bool) {
		for i := range x.list.len() {
			if x.missing.Has(i) && !yield(x.list.at(i)) {
				return
			}
		}
	}
}

// send sends pieces of objects on a channel until there are no more.
func (x *sender) send(conn *stream.Conn) error {
	for {
		p, ok, err := x.take()
		if !ok || err != nil {
			return err
		}
		if err := x.s.send(conn, p); err != nil {
			return err
		}
		x.count(p)
	}
}

// take takes the next piece: of an object that has been begun, or else of the next one.
func (x *sender) take() (p piece, ok bool, err error) {
	o, err := x.takeObject()
	if o == nil {
		return p, false, err
	}
	p, more, err := o.next()
	x.putBack(o, more)
	return p, err == nil, err
}

// takeObject returns an object that has more pieces, which the caller puts back; nil if there are none.
func (x *sender) takeObject() (object, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.ctx.Err() == nil {
		if len(x.begun) > 0 {
			o := x.begun[0]
			x.begun = x.begun[1:]
			x.taking++
			return o, nil
		}
		if e, ok := x.nextMissing(); ok {
			return x.begin(e)
		}
		if x.taking == 0 {
			break
		}
		x.changed.Wait() // for whoever takes a piece of the last one
	}
	return nil, nil
}

// begin opens an object, while others go on: a disk that seeks takes its time.
func (x *sender) begin(e ostree.ObjectName) (object, error) {
	part := x.parts[e]
	x.taking++
	x.mu.Unlock()
	o, err := x.s.openObject(x.ctx, e, part)
	x.mu.Lock()
	if err != nil {
		x.taking--
		x.changed.Broadcast()
		return nil, err
	}
	return o, nil
}

// putBack ends the taking of a piece, of an object that may have more.
func (x *sender) putBack(o object, more bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.taking--
	if more {
		x.begun = append([]object{o}, x.begun...)
	}
	x.changed.Broadcast()
}

// nextMissing takes the next object off the list.
func (x *sender) nextMissing() (ostree.ObjectName, bool) {
	for x.next < x.list.len() {
		i := x.next
		x.next++
		if x.missing.Has(i) {
			x.left--
			return x.list.at(i), true
		}
	}
	return ostree.ObjectName{}, false
}

// count notes that a piece has been sent, and opens further channels when that
// seems to be worth it.
func (x *sender) count(p piece) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p.Last {
		x.sent++
	}
	x.bytes += p.Length
	if x.spread {
		return
	}
	if toCome := x.toCome(); toCome < spreadBytes || x.bytes < spreadBytes && toCome < 2*spreadBytes {
		return // now, but the next objects may be larger
	}
	x.spreadOut()
}

// toCome returns about how many bytes are still to be sent: what is left of the objects that have been begun, and as much for
// each other as those had that have been sent.
func (x *sender) toCome() int64 {
	var bytes int64
	for _, o := range x.begun {
		bytes += o.rest()
	}
	if x.sent > 0 && x.bytes >= spreadBytes {
		bytes += x.bytes / int64(x.sent) * int64(x.left)
	}
	return bytes
}

// spreadOut opens further channels.
func (x *sender) spreadOut() {
	x.spread = true
	for range x.most - 1 {
		go x.join()
	}
}

// estimate returns about how many bytes are to be sent, from the sizes of some of
// the objects; 0 if they are not easily told.
func (x *sender) estimate() int64 {
	const samples = 64
	var bytes int64
	n := 0
	for i := 0; i < x.list.len(); i += 1 + x.list.len()/samples {
		if !x.missing.Has(i) {
			continue
		}
		size, ok := x.s.storedSize(x.list.at(i))
		if !ok {
			return 0
		}
		bytes += size
		n++
	}
	if n == 0 {
		return 0
	}
	return bytes / int64(n) * int64(x.left)
}

// join sends objects on a channel of its own, if it can have one.
func (x *sender) join() {
	s := x.s
	var problem error // before it has joined
	err := s.open(x.push, func(_ context.Context, stdin io.WriteCloser, stdout io.Reader) {
		defer stdin.Close()
		conn := stream.New(stream.Pusher, stdout, stdin)
		if ok, _ := conn.Greeted(); !ok {
			problem = errNoStream
			return
		}
		x.mu.Lock()
		late := x.done
		if !late {
			x.joined.Add(1)
		}
		x.mu.Unlock()
		if late {
			return
		}
		defer x.joined.Done()
		if problem = s.enter(conn); problem != nil {
			return
		}
		err := x.send(conn)
		if err == nil {
			err = conn.End(stream.Data{})
		}
		if err != nil {
			x.cancel(fmt.Errorf("on a further channel: %w", err))
			return
		}
		stdin.Close()
		io.Copy(io.Discard, stdout)
	})
	if problem == nil {
		problem = err
	}
	if problem != nil && x.ctx.Err() == nil {
		s.sink.Log(report.Debug, fmt.Sprintf("A further channel cannot be had: %v", problem))
	}
}

// enter has a channel join the push.
func (s *streamPush) enter(conn *stream.Conn) error {
	if err := conn.Send(stream.Join{Secret: s.secret}); err != nil {
		return err
	}
	for {
		m, err := conn.Read()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case stream.Event:
		case stream.Go:
			return nil
		case stream.Result:
			return errors.New(m.Error)
		default:
			return fmt.Errorf("a frame %v instead of %v", m.Kind(), stream.Go{}.Kind())
		}
	}
}
