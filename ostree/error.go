package ostree

// #include "cgo.h"
import "C"

import (
	"io/fs"
)

// Error is an error of libostree, or of GLib below it: a GError
// (https://docs.gtk.org/glib/struct.Error.html).
type Error struct {
	Domain  string // which family of codes, such as "g-io-error-quark"; "" if nothing was said
	Code    int    // of the domain, such as 1 for G_IO_ERROR_NOT_FOUND
	Message string
}

// Error returns the message alone.
func (e *Error) Error() string { return e.Message }

// Is makes errors.Is compare domain and code. fs.ErrNotExist, fs.ErrExist and fs.ErrPermission
// stand for ErrNotFound, ErrExists and ErrPermissionDenied.
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

// Errors to compare with by errors.Is: those of libostree have other messages. The first five are codes of
// GIOErrorEnum (https://docs.gtk.org/gio/error.IOEnum.html), the others of OstreeGpgError.
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
