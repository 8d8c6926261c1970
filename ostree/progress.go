package ostree

// #include "cgo.h"
import "C"

import (
	"time"
	"unsafe"
)

// PullProgress is how far a pull has come.
type PullProgress struct {
	Fetched   int    // objects that arrived
	Content   int    // those of them that are content objects
	Requested int    // objects known to be needed so far; grows
	Bytes     uint64 // transferred
}

// progressInterval is how often PullOptions.Progress is called.
const progressInterval = 100 * time.Millisecond

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
