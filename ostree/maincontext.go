package ostree

// #include "cgo.h"
import "C"

import (
	"runtime"
)

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
