#include "content.h"

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

GInputStream *
op_content_stream_of_file (int fd, guint64 size, guint64 *content_size, GCancellable *cancellable,
                           GError **error)
{
  g_autoptr (GInputStream) file = g_unix_input_stream_new (fd, FALSE);
  return content_stream (g_buffered_input_stream_new_sized (file, 64 * 1024), size, content_size,
                         cancellable, error);
}

GInputStream *
op_content_stream_of_bytes (GBytes *bytes, guint64 *content_size,
                            GCancellable *cancellable, GError **error)
{
  return content_stream (g_memory_input_stream_new_from_bytes (bytes), g_bytes_get_size (bytes), content_size,
                         cancellable, error);
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
