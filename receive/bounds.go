package receive

import (
	"bufio"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize"

	"ostree-push/ostree"
)

// This file bounds what a source can make the receiver store, or work through.

// maxConfig is far more than any config has, in bytes.
const maxConfig = 1 << 20

// maxSize is how large a file of a repository may be, in bytes; -1 is any size
// that the disk has room for, which is watched elsewhere.
func maxSize(path string) int64 {
	switch {
	case path == "config":
		return maxConfig
	case strings.HasSuffix(path, ".filez"):
		return -1
	}
	return ostree.MaxMetadataSize
}

// boundError says that somebody sends too much.
type boundError struct{ err error }

func (e *boundError) Error() string { return e.err.Error() }

// boundedReader fails with err after left bytes.
type boundedReader struct {
	r    io.Reader
	left int64
	err  error
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return 0, &boundError{b.err}
	}
	return n, err
}

const (
	// inflateSlack is by how much, in bytes, a content object may be larger than it
	// says it is before it is refused: that much does no harm.
	inflateSlack = 16 << 20
	// maxRatio is the most by which deflate shrinks anything.
	maxRatio = 1032
)

// harmless reports whether a compressed object of that size cannot be much
// larger than it says; -1 is an unknown size.
func harmless(compressed int64) bool {
	return compressed >= 0 && compressed*maxRatio < inflateSlack
}

// inflateCheck checks, while a content object is written to it, that it does not
// expand to much more than the size that it states: libostree trusts that size
// when it looks for free space. An object that is damaged in other ways is left to
// libostree.
type inflateCheck struct {
	w      *io.PipeWriter
	result chan error
}

func newInflateCheck() *inflateCheck {
	r, w := io.Pipe()
	c := &inflateCheck{w: w, result: make(chan error, 1)}
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

func (c *inflateCheck) Write(p []byte) (int, error) { return c.w.Write(p) }

// close returns what was found. It must be called once.
func (c *inflateCheck) close() error {
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
	most := int64(start.Size) + inflateSlack
	inflated, _ := io.Copy(io.Discard, io.LimitReader(flate.NewReader(br), most+1))
	if inflated > most {
		return fmt.Errorf("%w: it says that it has %s, and expands to more than %s", ostree.ErrInflated,
			humanize.IBytes(start.Size), humanize.IBytes(uint64(most)))
	}
	return nil
}
