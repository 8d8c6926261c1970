package quarantine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ostree-push/internal/held"

	"golang.org/x/sys/unix"
)

// This file finds the quarantines that were left behind: which of them are kept for whoever resumes, and which are removed.

const (
	// resumableName is a file that a quarantine has from when the first objects may
	// be in it. Its age is that of the quarantine.
	resumableName = "resumable"
	// keepTime is how long a quarantine is kept.
	keepTime = 24 * time.Hour
	// keepMost is how many are kept.
	keepMost = 16
)

// MarkResumable has the quarantine stay with what is in it, should we die.
func (q *Quarantine) MarkResumable() error {
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

// leftover is a quarantine that was left behind, and that we hold.
type leftover struct {
	dir   string
	age   time.Duration
	held  *os.File
	taken bool // something has been taken from it
}

// holdLeftovers holds all quarantines below tmp that nobody else holds and that
// can be resumed from, the newest first. All others that nobody holds, and those of which nothing is of use, are
// removed. It is a courtesy: what cannot be removed is left to libostree, which does
// it after a day.
func holdLeftovers(tmp string) (all []*leftover) {
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), namePrefix) {
			continue
		}
		dir := filepath.Join(tmp, entry.Name())
		handle, err := held.Hold(dir)
		if err != nil {
			continue
		}
		l := &leftover{dir: dir, held: handle}
		var resumable bool
		if l.age, resumable = age(dir); !resumable || l.age > keepTime || !hasObjects(dir) {
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

// RemoveLeftovers removes every quarantine in a directory that nobody holds, and reports whether that
// was anything.
func RemoveLeftovers(tmp string) bool {
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

// piecesIn returns the names of the objects of which a part is in a quarantine, and noted.
func piecesIn(dir string) (names []string) {
	entries, _ := os.ReadDir(filepath.Join(dir, piecesDir))
	for i, entry := range entries { // which are sorted
		name, isNote := strings.CutSuffix(entry.Name(), noteExtension)
		if isNote && i > 0 && entries[i-1].Name() == name { // else we died when it was whole
			names = append(names, name)
		}
	}
	return names
}

// hasObjects reports whether a quarantine has anything but commits, which are sent
// anew.
func hasObjects(dir string) (found bool) {
	if len(piecesIn(dir)) > 0 {
		return true
	}
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
