package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"ostree-push/ostree"
)

// All payloads are made of these values, in a fixed order: numbers (big endian), checksums, and
// bytes, which have their length before them unless they go to the end of the payload.

// encoder appends values to a payload.
type encoder struct {
	p     []byte
	items []int // where items begin, between which a payload may be split
}

func (e *encoder) byte(b byte)                { e.p = append(e.p, b) }
func (e *encoder) uint32(n uint32)            { e.p = binary.BigEndian.AppendUint32(e.p, n) }
func (e *encoder) uint64(n uint64)            { e.p = binary.BigEndian.AppendUint64(e.p, n) }
func (e *encoder) checksum(s ostree.Checksum) { e.p = append(e.p, s[:]...) }
func (e *encoder) tree(t ostree.Tree)         { e.checksum(t.Contents); e.checksum(t.Meta) }
func (e *encoder) rest(p []byte)              { e.p = append(e.p, p...) }
func (e *encoder) name(t ostree.ObjectName)   { e.byte(byte(t.Type)); e.checksum(t.Sum) }
func (e *encoder) item()                      { e.items = append(e.items, len(e.p)) }

func (e *encoder) bytes(p []byte) {
	e.uint32(uint32(len(p)))
	e.p = append(e.p, p...)
}

func (e *encoder) text(s string)     { e.bytes([]byte(valid(s))) }
func (e *encoder) restText(s string) { e.rest([]byte(valid(s))) }

func valid(s string) string { return strings.ToValidUTF8(s, string(utf8.RuneError)) }

func (e *encoder) bool(b bool) {
	if b {
		e.byte(1)
	} else {
		e.byte(0)
	}
}

// parts returns the payload in parts of whole items, none longer than most, if no item is.
func (e *encoder) parts(most int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		start, end := 0, 0
		for _, next := range append(e.items, len(e.p)) {
			if next-start > most && end > start {
				if !yield(e.p[start:end]) {
					return
				}
				start = end
			}
			end = next
		}
		if end > start {
			yield(e.p[start:end])
		}
	}
}

// decoder takes values from the front of a payload. After the first that is wrong, all others are 0 or empty.
type decoder struct {
	p   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
	d.p = nil
}

var errShort = errors.New("it is too short")

// take takes n bytes, or returns as many zeros if there are fewer left.
func (d *decoder) take(n int) []byte {
	if n > len(d.p) {
		d.fail("%w", errShort)
		return make([]byte, n)
	}
	p := d.p[:n:n]
	d.p = d.p[n:]
	return p
}

// more reports whether there is more.
func (d *decoder) more() bool { return len(d.p) > 0 }

func (d *decoder) byte() byte                { return d.take(1)[0] }
func (d *decoder) uint32() uint32            { return binary.BigEndian.Uint32(d.take(4)) }
func (d *decoder) uint64() uint64            { return binary.BigEndian.Uint64(d.take(8)) }
func (d *decoder) checksum() ostree.Checksum { return ostree.Checksum(d.take(len(ostree.Checksum{}))) }

func (d *decoder) digest() ostree.Digest { return ostree.Digest(d.take(len(ostree.Digest{}))) }

func (d *decoder) tree() (t ostree.Tree) {
	t.Contents = d.checksum()
	t.Meta = d.checksum()
	return t
}

// bytes takes bytes with their length before them.
func (d *decoder) bytes() []byte {
	n := d.uint32()
	if int64(n) > int64(len(d.p)) {
		d.fail("%w", errShort)
		return nil
	}
	return d.take(int(n))
}

// rest takes all that is left.
func (d *decoder) rest() []byte { return d.take(len(d.p)) }

func (d *decoder) text() string     { return d.utf8(d.bytes()) }
func (d *decoder) restText() string { return d.utf8(d.rest()) }

func (d *decoder) utf8(p []byte) string {
	if !utf8.Valid(p) {
		d.fail("a text that is not UTF-8")
		return ""
	}
	return string(p)
}

func (d *decoder) bool() bool {
	b := d.byte()
	if b > 1 {
		d.fail("%d where 0 or 1 has to be", b)
	}
	return b == 1
}

func (d *decoder) form() Form { return Form(d.take(len(Form{}))) }

// size takes an offset or a length, of which two can be added.
func (d *decoder) size() int64 {
	const most = 1 << 61
	n := d.uint64()
	if n > most {
		d.fail("%d bytes, which no object has", n)
		return 0
	}
	return int64(n)
}

func (d *decoder) ref() ostree.Ref {
	text := d.text()
	if d.err != nil {
		return ""
	}
	ref, err := ostree.ParseRef(text)
	if err != nil {
		d.fail("%w", err)
	}
	return ref
}

// name takes the name of an object, which is not a commit.
func (d *decoder) name() ostree.ObjectName {
	e := ostree.ObjectName{Type: ostree.ObjectType(d.byte()), Sum: d.checksum()}
	switch e.Type {
	case ostree.ObjectFile, ostree.ObjectDirTree, ostree.ObjectDirMeta:
	default:
		d.fail("an object of type %d", e.Type)
	}
	return e
}

// end returns what was wrong. It is also an error if bytes are left over.
func (d *decoder) end() error {
	if d.more() {
		d.fail("%d bytes too many", len(d.p))
	}
	return d.err
}
