/* SPDX-License-Identifier: GPL-2.0-only
 *
 * figures.c: what a table tells of itself, and the number that its caller keeps with it.
 */
#include "log/current.h"
#include "log/record.h"
#include "table/table.h"

void blitz_table_stats(struct blitz_table *table, struct blitz_table_stats *stats)
{
  uint64_t end = atomic_load(&table->end);
  uint64_t free_len = atomic_load(&table->space.free_len);

  stats->row_count = atomic_load(&table->row_count);
  stats->file_len = atomic_load(&table->allocated);
  stats->free_len = free_len;
  stats->data_len = end - free_len;
  stats->bucket_count = atomic_load(&table->bucket_count);
  stats->rows_lost = table->rows_lost;
}

uint64_t blitz_table_counter(struct blitz_table *table)
{
  return atomic_load(&table->counter);
}

/* Keeps a number that was set without a change that it could come with. */
static enum blitz_rc log_counter(struct blitz_table *table, uint64_t n, struct blitz_error *err)
{
  uint8_t bytes[16];
  struct blitz_slice part = {bytes, sizeof bytes};
  uint64_t end;
  enum blitz_rc rc;

  bz_store_le64(bytes, table->log_number);
  bz_store_le64(bytes + 8, n);
  rc = bz_redo_append(bz_current_log(), BZ_RECORD_COUNTER, &part, 1, &end, err);
  if (rc == BLITZ_OK)
    rc = bz_redo_write(bz_current_log(), end, err);
  return rc;
}

/* Lets the log know of the table, as a change does. */
static enum blitz_rc begin_logging(struct blitz_table *table, struct blitz_error *err)
{
  struct blitz_txn *txn;
  enum blitz_rc rc = blitz_txn_create(&txn);

  if (rc != BLITZ_OK)
    return bz_fail(err, rc, 0, "out of memory changing %s", table->file);
  rc = bz_txn_take(txn, table, err);
  blitz_txn_free(txn);
  return rc;
}

static enum blitz_rc set_counter(struct blitz_table *table, uint64_t n, struct blitz_error *err)
{
  /* The caller may be the writer, but then the log knows of it. */
  enum blitz_rc rc = table->log_number != 0 ? BLITZ_OK : begin_logging(table, err);

  if (rc == BLITZ_OK)
    rc = log_counter(table, n, err);
  if (rc == BLITZ_OK)
    atomic_store(&table->counter, n);
  return rc;
}

static enum blitz_rc store_counter(struct blitz_table *table, uint64_t n, bool only_raise,
                                   struct blitz_error *err)
{
  if (table->flags & BLITZ_OPEN_READONLY)
    return bz_fail(err, BLITZ_READONLY, 0, "%s is open for reading only", table->file);
  if (table->logged && !only_raise)
    return set_counter(table, n, err);
  pthread_mutex_lock(&table->counter_lock);
  if (!only_raise || atomic_load(&table->counter) < n)
  {
    if (!table->logged)
      bz_store_le64(atomic_load(&table->map)->base + BZ_COUNTER_OFF, n);
    atomic_store(&table->counter, n);
  }
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
