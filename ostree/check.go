package ostree

// #include "check.h"
// #include "content.h"
import "C"

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrInflated is the error of CheckBytes and CheckContentFile for a content object that expands to more than
// its header says.
var ErrInflated = errors.New("it is a compression bomb")

// InflateSlack is how many bytes more than its header says a content object may expand to before it is given up.
// An object that lies by less is refused as well, but at its end, by its size and checksum: the slack is what the lie
// can cost until then, in time and, where libostree trusts the size when it looks for free space, on the disk. That is
// little, and it is what an object within it saves: a compressed one that is so small that it cannot expand to more, as nearly
// all are, need not be inflated to see that. With 1 MiB that would be those below 1 kB, with 16 MiB those below 16 kB.
const InflateSlack = 16 << 20

// CheckBytes returns an error if an object does not have its checksum, or is not well-formed. data is the whole object,
// a content object in the form of archive repositories, a ".filez" file. The error is ErrInflated if such an object
// expands to far more than it says.
//
// libostree parses and inflates, but for the plainest objects, of which there are the most (content.c); and Go computes the
// SHA-256, with the processor's instructions for it: some builds of libostree hash with GLib, at a sixth of that rate.
func CheckBytes(t ObjectType, sum Checksum, data []byte) error {
	if len(data) == 0 {
		return fmt.Errorf("the %s object is empty", typeNames[t])
	}
	p := unsafe.Pointer(unsafe.SliceData(data))
	var gerr *C.GError
	if t != ObjectFile {
		if err := compare(t, sum, sha256.Sum256(data)); err != nil {
			return err
		}
		if C.op_validate_metadata(C.OstreeObjectType(t), p, C.gsize(len(data)), &gerr) == 0 {
			return gerror(gerr)
		}
		return nil
	}
	if err := checkHeaderSize(data, int64(len(data))); err != nil {
		return err
	}
	// One call for all of it, since there may be a great many such objects.
	buffer := unpacked.Get().(*[unpackedSize]byte)
	defer unpacked.Put(buffer)
	var size C.guint64
	n := C.op_unpack_content(p, C.gsize(len(data)), unsafe.Pointer(buffer), unpackedSize, &size, &gerr)
	if n < 0 {
		return gerror(gerr)
	}
	if n < unpackedSize {
		return checkSize(sum, sha256.Sum256(buffer[:n]), uint64(n), uint64(size))
	}
	return checkExpanding(sum, data, buffer[:])
}

// unpackedSize is how many bytes of what a content object expands to are in memory at a time: deflate may
// make a thousand times as much of an object as there is of it.
const unpackedSize = 256 << 10

// unpacked has buffers of unpackedSize.
var unpacked = sync.Pool{New: func() any { return new([unpackedSize]byte) }}

// checkExpanding checks a content object that expands to more than the buffer has room for: what comes out is
// hashed as it comes.
func checkExpanding(sum Checksum, data, buffer []byte) error {
	c, done := cancellable(context.Background())
	var (
		size C.guint64
		gerr *C.GError
	)
	bytes, free := gbytes(data)
	defer free()
	stream := C.op_content_stream_of_bytes(bytes, &size, c, &gerr)
	if stream == nil {
		done()
		return gerror(gerr)
	}
	content := &ContentReader{stream: stream, cancellable: c, done: done}
	defer content.Close()
	return checkStream(sum, content, uint64(size), buffer)
}

// checkStream checks what a content object expands to, through a buffer. size is how many bytes its header says
// that is.
func checkStream(sum Checksum, content io.Reader, size uint64, buffer []byte) error {
	stated := min(size, math.MaxInt64-InflateSlack-1)
	hash := sha256.New()
	// Nothing but Read and Write, so that the buffer is used.
	to, from := struct{ io.Writer }{hash}, io.LimitReader(content, int64(stated)+InflateSlack+1)
	read, err := io.CopyBuffer(to, from, buffer)
	if err != nil {
		return err
	}
	if uint64(read) > stated+InflateSlack {
		return inflated(size)
	}
	return checkSize(sum, [32]byte(hash.Sum(nil)), uint64(read), size)
}

func inflated(size uint64) error {
	return fmt.Errorf("%w: it says that it has %d bytes, and expands to more", ErrInflated, size)
}

// checkSize checks the checksum and the size, in bytes, of what a content object expanded to.
func checkSize(sum Checksum, got [32]byte, size, stated uint64) error {
	if err := compare(ObjectFile, sum, got); err != nil {
		return err
	}
	if size != stated {
		return fmt.Errorf("corrupted file object: it says that it has %d bytes, and has %d", stated, size)
	}
	return nil
}

// CheckContentFile checks, as CheckBytes does, a content object that is a whole file, in the form of archive
// repositories. It reads the file from its beginning, and leaves the file's offset anywhere.
func CheckContentFile(ctx context.Context, sum Checksum, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var start [4]byte
	if _, err := f.ReadAt(start[:], 0); err != nil {
		return fmt.Errorf("corrupted file object: it is cut short: %w", err)
	}
	if err := checkHeaderSize(start[:], info.Size()); err != nil {
		return err
	}
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}
	return checkContentFD(ctx, sum, f, info.Size())
}

