#ifndef OSTREE_PUSH_CONFIG_H
#define OSTREE_PUSH_CONFIG_H

#include "cgo.h"

/* groups_keys_values: group, key, value, group, key, value, …, NULL. */
gboolean op_repo_set_config (OstreeRepo *repo, const char *const *groups_keys_values, GError **error);
/* NULL if it is not set. */
char *op_repo_get_config (OstreeRepo *repo, const char *group, const char *key);

#endif
