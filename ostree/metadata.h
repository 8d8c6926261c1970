#ifndef OSTREE_PUSH_METADATA_H
#define OSTREE_PUSH_METADATA_H

#include "cgo.h"

/* The value of a key, NULL if there is none of that type. */
GVariant *op_metadata_lookup (GVariant *metadata, const char *key, const char *type);

#endif
