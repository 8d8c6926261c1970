#include "detached.h"

gboolean
op_detached_metadata (OstreeRepo *repo, const char *checksum, GBytes **metadata,
                      GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) variant = NULL;
  if (!ostree_repo_read_commit_detached_metadata (repo, checksum, &variant, cancellable, error))
    return FALSE;
  *metadata = variant == NULL ? NULL : g_variant_get_data_as_bytes (variant);
  return TRUE;
}

gboolean
op_write_detached_metadata (OstreeRepo *repo, const char *checksum, GBytes *metadata,
                            GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) parsed = op_variant_of (G_VARIANT_TYPE_VARDICT, metadata);
  g_autoptr (GVariant) normal = g_variant_get_normal_form (parsed);
  return ostree_repo_write_commit_detached_metadata (repo, checksum, normal, cancellable, error);
}
