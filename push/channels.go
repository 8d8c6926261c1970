package push

import (
	"context"
	"errors"
	"fmt"
	"io"
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
// take objects from one list.
type sender struct {
	s      *streamPush
	ctx    context.Context // ends when the objects are sent, or cannot be
	cancel context.CancelCauseFunc
	push   context.Context // of the whole push

	mu      sync.Mutex
	list    *objectList
	missing stream.Missing
	next    int // in the list
	left    int // objects that are still to be taken
	sent    int
	bytes   int64
	spread  bool // further channels are being opened, or would be of no use
	most    int  // channels
	done    bool // it is too late for another one
	joined  sync.WaitGroup
}

func newSender(ctx context.Context, s *streamPush, list *objectList, missing stream.Missing) *sender {
	x := &sender{push: ctx, s: s, list: list, missing: missing, left: missing.Count(), most: channelsFor(s.roundTrip)}
	if s.channels != nil {
		x.most = *s.channels
	}
	x.ctx, x.cancel = context.WithCancelCause(ctx)
	x.spread = x.most == 1 || s.secret == "" || s.roundTrip < spreadTime
	return x
}

// run sends everything.
func (x *sender) run() error {
	defer x.cancel(nil)
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
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	return x.s.endObjects()
}

// send sends objects on a channel until there are no more.
func (x *sender) send(conn *stream.Conn) error {
	for {
		e, ok := x.take()
		if !ok {
			return nil
		}
		size, err := x.s.send(x.ctx, conn, e)
		if err != nil {
			return err
		}
		x.count(size)
	}
}

// take takes the next object off the list.
func (x *sender) take() (ostree.ObjectName, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.ctx.Err() == nil && x.next < x.list.len() {
		i := x.next
		x.next++
		if x.missing.Has(i) {
			x.left--
			return x.list.at(i), true
		}
	}
	return ostree.ObjectName{}, false
}

// count notes that an object has been sent, and opens further channels when that
// seems to be worth it.
func (x *sender) count(size int64) {
	x.s.count(size)
	x.s.anySent.Store(true)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sent++
	x.bytes += size
	if x.spread || x.bytes < spreadBytes {
		return
	}
	if toCome := x.bytes / int64(x.sent) * int64(x.left); toCome < spreadBytes {
		return // now, but the next objects may be larger
	}
	x.spreadOut()
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
		size, ok := x.s.size(x.list.at(i))
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
			err = conn.End(stream.Object{})
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
