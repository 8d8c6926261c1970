package ostree

// #include "object.h"
import "C"

import (
	"context"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxMetadataSize is the greatest size, in bytes, of an object that is no content object
// (OSTREE_MAX_METADATA_SIZE).
const MaxMetadataSize = C.OSTREE_MAX_METADATA_SIZE

// ObjectType is the type of an object, with the number that it has in OstreeObjectType of libostree.
type ObjectType byte

// The types of the objects that a commit consists of. ObjectFile is a content object, the others are metadata.
const (
	ObjectFile    ObjectType = C.OSTREE_OBJECT_TYPE_FILE
	ObjectDirTree ObjectType = C.OSTREE_OBJECT_TYPE_DIR_TREE
	ObjectDirMeta ObjectType = C.OSTREE_OBJECT_TYPE_DIR_META
	ObjectCommit  ObjectType = C.OSTREE_OBJECT_TYPE_COMMIT
)

var extensions = map[ObjectType]string{
	ObjectFile: "filez", ObjectDirTree: "dirtree", ObjectDirMeta: "dirmeta", ObjectCommit: "commit",
}

// Extension returns the extension that files of objects of the type have in an archive repository,
// such as "filez".
func (t ObjectType) Extension() string { return extensions[t] }

// ObjectName names an object. It is comparable.
type ObjectName struct {
	Type ObjectType
	Sum  Checksum
}

// String returns the name of the object's file in an archive repository, less the directory: its checksum, and what
// it is, as in "HEX.dirtree".
func (n ObjectName) String() string { return n.Sum.String() + "." + n.Type.Extension() }

// ArchivePath returns the path of an object's file below an archive repository, such as
// "objects/01/23….filez".
func ArchivePath(t ObjectType, sum Checksum) string {
	s := sum.String()
	return "objects/" + s[:2] + "/" + s[2:] + "." + extensions[t]
}

// objectPath returns the path of an object's file below the repository.
func (r *Repo) objectPath(t ObjectType, sum Checksum) string {
	path := ArchivePath(t, sum)
	if t == ObjectFile && r.Mode() != ModeArchive {
		path = strings.TrimSuffix(path, "z")
	}
	return path
}

// HasObject reports whether an object is in the repository, in its open transaction, or in a parent of it. An
// object whose file is empty, as a crash of the machine may leave it, is missing.
func (r *Repo) HasObject(ctx context.Context, t ObjectType, sum Checksum) (bool, error) {
	size, err := r.storedSize(t, sum)
	if err != nil || size >= 0 {
		return err == nil && !r.isDamaged(t, size), err
	}
	if !r.staged.Load() && C.ostree_repo_get_parent(r.c) == nil {
		return false, nil // there is nowhere else to look, and many are looked for
	}
	c, done := cancellable(ctx)
	defer done()
	csum, free := cstring(sum.String())
	defer free()
	var (
		has  C.gboolean
		gerr *C.GError
	)
	if C.ostree_repo_has_object(r.c, C.OstreeObjectType(t), csum, &has, c, &gerr) == 0 {
		return false, gerror(gerr)
	}
	return has != 0, nil
}

// isDamaged reports whether a file of that size, in bytes, cannot be an object of the type.
func (r *Repo) isDamaged(t ObjectType, size int64) bool {
	return size == 0 && (t != ObjectFile || r.Mode() == ModeArchive)
}

// storedSize returns the size, in bytes, of an object's file in the repository itself: not in a parent, nor
// staged by a transaction. It is -1 if there is none.
func (r *Repo) storedSize(t ObjectType, sum Checksum) (int64, error) {
	var stat unix.Stat_t
	path := r.objectPath(t, sum)
	err := unix.Fstatat(int(C.ostree_repo_get_dfd(r.c)), path, &stat, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT {
		return -1, nil
	}
	if err != nil {
		return -1, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return stat.Size, nil
}

// isStored reports whether an object is in the repository itself, and not damaged.
func (r *Repo) isStored(t ObjectType, sum Checksum) (bool, error) {
	size, err := r.storedSize(t, sum)
	return err == nil && size >= 0 && !r.isDamaged(t, size), err
}

// removeDamaged removes the empty file in the place of an object that is about to be imported: libostree may
// leave the file as it is.
func (r *Repo) removeDamaged(t ObjectType, sum Checksum) error {
	size, err := r.storedSize(t, sum)
	if err != nil || size < 0 || !r.isDamaged(t, size) {
		return err
	}
	path := r.objectPath(t, sum)
	if err := unix.Unlinkat(int(C.ostree_repo_get_dfd(r.c)), path, 0); err != nil && err != unix.ENOENT {
		return &os.PathError{Op: "remove", Path: path, Err: err}
	}
	return nil
}

// Metadata returns the bytes of an object that is no content object, unchecked. The error is ErrNotFound if the object is
// neither in the repository nor in a parent of it.
func (r *Repo) Metadata(t ObjectType, sum Checksum) ([]byte, error) {
	csum, free := cstring(sum.String())
	defer free()
	var gerr *C.GError
	object := C.op_metadata_object(r.c, C.OstreeObjectType(t), csum, &gerr)
	if object == nil {
		return nil, gerror(gerr)
	}
	return takeBytes(object), nil
}
