package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"ostree-push/ostree"
	"ostree-push/receive/quarantine"
	"ostree-push/report"
	"ostree-push/stream"
)

// pieces takes large objects, which come in pieces, on any channels. Each is checked while it comes.
type pieces struct {
	in *intake

	mu    sync.Mutex
	parts map[ostree.ObjectName]*part // those that have been stored as objects are none any more
	begun int                         // of which not all has come
	// finishing has room for those that have come, and are still being checked. Who brings the last piece of one waits for that.
	finishing chan struct{}
	checking  sync.WaitGroup
}

// maxBegun is how many objects may have come in part at a time. A pusher begins one when all of the one before has been taken by some channel.
const maxBegun = 128

// part is an object of which a part is there.
type part struct {
	*quarantine.Pieces
	begun bool                    // a piece of it has come in this receive
	stop  context.CancelCauseFunc // ends the check, once it has begun
	come  bool                    // all of it has
	wrong bool                    // nobody is to blame for that: what comes of it is dropped, and it is asked for again
	// checked is closed when the check has ended.
	checked chan struct{}
}

func newPieces(in *intake, left []*quarantine.Pieces) *pieces {
	ps := &pieces{in: in, parts: map[ostree.ObjectName]*part{}, finishing: make(chan struct{}, 2*runtime.GOMAXPROCS(0)+2)}
	for _, p := range left {
		ps.parts[p.ObjectName] = newPart(p)
	}
	return ps
}

func newPart(p *quarantine.Pieces) *part { return &part{Pieces: p, checked: make(chan struct{})} }

// has reports whether there is a part of an object, be it of no use because the object comes as a whole.
func (ps *pieces) has(e ostree.ObjectName) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.parts[e] != nil
}

// read reads a piece.
func (ps *pieces) read(conn *stream.Conn, piece stream.Data) error {
	p, err := ps.claim(piece)
	if err != nil {
		return err
	}
	if ps.isWrong(p) {
		return conn.Body(meterWriter{io.Discard, ps.in.meter}, piece.Length)
	}
	if err := ps.space(p, piece); err != nil {
		return err
	}
	to := ps.in.room.Writer(p.Writer(piece.Range()))
	if err := conn.Body(meterWriter{to, ps.in.meter}, piece.Length); err != nil {
		return err
	}
	if ps.isLast(p) {
		ps.finishing <- struct{}{}
		go func() {
			<-p.checked
			<-ps.finishing
		}()
	}
	return nil
}

// meterWriter counts bytes that have come.
type meterWriter struct {
	io.Writer
	meter *report.Meter
}

func (w meterWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.meter.Add(0, int64(n))
	return n, err
}

// space takes the room that a piece needs. One that leaves a gap needs room for that, too, since it will be filled.
func (ps *pieces) space(p *part, piece stream.Data) error {
	if err := ps.in.space(piece.ObjectName, piece.Range().End, piece.Length); err != nil {
		return err
	}
	written := p.Written()
	if piece.Offset <= written.End() {
		return nil
	}
	return ps.in.q.CheckSpaceFor(uint64(piece.Range().End - written.Len()))
}

// claim returns the object of a piece, of which the piece is one.
func (ps *pieces) claim(piece stream.Data) (*part, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p, err := ps.begin(piece)
	if err != nil || p.wrong {
		return p, err
	}
	err = p.Claim(piece.Range(), piece.Form, piece.Last)
	if errors.Is(err, quarantine.ErrOldPart) {
		ps.giveUp(p)
		err = nil
	}
	return p, err
}

// begin returns the object of a piece, and begins to check it with the first one.
func (ps *pieces) begin(piece stream.Data) (p *part, err error) {
	p = ps.parts[piece.ObjectName]
	switch {
	case p != nil && p.begun:
		return p, nil
	case p == nil:
		if err := ps.in.claim(piece.ObjectName); err != nil {
			return nil, err
		}
		created, err := ps.in.q.NewPieces(piece.ObjectName, piece.Form)
		if err != nil {
			return nil, err
		}
		p = newPart(created)
		ps.parts[piece.ObjectName] = p
	case p.Form() != piece.Form:
		if err := p.Restart(piece.Form); err != nil {
			return nil, err
		}
	}
	if ps.begun == maxBegun {
		return nil, quarantine.Fault(fmt.Errorf("%d objects have been begun and not ended", maxBegun))
	}
	ps.begun++
	p.begun = true
	ctx, stop := context.WithCancelCause(ps.in.ctx)
	p.stop = stop
	ps.checking.Add(1)
	go ps.check(ctx, p)
	return p, nil
}

// isLast reports, once, that all of an object has come.
func (ps *pieces) isLast(p *part) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p.come || p.wrong || !p.IsWhole() {
		return false
	}
	p.come = true
	ps.begun--
	return true
}

func (ps *pieces) isWrong(p *part) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return p.wrong
}

// check checks an object while it comes.
func (ps *pieces) check(ctx context.Context, p *part) {
	defer ps.checking.Done()
	defer close(p.checked)
	defer p.stop(nil)
	err := p.Check(ctx)
	if err == nil {
		err = ps.store(p)
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	switch {
	case err == nil:
		delete(ps.parts, p.ObjectName)
	case errors.Is(err, quarantine.ErrOldPart):
		ps.giveUp(p)
	case ps.in.ctx.Err() == nil:
		ps.in.fail(fmt.Errorf("object %s: %w", p.Sum, err))
	}
}

// store makes an object that has been checked one of the quarantine.
func (ps *pieces) store(p *part) error {
	size := p.Written().Len()
	if err := p.Finish(); err != nil {
		return err
	}
	ps.in.q.Wrote(size)
	ps.in.meter.Add(1, 0)
	return nil
}

// giveUp drops what an earlier receive has left of an object, and so all of it. Nobody waits for the rest.
func (ps *pieces) giveUp(p *part) {
	if p.wrong {
		return
	}
	p.wrong = true
	if !p.come {
		ps.begun--
	}
	p.stop(quarantine.ErrOldPart)
	ps.in.sink.Log(report.Info, fmt.Sprintf("What an interrupted push has left of object %s is damaged: asking for it again", p.Sum))
}

// finish waits until what has come is checked. It is an error, by quarantine.Fault, if that is not all of each object.
func (ps *pieces) finish() (incomplete error) {
	ps.mu.Lock()
	for name, p := range ps.parts {
		if !p.come && !p.wrong {
			incomplete = quarantine.Fault(fmt.Errorf("object %s has not been sent as a whole", name.Sum))
		}
	}
	ps.mu.Unlock()
	if incomplete != nil {
		ps.in.cancel(incomplete)
	}
	ps.checking.Wait()
	for _, p := range ps.parts {
		if p.wrong {
			p.Drop()
		} else {
			p.Leave()
		}
	}
	return incomplete
}
