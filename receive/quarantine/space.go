package quarantine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"ostree-push/cli"
	"ostree-push/ostree"
)

// This file keeps a receive within the space that the disk has, and that the
// repository wants to be left.

// noSpaceError says how much free space there is, in bytes.
type noSpaceError struct{ needed, free, reserved uint64 }

func (e *noSpaceError) Error() string {
	text := "no space left: "
	if e.needed > 0 {
		text += humanize.IBytes(e.needed) + " are needed, "
	}
	text += humanize.IBytes(e.free) + " are free"
	if e.reserved > 0 {
		text += ", and min-free-space-size or -percent of the repository reserves " + humanize.IBytes(e.reserved)
	}
	return text
}

func (e *noSpaceError) Is(target error) bool { return target == unix.ENOSPC }

// lacksSpace reports whether an error is that the disk is full, or as full as it may
// become.
func lacksSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, ostree.ErrNoSpace)
}

// CheckSpace returns an error if the target's file system has less free space
// than the target wants to leave. libostree does not look at that for objects
// that it stores as they arrive.
func (q *Quarantine) CheckSpace() error { return q.CheckSpaceFor(0) }

// CheckSpaceFor returns an error if so many bytes more would leave less free space than the target wants to leave.
func (q *Quarantine) CheckSpaceFor(bytes uint64) error {
	_, err := q.spaceFor(bytes)
	return err
}

// spaceFor returns how many bytes may be written, which are no fewer than those asked
// for. What has been left to resume from is removed before space is said to be lacking.
func (q *Quarantine) spaceFor(bytes uint64) (uint64, error) {
	space, err := q.lookForSpace(bytes)
	if lacksSpace(err) && RemoveLeftovers(filepath.Dir(q.dir)) {
		return q.lookForSpace(bytes)
	}
	return space, err
}

func (q *Quarantine) lookForSpace(bytes uint64) (uint64, error) {
	reserved, err := q.Repo.MinFreeSpace()
	if err != nil {
		return 0, fmt.Errorf("min-free-space of the repository: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(q.dir, &fs); err != nil {
		return 0, os.NewSyscallError("statfs", err)
	}
	free := fs.Bavail * uint64(fs.Bsize)
	if os.Geteuid() == 0 {
		free = fs.Bfree * uint64(fs.Bsize)
	}
	if free < reserved || free-reserved < bytes {
		return 0, &noSpaceError{bytes, free, reserved}
	}
	return free - reserved, nil
}

// HintOnSpace adds to an error of a receive that ends early what to do about it, if it is
// that space is lacking.
func (q *Quarantine) HintOnSpace(err error) error {
	if !lacksSpace(err) || q.removing != nil {
		return err
	}
	if _, resumable := age(q.dir); resumable {
		return cli.Hint(err, "make room on the server and push again: what has arrived in a stream is not sent again")
	}
	return cli.Hint(err, "make room on the server and push again")
}

// Room shares out the free space among objects that arrive on several channels.
type Room struct {
	q *Quarantine

	mu sync.Mutex
	// granted is how many bytes may be taken before the disk is looked at again.
	granted int64
	// unwritten is how many have been taken, and are not on the disk yet.
	unwritten int64
}

// NewRoom returns one that has granted nothing yet.
func (q *Quarantine) NewRoom() *Room { return &Room{q: q} }

// lookStep is the most that is granted at a time, in bytes: others write, too.
const lookStep = 8 << 20

// Take takes the room that an object needs, or returns an error if there is none.
func (r *Room) Take(bytes int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if bytes > r.granted {
		space, err := r.q.spaceFor(uint64(r.unwritten + bytes))
		if err != nil {
			return err
		}
		r.granted = min(int64(min(space, 1<<62))-r.unwritten, max(bytes, lookStep))
	}
	r.granted -= bytes
	r.unwritten += bytes
	return nil
}

// Wrote gives back the room of so many bytes, which are on the disk now.
func (r *Room) Wrote(bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unwritten -= bytes
}

// Writer writes to w what room has been taken for.
func (r *Room) Writer(w io.Writer) io.Writer { return roomWriter{w, r} }

type roomWriter struct {
	to   io.Writer
	room *Room
}

func (w roomWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	w.room.Wrote(int64(n))
	return n, err
}

// SpaceWriter writes to w a file of unknown size as long as there is room for it.
func (q *Quarantine) SpaceWriter(w io.Writer) io.Writer { return &spaceWriter{q: q, to: w} }

type spaceWriter struct {
	q    *Quarantine
	to   io.Writer
	room uint64 // bytes, when the free space was looked at last, at most spaceAtOnce
}

// spaceAtOnce is how many bytes are written between two looks at the free space.
const spaceAtOnce = 8 << 20

func (w *spaceWriter) Write(p []byte) (int, error) {
	if uint64(len(p)) > w.room {
		space, err := w.q.spaceFor(uint64(len(p)))
		if err != nil {
			return 0, err
		}
		w.room = min(space, max(spaceAtOnce, uint64(len(p))))
	}
	w.room -= uint64(len(p))
	return w.to.Write(p)
}
