#include "pull.h"

gboolean
op_pull (OstreeRepo *repo, const char *remote, const OpPullOptions *options,
         OstreeAsyncProgress *progress, GCancellable *cancellable, GError **error)
{
  g_auto (GVariantDict) dict;
  g_variant_dict_init (&dict, NULL);
  g_variant_dict_insert_value (&dict, "refs", g_variant_new_strv (options->commits, -1));
  g_variant_dict_insert (&dict, "flags", "i", (gint32)options->flags);
  g_variant_dict_insert (&dict, "depth", "i", 0);
  g_variant_dict_insert (&dict, "disable-static-deltas", "b", TRUE);
  g_variant_dict_insert (&dict, "n-network-retries", "u", options->retries);
  g_variant_dict_insert (&dict, "update-frequency", "u", 100);
  g_variant_dict_insert (&dict, "gpg-verify", "b", FALSE);
  g_variant_dict_insert (&dict, "disable-sign-verify", "b", TRUE);
  g_variant_dict_insert (&dict, "gpg-verify-summary", "b", FALSE);
  g_variant_dict_insert (&dict, "disable-sign-verify-summary", "b", TRUE);
  g_autoptr (GVariant) variant = g_variant_ref_sink (g_variant_dict_end (&dict));
  return ostree_repo_pull_with_options (repo, remote, variant, progress, cancellable, error);
}
