package ostree

// #include "cgo.h"
import "C"

import (
	"os"

	"golang.org/x/sys/unix"
)

// IsPartial reports whether the repository has a mark that objects of a commit are missing
// (state/CHECKSUM.commitpartial). The commit itself need not be there.
func (r *Repo) IsPartial(sum Checksum) (bool, error) {
	var stat unix.Stat_t
	err := unix.Fstatat(int(C.ostree_repo_get_dfd(r.c)), "state/"+sum.String()+".commitpartial", &stat, 0)
	if err == unix.ENOENT {
		return false, nil
	}
	return err == nil, os.NewSyscallError("stat", err)
}

// markPartial sets the mark that IsPartial reports, or removes it.
func (r *Repo) markPartial(sum Checksum, partial bool) error {
	csum, free := cstring(sum.String())
	defer free()
	var gerr *C.GError
	if C.ostree_repo_mark_commit_partial(r.c, csum, gboolean(partial), &gerr) == 0 {
		return gerror(gerr)
	}
	return nil
}
