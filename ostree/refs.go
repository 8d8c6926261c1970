package ostree

// #include "glue.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unsafe"
)

// Ref is the name of a ref, such as "app/org.example.App/x86_64/stable",
// without a remote.
type Ref string

// MetadataRef is the ref of the generated repository metadata of repositories
// with a collection id.
const MetadataRef Ref = "ostree-metadata"

// refNames is what ostree_validate_rev allows, whose \w are the letters and
// digits of all scripts, but anchored so that no newline gets through at the
// end.
var refNames = regexp.MustCompile(`\A(?:[\pL\pN_][-.\pL\pN_]*/)*[\pL\pN_][-.\pL\pN_]*\z`)

// A ref is the path of a file.
const (
	maxRef     = 4095 // PATH_MAX, less the NUL
	maxRefPart = 255  // NAME_MAX
)

// ParseRef checks that s is a valid name for a ref. That excludes the names that
// libostree would fail to write when it has written others already.
func ParseRef(s string) (Ref, error) {
	if len(s) > maxRef {
		return "", fmt.Errorf("invalid ref name %.40q…: longer than %d bytes", s, maxRef)
	}
	if !refNames.MatchString(s) {
		return "", fmt.Errorf("invalid ref name %q", s)
	}
	if _, err := ParseChecksum(s); err == nil {
		return "", fmt.Errorf("invalid ref name %q: it looks like a checksum", s)
	}
	for part := range strings.SplitSeq(s, "/") {
		if len(part) > maxRefPart {
			return "", fmt.Errorf("invalid ref name %.40q…: a part of it is longer than %d bytes", s, maxRefPart)
		}
	}
	return Ref(s), nil
}

// Refs maps refs to the commits they point to.
type Refs map[Ref]Checksum

// Sorted returns the refs in the order of their names.
func (r Refs) Sorted() []Ref { return slices.Sorted(maps.Keys(r)) }

// temporaryRefs are the files that libostree, setting a ref, writes beside it and
// then renames (glnx_file_replace_contents_at). Whoever lists the refs at that
// moment finds them, and so does anybody later if the writer died in between.
var temporaryRefs = regexp.MustCompile(`(?:\A|/)tmp\.[A-Za-z0-9]{6}\z`)

// Refs returns the local refs of the repository: neither those of remotes nor
// those of mirrored collections, nor what has the name of a temporary file of
// libostree's.
func (r *Repo) Refs(ctx context.Context) (Refs, error) {
	// A temporary file may be gone when libostree wants to read it.
	const tries = 20
	for try := 1; ; try++ {
		refs, err := r.listRefs(ctx)
		if !errors.Is(err, ErrNotFound) || try == tries {
			return refs, err
		}
	}
}

func (r *Repo) listRefs(ctx context.Context) (Refs, error) {
	c, done := cancellable(ctx)
	defer done()
	var gerr *C.GError
	list := C.op_repo_list_refs(r.c, c, &gerr)
	if list == nil {
		return nil, gerror(gerr)
	}
	return takeRefs(list)
}

// takeRefs reads a list of names and checksums, less those of temporary files,
// and frees it.
func takeRefs(list **C.char) (Refs, error) {
	defer C.g_strfreev(list)
	n := int(C.g_strv_length(list))
	strv := unsafe.Slice(list, n)
	refs := make(Refs, n/2)
	for i := 0; i+1 < n; i += 2 {
		if temporaryRefs.MatchString(C.GoString(strv[i])) {
			continue
		}
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
