#include "sign.h"

/* Keys are passed as strings: given a byte array, some versions keep, and later
 * free, memory that is the variant's. */

gboolean
op_sign_set_secret_key (OstreeSign *sign, const char *base64, GError **error)
{
  g_autoptr (GVariant) key = g_variant_ref_sink (g_variant_new_string (base64));
  return ostree_sign_set_sk (sign, key, error);
}

gboolean
op_sign_add_public_key (OstreeSign *sign, const char *base64, GError **error)
{
  g_autoptr (GVariant) key = g_variant_ref_sink (g_variant_new_string (base64));
  return ostree_sign_add_pk (sign, key, error);
}
