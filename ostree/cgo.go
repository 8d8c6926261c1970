package ostree

// #cgo pkg-config: ostree-1 gio-unix-2.0 zlib
// #include "cgo.h"
import "C"

import (
	"unsafe"
)

// gerror turns the GError of a failed call into an *Error, and frees it. It is called once for each
// call that failed.
func gerror(e *C.GError) error {
	if e == nil {
		return &Error{Message: "libostree failed without saying why"}
	}
	defer C.g_error_free(e)
	return &Error{
		Domain:  C.GoString(C.g_quark_to_string(e.domain)),
		Code:    int(e.code),
		Message: C.GoString(e.message),
	}
}

func gboolean(b bool) C.gboolean {
	if b {
		return C.TRUE
	}
	return C.FALSE
}

// cstringOrNil is cstring, but NULL for "".
func cstringOrNil(s string) (*C.char, func()) {
	if s == "" {
		return nil, func() {}
	}
	return cstring(s)
}

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

// takeString returns a copy of a string that C gave away, which it frees. NULL is "".
func takeString(c *C.char) string {
	defer C.g_free(C.gpointer(c))
	return C.GoString(c)
}

// takeBytes returns a copy of bytes that C gave away, which it frees.
func takeBytes(bytes *C.GBytes) []byte {
	defer C.g_bytes_unref(bytes)
	var size C.gsize
	data := C.g_bytes_get_data(bytes, &size)
	return append([]byte{}, unsafe.Slice((*byte)(data), int(size))...)
}

// gbytes returns a copy of data in C memory and the function that gives it back.
func gbytes(data []byte) (*C.GBytes, func()) {
	var bytes *C.GBytes
	if len(data) == 0 {
		bytes = C.g_bytes_new(nil, 0)
	} else {
		bytes = C.g_bytes_new(C.gconstpointer(unsafe.Pointer(&data[0])), C.gsize(len(data)))
	}
	return bytes, func() { C.g_bytes_unref(bytes) }
}
