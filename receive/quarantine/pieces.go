package quarantine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"ostree-push/internal/patience"
	"ostree-push/internal/ranges"
	"ostree-push/ostree"
)

// This file has large objects that arrive in pieces: each is written into a file below pieces/, as large as it has come, and
// checked from its front on while more comes. Whole, it is moved to where objects are. What is on the disk of it is noted
// beside it (note.go), so that it outlasts us.

// Pieces is an object of which pieces come. Any number of goroutines may write pieces of it.
type Pieces struct {
	ostree.ObjectName

	q    *Quarantine
	file *os.File
	note *note // nil: it is not worth one yet, or not to be resumed

	mu      sync.Mutex
	changed sync.Cond  // of what follows
	form    [16]byte   // that the pieces have; zero: not to be resumed
	old     bool       // an earlier receive has left a part of it
	claimed ranges.Set // that come, or have come
	written ranges.Set // that have come
	end     int64      // of the object; -1: it is not known yet
	closed  bool
}

const (
	piecesDir = "pieces"
	// resumeSize is the size, in bytes, of the smallest part of an object that is worth a note.
	resumeSize = 4 << 20
)

// NewPieces begins an object, of which there must be nothing yet.
func (q *Quarantine) NewPieces(e ostree.ObjectName, form [16]byte) (*Pieces, error) {
	file, err := q.createFile(piecesDir + "/" + e.String())
	if err != nil {
		return nil, err
	}
	return q.newPieces(e, file, form), nil
}

func (q *Quarantine) newPieces(e ostree.ObjectName, file *os.File, form [16]byte) *Pieces {
	p := &Pieces{ObjectName: e, q: q, file: file, form: form, end: -1}
	p.changed.L = &p.mu
	return p
}

func (q *Quarantine) piecesPath(e ostree.ObjectName) string {
	return filepath.Join(q.dir, piecesDir, e.String())
}

// Form returns which form the pieces have.
func (p *Pieces) Form() [16]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.form
}

// Written returns what is there.
func (p *Pieces) Written() ranges.Set {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.written)
}

// Restart drops what an earlier receive has left of the object, which comes in another form. Nothing of it may have
// been claimed.
func (p *Pieces) Restart(form [16]byte) error {
	p.endNote(false)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.form, p.old, p.claimed, p.written = form, false, nil, nil
	return p.file.Truncate(0)
}

// Claim says that a piece comes, and whether it is the last of the object. It is an error, by Fault, if it cannot be.
// Where that is because of what an earlier receive has left, it is ErrOldPart.
func (p *Pieces) Claim(piece ranges.Range, form [16]byte, last bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.fits(piece, form, last); err != nil {
		if p.old {
			return ErrOldPart
		}
		return Fault(err)
	}
	p.claimed.Add(piece)
	if last {
		p.end = piece.End
		p.changed.Broadcast() // its bytes may all be there
	}
	return nil
}

// ErrOldPart says that an object cannot be made of what an earlier receive has left of it and of the pieces that come. Nobody is to blame
// for that, and the object has to be sent as a whole.
var ErrOldPart = errors.New("what an earlier receive has left of the object is wrong")

// fits returns why a piece cannot be one of the object.
func (p *Pieces) fits(piece ranges.Range, form [16]byte, last bool) error {
	switch {
	case form != p.form:
		return errors.New("its pieces have several forms")
	case p.claimed.Overlaps(piece):
		return fmt.Errorf("a piece of it comes twice, at %d", piece.Start)
	case last && p.end >= 0:
		return fmt.Errorf("it ends twice, at %d and at %d", p.end, piece.End)
	case p.end >= 0 && piece.End > p.end, last && p.claimed.End() > piece.End:
		return errors.New("a piece of it is beyond its end")
	}
	return nil
}

// Writer writes a piece that has been claimed, from its first byte on. What has been written counts at once.
func (p *Pieces) Writer(piece ranges.Range) io.Writer { return &pieceWriter{p, piece.Start} }

type pieceWriter struct {
	p  *Pieces
	at int64
}

func (w *pieceWriter) Write(data []byte) (int, error) {
	n, err := w.p.file.WriteAt(data, w.at)
	w.p.wrote(ranges.Range{Start: w.at, End: w.at + int64(n)})
	w.at += int64(n)
	return n, err
}

func (p *Pieces) wrote(r ranges.Range) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written.Add(r)
	p.changed.Broadcast()
	if p.note == nil && !p.closed && p.form != [16]byte{} && p.written.Len() >= resumeSize {
		p.note = startNote(p)
	}
}

