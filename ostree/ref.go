package ostree

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// Ref is the name of a local ref, such as "app/org.example.App/x86_64/stable": one without a remote.
// ParseRef makes one of text.
type Ref string

// isRefName reports whether s is what ostree_validate_rev allows: parts of letters and digits of all scripts, "_", "-" and ".", which the
// last two do not begin. There may be a great many.
func isRefName(s string) bool {
	begins := true // a part
	for _, r := range s {
		switch {
		case unicode.IsLetter(r) || unicode.IsNumber(r) || r == '_':
			begins = false
		case begins || r != '-' && r != '.' && r != '/':
			return false
		default:
			begins = r == '/'
		}
	}
	return !begins
}

// A ref is the path of a file.
const (
	maxRef     = 4095 // PATH_MAX, less the NUL
	maxRefPart = 255  // NAME_MAX
)

// ParseRef returns s as a ref if it is the name of one: parts with a slash between them, of letters and
// digits of all scripts, "_", and, but for the first character, "-" and "." (ostree_validate_rev). Names
// that libostree takes, but cannot write or reads as something else, are errors too: parts of more than
// 255 bytes, names of more than 4095, and checksums.
func ParseRef(s string) (Ref, error) {
	if len(s) > maxRef {
		return "", fmt.Errorf("invalid ref name %.40q…: longer than %d bytes", s, maxRef)
	}
	if !isRefName(s) {
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

// Refs has the commit of each ref.
type Refs map[Ref]Checksum

// Sorted returns the refs in the order of their names.
func (r Refs) Sorted() []Ref { return slices.Sorted(maps.Keys(r)) }

// list returns name, checksum, name, checksum, …, in the order of the names.
func (r Refs) list() []string {
	list := make([]string, 0, 2*len(r))
	for _, ref := range r.Sorted() {
		list = append(list, string(ref), r[ref].String())
	}
	return list
}
