/* SPDX-License-Identifier: GPL-2.0-only
 *
 * table.c: tables as a whole: create, open, close, drop, rename, copy, sync, and
 * the registry by which all of a process share one struct blitz_table for a file.
 *
 * Invariants:
 *  1. A file is marked open from the first change on. The mark goes at close, after
 *     everything else is on the device, so a file without it needs no repair.
 *  2. The registry's lock is held for moments only: whoever opens a table puts it
 *     in first, marked `opening`, and others wait for that table alone.
 */
#include "blitz_int.h"
#include "build.h"
#include "bytes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bz_counters bz_counters;

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t registry_changed = PTHREAD_COND_INITIALIZER;
static struct blitz_table *registry;

void blitz_counters_get(struct blitz_counters *counters)
{
  counters->commits = atomic_load(&bz_counters.commits);
  counters->rollbacks = atomic_load(&bz_counters.rollbacks);
  counters->rows_inserted = atomic_load(&bz_counters.rows_inserted);
  counters->rows_updated = atomic_load(&bz_counters.rows_updated);
  counters->rows_removed = atomic_load(&bz_counters.rows_removed);
  counters->read_retries = atomic_load(&bz_counters.read_retries);
  counters->write_waits = atomic_load(&bz_counters.write_waits);
  counters->bucket_splits = atomic_load(&bz_counters.bucket_splits);
  counters->rows_moved = atomic_load(&bz_counters.rows_moved);
  counters->bytes_allocated = atomic_load(&bz_counters.bytes_allocated);
  counters->recoveries = atomic_load(&bz_counters.recoveries);
  counters->index_rebuilds = atomic_load(&bz_counters.index_rebuilds);
  counters->index_lookups = atomic_load(&bz_counters.index_lookups);
  counters->index_misses = atomic_load(&bz_counters.index_misses);
  counters->view_renewals = atomic_load(&bz_counters.view_renewals);
}

enum blitz_rc bz_damaged(const struct blitz_table *table, uint64_t off, struct blitz_error *err)
{
  return bz_fail(err, BLITZ_CORRUPT, 0,
                 "%s is damaged at or near byte %llu. Restore it from a backup, or repair it, "
                 "which keeps all rows but the damaged ones",
                 table->file, (unsigned long long)off);
}

/* ---- opening and closing -------------------------------------------------- */

static void free_table(struct blitz_table *table)
{
  bz_space_clear(table);
  bz_file_close(table);
  pthread_mutex_destroy(&table->slot_lock);
  pthread_cond_destroy(&table->slot_free);
  pthread_mutex_destroy(&table->snapshot_lock);
  pthread_mutex_destroy(&table->removed_lock);
  pthread_mutex_destroy(&table->counter_lock);
  free(table->path);
  free(table->file);
  free(table);
}

static struct blitz_table *new_table(const char *path, unsigned flags)
{
  pthread_condattr_t attr;
  struct blitz_table *table = aligned_alloc(64, sizeof *table);

  if (table == NULL)
    return NULL;
  memset(table, 0, sizeof *table);
  table->fd = -1;
  table->flags = flags;
  table->path = strdup(path);
  table->file = bz_file_name(path);
  pthread_mutex_init(&table->slot_lock, NULL);
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(&table->slot_free, &attr);
  pthread_condattr_destroy(&attr);
  pthread_mutex_init(&table->snapshot_lock, NULL);
  pthread_mutex_init(&table->removed_lock, NULL);
  pthread_mutex_init(&table->counter_lock, NULL);
  if (table->path != NULL && table->file != NULL)
    return table;
  free_table(table);
  return NULL;
}

/* Opens the data file, and repairs it if need be. *TRUST: how far its indexes may be
 * believed after that.
 */
static enum blitz_rc open_rows(struct blitz_table *table, struct bz_index_trust *trust,
                               struct blitz_error *err)
{
  struct bz_header header;
  bool lost_rows = false;
  enum blitz_rc rc = bz_file_open(table, &header, err);

