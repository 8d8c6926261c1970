/* What cgo cannot say by itself: macros, variadic functions, and sequences of
 * GLib calls that belong together. Functions that can fail follow GLib: FALSE
 * or NULL, and *error set. */
#ifndef OSTREE_PUSH_GLUE_H
#define OSTREE_PUSH_GLUE_H

#include <fcntl.h>
#include <ostree.h>
#include <gio/gio.h>
#include <gio/gunixinputstream.h>
#include <stdlib.h>

#if !OSTREE_CHECK_VERSION(2021, 3)
#error "libostree 2021.3 or later is needed"
#endif

/* The version of the libostree that runs, such as 2022 and 7. */
void op_version (guint *year, guint *release);
OstreeRepo *op_repo_open (const char *path, GError **error);
OstreeRepo *op_repo_create (const char *path, OstreeRepoMode mode, GError **error);
gboolean op_repo_set_config (OstreeRepo *repo, const char *const *groups_keys_values, GError **error);
char *op_repo_get_config (OstreeRepo *repo, const char *group, const char *key);
char *op_repo_path (OstreeRepo *repo);

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

gboolean op_load_commit (OstreeRepo *repo, const char *checksum, OpCommit *out, GError **error);
void op_commit_clear (OpCommit *commit);

/* The value of a key, NULL if there is none of that type. */
GVariant *op_metadata_lookup (GVariant *metadata, const char *key, const char *type);

GVariantDict *op_metadata_edit (GVariant *metadata);
/* Consumes dict. */
GVariant *op_metadata_end (GVariantDict *dict);
void op_metadata_set_string (GVariantDict *dict, const char *key, const char *value);
void op_metadata_set_strv (GVariantDict *dict, const char *key, const char *const *value);

/* Consumes dict. */
char *op_write_commit_like (OstreeRepo *repo, const char *source, GVariantDict *dict,
                            const char *parent, const char *subject, const char *body,
                            guint64 timestamp, GCancellable *cancellable, GError **error);

typedef struct {
  const char *const *commits; /* checksums */
  OstreeRepoPullFlags flags;
  guint32 retries;
} OpPullOptions;

gboolean op_pull (OstreeRepo *repo, const char *remote, const OpPullOptions *options,
                  OstreeAsyncProgress *progress, GCancellable *cancellable, GError **error);

GBytes *op_fetch_summary (OstreeRepo *repo, const char *remote, guint32 retries,
                          GCancellable *cancellable, GError **error);

/* The refs of a summary, as name, checksum, name, checksum, …, NULL; NULL and an error if the
 * summary is not one. */
char **op_summary_refs (const void *data, gsize size, GError **error);

/* refs: as above. */
GBytes *op_summary_new (OstreeRepo *repo, const char *const *refs, GError **error);
/* The same, with what a repository's own summary says besides, some of it from its old one, of
 * old_size bytes, which may be none. It lists no static deltas. */
GBytes *op_summary_update (OstreeRepo *repo, const char *const *refs, const void *old,
                           gsize old_size, GError **error);

typedef struct {
  const char *const *gpg_keys; /* key ids */
  const char *gpg_homedir;     /* or NULL */
  const char *sign_type;       /* or NULL */
  const char *const *sign_keys; /* secret keys in base64 */
} OpSigners;

gboolean op_regenerate_metadata (OstreeRepo *repo, const OpSigners *signers,
                                 GCancellable *cancellable, GError **error);

GBytes *op_commit_object (OstreeRepo *repo, const char *checksum, GError **error);

/* Lists of signatures: an "aay". */
GVariantBuilder *op_signatures_new (void);
void op_signatures_add (GVariantBuilder *builder, const void *data, gsize size);
/* Consumes builder. */
GVariant *op_signatures_end (GVariantBuilder *builder);
GBytes *op_signatures_get (GVariant *signatures, gsize i);

/* The signatures in a commit's detached metadata; an empty list if there are
 * none. */
GVariant *op_commit_signatures (OstreeRepo *repo, const char *checksum, const char *key,
                                GCancellable *cancellable, GError **error);
gboolean op_add_commit_signatures (OstreeRepo *repo, const char *checksum, const char *key,
                                   GVariant *signatures, GCancellable *cancellable,
                                   GError **error);
/* metadata: a serialized a{sv}, of any size, as summary.sig has it. */
GBytes *op_append_signatures (const void *metadata, gsize size, const char *key,
                              GVariant *signatures);

gboolean op_gpg_sign_summary (OstreeRepo *repo, const OpSigners *signers,
                              GCancellable *cancellable, GError **error);
gboolean op_gpg_sign_commit (OstreeRepo *repo, const char *checksum, const char *key_id,
                             const char *homedir, GCancellable *cancellable, GError **error);
gboolean op_gpg_verify (OstreeRepo *repo, const char *remote, const void *data, gsize size,
                        const void *signatures, gsize signatures_size,
                        GCancellable *cancellable, GError **error);

gboolean op_sign_set_secret_key (OstreeSign *sign, const char *base64, GError **error);
gboolean op_sign_add_public_key (OstreeSign *sign, const char *base64, GError **error);
GBytes *op_sign_data (OstreeSign *sign, const void *data, gsize size, GCancellable *cancellable,
                      GError **error);
gboolean op_sign_verify (OstreeSign *sign, const void *data, gsize size, GVariant *signatures,
                         GError **error);

GBytes *op_metadata_object (OstreeRepo *repo, OstreeObjectType type, const char *checksum,
                            GError **error);
/* The checksums of files, of which there are *n_files, then of directories, a
 * dirtree and a dirmeta each. */
GBytes *op_dirtree_children (OstreeRepo *repo, const char *checksum, gsize *n_files,
                             GError **error);
/* *metadata is NULL if there is none. */
gboolean op_detached_metadata (OstreeRepo *repo, const char *checksum, GBytes **metadata,
                               GCancellable *cancellable, GError **error);
gboolean op_write_detached_metadata (OstreeRepo *repo, const char *checksum, const void *metadata,
                                     gsize size, GCancellable *cancellable, GError **error);

/* The archive form of a content object of a repository of any mode. */
GInputStream *op_open_archive_stream (OstreeRepo *repo, const char *checksum,
                                      GCancellable *cancellable, GError **error);

/* Whether an object that is no content object is well-formed. */
gboolean op_validate_metadata (OstreeObjectType type, const void *data, gsize size,
                               GError **error);

/* Of a content object in archive form, what its checksum is computed of;
 * *content_size is how many bytes that should be. */
GInputStream *op_content_stream_of_file (int fd, guint64 size, guint64 *content_size,
                                         GCancellable *cancellable, GError **error);

/* The same of an object in memory, which is copied. */
GInputStream *op_content_stream_of_bytes (const void *data, gsize size, guint64 *content_size,
                                          GCancellable *cancellable, GError **error);

/* The same in one call: what it has, at most capacity bytes, in out. Returns how many those
 * are, or -1. */
gssize op_unpack_content (const void *data, gsize size, void *out, gsize capacity,
                          guint64 *content_size, GError **error);

/* Has GLib make temporary files in dir from now on, unless it has made any. */
gboolean op_use_tmp_dir (const char *dir);

#endif
