package ostree

// #include "tmpdir.h"
import "C"

// UseTempDir makes dir, an absolute path, the directory in which libostree makes temporary directories, in which
// it runs gpg. That is for the whole process, and for good, so UseTempDir reports false, and changes nothing, if
// GLib has looked for such a directory before. TMPDIR in the environment stays as it was, for the programs
// that are run later.
func UseTempDir(dir string) bool {
	cdir, free := cstring(dir)
	defer free()
	return C.op_use_tmp_dir(cdir) != 0
}