  if (rc != BLITZ_OK)
    return rc;
  trust->committed = header.committed;
  trust->check_bytes = !header.open;
  if (header.open || (table->flags & BLITZ_OPEN_REPAIR))
  {
    rc = bz_recover(table, !header.open, &lost_rows, err);
    /* What the machine wrote of the index file before it died, nobody knows. */
    trust->never =
        lost_rows || (table->flags & BLITZ_OPEN_REPAIR) || !bz_file_is_of_this_boot(&header);
    return rc;
  }
  if (bz_load_le32(bz_base(table) + BZ_CLOSED_CRC_OFF) != bz_file_closed_crc(table))
    return bz_fail(err, BLITZ_CORRUPT, 0,
                   "the header or the bucket array of %s is damaged. Restore it from a backup, "
                   "or repair it, which keeps all rows that are intact",
                   table->file);
  if (table->flags & BLITZ_OPEN_READONLY)
    return BLITZ_OK;
  return bz_space_load(table, err);
}

static enum blitz_rc open_file(struct blitz_table *table, const struct blitz_indexes *indexes,
                               const struct blitz_indexer *indexer, struct blitz_error *err)
{
  struct bz_index_trust trust = {0};
  const char *reason;
  uint64_t build;
  enum blitz_rc rc = open_rows(table, &trust, err);

  if (rc != BLITZ_OK || indexes == NULL || indexes->count == 0)
    return rc;
  rc = bz_index_open(table, indexes, &trust, &build, &reason, err);
  if (rc == BLITZ_OK && build != 0)
    rc = bz_build(table, build, indexer, reason != NULL ? reason : "without them",
                  table->flags & BLITZ_OPEN_REPAIR ? BLITZ_LOG_NOTE : BLITZ_LOG_WARNING, err);
  if (rc == BLITZ_OK && table->dirty)
    bz_file_stamp(table);
  return rc;
}

static struct blitz_table *find_open(const char *path)
{
  for (struct blitz_table *table = registry; table != NULL; table = table->next)
    if (strcmp(table->path, path) == 0)
      return table;
  return NULL;
}

static void registry_remove(struct blitz_table *table)
{
  struct blitz_table **link = &registry;

  while (*link != table)
    link = &(*link)->next;
  *link = table->next;
  pthread_cond_broadcast(&registry_changed);
}

/* The open table PATH with one more reference; or a new one, marked `opening`,
 * that the caller is to open; or NULL.
 */
static struct blitz_table *registry_get(const char *path, unsigned flags)
{
  struct blitz_table *table;

  while ((table = find_open(path)) != NULL && table->opening)
    pthread_cond_wait(&registry_changed, &registry_lock);
  if (table != NULL)
  {
    table->refs++;
    return table;
  }
  table = new_table(path, flags);
  if (table == NULL)
    return NULL;
  table->refs = 1;
  table->opening = true;
  table->next = registry;
  registry = table;
  return table;
}

/* Is TABLE, which is open, open with INDEXES? */
static bool has_indexes(const struct blitz_table *table, const struct blitz_indexes *indexes)
{
  const struct bz_index_file *file = table->index;

  if (indexes == NULL || indexes->count == 0)
    return true;
  return file != NULL && file->count == indexes->count &&
         memcmp(file->ids, indexes->ids, file->count * sizeof *file->ids) == 0;
}

enum blitz_rc blitz_table_open(const char *path, unsigned flags, struct blitz_table **tablep,
                               struct blitz_error *err)
{
  return blitz_table_open_indexed(path, flags, NULL, NULL, tablep, err);
}

enum blitz_rc blitz_table_open_indexed(const char *path, unsigned flags,
                                       const struct blitz_indexes *indexes,
                                       const struct blitz_indexer *indexer,
                                       struct blitz_table **tablep, struct blitz_error *err)
{
  struct blitz_table *table, *failed = NULL;
  enum blitz_rc rc = BLITZ_OK;

  *tablep = NULL;
  pthread_mutex_lock(&registry_lock);
  table = registry_get(path, flags);
  if (table == NULL)
    rc = bz_fail(err, BLITZ_NOMEM, 0, "out of memory opening %s", path);
  else if (table->opening)
  {
    pthread_mutex_unlock(&registry_lock);
    rc = open_file(table, indexes, indexer, err);
    pthread_mutex_lock(&registry_lock);
    table->opening = false;
    if (rc != BLITZ_OK)
    {
      registry_remove(table);
      failed = table;
    }
    pthread_cond_broadcast(&registry_changed);
  }
  else if (!has_indexes(table, indexes))
  {
    table->refs--;
    rc = bz_fail(err, BLITZ_INVALID, 0, "%s is open with other indexes", table->file);
  }
  pthread_mutex_unlock(&registry_lock);
  if (failed != NULL)
  {
    if (failed->index != NULL)
      bz_index_close(failed, false);
    free_table(failed);
  }
  if (rc == BLITZ_OK)
    *tablep = table;
  return rc;
}

