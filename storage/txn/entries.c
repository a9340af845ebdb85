/* SPDX-License-Identifier: GPL-2.0-only
 *
 * entries.c: a change's entries in the indexes; see entries.h.
 */
#include "txn/entries.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool is_kept(const struct bz_writes *writes, unsigned index_no)
{
  return (atomic_load_explicit(&writes->table->index->disabled, memory_order_relaxed) >> index_no &
          1) == 0;
}

static bool same(struct blitz_slice a, struct blitz_slice b)
{
  return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Changes were made in part: there must be no more of them. */
static enum blitz_rc doom(struct bz_writes *writes, enum blitz_rc rc)
{
  if (rc != BLITZ_OK)
    writes->doomed = true;
  return rc;
}

static enum blitz_rc no_memory(const struct bz_writes *writes, struct blitz_error *err)
{
  return bz_fail(err, BLITZ_NOMEM, 0, "out of memory changing %s", writes->table->file);
}

/* ---- where they are ---------------------------------------------------------------- */

/* So many bytes of entries a transaction keeps in memory. */
#define OWN_LEN_MAX ((uint64_t)16 << 20)
#define OWN_LEN_KEPT ((uint64_t)64 << 10) /* from one transaction to the next */

/* Ends what was begun to read what others have committed. */
static void end_committed(struct bz_writes *writes)
{
  struct blitz_table *table = writes->table;

  if (!writes->has_committed)
    return;
  pthread_mutex_lock(&table->snapshot_lock);
  bz_index_view_end(table, &writes->committed);
  pthread_mutex_unlock(&table->snapshot_lock);
  writes->has_committed = false;
}

static enum blitz_rc begin_committed(struct bz_writes *writes, struct blitz_error *err)
{
  struct blitz_table *table = writes->table;
  enum blitz_rc rc;

  pthread_mutex_lock(&table->snapshot_lock);
  rc = bz_index_view_begin(table, &writes->committed, atomic_load(&table->committed));
  pthread_mutex_unlock(&table->snapshot_lock);
  if (rc != BLITZ_OK)
    return bz_fail(err, rc, 0, "%s cannot be read", table->index->name);
  writes->has_committed = true;
  writes->source_serial = bz_source_serial();
  return BLITZ_OK;
}

/* There is a view of what others have committed, of which pages are kept. */
static enum blitz_rc need_committed(struct bz_writes *writes, struct blitz_error *err)
{
  const struct bz_index_view *view = &writes->committed;

  if (writes->has_committed && !view->kept &&
      !bz_index_is_kept(writes->table->index, view->commit.number))
    end_committed(writes);
  return writes->has_committed ? BLITZ_OK : begin_committed(writes, err);
}

/* Brings the entries in memory into the write transaction. */
static enum blitz_rc flush_own(struct bz_writes *writes, struct blitz_error *err)
{
  enum blitz_rc rc;

  if (writes->own == NULL || bz_deltas_are_empty(writes->own))
    return BLITZ_OK;
  bz_deltas_settle(writes->own);
  rc = bz_index_apply(writes->table, writes->index_txn, writes->own, err);
  bz_deltas_reset(writes->own);
  writes->source_serial = bz_source_serial();
  return rc;
}

/* There is a write transaction from now on, with all entries in it that are in memory. */
static enum blitz_rc begin_txn(struct bz_writes *writes, struct blitz_error *err)
{
  uint64_t len = writes->own != NULL ? bz_deltas_len(writes->own) : 0;
  enum blitz_rc rc = BLITZ_OK;

  if (writes->index_txn == NULL)
  {
    for (unsigned i = 0; writes->sorts != NULL && i < writes->table->index->count; i++)
      if (writes->sorts[i] != NULL)
        len += bz_sort_len(writes->sorts[i]);
    end_committed(writes);
    writes->source_serial = bz_source_serial();
    rc = bz_index_write_begin(writes->table, len, &writes->index_txn, err);
  }
  return rc == BLITZ_OK ? flush_own(writes, err) : rc;
}

/* What the transaction sees of an index, its own entries in memory on top; what is sorted is not
 * there yet.
 */
static enum blitz_rc own_source(struct bz_writes *writes, unsigned index_no,
                                struct bz_source *source, struct blitz_error *err)
{
  struct bz_delta *delta = NULL;
  enum blitz_rc rc = BLITZ_OK;

  if (writes->index_txn == NULL)
    rc = need_committed(writes, err);
  if (rc != BLITZ_OK)
    return rc;
  if (writes->index_txn != NULL)
    *source = (struct bz_source){.txn = writes->index_txn, .serial = writes->source_serial};
  else
    *source = bz_source_of_view(&writes->committed, writes->source_serial);
  /* That of this index alone: others are better put in order all at once. */
  if (writes->own != NULL)
    delta = atomic_load_explicit(&writes->own->of[index_no], memory_order_relaxed);
  if (delta != NULL)
    bz_delta_settle(delta);
  source->deltas[0] = writes->own;
  source->numbers[0] = UINT64_MAX;
  return BLITZ_OK;
}

enum blitz_rc bz_txn_source(const struct blitz_txn *txn, const struct blitz_table *table,
                            unsigned index_no, struct bz_source *source, struct blitz_error *err)
{
  struct bz_writes *writes = bz_txn_writes(txn, table);
  enum blitz_rc rc;

  assert(bz_txn_changes(txn, table));
  rc = bz_entries_settle(writes, NULL, NULL, err);
  return rc == BLITZ_OK ? own_source(writes, index_no, source, err) : rc;
}

uint64_t bz_txn_entry_changes(const struct blitz_txn *txn, const struct blitz_table *table)
{
  assert(bz_txn_changes(txn, table));
  return bz_txn_writes(txn, table)->index_changes;
}

/* Must another row with the same entry be looked for? */
static bool is_to_check(const struct blitz_index_entry *entry)
{
  return entry->unique && !entry->by_row_key;
}

/* Makes the entry of a row, in the caller's words. */
static enum blitz_rc make_entry(const struct blitz_txn *txn, const struct bz_writes *writes,
                                unsigned index_no, struct blitz_slice value,
                                struct blitz_index_entry *entry, struct blitz_error *err)
{
  if (txn->indexer == NULL)
    return bz_fail(err, BLITZ_INVALID, 0, "%s has indexes, and nobody makes their entries",
                   writes->table->file);
  entry->by_row_key = false;
  return txn->indexer->make_entry(txn->indexer->arg, index_no, value, entry, err);
}

static enum blitz_rc duplicate_in(const struct bz_writes *writes, unsigned index_no,
                                  struct blitz_error *err)
{
  bz_fail(err, BLITZ_DUPLICATE, 0, "%s: there is a row with that key in index %u",
          writes->table->file, index_no);
  if (err != NULL)
    err->index_no = index_no;
  return BLITZ_DUPLICATE;
}

/* ---- one entry ------------------------------------------------------------------- */

/* Where entries of index INDEX_NO are sorted; NULL: nowhere. An entry of which a duplicate is to be
 * refused at once ends the sorting.
 */
static enum blitz_rc sort_for(struct bz_writes *writes, unsigned index_no,
                              const struct blitz_index_entry *entry, struct bz_sort **sortp,
                              struct blitz_error *err)
{
  static const struct bz_work silent;
  enum blitz_rc rc = BLITZ_OK;

  *sortp = writes->sorts != NULL ? writes->sorts[index_no] : NULL;
  if (*sortp != NULL && is_to_check(entry) && !writes->late_duplicates)
  {
    rc = begin_txn(writes, err);
    if (rc == BLITZ_OK)
      rc = bz_index_append(writes->table, writes->index_txn, writes->table->index->dbis[index_no],
                           *sortp, &silent, err);
    bz_sort_free(*sortp);
    *sortp = writes->sorts[index_no] = NULL;
  }
  return rc;
}

/* The delta for entries in memory is there. */
static enum blitz_rc begin_own(struct bz_writes *writes, unsigned index_no, struct blitz_error *err)
{
  struct bz_index_file *file = writes->table->index;
  struct bz_delta *delta;

  if (atomic_load_explicit(&file->broken, memory_order_relaxed))
    return bz_index_out_of_date(writes->table, err);
  if (writes->own == NULL && file->writer_own != NULL)
  {
    writes->own = file->writer_own;
    file->writer_own = NULL;
  }
  else if (writes->own == NULL)
    writes->own = bz_deltas_new(file->count, file->ids);
  if (writes->own == NULL)
    return no_memory(writes, err);
  delta = bz_deltas_get(writes->own, index_no);
  if (delta == NULL)
    return no_memory(writes, err);
  if (bz_delta_is_empty(delta))
    writes->source_serial = bz_source_serial(); /* a cursor has left it out */
  return BLITZ_OK;
}

/* What is too much for memory goes to the file. */
static enum blitz_rc limit_own(struct bz_writes *writes, struct blitz_error *err)
{
  return bz_deltas_len(writes->own) > OWN_LEN_MAX ? begin_txn(writes, err) : BLITZ_OK;
}

static enum blitz_rc put(struct bz_writes *writes, unsigned index_no,
                         const struct blitz_index_entry *entry, struct blitz_slice key,
                         uint64_t off, struct blitz_error *err)
{
  struct bz_sort *sort;
  enum blitz_rc rc = sort_for(writes, index_no, entry, &sort, err);

  if (rc != BLITZ_OK)
    return rc;
  if (sort != NULL)
    return bz_sort_add(sort, entry, key, off, err);
  rc = begin_own(writes, index_no, err);
  if (rc == BLITZ_OK)
    rc = bz_delta_put_entry(writes->table, writes->own, index_no, entry, key, off,
                            ++writes->index_changes, err);
  return rc == BLITZ_OK ? limit_own(writes, err) : rc;
}

static enum blitz_rc take_out(struct bz_writes *writes, unsigned index_no,
                              const struct blitz_index_entry *entry, struct blitz_slice key,
                              struct blitz_error *err)
{
  enum blitz_rc rc = bz_entries_settle(writes, NULL, NULL, err);

  if (rc == BLITZ_OK)
    rc = begin_own(writes, index_no, err);
  if (rc == BLITZ_OK)
    rc = bz_delta_remove_entry(writes->table, writes->own, index_no, entry, key,
                               ++writes->index_changes, err);
  return rc == BLITZ_OK ? limit_own(writes, err) : rc;
}

/* Is there an entry of another row where ENTRY, which is unique, is to go? */
static enum blitz_rc check_unique(struct bz_writes *writes, unsigned index_no,
                                  const struct blitz_index_entry *entry, struct blitz_error *err)
{
  struct bz_source source;
  struct bz_sort *sort;
  struct bz_entry found;
  enum blitz_rc rc;

  if (!is_to_check(entry))
    return BLITZ_OK;
  rc = sort_for(writes, index_no, entry, &sort, err);
  if (rc != BLITZ_OK || sort != NULL)
    return rc;
  do
  {
    rc = own_source(writes, index_no, &source, err);
    if (rc == BLITZ_OK)
      rc = bz_source_get(writes->table, &source, index_no, entry->key, &writes->found_buf, &found,
                         err);
  } while (rc == BLITZ_CHANGED);
  if (rc == BLITZ_OK)
    return duplicate_in(writes, index_no, err);
  return rc == BLITZ_NOT_FOUND ? BLITZ_OK : rc;
}

/* May ENTRY be put? */
static enum blitz_rc check_entry(struct bz_writes *writes, unsigned index_no,
                                 const struct blitz_index_entry *entry, struct blitz_error *err)
{
  if (entry->key.len > BLITZ_INDEX_KEY_MAX)
    return bz_fail(err, BLITZ_TOO_BIG, 0, "%s: a key is too long for an index",
                   writes->table->file);
  return check_unique(writes, index_no, entry, err);
}

/* ---- rows --------------------------------------------------------------------------- */

enum blitz_rc bz_entries_insert(struct blitz_txn *txn, struct bz_writes *writes,
                                struct blitz_slice key, struct blitz_slice value, uint64_t off,
                                struct blitz_error *err)
{
  unsigned count = writes->table->index->count;
  struct blitz_index_entry entry;
  enum blitz_rc rc = BLITZ_OK;

  /* All are looked at before the first one is put. */
  for (unsigned i = 0; i < count && count > 1 && rc == BLITZ_OK; i++)
  {
    if (!is_kept(writes, i))
      continue;
    rc = make_entry(txn, writes, i, value, &entry, err);
    if (rc == BLITZ_OK)
      rc = check_entry(writes, i, &entry, err);
  }
  if (rc != BLITZ_OK)
    return rc;
  for (unsigned i = 0; i < count && rc == BLITZ_OK; i++)
  {
    if (!is_kept(writes, i))
      continue;
    rc = make_entry(txn, writes, i, value, &entry, err);
    if (rc == BLITZ_OK && count == 1)
    {
      rc = check_entry(writes, i, &entry, err);
      if (rc != BLITZ_OK)
        return rc;
    }
    if (rc == BLITZ_OK)
      rc = put(writes, i, &entry, key, off, err);
  }
  return doom(writes, rc);
}

enum blitz_rc bz_entries_remove(struct blitz_txn *txn, struct bz_writes *writes,
                                struct blitz_slice key, struct blitz_slice old_value,
                                struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  for (unsigned i = 0; i < writes->table->index->count && rc == BLITZ_OK; i++)
  {
    struct blitz_index_entry entry;
    if (!is_kept(writes, i))
      continue;
    rc = make_entry(txn, writes, i, old_value, &entry, err);
    if (rc == BLITZ_OK)
      rc = take_out(writes, i, &entry, key, err);
  }
  return doom(writes, rc);
}

/* An entry that an update changes. While others are made, `data` of its slices is a place in the
 * buffer.
 */
struct entry_change
{
  unsigned index_no;
  bool moves; /* to another key, or it becomes another row's */
  struct blitz_index_entry from, to;
};

/* An update of one row. */
struct update
{
  struct blitz_slice key, value, new_key, new_value;
  uint64_t new_off;
  bool same_key;
  unsigned count;
  struct entry_change changes[BLITZ_INDEXES_MAX];
};

/* Copies what SLICE points to behind the first *LENP bytes of the buffer. */
static enum blitz_rc keep_slice(struct bz_writes *writes, struct blitz_slice *slice, size_t *lenp)
{
  size_t at = *lenp;

  if (bz_buffer_reserve(&writes->entry_buf, at + slice->len + 1) != BLITZ_OK)
    return BLITZ_NOMEM;
  if (slice->len > 0)
    memcpy(writes->entry_buf.data + at, slice->data, slice->len);
  slice->data = (const void *)(uintptr_t)at;
  *lenp += slice->len;
  return BLITZ_OK;
}

static enum blitz_rc keep_entry(struct bz_writes *writes, struct blitz_index_entry *entry,
                                size_t *lenp)
{
  enum blitz_rc rc = keep_slice(writes, &entry->key, lenp);

  return rc == BLITZ_OK ? keep_slice(writes, &entry->payload, lenp) : rc;
}

static struct blitz_slice kept(const struct bz_writes *writes, struct blitz_slice slice)
{
  return (struct blitz_slice){writes->entry_buf.data + (uintptr_t)slice.data, slice.len};
}

static void show_kept(const struct bz_writes *writes, struct blitz_index_entry *entry)
{
  entry->key = kept(writes, entry->key);
  entry->payload = kept(writes, entry->payload);
}

/* Makes a row's entries in an index, as it is and as it is to be, and if they differ adds the
 * change to UPDATE.
 */
static enum blitz_rc compare_entries(struct blitz_txn *txn, struct bz_writes *writes,
                                     struct update *update, unsigned index_no, size_t *lenp,
                                     struct blitz_error *err)
{
  struct entry_change *change = &update->changes[update->count];
  size_t len = *lenp;
  enum blitz_rc rc = make_entry(txn, writes, index_no, update->value, &change->from, err);
  bool same_place;

  if (rc != BLITZ_OK)
    return rc;
  if (keep_entry(writes, &change->from, &len) != BLITZ_OK)
    return no_memory(writes, err);
  rc = make_entry(txn, writes, index_no, update->new_value, &change->to, err);
  if (rc != BLITZ_OK)
    return rc;
  same_place = same(kept(writes, change->from.key), change->to.key) &&
               change->from.unique == change->to.unique;
  if (update->same_key && same_place &&
      same(kept(writes, change->from.payload), change->to.payload))
    return BLITZ_OK;
  if (keep_entry(writes, &change->to, &len) != BLITZ_OK)
    return no_memory(writes, err);
  change->index_no = index_no;
  change->moves = !same_place;
  update->count++;
  *lenp = len;
  return BLITZ_OK;
}

/* Finds out which entries change, by comparing them. */
static enum blitz_rc find_changes(struct blitz_txn *txn, struct bz_writes *writes,
                                  struct update *update, struct blitz_error *err)
{
  const struct blitz_indexer *indexer = txn->indexer;
  uint64_t differ = UINT64_MAX;
  size_t len = 0;
  enum blitz_rc rc = BLITZ_OK;

  if (update->same_key && indexer != NULL && indexer->differ != NULL)
    differ = indexer->differ(indexer->arg, update->value, update->new_value);
  for (unsigned i = 0; i < writes->table->index->count && rc == BLITZ_OK; i++)
    if ((differ >> i & 1) && is_kept(writes, i))
      rc = compare_entries(txn, writes, update, i, &len, err);
  for (unsigned i = 0; i < update->count; i++)
  {
    show_kept(writes, &update->changes[i].from);
    show_kept(writes, &update->changes[i].to);
  }
  return rc;
}

static enum blitz_rc apply_change(struct bz_writes *writes, const struct update *update,
                                  const struct entry_change *change, struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  if (!update->same_key || change->moves)
    rc = take_out(writes, change->index_no, &change->from, update->key, err);
  if (rc == BLITZ_OK)
    rc = put(writes, change->index_no, &change->to, update->new_key, update->new_off, err);
  return rc;
}

enum blitz_rc bz_entries_update(struct blitz_txn *txn, struct bz_writes *writes,
                                struct blitz_slice key, struct blitz_slice old_value,
                                struct blitz_slice new_key, struct blitz_slice new_value,
                                uint64_t new_off, struct blitz_error *err)
{
  struct update update;
  enum blitz_rc rc;

  update.key = key;
  update.value = old_value;
  update.new_key = new_key;
  update.new_value = new_value;
  update.new_off = new_off;
  update.same_key = same(key, new_key);
  update.count = 0;
  rc = bz_entries_settle(writes, NULL, NULL, err);
  if (rc == BLITZ_OK)
    rc = find_changes(txn, writes, &update, err);
  for (unsigned i = 0; i < update.count && rc == BLITZ_OK; i++)
    if (update.changes[i].moves)
      rc = check_entry(writes, update.changes[i].index_no, &update.changes[i].to, err);
  if (rc != BLITZ_OK)
    return rc;
  for (unsigned i = 0; i < update.count && rc == BLITZ_OK; i++)
    rc = apply_change(writes, &update, &update.changes[i], err);
  return doom(writes, rc);
}

enum blitz_rc bz_entries_clear(struct bz_writes *writes, struct blitz_error *err)
{
  enum blitz_rc rc = bz_entries_settle(writes, NULL, NULL, err);

  if (rc == BLITZ_OK)
    rc = begin_txn(writes, err);
  writes->index_changes++;
  for (unsigned i = 0; i < writes->table->index->count && rc == BLITZ_OK; i++)
    rc = bz_index_db_clear(writes->table, writes->index_txn, writes->table->index->dbis[i], err);
  return doom(writes, rc);
}

/* ---- sorting first -------------------------------------------------------------------- */

static void free_sorts(struct bz_writes *writes)
{
  if (writes->sorts == NULL)
    return;
  for (unsigned i = 0; i < writes->table->index->count; i++)
    bz_sort_free(writes->sorts[i]);
  free(writes->sorts);
  writes->sorts = NULL;
}

enum blitz_rc bz_entries_sort(struct bz_writes *writes, bool late_duplicates,
                              struct blitz_error *err)
{
  unsigned count = writes->table->index->count;

  assert(writes->load != NULL && writes->sorts == NULL && writes->index_txn == NULL);
  writes->late_duplicates = late_duplicates;
  writes->sorts = calloc(count, sizeof(struct bz_sort *));
  for (unsigned i = 0; i < count && writes->sorts != NULL; i++)
  {
    writes->sorts[i] = bz_sort_create();
    if (writes->sorts[i] == NULL)
      free_sorts(writes);
  }
  if (writes->sorts != NULL)
    return BLITZ_OK;
  return bz_fail(err, BLITZ_NOMEM, 0, "out of memory loading %s", writes->table->file);
}

enum blitz_rc bz_entries_settle(struct bz_writes *writes, blitz_duplicate_fn *duplicate, void *arg,
                                struct blitz_error *err)
{
  struct blitz_table *table = writes->table;
  struct bz_work work = {.duplicate = duplicate, .arg = arg};
  enum blitz_rc rc = BLITZ_OK;

  if (writes->sorts == NULL)
    return BLITZ_OK;
  rc = begin_txn(writes, err);
  writes->index_changes++;
  for (unsigned i = 0; i < table->index->count && rc == BLITZ_OK; i++)
  {
    if (writes->sorts[i] == NULL || !is_kept(writes, i))
      continue;
    rc = bz_index_append(table, writes->index_txn, table->index->dbis[i], writes->sorts[i], &work,
                         err);
    if (rc == BLITZ_DUPLICATE && err != NULL)
      err->index_no = i;
  }
  free_sorts(writes);
  return doom(writes, rc);
}

/* ---- the end ---------------------------------------------------------------------------- */

enum blitz_rc bz_entries_finish(struct bz_writes *writes, struct blitz_error *err)
{
  bool is_direct = !writes->table->logged || writes->index_txn != NULL;
  enum blitz_rc rc = bz_entries_settle(writes, NULL, NULL, err);

  if (rc != BLITZ_OK || writes->own == NULL)
    return rc;
  bz_deltas_settle(writes->own);
  return is_direct && !bz_deltas_are_empty(writes->own) ? begin_txn(writes, err) : BLITZ_OK;
}

struct MDB_txn *bz_entries_take(struct bz_writes *writes)
{
  struct MDB_txn *txn = writes->index_txn;

  writes->index_txn = NULL;
  return txn;
}

void bz_entries_end(struct bz_writes *writes)
{
  struct bz_deltas *own = writes->own;

  if (writes->table->index == NULL)
    return;
  end_committed(writes);
  writes->own = NULL;
  if (own != NULL && writes->table->index->writer_own == NULL && bz_deltas_len(own) <= OWN_LEN_KEPT)
  {
    bz_deltas_reset(own);
    writes->table->index->writer_own = own;
  }
  else
    bz_deltas_leave(own);
}

void bz_entries_rollback(struct bz_writes *writes)
{
  free_sorts(writes);
  bz_entries_end(writes);
  if (writes->index_txn != NULL)
    bz_index_write_abort(writes->table, writes->index_txn);
  writes->index_txn = NULL;
}
