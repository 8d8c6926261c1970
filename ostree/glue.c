#include "glue.h"

void
op_version (guint *year, guint *release)
{
  /* There is no function that tells, but one that compares. Versions of a year begin
   * with 1; the check answers for the library that runs. */
  guint y = 2017, r = 0;
  while (ostree_check_version (y + 1, 0))
    y++;
  while (ostree_check_version (y, r + 1))
    r++;
  *year = y;
  *release = r;
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
    /* libostree reads them as they are, without what escapes in a string. */
    g_key_file_set_value (config, p[0], p[1], p[2]);
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
  g_autofree char *actual = g_compute_checksum_for_bytes (G_CHECKSUM_SHA256, bytes);
  if (strcmp (actual, checksum) != 0)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                   "Commit %s is corrupt: its checksum is %s", checksum, actual);
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

GVariant *
op_metadata_lookup (GVariant *metadata, const char *key, const char *type)
{
  return g_variant_lookup_value (metadata, key, G_VARIANT_TYPE (type));
}

GVariantDict *
op_metadata_edit (GVariant *metadata)
{
  return g_variant_dict_new (metadata);
}

GVariant *
op_metadata_end (GVariantDict *dict)
{
  g_autoptr (GVariantDict) edited = dict;
  return g_variant_ref_sink (g_variant_dict_end (edited));
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
  g_autoptr (GVariant) metadata = op_metadata_end (dict);
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
  g_variant_dict_insert (&dict, "n-network-retries", "u", options->retries);
  g_variant_dict_insert (&dict, "update-frequency", "u", 100);
  g_variant_dict_insert (&dict, "gpg-verify", "b", FALSE);
  g_variant_dict_insert (&dict, "disable-sign-verify", "b", TRUE);
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

/* Appends what a summary says of a ref, as libostree has it. */
static gboolean
add_ref_entry (OstreeRepo *repo, GVariantBuilder *builder, const char *ref, const char *checksum,
               GError **error)
{
  g_autoptr (GVariant) commit = load_valid_commit (repo, checksum, NULL, error);
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

/* Consumes metadata. */
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
summary_metadata (const void *summary, gsize size)
{
  if (size == 0)
    return NULL;
  g_autoptr (GBytes) bytes = g_bytes_new (summary, size); /* aligned */
  g_autoptr (GVariant) variant = g_variant_ref_sink (
      g_variant_new_from_bytes (OSTREE_SUMMARY_GVARIANT_FORMAT, bytes, FALSE));
  if (!g_variant_is_normal_form (variant))
    return NULL;
  return g_variant_get_child_value (variant, 1);
}

GBytes *
op_summary_update (OstreeRepo *repo, const char *const *refs, const void *old, gsize old_size,
                   GError **error)
{
  g_autoptr (GVariant) before = summary_metadata (old, old_size);
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

/* The "av" that libostree wants secret keys in. */
static GVariant *
secret_keys (const OpSigners *signers)
{
  g_autoptr (GVariantBuilder) builder = g_variant_builder_new (G_VARIANT_TYPE ("av"));
  for (const char *const *key = signers->sign_keys; *key != NULL; key++)
    g_variant_builder_add (builder, "v", g_variant_new_string (*key));
  return g_variant_builder_end (builder);
}

#if !OSTREE_CHECK_VERSION(2023, 1)
/* Writes the commit of "ostree-metadata" of a repository with a collection id,
 * as `ostree summary --update` of these versions does: an empty tree whose
 * bindings name the ref and the collection. Returns its checksum. */
static char *
write_metadata_commit (OstreeRepo *repo, const char *collection_id, GCancellable *cancellable,
                       GError **error)
{
  const char *const binding[] = { OSTREE_REPO_METADATA_REF, NULL };

  g_autofree char *parent = NULL;
  if (!ostree_repo_resolve_rev (repo, OSTREE_REPO_METADATA_REF, TRUE, &parent, error))
    return NULL;

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
    return NULL;
  g_autofree char *dirmeta_checksum = ostree_checksum_from_bytes (dirmeta_csum);

  g_autoptr (OstreeMutableTree) tree = ostree_mutable_tree_new ();
  ostree_mutable_tree_set_metadata_checksum (tree, dirmeta_checksum);
  g_autoptr (GFile) root = NULL;
  if (!ostree_repo_write_mtree (repo, tree, &root, cancellable, error))
    return NULL;

  g_autofree char *checksum = NULL;
  if (!ostree_repo_write_commit (repo, parent, NULL, NULL, metadata, OSTREE_REPO_FILE (root),
                                 &checksum, cancellable, error))
    return NULL;
  return g_steal_pointer (&checksum);
}
#endif

#if OSTREE_CHECK_VERSION(2023, 1)
gboolean
op_regenerate_metadata (OstreeRepo *repo, const OpSigners *signers, GCancellable *cancellable,
                        GError **error)
{
  g_auto (GVariantDict) options;
  g_variant_dict_init (&options, NULL);
  if (*signers->gpg_keys != NULL)
    op_metadata_set_strv (&options, "gpg-key-ids", signers->gpg_keys);
  if (signers->gpg_homedir != NULL)
    op_metadata_set_string (&options, "gpg-homedir", signers->gpg_homedir);
  if (*signers->sign_keys != NULL)
    {
      op_metadata_set_string (&options, "sign-type", signers->sign_type);
      g_variant_dict_insert_value (&options, "sign-keys", secret_keys (signers));
    }
  g_autoptr (GVariant) variant = g_variant_ref_sink (g_variant_dict_end (&options));
  return ostree_repo_regenerate_metadata (repo, NULL, variant, cancellable, error);
}
#else
/* Signs a commit of the open transaction. */
static gboolean
sign_commit (OstreeRepo *repo, const char *checksum, const OpSigners *signers,
             GCancellable *cancellable, GError **error)
{
  for (const char *const *id = signers->gpg_keys; *id != NULL; id++)
    if (!op_gpg_sign_commit (repo, checksum, *id, signers->gpg_homedir, cancellable, error))
      return FALSE;
  if (*signers->sign_keys == NULL)
    return TRUE;
  g_autoptr (OstreeSign) sign = ostree_sign_get_by_name (signers->sign_type, error);
  if (sign == NULL)
    return FALSE;
  for (const char *const *key = signers->sign_keys; *key != NULL; key++)
    if (!op_sign_set_secret_key (sign, *key, error)
        || !ostree_sign_commit (sign, repo, checksum, cancellable, error))
      return FALSE;
  return TRUE;
}

static gboolean
sign_summary (OstreeRepo *repo, const OpSigners *signers, GCancellable *cancellable, GError **error)
{
  if (*signers->gpg_keys != NULL
      && !ostree_repo_add_gpg_signature_summary (repo, (const char **)signers->gpg_keys,
                                                 signers->gpg_homedir, cancellable, error))
    return FALSE;
  if (*signers->sign_keys == NULL)
    return TRUE;
  g_autoptr (OstreeSign) sign = ostree_sign_get_by_name (signers->sign_type, error);
  if (sign == NULL)
    return FALSE;
  g_autoptr (GVariant) keys = g_variant_ref_sink (secret_keys (signers));
  return ostree_sign_summary (sign, repo, keys, cancellable, error);
}

/* Commits "ostree-metadata" and sets the ref. */
static gboolean
update_metadata_ref (OstreeRepo *repo, const char *collection_id, const OpSigners *signers,
                     GCancellable *cancellable, GError **error)
{
  g_autofree char *checksum = write_metadata_commit (repo, collection_id, cancellable, error);
  if (checksum == NULL)
    return FALSE;
  if (!sign_commit (repo, checksum, signers, cancellable, error))
    return FALSE;
  OstreeCollectionRef ref = { (char *)collection_id, (char *)OSTREE_REPO_METADATA_REF };
  ostree_repo_transaction_set_collection_ref (repo, &ref, checksum);
  return TRUE;
}

gboolean
op_regenerate_metadata (OstreeRepo *repo, const OpSigners *signers, GCancellable *cancellable,
                        GError **error)
{
  const char *collection_id = ostree_repo_get_collection_id (repo);
  if (collection_id != NULL)
    {
      if (!ostree_repo_prepare_transaction (repo, NULL, cancellable, error))
        return FALSE;
      if (!update_metadata_ref (repo, collection_id, signers, cancellable, error)
          || !ostree_repo_commit_transaction (repo, NULL, cancellable, error))
        {
          ostree_repo_abort_transaction (repo, NULL, NULL);
          return FALSE;
        }
    }
  return ostree_repo_regenerate_summary (repo, NULL, cancellable, error)
         && sign_summary (repo, signers, cancellable, error);
}
#endif

GBytes *
op_commit_object (OstreeRepo *repo, const char *checksum, GError **error)
{
  g_autoptr (GVariant) commit = load_valid_commit (repo, checksum, NULL, error);
  if (commit == NULL)
    return NULL;
  return g_variant_get_data_as_bytes (commit);
}

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

GBytes *
op_signatures_get (GVariant *signatures, gsize i)
{
  g_autoptr (GVariant) child = g_variant_get_child_value (signatures, i);
  return g_variant_get_data_as_bytes (child);
}

/* The a{sv} in bytes that somebody else has written. */
static GVariant *
parse_metadata (GBytes *bytes)
{
  return g_variant_ref_sink (g_variant_new_from_bytes (G_VARIANT_TYPE_VARDICT, bytes, FALSE));
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
      g_autoptr (GVariant) metadata = parse_metadata (bytes);
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
op_append_signatures (const void *metadata, gsize size, const char *key, GVariant *signatures)
{
  g_autoptr (GBytes) bytes = g_bytes_new (metadata, size);
  g_autoptr (GVariant) old = parse_metadata (bytes);
  g_autoptr (GVariant) appended = append_signatures (old, key, signatures);
  return g_variant_get_data_as_bytes (appended);
}

gboolean
op_gpg_sign_summary (OstreeRepo *repo, const OpSigners *signers, GCancellable *cancellable,
                     GError **error)
{
  return *signers->gpg_keys == NULL
         || ostree_repo_add_gpg_signature_summary (repo, (const char **)signers->gpg_keys,
                                                   signers->gpg_homedir, cancellable, error);
}

gboolean
op_gpg_sign_commit (OstreeRepo *repo, const char *checksum, const char *key_id,
                    const char *homedir, GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) local_error = NULL;
  if (ostree_repo_sign_commit (repo, checksum, key_id, homedir, cancellable, &local_error))
    return TRUE;
  /* It is signed with that key already. */
  if (g_error_matches (local_error, G_IO_ERROR, G_IO_ERROR_EXISTS))
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&local_error));
  return FALSE;
}

gboolean
op_gpg_verify (OstreeRepo *repo, const char *remote, const void *data, gsize size,
               const void *signatures, gsize signatures_size, GCancellable *cancellable,
               GError **error)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);
  g_autoptr (GBytes) signature_bytes = g_bytes_new (signatures, signatures_size);
  g_autoptr (OstreeGpgVerifyResult) result = ostree_repo_gpg_verify_data (
      repo, remote, bytes, signature_bytes, NULL, NULL, cancellable, error);
  if (result == NULL)
    return FALSE;
  return ostree_gpg_verify_result_require_valid_signature (result, error);
}

