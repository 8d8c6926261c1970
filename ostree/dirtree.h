#ifndef OSTREE_PUSH_DIRTREE_H
#define OSTREE_PUSH_DIRTREE_H

#include "cgo.h"

/* Checks what a client needs to check a tree out: libostree's own check takes entries
 * without a name, and two of the same. */
gboolean op_validate_dirtree (GVariant *tree, GError **error);

/* The checksums of files, of which there are *n_files, then for each directory those of
 * its dirtree and its dirmeta, and its name, which a NUL ends. */
GBytes *op_dirtree_children (OstreeRepo *repo, const char *checksum, gsize *n_files,
                             GError **error);

#endif
