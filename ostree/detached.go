package ostree

// #include "detached.h"
import "C"

import (
	"context"
)

// DetachedMetadata returns the detached metadata of a commit, a serialized a{sv} as the repository has it,
// or nil if there is none. It need not be well-formed.
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

// WriteDetachedMetadata gives a commit detached metadata in the place of what it has. The metadata is a
// serialized a{sv} that need not be trusted: GVariant's normal form of it is written. In a transaction it is staged.
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
