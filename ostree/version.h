#ifndef OSTREE_PUSH_VERSION_H
#define OSTREE_PUSH_VERSION_H

#include "cgo.h"

/* The version of the libostree that runs, such as 2022 and 7. */
void op_version (guint *year, guint *release);

#endif
