/* SPDX-License-Identifier: GPL-2.0-only
 *
 * build.c: making indexes from the rows: those that a table was opened without, that are
 * added, or that were disabled. One scan of the rows fills a sort for each index; then
 * the entries are stored in order.
 *
 * The writer slot is held meanwhile. Nothing of it is seen before it is committed, all at
 * once.
 */
#include "base/counters.h"
#include "table/table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Indexes in the making, or other changes of indexes alone. */
struct build
{
  struct blitz_table *table;
  struct blitz_txn *txn;     /* has the writer slot */
  struct MDB_txn *index_txn; /* NULL: it has not begun */
  const struct blitz_indexer *indexer;
  blitz_duplicate_fn *duplicate;
  unsigned count;
  unsigned numbers[BLITZ_INDEXES_MAX]; /* for make_entry() */
  unsigned dbis[BLITZ_INDEXES_MAX];
  struct bz_sort *sorts[BLITZ_INDEXES_MAX];
  uint64_t rows;
};

/* ---- holding the table ------------------------------------------------------------ */

/* Takes the writer slot. */
static enum blitz_rc begin(struct build *build, struct blitz_error *err)
{
  enum blitz_rc rc = blitz_txn_create(&build->txn);

  if (rc != BLITZ_OK)
    return bz_fail(err, rc, 0, "out of memory changing %s", build->table->file);
  return bz_txn_take(build->txn, build->table, err);
}

/* Makes an index file for a table that has had none. Readers that run meanwhile do not ask
 * for it.
 */
static enum blitz_rc make_file(struct blitz_table *table, struct blitz_error *err)
{
  static const struct blitz_indexes none;
  static const struct bz_index_trust no_trust = {.never = true};
  const char *reason;
  uint64_t build;
  enum blitz_rc rc;

  if (table->index != NULL)
    return BLITZ_OK;
  bz_table_claim(table); /* a checkpoint asks for it */
  rc = bz_index_open(table, &none, &no_trust, &build, &reason, err);
  if (rc == BLITZ_OK)
    bz_file_stamp(table);
  else if (table->index != NULL)
    bz_index_close(table, false);
  bz_table_unclaim(table);
  return rc;
}

/* Commits if RC is BLITZ_OK, and gives the table back. */
static enum blitz_rc end(struct build *build, enum blitz_rc rc, struct blitz_error *err)
{
  struct blitz_table *table = build->table;

  /* A commit of its own, so that no two states of the index file have the same number. */
  if (rc == BLITZ_OK)
    rc = bz_publish(table, build->index_txn, err);
  else if (build->index_txn != NULL)
    bz_index_write_abort(table, build->index_txn);
  blitz_txn_free(build->txn);
  return rc;
}

/* ---- building ------------------------------------------------------------------------ */

static enum blitz_rc sort_row(struct build *build, const struct blitz_cursor *cursor, uint64_t off,
                              struct blitz_slice value, struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  for (unsigned i = 0; i < build->count && rc == BLITZ_OK; i++)
  {
    struct blitz_index_entry entry;
    rc = build->indexer->make_entry(build->indexer->arg, build->numbers[i], value, &entry, err);
    if (rc == BLITZ_OK && entry.key.len > BLITZ_INDEX_KEY_MAX)
      rc = bz_fail(err, BLITZ_TOO_BIG, 0, "%s: a key is too long for an index", build->table->file);
    if (rc == BLITZ_OK)
      rc = bz_sort_add(build->sorts[i], &entry, blitz_cursor_key(cursor), off, err);
  }
  return rc;
}

static struct bz_work work_of(const struct build *build, uint64_t before)
{
  return (struct bz_work){.progress = build->indexer->progress,
                          .duplicate = build->duplicate,
                          .arg = build->indexer->arg,
                          .before = before,
                          .total = build->rows * (build->count + 1)};
}

static enum blitz_rc stopped(const struct build *build, struct blitz_error *err)
{
  return bz_fail(err, BLITZ_STOPPED, 0, "building an index of %s was stopped", build->table->file);
}

