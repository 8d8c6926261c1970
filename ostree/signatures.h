#ifndef OSTREE_PUSH_SIGNATURES_H
#define OSTREE_PUSH_SIGNATURES_H

#include "cgo.h"

/* Lists of signatures: an "aay". */
GVariantBuilder *op_signatures_new (void);
void op_signatures_add (GVariantBuilder *builder, const void *data, gsize size);
/* Consumes builder. */
GVariant *op_signatures_end (GVariantBuilder *builder);

/* The signatures in a commit's detached metadata; an empty list if there are none. */
GVariant *op_commit_signatures (OstreeRepo *repo, const char *checksum, const char *key,
                                GCancellable *cancellable, GError **error);
gboolean op_add_commit_signatures (OstreeRepo *repo, const char *checksum, const char *key,
                                   GVariant *signatures, GCancellable *cancellable,
                                   GError **error);
/* metadata: a serialized a{sv}, of any size, as summary.sig has it. */
GBytes *op_append_signatures (GBytes *metadata, const char *key, GVariant *signatures);

#endif
