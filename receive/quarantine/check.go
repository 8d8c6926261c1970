package quarantine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"ostree-push/internal/workers"
	"ostree-push/ostree"
)

// This file compares objects with their checksums.

// SmallSize is the size, in bytes, of the largest object that is checked in memory.
const SmallSize = 512 << 10

// CheckFile compares an object that has a file to itself with its checksum. A mistake is an error, and so is metadata that
// is larger than ostree.MaxMetadataSize.
func CheckFile(ctx context.Context, f *os.File, e ostree.ObjectName) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > SmallSize && e.Type == ostree.ObjectFile {
		return ostree.CheckContentFile(ctx, e.Sum, f)
	}
	if e.Type != ostree.ObjectFile && info.Size() > ostree.MaxMetadataSize {
		return fmt.Errorf("%d bytes are too many", info.Size())
	}
	data := make([]byte, info.Size())
	if _, err := f.ReadAt(data, 0); err != nil {
		return err
	}
	return ostree.CheckBytes(e.Type, e.Sum, data)
}

// Check compares all objects in the quarantine with their checksums.
func (q *Quarantine) Check(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan ostree.ObjectName, 1000)
	checkers := workers.Start(work, func(e ostree.ObjectName) {
		if ctx.Err() != nil {
			return
		}
		if err := q.checkObject(ctx, e); err != nil {
			cancel(fmt.Errorf("object %s: %w", e.String(), err))
		}
	})
	var arrived int64
	err := q.eachObject(func(e ostree.ObjectName) {
		if e.Type != ostree.ObjectCommit {
			arrived++
		}
		work <- e
	})
	q.arrived.Store(arrived)
	close(work)
	checkers.Wait()
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("receive the objects: %w", err)
	}
	return nil
}

// Count returns how many objects have arrived, and how many bytes their files have.
func (q *Quarantine) Count() (objects int, bytes int64, err error) {
	err = q.eachObject(func(e ostree.ObjectName) {
		if info, err := os.Lstat(q.objectPath(e)); err == nil {
			objects++
			bytes += info.Size()
		}
	})
	return objects, bytes, err
}

// checkObject checks one object in the quarantine.
func (q *Quarantine) checkObject(ctx context.Context, e ostree.ObjectName) error {
	f, err := os.OpenFile(q.objectPath(e), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// Whoever has left it may have had another umask, and an older version.
	if err := f.Chmod(objectMode); err != nil {
		return err
	}
	return Fault(CheckFile(ctx, f, e))
}

// eachObject calls f for each object in the quarantine.
func (q *Quarantine) eachObject(f func(ostree.ObjectName)) error {
	objects := filepath.Join(q.dir, "objects")
	dirs, err := os.ReadDir(objects) // no Glob: the path may have characters of a pattern
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if len(d.Name()) != 2 {
			continue
		}
		dir := filepath.Join(objects, d.Name())
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			hex, extension, _ := strings.Cut(entry.Name(), ".")
			sum, err := ostree.ParseChecksum(filepath.Base(dir) + hex)
			if err != nil {
				continue
			}
			for _, t := range []ostree.ObjectType{ostree.ObjectFile, ostree.ObjectDirTree, ostree.ObjectDirMeta, ostree.ObjectCommit} {
				if t.Extension() == extension {
					f(ostree.ObjectName{Type: t, Sum: sum})
				}
			}
		}
	}
	return nil
}
