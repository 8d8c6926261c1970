#include "vardict.h"

GVariant *
op_vardict_parse (GBytes *bytes)
{
  g_autoptr (GVariant) vardict = op_variant_of (G_VARIANT_TYPE_VARDICT, bytes);
  if (!g_variant_is_normal_form (vardict))
    return NULL;
  return g_steal_pointer (&vardict);
}

void
op_vardict_get_pair (GVariant *pair, const char **first, const char **second)
{
  g_variant_get (pair, "(&s&s)", first, second);
}

void
op_vardict_get_map_entry (GVariant *map, gsize i, const char **key, const char **value)
{
  g_variant_get_child (map, i, "{&s&s}", key, value);
}

GVariant *
op_vardict_pair (const char *first, const char *second)
{
  return g_variant_new ("(ss)", first, second);
}

GVariant *
op_vardict_map (const char *const *map)
{
  g_autoptr (GVariantBuilder) entries = g_variant_builder_new (G_VARIANT_TYPE ("a{ss}"));
  for (const char *const *p = map; *p != NULL; p += 2)
    g_variant_builder_add (entries, "{ss}", p[0], p[1]);
  return g_variant_builder_end (entries);
}

GVariantBuilder *
op_vardict_new (void)
{
  return g_variant_builder_new (G_VARIANT_TYPE_VARDICT);
}

void
op_vardict_add (GVariantBuilder *builder, const char *key, GVariant *value)
{
  g_variant_builder_add (builder, "{sv}", key, value);
}

GBytes *
op_vardict_end (GVariantBuilder *builder)
{
  g_autoptr (GVariant) vardict = g_variant_ref_sink (g_variant_builder_end (builder));
  g_variant_builder_unref (builder);
  return g_variant_get_data_as_bytes (vardict);
}
