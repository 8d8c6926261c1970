// Package held makes directories that are held with an flock by the process which uses them: so what a process has left
// behind that was killed can be told from what is in use, and removed.
package held

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Make makes a new directory in parent, whose name begins with prefix, and holds it until the file that it returns is
// closed.
func Make(parent, prefix string) (string, *os.File, error) {
	for {
		dir, err := os.MkdirTemp(parent, prefix)
		if err != nil {
			return "", nil, err
		}
		held, err := Hold(dir)
		switch {
		case err == nil:
			return dir, held, nil
		case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, os.ErrNotExist):
			// Another process took it for an abandoned one, in the moment
			// between its making and its holding.
			continue
		}
		os.Remove(dir)
		return "", nil, err
	}
}

// Hold takes the lock on a directory that is in place, until the file that it returns is closed. It is
// unix.EWOULDBLOCK if somebody else holds it, and os.ErrNotExist if it has been removed or replaced meanwhile.
func Hold(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	if !inPlace(f, dir) {
		f.Close()
		return nil, os.ErrNotExist
	}
	return f, nil
}

// inPlace reports whether path still leads to the open file f.
func inPlace(f *os.File, path string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(path)
	return err == nil && os.SameFile(open, now)
}
