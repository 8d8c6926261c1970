#include "dirtree.h"
#include "object.h"

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

/* Validates a dirtree, and returns what op_dirtree_children returns. A server goes through
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
      g_byte_array_append (all, (const guint8 *)name, strlen (name) + 1);
      g_variant_unref (checksum);
      g_variant_unref (meta);
      if (!check_name (names, name, error))
        return NULL;
    }
  return g_steal_pointer (&all);
}

gboolean
op_validate_dirtree (GVariant *tree, GError **error)
{
  gsize n_files;
  g_autoptr (GByteArray) all = read_dirtree (tree, &n_files, error);
  return all != NULL;
}

GBytes *
op_dirtree_children (OstreeRepo *repo, const char *checksum, gsize *n_files, GError **error)
{
  g_autoptr (GBytes) bytes
      = op_metadata_object (repo, OSTREE_OBJECT_TYPE_DIR_TREE, checksum, error);
  if (bytes == NULL)
    return NULL;
  g_autoptr (GVariant) tree = op_variant_of (OSTREE_TREE_GVARIANT_FORMAT, bytes);
  g_autoptr (GByteArray) all = read_dirtree (tree, n_files, error);
  if (all == NULL)
    {
      g_prefix_error (error, "Dirtree %s: ", checksum);
      return NULL;
    }
  return g_byte_array_free_to_bytes (g_steal_pointer (&all));
}
