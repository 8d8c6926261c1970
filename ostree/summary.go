package ostree

// #include "glue.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	clist, free := cstrv(refs.list())
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

// WriteSummary writes a summary file of some refs, whose commits are in the repository, signed with GPG if there are keys:
// ostree_repo_regenerate_metadata takes all refs, and fails if one of them shows no commit. It lists
// no static deltas, and has no other signatures; in a repository with a collection id MetadataRef is left as it is.
func (r *Repo) WriteSummary(ctx context.Context, refs Refs, signers Signers) error {
	old, err := r.Summary()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	clist, freeList := cstrv(refs.list())
	defer freeList()
	cold := C.CBytes(old)
	defer C.free(cold)
	var gerr *C.GError
	bytes := C.op_summary_update(r.c, clist, cold, C.gsize(len(old)), &gerr)
	if bytes == nil {
		return gerror(gerr)
	}
	if err := r.ReplaceFile("summary", takeBytes(bytes), 0o644); err != nil {
		return err
	}
	// It is the old summary's.
	if err := os.Remove(filepath.Join(r.path, "summary.sig")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c, done := cancellable(ctx)
	defer done()
	csigners, free := signers.c()
	defer free()
	if C.op_gpg_sign_summary(r.c, csigners, c, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// list returns names and checksums in turn, in the order of the names.
func (r Refs) list() []string {
	list := make([]string, 0, 2*len(r))
	for _, ref := range r.Sorted() {
		list = append(list, string(ref), r[ref].String())
	}
	return list
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
