#include "commit.h"

/* libostree checks the structure of commits that it writes, but marks those
 * that it reads as trusted, and GVariant then believes that strings have an
 * end. In a damaged repository they can be anything. */
GVariant *
op_load_valid_commit (OstreeRepo *repo, const char *checksum, OstreeRepoCommitState *state,
                      GError **error)
{
  g_autoptr (GVariant) trusted = NULL;
  if (!ostree_repo_load_commit (repo, checksum, &trusted, state, error))
    return NULL;
  g_autoptr (GBytes) bytes = g_variant_get_data_as_bytes (trusted);
  g_autoptr (GVariant) commit = op_variant_of (OSTREE_COMMIT_GVARIANT_FORMAT, bytes);
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

static void
take_apart (GVariant *commit, OpCommit *out)
{
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
}

gboolean
op_parse_commit (GBytes *object, OpCommit *out, GError **error)
{
  g_autoptr (GVariant) commit = op_variant_of (OSTREE_COMMIT_GVARIANT_FORMAT, object);
  if (!ostree_validate_structureof_commit (commit, error))
    return FALSE;
  take_apart (commit, out);
  return TRUE;
}

gboolean
op_load_commit (OstreeRepo *repo, const char *checksum, OpCommit *out, GError **error)
{
  OstreeRepoCommitState state;
  g_autoptr (GVariant) commit = op_load_valid_commit (repo, checksum, &state, error);
  if (commit == NULL)
    return FALSE;
  take_apart (commit, out);
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

GBytes *
op_commit_object (OstreeRepo *repo, const char *checksum, GError **error)
{
  g_autoptr (GVariant) commit = op_load_valid_commit (repo, checksum, NULL, error);
  if (commit == NULL)
    return NULL;
  return g_variant_get_data_as_bytes (commit);
}
