package quarantine

import (
	"strings"

	"ostree-push/ostree"
)

// maxConfig is far more than any config has, in bytes.
const maxConfig = 1 << 20

// MaxSize is how large a file of a repository may be, in bytes; -1 is any size
// that the disk has room for, which is watched elsewhere.
func MaxSize(path string) int64 {
	switch {
	case path == "config":
		return maxConfig
	case strings.HasSuffix(path, ".filez"):
		return -1
	}
	return ostree.MaxMetadataSize
}
