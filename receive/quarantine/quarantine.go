package quarantine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/internal/held"
	"ostree-push/internal/patience"
	"ostree-push/internal/workers"
	"ostree-push/ostree"
)

// Quarantine is an archive repository below a target's tmp/ in which everything arrives. Objects that the target has are
// found there as well (core.parent). Its directory is held with an flock, so that others can tell it from what
// a dead receiver left behind. Whoever makes one calls Remove or Leave at the end.
type Quarantine struct {
	Repo   *ostree.Repo
	Target *ostree.Repo

	dir  string
	held *os.File
	stop func() // ends the touching
	// masked: files are made with less than objectMode, so that each has to be given its mode.
	masked bool
	sync   flusher
	// inMemory is held by who checks an object that has come in pieces and is in memory as a whole, or has a header that is. They may be
	// as large as libostree takes them (128 MiB in newer versions), and many may come at once.
	inMemory sync.Mutex
	// arrived counts objects, other than commits.
	arrived atomic.Int64

	removing chan struct{} // closed when it is removed; nil: nobody does that
}

const namePrefix = "ostree-receive-"

// touchInterval is well below the day after which libostree takes what it
// finds in tmp/ for abandoned.
const touchInterval = time.Hour

// New makes a quarantine for a target, and removes what earlier ones have left that is of no use.
func New(target *ostree.Repo) (*Quarantine, error) {
	tmp := filepath.Join(target.Path(), "tmp")
	removeAbandoned(tmp)
	dir, handle, err := held.Make(tmp, namePrefix)
	if err != nil {
		return nil, fmt.Errorf("make a quarantine: %w", err)
	}
	q := &Quarantine{Target: target, dir: dir, held: handle}
	q.stop = patience.Every(touchInterval, q.touch)
	q.sync.off = target.CoreOption("fsync") == "false"

	// The target's limits hold here too. What arrives is not synced: the
	// transaction that imports it syncs the whole file system.
	core := map[string]string{"fsync": "false"}
	for _, key := range []string{"min-free-space-size", "min-free-space-percent"} {
		if value := target.CoreOption(key); value != "" {
			core[key] = value
		}
	}
	q.Repo, err = ostree.Create(dir, ostree.ModeArchive, ostree.CreateOptions{Parent: target.Path(), Core: core})
	if err != nil {
		q.Remove()
		return nil, fmt.Errorf("make a quarantine: %w", err)
	}
	if q.masked, err = q.masks(); err != nil {
		q.Remove()
		return nil, fmt.Errorf("make a quarantine: %w", err)
	}
	return q, nil
}

// Name is the name of its directory in the target's tmp/.
func (q *Quarantine) Name() string { return filepath.Base(q.dir) }

// Dir is its directory, which is open until it is removed or left.
func (q *Quarantine) Dir() *os.File { return q.held }

