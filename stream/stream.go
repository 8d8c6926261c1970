// Package stream is the wire format in which an ostree-push and an
// ostree-receive of ours talk: docs/protocol.md.
package stream

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"ostree-push/ostree"
	"ostree-push/report"
)

// Greeting is the line that a receiver begins with.
const Greeting = "ostree-push stream 1\n"

// URL is what a pusher names as URL to ask for the stream.
const URL = "-"

// JoinURL is what it names on a further channel.
const JoinURL = "+"

// Kind is what a frame is about.
type Kind byte

// The kinds of frames.
const (
	Hello   Kind = 'H' // receiver: how to join
	State   Kind = 'G' // receiver: refs it has
	Offer   Kind = 'O' // pusher: refs
	Commit  Kind = 'C' // pusher: a commit
	Wanted  Kind = 'J' // receiver: commits whose content is wanted
	List    Kind = 'L' // pusher: the objects of those
	Missing Kind = 'M' // receiver: which of them are missing
	Object  Kind = 'D' // pusher: one of those
	Ask     Kind = 'Q' // receiver: objects that are missing all the same
	Failure Kind = 'X' // pusher: why it gives up
	Event   Kind = 'E' // receiver: what happens
	Result  Kind = 'R' // receiver: how it ended
	Join    Kind = 'T' // pusher, on a further channel: the secret
	Joined  Kind = 'A' // receiver, on a further channel: it has joined
)

const (
	// MaxPayload is the size of the largest payload of a frame, in bytes.
	MaxPayload = 1 << 20
	// MaxRefs is how many refs either side may name.
	MaxRefs = 100_000
	// MaxObjects is how many objects may be listed.
	MaxObjects = 50_000_000
	// maxCommit is the size of the largest payload of a Commit frame.
	maxCommit = 2*ostree.MaxMetadataSize + 1024

	headerSize = 5
	refsAtOnce = 1000
)

// Conn is one end of a connection. One goroutine may read, and any number
// write.
type Conn struct {
	r  *bufio.Reader
	mu sync.Mutex
	w  *bufio.Writer
}

const bufferSize = 256 << 10

// New returns a Conn that reads from r and writes to w.
func New(r io.Reader, w io.Writer) *Conn {
	return &Conn{r: bufio.NewReaderSize(r, bufferSize), w: bufio.NewWriterSize(w, bufferSize)}
}

// Greet writes the greeting.
func (c *Conn) Greet() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.w.WriteString(Greeting)
	return c.w.Flush()
}

// MaxNoise is how much may stand before the greeting: what the start-up files of an
// account print, which is not for us.
const MaxNoise = 64 << 10

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

// Write writes a frame, and sends it.
func (c *Conn) Write(kind Kind, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.put(kind, payload); err != nil {
		return err
	}
	return c.w.Flush()
}

// Put writes a frame that may wait for others before it is sent.
func (c *Conn) Put(kind Kind, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.put(kind, payload)
}

func (c *Conn) put(kind Kind, payload []byte) error {
	var header [headerSize]byte
	header[0] = byte(kind)
	binary.BigEndian.PutUint32(header[1:], uint32(len(payload)))
	if _, err := c.w.Write(header[:]); err != nil {
		return err
	}
	_, err := c.w.Write(payload)
	return err
}

// Flush sends what has been written.
func (c *Conn) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.w.Flush()
}

// End writes the empty frame that ends those of a kind, and sends all.
func (c *Conn) End(kind Kind) error { return c.Write(kind, nil) }

// ErrEnded is that the other end has gone before its last frame.
var ErrEnded = errors.New("the connection ended early")

// ProtocolError is that the other end sends what the protocol does not have.
type ProtocolError struct{ text string }

func (e *ProtocolError) Error() string { return e.text }

func protocolError(format string, args ...any) error {
	return &ProtocolError{fmt.Sprintf(format, args...)}
}

// FailureError is that the pusher has given up, with the reason that it has sent.
type FailureError struct{ Reason string }

func (e *FailureError) Error() string { return "the pusher gave up: " + e.Reason }

// Read reads a frame.
func (c *Conn) Read() (Kind, []byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(c.r, header[:]); err != nil {
		return 0, nil, ended(err)
	}
	kind, size := Kind(header[0]), int64(binary.BigEndian.Uint32(header[1:]))
	limit := int64(MaxPayload)
	if kind == Commit {
		limit = maxCommit
	}
	if size > limit {
		return 0, nil, protocolError("a frame %q of %d bytes, and %d are the most", kind, size, limit)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(c.r, payload); err != nil {
		return 0, nil, ended(err)
	}
	return kind, payload, nil
}

// ReadKind reads a frame that has to be of that kind.
func (c *Conn) ReadKind(want Kind) ([]byte, error) {
	kind, payload, err := c.Read()
	if err != nil {
		return nil, err
	}
	if kind == Failure {
		return nil, parseFailure(payload)
	}
	if kind != want {
		return nil, protocolError("a frame %q instead of %q", kind, want)
	}
	return payload, nil
}

// parseFailure returns the error that a Failure frame is.
func parseFailure(payload []byte) error {
	var ended report.Ended
	if err := json.Unmarshal(payload, &ended); err != nil {
		return protocolError("a frame %q: %v", Failure, err)
	}
	return &FailureError{ended.Error}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrEnded
	}
	return err
}

