package quarantine

import (
	"bufio"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/dustin/go-humanize"

	"ostree-push/ostree"
)

// maxRatio is the most by which deflate shrinks anything.
const maxRatio = 1032

// Harmless reports whether a compressed object of that size, in bytes, cannot be larger than
// it says by more than ostree.InflateSlack; -1 is an unknown size.
func Harmless(compressed int64) bool {
	return compressed >= 0 && compressed*maxRatio < ostree.InflateSlack
}

// InflateCheck checks, while a content object is written to it, that it does not
// expand to much more than the size that it states: libostree trusts that size
// when it looks for free space. An object that is damaged in other ways is left to
// libostree.
type InflateCheck struct {
	w      *io.PipeWriter
	result chan error
}

// NewInflateCheck returns one that nothing has been written to.
func NewInflateCheck() *InflateCheck {
	r, w := io.Pipe()
	c := &InflateCheck{w: w, result: make(chan error, 1)}
	go func() {
		err := checkInflated(r)
		c.result <- err
		if err == nil {
			io.Copy(io.Discard, r)
		}
		r.CloseWithError(err)
	}()
	return c
}

// Write takes a part of the object.
func (c *InflateCheck) Write(p []byte) (int, error) { return c.w.Write(p) }

// Close returns what was found: ostree.ErrInflated, if anything. It must be called once.
func (c *InflateCheck) Close() error {
	c.w.Close()
	return <-c.result
}

// checkInflated reads a content object of an archive repository: the length of
// the header, 32 bits, big endian; 32 bits of padding; the header, which begins
// with the content's size, 64 bits, big endian (OSTREE_ZLIB_FILE_HEADER_GVARIANT_FORMAT);
// and the content, deflated.
func checkInflated(r io.Reader) error {
	var start struct {
		HeaderSize, Padding uint32
		Size                uint64
	}
	br := bufio.NewReader(r)
	if err := binary.Read(br, binary.BigEndian, &start); err != nil {
		return nil
	}
	rest := int64(start.HeaderSize) - 8
	if _, err := io.CopyN(io.Discard, br, rest); rest < 0 || err != nil {
		return nil
	}
	if start.Size > 1<<62 {
		return nil // libostree refuses it
	}
	most := int64(start.Size) + ostree.InflateSlack
	inflated, _ := io.Copy(io.Discard, io.LimitReader(flate.NewReader(br), most+1))
	if inflated > most {
		return fmt.Errorf("%w: it says that it has %s, and expands to more than %s", ostree.ErrInflated,
			humanize.IBytes(start.Size), humanize.IBytes(uint64(most)))
	}
	return nil
}
