#include "gpg.h"

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
op_gpg_sign_summary (OstreeRepo *repo, const OpSigners *signers, GCancellable *cancellable,
                     GError **error)
{
  return *signers->gpg_keys == NULL
         || ostree_repo_add_gpg_signature_summary (repo, (const char **)signers->gpg_keys,
                                                   signers->gpg_homedir, cancellable, error);
}

gboolean
op_gpg_verify (OstreeRepo *repo, const char *remote, GBytes *data, GBytes *signatures,
               GCancellable *cancellable, GError **error)
{
  g_autoptr (OstreeGpgVerifyResult) result = ostree_repo_gpg_verify_data (
      repo, remote, data, signatures, NULL, NULL, cancellable, error);
  if (result == NULL)
    return FALSE;
  return ostree_gpg_verify_result_require_valid_signature (result, error);
}