// HelloMessage is the payload of a Hello frame.
type HelloMessage struct {
	Join string `json:"join,omitempty"` // the secret; "": there are no further channels
}

// RefState is a ref of the receiver, and the commit it shows.
type RefState struct {
	Ref       string    `json:"ref"`
	Commit    string    `json:"commit"`
	Timestamp uint64    `json:"timestamp"`
	Tree      [2]string `json:"tree"` // dirtree and dirmeta
}

// RefOffer is a ref of the pusher.
type RefOffer struct {
	Ref    string `json:"ref"`
	Commit string `json:"commit"`
}

// WriteRefs writes refs in frames of a kind, and their end.
func WriteRefs[T any](c *Conn, kind Kind, refs []T) error {
	for len(refs) > 0 {
		n := min(len(refs), refsAtOnce)
		payload, err := json.Marshal(refs[:n])
		if err != nil {
			return err
		}
		if err := c.Put(kind, payload); err != nil {
			return err
		}
		refs = refs[n:]
	}
	return c.End(kind)
}

// ReadRefs reads what WriteRefs has written, with read, which reads a frame of
// that kind.
func ReadRefs[T any](read func() ([]byte, error)) ([]T, error) {
	var all []T
	for {
		payload, err := read()
		if err != nil || len(payload) == 0 {
			return all, err
		}
		var some []T
		if err := json.Unmarshal(payload, &some); err != nil {
			return nil, protocolError("list of refs: %v", err)
		}
		if all = append(all, some...); len(all) > MaxRefs {
			return nil, protocolError("more than %d refs", MaxRefs)
		}
	}
}

// Entry names an object.
type Entry struct {
	Type ostree.ObjectType
	Sum  ostree.Checksum
}

// Name returns the name of the object's file in an archive repository, less the directory:
// its checksum, and what it is.
func (e Entry) Name() string { return e.Sum.String() + "." + e.Type.Extension() }

const entrySize = 1 + 32

func (e Entry) append(p []byte) []byte {
	return append(append(p, byte(e.Type)), e.Sum[:]...)
}

func parseEntry(p []byte) (Entry, error) {
	e := Entry{Type: ostree.ObjectType(p[0]), Sum: ostree.Checksum(p[1:entrySize])}
	switch e.Type {
	case ostree.ObjectFile, ostree.ObjectDirTree, ostree.ObjectDirMeta:
		return e, nil
	}
	return e, protocolError("an object of type %d", e.Type)
}

// AppendEntry appends e to the payload of a List frame.
func AppendEntry(payload []byte, e Entry) []byte { return e.append(payload) }

// ListSize is how many entries a List frame has at most.
const ListSize = MaxPayload / entrySize

