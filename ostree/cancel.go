package ostree

// #include "cgo.h"
import "C"

import (
	"context"
)

// cancellable returns a GCancellable that is cancelled when ctx is done, and the function that
// frees the GCancellable after the call.
func cancellable(ctx context.Context) (*C.GCancellable, func()) {
	c := C.g_cancellable_new()
	// AfterFunc would leave it to chance whether the call sees this in time.
	if ctx.Err() != nil {
		C.g_cancellable_cancel(c)
		return c, func() { C.g_object_unref(C.gpointer(c)) }
	}
	// The callback runs in a goroutine of its own and may still be at work
	// when stop returns, so it has its own reference.
	C.g_object_ref(C.gpointer(c))
	stop := context.AfterFunc(ctx, func() {
		C.g_cancellable_cancel(c)
		C.g_object_unref(C.gpointer(c))
	})
	return c, func() {
		if stop() {
			C.g_object_unref(C.gpointer(c))
		}
		C.g_object_unref(C.gpointer(c))
	}
}
