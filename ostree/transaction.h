#ifndef OSTREE_PUSH_TRANSACTION_H
#define OSTREE_PUSH_TRANSACTION_H

#include "cgo.h"

/* Writes a commit with the tree of source, and returns its checksum. parent: or NULL. */
char *op_write_commit_like (OstreeRepo *repo, OstreeRepo *from, const char *source, GVariant *metadata,
                            const char *parent, const char *subject, const char *body,
                            guint64 timestamp, GCancellable *cancellable, GError **error);

#endif
