/* SPDX-License-Identifier: GPL-2.0-only
 *
 * table.c: tables as a whole: create, open, close, drop, rename, sync, and
 * the registry by which all of a process share one struct blitz_table for a file.
 *
 * Invariants:
 *  1. A file is marked open from the first change on. The mark goes at close, after
 *     everything else is on the device, so a file without it needs no repair.
 *  2. The registry's lock is held for moments only: whoever opens a table puts it
 *     in first, marked `opening`, and others wait for that table alone.
 */
#include "base/sync_dir.h"
#include "log/current.h"
#include "table/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t registry_changed = PTHREAD_COND_INITIALIZER;
static struct blitz_table *registry;
static bool keeps_tables; /* that nobody uses any more: a backup is being taken */

/* ---- opening and closing -------------------------------------------------- */

void bz_table_free(struct blitz_table *table)
{
  bz_moments_forget(table); /* it may have got indexes before its opening failed */
  bz_space_clear(table);
  bz_file_close(table);
  bz_deltas_leave(table->replayed);
  pthread_mutex_destroy(&table->slot_lock);
  pthread_cond_destroy(&table->slot_free);
  pthread_mutex_destroy(&table->snapshot_lock);
  pthread_mutex_destroy(&table->counter_lock);
  pthread_mutex_destroy(&table->change_lock);
  free(table->path);
  free(table->file);
  free(table);
}

struct blitz_table *bz_table_new(const char *path, unsigned flags)
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
  bz_removed_init(table);
  pthread_mutex_init(&table->counter_lock, NULL);
  pthread_mutex_init(&table->change_lock, NULL);
  atomic_store(&table->needs_from, BZ_NEEDS_NOTHING);
  if (table->path != NULL && table->file != NULL)
    return table;
  bz_table_free(table);
  return NULL;
}

/* The index file, which is open, gets the entries that the log had; but for the indexes ANEW, which
 * are made from the rows.
 */
static enum blitz_rc take_replayed(struct blitz_table *table, uint64_t anew,
                                   struct blitz_error *err)
{
  struct bz_deltas *replayed = table->replayed;

  table->replayed = NULL;
  if (replayed == NULL || bz_index_take_over(table, replayed, anew) == BLITZ_OK)
    return BLITZ_OK;
  table->replayed = replayed;
  return bz_fail(err, BLITZ_NOMEM, 0, "out of memory opening %s", table->file);
}

static enum blitz_rc open_indexes(struct blitz_table *table,
                                  const struct blitz_open_options *options,
                                  const struct bz_index_trust *trust, struct blitz_error *err)
{
  const char *reason;
  uint64_t build;
  enum blitz_rc rc = bz_index_open(table, options->indexes, trust, &build, &reason, err);

  if (rc == BLITZ_OK)
    rc = take_replayed(table, reason != NULL ? UINT64_MAX : build, err);
  if (rc == BLITZ_OK && build != 0)
    rc = bz_build(table, build, options->indexer, reason != NULL ? reason : "without them",
                  options->flags & BLITZ_OPEN_REPAIR ? BLITZ_LOG_NOTE : BLITZ_LOG_WARNING, err);
  /* Half a file would be called damaged the next time. */
  if (rc != BLITZ_OK && reason != NULL && build != 0)
    bz_index_unlink(table->path);
  if (rc == BLITZ_OK && table->dirty)
    bz_file_stamp(table);
  return rc;
}

/* A table that could not be written will not be there any more. */
static void give_up(struct blitz_table *table, const struct blitz_error *why)
{
  if (!table->logged)
    return;
  bz_log_pin(table);
  bz_log(BLITZ_LOG_ERROR, "%s. Its last changes stay in the log until the server is started again",
         why->text);
}

static enum blitz_rc open_file(struct blitz_table *table, const struct blitz_open_options *options,
                               struct blitz_error *err)
{
  struct bz_index_trust trust;
  struct blitz_error why;
  enum blitz_rc rc = bz_table_open_rows(table, options, &trust, err);

  if (rc != BLITZ_OK || options->indexes == NULL || options->indexes->count == 0)
    return rc;
  rc = open_indexes(table, options, &trust, err);
  /* The rows are as they were, or as recovery has left them. */
  if (rc != BLITZ_OK && table->logged)
    bz_table_claim(table);
  if (rc != BLITZ_OK && !bz_table_finish(table, &why))
    give_up(table, &why);
  return rc;
}

