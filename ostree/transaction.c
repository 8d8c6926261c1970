#include "transaction.h"

char *
op_write_commit_like (OstreeRepo *repo, OstreeRepo *from, const char *source, GVariant *metadata,
                      const char *parent, const char *subject, const char *body,
                      guint64 timestamp, GCancellable *cancellable, GError **error)
{
  g_autoptr (GFile) root = NULL;
  if (!ostree_repo_read_commit (from, source, &root, NULL, cancellable, error))
    return NULL;
  g_autofree char *checksum = NULL;
  if (!ostree_repo_write_commit_with_time (repo, parent, subject, body, metadata,
                                           OSTREE_REPO_FILE (root), timestamp, &checksum,
                                           cancellable, error))
    return NULL;
  return g_steal_pointer (&checksum);
}
