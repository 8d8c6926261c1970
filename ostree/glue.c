#include "glue.h"

const char *
op_version (void)
{
  return OSTREE_VERSION_S;
}

OstreeRepo *
op_repo_open (const char *path, GError **error)
{
  g_autoptr (OstreeRepo) repo = NULL;
  if (path == NULL)
    repo = ostree_repo_new_default ();
  else
    {
      g_autoptr (GFile) file = g_file_new_for_path (path);
      repo = ostree_repo_new (file);
    }
  if (!ostree_repo_open (repo, NULL, error))
    return NULL;
  return g_steal_pointer (&repo);
}

OstreeRepo *
op_repo_create (const char *path, OstreeRepoMode mode, GError **error)
{
  return ostree_repo_create_at (AT_FDCWD, path, mode, NULL, NULL, error);
}

gboolean
op_repo_set_config (OstreeRepo *repo, const char *const *groups_keys_values, GError **error)
{
  g_autoptr (GKeyFile) config = ostree_repo_copy_config (repo);
  for (const char *const *p = groups_keys_values; *p != NULL; p += 3)
    g_key_file_set_string (config, p[0], p[1], p[2]);
  if (!ostree_repo_write_config (repo, config, error))
    return FALSE;
  return ostree_repo_reload_config (repo, NULL, error);
}

char *
op_repo_get_config (OstreeRepo *repo, const char *group, const char *key)
{
  return g_key_file_get_string (ostree_repo_get_config (repo), group, key, NULL);
}

char *
op_repo_path (OstreeRepo *repo)
{
  return g_file_get_path (ostree_repo_get_path (repo));
}

static int
compare_strings (gconstpointer a, gconstpointer b)
{
  return strcmp (*(const char *const *)a, *(const char *const *)b);
}

static char **
refs_to_strv (GHashTable *refs)
{
  g_autofree const char **names = (const char **)g_hash_table_get_keys_as_array (refs, NULL);
  guint n = g_hash_table_size (refs);
  qsort (names, n, sizeof (char *), compare_strings);
  char **strv = g_new0 (char *, 2 * n + 1);
  for (guint i = 0; i < n; i++)
    {
      strv[2 * i] = g_strdup (names[i]);
      strv[2 * i + 1] = g_strdup (g_hash_table_lookup (refs, names[i]));
    }
  return strv;
}

char **
op_repo_list_refs (OstreeRepo *repo, GCancellable *cancellable, GError **error)
{
  g_autoptr (GHashTable) refs = NULL;
  if (!ostree_repo_list_refs_ext (repo, NULL, &refs,
                                  OSTREE_REPO_LIST_REFS_EXT_EXCLUDE_REMOTES
                                      | OSTREE_REPO_LIST_REFS_EXT_EXCLUDE_MIRRORS,
                                  cancellable, error))
    return NULL;
  return refs_to_strv (refs);
}

/* libostree checks the structure of commits that it writes, but marks those
 * that it reads as trusted, and GVariant then believes that strings have an
 * end. In a damaged repository they can be anything. */
static GVariant *
load_valid_commit (OstreeRepo *repo, const char *checksum, OstreeRepoCommitState *state,
                   GError **error)
{
  g_autoptr (GVariant) trusted = NULL;
  if (!ostree_repo_load_commit (repo, checksum, &trusted, state, error))
    return NULL;
  g_autoptr (GBytes) bytes = g_variant_get_data_as_bytes (trusted);
  g_autoptr (GVariant) commit = g_variant_ref_sink (
      g_variant_new_from_bytes (OSTREE_COMMIT_GVARIANT_FORMAT, bytes, FALSE));
  if (!ostree_validate_structureof_commit (commit, error))
    {
      g_prefix_error (error, "Commit %s: ", checksum);
      return NULL;
    }
  return g_steal_pointer (&commit);
}

gboolean
op_load_commit (OstreeRepo *repo, const char *checksum, OpCommit *out, GError **error)
{
  OstreeRepoCommitState state;
  g_autoptr (GVariant) commit = load_valid_commit (repo, checksum, &state, error);
  if (commit == NULL)
    return FALSE;

  g_autoptr (GVariant) tree = NULL;
  g_autoptr (GVariant) dirmeta = NULL;
  const char *subject, *body;
  g_variant_get (commit, "(@a{sv}@aya(say)&s&st@ay@ay)", &out->metadata, NULL, NULL, &subject,
                 &body, NULL, &tree, &dirmeta);
  out->subject = g_strdup (subject);
  out->body = g_strdup (body);
  out->parent = ostree_commit_get_parent (commit);
  out->tree = ostree_checksum_from_bytes_v (tree);
  out->dirmeta = ostree_checksum_from_bytes_v (dirmeta);
  out->timestamp = ostree_commit_get_timestamp (commit);
  out->partial = (state & OSTREE_REPO_COMMIT_STATE_PARTIAL) != 0;
  return TRUE;
}