/* Opens a table that the start has left. */
static enum blitz_rc take_over(struct blitz_table *table, const struct blitz_open_options *options,
                               struct blitz_error *err)
{
  struct bz_header header = {.version = BZ_VERSION_LOGGED,
                             .layout = bz_load_le64(bz_base(table) + BZ_LAYOUT_OFF)};
  struct bz_index_trust trust = {.may_be_later = true, .committed = atomic_load(&table->committed)};
  enum blitz_rc rc = bz_table_check_layout(table, &header, options, err);

  if (rc != BLITZ_OK)
    return rc;
  memcpy(header.boot_id, bz_base(table) + BZ_BOOT_ID_OFF, sizeof header.boot_id);
  trust.was_killed = bz_file_is_of_this_boot(table, &header);
  table->flags = options->flags;
  table->crash_safe = (options->flags & BLITZ_OPEN_CRASH_SAFE) != 0;
  if (options->indexes != NULL && options->indexes->count > 0)
    rc = open_indexes(table, options, &trust, err);
  if (rc != BLITZ_OK && table->index != NULL)
  {
    bz_change_begin(table);
    bz_index_close(table, false);
    bz_change_end(table);
  }
  return rc;
}

static struct blitz_table *find_open(const char *path)
{
  assert(bz_holds(&registry_lock));
  for (struct blitz_table *table = registry; table != NULL; table = table->next)
    if (strcmp(table->path, path) == 0)
      return table;
  return NULL;
}

static void registry_remove(struct blitz_table *table)
{
  struct blitz_table **link = &registry;

  assert(bz_holds(&registry_lock));
  while (*link != table)
    link = &(*link)->next;
  *link = table->next;
  pthread_cond_broadcast(&registry_changed);
}

void bz_registry_leave(struct blitz_table *table)
{
  bz_table_unclaim(table);
  pthread_mutex_lock(&registry_lock);
  table->opening = false;
  table->left = true;
  table->next = registry;
  registry = table;
  pthread_mutex_unlock(&registry_lock);
}

static bool is_to_write(const struct blitz_table *table)
{
  return !table->opening && !table->unfinished && table->logged && table->log_number != 0 &&
         !atomic_load(&table->broken);
}

struct blitz_table **bz_registry_claim(size_t *countp)
{
  struct blitz_table **tables;
  size_t count = 0;

  *countp = 0;
  pthread_mutex_lock(&registry_lock);
  for (struct blitz_table *table = registry; table != NULL; table = table->next)
    count++;
  tables = calloc(count + 1, sizeof(struct blitz_table *));
  for (struct blitz_table *table = registry; table != NULL && tables != NULL; table = table->next)
    if (is_to_write(table) && bz_table_try_claim(table))
    {
      /* The indexes of one that was left may be opened just now. */
      table->has_indexes = !table->left;
      table->merged = table->replayed == NULL;
      tables[(*countp)++] = table;
    }
  pthread_mutex_unlock(&registry_lock);
  return tables;
}

uint64_t bz_registry_written(struct blitz_table **tables, size_t count, uint64_t position)
{
  uint64_t needed = bz_log_pinned() < position ? bz_log_pinned() : position;

  pthread_mutex_lock(&registry_lock);
  for (size_t i = 0; i < count; i++)
    if (!tables[i]->applied_in_part && tables[i]->merged)
      atomic_store(&tables[i]->needs_from, position);
  for (struct blitz_table *table = registry; table != NULL; table = table->next)
    if (!atomic_load(&table->broken) && atomic_load(&table->needs_from) < needed)
      needed = atomic_load(&table->needs_from);
  pthread_mutex_unlock(&registry_lock);
  return needed;
}

/* *TABLEP: the open table PATH with one more reference; or a new one, marked `opening`,
 * that the caller is to open, or one that the start has left, marked so too; or NULL. False: there
 * is one whose close has just failed.
 */
