package upload

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"ostree-push/internal/workers"
	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
	"ostree-push/stream"
)

// intake takes the objects that are missing, in whatever order they come, on any
// number of channels at once. Small ones are checked in memory, and so is
// what they are written from, by all processors, while others still arrive; large ones come in pieces (pieces.go).
type intake struct {
	q     *quarantine.Quarantine
	sink  report.Sink
	meter *report.Meter
	room  *quarantine.Room

	ctx    context.Context // ends with the first failure, or when its parent does
	cancel context.CancelCauseFunc
	work   chan *batch
	free   chan *batch
	// checkers check what comes in work.
	checkers *workers.Workers

	mu      sync.Mutex
	missing map[ostree.ObjectName]struct{} // of which nothing has come
	failure error                          // what was wrong with an object
	broken  error                          // how reading ended on the first channel that broke
	open    int                            // channels that are being read
	entered int                            // channels
	closed  bool                           // to further ones
	ended   chan struct{}

	pieces *pieces
}

const (
	// batchSize is the size of the buffer for several small objects, in bytes.
	batchSize = quarantine.SmallSize
	// blockSize is about what the smallest file takes.
	blockSize = 4096
)

// batch is small objects that have arrived, in a buffer.
type batch struct {
	buffer []byte
	items  []arrived
}

type arrived struct {
	ostree.ObjectName
	size int
}

// newIntake returns one for objects of which nothing has come, and for those of which a part is there. It owns these.
func newIntake(ctx context.Context, q *quarantine.Quarantine, sink report.Sink, missing map[ostree.ObjectName]struct{}, parts []*quarantine.Pieces) *intake {
	meter := report.NewMeter(sink, report.Receiving, len(missing)+len(parts))
	in := &intake{q: q, sink: sink, meter: meter, room: q.NewRoom(), missing: missing, ended: make(chan struct{})}
	in.ctx, in.cancel = context.WithCancelCause(ctx)
	in.pieces = newPieces(in, parts)
	buffers := 2*runtime.GOMAXPROCS(0) + 2
	in.work, in.free = make(chan *batch, buffers), make(chan *batch, buffers)
	for range buffers {
		in.free <- &batch{}
	}
	in.checkers = workers.Start(in.work, func(b *batch) {
		if err := in.check(b); err != nil {
			in.fail(err)
		}
		b.buffer, b.items = b.buffer[:0], b.items[:0]
		in.free <- b
	})
	return in
}

// fail ends the intake.
func (in *intake) fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.failure == nil {
		in.failure = err
	}
	in.cancel(err)
}

func (in *intake) failed() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.failure
}

// enter reads from a channel, and calls leave when that has ended.
func (in *intake) enter(channel *channel, leave func()) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return errors.New("the push has ended")
	}
	if in.entered > maxJoined {
		return fmt.Errorf("%d channels have joined, and no more can", maxJoined)
	}
	in.entered++
	in.open++
	go func() {
		err := in.read(channel)
		leave()
		in.mu.Lock()
		defer in.mu.Unlock()
		if err != nil && in.broken == nil {
			in.broken = err
			in.cancel(err)
		}
		if in.open--; in.open == 0 {
			in.closed = true
			close(in.ended)
		}
	}()
	return nil
}

// finish waits until all channels have ended and all that has arrived is checked,
// and returns an error if that is not all there should be.
func (in *intake) finish() error {
	<-in.ended
	close(in.work)
	in.checkers.Wait()
	incomplete := in.pieces.finish()
	defer in.cancel(nil)
	switch {
	case in.failure != nil:
		return in.failure
	case in.broken != nil:
		return in.broken
	case incomplete != nil:
		return incomplete
	}
	for e := range in.missing {
		return quarantine.Fault(fmt.Errorf("object %s has not been sent", e.Sum))
	}
	return nil
}

// read reads objects from a channel to their end.
func (in *intake) read(channel *channel) error {
	var b *batch // not held while there is nothing in it: there may be more channels than batches
	submit := func() {
		if b != nil {
			in.work <- b
			b = nil
		}
	}
	defer submit()
	for in.ctx.Err() == nil {
		if channel.conn.Buffered() == 0 {
			submit() // rather than have it wait for more
		}
		piece, more, err := stream.Next[stream.Data](channel)
		if err != nil || !more {
			return err
		}
		if !piece.Whole() || piece.Length > quarantine.SmallSize || in.pieces.has(piece.ObjectName) {
			err = in.pieces.read(channel.conn, piece)
		} else {
			if b != nil && int64(len(b.buffer))+piece.Length > batchSize {
				submit()
			}
			if b == nil {
				b = <-in.free
			}
			err = in.readSmall(channel.conn, piece, b)
		}
		if err != nil {
			return fmt.Errorf("object %s: %w", piece.Sum, err)
		}
	}
	return context.Cause(in.ctx)
}

// readSmall reads an object that is checked in memory.
func (in *intake) readSmall(conn *stream.Conn, piece stream.Data, b *batch) error {
	if err := in.claim(piece.ObjectName); err != nil {
		return err
	}
	if err := in.space(piece.ObjectName, piece.Length, max(piece.Length, blockSize)); err != nil {
		return err
	}
	if err := b.read(conn, piece.ObjectName, int(piece.Length)); err != nil {
		return err
	}
	in.meter.Add(1, piece.Length)
	return nil
}

// errUnasked says that an object is not one that is missing, or comes twice.
var errUnasked = quarantine.Fault(errors.New("nobody asked for it"))

// claim takes an object off those that are missing.
func (in *intake) claim(e ostree.ObjectName) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if _, ok := in.missing[e]; !ok {
		return errUnasked
	}
	delete(in.missing, e)
	return nil
}

// space takes so much room for some bytes of an object, which has so many up to their end. It is an error if that is too large for its
// kind, or for the disk.
func (in *intake) space(e ostree.ObjectName, end, room int64) error {
	if e.Type != ostree.ObjectFile && end > ostree.MaxMetadataSize {
		return quarantine.Fault(fmt.Errorf("%d bytes are too many", end))
	}
	return in.room.Take(room)
}

// read adds a small object to the batch.
func (b *batch) read(conn *stream.Conn, e ostree.ObjectName, size int) error {
	if b.buffer == nil {
		b.buffer = make([]byte, 0, batchSize)
	}
	old := len(b.buffer)
	b.buffer = b.buffer[:old+size]
	if err := conn.Bytes(b.buffer[old:]); err != nil {
		b.buffer = b.buffer[:old]
		return err
	}
	b.items = append(b.items, arrived{e, size})
	return nil
}

// check checks the objects of a batch, and writes them.
func (in *intake) check(b *batch) error {
	data := b.buffer
	for _, e := range b.items {
		if in.failed() != nil {
			return nil
		}
		err := quarantine.Fault(ostree.CheckBytes(e.Type, e.Sum, data[:e.size]))
		if err == nil {
			err = in.q.Write(e.ObjectName, data[:e.size])
		}
		if err != nil {
			return fmt.Errorf("object %s: %w", e.Sum, err)
		}
		in.room.Wrote(int64(max(e.size, blockSize)))
		data = data[e.size:]
	}
	in.q.Wrote(int64(len(b.buffer)))
	return nil
}
