package push

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"ostree-push/internal/ranges"
	"ostree-push/ostree"
	"ostree-push/stream"
)

// This file opens objects in the form that archive repositories have them in, and takes them apart (docs/protocol.md, "Pieces").

const (
	// pieceSize is the length of the pieces of a large object, in bytes: few enough for one to be kept in memory for each
	// channel, and so many that the frames do not count.
	pieceSize = 1 << 20
	// resumeSize is the size, in bytes, of the smallest object of which a part is resumed: a receiver notes no less.
	resumeSize = 4 << 20
)

// piece is a piece of an object, and its bytes.
type piece struct {
	stream.Data
	body []byte
	done func() // to be called when the bytes have been sent, or cannot be
}

// object is an object that is being taken apart.
type object interface {
	// next returns the next piece, and whether there are more. It is not called again when there are none, nor after an error.
	// One goroutine at a time may call it.
	next() (p piece, more bool, err error)
	// rest is how many bytes are to come, or more where that is not known.
	rest() int64
	// close ends an object before its last piece.
	close()
}

// openObject opens an object of which the receiver has a part, or nothing.
func (s *streamPush) openObject(ctx context.Context, e ostree.ObjectName, part stream.PartialObject) (object, error) {
	var o object
	var err error
	if s.sendsStored(e.Type) {
		o, err = s.openStored(e, part)
	} else {
		o, err = s.openCompressed(ctx, e, part)
	}
	if err != nil {
		return nil, objectError(e, err)
	}
	return o, nil
}

// sendsStored reports whether objects of a type are sent as they are stored.
func (s *streamPush) sendsStored(t ostree.ObjectType) bool {
	return t != ostree.ObjectFile || s.src.repo.Mode() == ostree.ModeArchive
}

func objectError(e ostree.ObjectName, err error) error {
	return fmt.Errorf("local repository: object %s: %w", e.Sum, err)
}

// storedObject is one whose file is sent as it is.
type storedObject struct {
	name ostree.ObjectName
	form stream.Form
	file *os.File
	size int64
	todo ranges.Set
	// buffers has those for pieces.
	buffers *sync.Pool
}

func (s *streamPush) openStored(e ostree.ObjectName, part stream.PartialObject) (object, error) {
	f, err := s.src.open(ostree.ArchivePath(e.Type, e.Sum))
	if err != nil {
		return nil, err
	}
	o := &storedObject{name: e, file: f, buffers: &s.buffers}
	if err := o.plan(part); err != nil {
		f.Close()
		return nil, err
	}
	return o, nil
}

// plan finds out what of the object is to be sent.
func (o *storedObject) plan(part stream.PartialObject) error {
	info, err := o.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fs.ErrInvalid
	}
	o.size = info.Size()
	o.todo.Add(ranges.Range{End: o.size})
	if o.size <= resumeSize {
		return nil
	}
	if o.form, err = storedForm(o.file, o.size); err == nil && part.Form == o.form {
		o.todo = part.Ranges.Without(ranges.Range{End: o.size})
	}
	return err
}

func (o *storedObject) next() (piece, bool, error) {
	p := piece{Data: stream.Data{ObjectName: o.name, Form: o.form, Offset: o.size, Last: true}}
	if len(o.todo) > 0 { // else all but the end is there
		r := &o.todo[0]
		p.Offset, p.Length = r.Start, min(r.Len(), pieceSize)
		p.Last = p.Range().End == o.size
		if r.Start += p.Length; r.Len() == 0 {
			o.todo = o.todo[1:]
		}
	}
	if err := o.read(&p); err != nil {
		o.close()
		return piece{}, false, objectError(o.name, err)
	}
	if p.Last {
		o.close()
	}
	return p, !p.Last, nil
}

// read reads the bytes of a piece. That may take its time, so it is not done while the piece is sent: nothing else can be then.
func (o *storedObject) read(p *piece) error {
	buffer, ok := o.buffers.Get().(*[pieceSize]byte)
	if !ok {
		buffer = new([pieceSize]byte)
	}
	p.body, p.done = buffer[:p.Length], func() { o.buffers.Put(buffer) }
	n, err := o.file.ReadAt(p.body, p.Offset)
	if err == io.EOF {
		err = fmt.Errorf("it has %d bytes, and had %d", p.Offset+int64(n), o.size)
	}
	return err
}

func (o *storedObject) rest() int64 { return o.todo.Len() }
func (o *storedObject) close()      { o.file.Close() }

// storedForm is a digest of an object's size and of samples of it. Two encodings of the same content, which
// differ nearly everywhere behind the first difference, do not have the same.
func storedForm(f io.ReaderAt, size int64) (form stream.Form, err error) {
	const samples, sample = 16, 4096
	hash := sha256.New()
	hash.Write(binary.BigEndian.AppendUint64([]byte("stored"), uint64(size)))
	buffer := make([]byte, sample)
	for i := range int64(samples) {
		if _, err := f.ReadAt(buffer, (size-sample)*i/(samples-1)); err != nil {
			return form, err
		}
		hash.Write(buffer)
	}
	copy(form[:], hash.Sum(nil))
	return form, nil
}