/* Writes what a closed file carries. False: it is not to be marked as closed. */
static bool finish_file(struct blitz_table *table)
{
  uint64_t buckets_end;
  uint8_t *base;

  bz_space_reclaim(table);
  if (!bz_grow_finish(table))
  {
    bz_log(BLITZ_LOG_WARNING,
           "%s could not be closed for lack of space: it will be repaired "
           "when it is opened",
           table->file);
    return false;
  }
  bz_space_save(table);
  base = bz_base(table);
  /* Nothing of rows that were here before the array; and an empty free-block pool, for
   * Tokyo Cabinet.
   */
  buckets_end = BZ_HEADER_LEN + atomic_load(&table->bucket_count) * BZ_BUCKET_LEN;
  memset(base + buckets_end, 0, atomic_load(&table->first) - buckets_end);
  return true;
}

/* Syncs the files, then takes the mark away. */
static void close_file(struct blitz_table *table)
{
  uint8_t *base;
  bool clean = table->dirty && !atomic_load(&table->broken) && finish_file(table);

  if (table->index != NULL)
    bz_index_close(table, clean || !table->dirty);
  if (!clean)
    return;
  base = bz_base(table);
  bz_store_le32(base + BZ_CLOSED_CRC_OFF, bz_file_closed_crc(table));
  if (!(table->flags & BLITZ_OPEN_TEMPORARY) && fdatasync(table->fd) != 0)
  {
    bz_log(BLITZ_LOG_ERROR, "%s could not be synced (%s): it will be repaired when it is opened",
           table->file, strerror(errno));
    return;
  }
  base[BZ_TC_FLAGS_OFF] &= (uint8_t)~BZ_TC_FLAG_OPEN;
}

void blitz_table_close(struct blitz_table *table)
{
  bool last;

  pthread_mutex_lock(&registry_lock);
  last = --table->refs == 0;
  if (last)
    table->opening = true; /* who opens it now waits until it is closed */
  pthread_mutex_unlock(&registry_lock);
  if (!last)
    return;
  close_file(table);
  bz_file_close(table);
  pthread_mutex_lock(&registry_lock);
  registry_remove(table);
  pthread_mutex_unlock(&registry_lock);
  free_table(table);
}

/* ---- files by name --------------------------------------------------------- */

