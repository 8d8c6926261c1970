#ifndef OSTREE_PUSH_CONTENT_H
#define OSTREE_PUSH_CONTENT_H

#include "cgo.h"

/* The archive form of a content object of a repository of any mode. *stored is what it is made
 * of as it is read; NULL if that is in memory. */
GInputStream *op_open_archive_stream (OstreeRepo *repo, const char *checksum, GInputStream **stored,
                                      GCancellable *cancellable, GError **error);

/* How much has been read of a stream from a file; 0 of another one. */
gint64 op_stream_position (GInputStream *stream);

/* Of a content object in archive form, what its checksum is computed of;
 * *content_size is how many bytes that should be. */
GInputStream *op_content_stream_of_file (int fd, guint64 size, guint64 *content_size,
                                         GCancellable *cancellable, GError **error);

/* The same of an object in memory. */
GInputStream *op_content_stream_of_bytes (GBytes *bytes, guint64 *content_size,
                                          GCancellable *cancellable, GError **error);

/* The same in one call: what it has, at most capacity bytes, in out. Returns how many those
 * are, or -1. */
gssize op_unpack_content (const void *data, gsize size, void *out, gsize capacity,
                          guint64 *content_size, GError **error);

#endif
