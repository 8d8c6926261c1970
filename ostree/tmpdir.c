#include "tmpdir.h"

gboolean
op_use_tmp_dir (const char *dir)
{
  /* GLib looks at the environment once. Programs that are run later are to find there what
   * was there. */
  g_autofree char *old = g_strdup (g_getenv ("TMPDIR"));
  g_setenv ("TMPDIR", dir, TRUE);
  gboolean used = strcmp (g_get_tmp_dir (), dir) == 0;
  if (old != NULL)
    g_setenv ("TMPDIR", old, TRUE);
  else
    g_unsetenv ("TMPDIR");
  return used;
}
