/* SPDX-License-Identifier: GPL-2.0-only
 *
 * txn.c: transactions. A new row is written at once into a block that looks free
 * to everyone else; what is remembered in memory is only where it is. The commit
 * numbers these rows, hangs them into the trees, and takes out those that they
 * replace.
 *
 * Invariants:
 *  T1. Before commit no file but for blocks of state BZ_STATE_INFLIGHT differs from
 *      what it was; so rollback frees those blocks, and a crash does too.
 *  T2. A commit of rows allocates nothing, neither space nor memory, so it cannot fail.
 *      That of their entries may, and comes before the rows are seen.
 *  T3. A commit's last store is its number in the header. Until then recovery
 *      finds the new rows numbered beyond it, and the old ones stamped as removed
 *      beyond it, but whole.
 *  T4. A key has one change in a transaction, the sum of all that was done to it.
 */
#include "base/counters.h"
#include "txn/entries.h"
#include "txn/load.h"

#include <assert.h>
#include <stdlib.h>

#define LOCK_TIMEOUT_SECONDS 50
#define PREFETCH_AHEAD 16 /* changes */

/* ---- the object ---------------------------------------------------------- */

enum blitz_rc blitz_txn_create(struct blitz_txn **txnp)
{
  *txnp = calloc(1, sizeof **txnp);
  if (*txnp == NULL)
    return BLITZ_NOMEM;
  (*txnp)->lock_timeout = LOCK_TIMEOUT_SECONDS;
  return BLITZ_OK;
}

void blitz_txn_free(struct blitz_txn *txn)
{
  if (txn == NULL)
    return;
  blitz_txn_rollback(txn);
  bz_writes_free(txn->spare);
  free(txn);
}

void blitz_txn_lock_timeout(struct blitz_txn *txn, unsigned seconds)
{
  txn->lock_timeout = seconds;
}

void blitz_txn_set_indexer(struct blitz_txn *txn, const struct blitz_indexer *indexer)
{
  txn->indexer = indexer;
}

bool blitz_txn_changed(const struct blitz_txn *txn)
{
  return txn->writes != NULL;
}

struct bz_writes *bz_txn_writes(const struct blitz_txn *txn, const struct blitz_table *table)
{
  struct bz_writes *writes = txn != NULL ? txn->writes : NULL;

  while (writes != NULL && writes->table != table)
    writes = writes->next;
  return writes;
}

bool bz_txn_changes(const struct blitz_txn *txn, const struct blitz_table *table)
{
  return bz_txn_writes(txn, table) != NULL;
}

void bz_txn_settle(struct blitz_txn *txn, const struct blitz_table *table)
{
  struct bz_writes *writes = bz_txn_writes(txn, table);

  if (writes != NULL && writes->load != NULL)
    bz_load_flush(writes->table, writes->load);
}

bool bz_txn_loads(const struct blitz_txn *txn, const struct blitz_table *table)
{
  const struct bz_writes *writes = bz_txn_writes(txn, table);

  return writes != NULL && writes->load != NULL;
}

int64_t blitz_txn_row_delta(const struct blitz_txn *txn, const struct blitz_table *table)
{
  const struct bz_writes *writes = bz_txn_writes(txn, table);

  return writes != NULL ? writes->row_delta : 0;
}

uint32_t bz_txn_change_count(const struct blitz_txn *txn, const struct blitz_table *table)
{
  const struct bz_writes *writes = bz_txn_writes(txn, table);

  return writes != NULL ? writes->count : 0;
}

uint64_t bz_txn_added_row(const struct blitz_txn *txn, const struct blitz_table *table, uint32_t i)
{
  const struct bz_change *change = &bz_txn_writes(txn, table)->changes[i];

  return change->old_off == 0 ? change->new_off : 0;
}

