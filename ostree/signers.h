#ifndef OSTREE_PUSH_SIGNERS_H
#define OSTREE_PUSH_SIGNERS_H

#include "cgo.h"

typedef struct {
  const char *const *gpg_keys; /* key ids */
  const char *gpg_homedir;     /* or NULL */
  const char *sign_type;       /* or NULL */
  const char *const *sign_keys; /* secret keys in base64 */
} OpSigners;

#endif
