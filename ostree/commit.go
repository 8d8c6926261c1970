package ostree

// #include "glue.h"
import "C"

import (
	"fmt"
	"time"
	"unsafe"

	glib "github.com/ostreedev/ostree-go/pkg/glibobject"
)

// Keys of a commit's metadata that bind it to a ref and a collection
// (https://ostreedev.github.io/ostree/reference/ostree-Core-repository-independent-functions.html).
const (
	MetaRefBinding        = "ostree.ref-binding"
	MetaCollectionBinding = "ostree.collection-binding"
)

// Tree is the root of a commit's content: the checksums of its dirtree and of
// its dirmeta. Commits with equal trees have the same content.
type Tree struct {
	Contents, Meta Checksum
}

// Commit is a commit object. Close gives its metadata back.
type Commit struct {
	Checksum  Checksum
	Parent    Checksum // zero if it has none
	Subject   string
	Body      string
	Timestamp uint64 // seconds since 1970, UTC
	Tree      Tree
	Partial   bool // not all of its objects are in the repository

	metadata *glib.GVariant // a{sv}
}

// LoadCommit reads a commit object.
func (r *Repo) LoadCommit(sum Checksum) (*Commit, error) {
	csum, free := cstring(sum.String())
	defer free()
	var (
		raw  C.OpCommit
		gerr *C.GError
	)
	// Also clears what a failed call has left.
	defer C.op_commit_clear(&raw)
	if C.op_load_commit(r.c, csum, &raw, &gerr) == 0 {
		return nil, gerror(gerr)
	}
	c := &Commit{
		Checksum:  sum,
		Subject:   C.GoString(raw.subject),
		Body:      C.GoString(raw.body),
		Timestamp: uint64(raw.timestamp),
		Partial:   raw.partial != 0,
	}
	if raw.parent != nil {
		parent, err := ParseChecksum(C.GoString(raw.parent))
		if err != nil {
			return nil, fmt.Errorf("commit %s: parent: %w", sum, err)
		}
		c.Parent = parent
	}
	var err error
	if c.Tree.Contents, err = ParseChecksum(C.GoString(raw.tree)); err != nil {
		return nil, fmt.Errorf("commit %s: root dirtree: %w", sum, err)
	}
	if c.Tree.Meta, err = ParseChecksum(C.GoString(raw.dirmeta)); err != nil {
		return nil, fmt.Errorf("commit %s: root dirmeta: %w", sum, err)
	}
	c.metadata = glib.ToGVariant(unsafe.Pointer(raw.metadata))
	c.metadata.Ref()
	return c, nil
}

// Close gives the commit's metadata back. It may be repeated.
func (c *Commit) Close() {
	if c.metadata != nil {
		c.metadata.Unref()
		c.metadata = nil
	}
}

// Time returns the commit's timestamp.
func (c *Commit) Time() time.Time { return time.Unix(int64(c.Timestamp), 0).UTC() }

// MetaString returns the string that the commit's metadata has for a key. Whoever
// writes a commit chooses the types in it: one that is no string is none.
func (c *Commit) MetaString(key string) (string, bool) {
	value := c.lookup(key, "s")
	if value == nil {
		return "", false
	}
	defer C.g_variant_unref(value)
	return C.GoString(C.g_variant_get_string(value, nil)), true
}

// MetaStrings is MetaString for a list of strings.
func (c *Commit) MetaStrings(key string) ([]string, bool) {
	value := c.lookup(key, "as")
	if value == nil {
		return nil, false
	}
	defer C.g_variant_unref(value)
	var n C.gsize
	// What the list consists of is still the variant's.
	list := C.g_variant_get_strv(value, &n)
	defer C.g_free(C.gpointer(list))
	strings := make([]string, 0, n)
	for _, s := range unsafe.Slice(list, n) {
		strings = append(strings, C.GoString(s))
	}
	return strings, true
}

// lookup returns a reference to the value of a key, nil if there is none of that
// type.
func (c *Commit) lookup(key, kind string) *C.GVariant {
	ckey, freeKey := cstring(key)
	defer freeKey()
	ckind, freeKind := cstring(kind)
	defer freeKind()
	return C.op_metadata_lookup((*C.GVariant)(c.metadata.Ptr()), ckey, ckind)
}

// MetadataEdit is a change to a commit's metadata. What it does not name stays.
type MetadataEdit struct {
	Strings     map[string]string   // set to an "s"
	StringLists map[string][]string // set to an "as"
	Remove      []string
}

// apply returns the metadata of c, changed, for op_write_commit_like or
// op_metadata_end, which free it. Of a key that is there twice, the last one stays.
func (e MetadataEdit) apply(c *Commit) *C.GVariantDict {
	var metadata *C.GVariant
	if c.metadata != nil {
		metadata = (*C.GVariant)(c.metadata.Ptr())
	}
	dict := C.op_metadata_edit(metadata)
	for key, value := range e.Strings {
		ckey, freeKey := cstring(key)
		cvalue, freeValue := cstring(value)
		C.op_metadata_set_string(dict, ckey, cvalue)
		freeKey()
		freeValue()
	}
	for key, value := range e.StringLists {
		ckey, freeKey := cstring(key)
		cvalue, freeValue := cstrv(value)
		C.op_metadata_set_strv(dict, ckey, cvalue)
		freeKey()
		freeValue()
	}
	for _, key := range e.Remove {
		ckey, free := cstring(key)
		C.g_variant_dict_remove(dict, ckey)
		free()
	}
	return dict
}
