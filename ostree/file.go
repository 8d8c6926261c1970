package ostree

// #include "cgo.h"
import "C"

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ReplaceFile gives a file in the repository's directory, by its name, new content, so that a reader, and whoever
// starts the machine after a crash, sees the old one or the new one. What a process that is killed leaves
// is in tmp/, where libostree removes it.
func (r *Repo) ReplaceFile(name string, content []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Join(r.path, "tmp"), name+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails when it has its new name
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(r.path, name)); err != nil {
		return err
	}
	return os.NewSyscallError("fsync", unix.Fsync(int(C.ostree_repo_get_dfd(r.c))))
}
