package quarantine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	// left has, by the names of the objects of which a part has been left, where that is.
	left map[string][]*leftover

	work     chan Taken // nil if nothing has been left
	checkers *workers.Workers

	mu      sync.Mutex
	found   map[ostree.ObjectName]struct{}
	parts   map[ostree.ObjectName]struct{} // objects of which a part has been found
	damaged []Taken
}

// Taken is an object that has been found, and the index that it was asked for with.
type Taken struct {
	ostree.ObjectName
	Index int
}

// Resume begins to take objects from what has been left behind.
func (q *Quarantine) Resume(ctx context.Context) *Resume {
	s := &Resume{ctx: ctx, q: q, from: holdLeftovers(filepath.Dir(q.dir)), found: map[ostree.ObjectName]struct{}{}, parts: map[ostree.ObjectName]struct{}{}, left: map[string][]*leftover{}}
	if len(s.from) == 0 {
		return s
	}
	for _, l := range s.from {
		for _, name := range piecesIn(l.dir) {
			s.left[name] = append(s.left[name], l)
		}
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

// Take takes an object, and reports whether it is there, as far as can be said at once: Finish says which were damaged. To take one twice, or one of which a part has been taken, is an error, by Fault.
func (s *Resume) Take(e ostree.ObjectName, index int) (bool, error) {
	_, twice := s.found[e]
	_, partTwice := s.parts[e]
	if twice || partTwice {
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
	if err == unix.ENOENT && unix.Access(from, unix.F_OK) == nil {
		return rename(from, to) == nil
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

// TakePieces takes an object of which a part has been left, nil if there is none. Its pieces are not checked: whoever has the whole does that.
func (s *Resume) TakePieces(e ostree.ObjectName) *Pieces {
	if len(s.left) == 0 {
		return nil // as a rule; and there may be a great many objects
	}
	name := e.String()
	left := s.left[name]
	delete(s.left, name)
	for _, l := range left {
		l.taken = true
		if p, err := s.q.takePieces(l.dir, e); err == nil {
			s.parts[e] = struct{}{}
			return p
		}
	}
	return nil
}

// takePieces moves a part of an object, and what is noted of it, from another quarantine.
func (q *Quarantine) takePieces(from string, e ostree.ObjectName) (_ *Pieces, err error) {
	path := q.piecesPath(e)
	left := filepath.Join(from, piecesDir, e.String())
	defer func() {
		if err != nil { // it is of no use to anybody
			for _, file := range []string{path, left} {
				os.Remove(file)
				os.Remove(file + noteExtension)
			}
		}
	}()
	for _, extension := range []string{"", noteExtension} {
		if err := rename(left+extension, path+extension); err != nil {
			return nil, err
		}
	}
	file, err := openLeft(path)
	if err != nil {
		return nil, err
	}
	noteFile, err := openLeft(path + noteExtension)
	if err != nil {
		file.Close()
		return nil, err
	}
	p := q.newPieces(e, file, [16]byte{})
	if err := p.goOn(noteFile); err != nil {
		file.Close()
		noteFile.Close()
		return nil, err
	}
	return p, nil
}

// openLeft opens a file that has been left behind.
func openLeft(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}

// goOn has an object begin with the part that a note has.
func (p *Pieces) goOn(noteFile *os.File) error {
	info, err := p.file.Stat()
	if err == nil {
		err = p.file.Chmod(objectMode) // whoever has left it may have had another umask
	}
	if err != nil {
		return err
	}
	form, noted, err := readNote(noteFile, info.Size())
	if err != nil {
		return err
	}
	// What has come and is not noted may be anything, and behind the end of the object.
	if err := p.file.Truncate(noted.End()); err != nil {
		return err
	}
	p.form, p.old, p.claimed, p.written = form, true, slices.Clone(noted), slices.Clone(noted)
	p.note = keepNote(p, noteFile, noted)
	return nil
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
	taken = len(s.found) - len(s.damaged)
	s.q.arrived.Add(int64(taken))
	return s.damaged, taken
}