// IsWhole reports whether all of the object is there.
func (p *Pieces) IsWhole() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.isWhole()
}

func (p *Pieces) isWhole() bool { return p.end >= 0 && p.written.Front() == p.end }

// Check compares the object with its checksum while it comes, and returns when all of it is there, or it is known to be
// wrong: an error by Fault, or ErrOldPart where an earlier receive has left a part of it. When ctx ends, its cause is the error.
func (p *Pieces) Check(ctx context.Context) error {
	err := p.check(ctx)
	if err == nil || ctx.Err() != nil {
		return patience.Cause(ctx, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err = Fault(err); IsFault(err) && p.old {
		return ErrOldPart
	}
	return err
}

func (p *Pieces) check(ctx context.Context) error {
	stop := context.AfterFunc(ctx, p.wake)
	defer stop()
	err := ostree.ErrLargeHeader
	if p.Type == ostree.ObjectFile {
		err = ostree.CheckContent(ctx, p.Sum, p.front(ctx))
	}
	if err != nil && !errors.Is(err, ostree.ErrLargeHeader) {
		return err
	}
	if waitErr := p.waitWhole(ctx); waitErr != nil || err == nil {
		return waitErr
	}
	p.q.inMemory.Lock()
	defer p.q.inMemory.Unlock()
	return CheckFile(ctx, p.file, p.ObjectName)
}

func (p *Pieces) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed.Broadcast()
}

func (p *Pieces) waitWhole(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ctx.Err() == nil && !p.isWhole() {
		p.changed.Wait()
	}
	return context.Cause(ctx)
}

// front returns a reader of the object from its beginning to its end, which waits for what has not come.
func (p *Pieces) front(ctx context.Context) io.ReadCloser {
	ctx, cancel := context.WithCancelCause(ctx)
	context.AfterFunc(ctx, p.wake)
	return &frontReader{p: p, ctx: ctx, cancel: cancel}
}

type frontReader struct {
	p      *Pieces
	ctx    context.Context
	cancel context.CancelCauseFunc
	at     int64
}

func (r *frontReader) Read(data []byte) (int, error) {
	come, err := r.wait()
	if err != nil {
		return 0, err
	}
	n, err := r.p.file.ReadAt(data[:min(int64(len(data)), come-r.at)], r.at)
	r.at += int64(n)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s has become shorter", r.p.file.Name())
	}
	return n, err
}

// wait waits until something behind what has been read is there, and returns where that ends.
func (r *frontReader) wait() (int64, error) {
	p := r.p
	p.mu.Lock()
	defer p.mu.Unlock()
	for r.ctx.Err() == nil && p.written.Front() <= r.at && p.end != r.at {
		p.changed.Wait()
	}
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	if p.end == r.at {
		return 0, io.EOF
	}
	return p.written.Front(), nil
}

func (r *frontReader) Close() error {
	r.cancel(os.ErrClosed)
	return nil
}

// Finish makes the object, which is whole and has been checked, one of the quarantine. If it cannot, Leave keeps it for whoever resumes.
func (p *Pieces) Finish() error {
	if err := p.q.unmask(int(p.file.Fd())); err != nil {
		return &os.PathError{Op: "chmod", Path: p.file.Name(), Err: err}
	}
	if err := rename(p.file.Name(), p.q.objectPath(p.ObjectName)); err != nil {
		return err
	}
	p.q.arrived.Add(1)
	p.close(false)
	return p.file.Close()
}

// Drop removes the object, which is wrong.
func (p *Pieces) Drop() error {
	p.close(false)
	return errors.Join(os.Remove(p.file.Name()), p.file.Close())
}

// Leave lets go of an object of which not all has come. What has come is noted for whoever resumes.
func (p *Pieces) Leave() error {
	p.close(true)
	return p.file.Close()
}

// close ends the note, which stays, with what has come, or goes.
func (p *Pieces) close(keep bool) {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.endNote(keep)
}

func (p *Pieces) endNote(keep bool) {
	p.mu.Lock()
	n := p.note
	if n != nil {
		n.ended, n.keep = true, keep
		p.note = nil
		p.changed.Broadcast()
	}
	p.mu.Unlock()
	if n != nil {
		n.close()
	}
}

// rename moves a file, into a directory that it makes if it is not there.
func rename(from, to string) error {
	err := unix.Rename(from, to)
	if err == unix.ENOENT {
		if err := os.Mkdir(filepath.Dir(to), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		err = unix.Rename(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
