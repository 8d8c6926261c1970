package ostree

// #include "pull.h"
import "C"

import (
	"context"
)

// PullFlags are libostree's OstreeRepoPullFlags.
type PullFlags int

const (
	// PullMirror writes nothing but objects where commits are pulled by
	// checksum. With PullTrustedHTTP, into an archive repository, content
	// objects are stored as they arrive, unchecked.
	PullMirror PullFlags = C.OSTREE_REPO_PULL_FLAGS_MIRROR
	// PullCommitOnly pulls commit objects and their detached metadata.
	PullCommitOnly PullFlags = C.OSTREE_REPO_PULL_FLAGS_COMMIT_ONLY
	// PullUntrusted checks the checksums of objects from a file:// URL.
	PullUntrusted PullFlags = C.OSTREE_REPO_PULL_FLAGS_UNTRUSTED
	// PullTrustedHTTP does not check the checksums of objects from HTTP.
	PullTrustedHTTP PullFlags = C.OSTREE_REPO_PULL_FLAGS_TRUSTED_HTTP
)

// PullOptions says what to pull, and how.
type PullOptions struct {
	// Remote is the name of a configured remote, or a file:// URL.
	Remote string
	// Commits are pulled without their parents and without static deltas.
	Commits []Checksum
	Flags   PullFlags
	// Retries is how often a request that failed for a passing reason is
	// made again.
	Retries int
	// Progress, if set, is called now and then from another goroutine while
	// the pull runs, and a last time at its end.
	Progress func(PullProgress)
}

// Pull pulls commits in a transaction of its own. Signatures are not looked at. The GCancellable that ctx
// becomes is looked at between requests only: a transfer that stalls does not
// end before its connection does.
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
