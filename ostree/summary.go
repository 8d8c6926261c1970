package ostree

// #include "glue.h"
import "C"

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"
)

// ParseSummary returns the refs that a summary file lists. Those of other
// collections are left out, as ostree_repo_remote_list_refs does. The format is
// OSTREE_SUMMARY_GVARIANT_FORMAT, in normal form.
func ParseSummary(summary []byte) (Refs, error) {
	data := C.CBytes(summary)
	defer C.free(data)
	var gerr *C.GError
	list := C.op_summary_refs(data, C.gsize(len(summary)), &gerr)
	if list == nil {
		return nil, gerror(gerr)
	}
	refs, err := takeRefs(list)
	if err != nil {
		return nil, fmt.Errorf("summary: %w", err)
	}
	return refs, nil
}

// NewSummary builds, in memory, a summary that lists refs, whose commits are
// in the repository. It has what a pull reads, no static deltas, and no
// signature.
func (r *Repo) NewSummary(refs Refs) ([]byte, error) {
	list := make([]string, 0, 2*len(refs))
	for _, ref := range refs.Sorted() {
		list = append(list, string(ref), refs[ref].String())
	}
	clist, free := cstrv(list)
	defer free()
	var gerr *C.GError
	bytes := C.op_summary_new(r.c, clist, &gerr)
	if bytes == nil {
		return nil, gerror(gerr)
	}
	return takeBytes(bytes), nil
}

// RegenerateMetadata writes the summary file anew and, in a repository with a
// collection id, a commit on MetadataRef, as `ostree summary --update` does, and
// signs both. There must be no open transaction.
func (r *Repo) RegenerateMetadata(ctx context.Context, signers Signers) error {
	c, done := cancellable(ctx)
	defer done()
	csigners, free := signers.c()
	defer free()
	var gerr *C.GError
	if C.op_regenerate_metadata(r.c, csigners, c, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// Summary returns the repository's summary file.
func (r *Repo) Summary() ([]byte, error) { return os.ReadFile(filepath.Join(r.path, "summary")) }

// takeBytes copies bytes that the caller owns, and frees them.
func takeBytes(bytes *C.GBytes) []byte {
	defer C.g_bytes_unref(bytes)
	var size C.gsize
	data := C.g_bytes_get_data(bytes, &size)
	return append([]byte{}, unsafe.Slice((*byte)(data), int(size))...)
}
