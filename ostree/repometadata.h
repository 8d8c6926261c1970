#ifndef OSTREE_PUSH_REPOMETADATA_H
#define OSTREE_PUSH_REPOMETADATA_H

#include "signers.h"

gboolean op_regenerate_metadata (OstreeRepo *repo, const OpSigners *signers,
                                 GCancellable *cancellable, GError **error);

#endif
