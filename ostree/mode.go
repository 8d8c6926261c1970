package ostree

// #include "cgo.h"
import "C"

// Mode is how a repository stores its objects.
type Mode string

const (
	ModeBare         Mode = "bare"
	ModeArchive      Mode = "archive"
	ModeBareUser     Mode = "bare-user"
	ModeBareUserOnly Mode = "bare-user-only"
)

var modes = map[C.OstreeRepoMode]Mode{
	C.OSTREE_REPO_MODE_BARE:           ModeBare,
	C.OSTREE_REPO_MODE_ARCHIVE:        ModeArchive,
	C.OSTREE_REPO_MODE_BARE_USER:      ModeBareUser,
	C.OSTREE_REPO_MODE_BARE_USER_ONLY: ModeBareUserOnly,
}

// Number returns the mode as libostree's OstreeRepoMode numbers it.
func (m Mode) Number() int32 {
	for number, mode := range modes {
		if mode == m {
			return int32(number)
		}
	}
	return -1
}

// Mode returns the repository's mode.
func (r *Repo) Mode() Mode { return modes[C.ostree_repo_get_mode(r.c)] }
