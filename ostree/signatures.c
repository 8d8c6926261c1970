#include "signatures.h"

GVariantBuilder *
op_signatures_new (void)
{
  return g_variant_builder_new (G_VARIANT_TYPE ("aay"));
}

void
op_signatures_add (GVariantBuilder *builder, const void *data, gsize size)
{
  g_variant_builder_add_value (builder,
                               g_variant_new_fixed_array (G_VARIANT_TYPE_BYTE, data, size, 1));
}

GVariant *
op_signatures_end (GVariantBuilder *builder)
{
  GVariant *signatures = g_variant_ref_sink (g_variant_builder_end (builder));
  g_variant_builder_unref (builder);
  return signatures;
}

GVariant *
op_commit_signatures (OstreeRepo *repo, const char *checksum, const char *key,
                      GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) trusted = NULL;
  if (!ostree_repo_read_commit_detached_metadata (repo, checksum, &trusted, cancellable, error))
    return NULL;
  GVariant *signatures = NULL;
  if (trusted != NULL)
    {
      /* libostree takes what is in a repository for valid. */
      g_autoptr (GBytes) bytes = g_variant_get_data_as_bytes (trusted);
      g_autoptr (GVariant) metadata = op_variant_of (G_VARIANT_TYPE_VARDICT, bytes);
      signatures = g_variant_lookup_value (metadata, key, G_VARIANT_TYPE ("aay"));
    }
  if (signatures == NULL)
    return op_signatures_end (op_signatures_new ());
  return signatures;
}

/* Appends the signatures that metadata (or NULL) does not have yet. Its other
 * entries stay. */
static GVariant *
append_signatures (GVariant *metadata, const char *key, GVariant *signatures)
{
  g_auto (GVariantDict) dict;
  g_variant_dict_init (&dict, metadata);
  g_autoptr (GVariant) old = g_variant_dict_lookup_value (&dict, key, G_VARIANT_TYPE ("aay"));
  gsize n_old = old == NULL ? 0 : g_variant_n_children (old);
  g_autoptr (GVariantBuilder) all = op_signatures_new ();
  for (gsize i = 0; i < n_old; i++)
    {
      g_autoptr (GVariant) child = g_variant_get_child_value (old, i);
      g_variant_builder_add_value (all, child);
    }
  for (gsize i = 0; i < g_variant_n_children (signatures); i++)
    {
      g_autoptr (GVariant) child = g_variant_get_child_value (signatures, i);
      gboolean known = FALSE;
      for (gsize j = 0; j < n_old && !known; j++)
        {
          g_autoptr (GVariant) other = g_variant_get_child_value (old, j);
          known = g_variant_equal (child, other);
        }
      if (!known)
        g_variant_builder_add_value (all, child);
    }
  g_variant_dict_insert_value (&dict, key, g_variant_builder_end (all));
  g_autoptr (GVariant) appended = g_variant_ref_sink (g_variant_dict_end (&dict));
  return g_variant_get_normal_form (appended);
}

gboolean
op_add_commit_signatures (OstreeRepo *repo, const char *checksum, const char *key,
                          GVariant *signatures, GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariant) metadata = NULL;
  if (!ostree_repo_read_commit_detached_metadata (repo, checksum, &metadata, cancellable, error))
    return FALSE;
  g_autoptr (GVariant) appended = append_signatures (metadata, key, signatures);
  if (metadata != NULL && g_variant_equal (metadata, appended))
    return TRUE;
  return ostree_repo_write_commit_detached_metadata (repo, checksum, appended, cancellable, error);
}

GBytes *
op_append_signatures (GBytes *metadata, const char *key, GVariant *signatures)
{
  g_autoptr (GVariant) old = op_variant_of (G_VARIANT_TYPE_VARDICT, metadata);
  g_autoptr (GVariant) appended = append_signatures (old, key, signatures);
  return g_variant_get_data_as_bytes (appended);
}
