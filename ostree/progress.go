package ostree

// #include "cgo.h"
import "C"

import (
	"time"
	"unsafe"
)

// PullProgress is how far a pull has come, as OstreeAsyncProgress has it. The numbers belong to
// moments that lie a little apart.
type PullProgress struct {
	Fetched   int    // objects that have arrived
	Content   int    // content objects among Fetched
	Requested int    // objects that are known to be needed, which grows as trees arrive
	Bytes     uint64 // that have arrived
}

// progressInterval is the time between two calls of PullOptions.Progress.
const progressInterval = 100 * time.Millisecond

// watchProgress calls report with the values of progress, again and again, from a goroutine that
// ends in stop.
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
