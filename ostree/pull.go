package ostree

// #include "pull.h"
import "C"

import (
	"context"
)

// PullFlags is a set of OstreeRepoPullFlags of libostree.
type PullFlags int

// The flags of a pull.
const (
	// PullMirror writes no refs: where commits are pulled by checksum, that leaves the
	// objects. With PullTrustedHTTP, into an archive repository, content objects are stored as
	// they arrive, unchecked.
	PullMirror PullFlags = C.OSTREE_REPO_PULL_FLAGS_MIRROR
	// PullCommitOnly pulls commit objects and their detached metadata, and nothing below.
	PullCommitOnly PullFlags = C.OSTREE_REPO_PULL_FLAGS_COMMIT_ONLY
	// PullTrustedHTTP does not compare objects from HTTP with their checksums.
	PullTrustedHTTP PullFlags = C.OSTREE_REPO_PULL_FLAGS_TRUSTED_HTTP
)

// PullOptions says what Pull brings, and how.
type PullOptions struct {
	// Remote is the name of a configured remote, or a file:// URL.
	Remote string
	// Commits are the commits to pull: without their parents, and without static deltas.
	Commits []Checksum
	Flags   PullFlags
	// Retries is how many times a request is made again that failed for a passing reason.
	Retries int
	// Progress, if set, is called from another goroutine every 100 ms while the pull runs,
	// and a last time before Pull returns.
	Progress func(PullProgress)
}

// Pull pulls commits in a transaction of its own. No signature is verified. What has arrived when it fails
// stays, and a commit without all of its objects is marked as partial. The error is ErrNotFound if the remote does not
// have an object.
//
// ctx is looked at between requests only: a transfer that stalls ends with its connection. Who does not
// wait for that may Close the Repo meanwhile.
func (r *Repo) Pull(ctx context.Context, opts PullOptions) error {
	repo, release, err := r.hold()
	if err != nil {
		return err
	}
	defer release()
	c, done := cancellable(ctx)
	defer done()
	remote, freeRemote := cstring(opts.Remote)
	defer freeRemote()
	sums := make([]string, len(opts.Commits))
	for i, sum := range opts.Commits {
		sums[i] = sum.String()
	}
	commits, freeCommits := cstrv(sums)
	defer freeCommits()

	copts := (*C.OpPullOptions)(C.g_malloc0(C.sizeof_OpPullOptions))
	defer C.g_free(C.gpointer(copts))
	copts.commits = commits
	copts.flags = C.OstreeRepoPullFlags(opts.Flags)
	copts.retries = C.guint32(opts.Retries)

	return withMainContext(func() error {
		progress := C.ostree_async_progress_new()
		defer C.g_object_unref(C.gpointer(progress))
		stop := watchProgress(progress, opts.Progress)
		defer stop()
		defer C.ostree_async_progress_finish(progress)
		var gerr *C.GError
		if C.op_pull(repo, remote, copts, progress, c, &gerr) == 0 {
			return gerror(gerr)
		}
		return nil
	})
}
