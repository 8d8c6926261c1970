package upload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"ostree-push/internal/workers"
	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
	"ostree-push/stream"
)

// intake takes the objects that are missing, in whatever order they come, on any
// number of channels at once. Small ones are checked in memory, and so is
// what they are written from; large ones are checked when they have been written. All
// processors check, while others still arrive.
type intake struct {
	q     *quarantine.Quarantine
	sink  report.Sink
	total int
	bytes atomic.Int64
	room  *quarantine.Room

	ctx    context.Context // ends with the first failure, or when its parent does
	cancel context.CancelCauseFunc
	work   chan *batch
	free   chan *batch
	// checkers check what comes in work.
	checkers *workers.Workers

	mu       sync.Mutex
	missing  map[ostree.ObjectName]struct{}
	failure  error // what was wrong with an object
	broken   error // how reading ended on the first channel that broke
	open     int   // channels that are being read
	entered  int   // channels
	closed   bool  // to further ones
	ended    chan struct{}
	progress progressMeter
}

const (
	// batchSize is the size of the buffer for several small objects, in bytes.
	batchSize = quarantine.SmallSize
	// blockSize is about what the smallest file takes.
	blockSize = 4096
)

// batch is objects that have arrived: small ones in a buffer, or a large one in
// a file.
type batch struct {
	buffer []byte
	items  []arrived
	large  *os.File
}

type arrived struct {
	ostree.ObjectName
	size int
}

func newIntake(ctx context.Context, q *quarantine.Quarantine, sink report.Sink, missing map[ostree.ObjectName]struct{}) *intake {
	in := &intake{q: q, sink: sink, total: len(missing), room: q.NewRoom(), missing: missing, progress: progressMeter{sink: sink}, ended: make(chan struct{})}
	in.ctx, in.cancel = context.WithCancelCause(ctx)
	buffers := 2*runtime.GOMAXPROCS(0) + 2
	in.work, in.free = make(chan *batch, buffers), make(chan *batch, buffers)
	for range buffers {
		in.free <- &batch{}
	}
	in.checkers = workers.Start(in.work, func(b *batch) {
		if err := in.check(b); err != nil {
			in.fail(err)
		}
		b.buffer, b.items, b.large = b.buffer[:0], b.items[:0], nil
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
func (in *intake) enter(conn *stream.Conn, leave func()) error {
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
		err := in.read(conn)
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
	defer in.cancel(nil)
	if in.failure != nil {
		return in.failure
	}
	if in.broken != nil {
		return in.broken
	}
	for e := range in.missing {
		return quarantine.Fault(fmt.Errorf("object %s has not been sent", e.Sum))
	}
	return nil
}

// read reads objects from a channel to their end.
func (in *intake) read(conn *stream.Conn) error {
	var b *batch // not held while there is nothing in it: there may be more channels than batches
	submit := func() {
		if b != nil {
			in.work <- b
			b = nil
		}
	}
	defer submit()
	for in.ctx.Err() == nil {
		if conn.Buffered() == 0 {
			submit() // rather than have it wait for more
		}
		object, more, err := stream.Next[stream.Object](conn)
		if err != nil || !more {
			return err
		}
		e, size := object.ObjectName, object.Size
		if err := in.claim(e); err != nil {
			return err
		}
		if err := in.space(e, size); err != nil {
			return fmt.Errorf("object %s: %w", e.Sum, err)
		}
		if b != nil && int64(len(b.buffer))+size > batchSize {
			submit()
		}
		if size > quarantine.SmallSize {
			err = in.readLarge(conn, e, size)
		} else {
			if b == nil {
				b = <-in.free
			}
			err = b.read(conn, e, int(size))
		}
		if err != nil {
			return fmt.Errorf("object %s: %w", e.Sum, err)
		}
		in.count(size)
	}
	return context.Cause(in.ctx)
}

// claim takes an object off those that are missing.
func (in *intake) claim(e ostree.ObjectName) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if _, ok := in.missing[e]; !ok {
		return quarantine.Fault(fmt.Errorf("object %s: nobody asked for it", e.Sum))
	}
	delete(in.missing, e)
	return nil
}

func (in *intake) count(size int64) {
	bytes := in.bytes.Add(size)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.progress.show(report.Progress{Phase: "Receiving objects", Done: in.total - len(in.missing), Total: in.total, Bytes: bytes})
}

// space returns an error if an object is too large for its kind, or for the disk.
func (in *intake) space(e ostree.ObjectName, size int64) error {
	if e.Type != ostree.ObjectFile && size > ostree.MaxMetadataSize {
		return quarantine.Fault(fmt.Errorf("%d bytes are too many", size))
	}
	return in.room.Take(max(size, blockSize))
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

// readLarge writes an object, and has it checked.
func (in *intake) readLarge(conn *stream.Conn, e ostree.ObjectName, size int64) error {
	f, err := in.q.Create(e)
	if err != nil {
		return err
	}
	if err := conn.Body(in.room.Writer(f), size); err != nil {
		os.Remove(f.Name())
		return errors.Join(err, f.Close())
	}
	b := <-in.free
	b.large, b.items = f, append(b.items, arrived{e, int(size)})
	in.work <- b
	return nil
}

// check checks the objects of a batch, and writes those that have not been.
func (in *intake) check(b *batch) error {
	if b.large != nil {
		e := b.items[0]
		err := quarantine.CheckFile(in.ctx, b.large, e.ObjectName)
		if errors.Is(err, ostree.ErrCancelled) {
			err = nil // whoever resumes checks it
		}
		err = quarantine.Fault(err)
		if err := errors.Join(err, b.large.Close()); err != nil {
			return fmt.Errorf("object %s: %w", e.Sum, err)
		}
		in.q.Wrote(int64(e.size))
		return nil
	}
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

// progressMeter shows progress now and then.
type progressMeter struct {
	sink report.Sink
	next time.Time
}

func (p *progressMeter) show(progress report.Progress) {
	const interval = 100 * time.Millisecond
	if now := time.Now(); now.After(p.next) || progress.Done == progress.Total {
		p.next = now.Add(interval)
		p.sink.Progress(progress)
	}
}
