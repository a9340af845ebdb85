/* SPDX-License-Identifier: GPL-2.0-only
 *
 * entries.h: what the changes of rows do to the table's indexes. For txn.c and
 * change.c.
 *
 * A transaction keeps its entries in memory, in order; the commit puts them to those of other
 * commits (index/merge.c). If they are too many they go, sorted, to a write transaction of the
 * index file each time that there are so many, and if the table is not logged they do so in the
 * end. Nobody else sees them there; the commit of the rows commits them, and a rollback drops them.
 * While an empty table is loaded they are sorted first, and stored when all are there or somebody
 * asks for them.
 */
#ifndef BZ_ENTRIES_H
#define BZ_ENTRIES_H

#include "txn/writes.h"

/* Entries for a new row KEY at OFF. BLITZ_DUPLICATE: nothing has changed. After another
 * failure of this or the next functions the transaction can only be rolled back.
 */
enum blitz_rc bz_entries_insert(struct blitz_txn *txn, struct bz_writes *writes,
                                struct blitz_slice key, struct blitz_slice value, uint64_t off,
                                struct blitz_error *err) BLITZ_MUST_CHECK;

/* The row KEY with the value OLD_VALUE goes. */
enum blitz_rc bz_entries_remove(struct blitz_txn *txn, struct bz_writes *writes,
                                struct blitz_slice key, struct blitz_slice old_value,
                                struct blitz_error *err) BLITZ_MUST_CHECK;

/* It becomes the row NEW_KEY with NEW_VALUE at NEW_OFF. BLITZ_DUPLICATE: nothing has
 * changed.
 */
enum blitz_rc bz_entries_update(struct blitz_txn *txn, struct bz_writes *writes,
                                struct blitz_slice key, struct blitz_slice old_value,
                                struct blitz_slice new_key, struct blitz_slice new_value,
                                uint64_t new_off, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Sorts entries from now on before they are stored, those of unique indexes too if
 * LATE_DUPLICATES. The table is empty.
 */
enum blitz_rc bz_entries_sort(struct bz_writes *writes, bool late_duplicates,
                              struct blitz_error *err) BLITZ_MUST_CHECK;

/* Stores what is sorted. BLITZ_DUPLICATE: err->index_no, DUPLICATE was called. */
enum blitz_rc bz_entries_settle(struct bz_writes *writes, blitz_duplicate_fn *duplicate, void *arg,
                                struct blitz_error *err) BLITZ_MUST_CHECK;

/* Before the commit: what does not stay in memory is in the write transaction. */
enum blitz_rc bz_entries_finish(struct bz_writes *writes, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Then: the transaction that is to be committed, NULL: there is none. */
struct MDB_txn *bz_entries_take(struct bz_writes *writes);
/* Entries that are committed in memory; NULL: there are none. */
static inline const struct bz_deltas *bz_entries_in_memory(const struct bz_writes *writes)
{
  return writes->own != NULL && !bz_deltas_are_empty(writes->own) ? writes->own : NULL;
}

void bz_entries_rollback(struct bz_writes *writes);

/* Nothing of the transaction's entries is wanted any more. */
void bz_entries_end(struct bz_writes *writes);

/* Empties all indexes: all rows go. */
enum blitz_rc bz_entries_clear(struct bz_writes *writes, struct blitz_error *err) BLITZ_MUST_CHECK;

#endif /* BZ_ENTRIES_H */
