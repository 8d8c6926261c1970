package ostree

// #include "glue.h"
import "C"

import (
	"unsafe"
)

// cstring returns a copy of s in C memory and the function that frees it.
func cstring(s string) (*C.char, func()) {
	c := C.CString(s)
	return c, func() { C.free(unsafe.Pointer(c)) }
}

// cstrv returns a NULL-terminated copy of list in C memory and the function
// that frees it.
func cstrv(list []string) (**C.char, func()) {
	c := (**C.char)(C.g_malloc0_n(C.gsize(len(list)+1), C.gsize(unsafe.Sizeof(uintptr(0)))))
	strv := unsafe.Slice(c, len(list))
	for i, s := range list {
		strv[i] = C.CString(s)
	}
	return c, func() { C.g_strfreev(c) }
}

// takeString copies a string that the caller owns, and frees it. NULL is "".
func takeString(c *C.char) string {
	defer C.g_free(C.gpointer(c))
	return C.GoString(c)
}
