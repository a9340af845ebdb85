/* SPDX-License-Identifier: GPL-2.0-only
 *
 * check.c: compares the rows with the indexes, at one moment: each row has its entry, in
 * each index, with the bytes that it must have; and there are as many entries as rows, so
 * that no entry is without a row.
 */
#include "read/cursor.h"

#include <inttypes.h>
#include <string.h>

static bool same(struct blitz_slice a, struct blitz_slice b)
{
  return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static enum blitz_rc check_entry(struct blitz_cursor *cursor, unsigned index_no,
                                 struct blitz_slice value, const struct blitz_indexer *indexer,
                                 struct blitz_error *err)
{
  struct blitz_table *table = cursor->table;
  struct blitz_index_entry entry;
  struct bz_source source;
  struct bz_sort_key key;
  struct bz_entry found;
  enum blitz_rc rc = indexer->make_entry(indexer->arg, index_no, value, &entry, err);

  if (rc == BLITZ_OK)
    rc = bz_sort_key_make(table, &entry, blitz_cursor_key(cursor), &key, err);
  while (rc == BLITZ_OK)
  {
    source = bz_view_source(cursor->view);
    rc = bz_source_get(table, &source, index_no, (struct blitz_slice){key.bytes, key.len},
                       &cursor->index.copies, &found, err);
    if (rc != BLITZ_CHANGED)
      break;
    rc = bz_view_refresh(cursor);
  }
  if (rc == BLITZ_NOT_FOUND)
    return bz_fail(err, BLITZ_CORRUPT, 0, "a row has no entry in index %u of %s", index_no,
                   table->index->name);
  if (rc == BLITZ_OK && (!same(found.row_key, blitz_cursor_key(cursor)) ||
                         !same(found.payload, entry.payload) || found.unique != entry.unique))
    return bz_fail(err, BLITZ_CORRUPT, 0, "a row's entry in index %u of %s is another row's",
                   index_no, table->index->name);
  return rc;
}

static enum blitz_rc check_rows(struct blitz_cursor *cursor, uint64_t kept,
                                const struct blitz_indexer *indexer, struct blitz_error *err)
{
  uint64_t total = cursor->view->snapshot.row_count, done = 0;
  struct blitz_slice value;
  enum blitz_rc rc;

  while ((rc = blitz_scan_next(cursor, &value, err)) == BLITZ_OK)
  {
    for (unsigned i = 0; i < cursor->table->index->count && rc == BLITZ_OK; i++)
      if (kept >> i & 1)
        rc = check_entry(cursor, i, value, indexer, err);
    if (rc != BLITZ_OK)
      return rc;
    if (++done % 4096 == 0 && indexer->progress != NULL &&
        !indexer->progress(indexer->arg, done, total))
      return bz_fail(err, BLITZ_STOPPED, 0, "the check of %s was stopped", cursor->table->file);
  }
  return rc == BLITZ_END ? BLITZ_OK : rc;
}

/* How many entries an index has; the file knows it, unless something is laid over it. */
static enum blitz_rc count_once(const struct blitz_cursor *cursor, unsigned index_no,
                                struct bz_reader *reader, uint64_t *countp, struct blitz_error *err)
{
  struct bz_source source = bz_view_source(cursor->view);
  struct bz_entry entry;
  enum blitz_rc rc = bz_reader_open(cursor->table, &source, index_no, reader, err);

  *countp = 0;
  if (rc == BLITZ_OK && bz_reader_is_plain(reader))
  {
    *countp = reader->walk.entries;
    return BLITZ_OK;
  }
  if (rc == BLITZ_OK)
    rc = bz_reader_seek(reader, (struct blitz_slice){NULL, 0}, BLITZ_SEEK_FIRST, &entry);
  for (; rc == BLITZ_OK; rc = bz_reader_step(reader, true, &entry))
    ++*countp;
  return rc == BLITZ_END ? BLITZ_OK : rc;
}

static enum blitz_rc count_entries(struct blitz_cursor *cursor, unsigned index_no, uint64_t *countp,
                                   struct blitz_error *err)
{
  struct bz_reader reader = {0};
  enum blitz_rc rc = BLITZ_CHANGED;

  while (rc == BLITZ_CHANGED)
  {
    rc = count_once(cursor, index_no, &reader, countp, err);
    if (!bz_reader_is_kept(&reader))
      rc = bz_view_refresh(cursor) == BLITZ_OK ? BLITZ_CHANGED : BLITZ_NOMEM;
  }
  bz_reader_close(cursor->table, &reader);
  return rc == BLITZ_OK ? rc : bz_fail(err, rc, 0, "%s cannot be read", cursor->table->index->name);
}

static enum blitz_rc check_counts(struct blitz_cursor *cursor, uint64_t kept,
                                  struct blitz_error *err)
{
  const struct bz_index_file *file = cursor->table->index;

  for (unsigned i = 0; i < file->count; i++)
  {
    uint64_t rows = kept >> i & 1 ? cursor->view->snapshot.row_count : 0, count;
    enum blitz_rc rc = count_entries(cursor, i, &count, err);

    if (rc != BLITZ_OK)
      return rc;
    if (count != rows)
      return bz_fail(err, BLITZ_CORRUPT, 0,
                     "index %u of %s has %" PRIu64 " entries, but there are %" PRIu64 " rows", i,
                     file->name, count, rows);
  }
  return BLITZ_OK;
}

enum blitz_rc blitz_table_check_indexes(struct blitz_table *table,
                                        const struct blitz_indexer *indexer,
                                        struct blitz_error *err)
{
  struct blitz_cursor *cursor;
  uint64_t kept;
  enum blitz_rc rc;

  if (table->index == NULL)
    return BLITZ_OK;
  if (atomic_load(&table->index->broken))
    return bz_fail(err, BLITZ_CORRUPT, 0, "%s is out of date", table->index->name);
  kept = ~atomic_load(&table->index->disabled);
  rc = blitz_cursor_open(table, NULL, &cursor);
  if (rc == BLITZ_OK)
    rc = bz_view_take(cursor, true, err);
  if (rc == BLITZ_OK)
    rc = blitz_scan_begin(cursor);
  if (rc != BLITZ_OK)
    rc = bz_fail(err, rc, 0, "out of memory checking %s", table->file);
  else
    rc = check_rows(cursor, kept, indexer, err);
  if (rc == BLITZ_OK)
    rc = check_counts(cursor, kept, err);
  blitz_cursor_close(cursor);
  return rc;
}
