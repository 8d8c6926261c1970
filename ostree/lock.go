package ostree

// #include "cgo.h"
import "C"

import (
	"context"
)

// LockShared takes libostree's shared lock on the repository (its file .lock), which keeps others from pruning
// it, and returns the function that releases the lock, to be called once. It waits for a holder of the exclusive
// lock until ctx is done, but no more seconds than the option core.lock-timeout-secs of the repository says. A repository that may not be written is not locked, which is no error.
func (r *Repo) LockShared(ctx context.Context) (unlock func() error, err error) {
	c, done := cancellable(ctx)
	defer done()
	var gerr *C.GError
	if C.ostree_repo_lock_push(r.c, C.OSTREE_REPO_LOCK_SHARED, c, &gerr) == 0 {
		return nil, gerror(gerr)
	}
	return func() error {
		var gerr *C.GError
		if C.ostree_repo_lock_pop(r.c, C.OSTREE_REPO_LOCK_SHARED, nil, &gerr) == 0 {
			return gerror(gerr)
		}
		return nil
	}, nil
}
