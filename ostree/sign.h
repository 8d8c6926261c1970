#ifndef OSTREE_PUSH_SIGN_H
#define OSTREE_PUSH_SIGN_H

#include "cgo.h"

gboolean op_sign_set_secret_key (OstreeSign *sign, const char *base64, GError **error);
gboolean op_sign_add_public_key (OstreeSign *sign, const char *base64, GError **error);

#endif
