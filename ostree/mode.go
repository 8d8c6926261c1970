package ostree

// #include "cgo.h"
import "C"

// Mode is how a repository stores its objects, by the name that `ostree init --mode` takes
// (https://ostreedev.github.io/ostree/repo/).
type Mode string

// The modes that can be told apart; a repository of any other has the mode "".
const (
	ModeBare         Mode = "bare"           // files as they are, with owner and extended attributes
	ModeArchive      Mode = "archive"        // compressed, for any file server
	ModeBareUser     Mode = "bare-user"      // files, with owner and the like in one extended attribute
	ModeBareUserOnly Mode = "bare-user-only" // files, without owner and extended attributes
)

var modes = map[C.OstreeRepoMode]Mode{
	C.OSTREE_REPO_MODE_BARE:           ModeBare,
	C.OSTREE_REPO_MODE_ARCHIVE:        ModeArchive,
	C.OSTREE_REPO_MODE_BARE_USER:      ModeBareUser,
	C.OSTREE_REPO_MODE_BARE_USER_ONLY: ModeBareUserOnly,
}

// Number returns the number of the mode in OstreeRepoMode of libostree, which protocol 0 sends, and
// -1 for a mode that has none.
func (m Mode) Number() int32 {
	for number, mode := range modes {
		if mode == m {
			return int32(number)
		}
	}
	return -1
}

// Mode returns the mode of the repository.
func (r *Repo) Mode() Mode { return modes[C.ostree_repo_get_mode(r.c)] }
