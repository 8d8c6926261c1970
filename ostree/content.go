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
func (r *Repo) OpenContent(ctx context.Context, sum Checksum) (io.ReadCloser, error) {
	c, done := cancellable(ctx)
	csum, free := cstring(sum.String())
	defer free()
	var gerr *C.GError
	stream := C.op_open_archive_stream(r.c, csum, c, &gerr)
	if stream == nil {
		done()
		return nil, gerror(gerr)
	}
	return &contentReader{stream: stream, cancellable: c, done: done}, nil
}

// contentReader reads a GInputStream.
type contentReader struct {
	stream      *C.GInputStream
	cancellable *C.GCancellable
	done        func()
}

// Read reads the next bytes, as many as libostree has at hand.
func (o *contentReader) Read(p []byte) (int, error) {
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

// Close frees the stream, and must be called once.
func (o *contentReader) Close() error {
	C.g_object_unref(C.gpointer(o.stream))
	o.done()
	return nil
}
