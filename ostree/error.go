package ostree

// #include "cgo.h"
import "C"

import (
	"io/fs"
)

// Error is an error of libostree or of GLib below it. Domain and Code are
// GLib's, such as "g-io-error-quark" and 1 for G_IO_ERROR_NOT_FOUND
// (https://docs.gtk.org/gio/error.IOEnum.html).
type Error struct {
	Domain  string
	Code    int
	Message string
}

func (e *Error) Error() string { return e.Message }

// Is makes errors.Is compare domain and code, and lets the errors of package
// io/fs stand for those of GLib that mean the same.
func (e *Error) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		return e.Is(ErrNotFound)
	case fs.ErrExist:
		return e.Is(ErrExists)
	case fs.ErrPermission:
		return e.Is(ErrPermissionDenied)
	}
	t, ok := target.(*Error)
	return ok && t.Domain == e.Domain && t.Code == e.Code
}

// The errors that callers tell apart with errors.Is.
var (
	ErrNotFound         = &Error{ioErrorDomain, C.G_IO_ERROR_NOT_FOUND, "not found"}
	ErrExists           = &Error{ioErrorDomain, C.G_IO_ERROR_EXISTS, "exists already"}
	ErrPermissionDenied = &Error{ioErrorDomain, C.G_IO_ERROR_PERMISSION_DENIED, "permission denied"}
	ErrNoSpace          = &Error{ioErrorDomain, C.G_IO_ERROR_NO_SPACE, "no space left on device"}
	ErrCancelled        = &Error{ioErrorDomain, C.G_IO_ERROR_CANCELLED, "operation was cancelled"}
	ErrNoSignature      = &Error{gpgErrorDomain, C.OSTREE_GPG_ERROR_NO_SIGNATURE, "no signature"}
	ErrInvalidSignature = &Error{gpgErrorDomain, C.OSTREE_GPG_ERROR_INVALID_SIGNATURE, "invalid signature"}
	ErrMissingKey       = &Error{gpgErrorDomain, C.OSTREE_GPG_ERROR_MISSING_KEY, "signed with a key that is not trusted"}
)

const (
	ioErrorDomain  = "g-io-error-quark"
	gpgErrorDomain = "OstreeGpgError"
)
