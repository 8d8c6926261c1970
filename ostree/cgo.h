/* What the C of all nouns shares. The C says what cgo cannot say by itself: macros, variadic
 * functions, and sequences of GLib calls that belong together. Functions that can fail follow
 * GLib: FALSE or NULL, and *error set. What a function returns is the caller's. */
#ifndef OSTREE_PUSH_CGO_H
#define OSTREE_PUSH_CGO_H

#include <fcntl.h>
#include <gio/gio.h>
#include <gio/gunixinputstream.h>
#include <ostree.h>
#include <stdlib.h>

#if !OSTREE_CHECK_VERSION(2021, 3)
#error "libostree 2021.3 or later is needed"
#endif

/* A GVariant of bytes that need not be of that type, or in normal form: somebody else has
 * written them. */
GVariant *op_variant_of (const GVariantType *type, GBytes *bytes);

/* The value of an entry of an a{sv}, and its key, which is the dictionary's. */
GVariant *op_variant_entry (GVariant *vardict, gsize i, const char **key);

#endif
