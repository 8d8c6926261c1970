#ifndef OSTREE_PUSH_COMMIT_H
#define OSTREE_PUSH_COMMIT_H

#include "cgo.h"

typedef struct {
  GVariant *metadata; /* a{sv}, owned */
  char *subject;
  char *body;
  char *parent; /* or NULL */
  char *tree;
  char *dirmeta;
  guint64 timestamp;
  gboolean partial;
} OpCommit;

/* A commit object whose structure and checksum have been checked. *state may be left out. */
GVariant *op_load_valid_commit (OstreeRepo *repo, const char *checksum,
                                OstreeRepoCommitState *state, GError **error);

/* Takes apart a commit object, whose structure is checked, and its checksum is not. */
gboolean op_parse_commit (GBytes *object, OpCommit *out, GError **error);

gboolean op_load_commit (OstreeRepo *repo, const char *checksum, OpCommit *out, GError **error);
void op_commit_clear (OpCommit *commit);

/* A commit object's bytes, checked as those of op_load_valid_commit. */
GBytes *op_commit_object (OstreeRepo *repo, const char *checksum, GError **error);

#endif
