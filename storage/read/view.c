/* SPDX-License-Identifier: GPL-2.0-only
 *
 * view.c: a moment of a table that cursors look at: a snapshot of the rows and a read
 * transaction of the indexes, taken together, so that they belong to the same commit.
 * Cursors of one thread may share one.
 */
#include "base/counters.h"
#include "read/cursor.h"

#include <assert.h>
#include <time.h>

#define RENEW_AFTER_MS 5000
#define MAKE_WAY_AFTER_MS 1000              /* if the map is to grow */
#define RENEW_AFTER_LEN (UINT64_C(1) << 30) /* by which the index file has grown since */

static int64_t clock_ms(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Notes when a read transaction began. */
static void begin_index(const struct blitz_table *table, struct bz_view *view)
{
  view->has_index = true;
  view->serial = bz_source_serial();
  view->begin_ms = clock_ms();
  view->begin_pages = atomic_load_explicit(&table->index->pages, memory_order_relaxed);
  view->file_commits = atomic_load_explicit(&table->index->file_commits, memory_order_relaxed);
}

/* Adds the indexes to a view of a moment's: the file, unless it has later entries already, and what
 * the deltas had then.
 */
static enum blitz_rc add_index_at(struct blitz_table *table, struct bz_view *view)
{
  enum blitz_rc rc;

  pthread_mutex_lock(&table->snapshot_lock);
  rc = bz_index_read_begin(table, &view->index);
  if (rc == BLITZ_OK && table->index->file_number > view->snapshot.seq)
  {
    bz_index_read_end(table, &view->index);
    rc = BLITZ_CHANGED;
  }
  pthread_mutex_unlock(&table->snapshot_lock);
  if (rc == BLITZ_OK)
    begin_index(table, view);
  return rc;
}

/* What a moment has of the table. */
static enum blitz_rc open_at(struct blitz_table *table, struct bz_view *view,
                             const struct blitz_moment *moment, bool with_index)
{
  enum blitz_rc rc = bz_moment_snapshot(moment, table, &view->snapshot);

  if (rc != BLITZ_OK || !with_index)
    return rc;
  rc = add_index_at(table, view);
  if (rc == BLITZ_OK)
    return BLITZ_OK;
  pthread_mutex_lock(&table->snapshot_lock);
  bz_snapshot_end(table, &view->snapshot);
  pthread_mutex_unlock(&table->snapshot_lock);
  return rc;
}

static enum blitz_rc open_view(struct blitz_table *table, struct bz_view *view, bool with_index)
{
  enum blitz_rc rc = BLITZ_OK;

  pthread_mutex_lock(&table->snapshot_lock);
  if (with_index)
    rc = bz_index_read_begin(table, &view->index);
  if (rc == BLITZ_OK)
    bz_snapshot_take(table, &view->snapshot);
  pthread_mutex_unlock(&table->snapshot_lock);
  if (rc == BLITZ_OK && with_index)
    begin_index(table, view);
  return rc;
}

/* Frees some of what nobody but the view has wanted, if nobody writes. */
static void tidy(struct blitz_table *table)
{
  if (atomic_load(&table->removed.count) == 0 || !bz_slot_try(table))
    return;
  bz_change_begin(table);
  bz_removed_tidy(table);
  bz_change_end(table);
  bz_slot_release(table);
}

static void close_view(struct blitz_table *table, struct bz_view *view)
{
  assert(view->users == 0);
  pthread_mutex_lock(&table->snapshot_lock);
  bz_snapshot_end(table, &view->snapshot);
  if (view->has_earlier)
    bz_snapshot_end(table, &view->earlier);
  if (view->has_index)
    bz_index_read_end(table, &view->index);
  pthread_mutex_unlock(&table->snapshot_lock);
  view->has_earlier = view->has_index = false;
  if (view->lookups > 0)
  {
    bz_count(&bz_counters.index_lookups, view->lookups);
    bz_count(&bz_counters.index_misses, view->misses);
    view->lookups = view->misses = 0;
  }
  tidy(table);
}

/* A view of rows alone becomes one of now with the indexes. What positions need stays. */
static enum blitz_rc add_index(struct blitz_table *table, struct bz_view *view)
{
  enum blitz_rc rc;

  assert(!view->has_index && !view->has_earlier);
  pthread_mutex_lock(&table->snapshot_lock);
  rc = bz_index_read_begin(table, &view->index);
  if (rc == BLITZ_OK)
  {
    bz_snapshot_copy(table, &view->snapshot, &view->earlier);
    bz_snapshot_end(table, &view->snapshot);
    bz_snapshot_take(table, &view->snapshot);
    view->has_earlier = true;
    begin_index(table, view);
  }
  pthread_mutex_unlock(&table->snapshot_lock);
  return rc;
}

enum blitz_rc bz_view_take(struct blitz_cursor *cursor, bool with_index, struct blitz_error *err)
{
  const struct blitz_moment *moment = cursor->leader->moment;
  struct bz_view *view = &cursor->leader->own_view;
  enum blitz_rc rc = BLITZ_OK;

  /* While cursors share it, it does not change. */
  with_index |= cursor->table->index != NULL && (cursor->leader->has_followers);
  if (view->users == 0)
    rc = moment != NULL ? open_at(cursor->table, view, moment, with_index)
                        : open_view(cursor->table, view, with_index);
  else if (with_index && !view->has_index)
    rc = moment != NULL ? add_index_at(cursor->table, view) : add_index(cursor->table, view);
  if (rc != BLITZ_OK)
    return bz_fail(err, rc, 0,
                   rc == BLITZ_BUSY      ? "%s has too many readers at a time"
                   : rc == BLITZ_CHANGED ? "%s has changed since the moment that is to be read"
                   : rc == BLITZ_CORRUPT ? "the indexes of %s cannot be read. Repair the table"
                                         : "out of memory reading %s",
                   cursor->table->file);
  if (cursor->view == NULL)
    view->users++;
  cursor->view = view;
  return BLITZ_OK;
}

void bz_view_leave(struct blitz_cursor *cursor)
{
  struct bz_view *view = cursor->view;

  if (view == NULL)
    return;
  cursor->view = NULL;
  assert(view->users > 0);
  if (--view->users == 0)
    close_view(cursor->table, view);
}

void bz_view_rest(struct blitz_cursor *cursor)
{
  if (!cursor->keeps_view && !cursor->keeps_moment)
    bz_view_leave(cursor);
}

void bz_view_free(struct blitz_cursor *cursor)
{
  assert(cursor->own_view.users == 0);
  bz_index_read_free(cursor->own_view.index.txn);
  cursor->own_view.index.txn = NULL;
}

bool bz_view_is_stale(const struct blitz_cursor *cursor)
{
  const struct blitz_table *table = cursor->table;
  const struct bz_view *view = cursor->view;

  if (cursor->keeps_view || view->users > 1)
    return false;
  if (bz_index_wants_map(table->index) && clock_ms() - view->begin_ms > MAKE_WAY_AFTER_MS)
    return true;
  if (view->file_commits == atomic_load_explicit(&table->index->file_commits, memory_order_relaxed))
    return false;
  return clock_ms() - view->begin_ms > RENEW_AFTER_MS ||
         (atomic_load_explicit(&table->index->pages, memory_order_relaxed) - view->begin_pages) *
                 table->index->page_len >
             RENEW_AFTER_LEN;
}

enum blitz_rc bz_view_row_at(struct blitz_cursor *cursor, uint64_t position, struct bz_row *row)
{
  const struct bz_view *view = &cursor->leader->own_view;

  /* A position may have been taken by another cursor of the view. */
  if (view->users == 0)
    return BLITZ_NOT_FOUND;
  if (cursor->view == NULL && bz_view_take(cursor, false, NULL) != BLITZ_OK)
    return BLITZ_NOMEM;
  return bz_snapshot_kept(cursor->table, view->has_earlier ? &view->earlier : &view->snapshot,
                          position, row);
}

/* If the newest version is later than the view, or there is none, the view's own is among the
 * removed ones, where it is kept for the view's sake.
 */
enum blitz_rc bz_view_key(struct blitz_cursor *cursor, const struct bz_key *key, struct bz_row *row)
{
  const struct bz_snapshot *snapshot = &cursor->view->snapshot;
  enum blitz_rc rc = bz_hash_read(cursor->table, key, &cursor->buf, row);

  if (rc == BLITZ_OK && bz_row_seq(row) <= snapshot->seq)
    return BLITZ_OK;
  if (rc == BLITZ_OK || rc == BLITZ_NOT_FOUND)
    rc = bz_removed_find(cursor->table, snapshot, key, row);
  return rc;
}

/* An entry's hint is right unless the row was changed and its entry was not. Then the row
 * is looked for by its key.
 */
enum blitz_rc bz_view_row(struct blitz_cursor *cursor, struct blitz_slice key, uint64_t off,
                          struct bz_row *row)
{
  const struct bz_snapshot *snapshot = &cursor->view->snapshot;
  uint8_t buf[BZ_FILE_KEY_MAX];
  struct bz_key file_key = {.data = buf};

  if (key.len > BLITZ_KEY_MAX)
    return BLITZ_CORRUPT;
  file_key.len = bz_file_key(cursor->table, buf, key);
  cursor->view->lookups++;
  if (bz_snapshot_has_row(cursor->table, snapshot, off, &file_key, row))
    return BLITZ_OK;
  cursor->view->misses++;
  file_key.hash = bz_hash(buf, file_key.len);
  return bz_view_key(cursor, &file_key, row);
}
