#ifndef OSTREE_PUSH_GPG_H
#define OSTREE_PUSH_GPG_H

#include "signers.h"

gboolean op_gpg_sign_commit (OstreeRepo *repo, const char *checksum, const char *key_id,
                             const char *homedir, GCancellable *cancellable, GError **error);
/* Signs with the GPG keys of signers; without any, nothing happens. */
gboolean op_gpg_sign_summary (OstreeRepo *repo, const OpSigners *signers,
                              GCancellable *cancellable, GError **error);
gboolean op_gpg_verify (OstreeRepo *repo, const char *remote, GBytes *data, GBytes *signatures,
                        GCancellable *cancellable, GError **error);

#endif
