package ostree

// #include "commit.h"
import "C"

import (
	"fmt"
	"time"
	"unsafe"

	glib "github.com/ostreedev/ostree-go/pkg/glibobject"
)

// Commit is a commit object. Close gives its metadata back.
type Commit struct {
	Checksum  Checksum
	Parent    Checksum // zero if it has none
	Subject   string
	Body      string
	Timestamp uint64 // seconds since 1970, UTC
	Tree      Tree
	Partial   bool // not all of its objects are in the repository

	metadata *glib.GVariant // a{sv}
}

// LoadCommit reads a commit object.
func (r *Repo) LoadCommit(sum Checksum) (*Commit, error) {
	csum, free := cstring(sum.String())
	defer free()
	var (
		raw  C.OpCommit
		gerr *C.GError
	)
	// Also clears what a failed call has left.
	defer C.op_commit_clear(&raw)
	if C.op_load_commit(r.c, csum, &raw, &gerr) == 0 {
		return nil, gerror(gerr)
	}
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

// Close gives the commit's metadata back. It may be repeated.
func (c *Commit) Close() {
	if c.metadata != nil {
		c.metadata.Unref()
		c.metadata = nil
	}
}

// Time returns the commit's timestamp.
func (c *Commit) Time() time.Time { return time.Unix(int64(c.Timestamp), 0).UTC() }

// CommitObject returns a commit object as it is stored, which is what
// signatures are made over. It has been compared with its checksum.
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
