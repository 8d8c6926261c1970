package stream

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
)

// Greeting is the line that a receiver begins with.
const Greeting = "ostree-push stream 1\n"

// MaxNoise is how much may stand before the greeting, in bytes: what the start-up files
// of an account print, which is not for the pusher.
const MaxNoise = 64 << 10

// MaxPayload is the size of the largest payload of a frame, in bytes, for all kinds of
// frames but Commit.
const MaxPayload = 1 << 20

const (
	headerSize = 5
	bufferSize = 256 << 10
)

// Kind is the letter of a frame.
type Kind byte

// String returns the letter and the name of the frame.
func (k Kind) String() string {
	letter := strconv.QuoteRuneToASCII(rune(k))
	if row := rowOf(k); row != nil {
		return letter + " (" + row.name + ")"
	}
	return letter
}

// Conn is one end of a channel. One goroutine may read, and any number
// write.
type Conn struct {
	r      *bufio.Reader
	course course // of what is read

	mu      sync.Mutex
	w       *bufio.Writer
	written int // frames, since the last KeepAlive
}

// New returns the end of side, which reads from r what the other side says, and writes to w.
func New(side Side, r io.Reader, w io.Writer) *Conn {
	return &Conn{r: bufio.NewReaderSize(r, bufferSize), w: bufio.NewWriterSize(w, bufferSize), course: course{reader: side}}
}

// After says that what c reads comes after m, which somebody else has read, and returns c.
func (c *Conn) After(m Message) *Conn {
	c.course.last = m.Kind()
	return c
}

// Greet writes the greeting.
func (c *Conn) Greet() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.w.WriteString(Greeting)
	return c.w.Flush()
}

// Greeted reports whether the greeting comes. What stands before it, or instead of it, is
// returned.
func (c *Conn) Greeted() (ok bool, noise []byte) {
	for len(noise) < MaxNoise+len(Greeting) {
		b, err := c.r.ReadByte()
		if err != nil {
			return false, noise
		}
		noise = append(noise, b)
		if before, ok := bytes.CutSuffix(noise, []byte(Greeting)); ok {
			return true, before
		}
	}
	return false, noise
}

// Send writes a message, and sends all that has been written.
func (c *Conn) Send(m Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.put(m); err != nil {
		return err
	}
	return c.w.Flush()
}

// Queue writes a message that may wait for others before it is sent.
func (c *Conn) Queue(m Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.put(m)
}

// End writes the empty frame that ends a series of messages like m, and sends all that has
// been written.
func (c *Conn) End(m Message) error { return c.Send(End{m.Kind()}) }

// SendAll writes a message in as many frames as its items take, and the end of the series.
func (c *Conn) SendAll(m Message) error {
	e := &encoder{}
	m.encode(e)
	c.mu.Lock()
	defer c.mu.Unlock()
	for payload := range e.parts(MaxPayload) {
		if err := c.frame(m.Kind(), payload); err != nil {
			return err
		}
	}
	if err := c.frame(m.Kind(), nil); err != nil {
		return err
	}
	return c.w.Flush()
}

// SendData writes a piece of an object, whose bytes are those of body. They may wait for others before
// they are sent. It is an error if body has fewer than piece.Length.
func (c *Conn) SendData(piece Data, body io.Reader) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.put(piece); err != nil {
		return err
	}
	n, err := io.Copy(c.w, io.LimitReader(body, piece.Length))
	if err == nil && n < piece.Length {
		err = fmt.Errorf("object %s has %d bytes, not %d", piece.Sum, piece.Offset+n, piece.Range().End)
	}
	return err
}

// KeepAlive sends what waits to be sent, and a message if nothing was written since it was called last; nothing while somebody
// is writing. So the other end hears something in any two intervals in which it is called.
func (c *Conn) KeepAlive(m Message) error {
	if !c.mu.TryLock() {
		return nil
	}
	defer c.mu.Unlock()
	if c.written == 0 {
		if err := c.put(m); err != nil {
			return err
		}
	}
	c.written = 0
	return c.w.Flush()
}

// Flush sends what has been written.
func (c *Conn) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.w.Flush()
}

func (c *Conn) put(m Message) error {
	e := &encoder{p: make([]byte, 0, 64)}
	m.encode(e)
	return c.frame(m.Kind(), e.p)
}

func (c *Conn) frame(kind Kind, payload []byte) error {
	if most := maxPayload(kind); int64(len(payload)) > most {
		return fmt.Errorf("a frame %v would have %d bytes, and %d are the most", kind, len(payload), most)
	}
	c.written++
	var header [headerSize]byte
	header[0] = byte(kind)
	binary.BigEndian.PutUint32(header[1:], uint32(len(payload)))
	if _, err := c.w.Write(header[:]); err != nil {
		return err
	}
	_, err := c.w.Write(payload)
	return err
}

// ErrEnded says that the other end went before its last frame.
var ErrEnded = errors.New("the connection ended early")

// ProtocolError says that the other end sent what the protocol does not have, and in which
// frame.
type ProtocolError struct{ text string }

func (e *ProtocolError) Error() string { return e.text }

// Fault reports that the other end is to blame, and so what it sent is of no use.
func (e *ProtocolError) Fault() bool { return true }

func protocolError(format string, args ...any) error {
	return &ProtocolError{fmt.Sprintf(format, args...)}
}

// Wrong returns the *ProtocolError that frames with messages like M say what they cannot.
func Wrong[M Message](format string, args ...any) error {
	var m M
	return protocolError("frames %v: "+format, append([]any{m.Kind()}, args...)...)
}

// Read reads a message. It is a *ProtocolError if the other side may not send it, or not
// now, and ErrEnded if there is no more.
func (c *Conn) Read() (Message, error) {
	kind, size, err := c.header()
	if err != nil {
		return nil, err
	}
	payload, err := c.payload(size)
	if err != nil {
		return nil, err
	}
	m, err := decode(kind, payload)
	if err != nil {
		return nil, err
	}
	return m, c.course.count(m)
}

// header reads the header of a frame that may come now.
func (c *Conn) header() (kind Kind, size int64, err error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(c.r, header[:]); err != nil {
		return 0, 0, ended(err)
	}
	kind, size = Kind(header[0]), int64(binary.BigEndian.Uint32(header[1:]))
	if err := c.course.admit(kind); err != nil {
		return 0, 0, err
	}
	if most := maxPayload(kind); size > most {
		return 0, 0, protocolError("a frame %v of %d bytes, and %d are the most", kind, size, most)
	}
	return kind, size, nil
}

// payload reads so many bytes. It takes no more memory than three times what has come, and MaxPayload.
func (c *Conn) payload(size int64) ([]byte, error) {
	if size > MaxPayload {
		var b bytes.Buffer
		_, err := io.CopyN(&b, c.r, size)
		return b.Bytes(), ended(err)
	}
	payload := make([]byte, size)
	_, err := io.ReadFull(c.r, payload)
	return payload, ended(err)
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrEnded
	}
	return err
}

// Buffered returns how many bytes have arrived that have not been read.
func (c *Conn) Buffered() int { return c.r.Buffered() }

// Bytes reads as many of the bytes of an object, which follow its frame, as p is long.
func (c *Conn) Bytes(p []byte) error {
	_, err := io.ReadFull(c.r, p)
	return ended(err)
}

// Body copies the bytes of an object, of which size follow its frame, to w.
func (c *Conn) Body(w io.Writer, size int64) error {
	_, err := io.CopyN(w, c.r, size)
	return ended(err)
}
