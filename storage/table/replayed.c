/* SPDX-License-Identifier: GPL-2.0-only
 *
 * replayed.c: see replayed.h.
 */
#include "table/replayed.h"

static enum blitz_rc no_memory(struct blitz_error *err)
{
  return bz_fail(err, BLITZ_NOMEM, 0, "out of memory making the log's changes again");
}

static enum blitz_rc bad_entry(struct blitz_error *err)
{
  return bz_fail(err, BLITZ_CORRUPT, 0, "a record of the log has an entry of no index");
}

/* The next entries are of the index that KEY says. */
static enum blitz_rc choose_index(struct bz_replayed_entries *entries, struct blitz_slice key,
                                  struct blitz_error *err)
{
  if (key.len != sizeof(uint64_t))
    return bad_entry(err);
  if (entries->deltas == NULL)
    entries->deltas = bz_deltas_new(0, NULL);
  if (entries->deltas == NULL)
    return no_memory(err);
  entries->index_no = bz_deltas_index(entries->deltas, bz_load_le64(key.data));
  return entries->index_no < BLITZ_INDEXES_MAX ? BLITZ_OK : bad_entry(err);
}

/* Keeps what was done to an entry. */
static enum blitz_rc keep_entry(struct bz_replayed_entries *entries, bool removed,
                                struct blitz_slice key, struct blitz_slice value,
                                struct blitz_error *err)
{
  struct bz_delta_version version = {key, value, ++entries->count, removed};
  struct bz_delta_node *node;
  struct bz_delta *delta;
  struct bz_entry entry;

  if (entries->deltas == NULL || (!removed && !bz_delta_entry(&version, &entry)))
    return bad_entry(err);
  delta = bz_deltas_get(entries->deltas, entries->index_no);
  node = delta != NULL ? bz_delta_make(delta, &version) : NULL;
  if (node == NULL)
    return no_memory(err);
  return bz_delta_add(delta, node) ? BLITZ_OK : no_memory(err);
}

enum blitz_rc bz_replayed_entries_add(struct bz_replayed_entries *entries,
                                      enum bz_logged_change change, struct blitz_slice key,
                                      struct blitz_slice value, struct blitz_error *err)
{
  return change == BZ_LOGGED_INDEX
             ? choose_index(entries, key, err)
             : keep_entry(entries, change == BZ_LOGGED_ENTRY_REMOVE, key, value, err);
}

/* The place of an entry's row is another one now; 0: it is nowhere any more. */
static void set_place(void *arg, const struct bz_delta_version *version, uint8_t *value)
{
  const struct blitz_table *table = arg;
  uint8_t buf[BZ_FILE_KEY_MAX];
  struct bz_key key = {.data = buf};
  struct bz_place place = {0};
  struct bz_entry entry;
  bool found = false;

  if (bz_delta_entry(version, &entry) && entry.row_key.len <= BLITZ_KEY_MAX)
  {
    key.len = bz_file_key(table, buf, entry.row_key);
    key.hash = bz_hash(buf, key.len);
    found = bz_hash_find(table, &key, &place) == BLITZ_OK;
  }
  bz_delta_set_off(value, found ? place.row.off : 0);
}

/* The entries FROM of one index are those of commit SEQ. */
static enum blitz_rc take_delta(struct blitz_table *table, struct bz_delta *to,
                                const struct bz_delta *from, uint64_t seq)
{
  struct bz_delta_node *list;
  enum blitz_rc rc = bz_delta_copy(to, from, seq, set_place, table, &list);

  if (rc == BLITZ_OK)
    bz_delta_link(to, list);
  return rc;
}

enum blitz_rc bz_replayed_entries_take(struct blitz_table *table,
                                       const struct bz_replayed_entries *entries, uint64_t seq,
                                       struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  if (entries->deltas == NULL)
    return BLITZ_OK;
  if (table->replayed == NULL)
    table->replayed = bz_deltas_new(0, NULL);
  if (table->replayed == NULL)
    return no_memory(err);
  bz_deltas_settle(entries->deltas);
  for (unsigned i = 0; i < entries->deltas->count && rc == BLITZ_OK; i++)
  {
    unsigned index_no = bz_deltas_index(table->replayed, entries->deltas->ids[i]);
    struct bz_delta *to =
        index_no < BLITZ_INDEXES_MAX ? bz_deltas_get(table->replayed, index_no) : NULL;
    rc =
        to != NULL ? take_delta(table, to, atomic_load(&entries->deltas->of[i]), seq) : BLITZ_NOMEM;
  }
  return rc == BLITZ_OK ? rc : no_memory(err);
}

void bz_replayed_entries_free(struct bz_replayed_entries *entries)
{
  bz_deltas_leave(entries->deltas);
  entries->deltas = NULL;
}

void bz_replayed_entries_forget(struct blitz_table *table)
{
  bz_deltas_leave(table->replayed);
  table->replayed = NULL;
}
