/* SPDX-License-Identifier: GPL-2.0-only
 *
 * append.c: storing sorted entries in an empty database, one behind the other, and telling
 * of equal ones in a unique index.
 */
#include "index/index.h"

#include <stdlib.h>

/* Shows the caller the row that ENTRY is of, which may have moved since. */
static void show_duplicate(struct blitz_table *table, const struct bz_entry *entry,
                           const struct bz_work *work)
{
  uint8_t buf[BZ_FILE_KEY_MAX];
  struct bz_key key = {.data = buf};
  struct bz_place place;

  if (work->duplicate == NULL)
    return;
  key.len = bz_file_key(table, buf, entry->row_key);
  key.hash = bz_hash(buf, key.len);
  if (bz_hash_find(table, &key, &place) == BLITZ_OK)
    work->duplicate(work->arg, bz_row_value(&place.row));
}

enum blitz_rc bz_index_append(struct blitz_table *table, struct MDB_txn *txn, unsigned dbi,
                              struct bz_sort *sort, const struct bz_work *work,
                              struct blitz_error *err)
{
  struct bz_tree_tail tail = {NULL, 0, 0};
  struct MDB_cursor *mc = NULL;
  struct bz_entry entry;
  enum blitz_rc rc = bz_sort_finish(sort, err);
  uint64_t done = 0;

  if (rc == BLITZ_OK)
    rc = bz_tree_open_cursor(table, txn, dbi, &mc, err);
  while (rc == BLITZ_OK && (rc = bz_sort_next(sort, &entry, err)) == BLITZ_OK)
  {
    rc = bz_tree_append(table, mc, &tail, &entry, err);
    if (rc == BLITZ_DUPLICATE)
      show_duplicate(table, &entry, work);
    if (rc == BLITZ_OK && ++done % BZ_WORK_STEP == 0 && !bz_work_report(work, done))
      rc = bz_fail(err, BLITZ_STOPPED, 0, "building an index of %s was stopped", table->file);
  }
  bz_tree_close_cursor(mc);
  free(tail.key);
  return rc == BLITZ_END ? BLITZ_OK : rc;
}
