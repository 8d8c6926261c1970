package ostree

// #include "gpg.h"
// #include "summary.h"
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

// takeRefs returns the refs of a list of name, checksum, name, checksum, …, which it frees.
func takeRefs(list **C.char) (Refs, error) {
	defer C.g_strfreev(list)
	n := int(C.g_strv_length(list))
	strv := unsafe.Slice(list, n)
	refs := make(Refs, n/2)
	for i := 0; i+1 < n; i += 2 {
		ref, err := ParseRef(C.GoString(strv[i]))
		if err != nil {
			return nil, err
		}
		sum, err := ParseChecksum(C.GoString(strv[i+1]))
		if err != nil {
			return nil, fmt.Errorf("ref %s: %w", ref, err)
		}
		refs[ref] = sum
	}
	return refs, nil
}

// ParseSummary returns the refs that a summary file lists. Refs of other collections are left out, as
// ostree_repo_remote_list_refs leaves them out. The file need not be trusted: it is an error if it does not have
// the format OSTREE_SUMMARY_GVARIANT_FORMAT, in normal form, or if a name or a checksum is not valid.
func ParseSummary(summary []byte) (Refs, error) {
	bytes, free := gbytes(summary)
	defer free()
	var gerr *C.GError
	list := C.op_summary_refs(bytes, &gerr)
	if list == nil {
		return nil, gerror(gerr)
	}
	refs, err := takeRefs(list)
	if err != nil {
		return nil, fmt.Errorf("summary: %w", err)
	}
	return refs, nil
}

// NewSummary returns a summary file of refs, for a pull to read: without static deltas, and unsigned. Nothing is written.
// It is an error if the commit of a ref is not in the repository.
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

// WriteSummary writes a summary file of refs, whose commits have to be in the repository, and signs it with the GPG keys
// of signers. It is for a repository in which a ref has no commit, where RegenerateMetadata fails. The summary lists no
// static deltas, has no signatures but GPG's, and MetadataRef stays as it is.
func (r *Repo) WriteSummary(ctx context.Context, refs Refs, signers Signers) error {
	old, err := r.Summary()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	clist, freeList := cstrv(refs.list())
	defer freeList()
	cold, freeOld := gbytes(old)
	defer freeOld()
	var gerr *C.GError
	bytes := C.op_summary_update(r.c, clist, cold, &gerr)
	if bytes == nil {
		return gerror(gerr)
	}
	if err := r.ReplaceFile("summary", takeBytes(bytes), 0o644); err != nil {
		return err
	}
	// It has the signatures of the old summary.
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

// Summary returns the content of the repository's summary file. The error is fs.ErrNotExist if there is none.
func (r *Repo) Summary() ([]byte, error) { return os.ReadFile(filepath.Join(r.path, "summary")) }
