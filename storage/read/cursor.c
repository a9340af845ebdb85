/* SPDX-License-Identifier: GPL-2.0-only
 *
 * cursor.c: reading: look-ups by key, scans, and positions.
 *
 * Invariants:
 *  1. What a look-up gives is a copy in the cursor's buffer. What a scan gives is
 *     in the file's map, where it stays as long as the cursor's snapshot is open.
 *  2. A position is a block's offset. The snapshot that is open since it was taken
 *     keeps the block readable.
 *  3. The cursor's own transaction is asked first (bz_txn_own()), except by scans.
 */
#include "read/cursor.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum blitz_rc blitz_cursor_open(struct blitz_table *table, struct blitz_txn *txn,
                                struct blitz_cursor **cursorp)
{
  *cursorp = calloc(1, sizeof **cursorp);
  if (*cursorp == NULL)
    return BLITZ_NOMEM;
  (*cursorp)->table = table;
  (*cursorp)->txn = txn;
  (*cursorp)->leader = *cursorp;
  return BLITZ_OK;
}

void blitz_cursor_follow(struct blitz_cursor *cursor, struct blitz_cursor *leader)
{
  blitz_cursor_reset(cursor);
  bz_index_position_free(cursor); /* it is of another view */
  cursor->leader = leader->leader;
}

void blitz_cursor_close(struct blitz_cursor *cursor)
{
  if (cursor == NULL)
    return;
  blitz_cursor_reset(cursor);
  bz_index_position_free(cursor);
  assert(cursor->own_view.users == 0);
  free(cursor->buf.data);
  free(cursor);
}

void blitz_cursor_set_txn(struct blitz_cursor *cursor, struct blitz_txn *txn)
{
  cursor->txn = txn;
}

void bz_cursor_stop_scan(struct blitz_cursor *cursor)
{
  if (cursor->scan_off != 0)
    bz_scan_end(cursor->table, &cursor->watch);
  cursor->scan_off = 0;
}

void blitz_cursor_reset(struct blitz_cursor *cursor)
{
  bz_cursor_stop_scan(cursor);
  cursor->row.off = 0;
  cursor->keeps_view = false;
  cursor->keeps_moment = false;
  cursor->moment = NULL;
  bz_index_position_reset(cursor);
  bz_view_leave(cursor);
}

/* ---- look-ups --------------------------------------------------------------- */

/* Copies the row at OFF, which the cursor's transaction made. */
static enum blitz_rc read_own(struct blitz_cursor *cursor, uint64_t off, struct blitz_error *err)
{
  struct bz_row *row = &cursor->row;

  if (!bz_row_parse(bz_base(cursor->table), off, atomic_load(&cursor->table->end), row))
    return bz_damaged(cursor->table, off, err);
  return bz_row_copy(row, &cursor->buf);
}

/* The row as it is now, or as the cursor's moment has it. */
static enum blitz_rc read_committed(struct blitz_cursor *cursor, const struct bz_key *key,
                                    struct blitz_error *err)
{
  enum blitz_rc rc;

  if (!cursor->leader->keeps_moment)
    return bz_hash_read(cursor->table, key, &cursor->buf, &cursor->row);
  rc = bz_view_take(cursor, false, err);
  return rc == BLITZ_OK ? bz_view_key(cursor, key, &cursor->row) : rc;
}

static enum blitz_rc read_key(struct blitz_cursor *cursor, const struct bz_key *key,
                              struct blitz_error *err)
{
  uint64_t off;
  enum blitz_rc rc = BLITZ_NOT_FOUND;

  switch (bz_txn_own(cursor->txn, cursor->table, key, UINT32_MAX, &off))
  {
  case BZ_OWN_ROW: rc = read_own(cursor, off, err); break;
  case BZ_OWN_REMOVED: break;
  case BZ_OWN_NONE: rc = read_committed(cursor, key, err); break;
  }
  if (rc == BLITZ_CORRUPT)
    return bz_damaged(cursor->table, cursor->row.off, err);
  if (rc == BLITZ_NOMEM)
    return bz_fail(err, rc, 0, "out of memory reading %s", cursor->table->file);
  return rc;
}