void
op_commit_clear (OpCommit *commit)
{
  g_clear_pointer (&commit->metadata, g_variant_unref);
  g_clear_pointer (&commit->subject, g_free);
  g_clear_pointer (&commit->body, g_free);
  g_clear_pointer (&commit->parent, g_free);
  g_clear_pointer (&commit->tree, g_free);
  g_clear_pointer (&commit->dirmeta, g_free);
}

GVariantDict *
op_metadata_edit (GVariant *metadata)
{
  return g_variant_dict_new (metadata);
}

void
op_metadata_set_string (GVariantDict *dict, const char *key, const char *value)
{
  g_variant_dict_insert_value (dict, key, g_variant_new_string (value));
}

void
op_metadata_set_strv (GVariantDict *dict, const char *key, const char *const *value)
{
  g_variant_dict_insert_value (dict, key, g_variant_new_strv (value, -1));
}

char *
op_write_commit_like (OstreeRepo *repo, const char *source, GVariantDict *dict, const char *parent,
                      const char *subject, const char *body, guint64 timestamp,
                      GCancellable *cancellable, GError **error)
{
  g_autoptr (GVariantDict) edited = dict;
  g_autoptr (GVariant) metadata = g_variant_ref_sink (g_variant_dict_end (edited));
  g_autoptr (GFile) root = NULL;
  if (!ostree_repo_read_commit (repo, source, &root, NULL, cancellable, error))
    return NULL;
  g_autofree char *checksum = NULL;
  if (!ostree_repo_write_commit_with_time (repo, parent, subject, body, metadata,
                                           OSTREE_REPO_FILE (root), timestamp, &checksum,
                                           cancellable, error))
    return NULL;
  return g_steal_pointer (&checksum);
}

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
  g_variant_dict_insert (&dict, "inherit-transaction", "b", options->inherit_transaction);
  g_variant_dict_insert (&dict, "n-network-retries", "u", options->retries);
  g_variant_dict_insert (&dict, "update-frequency", "u", 100);
  if (!options->verify_signatures)
    {
      g_variant_dict_insert (&dict, "gpg-verify", "b", FALSE);
      g_variant_dict_insert (&dict, "disable-sign-verify", "b", TRUE);
    }
  g_variant_dict_insert (&dict, "gpg-verify-summary", "b", FALSE);
  g_variant_dict_insert (&dict, "disable-sign-verify-summary", "b", TRUE);
  g_autoptr (GVariant) variant = g_variant_ref_sink (g_variant_dict_end (&dict));
  return ostree_repo_pull_with_options (repo, remote, variant, progress, cancellable, error);
}

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

static void
checksum_from_variant (GVariant *bytes, char *out, GError **error)
{
  const guchar *csum = ostree_checksum_bytes_peek_validate (bytes, error);
  if (csum != NULL)
    ostree_checksum_inplace_from_bytes (csum, out);
}

char **
op_summary_refs (const void *data, gsize size, GError **error)
{
  /* A copy, since GVariant wants its data aligned. */
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);
  g_autoptr (GVariant) summary = g_variant_ref_sink (
      g_variant_new_from_bytes (OSTREE_SUMMARY_GVARIANT_FORMAT, bytes, FALSE));
  /* To GVariant, nothing at all is a summary of nothing. */
  if (size == 0 || !g_variant_is_normal_form (summary))
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

GBytes *
op_summary_new (OstreeRepo *repo, const char *const *refs, GError **error)
{
  g_autoptr (GVariantBuilder) builder
      = g_variant_builder_new (G_VARIANT_TYPE ("a(s(taya{sv}))"));
  for (const char *const *p = refs; *p != NULL; p += 2)
    {
      g_autoptr (GVariant) commit = load_valid_commit (repo, p[1], NULL, error);
      if (commit == NULL)
        {
          g_prefix_error (error, "Ref %s: ", p[0]);
          return NULL;
        }
      g_auto (GVariantDict) metadata;
      g_variant_dict_init (&metadata, NULL);
      g_variant_dict_insert (&metadata, "ostree.commit.timestamp", "t",
                             GUINT64_TO_BE (ostree_commit_get_timestamp (commit)));
      g_variant_builder_add (builder, "(s(t@ay@a{sv}))", p[0],
                             (guint64)g_variant_get_size (commit),
                             ostree_checksum_to_bytes_v (p[1]), g_variant_dict_end (&metadata));
    }
  g_auto (GVariantDict) metadata;
  g_variant_dict_init (&metadata, NULL);
  const char *collection_id = ostree_repo_get_collection_id (repo);
  if (collection_id != NULL)
    g_variant_dict_insert (&metadata, "ostree.summary.collection-id", "s", collection_id);
  g_autoptr (GVariant) summary = g_variant_ref_sink (
      g_variant_new ("(@a(s(taya{sv}))@a{sv})", g_variant_builder_end (builder),
                     g_variant_dict_end (&metadata)));
  return g_variant_get_data_as_bytes (summary);
}

