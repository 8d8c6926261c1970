// Package stream is the wire format in which an ostree-push and an ostree-receive of ours
// talk, over the standard input and output of an ssh session. docs/protocol.md says what
// each side owes the other; this is how a talk goes, with the letters of its frames:
//
//	pusher                         receiver
//	                               the greeting
//	                               H  how further channels join
//	O… the refs that are pushed
//	                               S… what it has of those
//	C… their commits
//	                               W… the commits whose content it wants
//	L… the objects of those
//	                               M… which of them it lacks
//	                               P… and of which of those it has a part
//	D… those objects, large ones in pieces
//	                               A… objects that it lacks all the same
//	D… those objects; and so on, until it lacks none
//	                               R  how it ended
//
// If the refs are few, the pusher sends C without waiting for S. Where no content is wanted, R follows W. Frames with … come any number of times, with an
// empty one after the last. The receiver may send E, an event, at any time, and R, if it
// fails; the pusher may send B, that it is at work, and F, why it gives up.
//
// On a further channel, which carries objects alone:
//
//	pusher                         receiver
//	                               the greeting
//	J  the secret that was in H
//	                               G  it has joined
//	D… objects
//	                               R  how it ended
//
// A frame (frame.go) is a letter, a length and a payload. A payload is made of a few kinds
// of values (encode.go). Each frame has a type of message, which encodes and decodes its
// payload (message.go), and a row in the table of who may send it when (table.go), by which
// Conn.Read refuses what may not come. A new frame is a type and a row.
package stream

import (
	"slices"

	"ostree-push/internal/ranges"
	"ostree-push/ostree"
	"ostree-push/report"
)

// URL is what a pusher names as URL to ask for the stream.
const URL = "-"

// JoinURL is what a pusher names as URL on a further channel.
const JoinURL = "+"

const (
	// MaxRefs is how many refs either side may name.
	MaxRefs = 100_000
	// MaxChannels is how many channels one push has at most, the first one included.
	MaxChannels = 16
	// MaxObjects is how many objects may be listed, or asked for, and pieces sent in a row.
	MaxObjects = 50_000_000
	// MaxPartial is how many objects may be resumed of which a part is there.
	MaxPartial = 100
)

// Message is what a frame says: one of the types below, as a value.
type Message interface {
	Kind() Kind
	encode(*encoder)
}

// End is the empty frame after the last one of a series.
type End struct {
	Of Kind // the frames of the series
}

// Kind returns the kind of the frames of the series.
func (m End) Kind() Kind      { return m.Of }
func (m End) encode(*encoder) {}

// Reader is where messages come from: a Conn, or something that reads from one.
type Reader interface {
	Read() (Message, error)
}

// Next reads a message, which has to be an M. more is false at the end of a series of them. A
// Failure that comes instead is returned as the error, everything else as a *ProtocolError.
func Next[M Message](r Reader) (m M, more bool, err error) {
	got, err := r.Read()
	if err != nil {
		return m, false, err
	}
	switch got := got.(type) {
	case M:
		return got, true, nil
	case Failure:
		return m, false, got
	case End:
		if got.Of == m.Kind() {
			return m, false, nil
		}
	}
	return m, false, protocolError("a frame %v instead of %v", got.Kind(), m.Kind())
}

// Hello says how to join.
type Hello struct {
	Join string // the secret; "": there are no further channels
}

// Kind returns 'H'.
func (m Hello) Kind() Kind           { return 'H' }
func (m Hello) encode(e *encoder)    { e.restText(m.Join) }
func decodeHello(d *decoder) Message { return Hello{d.restText()} }

// Offer has refs that are pushed.
type Offer []RefOffer

// RefOffer is a ref of the pusher, and the commit that it shows.
type RefOffer struct {
	Ref    ostree.Ref
	Commit ostree.Checksum
	Digest ostree.Digest // of what the commit publishes
}

// Kind returns 'O'.
func (m Offer) Kind() Kind { return 'O' }
func (m Offer) count() int { return len(m) }

func (m Offer) encode(e *encoder) {
	for _, r := range m {
		e.item()
		e.text(string(r.Ref))
		e.checksum(r.Commit)
		e.rest(r.Digest[:])
	}
}