enum blitz_rc bz_cursor_read_key(struct blitz_cursor *cursor, struct blitz_slice key,
                                 struct blitz_error *err)
{
  uint8_t buf[BZ_FILE_KEY_MAX];
  struct bz_key file_key = {.data = buf};
  enum blitz_rc rc;

  if (key.len > BLITZ_KEY_MAX)
    return bz_fail(err, BLITZ_TOO_BIG, 0, "a key of %zu bytes is too long: the limit is %d",
                   key.len, BLITZ_KEY_MAX);
  file_key.len = bz_file_key(cursor->table, buf, key);
  file_key.hash = bz_hash(buf, file_key.len);
  rc = read_key(cursor, &file_key, err);
  if (rc != BLITZ_OK)
    cursor->row.off = 0;
  return rc;
}

enum blitz_rc blitz_get(struct blitz_cursor *cursor, struct blitz_slice key,
                        struct blitz_slice *value, struct blitz_error *err)
{
  enum blitz_rc rc = bz_cursor_read_key(cursor, key, err);

  *value = (struct blitz_slice){NULL, 0};
  if (rc == BLITZ_OK)
    *value = bz_row_value(&cursor->row);
  return rc;
}

enum blitz_rc blitz_get_prefix(struct blitz_cursor *cursor, struct blitz_slice key,
                               size_t prefix_len, struct blitz_slice *value,
                               struct blitz_error *err)
{
  enum blitz_rc rc = blitz_get(cursor, key, value, err);

  if (value->len > prefix_len)
    value->len = prefix_len;
  return rc;
}

struct blitz_slice blitz_cursor_key(const struct blitz_cursor *cursor)
{
  if (cursor->row.off == 0)
    return (struct blitz_slice){NULL, 0};
  return bz_callers_key(cursor->table, &cursor->row);
}

/* ---- scans ------------------------------------------------------------------ */

enum blitz_rc blitz_scan_begin(struct blitz_cursor *cursor)
{
  enum blitz_rc rc;

  bz_txn_settle(cursor->txn, cursor->table);
  rc = bz_view_take(cursor, false, NULL);
  if (rc != BLITZ_OK)
    return rc;
  bz_cursor_stop_scan(cursor);
  cursor->scan_off = cursor->view->snapshot.first;
  bz_scan_begin(cursor->table, &cursor->watch, cursor->scan_off);
  cursor->scan_rows = 0;
  cursor->row.off = 0;
  cursor->scan_txn = cursor->txn;
  cursor->scan_changes = bz_txn_change_count(cursor->txn, cursor->table);
  cursor->scan_added = 0;
  /* The rows of a load have the number of the commit that is to come. */
  if (bz_txn_loads(cursor->txn, cursor->table))
    cursor->view->snapshot.seq = atomic_load(&cursor->table->committed) + 1;
  return BLITZ_OK;
}

/* What is at the scan's place, and where the next place is: one that stays. */
static enum blitz_rc read_block(struct blitz_cursor *cursor, const struct bz_snapshot *snapshot)
{
  enum blitz_rc rc;

  for (;;)
  {
    uint64_t off = cursor->scan_off;
    rc = bz_snapshot_block(cursor->table, snapshot, off, &cursor->row);
    if (rc == BLITZ_CORRUPT || off + cursor->row.len <= cursor->watch.high)
      return rc;
    /* The block may have been joined with the next one before that was watched. */
    bz_scan_watch(cursor->table, &cursor->watch, off, off + cursor->row.len);
  }
}

/* The next row of the snapshot. */
static enum blitz_rc next_in_snapshot(struct blitz_cursor *cursor, struct blitz_error *err)
{
  const struct bz_snapshot *snapshot = &cursor->view->snapshot;

  while (cursor->scan_off < snapshot->end)
  {
    uint64_t off = cursor->scan_off;
    enum blitz_rc rc = read_block(cursor, snapshot);

    if (rc == BLITZ_CORRUPT)
      return bz_damaged(cursor->table, off, err);
    cursor->scan_off = off + cursor->row.len;
    if (rc == BLITZ_OK)
    {
      cursor->scan_rows++;
      return BLITZ_OK;
    }
  }
  /* A damaged length of a free block can hide rows; their number tells. */
  if ((cursor->scan_rows != snapshot->row_count &&
       !bz_txn_loads(cursor->scan_txn, cursor->table)) ||
      atomic_load_explicit(&cursor->table->damaged, memory_order_relaxed))
    return bz_damaged(cursor->table, cursor->scan_off, err);
  return BLITZ_END;
}