// ParseList reads the payload of a List frame.
func ParseList(payload []byte) ([]Entry, error) {
	if len(payload)%entrySize != 0 {
		return nil, protocolError("a list of %d bytes", len(payload))
	}
	entries := make([]Entry, 0, len(payload)/entrySize)
	for ; len(payload) > 0; payload = payload[entrySize:] {
		e, err := parseEntry(payload)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// EntryAt returns the entry i of a payload that AppendEntry has made.
func EntryAt(payload []byte, i int) Entry {
	e, _ := parseEntry(payload[i*entrySize:])
	return e
}

// WriteSums writes checksums in frames of a kind, and their end.
func (c *Conn) WriteSums(kind Kind, sums []ostree.Checksum) error {
	const atOnce = MaxPayload / 32
	for len(sums) > 0 {
		n := min(len(sums), atOnce)
		payload := make([]byte, 0, n*32)
		for _, sum := range sums[:n] {
			payload = append(payload, sum[:]...)
		}
		if err := c.Put(kind, payload); err != nil {
			return err
		}
		sums = sums[n:]
	}
	return c.End(kind)
}

// ParseSums reads a payload of checksums.
func ParseSums(payload []byte) ([]ostree.Checksum, error) {
	if len(payload)%32 != 0 {
		return nil, protocolError("checksums of %d bytes", len(payload))
	}
	sums := make([]ostree.Checksum, 0, len(payload)/32)
	for ; len(payload) > 0; payload = payload[32:] {
		sums = append(sums, ostree.Checksum(payload[:32]))
	}
	return sums, nil
}

// PutCommit writes a commit with its detached metadata, which may be empty.
func (c *Conn) PutCommit(sum ostree.Checksum, object, detached []byte) error {
	payload := make([]byte, 0, len(sum)+4+len(detached)+len(object))
	payload = append(payload, sum[:]...)
	payload = binary.BigEndian.AppendUint32(payload, uint32(len(detached)))
	payload = append(payload, detached...)
	payload = append(payload, object...)
	if len(payload) > maxCommit {
		return fmt.Errorf("commit %s is too large", sum)
	}
	return c.Put(Commit, payload)
}

// ParseCommit reads the payload of a Commit frame.
func ParseCommit(payload []byte) (sum ostree.Checksum, object, detached []byte, err error) {
	if len(payload) < len(sum)+4 {
		return sum, nil, nil, protocolError("a commit of %d bytes", len(payload))
	}
	sum = ostree.Checksum(payload[:len(sum)])
	size := int64(binary.BigEndian.Uint32(payload[len(sum):]))
	rest := payload[len(sum)+4:]
	if size > int64(len(rest)) {
		return sum, nil, nil, protocolError("commit %s: %d bytes of metadata in a frame of %d", sum, size, len(payload))
	}
	return sum, rest[size:], rest[:size], nil
}

// PutObject writes an object with the bytes of body, of which there are size.
func (c *Conn) PutObject(e Entry, size int64, body io.Reader) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	header := binary.BigEndian.AppendUint64(e.append(nil), uint64(size))
	if err := c.put(Object, header); err != nil {
		return err
	}
	n, err := io.Copy(c.w, io.LimitReader(body, size))
	if err == nil && n < size {
		err = fmt.Errorf("object %s has %d bytes, not %d", e.Sum, n, size)
	}
	return err
}

// ParseObject reads the payload of an Object frame. The object's bytes follow
// in Body.
func ParseObject(payload []byte) (e Entry, size int64, err error) {
	if len(payload) != entrySize+8 {
		return e, 0, protocolError("an object's frame of %d bytes", len(payload))
	}
	if e, err = parseEntry(payload); err != nil {
		return e, 0, err
	}
	raw := binary.BigEndian.Uint64(payload[entrySize:])
	if raw > 1<<62 {
		return e, 0, protocolError("object %s of %d bytes", e.Sum, raw)
	}
	return e, int64(raw), nil
}

// Buffered returns how many bytes have arrived that have not been read.
func (c *Conn) Buffered() int { return c.r.Buffered() }

// Bytes reads the bytes of an object that follow a frame, as many as p is long.
func (c *Conn) Bytes(p []byte) error {
	_, err := io.ReadFull(c.r, p)
	return ended(err)
}

// Body copies the bytes of an object that follow a frame to w.
func (c *Conn) Body(w io.Writer, size int64) error {
	_, err := io.CopyN(w, c.r, size)
	return ended(err)
}

// Bitmap says for each entry of a list whether it is missing.
type Bitmap struct {
	bits []byte
	n    int
}

// Add appends an entry.
func (b *Bitmap) Add(missing bool) {
	if b.n%8 == 0 {
		b.bits = append(b.bits, 0)
	}
	if missing {
		b.Set(b.n)
	}
	b.n++
}

// Set says of the entry i that it is missing.
func (b *Bitmap) Set(i int) { b.bits[i/8] |= 0x80 >> (i % 8) }

// Missing reports whether the entry i is missing.
func (b *Bitmap) Missing(i int) bool { return b.bits[i/8]&(0x80>>(i%8)) != 0 }

// Count returns how many entries are missing.
func (b *Bitmap) Count() (n int) {
	for i := range b.n {
		if b.Missing(i) {
			n++
		}
	}
	return n
}

// WriteBitmap writes a bitmap, in as many frames as it takes.
func (c *Conn) WriteBitmap(b *Bitmap) error {
	for bits := b.bits; len(bits) > 0; {
		n := min(len(bits), MaxPayload)
		if err := c.Put(Missing, bits[:n]); err != nil {
			return err
		}
		bits = bits[n:]
	}
	return c.End(Missing)
}

// ReadBitmap reads a bitmap of n entries, with read, which reads a frame of the
// kind Missing.
func ReadBitmap(n int, read func() ([]byte, error)) (*Bitmap, error) {
	b := &Bitmap{n: n}
	for {
		payload, err := read()
		if err != nil {
			return nil, err
		}
		if len(payload) == 0 {
			break
		}
		b.bits = append(b.bits, payload...)
		if len(b.bits) > (n+7)/8 {
			break
		}
	}
	if len(b.bits) != (n+7)/8 {
		return nil, fmt.Errorf("a bitmap of %d bytes for %d objects", len(b.bits), n)
	}
	return b, nil
}

// WriteEntries writes objects in frames of a kind, and their end.
func (c *Conn) WriteEntries(kind Kind, entries []Entry) error {
	for len(entries) > 0 {
		n := min(len(entries), ListSize)
		payload := make([]byte, 0, n*entrySize)
		for _, e := range entries[:n] {
			payload = AppendEntry(payload, e)
		}
		if err := c.Put(kind, payload); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return c.End(kind)
}