func decodeOffer(d *decoder) Message {
	var m Offer
	for d.more() {
		m = append(m, RefOffer{Ref: d.ref(), Commit: d.checksum(), Digest: d.digest()})
	}
	return m
}

// State says of each offered ref, in the order of the offer, what the receiver has of it.
type State []RefState

// RefState is what the receiver has of a ref.
type RefState struct {
	UpToDate bool
	Shows    ostree.Checksum // the commit of a ref that is up to date
	Trees    []ostree.Tree   // of one that is not: some that are there, the nearest first; MaxTrees at most
}

// MaxTrees is how many trees are named of one ref at most.
const MaxTrees = 255

// What comes first of a RefState.
const (
	stateNothing byte = iota // to compare with
	stateUpToDate
	stateTrees
)

// Kind returns 'S'.
func (m State) Kind() Kind { return 'S' }
func (m State) count() int { return len(m) }

func (m State) encode(e *encoder) {
	for _, r := range m {
		e.item()
		switch {
		case r.UpToDate:
			e.byte(stateUpToDate)
			e.checksum(r.Shows)
		case len(r.Trees) == 0:
			e.byte(stateNothing)
		default:
			trees := r.Trees[:min(len(r.Trees), MaxTrees)]
			e.byte(stateTrees)
			e.byte(byte(len(trees)))
			for _, tree := range trees {
				e.tree(tree)
			}
		}
	}
}

func decodeState(d *decoder) Message {
	var m State
	for d.more() {
		m = append(m, decodeRefState(d))
	}
	return m
}

func decodeRefState(d *decoder) (r RefState) {
	switch kind := d.byte(); kind {
	case stateNothing:
	case stateUpToDate:
		r.UpToDate, r.Shows = true, d.checksum()
	case stateTrees:
		n := int(d.byte())
		if n == 0 {
			d.fail("a ref of which there are 0 trees")
		}
		for range n {
			r.Trees = append(r.Trees, d.tree())
		}
	default:
		d.fail("%d where 0, 1 or 2 has to be", kind)
	}
	return r
}

// Commit is a commit of an offered ref. Neither its object nor its detached metadata is larger
// than ostree.MaxMetadataSize.
type Commit struct {
	Sum      ostree.Checksum
	Detached []byte // empty: there is none
	Object   []byte
}

// Kind returns 'C'.
func (m Commit) Kind() Kind { return 'C' }

func (m Commit) encode(e *encoder) {
	e.checksum(m.Sum)
	e.bytes(m.Detached)
	e.rest(m.Object)
}

func decodeCommit(d *decoder) Message {
	m := Commit{Sum: d.checksum(), Detached: d.bytes(), Object: d.rest()}
	if max(len(m.Object), len(m.Detached)) > ostree.MaxMetadataSize {
		d.fail("commit %s is too large", m.Sum)
	}
	return m
}

// Wanted has offered commits whose content is wanted.
type Wanted []ostree.Checksum

// Kind returns 'W'.
func (m Wanted) Kind() Kind { return 'W' }
func (m Wanted) count() int { return len(m) }

func (m Wanted) encode(e *encoder) {
	for _, sum := range m {
		e.item()
		e.checksum(sum)
	}
}

func decodeWanted(d *decoder) Message {
	var m Wanted
	for d.more() {
		m = append(m, d.checksum())
	}
	return m
}

// entrySize is the size of the name of an object on the wire, in bytes.
const entrySize = 1 + len(ostree.Checksum{})

// ListSize is how many objects one List has at most.
const ListSize = MaxPayload / entrySize

// List has objects that the wanted commits consist of. They are kept as they travel: there may
// be many lists.
type List struct{ packed []byte }

// Add appends an object. A list that has ListSize of them takes no more.
func (m *List) Add(entry ostree.ObjectName) {
	e := encoder{p: m.packed}
	e.name(entry)
	m.packed = e.p
}

// Len returns how many objects there are.
func (m List) Len() int { return len(m.packed) / entrySize }

// At returns the object i.
func (m List) At(i int) ostree.ObjectName {
	d := decoder{p: m.packed[i*entrySize:]}
	return d.name()
}

