package ostree

// #include "cgo.h"
import "C"

import (
	"runtime"
)

// withMainContext runs f on one OS thread, whose default main context is a new one: libostree's
// fetcher works in that, so several can work at once.
func withMainContext(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	context := C.g_main_context_new()
	defer C.g_main_context_unref(context)
	C.g_main_context_push_thread_default(context)
	defer C.g_main_context_pop_thread_default(context)
	return f()
}
