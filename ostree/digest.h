#ifndef OSTREE_PUSH_DIGEST_H
#define OSTREE_PUSH_DIGEST_H

#include "cgo.h"

/* What a digest is made of: of each entry of an a{sv}, but for those of some keys, in the order of the
 * keys, the key, the type and the value, each after its length. Of a key that is there twice, the last
 * one counts. */
GBytes *op_digest_fields (GVariant *metadata, const char *const *except);

#endif
