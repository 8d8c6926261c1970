#include "repo.h"

OstreeRepo *
op_repo_open (const char *path, GError **error)
{
  g_autoptr (OstreeRepo) repo = NULL;
  if (path == NULL)
    repo = ostree_repo_new_default ();
  else
    {
      g_autoptr (GFile) file = g_file_new_for_path (path);
      repo = ostree_repo_new (file);
    }
  if (!ostree_repo_open (repo, NULL, error))
    return NULL;
  return g_steal_pointer (&repo);
}
