#include "cgo.h"

GVariant *
op_variant_of (const GVariantType *type, GBytes *bytes)
{
  return g_variant_ref_sink (g_variant_new_from_bytes (type, bytes, FALSE));
}

GVariant *
op_variant_entry (GVariant *vardict, gsize i, const char **key)
{
  GVariant *value = NULL;
  g_variant_get_child (vardict, i, "{&sv}", key, &value);
  return value;
}
