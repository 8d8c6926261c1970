package receive

import "ostree-push/ostree"

// Keys of a commit's metadata that say where flatpak's commits belong, and what they were
// made from.
const (
	metaFlatpakRef  = "xa.ref"
	metaFlatpakFrom = "xa.from_commit"
)

// publishedDigest returns a digest of what would be published of a commit: equal for the one
// that is offered and for what merging it writes, and for no other.
func publishedDigest(commit *ostree.Commit) [32]byte {
	return commit.ContentDigest(ostree.MetaRefBinding, ostree.MetaCollectionBinding, metaFlatpakRef, metaFlatpakFrom)
}
