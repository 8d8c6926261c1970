package receive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ostree-push/ostree"
	"ostree-push/report"
	"ostree-push/stream"
)

// This file resumes what was interrupted: the quarantine of a stream that ended
// early is kept, and the next stream takes from it what it would else ask for.

const (
	// resumableName is a file that a quarantine has from when the first objects may
	// be in it. Its age is that of the quarantine.
	resumableName = "resumable"
	// keepTime is how long a quarantine is kept.
	keepTime = 24 * time.Hour
	// keepMost is how many are kept.
	keepMost = 16
)

// markResumable has the quarantine stay with what is in it, should we die.
func (q *quarantine) markResumable() error {
	f, err := os.OpenFile(filepath.Join(q.dir, resumableName), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// age returns how old a resumable quarantine is. One that is not resumable is of
// no use at any age.
func age(dir string) (time.Duration, bool) {
	info, err := os.Lstat(filepath.Join(dir, resumableName))
	if err != nil {
		return 0, false
	}
	return time.Since(info.ModTime()), true
}

// faultError is an error that the sender is to blame for: something that it has sent is wrong, or
// was not asked for.
type faultError struct{ error }

func (e *faultError) Unwrap() error { return e.error }

// faulty says that the sender is to blame for an error, unless it is one of our own: that we were to stop, or
// could not read.
func faulty(err error) error {
	var number syscall.Errno
	if err == nil || errors.Is(err, ostree.ErrCancelled) || errors.Is(err, context.Canceled) || errors.As(err, &number) {
		return err
	}
	return &faultError{err}
}

// isFault reports whether the sender is to blame for an error.
func isFault(err error) bool {
	var fault *faultError
	var protocol *stream.ProtocolError
	return errors.As(err, &fault) || errors.As(err, &protocol)
}

// keeps reports whether what has arrived is of use to the next push, when a receive has ended with
// an error: unless something was wrong with it.
func keeps(err error) bool { return err != nil && !isFault(err) }

// leftover is a quarantine that was left behind, and that we hold.
type leftover struct {
	dir   string
	age   time.Duration
	held  *os.File
	taken bool // something has been taken from it
}

// holdLeftovers holds all quarantines below tmp that nobody else holds and that
// can be resumed from, the newest first. All others that nobody holds are
// removed. It is a courtesy: what cannot be removed is left to libostree, which does
// it after a day.
func holdLeftovers(tmp string) (all []*leftover) {
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), quarantinePrefix) {
			continue
		}
		dir := filepath.Join(tmp, entry.Name())
		held, err := hold(dir)
		if err != nil {
			continue
		}
		l := &leftover{dir: dir, held: held}
		var resumable bool
		if l.age, resumable = age(dir); !resumable || l.age > keepTime {
			l.remove()
			continue
		}
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *leftover) int { return int(a.age - b.age) })
	for len(all) > keepMost {
		all[len(all)-1].remove()
		all = all[:len(all)-1]
	}
	return all
}

// removeAbandoned removes what nobody holds and nobody can resume from.
func removeAbandoned(tmp string) {
	for _, l := range holdLeftovers(tmp) {
		l.held.Close()
	}
}

// removeLeftovers removes everything that nobody holds, and reports whether that
// was anything.
func removeLeftovers(tmp string) bool {
	all := holdLeftovers(tmp)
	for _, l := range all {
		l.remove()
	}
	return len(all) > 0
}

// remove removes a quarantine that is held.
func (l *leftover) remove() {
	removeHeld(l.dir)
	l.held.Close()
}

// close lets go of a quarantine, and removes it if all that was in it has been
// taken.
func (l *leftover) close() {
	if l.taken && !hasObjects(l.dir) {
		l.remove()
		return
	}
	l.held.Close()
}

// hasObjects reports whether a quarantine has anything but commits, which are sent
// anew.
func hasObjects(dir string) (found bool) {
	filepath.WalkDir(filepath.Join(dir, "objects"), func(path string, _ os.DirEntry, err error) error {
		switch filepath.Ext(path) {
		case ".filez", ".dirtree", ".dirmeta":
			found = true
			return filepath.SkipAll
		}
		return nil
	})
	return found
}

// salvage looks for objects in what has been left behind, moves them to the
// quarantine, and checks them: they may never have been, and the machine may
// have lost a part of them.
type salvage struct {
	ctx  context.Context
	q    *quarantine
	from []*leftover

	work     chan salvaged // nil if nothing has been left
	checkers *workers

	mu     sync.Mutex
	found  map[stream.Entry]struct{}
	broken []salvaged
}

// salvaged is an object that has been found, and its place in the list.
type salvaged struct {
	stream.Entry
	index int
}

func newSalvage(ctx context.Context, q *quarantine) *salvage {
	s := &salvage{ctx: ctx, q: q, from: holdLeftovers(filepath.Dir(q.dir)), found: map[stream.Entry]struct{}{}}
	if len(s.from) == 0 {
		return s
	}
	s.work = make(chan salvaged, 1000)
	s.checkers = startWorkers(s.work, func(e salvaged) {
		if err := s.check(e.Entry); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.broken = append(s.broken, e)
		}
	})
	return s
}

// take reports whether an object is there, as far as can be said at once.
func (s *salvage) take(e stream.Entry, index int) (bool, error) {
	if _, twice := s.found[e]; twice {
		return false, faulty(fmt.Errorf("object %s is listed twice", e.Sum))
	}
	to := s.q.objectPath(e.Type, e.Sum)
	for _, l := range s.from {
		if !l.move(e, to) {
			continue
		}
		l.taken = true
		s.found[e] = struct{}{}
		s.work <- salvaged{e, index}
		return true, nil
	}
	return false, nil
}

// move moves an object to a path, if it is there.
func (l *leftover) move(e stream.Entry, to string) bool {
	from := filepath.Join(l.dir, ostree.ArchivePath(e.Type, e.Sum))
	err := unix.Rename(from, to)
	if err == unix.ENOENT {
		if unix.Access(from, unix.F_OK) != nil {
			return false
		}
		os.Mkdir(filepath.Dir(to), 0o755)
		err = unix.Rename(from, to)
	}
	return err == nil
}

func (s *salvage) check(e stream.Entry) error {
	err := s.q.checkObject(s.ctx, e)
	// What could not be checked because all is over stays for whoever resumes.
	if err != nil && s.ctx.Err() == nil {
		os.Remove(s.q.objectPath(e.Type, e.Sum))
	}
	return err
}

// finish returns those objects that turned out to be damaged, and so are missing.
func (s *salvage) finish(sink report.Sink) []salvaged {
	if s.work != nil {
		close(s.work)
		s.checkers.wait()
	}
	for _, l := range s.from {
		l.close()
	}
	if n := len(s.found) - len(s.broken); n > 0 {
		sink.Log(report.Info, fmt.Sprintf("Resuming an interrupted push, of which %d objects are here", n))
	}
	return s.broken
}
