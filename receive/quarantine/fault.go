package quarantine

import (
	"context"
	"errors"
	"syscall"

	"ostree-push/ostree"
)

// faultError is an error that the sender is to blame for.
type faultError struct{ error }

func (e *faultError) Unwrap() error { return e.error }

// Fault says that the sender is to blame for an error: something that has been sent is wrong, or was not asked for, so that it
// is of no use to anybody who resumes. One of our own stays as it is: that we were to stop (ostree.ErrCancelled,
// context.Canceled), or an error of the system.
func Fault(err error) error {
	var number syscall.Errno
	if err == nil || errors.Is(err, ostree.ErrCancelled) || errors.Is(err, context.Canceled) || errors.As(err, &number) {
		return err
	}
	return &faultError{err}
}

// Fault reports that the sender is to blame, as errors of other packages may that are of the same kind.
func (e *faultError) Fault() bool { return true }

// IsFault reports whether the sender is to blame for an error: by Fault, or because an error in its chain has a method
// Fault() bool that says so, as a stream.ProtocolError has.
func IsFault(err error) bool {
	var fault interface{ Fault() bool }
	return errors.As(err, &fault) && fault.Fault()
}
