#ifndef OSTREE_PUSH_SUMMARY_H
#define OSTREE_PUSH_SUMMARY_H

#include "cgo.h"

/* Refs are name, checksum, name, checksum, …, NULL. */

/* The refs of a summary; NULL and an error if the bytes are none. */
char **op_summary_refs (GBytes *bytes, GError **error);

GBytes *op_summary_new (OstreeRepo *repo, const char *const *refs, GError **error);
/* The same, with what a repository's own summary says besides, some of it from its old one,
 * which may be empty. It lists no static deltas. */
GBytes *op_summary_update (OstreeRepo *repo, const char *const *refs, GBytes *old, GError **error);

#endif