// OpenDir opens, as a path only (O_PATH), the directory of the quarantine of that name, which may be anything, in the repository at
// a path.
func OpenDir(repo, name string) (*os.File, error) {
	if !strings.HasPrefix(name, namePrefix) || strings.Contains(name, "/") {
		return nil, fs.ErrNotExist
	}
	return os.OpenFile(filepath.Join(repo, "tmp", name), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// objectMode is the mode of the objects of an archive repository, whatever the umask, as
// libostree has it: they get into the target as they are, and may be served from there.
const objectMode = 0o644

// masks reports whether files get less than objectMode in the directory of objects, by the umask or by the directory's
// ACL. Most do not, so that there is no need to set the mode of each.
func (q *Quarantine) masks() (bool, error) {
	f, err := q.createFile("objects/mode")
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	return info.Mode() != objectMode, os.Remove(f.Name())
}

// unmask gives the file of an object its mode.
func (q *Quarantine) unmask(fd int) error {
	if !q.masked {
		return nil
	}
	return unix.Fchmod(fd, objectMode)
}

// Has reports whether an object has arrived.
func (q *Quarantine) Has(e ostree.ObjectName) bool {
	var stat unix.Stat_t
	return unix.Fstatat(int(q.held.Fd()), ostree.ArchivePath(e.Type, e.Sum), &stat, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// Create makes the file of an object, of which there must be none.
func (q *Quarantine) Create(e ostree.ObjectName) (*os.File, error) {
	f, err := q.createFile(ostree.ArchivePath(e.Type, e.Sum))
	if err != nil {
		return nil, err
	}
	if err := q.unmask(int(f.Fd())); err != nil {
		return nil, errors.Join(&os.PathError{Op: "chmod", Path: f.Name(), Err: err}, f.Close())
	}
	return f, nil
}

// Replace makes or truncates the file of an object, or of a commit's detached metadata, by its name in the
// directories of objects, such as HEX.filez, which the caller has checked.
func (q *Quarantine) Replace(name string) (*os.File, error) {
	dir := filepath.Join(q.dir, "objects", name[:2])
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, name[2:]), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, objectMode)
	if err != nil {
		return nil, err
	}
	if err := q.unmask(int(f.Fd())); err != nil {
		return nil, errors.Join(&os.PathError{Op: "chmod", Path: f.Name(), Err: err}, f.Close())
	}
	return f, nil
}

// Write stores an object that has been checked. There are a great many of them, so
// this makes no call more than it must.
func (q *Quarantine) Write(e ostree.ObjectName, data []byte) error {
	fd, err := q.create(ostree.ArchivePath(e.Type, e.Sum))
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
		return &os.PathError{Op: "write", Path: q.objectPath(e), Err: err}
	}
	if e.Type != ostree.ObjectCommit {
		q.arrived.Add(1)
	}
	return nil
}

// StartSync has all that has arrived written to the disk while other things are done, so that little is left for the transaction to wait for.
func (q *Quarantine) StartSync() { q.sync.start(int(q.held.Fd())) }

// Arrived returns how many objects have arrived, other than commits: in any way but by Create, until Check has counted those.
func (q *Quarantine) Arrived() int { return int(q.arrived.Load()) }

// Wrote counts bytes that have been written.
func (q *Quarantine) Wrote(bytes int64) { q.sync.wrote(bytes, int(q.held.Fd())) }

func (q *Quarantine) objectPath(e ostree.ObjectName) string {
	return q.dir + "/" + ostree.ArchivePath(e.Type, e.Sum)
}

// createFile makes a file, of which there must be none, by its path below the quarantine.
func (q *Quarantine) createFile(path string) (*os.File, error) {
	fd, err := q.create(path)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), q.dir+"/"+path), nil
}

// create is createFile for those who close the descriptor themselves. The path begins at the quarantine's directory, which is
// open, so that the kernel does not look up all that is above for each object.
func (q *Quarantine) create(path string) (fd int, err error) {
	open := func() {
		const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
		for fd, err = -1, unix.EINTR; err == unix.EINTR; {
			fd, err = unix.Openat(int(q.held.Fd()), path, flags, objectMode)
		}
	}
	if open(); err == unix.ENOENT {
		if err := unix.Mkdirat(int(q.held.Fd()), filepath.Dir(path), 0o755); err != nil && err != unix.EEXIST {
			return -1, &os.PathError{Op: "mkdir", Path: q.dir + "/" + filepath.Dir(path), Err: err}
		}
		open()
	}
	if err != nil {
		return -1, &os.PathError{Op: "create", Path: q.dir + "/" + path, Err: err}
	}
	return fd, nil
}

// touch keeps the directory young.
func (q *Quarantine) touch() {
	now := time.Now()
	os.Chtimes(q.dir, now, now)
	os.Chtimes(filepath.Join(q.dir, resumableName), now, now)
}

// Leave lets go of the quarantine, so that the next receive may resume from it, if
// there is anything in it.
func (q *Quarantine) Leave() {
	if q.removing != nil {
		<-q.removing
		return
	}
	if _, resumable := age(q.dir); !resumable || !hasObjects(q.dir) {
		q.Remove()
		return
	}
	q.close()
}

// Remove removes the quarantine with everything in it.
func (q *Quarantine) Remove() {
	q.StartRemoval()
	<-q.removing
}

// StartRemoval begins to remove the quarantine, once: there may be much in it, and other things to do. Remove waits for the end.
func (q *Quarantine) StartRemoval() {
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
	removers := workers.Start(work, func(subdir fs.DirEntry) {
		os.RemoveAll(filepath.Join(objects, subdir.Name()))
	})
	for _, subdir := range subdirs {
		work <- subdir
	}
	close(work)
	removers.Wait()
	// A pull that was left behind may still write for a moment. Should
	// anything remain, the next receiver removes it.
	for range 10 {
		if os.RemoveAll(dir) == nil {
			break
		}
	}
}

func (q *Quarantine) close() {
	q.stop()
	q.sync.wait()
	if q.Repo != nil {
		q.Repo.Close()
	}
	q.held.Close()
}