/* Keys are passed as strings: given a byte array, some versions keep, and later
 * free, memory that is the variant's. */

gboolean
op_sign_set_secret_key (OstreeSign *sign, const char *base64, GError **error)
{
  g_autoptr (GVariant) key = g_variant_ref_sink (g_variant_new_string (base64));
  return ostree_sign_set_sk (sign, key, error);
}

gboolean
op_sign_add_public_key (OstreeSign *sign, const char *base64, GError **error)
{
  g_autoptr (GVariant) key = g_variant_ref_sink (g_variant_new_string (base64));
  return ostree_sign_add_pk (sign, key, error);
}

GBytes *
op_sign_data (OstreeSign *sign, const void *data, gsize size, GCancellable *cancellable,
              GError **error)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);
  g_autoptr (GBytes) signature = NULL;
  if (!ostree_sign_data (sign, bytes, &signature, cancellable, error))
    return NULL;
  return g_steal_pointer (&signature);
}

gboolean
op_sign_verify (OstreeSign *sign, const void *data, gsize size, GVariant *signatures,
                GError **error)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);
  return ostree_sign_data_verify (sign, bytes, signatures, NULL, error);
}

/* libostree takes names that no client can check out: none at all, and the same twice. */
static gboolean
check_name (GHashTable *names, const char *name, GError **error)
{
  if (*name == '\0')
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "It has an entry without a name");
      return FALSE;
    }
  if (!g_hash_table_add (names, (gpointer)name))
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "It has two entries of the name %s", name);
      return FALSE;
    }
  return TRUE;
}