static enum blitz_rc sort_rows(struct build *build, struct blitz_cursor *cursor,
                               struct blitz_error *err)
{
  struct bz_work work = work_of(build, 0);
  struct blitz_slice value;
  uint64_t done = 0;
  enum blitz_rc rc = blitz_scan_begin(cursor);

  if (rc != BLITZ_OK)
    return bz_fail(err, rc, 0, "out of memory reading %s", build->table->file);
  while ((rc = blitz_scan_next(cursor, &value, err)) == BLITZ_OK)
  {
    uint64_t off;
    rc = blitz_cursor_position(cursor, &off);
    if (rc == BLITZ_OK)
      rc = sort_row(build, cursor, off, value, err);
    if (rc != BLITZ_OK)
      return rc;
    if (++done % BZ_WORK_STEP == 0 && !bz_work_report(&work, done))
      return stopped(build, err);
  }
  return rc == BLITZ_END ? BLITZ_OK : rc;
}

static enum blitz_rc store_entries(struct build *build, struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  for (unsigned i = 0; i < build->count && rc == BLITZ_OK; i++)
  {
    struct bz_work work = work_of(build, build->rows * (i + 1));
    rc = bz_index_append(build->table, build->index_txn, build->dbis[i], build->sorts[i], &work,
                         err);
    if (rc == BLITZ_DUPLICATE && err != NULL)
      err->index_no = build->numbers[i];
    bz_sort_free(build->sorts[i]);
    build->sorts[i] = NULL;
  }
  return rc;
}

/* Fills the sorts. */
static enum blitz_rc collect(struct build *build, struct blitz_error *err)
{
  struct blitz_cursor *cursor = NULL;
  enum blitz_rc rc = blitz_cursor_open(build->table, NULL, &cursor);

  build->rows = atomic_load(&build->table->row_count);
  for (unsigned i = 0; i < build->count && rc == BLITZ_OK; i++)
  {
    build->sorts[i] = bz_sort_create();
    if (build->sorts[i] == NULL)
      rc = BLITZ_NOMEM;
  }
  if (rc != BLITZ_OK)
    rc = bz_fail(err, rc, 0, "out of memory building indexes of %s", build->table->file);
  else
    rc = sort_rows(build, cursor, err);
  blitz_cursor_close(cursor);
  return rc;
}

/* Begins a write transaction of the index file in which there is room for all of it. */
static enum blitz_rc begin_writing(struct build *build, struct blitz_error *err)
{
  uint64_t len = 0;

  for (unsigned i = 0; i < build->count; i++)
    if (build->sorts[i] != NULL)
      len += bz_sort_len(build->sorts[i]);
  return bz_index_write_begin(build->table, len, &build->index_txn, err);
}

static void free_sorts(struct build *build)
{
  for (unsigned i = 0; i < build->count; i++)
    bz_sort_free(build->sorts[i]);
}

/* Fills the empty indexes of BUILD, after emptying those in CLEAR. */
static enum blitz_rc write_indexes(struct build *build, uint64_t clear, struct blitz_error *err)
{
  struct blitz_table *table = build->table;
  enum blitz_rc rc = BLITZ_OK;

  for (unsigned i = 0; i < table->index->count && rc == BLITZ_OK; i++)
    if (clear >> i & 1)
      rc = bz_index_db_clear(table, build->index_txn, table->index->dbis[i], err);
  if (rc == BLITZ_OK && build->rows > 0)
    rc = store_entries(build, err);
  return rc;
}

/* Does all the work, and then takes the writer slot: nobody else has the table. A file that was
 * closed is marked as open only when there is something to commit.
 */
static enum blitz_rc build_alone(struct build *build, struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  if (atomic_load(&build->table->row_count) > 0)
    rc = collect(build, err);
  if (rc == BLITZ_OK)
    rc = begin_writing(build, err);
  if (rc == BLITZ_OK)
    rc = write_indexes(build, 0, err);
  return rc == BLITZ_OK ? begin(build, err) : rc;
}

/* The same beside readers, who may go on. */
static enum blitz_rc build_in_slot(struct build *build, uint64_t clear, struct blitz_error *err)
{
  enum blitz_rc rc = begin(build, err);

