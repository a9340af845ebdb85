/* SPDX-License-Identifier: GPL-2.0-only
 *
 * view.c: a moment of a table that cursors look at: a snapshot of the rows, and the indexes as of
 * its commit. Cursors of one thread may share one.
 */
#include "base/counters.h"
#include "read/cursor.h"

#include <assert.h>

/* Takes the indexes of now, as of the view's commit, in the place of those that it has, if any;
 * needs snapshot_lock.
 */
static enum blitz_rc take_index(struct blitz_table *table, struct bz_view *view)
{
  enum blitz_rc rc;

  if (view->has_index)
    bz_index_view_end(table, &view->index);
  rc = bz_index_view_begin(table, &view->index, view->snapshot.seq);
  view->has_index = rc == BLITZ_OK;
  view->serial = bz_source_serial();
  return rc;
}

enum blitz_rc bz_view_refresh(struct blitz_cursor *cursor)
{
  struct blitz_table *table = cursor->table;
  enum blitz_rc rc;

  pthread_mutex_lock(&table->snapshot_lock);
  rc = take_index(table, &cursor->leader->own_view);
  pthread_mutex_unlock(&table->snapshot_lock);
  return rc;
}

/* A view of what a moment has of the table, or if that is NULL of now. */
static enum blitz_rc open_view(struct blitz_table *table, struct bz_view *view,
                               const struct blitz_moment *moment, bool with_index)
{
  enum blitz_rc rc = BLITZ_OK;

  if (moment != NULL)
    rc = bz_moment_snapshot(moment, table, &view->snapshot);
  if (rc != BLITZ_OK)
    return rc;
  pthread_mutex_lock(&table->snapshot_lock);
  if (moment == NULL)
    bz_snapshot_take(table, &view->snapshot);
  if (with_index)
    rc = take_index(table, view);
  if (rc != BLITZ_OK)
    bz_snapshot_end(table, &view->snapshot);
  pthread_mutex_unlock(&table->snapshot_lock);
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
  if (view->has_index)
    bz_index_view_end(table, &view->index);
  if (table->index != NULL && table->index->epochs != NULL)
    bz_index_trim(table);
  pthread_mutex_unlock(&table->snapshot_lock);
  view->has_index = false;
  if (view->lookups > 0)
  {
    bz_count(&bz_counters.index_lookups, view->lookups);
    bz_count(&bz_counters.index_misses, view->misses);
    view->lookups = view->misses = 0;
  }
  tidy(table);
}

enum blitz_rc bz_view_take(struct blitz_cursor *cursor, bool with_index, struct blitz_error *err)
{
  const struct blitz_moment *moment = cursor->leader->moment;
  struct bz_view *view = &cursor->leader->own_view;
  enum blitz_rc rc = BLITZ_OK;

  if (view->users == 0)
    rc = open_view(cursor->table, view, moment, with_index);
  else if (with_index && !view->has_index)
    rc = bz_view_refresh(cursor);
  if (rc != BLITZ_OK)
    return bz_fail(err, rc, 0,
                   rc == BLITZ_CHANGED   ? "%s has changed since the moment that is to be read"
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

enum blitz_rc bz_view_row_at(struct blitz_cursor *cursor, uint64_t position, struct bz_row *row)
{
  const struct bz_view *view = &cursor->leader->own_view;

  /* A position may have been taken by another cursor of the view. */
  if (view->users == 0)
    return BLITZ_NOT_FOUND;
  if (cursor->view == NULL && bz_view_take(cursor, false, NULL) != BLITZ_OK)
    return BLITZ_NOMEM;
  return bz_snapshot_kept(cursor->table, &view->snapshot, position, row);
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