/* Appends a checksum that has been validated. */
static void
append_checksum (GByteArray *all, GVariant *checksum)
{
  g_byte_array_append (all, ostree_checksum_bytes_peek (checksum), OSTREE_SHA256_DIGEST_LEN);
}

/* Validates a dirtree, and returns the checksums that op_dirtree_children returns. A server goes through
 * all trees of a commit with this, so it takes each entry apart once. */
static GByteArray *
read_dirtree (GVariant *tree, gsize *n_files, GError **error)
{
  if (!ostree_validate_structureof_dirtree (tree, error))
    return NULL;
  g_autoptr (GByteArray) all = g_byte_array_new ();
  /* The names are the tree's own memory. */
  g_autoptr (GHashTable) names = g_hash_table_new (g_str_hash, g_str_equal);
  g_autoptr (GVariantIter) files = NULL;
  g_autoptr (GVariantIter) dirs = NULL;
  g_variant_get (tree, "(a(say)a(sayay))", &files, &dirs);
  *n_files = g_variant_iter_n_children (files);
  const char *name;
  GVariant *checksum;
  while (g_variant_iter_next (files, "(&s@ay)", &name, &checksum))
    {
      append_checksum (all, checksum);
      g_variant_unref (checksum);
      if (!check_name (names, name, error))
        return NULL;
    }
  GVariant *meta;
  while (g_variant_iter_next (dirs, "(&s@ay@ay)", &name, &checksum, &meta))
    {
      append_checksum (all, checksum);
      append_checksum (all, meta);
      g_variant_unref (checksum);
      g_variant_unref (meta);
      if (!check_name (names, name, error))
        return NULL;
    }
  return g_steal_pointer (&all);
}

