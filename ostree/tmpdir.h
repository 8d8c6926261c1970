#ifndef OSTREE_PUSH_TMPDIR_H
#define OSTREE_PUSH_TMPDIR_H

#include "cgo.h"

/* Has GLib make temporary files in dir from now on, unless it has made any. */
gboolean op_use_tmp_dir (const char *dir);

#endif
