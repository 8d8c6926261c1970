#include "variant.h"

GVariant *
op_vardict_parse (const void *data, gsize size)
{
  /* A copy, since GVariant wants its data aligned. */
  g_autoptr (GBytes) bytes = g_bytes_new (data, size);
  g_autoptr (GVariant) vardict = g_variant_ref_sink (
      g_variant_new_from_bytes (G_VARIANT_TYPE_VARDICT, bytes, FALSE));
  if (!g_variant_is_normal_form (vardict))
    return NULL;
  return g_steal_pointer (&vardict);
}

GVariant *
op_vardict_entry (GVariant *vardict, gsize i, const char **key)
{
  GVariant *value = NULL;
  g_variant_get_child (vardict, i, "{&sv}", key, &value);
  return value;
}

void
op_variant_pair (GVariant *pair, const char **first, const char **second)
{
  g_variant_get (pair, "(&s&s)", first, second);
}

void
op_variant_entry (GVariant *map, gsize i, const char **key, const char **value)
{
  g_variant_get_child (map, i, "{&s&s}", key, value);
}

GVariantBuilder *
op_vardict_new (void)
{
  return g_variant_builder_new (G_VARIANT_TYPE_VARDICT);
}

void
op_vardict_add_int32 (GVariantBuilder *builder, const char *key, gint32 value)
{
  g_variant_builder_add (builder, "{sv}", key, g_variant_new_int32 (value));
}

void
op_vardict_add_uint64 (GVariantBuilder *builder, const char *key, guint64 value)
{
  g_variant_builder_add (builder, "{sv}", key, g_variant_new_uint64 (value));
}

void
op_vardict_add_boolean (GVariantBuilder *builder, const char *key, gboolean value)
{
  g_variant_builder_add (builder, "{sv}", key, g_variant_new_boolean (value));
}

void
op_vardict_add_string (GVariantBuilder *builder, const char *key, const char *value)
{
  g_variant_builder_add (builder, "{sv}", key, g_variant_new_string (value));
}

void
op_vardict_add_pair (GVariantBuilder *builder, const char *key, const char *first,
                     const char *second)
{
  g_variant_builder_add (builder, "{sv}", key, g_variant_new ("(ss)", first, second));
}

void
op_vardict_add_map (GVariantBuilder *builder, const char *key, const char *const *map)
{
  g_autoptr (GVariantBuilder) entries = g_variant_builder_new (G_VARIANT_TYPE ("a{ss}"));
  for (const char *const *p = map; *p != NULL; p += 2)
    g_variant_builder_add (entries, "{ss}", p[0], p[1]);
  g_variant_builder_add (builder, "{sv}", key, g_variant_builder_end (entries));
}

GBytes *
op_vardict_end (GVariantBuilder *builder)
{
  g_autoptr (GVariant) vardict = g_variant_ref_sink (g_variant_builder_end (builder));
  g_variant_builder_unref (builder);
  return g_variant_get_data_as_bytes (vardict);
}
