#ifndef OSTREE_PUSH_REPO_H
#define OSTREE_PUSH_REPO_H

#include "cgo.h"

/* path: NULL for the repository that libostree takes when none is named. */
OstreeRepo *op_repo_open (const char *path, GError **error);

#endif