static gboolean
validate_dirtree (GVariant *tree, GError **error)
{
  gsize n_files;
  g_autoptr (GByteArray) all = read_dirtree (tree, &n_files, error);
  return all != NULL;
}

GBytes *
op_metadata_object (OstreeRepo *repo, OstreeObjectType type, const char *checksum, GError **error)
{
  g_autoptr (GVariant) object = NULL;
  if (!ostree_repo_load_variant (repo, type, checksum, &object, error))
    return NULL;
  return g_variant_get_data_as_bytes (object);
}

GBytes *
op_dirtree_children (OstreeRepo *repo, const char *checksum, gsize *n_files, GError **error)
{
  g_autoptr (GBytes) bytes
      = op_metadata_object (repo, OSTREE_OBJECT_TYPE_DIR_TREE, checksum, error);
  if (bytes == NULL)
    return NULL;
  g_autoptr (GVariant) tree = g_variant_ref_sink (
      g_variant_new_from_bytes (OSTREE_TREE_GVARIANT_FORMAT, bytes, FALSE));
  g_autoptr (GByteArray) all = read_dirtree (tree, n_files, error);
  if (all == NULL)
    {
      g_prefix_error (error, "Dirtree %s: ", checksum);
      return NULL;
    }
  return g_byte_array_free_to_bytes (g_steal_pointer (&all));
}

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
op_write_detached_metadata (OstreeRepo *repo, const char *checksum, const void *metadata,
                            gsize size, GCancellable *cancellable, GError **error)
{
  g_autoptr (GBytes) bytes = g_bytes_new (metadata, size);
  g_autoptr (GVariant) parsed = parse_metadata (bytes);
  g_autoptr (GVariant) normal = g_variant_get_normal_form (parsed);
  return ostree_repo_write_commit_detached_metadata (repo, checksum, normal, cancellable, error);
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

gboolean
op_validate_metadata (OstreeObjectType type, const void *data, gsize size, GError **error)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, size); /* aligned */
  g_autoptr (GVariant) object = g_variant_ref_sink (
      g_variant_new_from_bytes (ostree_metadata_variant_type (type), bytes, FALSE));
  switch (type)
    {
    case OSTREE_OBJECT_TYPE_DIR_TREE:
      return validate_dirtree (object, error);
    case OSTREE_OBJECT_TYPE_DIR_META:
      return ostree_validate_structureof_dirmeta (object, error);
    default:
      return ostree_validate_structureof_commit (object, error);
    }
}

