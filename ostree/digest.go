package ostree

// #include "cgo.h"
import "C"

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"slices"
)

// ContentDigest returns a digest of what a commit is, wherever it is: its tree,
// its timestamp, its subject and body, and its metadata but for some keys. Its
// parent does not count, nor does the order in which the metadata is stored. Commits
// written by WriteCommitLike with edits of those keys only have equal digests.
func (c *Commit) ContentDigest(except ...string) [sha256.Size]byte {
	d := digest{sha256.New()}
	d.field(c.Tree.Contents[:])
	d.field(c.Tree.Meta[:])
	d.field(binary.BigEndian.AppendUint64(nil, c.Timestamp))
	d.field([]byte(c.Subject))
	d.field([]byte(c.Body))
	metadata := MetadataEdit{Remove: except}.apply(c)
	defer C.g_variant_unref(metadata)
	d.metadata(metadata)
	return [sha256.Size]byte(d.Sum(nil))
}

// digest is that of a sequence of fields.
type digest struct{ hash.Hash }

// field adds a field. Its length keeps it apart from the next one.
func (d digest) field(data []byte) {
	d.Write(binary.BigEndian.AppendUint64(nil, uint64(len(data))))
	d.Write(data)
}

// metadata adds an a{sv} as key, type and value of each entry in the
// order of the keys, of which none is there twice. LoadCommit reads only what is in normal
// form, and then equal values are equal bytes, wherever they are stored.
func (d digest) metadata(metadata *C.GVariant) {
	entries := map[string]C.gsize{}
	for i := range C.g_variant_n_children(metadata) {
		var key *C.char
		C.g_variant_unref(C.op_variant_entry(metadata, i, &key))
		entries[C.GoString(key)] = i
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		var key *C.char
		value := C.op_variant_entry(metadata, entries[name], &key)
		d.field([]byte(name))
		d.field([]byte(C.GoString(C.g_variant_get_type_string(value))))
		d.field(takeBytes(C.g_variant_get_data_as_bytes(value)))
		C.g_variant_unref(value)
	}
}
