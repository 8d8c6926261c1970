package ostree

// #include "cgo.h"
import "C"

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ReplaceFile gives the file name in the repository's directory new content, in one step: a reader has the old
// content or the new one, also after a crash of the machine, and the new one for sure when ReplaceFile has
// returned nil. A process that is killed leaves a file in tmp/, where libostree removes it after a day.
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
