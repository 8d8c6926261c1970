#ifndef OSTREE_PUSH_PULL_H
#define OSTREE_PUSH_PULL_H

#include "cgo.h"

typedef struct {
  const char *const *commits; /* checksums */
  OstreeRepoPullFlags flags;
  guint32 retries;
} OpPullOptions;

gboolean op_pull (OstreeRepo *repo, const char *remote, const OpPullOptions *options,
                  OstreeAsyncProgress *progress, GCancellable *cancellable, GError **error);

#endif
