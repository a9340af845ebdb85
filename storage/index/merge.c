/* SPDX-License-Identifier: GPL-2.0-only
 *
 * merge.c: entries that were committed in memory, and how they come into the index file: all of
 * some commits at once, in order, as commits of the file that are on the device. The log is there
 * before: an index file is never ahead of what the rows are after a crash.
 *
 * A failure leaves the entries where they are, to be merged with the next ones; some of them may be
 * in the file already, which makes no difference.
 */
#include "base/counters.h"
#include "index/deltas.h"
#include "index/lmdb.h"
#include "index/undo.h"
#include "log/current.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- entries of new commits ------------------------------------------------------------ */

/* Where entries of new commits go. NULL: out of memory. */
static struct bz_deltas *active_of(struct blitz_table *table)
{
  struct bz_index_file *file = table->index;
  struct bz_deltas *made;

  if (file->active != NULL)
    return file->active;
  made = bz_deltas_new(file->count, file->ids);
  if (made == NULL)
    return NULL;
  pthread_mutex_lock(&table->snapshot_lock);
  file->active = made;
  pthread_mutex_unlock(&table->snapshot_lock);
  return made;
}

enum blitz_rc bz_index_copy(struct blitz_table *table, const struct bz_deltas *own, uint64_t seq,
                            struct bz_index_copies *copies)
{
  struct bz_deltas *active = active_of(table);
  uint64_t before;
  enum blitz_rc rc = active != NULL ? BLITZ_OK : BLITZ_NOMEM;

  bz_assert_writer(table);
  *copies = (struct bz_index_copies){0};
  before = active != NULL ? bz_deltas_len(active) : 0;
  for (unsigned i = 0; i < own->count && rc == BLITZ_OK; i++)
  {
    const struct bz_delta *from = atomic_load_explicit(&own->of[i], memory_order_relaxed);
    struct bz_delta *to;

    if (from == NULL || bz_delta_is_empty(from))
      continue;
    to = bz_deltas_get(active, i);
    rc = to != NULL ? bz_delta_copy(to, from, seq, NULL, NULL, &copies->lists[i]) : BLITZ_NOMEM;
  }
  if (active != NULL)
    bz_current_count((int64_t)(bz_deltas_len(active) - before));
  return rc;
}

void bz_index_link(struct blitz_table *table, struct bz_index_copies *copies)
{
  struct bz_deltas *active = table->index->active;

  bz_assert_writer(table);
  for (unsigned i = 0; i < table->index->count; i++)
    if (copies->lists[i] != NULL)
      bz_delta_link(bz_deltas_get(active, i), copies->lists[i]);
}

/* Those of new commits are merged, or the file has them; needs snapshot_lock. */
static void take_active(struct bz_index_file *file)
{
  bz_current_count(-(int64_t)bz_deltas_len(file->active));
  file->active = NULL;
}

void bz_index_forget(struct blitz_table *table)
{
  struct bz_index_file *file = table->index;
  struct bz_deltas *active = file->active, *merged = file->merged;

  if (active != NULL)
    take_active(file);
  file->merged = NULL;
  bz_deltas_leave(active);
  bz_deltas_leave(merged);
}

enum blitz_rc bz_index_take_over(struct blitz_table *table, struct bz_deltas *from, uint64_t except)
{
  struct bz_index_file *file = table->index;
  struct bz_deltas *active = active_of(table);

  if (active == NULL)
    return BLITZ_NOMEM;
  for (unsigned i = 0; i < file->count; i++)
    for (unsigned n = 0; n < from->count; n++)
      if (from->ids[n] == file->ids[i] && ((except | atomic_load(&file->disabled)) >> i & 1) == 0)
      {
        struct bz_delta *delta = atomic_exchange(&from->of[n], NULL);
        atomic_store(&active->of[i], delta);
        bz_current_count(delta != NULL ? (int64_t)bz_delta_len(delta) : 0);
      }
  bz_deltas_leave(from);
  return BLITZ_OK;
}

/* ---- into the file ------------------------------------------------------------------------ */

static enum blitz_rc apply(struct blitz_table *table, MDB_cursor *mc,
                           const struct bz_delta_version *version, struct blitz_error *err)
{
  struct bz_entry entry;
  enum blitz_rc rc;

  if (version->removed)
  {
    rc = bz_tree_remove(table, mc, version->sort_key, err);
    return rc == BLITZ_NOT_FOUND ? BLITZ_OK : rc;
  }
  if (!bz_delta_entry(version, &entry))
    return bz_index_fail(table, MDB_CORRUPTED, err);
  return bz_tree_put(table, mc, &entry, err);
}

/* Where in deltas a merge is: the version that comes next. */
struct progress
{
  unsigned index_no; /* the number of indexes: all is done */
  bool begun;        /* the place is somewhere in that index */
  struct bz_delta_place place;
};

/* Brings versions of an index into a transaction until there are no more, or LEFT bytes of them are
 * done. UNDO: where what was before is put; NULL: nowhere.
 */
