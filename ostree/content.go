package ostree

// #include "content.h"
import "C"

import (
	"context"
	"io"
	"unsafe"
)

// OpenContent opens a content object in the form of archive repositories, a ".filez" file, whatever the mode of
// the repository. The error is ErrNotFound if the object is neither in the repository nor in a parent of it. ctx is that of
// all reads. The caller closes the reader, once.
func (r *Repo) OpenContent(ctx context.Context, sum Checksum) (*ContentReader, error) {
	c, done := cancellable(ctx)
	csum, free := cstring(sum.String())
	defer free()
	var gerr *C.GError
	var stored *C.GInputStream
	stream := C.op_open_archive_stream(r.c, csum, &stored, c, &gerr)
	if stream == nil {
		done()
		return nil, gerror(gerr)
	}
	return &ContentReader{stream: stream, stored: stored, cancellable: c, done: done}, nil
}

// ContentReader reads a content object. One goroutine at a time may use it.
type ContentReader struct {
	stream      *C.GInputStream
	stored      *C.GInputStream // what it reads from; nil: from memory
	cancellable *C.GCancellable
	done        func()
}

// Read reads the next bytes, as many as libostree has at hand.
func (o *ContentReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var gerr *C.GError
	n := C.g_input_stream_read(o.stream, unsafe.Pointer(&p[0]), C.gsize(len(p)), o.cancellable, &gerr)
	switch {
	case n < 0:
		return 0, gerror(gerr)
	case n == 0:
		return 0, io.EOF
	}
	return int(n), nil
}

// Taken returns how many bytes of the file in which the object is stored have been read; 0 if it is in no file of its own.
func (o *ContentReader) Taken() int64 { return int64(C.op_stream_position(o.stored)) }

// Close frees the stream, and must be called once.
func (o *ContentReader) Close() error {
	C.g_object_unref(C.gpointer(o.stream))
	if o.stored != nil {
		C.g_object_unref(C.gpointer(o.stored))
	}
	o.done()
	return nil
}