  if (rc == BLITZ_OK && atomic_load(&build->table->row_count) > 0)
    rc = collect(build, err);
  if (rc == BLITZ_OK)
    rc = begin_writing(build, err);
  return rc == BLITZ_OK ? write_indexes(build, clear, err) : rc;
}

/* Makes the indexes WHICH, of which those in CLEAR are not empty. ALONE: while the table is
 * being opened.
 */
static enum blitz_rc build_indexes(struct blitz_table *table, uint64_t which, uint64_t clear,
                                   bool alone, const struct blitz_indexer *indexer,
                                   struct blitz_error *err)
{
  struct build build = {.table = table, .indexer = indexer};
  uint64_t disabled = atomic_load(&table->index->disabled);
  enum blitz_rc rc;

  for (unsigned i = 0; i < table->index->count; i++)
    if (which >> i & 1)
    {
      build.numbers[build.count] = i;
      build.dbis[build.count++] = table->index->dbis[i];
    }
  rc = alone ? build_alone(&build, err) : build_in_slot(&build, clear, err);
  free_sorts(&build);
  /* Who reads what was before does not find what was not kept then. */
  for (unsigned i = 0; i < table->index->count; i++)
    if (disabled & which & UINT64_C(1) << i)
      atomic_store(&table->index->built[i], atomic_load(&table->committed) + 1);
  /* The commit of the entries says that they are kept. */
  atomic_store(&table->index->disabled, disabled & ~which);
  rc = end(&build, rc, err);
  if (rc != BLITZ_OK)
    atomic_store(&table->index->disabled, disabled);
  return rc;
}

/* Puts before the error's text that this was a rebuild. */
static void explain(const struct blitz_table *table, const char *reason, struct blitz_error *err)
{
  struct blitz_error cause;

  if (err == NULL)
    return;
  cause = *err;
  (void)bz_fail(err, cause.rc, 0, "%s is %s, and could not be made anew from the rows: %s",
                table->index->name, reason, cause.text);
  err->sys_errno = cause.sys_errno;
  err->index_no = cause.index_no;
}

enum blitz_rc bz_build(struct blitz_table *table, uint64_t which,
                       const struct blitz_indexer *indexer, const char *reason,
                       enum blitz_log_level level, struct blitz_error *err)
{
  uint64_t rows = atomic_load(&table->row_count);
  enum blitz_rc rc = build_indexes(table, which, 0, reason != NULL, indexer, err);

  if (rc != BLITZ_OK && reason != NULL)
    explain(table, reason, err);
  if (rc == BLITZ_OK && rows > 0 && reason != NULL)
  {
    unsigned count = (unsigned)__builtin_popcountll(which);
    bz_count(&bz_counters.index_rebuilds, count);
    bz_log(level, "%s was %s: %u indexes are made anew from %" PRIu64 " rows", table->index->name,
           reason, count, rows);
  }
  return rc;
}

/* ---- what callers ask for ------------------------------------------------------------ */

enum blitz_rc blitz_table_add_indexes(struct blitz_table *table, const struct blitz_indexes *more,
                                      const struct blitz_indexer *indexer,
                                      blitz_duplicate_fn *duplicate, struct blitz_error *err)
{
  struct build build = {.table = table, .indexer = indexer, .duplicate = duplicate};
  enum blitz_rc rc = begin(&build, err);

  for (; build.count < more->count; build.count++)
    build.numbers[build.count] = build.count;
  if (rc == BLITZ_OK)
    rc = make_file(table, err);
  if (rc == BLITZ_OK)
    rc = collect(&build, err);
  if (rc == BLITZ_OK)
    rc = begin_writing(&build, err);
  for (unsigned i = 0; i < more->count && rc == BLITZ_OK; i++)
  {
    rc = bz_index_db_create(table, build.index_txn, more->ids[i], &build.dbis[i], err);
    /* An index that was given up may be there still. */
    if (rc == BLITZ_OK)
      rc = bz_index_db_clear(table, build.index_txn, build.dbis[i], err);
  }
  if (rc == BLITZ_OK)
    rc = store_entries(&build, err);
  free_sorts(&build);
  return end(&build, rc, err);
}