/* Consumes archive. */
static GInputStream *
content_stream (GInputStream *archive, guint64 archive_size, guint64 *size, GCancellable *cancellable,
                GError **error)
{
  g_autoptr (GInputStream) owned = archive;
  g_autoptr (GInputStream) content = NULL;
  g_autoptr (GInputStream) all = NULL;
  g_autoptr (GFileInfo) info = NULL;
  g_autoptr (GVariant) xattrs = NULL;
  if (!ostree_content_stream_parse (TRUE, archive, archive_size, FALSE, &content, &info, &xattrs,
                                    cancellable, error))
    return NULL;
  if (!ostree_validate_structureof_file_mode (
          g_file_info_get_attribute_uint32 (info, "unix::mode"), error))
    return NULL;
  if (!ostree_raw_file_to_content_stream (content, info, xattrs, &all, size, cancellable, error))
    return NULL;
  return g_steal_pointer (&all);
}

gssize
op_unpack_content (const void *data, gsize size, void *out, gsize capacity, guint64 *content_size,
                   GError **error)
{
  /* Nothing has the data when this returns. */
  g_autoptr (GInputStream) all
      = content_stream (g_memory_input_stream_new_from_data (data, size, NULL), size, content_size,
                        NULL, error);
  gsize n;
  if (all == NULL || !g_input_stream_read_all (all, out, capacity, &n, NULL, error))
    return -1;
  return n;
}

GInputStream *
op_content_stream_of_bytes (const void *data, gsize size, guint64 *content_size,
                            GCancellable *cancellable, GError **error)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);
  return content_stream (g_memory_input_stream_new_from_bytes (bytes), size, content_size,
                         cancellable, error);
}

GInputStream *
op_content_stream_of_file (int fd, guint64 size, guint64 *content_size, GCancellable *cancellable,
                           GError **error)
{
  g_autoptr (GInputStream) file = g_unix_input_stream_new (fd, FALSE);
  return content_stream (g_buffered_input_stream_new_sized (file, 64 * 1024), size, content_size,
                         cancellable, error);
}

gboolean
op_use_tmp_dir (const char *dir)
{
  /* GLib looks at the environment once. Programs that are run later are to find there what
   * was there. */
  g_autofree char *old = g_strdup (g_getenv ("TMPDIR"));
  g_setenv ("TMPDIR", dir, TRUE);
  gboolean used = strcmp (g_get_tmp_dir (), dir) == 0;
  if (old != NULL)
    g_setenv ("TMPDIR", old, TRUE);
  else
    g_unsetenv ("TMPDIR");
  return used;
}
