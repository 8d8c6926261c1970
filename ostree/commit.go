package ostree

// #include "commit.h"
import "C"

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"unsafe"

	glib "github.com/ostreedev/ostree-go/pkg/glibobject"
	"golang.org/x/sys/unix"
)

// Commit is what a commit object says (OSTREE_COMMIT_GVARIANT_FORMAT). Its metadata is in C memory until
// Close.
type Commit struct {
	Checksum  Checksum
	Parent    Checksum // zero for a commit without one
	Subject   string
	Body      string
	Timestamp uint64 // seconds since 1970, UTC
	Tree      Tree
	Partial   bool // marked as one of which objects are missing

	metadata *glib.GVariant // a{sv}
}

// LoadCommit reads a commit object, which has to be well-formed, and to have its checksum. The error is ErrNotFound if
// the commit is neither in the repository nor in a parent of it. The caller closes the Commit.
func (r *Repo) LoadCommit(sum Checksum) (*Commit, error) {
	var raw C.OpCommit
	// Also clears what a failed call has left.
	defer C.op_commit_clear(&raw)
	if r.loadStored(sum, &raw) {
		return newCommit(sum, &raw)
	}
	csum, free := cstring(sum.String())
	defer free()
	var gerr *C.GError
	if C.op_load_commit(r.c, csum, &raw, &gerr) == 0 {
		return nil, gerror(gerr)
	}
	return newCommit(sum, &raw)
}

// loadStored reads a commit as op_load_commit does, in half of the time: a server may have tens of thousands of refs. It reports
// whether that was all right, of a small commit in the repository itself; of any other, libostree knows more.
func (r *Repo) loadStored(sum Checksum, raw *C.OpCommit) bool {
	var object [4096]byte
	fd, err := unix.Openat(int(C.ostree_repo_get_dfd(r.c)), ArchivePath(ObjectCommit, sum), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, object[:])
	if err != nil || n == len(object) || sha256.Sum256(object[:n]) != sum {
		return false
	}
	partial, err := r.IsPartial(sum)
	if err != nil {
		return false
	}
	// A clone, so that the whole of the array need not be garbage.
	content, free := gbytes(bytes.Clone(object[:n]))
	defer free()
	var gerr *C.GError
	if C.op_parse_commit(content, raw, &gerr) == 0 {
		C.g_clear_error(&gerr)
		return false
	}
	raw.partial = gboolean(partial)
	return true
}

// newCommit returns what has been read, which stays the caller's.
func newCommit(sum Checksum, raw *C.OpCommit) (*Commit, error) {
	c := &Commit{
		Checksum:  sum,
		Subject:   C.GoString(raw.subject),
		Body:      C.GoString(raw.body),
		Timestamp: uint64(raw.timestamp),
		Partial:   raw.partial != 0,
	}
	if raw.parent != nil {
		parent, err := ParseChecksum(C.GoString(raw.parent))
		if err != nil {
			return nil, fmt.Errorf("commit %s: parent: %w", sum, err)
		}
		c.Parent = parent
	}
	var err error
	if c.Tree.Contents, err = ParseChecksum(C.GoString(raw.tree)); err != nil {
		return nil, fmt.Errorf("commit %s: root dirtree: %w", sum, err)
	}
	if c.Tree.Meta, err = ParseChecksum(C.GoString(raw.dirmeta)); err != nil {
		return nil, fmt.Errorf("commit %s: root dirmeta: %w", sum, err)
	}
	c.metadata = glib.ToGVariant(unsafe.Pointer(raw.metadata))
	c.metadata.Ref()
	return c, nil
}

// Close frees the commit's metadata, once; later calls do nothing. After it only the fields may be used.
func (c *Commit) Close() {
	if c.metadata != nil {
		c.metadata.Unref()
		c.metadata = nil
	}
}

// CommitObject returns the bytes of a commit object, over which signatures are made. Like that of LoadCommit
// it is well-formed, and has its checksum.
func (r *Repo) CommitObject(sum Checksum) ([]byte, error) {
	csum, free := cstring(sum.String())
	defer free()
	var gerr *C.GError
	object := C.op_commit_object(r.c, csum, &gerr)
	if object == nil {
		return nil, gerror(gerr)
	}
	return takeBytes(object), nil
}
