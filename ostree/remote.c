#include "remote.h"

GBytes *
op_fetch_summary (OstreeRepo *repo, const char *remote, guint32 retries, GCancellable *cancellable,
                  GError **error)
{
  g_auto (GVariantDict) dict;
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert (&dict, "n-network-retries", "u", retries);
  g_autoptr (GVariant) variant = g_variant_ref_sink (g_variant_dict_end (&dict));
  g_autoptr (GBytes) summary = NULL;
  if (!ostree_repo_remote_fetch_summary_with_options (repo, remote, variant, &summary, NULL,
                                                      cancellable, error))
    return NULL;
  if (summary == NULL)
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                           "Remote refs not available; server has no summary file");
      return NULL;
    }
  return g_steal_pointer (&summary);
}
