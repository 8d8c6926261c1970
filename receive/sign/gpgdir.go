package sign

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"ostree-push/internal/held"
	"ostree-push/ostree"
)

// This file is about the temporary directories that libostree runs gpg in. It removes them itself,
// unless it is killed.

// gpgDir is a directory in TMPDIR for them, which is held as a quarantine is: so one that a
// receiver has left behind that was killed can be told from any other, and nobody else's is touched.
type gpgDir struct {
	path string
	held *os.File
}

const gpgDirPrefix = "ostree-receive-gpg-"

// newGPGDir makes the directory for this process, and removes those that have been left behind. A
// gpg-agent that somebody has started there ends when it is gone.
func newGPGDir() (*gpgDir, error) {
	tmp, err := filepath.Abs(os.TempDir())
	if err != nil {
		return nil, err
	}
	removeAbandonedGPGDirs(tmp)
	path, lock, err := held.Make(tmp, gpgDirPrefix)
	if err != nil {
		return nil, fmt.Errorf("make a directory for gpg: %w", err)
	}
	ostree.UseTempDir(path)
	return &gpgDir{path, lock}, nil
}

func (d *gpgDir) remove() {
	os.RemoveAll(d.path)
	d.held.Close()
}

// removeAbandonedGPGDirs is a courtesy, as with quarantines. Others may make what they like in TMPDIR: what
// is not ours is left alone.
func removeAbandonedGPGDirs(tmp string) {
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), gpgDirPrefix) {
			continue
		}
		d := gpgDir{path: filepath.Join(tmp, entry.Name())}
		if d.held, err = held.Hold(d.path); err != nil {
			continue
		}
		if isOurs(d.held) {
			d.remove()
		} else {
			d.held.Close()
		}
	}
}

func isOurs(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}
