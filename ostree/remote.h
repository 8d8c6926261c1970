#ifndef OSTREE_PUSH_REMOTE_H
#define OSTREE_PUSH_REMOTE_H

#include "cgo.h"

GBytes *op_fetch_summary (OstreeRepo *repo, const char *remote, guint32 retries,
                          GCancellable *cancellable, GError **error);

#endif