enum blitz_rc blitz_table_create(const char *path, const struct blitz_create_options *options,
                                 bool replace, struct blitz_error *err)
{
  char *name = bz_file_name(path);
  enum blitz_rc rc;

  if (name == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory creating %s", path);
  rc = bz_file_create(name, options, replace, err);
  free(name);
  return rc;
}

enum blitz_rc blitz_table_drop(const char *path, struct blitz_error *err)
{
  char *name = bz_file_name(path);
  enum blitz_rc rc = BLITZ_OK;

  if (name == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory removing %s", path);
  if (unlink(name) != 0)
    rc = bz_fail(err, bz_rc_of_errno(errno), errno, "cannot remove %s", name);
  else
    bz_index_unlink(path);
  free(name);
  return rc;
}

enum blitz_rc blitz_table_rename(const char *from, const char *to, struct blitz_error *err)
{
  char *from_name = bz_file_name(from), *to_name = bz_file_name(to);
  enum blitz_rc rc = BLITZ_OK;

  if (from_name == NULL || to_name == NULL)
    rc = bz_fail(err, BLITZ_NOMEM, 0, "out of memory renaming %s", from);
  else if (rename(from_name, to_name) != 0)
    rc = bz_fail(err, bz_rc_of_errno(errno), errno, "cannot rename %s to %s", from_name, to_name);
  else
    /* A file that does not go along is made anew. */
    (void)!bz_index_rename(from, to, NULL);
  free(from_name);
  free(to_name);
  return rc;
}

/* ---- copying --------------------------------------------------------------- */

static enum blitz_rc copy_rows(struct blitz_cursor *cursor, struct blitz_txn *txn,
                               struct blitz_table *to, struct blitz_error *err)
{
  struct blitz_slice value;
  enum blitz_rc rc;

  while ((rc = blitz_scan_next(cursor, &value, err)) == BLITZ_OK)
  {
    rc = bz_insert(txn, to, blitz_cursor_key(cursor), value, err);
    if (rc != BLITZ_OK)
      return rc;
  }
  return rc == BLITZ_END ? BLITZ_OK : rc;
}

static enum blitz_rc copy_table(struct blitz_table *table, struct blitz_table *to,
                                struct blitz_error *err)
{
  struct blitz_cursor *cursor = NULL;
  struct blitz_txn *txn = NULL;
  enum blitz_rc rc;

  rc = blitz_txn_create(&txn);
  if (rc == BLITZ_OK)
    rc = blitz_cursor_open(table, NULL, &cursor);
  if (rc == BLITZ_OK)
    rc = blitz_scan_begin(cursor);
  if (rc == BLITZ_OK)
    rc = blitz_txn_expect_rows(txn, to, atomic_load(&table->row_count), false, err);
  if (rc == BLITZ_OK)
    rc = copy_rows(cursor, txn, to, err);
  if (rc == BLITZ_OK)
    rc = blitz_txn_commit(txn, err);
  if (rc == BLITZ_OK)
  {
    /* Read after the rows: it is beyond all of theirs. */
    bz_word_store(bz_base(to), BZ_NEXT_ROW_ID_OFF,
                  bz_word_load(atomic_load(&table->map)->base, BZ_NEXT_ROW_ID_OFF));
    rc = blitz_table_counter_set(to, blitz_table_counter(table), err);
  }
  blitz_txn_free(txn);
  blitz_cursor_close(cursor);
  return rc;
}

enum blitz_rc blitz_table_copy(struct blitz_table *table, const char *to, struct blitz_error *err)
{
  struct blitz_create_options options = {.row_ids = table->row_ids};
  struct blitz_table *copy;
  enum blitz_rc rc;

  options.expected_rows = atomic_load(&table->row_count);
  rc = blitz_table_create(to, &options, false, err);
  if (rc != BLITZ_OK)
    return rc;
  rc = blitz_table_open(to, 0, &copy, err);
  if (rc == BLITZ_OK)
  {
    rc = copy_table(table, copy, err);
    if (rc == BLITZ_OK)
      rc = blitz_table_sync(copy, err);
    blitz_table_close(copy);
  }
  if (rc != BLITZ_OK)
    (void)!blitz_table_drop(to, NULL);
  return rc;
}

enum blitz_rc blitz_table_sync(struct blitz_table *table, struct blitz_error *err)
{
  if (fdatasync(table->fd) == 0)
    return BLITZ_OK;
  return bz_fail(err, bz_rc_of_errno(errno), errno, "cannot sync %s", table->file);
}

/* ---- figures and the caller's number ---------------------------------------- */

void blitz_table_stats(struct blitz_table *table, struct blitz_table_stats *stats)
{
  uint64_t end = atomic_load(&table->end);
  uint64_t free_len = atomic_load(&table->space.free_len);

  stats->row_count = atomic_load(&table->row_count);
  stats->file_len = atomic_load(&table->allocated);
  stats->free_len = free_len;
  stats->data_len = end - free_len;
  stats->bucket_count = atomic_load(&table->bucket_count);
}

uint64_t blitz_table_counter(struct blitz_table *table)
{
  uint64_t n;

  pthread_mutex_lock(&table->counter_lock);
  n = bz_load_le64(atomic_load(&table->map)->base + BZ_COUNTER_OFF);
  pthread_mutex_unlock(&table->counter_lock);
  return n;
}

static enum blitz_rc store_counter(struct blitz_table *table, uint64_t n, bool only_raise,
                                   struct blitz_error *err)
{
  uint8_t *at;

  if (table->flags & BLITZ_OPEN_READONLY)
    return bz_fail(err, BLITZ_READONLY, 0, "%s is open for reading only", table->file);
  pthread_mutex_lock(&table->counter_lock);
  at = atomic_load(&table->map)->base + BZ_COUNTER_OFF;
  if (!only_raise || bz_load_le64(at) < n)
    bz_store_le64(at, n);
  pthread_mutex_unlock(&table->counter_lock);
  return BLITZ_OK;
}

enum blitz_rc blitz_table_counter_raise(struct blitz_table *table, uint64_t n,
                                        struct blitz_error *err)
{
  return store_counter(table, n, true, err);
}

enum blitz_rc blitz_table_counter_set(struct blitz_table *table, uint64_t n,
                                      struct blitz_error *err)
{
  return store_counter(table, n, false, err);
}
