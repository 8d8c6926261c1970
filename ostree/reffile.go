package ostree

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// headsDir is where the local refs are, below the repository.
const headsDir = "refs/heads"

// refValue is what the file of a ref has.
type refValue struct {
	sum     Checksum
	isAlias bool
	alias   Ref // "": the link leads to no ref
}

// errNoCommit is that a ref's file names no commit.
var errNoCommit = errors.New("the file of the ref is empty, or has no checksum in it")

// readRef reads the file of a ref.
func readRef(heads string, ref Ref) (v refValue, err error) {
	file := filepath.Join(heads, string(ref))
	if link, err := os.Readlink(file); err == nil {
		v.isAlias = true
		v.alias = aliasOf(ref, link)
		if v.alias == "" {
			return v, fmt.Errorf("it is a link to %q, which is no ref", link)
		}
	}
	v.sum, err = readChecksumFile(file)
	return v, err
}

// readChecksumFile reads a file that has nothing but a checksum and white space in it. There
// may be a great many of them, so it makes no call more than it must.
func readChecksumFile(file string) (sum Checksum, err error) {
	fd := -1
	for fd, err = -1, unix.EINTR; err == unix.EINTR; {
		fd, err = unix.Open(file, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return sum, err
	}
	defer unix.Close(fd)
	var content [256]byte
	n := 0
	for n, err = 0, unix.EINTR; err == unix.EINTR; {
		n, err = unix.Read(fd, content[:])
	}
	if err != nil {
		return sum, err
	}
	if sum, err = ParseChecksum(string(bytes.TrimSpace(content[:n]))); err != nil {
		return sum, errNoCommit
	}
	return sum, nil
}

// aliasOf returns the ref that a link in the place of ref leads to, "" if none.
func aliasOf(ref Ref, link string) Ref {
	if path.IsAbs(link) {
		return ""
	}
	to, err := ParseRef(path.Join(path.Dir(string(ref)), link))
	if err != nil {
		return ""
	}
	return to
}
