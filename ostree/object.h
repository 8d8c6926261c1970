#ifndef OSTREE_PUSH_OBJECT_H
#define OSTREE_PUSH_OBJECT_H

#include "cgo.h"

/* An object that is no content object, as it is stored. */
GBytes *op_metadata_object (OstreeRepo *repo, OstreeObjectType type, const char *checksum,
                            GError **error);

#endif
