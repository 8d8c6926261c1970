package ostree

// #include "digest.h"
import "C"

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
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
	if c.metadata != nil {
		cexcept, free := cstrv(except)
		defer free()
		// LoadCommit reads only what is in normal form, and then equal values are equal bytes, wherever they are stored.
		d.Write(takeBytes(C.op_digest_fields((*C.GVariant)(c.metadata.Ptr()), cexcept)))
	}
	return Digest(d.Sum(nil))
}

// digest is the hash of a sequence of fields.
type digest struct{ hash.Hash }

// field adds a field, after its length, which keeps it apart from its neighbours.
func (d digest) field(data []byte) {
	d.Write(binary.BigEndian.AppendUint64(nil, uint64(len(data))))
	d.Write(data)
}
