#include "object.h"

GBytes *
op_metadata_object (OstreeRepo *repo, OstreeObjectType type, const char *checksum, GError **error)
{
  g_autoptr (GVariant) object = NULL;
  if (!ostree_repo_load_variant (repo, type, checksum, &object, error))
    return NULL;
  return g_variant_get_data_as_bytes (object);
}
