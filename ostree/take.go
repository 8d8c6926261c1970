package ostree

// #include "take.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// takings are the objects that Commit moves from another repository into that of a transaction.
type takings struct {
	mu      sync.Mutex
	from    *Repo
	refused *Repo // nothing can be moved from there
	content nameList
	others  nameList
}

// nameList is a list that may become long: nothing of it is copied when it grows.
type nameList [][]ObjectName

// nameChunk is how many names are allocated at a time.
const nameChunk = 4096

func (l *nameList) add(e ObjectName) {
	last := len(*l) - 1
	if last < 0 || len((*l)[last]) == nameChunk {
		*l = append(*l, make([]ObjectName, 0, nameChunk))
		last++
	}
	(*l)[last] = append((*l)[last], e)
}

// Take brings an object that is no commit from another repository, as Import does, which need not have it any more
// afterwards. Where Import would link the object's file, Commit moves it instead; so it is in the repository
// when Commit has returned, and has stayed where it was if Commit was not called. Content is moved before the others, and those in the order in
// which they are taken: trees come after what is below them. What is there by then is not replaced, unless its file is empty; of what HasObject
// finds, as it finds what is staged, there is no need to take anything. Any number of goroutines may take objects at once.
func (t *Transaction) Take(ctx context.Context, from *Repo, e ObjectName) error {
	can, err := t.canTake(from)
	if err != nil {
		return err
	}
	if !can {
		return t.Import(ctx, from, e.Type, e.Sum)
	}
	t.taken.mu.Lock()
	defer t.taken.mu.Unlock()
	if e.Type == ObjectFile {
		t.taken.content.add(e)
	} else {
		t.taken.others.add(e)
	}
	return nil
}

// canTake reports whether objects' files can be moved from another repository: they have to be the same in both, and of one
// owner, as for libostree to link them.
func (t *Transaction) canTake(from *Repo) (bool, error) {
	t.taken.mu.Lock()
	defer t.taken.mu.Unlock()
	if from == t.taken.from || from == t.taken.refused {
		return from == t.taken.from, nil
	}
	ours, err := t.repo.statObjects()
	if err != nil {
		return false, err
	}
	theirs, err := from.statObjects()
	if err != nil {
		return false, err
	}
	can := t.taken.from == nil && t.repo.Mode() == ModeArchive && from.Mode() == ModeArchive &&
		ours.Uid == theirs.Uid && ours.Dev == theirs.Dev
	if can {
		t.taken.from = from
	} else {
		t.taken.refused = from
	}
	return can, nil
}

// statObjects is about the directory of a repository's objects.
func (r *Repo) statObjects() (stat unix.Stat_t, err error) {
	err = unix.Fstatat(int(C.ostree_repo_get_dfd(r.c)), "objects", &stat, 0)
	return stat, os.NewSyscallError("stat", err)
}

// moveTaken moves what has been taken. What cannot be moved, it imports, and returns how many objects that are. After an
// error, some have been moved.
func (t *Transaction) moveTaken(ctx context.Context) (imported int, err error) {
	if t.taken.from == nil {
		return 0, nil
	}
	m, err := newMover(t.taken.from, t.repo)
	if err != nil {
		return 0, err
	}
	defer m.close()
	for _, names := range slices.Concat(t.taken.content, t.taken.others) {
		for _, e := range names {
			err := m.move(e)
			if errors.Is(err, errCannotMove) {
				imported++
				err = t.Import(ctx, t.taken.from, e.Type, e.Sum)
			}
			if err != nil {
				return imported, fmt.Errorf("object %s: %w", e.String(), err)
			}
		}
	}
	return imported, nil
}

// errCannotMove is the error of an object that has to be copied or linked instead.
var errCannotMove = errors.New("it cannot be moved")

// mover moves objects from one repository to another.
type mover struct {
	from, into int // directories of objects, of which they are the descriptors
	target     *Repo
}

func newMover(source, target *Repo) (*mover, error) {
	from, err := source.openObjects()
	if err != nil {
		return nil, err
	}
	into, err := target.openObjects()
	if err != nil {
		unix.Close(from)
		return nil, err
	}
	return &mover{from, into, target}, nil
}

// openObjects opens the directory of a repository's objects, for paths that begin there.
func (r *Repo) openObjects() (fd int, err error) {
	fd, err = unix.Openat(int(C.ostree_repo_get_dfd(r.c)), "objects", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return fd, os.NewSyscallError("open objects", err)
}

func (m *mover) close() {
	unix.Close(m.from)
	unix.Close(m.into)
}

// move moves an object, unless it is there, as one is that was taken twice. The directory that it gets into is made as libostree makes it.
func (m *mover) move(e ObjectName) error {
	path := ArchivePath(e.Type, e.Sum)[len("objects/"):]
	err := m.rename(path)
	if err == unix.ENOENT || err == unix.EEXIST {
		stored, statErr := m.target.isStored(e.Type, e.Sum)
		if statErr != nil || stored {
			return statErr
		}
		if err := m.makeWay(e, path[:2]); err != nil {
			return err
		}
		err = m.rename(path)
	}
	switch err {
	case nil:
		return nil
	case unix.EINVAL, unix.ENOSYS, unix.EPERM, unix.EXDEV:
		// Not known to the file system, or to the kernel; not allowed in a container; or there is a quota for each directory's
		// project. libostree has other ways, or says what is wrong.
		return errCannotMove
	}
	return &os.PathError{Op: "move", Path: "objects/" + path, Err: err}
}

// makeWay makes the directory that an object belongs into, and removes an empty file in its place.
func (m *mover) makeWay(e ObjectName, dir string) error {
	if err := unix.Mkdirat(m.into, dir, 0o777); err != nil && err != unix.EEXIST {
		return &os.PathError{Op: "mkdir", Path: "objects/" + dir, Err: err}
	}
	return m.target.removeDamaged(e.Type, e.Sum)
}

// rename renames a file from one directory of objects to the other one, where there must be none. It is libc that does, as
// it is for libostree.
func (m *mover) rename(path string) error {
	name := append([]byte(path), 0)
	errno := C.op_move_file(C.int(m.from), C.int(m.into), (*C.char)(unsafe.Pointer(&name[0])))
	if errno != 0 {
		return unix.Errno(errno)
	}
	return nil
}