enum blitz_rc blitz_table_drop_indexes(struct blitz_table *table, const struct blitz_indexes *which,
                                       struct blitz_error *err)
{
  struct build build = {.table = table};
  enum blitz_rc rc;

  if (table->index == NULL)
    return BLITZ_OK;
  rc = begin(&build, err);
  if (rc == BLITZ_OK)
    rc = begin_writing(&build, err);
  for (unsigned i = 0; i < which->count && rc == BLITZ_OK; i++)
    rc = bz_index_db_drop(table, build.index_txn, which->ids[i], err);
  return end(&build, rc, err);
}

/* Empties indexes. */
static enum blitz_rc clear(struct blitz_table *table, uint64_t which, uint64_t disabled,
                           struct blitz_error *err)
{
  uint64_t disabled_before = atomic_load(&table->index->disabled);
  struct build build = {.table = table};
  enum blitz_rc rc = begin(&build, err);

  if (rc == BLITZ_OK)
    rc = begin_writing(&build, err);
  for (unsigned i = 0; i < table->index->count && rc == BLITZ_OK; i++)
    if (which >> i & 1)
      rc = bz_index_db_clear(table, build.index_txn, table->index->dbis[i], err);
  atomic_store(&table->index->disabled, disabled);
  rc = end(&build, rc, err);
  if (rc != BLITZ_OK)
    atomic_store(&table->index->disabled, disabled_before);
  return rc;
}

enum blitz_rc blitz_table_disable_indexes(struct blitz_table *table, uint64_t which,
                                          struct blitz_error *err)
{
  if (table->index == NULL || which == 0)
    return BLITZ_OK;
  return clear(table, which, atomic_load(&table->index->disabled) | which, err);
}

enum blitz_rc blitz_table_enable_indexes(struct blitz_table *table,
                                         const struct blitz_indexer *indexer,
                                         struct blitz_error *err)
{
  uint64_t disabled = blitz_table_disabled_indexes(table);

  return disabled == 0 ? BLITZ_OK : bz_build(table, disabled, indexer, NULL, BLITZ_LOG_NOTE, err);
}

uint64_t blitz_table_disabled_indexes(struct blitz_table *table)
{
  return table->index != NULL ? atomic_load(&table->index->disabled) : 0;
}

enum blitz_rc blitz_table_rebuild_indexes(struct blitz_table *table,
                                          const struct blitz_indexer *indexer,
                                          struct blitz_error *err)
{
  uint64_t all;

  if (table->index == NULL)
    return BLITZ_OK;
  all = table->index->count < 64 ? (UINT64_C(1) << table->index->count) - 1 : UINT64_MAX;
  return build_indexes(table, all & ~atomic_load(&table->index->disabled), all, false, indexer,
                       err);
}

/* ---- figures --------------------------------------------------------------------------- */

void blitz_index_stats(struct blitz_table *table, unsigned index_no,
                       struct blitz_index_stats *stats)
{
  struct bz_tree_shape shape = {0, 0, 0};
  struct bz_index_view view = {0};
  struct bz_walk walk;

  memset(stats, 0, sizeof *stats);
  if (table->index == NULL || index_no >= table->index->count)
    return;
  pthread_mutex_lock(&table->snapshot_lock);
  /* Nobody begins to write meanwhile, so that pages are kept (X9). */
  if (bz_index_view_begin(table, &view, atomic_load(&table->committed)) == BLITZ_OK)
  {
    if (bz_walk_open(&view.commit, table->index->ids[index_no], &walk) == BLITZ_OK)
      bz_walk_shape(&walk, &shape);
    /* Each row has one, in the file or in memory. */
    if (view.deltas[0] != NULL || view.deltas[1] != NULL)
      shape.entry_count = atomic_load(&table->row_count);
    bz_index_view_end(table, &view);
  }
  pthread_mutex_unlock(&table->snapshot_lock);
  stats->entry_count = shape.entry_count;
  stats->page_count = shape.page_count;
  stats->page_len = table->index->page_len;
  stats->depth = shape.depth;
}