// checkContentFD checks a content object that is read from the offset of a file, or from a pipe, and has at most so many bytes.
func checkContentFD(ctx context.Context, sum Checksum, f *os.File, most int64) error {
	c, done := cancellable(ctx)
	var (
		size C.guint64
		gerr *C.GError
	)
	stream := C.op_content_stream_of_file(C.int(f.Fd()), C.guint64(most), &size, c, &gerr)
	if stream == nil {
		done()
		return gerror(gerr)
	}
	content := &ContentReader{stream: stream, cancellable: c, done: done}
	defer content.Close()
	buffer := unpacked.Get().(*[unpackedSize]byte)
	defer unpacked.Put(buffer)
	return checkStream(sum, content, uint64(size), buffer[:])
}

// maxStreamedHeader is the size of the largest header of a content object that CheckContent takes, in bytes. Headers are far
// smaller: they have the xattrs of a file. Many may come at once, and a header is in memory before its object is there.
const maxStreamedHeader = 64 << 10

// CheckContent checks, as CheckBytes does, a content object that comes from r, in the form of archive
// repositories, and closes r, which has to end a read that waits. An object whose header is larger than 64 KiB is
// ErrLargeHeader, of which nothing else is known: it can be checked when all of it is there.
func CheckContent(ctx context.Context, sum Checksum, r io.ReadCloser) error {
	defer r.Close()
	start, err := readHeader(r)
	if err != nil {
		return err
	}
	from, to, err := os.Pipe()
	if err != nil {
		return err
	}
	fed := make(chan error, 1)
	go func() {
		_, err := io.Copy(to, io.MultiReader(bytes.NewReader(start), r))
		to.Close()
		fed <- err
	}()
	err = checkContentFD(ctx, sum, from, math.MaxInt64)
	from.Close()
	r.Close()
	// That somebody closed it at the end is no error of the feeder's.
	if feedErr := <-fed; err != nil && feedErr != nil && !errors.Is(feedErr, unix.EPIPE) && !errors.Is(feedErr, os.ErrClosed) {
		return feedErr
	}
	return err
}

// ErrLargeHeader is the error of CheckContent for an object with a header that is too large for it.
var ErrLargeHeader = errors.New("the header of the object is too large to be checked while it comes")

// readHeader reads the start of a content object, up to the end of its header.
func readHeader(r io.Reader) ([]byte, error) {
	start := make([]byte, lengthAndPadding)
	if _, err := io.ReadFull(r, start); err != nil {
		return nil, cutShort(err)
	}
	length := int64(binary.BigEndian.Uint32(start))
	if err := checkHeaderSize(start, math.MaxInt64); err != nil {
		return nil, err
	}
	if length > maxStreamedHeader {
		return nil, ErrLargeHeader
	}
	start = append(start, make([]byte, length)...)
	_, err := io.ReadFull(r, start[lengthAndPadding:])
	return start, cutShort(err)
}

// cutShort says of the end of an object that it comes too early.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCutShort
	}
	return err
}

var errCutShort = errors.New("corrupted file object: it is cut short")

// checkHeaderSize looks at the length of a content object's header, which the first four bytes of the object say,
// before libostree allocates as much. size is that of the object, in bytes, which has to have the whole header:
// libostree (2022.7, 2025.2) does not notice when it reads less, and goes on with what the memory had before.
func checkHeaderSize(start []byte, size int64) error {
	if len(start) < 4 {
		return errCutShort
	}
	header := int64(binary.BigEndian.Uint32(start))
	if header > MaxMetadataSize {
		return fmt.Errorf("corrupted file object: it has a header of %d bytes", header)
	}
	if size < lengthAndPadding+header {
		return errCutShort
	}
	return nil
}

// lengthAndPadding is how many bytes of a content object are before its header.
const lengthAndPadding = 8

var typeNames = map[ObjectType]string{
	ObjectFile: "file", ObjectDirTree: "dirtree", ObjectDirMeta: "dirmeta", ObjectCommit: "commit",
}

func compare(t ObjectType, want Checksum, got [32]byte) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("corrupted %s object: its checksum is %s", typeNames[t], Checksum(got))
}

// CheckObject returns an error if an object of the repository does not have its checksum, or is not well-formed, by
// libostree's own check (ostree_repo_fsck_object). Tests hold CheckBytes against it.
func (r *Repo) CheckObject(ctx context.Context, t ObjectType, sum Checksum) error {
	c, done := cancellable(ctx)
	defer done()
	csum, free := cstring(sum.String())
	defer free()
	var gerr *C.GError
	if C.ostree_repo_fsck_object(r.c, C.OstreeObjectType(t), csum, c, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}
