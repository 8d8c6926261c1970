package ostree

// #include "signatures.h"
import "C"

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// CommitSignatures returns the signatures that a commit's detached metadata has for a key, such as
// GPGSignatures. Without the key, or with a value that is no list of byte arrays (aay), there are none.
func (r *Repo) CommitSignatures(ctx context.Context, sum Checksum, key string) ([][]byte, error) {
	c, done := cancellable(ctx)
	defer done()
	csum, freeSum := cstring(sum.String())
	defer freeSum()
	ckey, freeKey := cstring(key)
	defer freeKey()
	var gerr *C.GError
	list := C.op_commit_signatures(r.c, csum, ckey, c, &gerr)
	if list == nil {
		return nil, gerror(gerr)
	}
	defer C.g_variant_unref(list)
	signatures := make([][]byte, int(C.g_variant_n_children(list)))
	for i := range signatures {
		signature := C.g_variant_get_child_value(list, C.gsize(i))
		signatures[i] = takeBytes(C.g_variant_get_data_as_bytes(signature))
		C.g_variant_unref(signature)
	}
	return signatures, nil
}

// AddCommitSignatures appends signatures to those that a commit's detached metadata has for a key, such as
// GPGSignatures, except for any that is there already. In a transaction the change is staged.
func (r *Repo) AddCommitSignatures(ctx context.Context, sum Checksum, key string, signatures [][]byte) error {
	c, done := cancellable(ctx)
	defer done()
	csum, freeSum := cstring(sum.String())
	defer freeSum()
	ckey, freeKey := cstring(key)
	defer freeKey()
	list, freeList := signatureList(signatures)
	defer freeList()
	var gerr *C.GError
	if C.op_add_commit_signatures(r.c, csum, ckey, list, c, &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}

// AddSummarySignatures appends signatures to those that the file summary.sig has for a key, such as GPGSignatures,
// except for any that is there already. The file is replaced in one step, and made if it is not there.
func (r *Repo) AddSummarySignatures(key string, signatures [][]byte) error {
	path := filepath.Join(r.path, "summary.sig")
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ckey, freeKey := cstring(key)
	defer freeKey()
	list, freeList := signatureList(signatures)
	defer freeList()
	cold, freeOld := gbytes(old)
	defer freeOld()
	return r.ReplaceFile("summary.sig", takeBytes(C.op_append_signatures(cold, ckey, list)), 0o644)
}

// signatureList returns a copy of signatures as an "aay" and the function that frees it.
func signatureList(signatures [][]byte) (*C.GVariant, func()) {
	builder := C.op_signatures_new()
	for _, s := range signatures {
		data := C.CBytes(s)
		C.op_signatures_add(builder, data, C.gsize(len(s)))
		C.free(data)
	}
	list := C.op_signatures_end(builder)
	return list, func() { C.g_variant_unref(list) }
}
