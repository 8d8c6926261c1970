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

// Digest is what PublishedDigest returns.
type Digest [sha256.Size]byte

// PublishedDigest returns the digest of what would be published of a commit: equal for the one that is pushed and
// for what is written in its place where it is published, whose bindings are others, and for no other.
func (c *Commit) PublishedDigest() Digest {
	return c.ContentDigest(MetaRefBinding, MetaCollectionBinding, MetaFlatpakRef, MetaFlatpakFrom)
}

// ContentDigest returns a SHA-256 digest of what a commit publishes: its tree, timestamp, subject, body, and its
// metadata except for some keys. The parent does not count, nor does the order of the metadata. So a commit
// and one that WriteCommitLike made of it, with edits of those keys only, have equal digests.
func (c *Commit) ContentDigest(except ...string) Digest {
	d := digest{sha256.New()}
	d.field(c.Tree.Contents[:])
	d.field(c.Tree.Meta[:])
	d.field(binary.BigEndian.AppendUint64(nil, c.Timestamp))
	d.field([]byte(c.Subject))
	d.field([]byte(c.Body))
	metadata := MetadataEdit{Remove: except}.apply(c)
	defer C.g_variant_unref(metadata)
	d.metadata(metadata)
	return Digest(d.Sum(nil))
}

// digest is the hash of a sequence of fields.
type digest struct{ hash.Hash }

// field adds a field, after its length, which keeps it apart from its neighbours.
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