enum bz_own bz_txn_own(const struct blitz_txn *txn, const struct blitz_table *table,
                       const struct bz_key *key, uint32_t limit, uint64_t *offp)
{
  struct bz_writes *writes = bz_txn_writes(txn, table);
  struct bz_change *change;
  struct bz_place place;

  *offp = 0;
  if (writes == NULL)
    return BZ_OWN_NONE;
  if (writes->load != NULL)
  {
    bz_load_flush(writes->table, writes->load);
    if (bz_hash_find(table, key, &place) != BLITZ_OK)
      return BZ_OWN_REMOVED;
    *offp = place.row.off;
    return BZ_OWN_ROW;
  }
  change = bz_writes_find(writes, key);
  if (change == NULL || change - writes->changes >= (ptrdiff_t)limit)
    return BZ_OWN_NONE;
  *offp = change->new_off;
  return change->new_off != 0 ? BZ_OWN_ROW : BZ_OWN_REMOVED;
}

/* ---- the end ------------------------------------------------------------------ */

/* Makes commit SEQ seen, of which all is in its place. Entries, if there are any, are committed
 * before: all that the commit did is in the files before its number is.
 */
static void publish(struct blitz_table *table, uint64_t seq, uint64_t row_count, bool has_entries)
{
  bz_snapshot_publish(table, seq, row_count);
  if (!has_entries)
    return;
  pthread_mutex_lock(&table->snapshot_lock);
  bz_index_published(table);
  pthread_mutex_unlock(&table->snapshot_lock);
}

enum blitz_rc bz_publish(struct blitz_table *table, uint64_t seq, uint64_t row_count,
                         struct MDB_txn *index_txn, struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  if (index_txn != NULL)
    rc = bz_index_write_commit(table, index_txn, seq, err);
  if (rc == BLITZ_OK)
    publish(table, seq, row_count, index_txn != NULL);
  return rc;
}

static bool apply_change(struct blitz_table *table, const struct bz_change *change, uint64_t seq)
{
  struct bz_row row;
  struct bz_key key;
  struct bz_place place;
  enum blitz_rc rc;

  if (!bz_block_row(table, change->new_off != 0 ? change->new_off : change->old_off, &row))
    return false;
  key = bz_key_of_row(&row);
  rc = bz_hash_find(table, &key, &place);
  if (rc != (change->old_off != 0 ? BLITZ_OK : BLITZ_NOT_FOUND))
    return false;
  if (change->new_off != 0)
    bz_row_seal(bz_base(table), &row, seq);
  if (change->old_off != 0)
    bz_removed_add(table, place.row.off, bz_row_seq(&place.row), seq, change->hash);
  if (change->new_off == 0)
  {
    if (bz_hash_unlink(table, key.hash, &place) != BLITZ_OK)
      return false;
  }
  else if (change->old_off == 0)
    bz_hash_link(table, &key, &place, change->new_off);
  else
    bz_hash_replace(table, key.hash, &place, change->new_off);
  if (change->old_off != 0)
    bz_space_stamp_removed(table, place.row.off, place.row.len, seq);
  return true;
}

void bz_set_broken(struct blitz_table *table)
{
  if (!atomic_exchange(&table->broken, true))
    bz_log(BLITZ_LOG_ERROR,
           "%s is damaged: a change could not be finished, and there will be no more. "
           "The file is repaired when it is opened again",
           table->file);
  if (table->index != NULL)
    bz_index_set_broken(table);
}

/* Asks for what apply_change() will need, so that it need not wait for it: first the change's
 * bucket and blocks, and when they are there, what hangs on the bucket.
 */
static void prefetch_blocks(const struct blitz_table *table, const struct bz_change *change)
{
  const uint8_t *base = bz_base(table);
  uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_relaxed);

  __builtin_prefetch(base + bz_bucket_off_of(table, change->hash, count));
  if (change->new_off != 0)
    bz_prefetch_row(base, change->new_off);
  if (change->old_off != 0)
  {
    bz_removed_prefetch(table, change->hash);
    bz_prefetch_row(base, change->old_off);
  }
}

static void prefetch_tree(const struct blitz_table *table, const struct bz_change *change)
{
  uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_relaxed);

  if (change->old_off == 0)
    bz_prefetch_row(bz_base(table),
                    bz_link(bz_base(table), bz_bucket_off_of(table, change->hash, count)));
}

