package main

import (
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// For some minutes, ext4 passes over inodes that were freed, one by one. Where
// thousands of files were removed a moment ago, creating as many takes several
// times longer, and who is in the race does not matter any more. So nothing is
// removed between the runs, and each goes to another place of the disk, away
// from what an earlier benchmark has removed.

// spread makes a file system place each directory that is created in dir away
// from the others, as far as it can do that.
func spread(dir string) {
	const topDir = 0x00020000 // FS_TOPDIR_FL, see chattr(1), T
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	if flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS); err == nil {
		unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|topDir)
	}
}

// empty frees the space of all files below a directory, but keeps the files. Those that are elsewhere, too, stay as they are.
func empty(dir string) {
	filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		var info unix.Stat_t
		if err == nil && entry.Type().IsRegular() && unix.Lstat(path, &info) == nil && info.Nlink == 1 {
			os.Truncate(path, 0)
		}
		return nil
	})
}
