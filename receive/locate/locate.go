// Package locate finds the repository that a pusher names: below a root, if there is one, and without following
// links that are put in the way after it was found.
package locate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"ostree-push/cli"
	"ostree-push/report"
)

// Location is where a repository is. Whoever finds one closes it.
type Location struct {
	Name string   // as the pusher calls it
	Abs  string   // the absolute path at which it was found, for records; see Path and ForOthers
	dir  *os.File // the directory itself, if it has to be below a root
}

// NotFound is the answer to a name that leads to no repository, or to one that is none of the pusher's
// business: nothing in it says which.
func NotFound(name string) error {
	return cli.Hint(fmt.Errorf("repo %s not found", report.Printable(name)),
		"REPO is a path on the server: from the account's home, or from root if its configuration has one")
}

// Find finds the repository that a pusher calls name: a path from the working directory, or from root if that is not "",
// and then only one below it. Everything else, whatever there may be, is NotFound.
func Find(root, name string) (*Location, error) {
	if root == "" {
		abs, err := filepath.Abs(name)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(abs); errors.Is(err, fs.ErrNotExist) {
			return nil, NotFound(name)
		}
		return &Location{Name: name, Abs: abs}, nil
	}
	at, err := findBelow(root, name)
	if err != nil {
		return nil, NotFound(name)
	}
	return at, nil
}

func findBelow(root, name string) (*Location, error) {
	realRoot, err := realPath(root)
	if err != nil {
		return nil, err
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(root, path)
	}
	real, err := realPath(path)
	if err != nil {
		return nil, err
	}
	below, err := filepath.Rel(realRoot, real)
	if err != nil {
		return nil, err
	}
	if !filepath.IsLocal(below) {
		return nil, fs.ErrNotExist
	}
	dir, err := openBelow(realRoot, below)
	if err != nil {
		return nil, err
	}
	return &Location{name, real, dir}, nil
}

// openBelow opens the directory at a path without links below root: links that
// have come in since the path was found to have none are not followed.
func openBelow(root, path string) (*os.File, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	fd, err := unix.Open(root, flags, 0)
	if err != nil {
		return nil, err
	}
	for part := range strings.SplitSeq(path, "/") {
		next, err := unix.Openat(fd, part, flags|unix.O_NOFOLLOW, 0)
		unix.Close(fd)
		if err != nil {
			return nil, err
		}
		fd = next
	}
	return os.NewFile(uintptr(fd), filepath.Join(root, path)), nil
}

// realPath returns the absolute path of what path leads to.
func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// Path returns a path by which this process, and no other, gets to the directory that was
// found, whatever is at its path by now.
func (l *Location) Path() string {
	if l.dir == nil {
		return l.Abs
	}
	path := fmt.Sprintf("/proc/self/fd/%d", l.dir.Fd())
	if _, err := os.Stat(path); err != nil {
		return l.Abs // there is no /proc
	}
	return path
}

// ForOthers returns the path for other programs. It is an error if that does not lead to the
// directory that was found any more.
func (l *Location) ForOthers() (string, error) {
	if l.dir == nil {
		return l.Abs, nil
	}
	found, err := l.dir.Stat()
	if err != nil {
		return "", err
	}
	now, err := os.Stat(l.Abs)
	if err != nil || !os.SameFile(found, now) {
		return "", fmt.Errorf("repo %s has been moved", report.Printable(l.Name))
	}
	return l.Abs, nil
}

// Close lets go of the directory.
func (l *Location) Close() {
	if l.dir != nil {
		l.dir.Close()
	}
}