// Kind returns 'L'.
func (m List) Kind() Kind        { return 'L' }
func (m List) count() int        { return m.Len() }
func (m List) encode(e *encoder) { e.rest(m.packed) }

func decodeList(d *decoder) Message {
	m := List{d.p}
	for d.more() {
		d.name()
	}
	return m
}

// Missing is a bitmap of those of the objects of all lists that are missing, in their order. Its
// frames have one part of it each; ReadMissing reads the whole.
type Missing struct {
	bits []byte // the first object in the highest bit of the first byte
	n    int    // objects
}

// Add appends an object.
func (m *Missing) Add(missing bool) {
	if m.n%8 == 0 {
		m.bits = append(m.bits, 0)
	}
	if missing {
		m.Set(m.n)
	}
	m.n++
}

// Set says of the object i that it is missing.
func (m *Missing) Set(i int) { m.bits[i/8] |= 0x80 >> (i % 8) }

// Has reports whether the object i is missing.
func (m Missing) Has(i int) bool { return m.bits[i/8]&(0x80>>(i%8)) != 0 }

// Count returns how many objects are missing.
func (m Missing) Count() (n int) {
	for i := range m.n {
		if m.Has(i) {
			n++
		}
	}
	return n
}

// Kind returns 'M'.
func (m Missing) Kind() Kind { return 'M' }
func (m Missing) count() int { return m.n }

func (m Missing) encode(e *encoder) {
	for part := range slices.Chunk(m.bits, MaxPayload) {
		e.item()
		e.rest(part)
	}
}

func decodeMissing(d *decoder) Message {
	bits := d.rest()
	return Missing{bits, 8 * len(bits)}
}

// ReadMissing reads all frames of the bitmap of n objects.
func ReadMissing(r Reader, n int) (Missing, error) {
	all := Missing{n: n}
	for {
		part, more, err := Next[Missing](r)
		if err != nil {
			return Missing{}, err
		}
		all.bits = append(all.bits, part.bits...)
		if len(all.bits) > (n+7)/8 || !more && len(all.bits) < (n+7)/8 {
			return Missing{}, protocolError("frames %v: %d bytes for %d objects", all.Kind(), len(all.bits), n)
		}
		if !more {
			return all, nil
		}
	}
}

// Form says which bytes an object has, of all that stand for the same content: encoders compress it differently. Pieces of one
// form make an object. It is zero for an object that is not to be resumed.
type Form [16]byte

// Partial has large objects that are missing, but of which the receiver has a part.
type Partial []PartialObject

// PartialObject is what the receiver has of an object, in a form.
type PartialObject struct {
	ostree.ObjectName
	Form   Form
	Ranges ranges.Set
}

// MaxRanges is how many ranges a PartialObject may have.
const MaxRanges = 10_000

// Kind returns 'P'.
func (m Partial) Kind() Kind { return 'P' }
func (m Partial) count() int { return len(m) }

func (m Partial) encode(e *encoder) {
	for _, o := range m {
		e.item()
		e.name(o.ObjectName)
		e.rest(o.Form[:])
		e.uint32(uint32(len(o.Ranges)))
		for _, r := range o.Ranges {
			e.uint64(uint64(r.Start))
			e.uint64(uint64(r.Len()))
		}
	}
}

func decodePartial(d *decoder) Message {
	var m Partial
	for d.more() {
		o := PartialObject{ObjectName: d.name(), Form: d.form()}
		n := d.uint32()
		if n > MaxRanges {
			d.fail("%d ranges of object %s, and %d are the most", n, o.Sum, MaxRanges)
		}
		for i := uint32(0); i < n && d.err == nil; i++ {
			start, length := d.size(), d.size()
			o.Ranges = append(o.Ranges, ranges.Range{Start: start, End: start + length})
		}
		if !o.Ranges.Valid() {
			d.fail("the ranges of object %s are not in order", o.Sum)
		}
		m = append(m, o)
	}
	return m
}

