package ostree

// #include "detached.h"
import "C"

import (
	"context"
)

// DetachedMetadata returns the detached metadata of a commit, serialized, or nil
// if it has none.
func (r *Repo) DetachedMetadata(ctx context.Context, sum Checksum) ([]byte, error) {
	c, done := cancellable(ctx)
	defer done()
	csum, free := cstring(sum.String())
	defer free()
	var (
		metadata *C.GBytes
		gerr     *C.GError
	)
	if C.op_detached_metadata(r.c, csum, &metadata, c, &gerr) == 0 {
		return nil, gerror(gerr)
	}
	if metadata == nil {
		return nil, nil
	}
	return takeBytes(metadata), nil
}

// WriteDetachedMetadata gives a commit detached metadata, which somebody else has
// serialized.
func (r *Repo) WriteDetachedMetadata(ctx context.Context, sum Checksum, metadata []byte) error {
	c, done := cancellable(ctx)
	defer done()
	csum, free := cstring(sum.String())
	defer free()
	data, freeData := gbytes(metadata)
	defer freeData()
	var gerr *C.GError
	if C.op_write_detached_metadata(r.c, csum, data, c, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}
