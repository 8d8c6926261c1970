package ostree

// #include "glue.h"
import "C"

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"
)

// This file checks objects as CheckObject does, but for the hash: libostree
// parses and inflates, and the SHA-256 is Go's, which has the processor's
// instructions for it. Some builds of libostree hash with GLib, at a sixth of that
// rate.

// ErrInflated is that a content object expands to more than it says it has.
var ErrInflated = errors.New("it is a compression bomb")

// inflateSlack is by how much, in bytes, a content object may be larger than it
// says it is before it is given up. (It is not what its checksum says then,
// but that would be known only at its end.)
const inflateSlack = 1 << 20

// CheckBytes returns an error if an object, all of which is data, is not what its
// checksum says, or not well-formed. Content objects are in the form that
// archive repositories have them in.
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
	if err := checkHeaderSize(data); err != nil {
		return err
	}
	var size C.guint64
	stream := C.op_content_stream_of_bytes(p, C.gsize(len(data)), &size, &gerr)
	if stream == nil {
		return gerror(gerr)
	}
	return checkContent(sum, stream, uint64(size), nil)
}

// CheckContentFile is CheckBytes for a content object that a file has from its
// beginning to its end. It reads from the beginning, and leaves the file's offset
// anywhere.
func CheckContentFile(ctx context.Context, sum Checksum, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var start [4]byte
	if _, err := f.ReadAt(start[:], 0); err != nil {
		return fmt.Errorf("the file object is cut short: %w", err)
	}
	if err := checkHeaderSize(start[:]); err != nil {
		return err
	}
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}
	c, done := cancellable(ctx)
	defer done()
	var (
		size C.guint64
		gerr *C.GError
	)
	stream := C.op_content_stream_of_file(C.int(f.Fd()), C.guint64(info.Size()), &size, c, &gerr)
	if stream == nil {
		return gerror(gerr)
	}
	return checkContent(sum, stream, uint64(size), c)
}

// checkHeaderSize looks at the length of a content object's header, which is its
// first four bytes, before libostree allocates as much.
func checkHeaderSize(start []byte) error {
	if len(start) < 4 {
		return errors.New("the file object is cut short")
	}
	if size := binary.BigEndian.Uint32(start); size > MaxMetadataSize {
		return fmt.Errorf("the file object has a header of %d bytes", size)
	}
	return nil
}

var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// checkContent compares the checksum of all that a stream has, of which there
// should be size bytes. It frees the stream.
func checkContent(sum Checksum, stream *C.GInputStream, size uint64, cancellable *C.GCancellable) error {
	defer C.g_object_unref(C.gpointer(stream))
	buffer := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buffer)
	hash := sha256.New()
	read := uint64(0)
	for {
		var gerr *C.GError
		n := C.g_input_stream_read(stream, unsafe.Pointer(&buffer[0]), C.gsize(len(buffer)), cancellable, &gerr)
		if n < 0 {
			return gerror(gerr)
		}
		if n == 0 {
			break
		}
		if read += uint64(n); read > size && read-size > inflateSlack {
			return fmt.Errorf("%w: it says that it has %d bytes, and expands to more", ErrInflated, size)
		}
		hash.Write(buffer[:n])
	}
	if err := compare(ObjectFile, sum, [32]byte(hash.Sum(nil))); err != nil {
		return err
	}
	if read != size {
		return fmt.Errorf("corrupted file object: it says that it has %d bytes, and has %d", size, read)
	}
	return nil
}

var typeNames = map[ObjectType]string{
	ObjectFile: "file", ObjectDirTree: "dirtree", ObjectDirMeta: "dirmeta", ObjectCommit: "commit",
}

func compare(t ObjectType, want Checksum, got [32]byte) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("corrupted %s object: its checksum is %s", typeNames[t], Checksum(got))
}