static void rollback_table(struct bz_writes *writes)
{
  bz_entries_rollback(writes);
  if (writes->load != NULL)
    bz_load_rollback(writes->table, writes->load);
  for (uint32_t i = writes->count; i > 0; i--)
    if (writes->changes[i - 1].new_off != 0)
      (void)bz_space_free(writes->table, writes->changes[i - 1].new_off);
}

/* Undoes what could not be committed. */
static enum blitz_rc give_up(struct bz_writes *writes, enum blitz_rc rc)
{
  rollback_table(writes);
  return rc;
}

static enum blitz_rc apply(struct bz_writes *writes, struct blitz_error *err)
{
  struct blitz_table *table = writes->table;
  uint64_t seq = atomic_load_explicit(&table->committed, memory_order_relaxed) + 1;
  uint64_t rows = atomic_load_explicit(&table->row_count, memory_order_relaxed);
  struct MDB_txn *index_txn = bz_entries_take(writes);

  assert(writes->load == NULL);
  if (index_txn != NULL)
  {
    enum blitz_rc rc = bz_index_write_commit(table, index_txn, seq, err);
    if (rc != BLITZ_OK)
      return give_up(writes, rc);
  }
  if (writes->removed > 0 || writes->updated > 0)
    atomic_store_explicit(&table->unpublished, seq, memory_order_release);
  for (uint32_t i = 0; i < writes->count; i++)
  {
    const struct bz_change *change = &writes->changes[i];
    if (i + PREFETCH_AHEAD < writes->count)
      prefetch_blocks(table, change + PREFETCH_AHEAD);
    if (i + PREFETCH_AHEAD / 2 < writes->count)
      prefetch_tree(table, change + PREFETCH_AHEAD / 2);
    if ((change->new_off != 0 || change->old_off != 0) && !apply_change(table, change, seq))
      bz_set_broken(table);
  }
  rows += (uint64_t)writes->row_delta;
  publish(table, seq, rows, index_txn != NULL);
  bz_removed_sweep(table, writes->removed + writes->updated);
  return BLITZ_OK;
}

static void count_rows(const struct bz_writes *writes)
{
  bz_count(&bz_counters.rows_inserted, writes->inserted);
  bz_count(&bz_counters.rows_updated, writes->updated);
  bz_count(&bz_counters.rows_removed, writes->removed);
}

static enum blitz_rc commit_table(struct bz_writes *writes, struct blitz_error *err)
{
  enum blitz_rc rc;

  if (writes->doomed)
    return give_up(writes, bz_fail(err, BLITZ_INVALID, 0,
                                   "%s: a change that failed in part cannot be committed, and is "
                                   "undone",
                                   writes->table->file));
  /* Equal rows that blitz_txn_finish_load() was not asked for must not get in. */
  rc = bz_entries_settle(writes, NULL, NULL, err);
  if (rc != BLITZ_OK)
    return give_up(writes, rc);
  if (writes->load != NULL)
    rc = bz_load_commit(writes->table, writes->load, (uint64_t)writes->row_delta,
                        bz_entries_take(writes), err);
  else if (writes->count > 0)
    rc = apply(writes, err);
  else
    bz_entries_rollback(writes); /* entries were looked for, and nothing changed */
  if (rc == BLITZ_OK)
    count_rows(writes);
  return rc;
}

enum blitz_rc blitz_txn_commit(struct blitz_txn *txn, struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  if (txn->writes != NULL)
    bz_count(&bz_counters.commits, 1);
  while (txn->writes != NULL)
  {
    if (rc == BLITZ_OK)
      rc = commit_table(txn->writes, err);
    else
      rollback_table(txn->writes);
    bz_writes_end(txn, txn->writes);
  }
  return rc;
}

void blitz_txn_rollback(struct blitz_txn *txn)
{
  if (txn->writes != NULL)
    bz_count(&bz_counters.rollbacks, 1);
  while (txn->writes != NULL)
  {
    rollback_table(txn->writes);
    bz_writes_end(txn, txn->writes);
  }
}
