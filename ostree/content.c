#include "content.h"
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include <gio/gfiledescriptorbased.h>
#include <unistd.h>

GInputStream *
op_open_archive_stream (OstreeRepo *repo, const char *checksum, GInputStream **stored,
                        GCancellable *cancellable, GError **error)
{
  g_autoptr (GInputStream) content = NULL;
  g_autoptr (GFileInfo) info = NULL;
  g_autoptr (GVariant) xattrs = NULL;
  if (!ostree_repo_load_file (repo, checksum, &content, &info, &xattrs, cancellable, error))
    return NULL;
  g_autoptr (GInputStream) archive = NULL;
  if (!ostree_raw_file_to_archive_z2_stream (content, info, xattrs, &archive, cancellable, error))
    return NULL;
  *stored = g_steal_pointer (&content);
  return g_steal_pointer (&archive);
}

gint64
op_stream_position (GInputStream *stream)
{
  if (stream == NULL || !G_IS_FILE_DESCRIPTOR_BASED (stream))
    return 0;
  off_t at = lseek (g_file_descriptor_based_get_fd (G_FILE_DESCRIPTOR_BASED (stream)), 0, SEEK_CUR);
  return MAX (at, 0);
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

/* The plainest content object, and the commonest by far: a regular file without extended
 * attributes. Its header has always the same form, in archive repositories and in what its
 * checksum is computed of: the length of what follows the padding, the padding, for the former
 * the size, then uid, gid, mode and rdev, an empty target of a link, and where in the header that
 * ends. Numbers are big endian. */
typedef struct
{
  guint32 uid, gid, mode, rdev;
  guint8 target, target_end;
} __attribute__ ((packed)) PlainFile;

typedef struct
{
  guint32 length, padding;
  guint64 size;
  PlainFile file;
} __attribute__ ((packed)) PlainArchiveHeader;

typedef struct
{
  guint32 length, padding;
  PlainFile file;
} __attribute__ ((packed)) PlainHeader;

enum
{
  before_length = sizeof (guint32) + sizeof (guint32)
};

static gboolean
is_plain (const PlainArchiveHeader *header)
{
  guint32 mode = GUINT32_FROM_BE (header->file.mode);
  return GUINT32_FROM_BE (header->length) == sizeof *header - before_length && header->padding == 0
         && header->file.rdev == 0 && header->file.target == 0
         && header->file.target_end == sizeof *header - before_length - 1 && S_ISREG (mode)
         && (mode & ~(S_IFMT | 07777)) == 0;
}

/* Whether data is just what zlib makes size bytes of, which it puts into out; capacity is
 * more than size. */
static gboolean
inflates_to (const void *data, gsize data_size, void *out, gsize capacity, guint64 size)
{
  z_stream z = { .next_in = (void *) data, .avail_in = data_size, .next_out = out, .avail_out = capacity };
  if (inflateInit2 (&z, -MAX_WBITS) != Z_OK)
    return FALSE;
  gboolean whole = inflate (&z, Z_FINISH) == Z_STREAM_END && z.avail_in == 0 && z.total_out == size;
  inflateEnd (&z);
  return whole;
}

/* What op_unpack_content does, for a sound object of the plainest form, with the decoder that
 * libostree uses, and without an object of GLib's for each step of it, which takes a hundred times as
 * long as the step. Of any other object it knows nothing, and returns -1. */
static gssize
unpack_plain (const void *data, gsize size, void *out, gsize capacity, guint64 *content_size)
{
  PlainArchiveHeader header;
  PlainHeader plain = { 0 };
  if (size <= sizeof header || size > G_MAXINT32 || capacity > G_MAXINT32 || capacity <= sizeof plain)
    return -1;
  memcpy (&header, data, sizeof header);
  guint64 inflated = GUINT64_FROM_BE (header.size);
  if (!is_plain (&header) || inflated >= capacity - sizeof plain
      || !inflates_to ((const guint8 *)data + sizeof header, size - sizeof header,
                       (guint8 *)out + sizeof plain, capacity - sizeof plain, inflated))
    return -1;
  plain.length = GUINT32_TO_BE (sizeof plain - before_length);
  plain.file = header.file;
  plain.file.target_end = sizeof plain - before_length - 1;
  memcpy (out, &plain, sizeof plain);
  return *content_size = sizeof plain + inflated;
}

gssize
op_unpack_content (const void *data, gsize size, void *out, gsize capacity, guint64 *content_size,
                   GError **error)
{
  gssize plain = unpack_plain (data, size, out, capacity, content_size);
  if (plain >= 0)
    return plain;
  /* Nothing has the data when this returns. */
  g_autoptr (GInputStream) all
      = content_stream (g_memory_input_stream_new_from_data (data, size, NULL), size, content_size,
                        NULL, error);
  gsize n;
  if (all == NULL || !g_input_stream_read_all (all, out, capacity, &n, NULL, error))
    return -1;
  return n;
}
