package ostree

// #include "glue.h"
import "C"

import (
	"context"
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

// Refs returns the local refs of the repository: neither those of remotes nor
// those of mirrored collections.
func (r *Repo) Refs(ctx context.Context) (Refs, error) {
	c, done := cancellable(ctx)
	defer done()
	var gerr *C.GError
	list := C.op_repo_list_refs(r.c, c, &gerr)
	if list == nil {
		return nil, gerror(gerr)
	}
	return takeRefs(list)
}

// takeRefs reads a list of names and checksums, and frees it.
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
