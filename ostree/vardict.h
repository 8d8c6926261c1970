/* The arguments of a message of protocol 0: a GVariant of the type a{sv}. Numbers are read and
 * written as they stand, in the host's byte order. */
#ifndef OSTREE_PUSH_VARDICT_H
#define OSTREE_PUSH_VARDICT_H

#include "cgo.h"

/* NULL if the bytes are not an a{sv} in normal form. */
GVariant *op_vardict_parse (GBytes *bytes);

/* The strings of an (ss), and of an entry of an a{ss}. They are the variant's. */
void op_vardict_get_pair (GVariant *pair, const char **first, const char **second);
void op_vardict_get_map_entry (GVariant *map, gsize i, const char **key, const char **value);

/* Values that op_vardict_add takes over. Strings must be valid UTF-8. The map is key, value, key,
 * value, …, NULL. */
GVariant *op_vardict_pair (const char *first, const char *second);
GVariant *op_vardict_map (const char *const *map);

GVariantBuilder *op_vardict_new (void);
void op_vardict_add (GVariantBuilder *builder, const char *key, GVariant *value);
/* Consumes builder. */
GBytes *op_vardict_end (GVariantBuilder *builder);

#endif