// Data is a piece of an object that the receiver lacks. Its bytes follow the frame: those of the object in the form in which
// archive repositories store it.
type Data struct {
	ostree.ObjectName
	Form   Form
	Offset int64 // of the first byte in the object
	Length int64 // in bytes
	Last   bool  // the object ends with it
}

const (
	// MaxPiece is the length of the longest piece, in bytes.
	MaxPiece = 16 << 20
	// MinPiece is the least length of a piece that is not the last of an object, in bytes. What is resumed is whole blocks of that size.
	MinPiece = ranges.Block
)

// Whole reports whether it is all of an object.
func (m Data) Whole() bool { return m.Offset == 0 && m.Last }

// Range returns which bytes of the object it has.
func (m Data) Range() ranges.Range {
	return ranges.Range{Start: m.Offset, End: m.Offset + m.Length}
}

// Kind returns 'D'.
func (m Data) Kind() Kind { return 'D' }

func (m Data) encode(e *encoder) {
	e.name(m.ObjectName)
	e.rest(m.Form[:])
	e.uint64(uint64(m.Offset))
	e.uint64(uint64(m.Length))
	e.bool(m.Last)
}

func decodeData(d *decoder) Message {
	m := Data{ObjectName: d.name(), Form: d.form(), Offset: d.size(), Length: d.size(), Last: d.bool()}
	switch {
	case m.Length > MaxPiece:
		d.fail("a piece of object %s has %d bytes, and %d are the most", m.Sum, m.Length, MaxPiece)
	case !m.Last && m.Length < MinPiece:
		d.fail("a piece of object %s that is not the last has %d bytes, and %d are the least", m.Sum, m.Length, MinPiece)
	}
	return m
}

// Ask has objects that are missing all the same, whether they were listed or not.
type Ask []ostree.ObjectName

// Kind returns 'A'.
func (m Ask) Kind() Kind { return 'A' }
func (m Ask) count() int { return len(m) }

func (m Ask) encode(e *encoder) {
	for _, entry := range m {
		e.item()
		e.name(entry)
	}
}

func decodeAsk(d *decoder) Message {
	var m Ask
	for d.more() {
		m = append(m, d.name())
	}
	return m
}

// Failure says why the pusher gives up. It is also the error that the receiver gets.
type Failure struct{ Reason string }

func (m Failure) Error() string { return "the pusher gave up: " + m.Reason }

// Kind returns 'F'.
func (m Failure) Kind() Kind           { return 'F' }
func (m Failure) encode(e *encoder)    { e.restText(m.Reason) }
func decodeFailure(d *decoder) Message { return Failure{d.restText()} }

// Busy says that the pusher is at work, though it sends nothing else.
type Busy struct{}

// Kind returns 'B'.
func (m Busy) Kind() Kind         { return 'B' }
func (m Busy) encode(*encoder)    {}
func decodeBusy(*decoder) Message { return Busy{} }

// Event is a line of events, as package report writes and reads it.
type Event []byte

// Kind returns 'E'.
func (m Event) Kind() Kind           { return 'E' }
func (m Event) encode(e *encoder)    { e.rest(m) }
func decodeEvent(d *decoder) Message { return Event(d.rest()) }

// Result says how the receiver ended.
type Result report.Ended

// Kind returns 'R'.
func (m Result) Kind() Kind { return 'R' }

func (m Result) encode(e *encoder) {
	e.bool(m.Moved)
	e.text(m.Error)
	for _, hint := range m.Hints {
		e.text(hint)
	}
}

func decodeResult(d *decoder) Message {
	m := Result{Moved: d.bool(), Error: d.text()}
	for d.more() {
		m.Hints = append(m.Hints, d.text())
	}
	return m
}

// Join has the secret, on a further channel.
type Join struct{ Secret string }

// Kind returns 'J'.
func (m Join) Kind() Kind           { return 'J' }
func (m Join) encode(e *encoder)    { e.restText(m.Secret) }
func decodeJoin(d *decoder) Message { return Join{d.restText()} }

// Go says, on a further channel, that it has joined, and objects may come.
type Go struct{}

// Kind returns 'G'.
func (m Go) Kind() Kind         { return 'G' }
func (m Go) encode(*encoder)    {}
func decodeGo(*decoder) Message { return Go{} }