/* The next row of the snapshot as the transaction has it, then those it added. */
static enum blitz_rc next_with_changes(struct blitz_cursor *cursor, struct blitz_error *err)
{
  enum blitz_rc rc;
  uint64_t off;

  while ((rc = next_in_snapshot(cursor, err)) == BLITZ_OK)
  {
    struct bz_key key = bz_key_of_row(&cursor->row);

    switch (bz_txn_own(cursor->scan_txn, cursor->table, &key, cursor->scan_changes, &off))
    {
    case BZ_OWN_NONE: return BLITZ_OK;
    case BZ_OWN_ROW: return read_own(cursor, off, err);
    case BZ_OWN_REMOVED: break;
    }
  }
  while (rc == BLITZ_END && cursor->scan_added < cursor->scan_changes)
  {
    off = bz_txn_added_row(cursor->scan_txn, cursor->table, cursor->scan_added++);
    if (off != 0)
      return read_own(cursor, off, err);
  }
  return rc;
}

enum blitz_rc blitz_scan_next(struct blitz_cursor *cursor, struct blitz_slice *value,
                              struct blitz_error *err)
{
  enum blitz_rc rc;

  *value = (struct blitz_slice){NULL, 0};
  if (cursor->scan_off == 0)
    return bz_fail(err, BLITZ_INVALID, 0, "no scan of %s has begun", cursor->table->file);
  rc = cursor->scan_changes == 0 ? next_in_snapshot(cursor, err) : next_with_changes(cursor, err);
  if (rc == BLITZ_OK)
    *value = bz_row_value(&cursor->row);
  else
    cursor->row.off = 0;
  return rc;
}

static enum blitz_rc no_row(const struct blitz_cursor *cursor, struct blitz_error *err)
{
  return bz_fail(err, BLITZ_INVALID, 0, "there is no row of %s to change", cursor->table->file);
}

static bool same_value(void *arg, struct blitz_slice current)
{
  const struct blitz_slice *value = arg;

  return value->len == current.len && memcmp(value->data, current.data, value->len) == 0;
}

enum blitz_rc blitz_scan_remove(struct blitz_cursor *cursor, struct blitz_error *err)
{
  struct blitz_slice value;

  if (cursor->scan_off == 0 || cursor->row.off == 0 || cursor->txn == NULL)
    return no_row(cursor, err);
  value = bz_row_value(&cursor->row);
  return blitz_remove_if(cursor->txn, cursor->table, blitz_cursor_key(cursor), same_value, &value,
                         err);
}

/* The key of the row that the cursor is at, which is to be changed. */
static enum blitz_rc key_to_change(struct blitz_cursor *cursor, struct bz_key *key,
                                   struct blitz_error *err)
{
  enum blitz_rc rc = bz_index_need_row(cursor, err);

  if (rc != BLITZ_OK)
    return rc;
  if (cursor->row.off == 0 || cursor->txn == NULL)
    return no_row(cursor, err);
  *key = bz_key_of_row(&cursor->row);
  return BLITZ_OK;
}

enum blitz_rc blitz_cursor_update(struct blitz_cursor *cursor, struct blitz_slice new_key,
                                  struct blitz_slice value, struct blitz_error *err)
{
  struct bz_key key;
  enum blitz_rc rc = key_to_change(cursor, &key, err);

  if (rc != BLITZ_OK)
    return rc;
  return bz_update(cursor->txn, cursor->table, &key, &cursor->row, new_key, value, err);
}

enum blitz_rc blitz_cursor_remove(struct blitz_cursor *cursor, struct blitz_error *err)
{
  struct bz_key key;
  enum blitz_rc rc = key_to_change(cursor, &key, err);

  return rc == BLITZ_OK ? bz_remove(cursor->txn, cursor->table, &key, &cursor->row, err) : rc;
}

#define ASK_EVERY 1024 /* rows */

static enum blitz_rc remove_rows(struct blitz_cursor *cursor, blitz_go_on_fn *go_on, void *arg,
                                 struct blitz_error *err)
{
  struct blitz_slice value;
  uint64_t count = 0;
  enum blitz_rc rc;