static enum blitz_rc apply_delta(struct blitz_table *table, MDB_txn *txn, struct progress *at,
                                 uint64_t *left, struct bz_undo *undo, struct blitz_error *err)
{
  MDB_cursor *mc;
  bool found = true;
  enum blitz_rc rc = bz_tree_open_cursor(table, txn, table->index->dbis[at->index_no], &mc, err);

  if (rc != BLITZ_OK)
    return rc;
  while (found && rc == BLITZ_OK && *left > 0)
  {
    struct bz_delta_version version = bz_delta_at(&at->place);
    uint64_t len = version.sort_key.len + version.value.len;

    if (undo != NULL)
      rc = bz_undo_keep(undo, at->index_no, &at->place, err);
    if (rc == BLITZ_OK)
      rc = apply(table, mc, &version, err);
    *left -= len < *left ? len : *left;
    found = bz_delta_step(&at->place, true);
  }
  bz_tree_close_cursor(mc);
  at->begun = found;
  return rc;
}

/* The same of all indexes, from AT on. */
static enum blitz_rc apply_some(struct blitz_table *table, MDB_txn *txn,
                                const struct bz_deltas *deltas, struct progress *at, uint64_t left,
                                struct bz_undo *undo, struct blitz_error *err)
{
  unsigned count = table->index->count;
  enum blitz_rc rc = BLITZ_OK;

  while (at->index_no < count && rc == BLITZ_OK && left > 0)
  {
    const struct bz_delta *delta =
        atomic_load_explicit(&deltas->of[at->index_no], memory_order_acquire);
    if (at->begun || bz_delta_first(&at->place, delta))
      rc = apply_delta(table, txn, at, &left, undo, err);
    if (!at->begun)
      at->index_no++;
  }
  return rc;
}

enum blitz_rc bz_index_apply(struct blitz_table *table, MDB_txn *txn,
                             const struct bz_deltas *deltas, struct blitz_error *err)
{
  struct progress all = {.index_no = 0};

  return apply_some(table, txn, deltas, &all, UINT64_MAX, NULL, err);
}

/* Snapshots for which what a merge changes is to be kept. */
struct wanted
{
  uint64_t *numbers; /* ascending */
  size_t count;
  bool keep; /* some are earlier than the file is already */
};

static int compare_numbers(const void *a, const void *b)
{
  uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

  return (left > right) - (left < right);
}

/* Those that are earlier than what is merged: there will be no other ones, but copies. Who reads
 * what was before a direct commit has that. Needs snapshot_lock.
 */
static enum blitz_rc find_wanted(struct blitz_table *table, struct wanted *wanted)
{
  const struct bz_index_file *file = table->index;
  const struct bz_snapshot *snapshot;
  size_t count = 0;

  *wanted = (struct wanted){.count = 0};
  LIST_FOREACH (snapshot, &table->snapshots, link)
    count++;
  if (count == 0)
    return BLITZ_OK;
  wanted->numbers = malloc(count * sizeof *wanted->numbers);
  if (wanted->numbers == NULL)
    return BLITZ_NOMEM;
  LIST_FOREACH (snapshot, &table->snapshots, link)
    if (snapshot->seq >= file->direct_number && snapshot->seq < file->merged_number)
    {
      wanted->numbers[wanted->count++] = snapshot->seq;
      wanted->keep |= snapshot->seq < file->file_number;
    }
  qsort(wanted->numbers, wanted->count, sizeof *wanted->numbers, compare_numbers);
  return BLITZ_OK;
}

/* Commits TXN as all up to commit NUMBER, on the device. */
static enum blitz_rc commit_synced(struct blitz_table *table, MDB_txn *txn, uint64_t number,
                                   struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  enum blitz_rc rc;

  (void)mdb_env_set_flags(file->env, MDB_NOSYNC, 0);
  rc = bz_index_file_commit(table, txn, number, err);
  (void)mdb_env_set_flags(file->env, MDB_NOSYNC, 1);
  return rc;
}

/* So many bytes of entries one commit of a merge brings. Pages that it frees are used again by the
 * next commit but two: in few commits, a merge that changes all pages would make the file three
 * times as long.
 */
#ifdef NDEBUG
#define BATCH_LEN ((uint64_t)1 << 20)
#else
#define BATCH_LEN ((uint64_t)4 << 10)
#endif

/* Brings the next part of what is merged into a transaction, and what was before into the undo. */
static enum blitz_rc apply_batch(struct blitz_table *table, MDB_txn *txn, struct progress *at,
                                 const struct wanted *wanted, struct blitz_error *err)
{
  bool is_first = at->index_no == 0 && !at->begun;
  struct bz_undo undo;
  enum blitz_rc rc = bz_undo_begin(&undo, table, txn, wanted->numbers, wanted->count,
                                   wanted->keep || !is_first, err);

  if (rc == BLITZ_OK)
    rc = apply_some(table, txn, table->index->merged, at, BATCH_LEN,
                    wanted->count > 0 ? &undo : NULL, err);
  bz_undo_end(&undo);
  return rc;
}

/* One commit of a merge. All but the last one leave the file's number: after a crash all of it is
 * merged again, from the log, which comes to the same.
 */
