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

// headsDir is the directory of the local refs, below the repository.
const headsDir = "refs/heads"

// refValue is what the file of a ref says.
type refValue struct {
	sum     Checksum
	isAlias bool
	alias   Ref // "": the link leads to no ref
}

// errNoCommit says why the file of a ref names no commit.
var errNoCommit = errors.New("the file of the ref is empty, or has no checksum in it")

// readRef reads the file of a ref, or what a link in its place leads to.
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

// readChecksumFile reads a file that has nothing but a checksum and white space in it. A repository
// may have a great many refs, so no call is made that need not be.
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

// aliasOf returns the ref that a link in the place of ref leads to, "" for a link to something else.
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
