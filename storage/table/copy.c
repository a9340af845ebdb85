/* SPDX-License-Identifier: GPL-2.0-only
 *
 * copy.c: the rows of a table in a new file: a copy while others go on, and the conversion
 * of a file of an earlier format version.
 */
#include "base/sync_dir.h"
#include "table/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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
    bz_change_begin(to);
    bz_put_word(to, BZ_NEXT_ROW_ID_OFF,
                bz_word_load(atomic_load(&table->map)->base, BZ_NEXT_ROW_ID_OFF));
    bz_change_end(to);
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

/* ---- files of earlier versions ---------------------------------------------- */

/* Copies all rows of FROM into the new file of TO, and closes that. */
static enum blitz_rc fill(struct blitz_table *from, struct blitz_table *to, struct blitz_error *err)
{
  struct bz_header header;
  enum blitz_rc rc = bz_file_open(to, &header, err);

  if (rc == BLITZ_OK)
    rc = bz_space_load(to, err);
  if (rc == BLITZ_OK)
    rc = copy_table(from, to, err);
  if (rc == BLITZ_OK && !bz_table_finish(to, NULL))
    rc = bz_fail(err, BLITZ_IO, 0, "%s cannot be closed: see the error log", to->file);
  return rc;
}

/* For a new file, beside TABLE's own. NULL: out of memory. */
static struct blitz_table *new_file_of(const struct blitz_table *table)
{
  struct blitz_table *to = bz_table_new(table->path, table->flags & BLITZ_OPEN_TEMPORARY);
  char *name;

  if (to == NULL || asprintf(&name, "%s.new", table->file) < 0)
  {
    if (to != NULL)
      bz_table_free(to);
    return NULL;
  }
  free(to->file);
  to->file = name;
  to->opening = true; /* it is ours alone */
  return to;
}

/* The new file has the name that blitz_table_create() gives one that is not whole yet; what a
 * killed process leaves there is in nobody's way.
 */
enum blitz_rc bz_convert(struct blitz_table *table, uint64_t layout, struct blitz_error *err)
{
  struct blitz_create_options options = {.row_ids = table->row_ids, .layout = layout};
  struct blitz_table *to = new_file_of(table);
  uint64_t rows = atomic_load(&table->row_count);
  enum blitz_rc rc;

  if (table->flags & BLITZ_OPEN_READONLY)
    rc = bz_fail(err, BLITZ_READONLY, 0,
                 "%s has format version %u and must be converted, but is open for reading only. "
                 "Open it for writing once",
                 table->file, table->version);
  else if (to == NULL)
    rc = bz_fail(err, BLITZ_NOMEM, 0, "out of memory converting %s", table->file);
  else
  {
    options.expected_rows = rows;
    rc = bz_file_create_at(to->file, &options, err);
    if (rc == BLITZ_OK)
      rc = fill(table, to, err);
    if (rc == BLITZ_OK && (rename(to->file, table->file) != 0 || !bz_sync_dir_of(table->file)))
      rc = bz_fail(err, bz_rc_of_errno(errno), errno, "cannot rename %s to %s", to->file,
                   table->file);
    if (rc != BLITZ_OK)
      unlink(to->file);
  }
  if (to != NULL)
    bz_table_free(to);
  if (rc != BLITZ_OK)
    return rc;
  bz_log(BLITZ_LOG_NOTE, "%s is converted from format version %u to %u: %" PRIu64 " rows",
         table->file, table->version, BZ_VERSION, rows);
  bz_space_clear(table);
  bz_file_close(table);
  return BLITZ_OK;
}