// compressedObject is one that is compressed while it is sent, so that its size is not known before its end.
type compressedObject struct {
	name    ostree.ObjectName
	size    int64 // uncompressed
	content *ostree.ContentReader
	reader  *bufio.Reader
	have    ranges.Set
	at      int64   // how much compressing has made
	taken   int64   // of how much
	ready   []piece // to be sent
	// expected is told of it.
	expected *expected
}

func (s *streamPush) openCompressed(ctx context.Context, e ostree.ObjectName, part stream.PartialObject) (object, error) {
	content, err := s.src.repo.OpenContent(ctx, e.Sum)
	if err != nil {
		return nil, err
	}
	return &compressedObject{
		name: e, content: content, reader: bufio.NewReader(content), size: s.contentSize(e), have: compressedPart(part), expected: s.expected.Load(),
	}, nil
}

// compressedPart returns what a receiver has of an object in the form that the encoder makes.
func compressedPart(part stream.PartialObject) ranges.Set {
	if len(part.Ranges) == 0 || part.Form != encoderForm() {
		return nil
	}
	return part.Ranges
}

func (o *compressedObject) next() (piece, bool, error) {
	for len(o.ready) == 0 {
		if err := o.compress(); err != nil {
			o.close()
			return piece{}, false, objectError(o.name, err)
		}
	}
	p := o.ready[0]
	o.ready = o.ready[1:]
	more := !p.Last
	if !more {
		o.close()
	}
	return p, more, nil
}

// compress makes pieces of the next pieceSize bytes. There are none if the receiver has all of these.
func (o *compressedObject) compress() error {
	var buffer bytes.Buffer
	if _, err := io.CopyN(&buffer, o.reader, pieceSize); err != nil && err != io.EOF {
		return err
	}
	_, err := o.reader.Peek(1)
	if err != nil && err != io.EOF {
		return err
	}
	data, last := buffer.Bytes(), err == io.EOF
	all := ranges.Range{Start: o.at, End: o.at + int64(len(data))}
	for _, r := range o.have.Without(all) {
		o.add(r, data[r.Start-all.Start:r.End-all.Start], last && r.End == all.End)
	}
	if last && (len(o.ready) == 0 || !o.ready[len(o.ready)-1].Last) {
		o.add(ranges.Range{Start: all.End, End: all.End}, nil, true)
	}
	taken := o.size
	if !last {
		taken = min(o.content.Taken(), o.size)
	}
	o.expected.compressed(taken-o.taken, all.Len())
	o.at, o.taken = all.End, taken
	return nil
}

func (o *compressedObject) add(r ranges.Range, data []byte, last bool) {
	var form stream.Form // zero for an object of one piece
	if r.Start > 0 || !last {
		form = encoderForm()
	}
	o.ready = append(o.ready, piece{
		Data: stream.Data{ObjectName: o.name, Form: form, Offset: r.Start, Length: r.Len(), Last: last},
		body: data,
		done: func() {},
	})
}

func (o *compressedObject) rest() int64 { return max(0, o.size-o.taken) }
func (o *compressedObject) close()      { o.content.Close() }

// encoderForm is the form of what the encoder makes: libostree's, with a zlib that makes the same bytes of the same content as a
// rule. Where it does not, the whole object is found to be wrong in the end, and sent again.
func encoderForm() (form stream.Form) {
	sum := sha256.Sum256([]byte("compressed by libostree " + ostree.Version()))
	copy(form[:], sum[:])
	return form
}

// contentSize returns the size of a content object that is stored uncompressed, 0 if it is not known.
func (s *streamPush) contentSize(e ostree.ObjectName) int64 {
	return s.src.size(strings.TrimSuffix(ostree.ArchivePath(e.Type, e.Sum), "z"))
}

// storedSize returns the size of an object that is stored in the form in which it is sent.
func (s *streamPush) storedSize(e ostree.ObjectName) (size int64, ok bool) {
	if !s.sendsStored(e.Type) {
		return 0, false
	}
	return s.src.size(ostree.ArchivePath(e.Type, e.Sum)), true
}

// send sends a piece of an object.
func (s *streamPush) send(conn *stream.Conn, p piece) error {
	defer p.done()
	s.anySent.Store(true)
	if err := conn.SendData(p.Data, bytes.NewReader(p.body)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent.Bytes += p.Length
	if p.Last {
		s.sent.Objects++
	}
	return nil
}

// sendObject sends a whole object.
func (s *streamPush) sendObject(ctx context.Context, conn *stream.Conn, e ostree.ObjectName) error {
	o, err := s.openObject(ctx, e, stream.PartialObject{})
	if err != nil {
		return err
	}
	for more := true; more; {
		var p piece
		if p, more, err = o.next(); err != nil {
			return err
		}
		if err := s.send(conn, p); err != nil {
			if more {
				o.close()
			}
			return err
		}
	}
	return nil
}