static bool registry_get(const char *path, unsigned flags, struct blitz_table **tablep)
{
  struct blitz_table *table;

  assert(bz_holds(&registry_lock));
  while ((table = find_open(path)) != NULL && table->opening)
    pthread_cond_wait(&registry_changed, &registry_lock);
  *tablep = table;
  if (table != NULL)
  {
    table->refs += !table->unfinished;
    if (table->left)
      table->opening = true;
    return !table->unfinished;
  }
  *tablep = table = bz_table_new(path, flags);
  if (table == NULL)
    return true;
  table->refs = 1;
  table->opening = true;
  table->next = registry;
  registry = table;
  return true;
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

/* ---- tables that nobody uses, while a backup is taken ------------------------------ */

static enum blitz_rc close_table(struct blitz_table *table, struct blitz_error *err);
static void remove_table(struct blitz_table *table);

/* Is TABLE, which nobody uses, as who opens it with OPTIONS wants it, or can be made so? */
static bool is_as_wanted(const struct blitz_table *table, const struct blitz_open_options *options)
{
  if (table->unfinished)
    return false;
  return table->left ? !(options->flags & (BLITZ_OPEN_REPAIR | BLITZ_OPEN_READONLY))
                     : options->flags == table->flags && has_indexes(table, options->indexes);
}

/* A table that nobody uses, to be closed: the one of that PATH, unless it is as OPTIONS, if these
 * are not NULL, want it; or if PATH is NULL any that is not unfinished.
 */
static struct blitz_table *take_kept(const char *path, const struct blitz_open_options *options)
{
  struct blitz_table *table = registry;

  assert(bz_holds(&registry_lock));
  while (table != NULL && (table->refs > 0 || table->opening ||
                           (path != NULL ? strcmp(table->path, path) != 0 : table->unfinished)))
    table = table->next;
  if (table == NULL || (options != NULL && is_as_wanted(table, options)))
    return NULL;
  table->opening = true;
  return table;
}

/* Closes tables that nobody uses, as take_kept() chooses them. */
static enum blitz_rc close_kept(const char *path, const struct blitz_open_options *options,
                                struct blitz_error *err)
{
  struct blitz_table *table;
  enum blitz_rc rc = BLITZ_OK;

  do
  {
    pthread_mutex_lock(&registry_lock);
    table = take_kept(path, options);
    pthread_mutex_unlock(&registry_lock);
    if (table != NULL)
      rc = close_table(table, err);
  } while (table != NULL && (rc == BLITZ_OK || path == NULL));
  return rc;
}

/* Forgets the table of a file that is not there any more. */
static void forget_kept(const char *path)
{
  struct blitz_table *table;

  pthread_mutex_lock(&registry_lock);
  table = take_kept(path, NULL);
  pthread_mutex_unlock(&registry_lock);
  if (table == NULL)
    return;
  bz_table_claim(table);
  remove_table(table);
}

void blitz_backup_begin(void)
{
  bz_checkpoints_hold(true);
  pthread_mutex_lock(&registry_lock);
  keeps_tables = true;
  pthread_mutex_unlock(&registry_lock);
}

void blitz_backup_end(void)
{
  pthread_mutex_lock(&registry_lock);
  keeps_tables = false;
  pthread_mutex_unlock(&registry_lock);
  bz_checkpoints_hold(false);
  (void)!close_kept(NULL, NULL, NULL);
}

/* ---- opening, as callers see it -------------------------------------------------------- */

enum blitz_rc blitz_table_open(const char *path, unsigned flags, struct blitz_table **tablep,
                               struct blitz_error *err)
{
  return blitz_table_open_with(path, &(struct blitz_open_options){.flags = flags}, tablep, err);
}

enum blitz_rc blitz_table_open_with(const char *path, const struct blitz_open_options *options,
                                    struct blitz_table **tablep, struct blitz_error *err)
{
  struct blitz_table *table, *failed = NULL;
  bool again;
  enum blitz_rc rc;

  *tablep = NULL;
  do
  {
    rc = close_kept(path, options, err);
    if (rc != BLITZ_OK)
      return rc;
    pthread_mutex_lock(&registry_lock);
    again = !registry_get(path, options->flags, &table);
    if (again)
      pthread_mutex_unlock(&registry_lock);
  } while (again);
  if (table == NULL)
    rc = bz_fail(err, BLITZ_NOMEM, 0, "out of memory opening %s", path);
  else if (table->opening)
  {
    pthread_mutex_unlock(&registry_lock);
    rc = table->left ? take_over(table, options, err) : open_file(table, options, err);
    pthread_mutex_lock(&registry_lock);
    table->opening = false;
    if (rc != BLITZ_OK && table->left)
      table->refs = 0;
    else if (rc != BLITZ_OK)
    {
      registry_remove(table);
      failed = table;
    }
    table->left &= rc != BLITZ_OK;
    table->left_long = false;
    pthread_cond_broadcast(&registry_changed);
  }
  else if (!has_indexes(table, options->indexes))
  {
    table->refs--;
    rc = bz_fail(err, BLITZ_INVALID, 0, "%s is open with other indexes", table->file);
  }
  pthread_mutex_unlock(&registry_lock);
  if (failed != NULL)
  {
    if (failed->index != NULL)
      bz_index_close(failed, false);
    bz_table_free(failed);
  }
  if (rc == BLITZ_OK)
    *tablep = table;
  return rc;
}

/* Writes what a closed file carries. False: it is not to be marked as closed. */
static bool finish_file(struct blitz_table *table)
{
  uint64_t buckets_end;

  bz_removed_sweep_all(table);
  while (bz_space_walk(table))
    ;
  if (!bz_grow_finish(table))
  {
    if (!table->logged)
      bz_log(BLITZ_LOG_WARNING,
             "%s could not be closed for lack of space: it will be repaired "
             "when it is opened",
             table->file);
    return false;
  }
  bz_space_save(table);
  if (table->version == BZ_VERSION_LOGGED || table->logged)
  {
    /* Something else was there (format.h). */
    bz_put_le64(table, BZ_INDEX_LEN_OFF, 0);
    bz_put_le32(table, BZ_INDEX_CRC_OFF, 0);
  }
  /* Nothing of rows that were here before the array; and an empty free-block pool, for
   * Tokyo Cabinet.
   */
  buckets_end = BZ_HEADER_LEN + atomic_load(&table->bucket_count) * BZ_BUCKET_LEN;
  bz_put_zeros(table, buckets_end, atomic_load(&table->first) - buckets_end);
  return true;
}

/* Brings all of a logged table, which is claimed, to its file: closed, or if that cannot be (CLEAN
 * is false) as it is.
 */
static bool finish_logged(struct blitz_table *table, bool clean, struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  if (table->log_number == 0) /* it was only taken up */
    rc = bz_log_table(table, err);
  if (rc == BLITZ_OK && clean)
  {
    pthread_mutex_lock(&table->change_lock);
    bz_file_put_closed(table);
    pthread_mutex_unlock(&table->change_lock);
  }
  if (rc == BLITZ_OK)
    rc = bz_checkpoint(&table, 1, BZ_JOURNAL_ONE, true, err);
  if (rc == BLITZ_OK && clean && ftruncate(table->fd, (off_t)table->allocated) != 0)
    bz_log(BLITZ_LOG_WARNING, "%s keeps bytes at its end that it does not need: %s", table->file,
           strerror(errno));
  if (rc == BLITZ_OK)
    rc = bz_log_closed(table, err);
  return rc == BLITZ_OK;
}

/* Syncs the files, then takes the mark away. */
bool bz_table_finish(struct blitz_table *table, struct blitz_error *err)
{
  bool is_whole = !atomic_load(&table->broken), clean;

  bz_change_begin(table);
  clean = table->dirty && is_whole && finish_file(table);

  if (table->index != NULL)
    bz_index_close(table, clean || !table->dirty);
  bz_change_end(table);
  if (table->logged)
    return !table->dirty || !is_whole || finish_logged(table, clean, err);
  if (!clean)
    return !table->dirty;
  if (table->version == BZ_VERSION_LOGGED) /* it is repaired */
    bz_header_set_version(bz_base(table), BZ_VERSION);
  bz_put_le32(table, BZ_CLOSED_CRC_OFF, bz_file_closed_crc(table));
  if (!(table->flags & BLITZ_OPEN_TEMPORARY) && fdatasync(table->fd) != 0)
  {
    bz_log(BLITZ_LOG_ERROR, "%s could not be synced (%s): it will be repaired when it is opened",
           table->file, strerror(errno));
    return false;
  }
  bz_put_byte(table, BZ_TC_FLAGS_OFF, bz_base(table)[BZ_TC_FLAGS_OFF] & (uint8_t)~BZ_TC_FLAG_OPEN);
  return true;
}

/* Takes a closed table, or one that is given up, out of the registry. */
static void remove_table(struct blitz_table *table)
{
  bz_file_close(table);
  pthread_mutex_lock(&registry_lock);
  registry_remove(table);
  pthread_mutex_unlock(&registry_lock);
  bz_table_free(table);
}

/* A table of which the file could not be written stays in the registry, `unfinished`, with all that
 * the file lacks in memory and in the log: it is tried again by who wants the table, by
 * checkpoints, and at the stop.
 */
static void leave_unfinished(struct blitz_table *table, const struct blitz_error *err)
{
  bz_table_unclaim(table);
  pthread_mutex_lock(&registry_lock);
  if (!table->unfinished)
    bz_log(BLITZ_LOG_ERROR, "%s. Until then its last changes are in the log", err->text);
  table->unfinished = true;
  table->opening = false;
  pthread_cond_broadcast(&registry_changed);
  pthread_mutex_unlock(&registry_lock);
}

/* Closes a table that nobody uses, and that is marked `opening`. */
static enum blitz_rc close_table(struct blitz_table *table, struct blitz_error *err)
{
  struct blitz_error why;
  bool done;

  bz_moments_forget(table);
  assert(table->opening && table->writer == NULL && LIST_EMPTY(&table->snapshots) &&
         LIST_EMPTY(&table->scans));
  if (table->logged)
    bz_table_claim(table);
  if (table->left)
    bz_index_finish_replayed(table);
  done = table->unfinished || table->left ? finish_logged(table, !table->dirty, &why)
                                          : bz_table_finish(table, &why);
  if (done || !table->logged)
  {
    remove_table(table);
    return BLITZ_OK;
  }
  leave_unfinished(table, &why);
  if (err != NULL)
    *err = why;
  return why.rc;
}

/* A table to be closed, as bz_registry_finish() says; ALL: also one that was left just now. */
static struct blitz_table *take_unfinished(bool all)
{
  struct blitz_table *table;

  pthread_mutex_lock(&registry_lock);
  table = registry;
  while (table != NULL &&
         (table->opening || !(table->unfinished || table->left_long || (all && table->left))))
    table = table->next;
  if (table != NULL)
    table->opening = true;
  pthread_mutex_unlock(&registry_lock);
  return table;
}

enum blitz_rc bz_registry_finish(struct blitz_error *err)
{
  struct blitz_table *table;
  enum blitz_rc rc = BLITZ_OK;

  while (rc == BLITZ_OK && (table = take_unfinished(false)) != NULL)
    rc = close_table(table, err);
  pthread_mutex_lock(&registry_lock);
  for (table = registry; table != NULL; table = table->next)
    if (!table->opening)
      table->left_long = table->left;
  pthread_mutex_unlock(&registry_lock);
  return rc;
}

void bz_registry_give_up(void)
{
  struct blitz_table *table;

  while ((table = take_unfinished(true)) != NULL)
  {
    struct blitz_error why;

    if (close_table(table, &why) == BLITZ_OK)
      continue;
    give_up(table, &why);
    bz_table_claim(table);
    remove_table(table);
  }
}

void blitz_table_close(struct blitz_table *table)
{
  bool last;

  pthread_mutex_lock(&registry_lock);
  assert(table->refs > 0 && !table->opening);
  last = --table->refs == 0 && !(keeps_tables && table->logged);
  if (last)
    table->opening = true; /* who opens it now waits until it is closed */
  pthread_mutex_unlock(&registry_lock);
  if (last)
    (void)!close_table(table, NULL);
}

/* ---- files by name --------------------------------------------------------- */

enum blitz_rc blitz_table_create(const char *path, const struct blitz_create_options *options,
                                 bool replace, struct blitz_error *err)
{
  char *name = bz_file_name(path);
  enum blitz_rc rc;

  if (name == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory creating %s", path);
  rc = close_kept(path, NULL, err);
  if (rc == BLITZ_OK)
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
  (void)!close_kept(path, NULL, NULL);
  if (unlink(name) != 0)
    rc = bz_fail(err, bz_rc_of_errno(errno), errno, "cannot remove %s", name);
  else
  {
    bz_index_unlink(path);
    forget_kept(path);
  }
  free(name);
  return rc;
}

enum blitz_rc blitz_table_rename(const char *from, const char *to, struct blitz_error *err)
{
  char *from_name = bz_file_name(from), *to_name = bz_file_name(to);
  enum blitz_rc rc = close_kept(from, NULL, err);

  if (rc == BLITZ_OK)
    rc = close_kept(to, NULL, err);
  if (rc == BLITZ_OK)
    rc = bz_checkpoints_settle(err);
  if (rc != BLITZ_OK)
    ;
  else if (from_name == NULL || to_name == NULL)
    rc = bz_fail(err, BLITZ_NOMEM, 0, "out of memory renaming %s", from);
  else if (rename(from_name, to_name) != 0)
    rc = bz_fail(err, bz_rc_of_errno(errno), errno, "cannot rename %s to %s", from_name, to_name);
  else
  {
    /* A file that does not go along is made anew. */
    (void)!bz_index_rename(from, to, NULL);
    if (bz_current_log() != NULL && !(bz_sync_dir_of(to_name) && bz_sync_dir_of(from_name)))
      rc = bz_fail(err, BLITZ_IO, errno, "cannot sync the directory of %s", to_name);
  }
  free(from_name);
  free(to_name);
  return rc;
}

/* ---- syncing ---------------------------------------------------------------- */

enum blitz_rc blitz_table_sync(struct blitz_table *table, struct blitz_error *err)
{
  if (table->logged)
    return blitz_sync(err);
  if (fdatasync(table->fd) == 0)
    return BLITZ_OK;
  return bz_fail(err, bz_rc_of_errno(errno), errno, "cannot sync %s", table->file);
}
