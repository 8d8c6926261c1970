#ifndef OSTREE_PUSH_CHECK_H
#define OSTREE_PUSH_CHECK_H

#include "cgo.h"

/* Whether an object that is no content object is well-formed. */
gboolean op_validate_metadata (OstreeObjectType type, const void *data, gsize size,
                               GError **error);

#endif
