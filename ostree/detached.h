#ifndef OSTREE_PUSH_DETACHED_H
#define OSTREE_PUSH_DETACHED_H

#include "cgo.h"

/* *metadata is NULL if there is none. */
gboolean op_detached_metadata (OstreeRepo *repo, const char *checksum, GBytes **metadata,
                               GCancellable *cancellable, GError **error);
gboolean op_write_detached_metadata (OstreeRepo *repo, const char *checksum, GBytes *metadata,
                                     GCancellable *cancellable, GError **error);

#endif
