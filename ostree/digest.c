#include "digest.h"

typedef struct {
  const char *key; /* the dictionary's */
  GVariant *value;
  gsize place;
} Entry;

static void
clear_entry (gpointer data)
{
  g_variant_unref (((Entry *)data)->value);
}

static int
compare_entries (gconstpointer a, gconstpointer b)
{
  const Entry *first = a, *second = b;
  int order = strcmp (first->key, second->key);
  if (order != 0)
    return order;
  return first->place < second->place ? -1 : 1;
}

static void
append_field (GByteArray *all, gconstpointer data, gsize size)
{
  guint64 length = GUINT64_TO_BE (size);
  g_byte_array_append (all, (const guint8 *)&length, sizeof length);
  if (size > 0)
    g_byte_array_append (all, data, size);
}

GBytes *
op_digest_fields (GVariant *metadata, const char *const *except)
{
  g_autoptr (GArray) entries = g_array_new (FALSE, FALSE, sizeof (Entry));
  g_array_set_clear_func (entries, clear_entry);
  Entry e = { 0 };
  GVariantIter iter;
  g_variant_iter_init (&iter, metadata);
  while (g_variant_iter_next (&iter, "{&sv}", &e.key, &e.value))
    {
      e.place++;
      if (g_strv_contains (except, e.key))
        g_variant_unref (e.value);
      else
        g_array_append_val (entries, e);
    }
  g_array_sort (entries, compare_entries);
  g_autoptr (GByteArray) all = g_byte_array_new ();
  for (guint i = 0; i < entries->len; i++)
    {
      const Entry *entry = &g_array_index (entries, Entry, i);
      if (i + 1 < entries->len && g_str_equal (entry->key, g_array_index (entries, Entry, i + 1).key))
        continue;
      append_field (all, entry->key, strlen (entry->key));
      const char *type = g_variant_get_type_string (entry->value);
      append_field (all, type, strlen (type));
      append_field (all, g_variant_get_data (entry->value), g_variant_get_size (entry->value));
    }
  return g_byte_array_free_to_bytes (g_steal_pointer (&all));
}
