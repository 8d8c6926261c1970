#include "commit.h"
#include "summary.h"

static void
checksum_from_variant (GVariant *bytes, char *out, GError **error)
{
  const guchar *csum = ostree_checksum_bytes_peek_validate (bytes, error);
  if (csum != NULL)
    ostree_checksum_inplace_from_bytes (csum, out);
}

char **
op_summary_refs (GBytes *bytes, GError **error)
{
  g_autoptr (GVariant) summary = op_variant_of (OSTREE_SUMMARY_GVARIANT_FORMAT, bytes);
  /* To GVariant, nothing at all is a summary of nothing. */
  if (g_bytes_get_size (bytes) == 0 || !g_variant_is_normal_form (summary))
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                           "The summary is not a valid summary file");
      return NULL;
    }
  g_autoptr (GVariant) refs = g_variant_get_child_value (summary, 0);
  gsize n = g_variant_n_children (refs);
  g_auto (GStrv) strv = g_new0 (char *, 2 * n + 1);
  for (gsize i = 0; i < n; i++)
    {
      const char *name;
      g_autoptr (GVariant) checksum = NULL;
      char text[OSTREE_SHA256_STRING_LEN + 1];
      GError *local_error = NULL;
      g_variant_get_child (refs, i, "(&s(t@ay@a{sv}))", &name, NULL, &checksum, NULL);
      checksum_from_variant (checksum, text, &local_error);
      if (local_error != NULL)
        {
          g_propagate_prefixed_error (error, local_error, "Ref %s in summary: ", name);
          return NULL;
        }
      strv[2 * i] = g_strdup (name);
      strv[2 * i + 1] = g_strdup (text);
    }
  return g_steal_pointer (&strv);
}

/* Appends what a summary says of a ref, as libostree has it. */
static gboolean
add_ref_entry (OstreeRepo *repo, GVariantBuilder *builder, const char *ref, const char *checksum,
               GError **error)
{
  g_autoptr (GVariant) commit = op_load_valid_commit (repo, checksum, NULL, error);
  if (commit == NULL)
    {
      g_prefix_error (error, "Ref %s: ", ref);
      return FALSE;
    }
  g_autoptr (GVariant) commit_metadata = g_variant_get_child_value (commit, 0);
  g_auto (GVariantDict) metadata;
  g_variant_dict_init (&metadata, NULL);
  g_variant_dict_insert (&metadata, "ostree.commit.timestamp", "t",
                         GUINT64_TO_BE (ostree_commit_get_timestamp (commit)));
  const char *version;
  if (g_variant_lookup (commit_metadata, OSTREE_COMMIT_META_KEY_VERSION, "&s", &version))
    g_variant_dict_insert (&metadata, "ostree.commit.version", "s", version);
  g_variant_builder_add (builder, "(s(t@ay@a{sv}))", ref, (guint64)g_variant_get_size (commit),
                         ostree_checksum_to_bytes_v (checksum), g_variant_dict_end (&metadata));
  return TRUE;
}

/* A summary of refs with that metadata, which is ended. */
static GBytes *
summary_of (OstreeRepo *repo, const char *const *refs, GVariantDict *metadata, GError **error)
{
  g_autoptr (GVariantBuilder) builder
      = g_variant_builder_new (G_VARIANT_TYPE ("a(s(taya{sv}))"));
  const char *collection_id = ostree_repo_get_collection_id (repo);
  if (collection_id != NULL)
    g_variant_dict_insert (metadata, "ostree.summary.collection-id", "s", collection_id);
  g_autoptr (GVariant) all = g_variant_ref_sink (g_variant_dict_end (metadata));
  for (const char *const *p = refs; *p != NULL; p += 2)
    if (!add_ref_entry (repo, builder, p[0], p[1], error))
      return NULL;
  g_autoptr (GVariant) summary = g_variant_ref_sink (
      g_variant_new ("(@a(s(taya{sv}))@a{sv})", g_variant_builder_end (builder), all));
  return g_variant_get_data_as_bytes (summary);
}

GBytes *
op_summary_new (OstreeRepo *repo, const char *const *refs, GError **error)
{
  g_auto (GVariantDict) metadata;
  g_variant_dict_init (&metadata, NULL);
  return summary_of (repo, refs, &metadata, error);
}

/* The metadata of a summary of the repository's, a{sv}, or NULL. */
static GVariant *
summary_metadata (GBytes *bytes)
{
  if (g_bytes_get_size (bytes) == 0)
    return NULL;
  g_autoptr (GVariant) summary = op_variant_of (OSTREE_SUMMARY_GVARIANT_FORMAT, bytes);
  if (!g_variant_is_normal_form (summary))
    return NULL;
  return g_variant_get_child_value (summary, 1);
}

GBytes *
op_summary_update (OstreeRepo *repo, const char *const *refs, GBytes *old, GError **error)
{
  g_autoptr (GVariant) before = summary_metadata (old);
  GKeyFile *config = ostree_repo_get_config (repo);
  g_autofree char *mode = g_key_file_get_string (config, "core", "mode", NULL);
  g_auto (GVariantDict) metadata;
  g_variant_dict_init (&metadata, before);
  /* What is old may name deltas that are gone. */
  g_variant_dict_remove (&metadata, "ostree.static-deltas");
  g_variant_dict_insert (&metadata, "ostree.summary.last-modified", "t",
                         GUINT64_TO_BE (g_get_real_time () / G_USEC_PER_SEC));
  g_variant_dict_insert (&metadata, "ostree.summary.mode", "s", mode == NULL ? "bare" : mode);
  g_variant_dict_insert (&metadata, "ostree.summary.tombstone-commits", "b",
                         g_key_file_get_boolean (config, "core", "tombstone-commits", NULL));
  return summary_of (repo, refs, &metadata, error);
}
