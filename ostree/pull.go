package ostree

// #include "glue.h"
import "C"

import (
	"context"
	"runtime"
	"time"
	"unsafe"
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

// PullProgress is how far a pull has come.
type PullProgress struct {
	Fetched   int    // objects that arrived
	Content   int    // those of them that are content objects
	Requested int    // objects known to be needed so far; grows
	Bytes     uint64 // transferred
}

// progressInterval is how often PullOptions.Progress is called.
const progressInterval = 100 * time.Millisecond

// Pull pulls commits in a transaction of its own. Signatures are not looked at. The GCancellable that ctx
// becomes is looked at between requests only: a transfer that stalls does not
// end before its connection does.
func (r *Repo) Pull(ctx context.Context, opts PullOptions) error {
	return r.pull(ctx, opts)
}

func (r *Repo) pull(ctx context.Context, opts PullOptions) error {
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

// FetchSummary fetches the summary of a configured remote. A remote without
// one is ErrNotFound.
func (r *Repo) FetchSummary(ctx context.Context, remote string, retries int) ([]byte, error) {
	repo, release, err := r.hold()
	if err != nil {
		return nil, err
	}
	defer release()
	c, done := cancellable(ctx)
	defer done()
	cremote, free := cstring(remote)
	defer free()
	var summary []byte
	err = withMainContext(func() error {
		var gerr *C.GError
		bytes := C.op_fetch_summary(repo, cremote, C.guint32(retries), c, &gerr)
		if bytes == nil {
			return gerror(gerr)
		}
		summary = takeBytes(bytes)
		return nil
	})
	return summary, err
}

// withMainContext runs f on one OS thread with a main context of its own as
// the thread's default, which is where libostree's fetcher lives.
func withMainContext(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	context := C.g_main_context_new()
	defer C.g_main_context_unref(context)
	C.g_main_context_push_thread_default(context)
	defer C.g_main_context_pop_thread_default(context)
	return f()
}

// watchProgress calls report with the values of progress until the function it
// returns is called.
func watchProgress(progress *C.OstreeAsyncProgress, report func(PullProgress)) (stop func()) {
	if report == nil {
		return func() {}
	}
	keys := map[string]*C.char{}
	for _, key := range []string{"fetched", "metadata-fetched", "requested", "bytes-transferred"} {
		keys[key] = C.CString(key)
	}
	count := func(key string) int { return int(C.ostree_async_progress_get_uint(progress, keys[key])) }
	read := func() {
		report(PullProgress{
			Fetched:   count("fetched"),
			Content:   max(0, count("fetched")-count("metadata-fetched")),
			Requested: count("requested"),
			Bytes:     uint64(C.ostree_async_progress_get_uint64(progress, keys["bytes-transferred"])),
		})
	}
	quit, finished := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(finished)
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				read()
			case <-quit:
				read()
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-finished
		for _, key := range keys {
			C.free(unsafe.Pointer(key))
		}
	}
}

func gboolean(b bool) C.gboolean {
	if b {
		return C.TRUE
	}
	return C.FALSE
}