static enum blitz_rc write_batch(struct blitz_table *table, struct progress *at,
                                 const struct wanted *wanted, struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  MDB_txn *txn;
  enum blitz_rc rc = bz_index_file_begin(table, &txn, err);

  if (rc != BLITZ_OK)
    return rc;
  rc = apply_batch(table, txn, at, wanted, err);
  if (rc == BLITZ_OK)
    rc = commit_synced(table, txn,
                       at->index_no < file->count ? file->record_number : file->merged_number, err);
  else
    bz_index_file_abort(table, txn);
  if (rc == BLITZ_CORRUPT)
    bz_index_set_broken(table);
  return rc;
}

static enum blitz_rc write_batches(struct blitz_table *table, const struct wanted *wanted,
                                   struct blitz_error *err)
{
  struct bz_redo *redo = bz_current_log();
  struct progress at = {.index_no = 0};
  enum blitz_rc rc = redo != NULL ? bz_redo_sync(redo, bz_redo_end(redo), err) : BLITZ_OK;

  if (rc != BLITZ_OK)
    return rc;
  do
    rc = write_batch(table, &at, wanted, err);
  while (rc == BLITZ_OK && at.index_no < table->index->count);
  return rc;
}

/* Brings what is taken for it into the file. */
static enum blitz_rc write_merged(struct blitz_table *table, struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  struct bz_deltas *merged = file->merged;
  struct wanted wanted;
  bool unused;
  enum blitz_rc rc;

  pthread_mutex_lock(&table->snapshot_lock);
  bz_index_trim(table);
  bz_env_make_room(table, 2 * bz_deltas_len(merged));
  rc = find_wanted(table, &wanted);
  if (rc == BLITZ_OK)
    file->file_number = file->merged_number;
  pthread_mutex_unlock(&table->snapshot_lock);
  if (rc != BLITZ_OK)
    return bz_fail(err, rc, 0, "out of memory writing %s", file->name);
  rc = write_batches(table, &wanted, err);
  free(wanted.numbers);
  if (rc != BLITZ_OK)
    return rc;
  pthread_mutex_lock(&table->snapshot_lock);
  bz_set_index_seq(table, file->merged_number + 1);
  file->merged = NULL;
  unused = --merged->refs == 0;
  pthread_mutex_unlock(&table->snapshot_lock);
  if (unused)
    bz_deltas_free(merged);
  bz_count(&bz_counters.index_merges, 1);
  return BLITZ_OK;
}

/* Takes the entries of all commits until now (X8); needs snapshot_lock. */
static void take(struct blitz_table *table)
{
  struct bz_index_file *file = table->index;

  assert(file->writing && file->merged == NULL);
  file->merged = file->active;
  file->merged_number = atomic_load(&table->committed);
  take_active(file);
}

enum blitz_rc bz_index_merge_all(struct blitz_table *table, struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  enum blitz_rc rc = BLITZ_OK;

  if (file->merged != NULL)
    rc = write_merged(table, err);
  if (rc != BLITZ_OK || file->active == NULL)
    return rc;
  pthread_mutex_lock(&table->snapshot_lock);
  take(table);
  pthread_mutex_unlock(&table->snapshot_lock);
  return write_merged(table, err);
}

/* Writes what is taken, and lets others write. If the file has turned out to be void there is
 * nothing to be merged any more.
 */
static enum blitz_rc finish(struct blitz_table *table, struct blitz_error *err)
{
  enum blitz_rc rc = write_merged(table, err);

  pthread_mutex_lock(&table->snapshot_lock);
  if (rc != BLITZ_OK && atomic_load(&table->index->broken))
  {
    bz_index_forget(table);
    rc = BLITZ_OK;
  }
  bz_index_end_writing(table, rc != BLITZ_OK);
  pthread_mutex_unlock(&table->snapshot_lock);
  return rc;
}

/* What could not be merged before comes first. */
static enum blitz_rc merge_rest(struct blitz_table *table, struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  bool any, taken;

  pthread_mutex_lock(&table->snapshot_lock);
  if (atomic_load(&file->broken))
    bz_index_forget(table);
  any = file->merged != NULL;
  taken = any && !file->writing;
  if (taken)
    file->writing = true;
  pthread_mutex_unlock(&table->snapshot_lock);
  return taken ? finish(table, err) : any ? BLITZ_BUSY : BLITZ_OK;
}

/* Who writes directly may wait for us and hold change_lock; so that comes before `writing`. */
enum blitz_rc bz_index_merge(struct blitz_table *table, bool locked, struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  bool any, taken;
  enum blitz_rc rc = file != NULL ? merge_rest(table, err) : BLITZ_OK;

  if (rc != BLITZ_OK || file == NULL)
    return rc;
  if (!locked)
    pthread_mutex_lock(&table->change_lock);
  pthread_mutex_lock(&table->snapshot_lock);
  any = file->active != NULL;
  taken = any && !file->writing && !table->applying;
  if (taken)
  {
    file->writing = true;
    take(table);
  }
  pthread_mutex_unlock(&table->snapshot_lock);
  if (!locked)
    pthread_mutex_unlock(&table->change_lock);
  return taken ? finish(table, err) : any ? BLITZ_BUSY : BLITZ_OK;
}
