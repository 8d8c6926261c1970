package quarantine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"ostree-push/internal/workers"
	"ostree-push/ostree"

	"golang.org/x/sys/unix"
)

// Resume takes objects from what has been left behind: it moves them to the quarantine, and checks them, since they may
// never have been, and the machine may have lost a part of them. Whoever begins it calls Finish.
type Resume struct {
	ctx  context.Context
	q    *Quarantine
	from []*leftover

	work     chan Taken // nil if nothing has been left
	checkers *workers.Workers

	mu      sync.Mutex
	found   map[ostree.ObjectName]struct{}
	damaged []Taken
}

// Taken is an object that has been found, and the index that it was asked for with.
type Taken struct {
	ostree.ObjectName
	Index int
}

// Resume begins to take objects from what has been left behind.
func (q *Quarantine) Resume(ctx context.Context) *Resume {
	s := &Resume{ctx: ctx, q: q, from: holdLeftovers(filepath.Dir(q.dir)), found: map[ostree.ObjectName]struct{}{}}
	if len(s.from) == 0 {
		return s
	}
	s.work = make(chan Taken, 1000)
	s.checkers = workers.Start(s.work, func(e Taken) {
		if err := s.check(e.ObjectName); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.damaged = append(s.damaged, e)
		}
	})
	return s
}

// Take takes an object, and reports whether it is there, as far as can be said at once: Finish says which were damaged. To take one twice is an error, by Fault.
func (s *Resume) Take(e ostree.ObjectName, index int) (bool, error) {
	if _, twice := s.found[e]; twice {
		return false, Fault(fmt.Errorf("object %s is listed twice", e.Sum))
	}
	to := s.q.objectPath(e)
	for _, l := range s.from {
		if !l.move(e, to) {
			continue
		}
		l.taken = true
		s.found[e] = struct{}{}
		s.work <- Taken{e, index}
		return true, nil
	}
	return false, nil
}

// move moves an object to a path, if it is there.
func (l *leftover) move(e ostree.ObjectName, to string) bool {
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

func (s *Resume) check(e ostree.ObjectName) error {
	err := s.q.checkObject(s.ctx, e)
	// What could not be checked because all is over stays for whoever resumes.
	if err != nil && s.ctx.Err() == nil {
		os.Remove(s.q.objectPath(e))
	}
	return err
}

// Finish waits until all is checked. It returns those objects that turned out to be damaged, which have been removed and so
// are missing, and how many others have been taken.
func (s *Resume) Finish() (damaged []Taken, taken int) {
	if s.work != nil {
		close(s.work)
		s.checkers.Wait()
	}
	for _, l := range s.from {
		l.close()
	}
	return s.damaged, len(s.found) - len(s.damaged)
}
