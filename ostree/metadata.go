package ostree

// #include "metadata.h"
import "C"

import (
	"unsafe"
)

// Keys of a commit's metadata that bind the commit to refs, a list of strings, and to a collection, a string
// (https://ostreedev.github.io/ostree/reference/ostree-Core-repository-independent-functions.html).
const (
	MetaRefBinding        = "ostree.ref-binding"
	MetaCollectionBinding = "ostree.collection-binding"
)

// Keys of a commit's metadata that say where flatpak's commits belong, and what they were made from, both strings.
const (
	MetaFlatpakRef  = "xa.ref"
	MetaFlatpakFrom = "xa.from_commit"
)

// MetaString returns the string that the commit's metadata has for a key. The bool is false if the key is not
// there, or has a value of another type, which is up to whoever wrote the commit.
func (c *Commit) MetaString(key string) (string, bool) {
	value := c.lookup(key, "s")
	if value == nil {
		return "", false
	}
	defer C.g_variant_unref(value)
	return C.GoString(C.g_variant_get_string(value, nil)), true
}

// MetaStrings returns the list of strings that the commit's metadata has for a key. The bool is false if the key
// is not there, or has a value of another type, which is up to whoever wrote the commit.
func (c *Commit) MetaStrings(key string) ([]string, bool) {
	value := c.lookup(key, "as")
	if value == nil {
		return nil, false
	}
	defer C.g_variant_unref(value)
	var n C.gsize
	// The strings in the list are still the variant's.
	list := C.g_variant_get_strv(value, &n)
	defer C.g_free(C.gpointer(list))
	strings := make([]string, 0, n)
	for _, s := range unsafe.Slice(list, n) {
		strings = append(strings, C.GoString(s))
	}
	return strings, true
}

// lookup returns the value of a key, which the caller frees, or nil if there is none of that
// GVariant type.
func (c *Commit) lookup(key, kind string) *C.GVariant {
	ckey, freeKey := cstring(key)
	defer freeKey()
	ckind, freeKind := cstring(kind)
	defer freeKind()
	return C.op_metadata_lookup((*C.GVariant)(c.metadata.Ptr()), ckey, ckind)
}

// MetadataEdit is a change to a commit's metadata, by keys. Entries of other keys stay.
type MetadataEdit struct {
	Strings     map[string]string   // keys to set to a string ("s")
	StringLists map[string][]string // keys to set to a list of strings ("as")
	Remove      []string            // keys to remove, if they are there
}

// apply returns the metadata of c, changed, as an a{sv} that the caller gives back. Of a key that
// is there twice, the last one stays.
func (e MetadataEdit) apply(c *Commit) *C.GVariant {
	var metadata *C.GVariant
	if c.metadata != nil {
		metadata = (*C.GVariant)(c.metadata.Ptr())
	}
	dict := C.g_variant_dict_new(metadata)
	defer C.g_variant_dict_unref(dict)
	for key, value := range e.Strings {
		ckey, freeKey := cstring(key)
		cvalue, freeValue := cstring(value)
		C.g_variant_dict_insert_value(dict, ckey, C.g_variant_new_string(cvalue))
		freeKey()
		freeValue()
	}
	for key, value := range e.StringLists {
		ckey, freeKey := cstring(key)
		cvalue, freeValue := cstrv(value)
		C.g_variant_dict_insert_value(dict, ckey, C.g_variant_new_strv(cvalue, -1))
		freeKey()
		freeValue()
	}
	for _, key := range e.Remove {
		ckey, free := cstring(key)
		C.g_variant_dict_remove(dict, ckey)
		free()
	}
	return C.g_variant_ref_sink(C.g_variant_dict_end(dict))
}
