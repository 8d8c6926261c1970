#include "version.h"

void
op_version (guint *year, guint *release)
{
  /* There is no function that tells, but one that compares. Versions of a year begin
   * with 1; the check answers for the library that runs. */
  guint y = 2017, r = 0;
  while (ostree_check_version (y + 1, 0))
    y++;
  while (ostree_check_version (y, r + 1))
    r++;
  *year = y;
  *release = r;
}
