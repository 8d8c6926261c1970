#include "check.h"
#include "dirtree.h"

gboolean
op_validate_metadata (OstreeObjectType type, const void *data, gsize size, GError **error)
{
  g_autoptr (GBytes) bytes = g_bytes_new (data, size); /* aligned */
  g_autoptr (GVariant) object = op_variant_of (ostree_metadata_variant_type (type), bytes);
  switch (type)
    {
    case OSTREE_OBJECT_TYPE_DIR_TREE:
      return op_validate_dirtree (object, error);
    case OSTREE_OBJECT_TYPE_DIR_META:
      return ostree_validate_structureof_dirmeta (object, error);
    default:
      return ostree_validate_structureof_commit (object, error);
    }
}
