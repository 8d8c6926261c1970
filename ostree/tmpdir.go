package ostree

// #include "tmpdir.h"
import "C"

// UseTempDir has libostree make its temporary directories, which are those that it runs gpg in,
// in dir, an absolute path. It is for the whole process and for good, and has to be called before
// any is made: it reports whether it was. Programs that are run later find TMPDIR as it was.
func UseTempDir(dir string) bool {
	cdir, free := cstring(dir)
	defer free()
	return C.op_use_tmp_dir(cdir) != 0
}
