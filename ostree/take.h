#ifndef OSTREE_PUSH_TAKE_H
#define OSTREE_PUSH_TAKE_H

#include "cgo.h"

/* Moves a file from one directory to the same path below another, where there must be none.
 * Returns 0, or what errno is. */
int op_move_file (int from, int to, const char *path);

#endif
