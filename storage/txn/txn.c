/* SPDX-License-Identifier: GPL-2.0-only
 *
 * txn.c: the transaction as an object, and what others ask about its changes. How it ends
 * is in commit.c.
 */
#include "txn/load.h"
#include "txn/writes.h"

#include <stdlib.h>

#define LOCK_TIMEOUT_SECONDS 50

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
  free(txn->record.data);
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

  if (writes == NULL || writes->load == NULL)
    return;
  bz_change_begin(writes->table);
  bz_load_flush(writes->table, writes->load);
  bz_change_end(writes->table);
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
    bz_txn_settle((struct blitz_txn *)(uintptr_t)txn, table);
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
