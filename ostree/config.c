#include "config.h"

gboolean
op_repo_set_config (OstreeRepo *repo, const char *const *groups_keys_values, GError **error)
{
  g_autoptr (GKeyFile) config = ostree_repo_copy_config (repo);
  for (const char *const *p = groups_keys_values; *p != NULL; p += 3)
    /* libostree reads them as they are, without what escapes in a string. */
    g_key_file_set_value (config, p[0], p[1], p[2]);
  if (!ostree_repo_write_config (repo, config, error))
    return FALSE;
  return ostree_repo_reload_config (repo, NULL, error);
}

char *
op_repo_get_config (OstreeRepo *repo, const char *group, const char *key)
{
  return g_key_file_get_string (ostree_repo_get_config (repo), group, key, NULL);
}
