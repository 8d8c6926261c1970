#include "gpg.h"
#include "repometadata.h"
#include "sign.h"

/* The "av" that libostree wants secret keys in. */
static GVariant *
secret_keys (const OpSigners *signers)
{
  g_autoptr (GVariantBuilder) builder = g_variant_builder_new (G_VARIANT_TYPE ("av"));
  for (const char *const *key = signers->sign_keys; *key != NULL; key++)
    g_variant_builder_add (builder, "v", g_variant_new_string (*key));
  return g_variant_builder_end (builder);
}

#if OSTREE_CHECK_VERSION(2023, 1)
gboolean
op_regenerate_metadata (OstreeRepo *repo, const OpSigners *signers, GCancellable *cancellable,
                        GError **error)
{
  g_auto (GVariantDict) options;
  g_variant_dict_init (&options, NULL);
  if (*signers->gpg_keys != NULL)
    g_variant_dict_insert (&options, "gpg-key-ids", "^as", signers->gpg_keys);
  if (signers->gpg_homedir != NULL)
    g_variant_dict_insert (&options, "gpg-homedir", "s", signers->gpg_homedir);
  if (*signers->sign_keys != NULL)
    {
      g_variant_dict_insert (&options, "sign-type", "s", signers->sign_type);
      g_variant_dict_insert_value (&options, "sign-keys", secret_keys (signers));
    }
  g_autoptr (GVariant) variant = g_variant_ref_sink (g_variant_dict_end (&options));
  return ostree_repo_regenerate_metadata (repo, NULL, variant, cancellable, error);
}

#else
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
  g_variant_dict_insert (&dict, OSTREE_COMMIT_META_KEY_COLLECTION_BINDING, "s", collection_id);
  g_variant_dict_insert (&dict, OSTREE_COMMIT_META_KEY_REF_BINDING, "^as", binding);
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
  if (!op_gpg_sign_summary (repo, signers, cancellable, error))
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
