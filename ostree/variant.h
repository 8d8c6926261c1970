/* Messages of protocol 0: GVariants of the type a{sv}. Numbers are read and
 * written as they stand, in the host's byte order. */
#ifndef OSTREE_PUSH_VARIANT_H
#define OSTREE_PUSH_VARIANT_H

#include "glue.h"

/* NULL if data is not an a{sv} in normal form. */
GVariant *op_vardict_parse (const void *data, gsize size);

/* The value of an entry, and its key, which is the dictionary's. */
GVariant *op_vardict_entry (GVariant *vardict, gsize i, const char **key);

/* The strings of an (ss), and of an entry of an a{ss}. They are the variant's. */
void op_variant_pair (GVariant *pair, const char **first, const char **second);
void op_variant_entry (GVariant *map, gsize i, const char **key, const char **value);

/* Strings must be valid UTF-8. The map is key, value, key, value, …, NULL. */
GVariantBuilder *op_vardict_new (void);
void op_vardict_add_int32 (GVariantBuilder *builder, const char *key, gint32 value);
void op_vardict_add_uint64 (GVariantBuilder *builder, const char *key, guint64 value);
void op_vardict_add_boolean (GVariantBuilder *builder, const char *key, gboolean value);
void op_vardict_add_string (GVariantBuilder *builder, const char *key, const char *value);
void op_vardict_add_pair (GVariantBuilder *builder, const char *key, const char *first,
                          const char *second);
void op_vardict_add_map (GVariantBuilder *builder, const char *key, const char *const *map);

/* Consumes builder. */
GBytes *op_vardict_end (GVariantBuilder *builder);

#endif
