package receive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/ostree"
)

// quarantine is an archive repository below the target's tmp/ in which
// everything arrives. Objects that the target has are found there as well. Its
// directory is held with an flock, so that others can tell it from what a dead
// receiver left behind.
type quarantine struct {
	repo *ostree.Repo
	dir  string
	held *os.File
	stop chan struct{} // ends the touching
	// masked is that objects would not come out with objectMode.
	masked bool
	sync   flusher

	removing chan struct{} // closed when it is removed; nil: nobody does that
}

const quarantinePrefix = "ostree-receive-"

// remoteName is the quarantine's only remote.
const remoteName = "_receive"

// touchInterval is well below the day after which libostree takes what it
// finds in tmp/ for abandoned.
const touchInterval = time.Hour

func newQuarantine(target *ostree.Repo) (*quarantine, error) {
	tmp := filepath.Join(target.Path(), "tmp")
	removeAbandoned(tmp)
	dir, held, err := makeHeldDir(tmp, quarantinePrefix)
	if err != nil {
		return nil, fmt.Errorf("make a quarantine: %w", err)
	}
	q := &quarantine{dir: dir, held: held, stop: make(chan struct{})}
	q.sync.off = target.CoreOption("fsync") == "false"

	// The target's limits hold here too. What arrives is not synced: the
	// transaction that imports it syncs the whole file system.
	core := map[string]string{"fsync": "false"}
	for _, key := range []string{"min-free-space-size", "min-free-space-percent"} {
		if value := target.CoreOption(key); value != "" {
			core[key] = value
		}
	}
	q.repo, err = ostree.Create(dir, ostree.ModeArchive, ostree.CreateOptions{Parent: target.Path(), Core: core})
	if err != nil {
		q.remove()
		return nil, fmt.Errorf("make a quarantine: %w", err)
	}
	if q.masked, err = masks(filepath.Join(dir, "objects")); err != nil {
		q.remove()
		return nil, fmt.Errorf("make a quarantine: %w", err)
	}
	go q.touch()
	return q, nil
}

// objectMode is the mode of the objects of an archive repository, whatever the umask, as
// libostree has it: they are linked into the target as they are, and may be served from there.
const objectMode = 0o644

// masks reports whether files get less than objectMode in a directory, by the umask or by the directory's
// ACL. Most do not, so that there is no need to set the mode of each.
func masks(dir string) (bool, error) {
	path := filepath.Join(dir, "mode")
	fd, err := createFile(path)
	if err != nil {
		return false, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	return info.Mode() != objectMode, os.Remove(path)
}

// unmask gives the file of an object its mode.
func (q *quarantine) unmask(fd int) error {
	if !q.masked {
		return nil
	}
	return unix.Fchmod(fd, objectMode)
}

// has reports whether a commit object has arrived.
func (q *quarantine) has(sum ostree.Checksum) bool { return q.hasObject(ostree.ObjectCommit, sum) }

// hasObject reports whether an object has arrived.
func (q *quarantine) hasObject(t ostree.ObjectType, sum ostree.Checksum) bool {
	var stat unix.Stat_t
	return unix.Fstatat(int(q.held.Fd()), ostree.ArchivePath(t, sum), &stat, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// create makes the file of an object, of which there must be none.
func (q *quarantine) create(t ostree.ObjectType, sum ostree.Checksum) (*os.File, error) {
	path := q.objectPath(t, sum)
	fd, err := createFile(path)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	if err := q.unmask(fd); err != nil {
		return nil, errors.Join(&os.PathError{Op: "chmod", Path: path, Err: err}, f.Close())
	}
	return f, nil
}

// write stores an object that has been checked. There are a great many of them, so
// this makes no call more than it must.
func (q *quarantine) write(t ostree.ObjectType, sum ostree.Checksum, data []byte) error {
	path := q.objectPath(t, sum)
	fd, err := createFile(path)
	if err != nil {
		return err
	}
	err = q.unmask(fd)
	for len(data) > 0 && err == nil {
		var n int
		n, err = unix.Write(fd, data)
		data = data[max(n, 0):]
		if err == unix.EINTR {
			err = nil
		}
	}
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// wrote counts what has been written.
func (q *quarantine) wrote(bytes int64) { q.sync.wrote(bytes, int(q.held.Fd())) }

func (q *quarantine) objectPath(t ostree.ObjectType, sum ostree.Checksum) string {
	return q.dir + "/" + ostree.ArchivePath(t, sum)
}

func createFile(path string) (fd int, err error) {
	open := func() {
		const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
		for fd, err = -1, unix.EINTR; err == unix.EINTR; {
			fd, err = unix.Open(path, flags, objectMode)
		}
	}
	if open(); err == unix.ENOENT {
		if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return -1, err
		}
		open()
	}
	if err != nil {
		return -1, &os.PathError{Op: "create", Path: path, Err: err}
	}
	return fd, nil
}

// touch keeps the directory young until the quarantine is removed.
func (q *quarantine) touch() {
	ticker := time.NewTicker(touchInterval)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			os.Chtimes(q.dir, now, now)
			os.Chtimes(filepath.Join(q.dir, resumableName), now, now)
		case <-q.stop:
			return
		}
	}
}

// leave lets go of the quarantine, so that the next receive may resume from it, if
// there is anything in it.
func (q *quarantine) leave() {
	if q.removing != nil {
		<-q.removing
		return
	}
	if _, resumable := age(q.dir); !resumable || !hasObjects(q.dir) {
		q.remove()
		return
	}
	q.close()
}

// remove removes the quarantine with everything in it.
func (q *quarantine) remove() {
	q.startRemoval()
	<-q.removing
}

// startRemoval begins with that, once: there may be much in it, and other things to do.
func (q *quarantine) startRemoval() {
	if q.removing != nil {
		return
	}
	q.removing = make(chan struct{})
	go func() {
		defer close(q.removing)
		removeHeld(q.dir)
		q.close()
	}()
}

// removeHeld removes the directory of a quarantine that is held.
func removeHeld(dir string) {
	// Not to be resumed from if it is only half removed.
	os.Remove(filepath.Join(dir, resumableName))
	objects := filepath.Join(dir, "objects")
	subdirs, _ := os.ReadDir(objects)
	work := make(chan fs.DirEntry)
	removers := startWorkers(work, func(subdir fs.DirEntry) {
		os.RemoveAll(filepath.Join(objects, subdir.Name()))
	})
	for _, subdir := range subdirs {
		work <- subdir
	}
	close(work)
	removers.wait()
	// A pull that was left behind may still write for a moment. Should
	// anything remain, the next receiver removes it.
	for range 10 {
		if os.RemoveAll(dir) == nil {
			break
		}
	}
}

func (q *quarantine) close() {
	close(q.stop)
	q.sync.wait()
	if q.repo != nil {
		q.repo.Close()
	}
	q.held.Close()
}

// makeHeldDir makes a new directory whose name begins with prefix, and holds it.
func makeHeldDir(parent, prefix string) (string, *os.File, error) {
	for {
		dir, err := os.MkdirTemp(parent, prefix)
		if err != nil {
			return "", nil, err
		}
		held, err := hold(dir)
		switch {
		case err == nil:
			return dir, held, nil
		case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, os.ErrNotExist):
			// Another receiver took it for an abandoned one, in the moment
			// between its making and its holding.
			continue
		}
		os.Remove(dir)
		return "", nil, err
	}
}

// hold takes the lock on a directory that is in place.
func hold(dir string) (*os.File, error) {
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