  while ((rc = blitz_scan_next(cursor, &value, err)) == BLITZ_OK)
  {
    struct bz_key key = bz_key_of_row(&cursor->row);
    rc = bz_remove_alone(cursor->txn, cursor->table, &key, &cursor->row, err);
    if (rc != BLITZ_OK)
      return rc;
    if (++count % ASK_EVERY == 0 && !go_on(arg))
      return bz_fail(err, BLITZ_STOPPED, 0, "removing the rows of %s was stopped",
                     cursor->table->file);
  }
  return rc == BLITZ_END ? BLITZ_OK : rc;
}

enum blitz_rc blitz_remove_all(struct blitz_txn *txn, struct blitz_table *table,
                               blitz_go_on_fn *go_on, void *arg, struct blitz_error *err)
{
  struct blitz_cursor *cursor;
  enum blitz_rc rc = blitz_cursor_open(table, txn, &cursor);

  if (rc == BLITZ_OK)
    rc = blitz_scan_begin(cursor);
  if (rc != BLITZ_OK)
    rc = bz_fail(err, rc, 0, "out of memory reading %s", table->file);
  if (rc == BLITZ_OK)
    rc = bz_remove_entries(txn, table, err);
  if (rc == BLITZ_OK)
    rc = remove_rows(cursor, go_on, arg, err);
  blitz_cursor_close(cursor);
  return rc;
}

void blitz_scan_end(struct blitz_cursor *cursor)
{
  if (!cursor->keeps_view && !cursor->keeps_moment)
    blitz_cursor_reset(cursor);
  bz_cursor_stop_scan(cursor);
  cursor->row.off = 0;
}

/* ---- positions -------------------------------------------------------------- */

enum blitz_rc blitz_cursor_position(struct blitz_cursor *cursor, uint64_t *positionp)
{
  struct bz_row row;
  struct bz_key key;
  enum blitz_rc rc;

  *positionp = 0;
  rc = bz_index_need_row(cursor, NULL);
  if (rc != BLITZ_OK || cursor->row.off == 0)
    return rc != BLITZ_OK ? rc : BLITZ_INVALID;
  if (cursor->view == NULL)
  {
    rc = bz_view_take(cursor, false, NULL);
    if (rc != BLITZ_OK)
      return rc;
    key = bz_key_of_row(&cursor->row);
    /* The row may have been replaced between its look-up and the snapshot. */
    if (!bz_txn_changes(cursor->txn, cursor->table) &&
        (bz_snapshot_kept(cursor->table, &cursor->view->snapshot, cursor->row.off, &row) !=
             BLITZ_OK ||
         row.key_len != key.len || memcmp(row.key, key.data, key.len) != 0))
    {
      rc = read_key(cursor, &key, NULL);
      if (rc != BLITZ_OK)
        return rc;
    }
  }
  cursor->keeps_view = true;
  key = bz_key_of_row(&cursor->row);
  *positionp = bz_txn_origin(cursor->txn, cursor->table, &key, cursor->row.off);
  return BLITZ_OK;
}

enum blitz_rc blitz_get_at(struct blitz_cursor *cursor, uint64_t position,
                           struct blitz_slice *value, struct blitz_error *err)
{
  uint64_t own_off;
  enum blitz_rc rc = BLITZ_NOT_FOUND;

  *value = (struct blitz_slice){NULL, 0};
  cursor->row.off = 0;
  if (bz_txn_forgot(cursor->txn, cursor->table))
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory reading %s", cursor->table->file);
  switch (bz_txn_own_at(cursor->txn, cursor->table, position, &own_off))
  {
  case BZ_OWN_ROW: rc = read_own(cursor, own_off, err); break;
  case BZ_OWN_REMOVED: break;
  case BZ_OWN_NONE: rc = bz_view_row_at(cursor, position, &cursor->row); break;
  }
  if (rc == BLITZ_OK)
    *value = bz_row_value(&cursor->row);
  else
    cursor->row.off = 0;
  if (rc == BLITZ_CORRUPT)
    return bz_damaged(cursor->table, position, err);
  if (rc == BLITZ_NOMEM)
    return bz_fail(err, rc, 0, "out of memory reading %s", cursor->table->file);
  return rc;
}