#if !OSTREE_CHECK_VERSION(2023, 1)
/* Commits "ostree-metadata" of a repository with a collection id, as
 * `ostree summary --update` of these versions does: an empty tree whose
 * bindings name the ref and the collection. */
static gboolean
write_metadata_commit (OstreeRepo *repo, const char *collection_id, GCancellable *cancellable,
                       GError **error)
{
  OstreeCollectionRef ref = { (char *)collection_id, (char *)OSTREE_REPO_METADATA_REF };
  const char *const binding[] = { OSTREE_REPO_METADATA_REF, NULL };

  g_autofree char *parent = NULL;
  if (!ostree_repo_resolve_rev (repo, OSTREE_REPO_METADATA_REF, TRUE, &parent, error))
    return FALSE;

  g_auto (GVariantDict) dict;
  g_variant_dict_init (&dict, NULL);
  op_metadata_set_string (&dict, OSTREE_COMMIT_META_KEY_COLLECTION_BINDING, collection_id);
  op_metadata_set_strv (&dict, OSTREE_COMMIT_META_KEY_REF_BINDING, binding);
  g_autoptr (GVariant) metadata = g_variant_ref_sink (g_variant_dict_end (&dict));

  g_autoptr (GFileInfo) info = g_file_info_new ();
  g_file_info_set_attribute_uint32 (info, "unix::uid", 0);
  g_file_info_set_attribute_uint32 (info, "unix::gid", 0);
  g_file_info_set_attribute_uint32 (info, "unix::mode", 0755 | S_IFDIR);
  g_autoptr (GVariant) dirmeta = ostree_create_directory_metadata (info, NULL);

  g_autofree guchar *dirmeta_csum = NULL;
  if (!ostree_repo_write_metadata (repo, OSTREE_OBJECT_TYPE_DIR_META, NULL, dirmeta, &dirmeta_csum,
                                   cancellable, error))
    return FALSE;
  g_autofree char *dirmeta_checksum = ostree_checksum_from_bytes (dirmeta_csum);

  g_autoptr (OstreeMutableTree) tree = ostree_mutable_tree_new ();
  ostree_mutable_tree_set_metadata_checksum (tree, dirmeta_checksum);
  g_autoptr (GFile) root = NULL;
  if (!ostree_repo_write_mtree (repo, tree, &root, cancellable, error))
    return FALSE;

  g_autofree char *checksum = NULL;
  if (!ostree_repo_write_commit (repo, parent, NULL, NULL, metadata, OSTREE_REPO_FILE (root),
                                 &checksum, cancellable, error))
    return FALSE;
  ostree_repo_transaction_set_collection_ref (repo, &ref, checksum);
  return TRUE;
}
#endif

gboolean
op_regenerate_metadata (OstreeRepo *repo, GCancellable *cancellable, GError **error)
{
#if OSTREE_CHECK_VERSION(2023, 1)
  return ostree_repo_regenerate_metadata (repo, NULL, NULL, cancellable, error);
#else
  const char *collection_id = ostree_repo_get_collection_id (repo);
  if (collection_id != NULL)
    {
      if (!ostree_repo_prepare_transaction (repo, NULL, cancellable, error))
        return FALSE;
      if (!write_metadata_commit (repo, collection_id, cancellable, error)
          || !ostree_repo_commit_transaction (repo, NULL, cancellable, error))
        {
          ostree_repo_abort_transaction (repo, NULL, NULL);
          return FALSE;
        }
    }
  return ostree_repo_regenerate_summary (repo, NULL, cancellable, error);
#endif
}

GInputStream *
op_open_archive_stream (OstreeRepo *repo, const char *checksum, GCancellable *cancellable,
                        GError **error)
{
  g_autoptr (GInputStream) content = NULL;
  g_autoptr (GFileInfo) info = NULL;
  g_autoptr (GVariant) xattrs = NULL;
  if (!ostree_repo_load_file (repo, checksum, &content, &info, &xattrs, cancellable, error))
    return NULL;
  g_autoptr (GInputStream) archive = NULL;
  if (!ostree_raw_file_to_archive_z2_stream (content, info, xattrs, &archive, cancellable, error))
    return NULL;
  return g_steal_pointer (&archive);
}
