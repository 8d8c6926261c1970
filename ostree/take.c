#define _GNU_SOURCE
#include "take.h"
#include <errno.h>
#include <stdio.h>

int
op_move_file (int from, int to, const char *path)
{
  return renameat2 (from, path, to, path, RENAME_NOREPLACE) == 0 ? 0 : errno;
}
