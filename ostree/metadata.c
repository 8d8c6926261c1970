#include "metadata.h"

GVariant *
op_metadata_lookup (GVariant *metadata, const char *key, const char *type)
{
  return g_variant_lookup_value (metadata, key, G_VARIANT_TYPE (type));
}
