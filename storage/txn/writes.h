/* SPDX-License-Identifier: GPL-2.0-only
 *
 * writes.h: what a transaction remembers of its changes. The other rooms ask by the
 * functions in txn.h.
 */
#ifndef BZ_WRITES_H
#define BZ_WRITES_H

#include "txn/moves.h"
#include "txn/txn.h"

/* What was done to a key. new_off 0: the row goes; old_off 0: it was not there; both
 * 0: no change.
 */
struct bz_change
{
  uint64_t hash;
  uint64_t new_off; /* of a block BZ_STATE_INFLIGHT */
  uint64_t old_off; /* of the committed row */
};

/* The changes of one table. Who has one has the table's writer slot. */
struct bz_writes
{
  struct blitz_table *table;
  struct bz_change *changes;
  uint32_t count, room;
  struct bz_positions positions;  /* of changes, by the hashes of their keys */
  uint32_t indexed;               /* changes among them: the first ones */
  uint32_t replaced;              /* changes that take a committed row out */
  uint64_t old_off_max;           /* of the changes */
  struct bz_load *load;           /* not NULL: rows go to their places at once */
  struct bz_deltas *own;          /* entries of indexes, in memory; NULL: there are none */
  struct MDB_txn *index_txn;      /* what was too much for that; NULL: nothing was */
  struct bz_index_view committed; /* without that, what others have, if somebody has asked */
  bool has_committed;
  uint64_t source_serial; /* of what a cursor of the transaction sees of the indexes */
  uint64_t index_changes; /* counts changes of entries */
  struct bz_sort **sorts; /* by index; not NULL: entries are sorted first (entries.c) */
  bool late_duplicates;   /* of sorted unique ones */
  struct bz_moves moves;  /* of rows from key to key */
  bool doomed;            /* a change was made in part: there is nothing but rollback */
  struct bz_buffer entry_buf, found_buf;
  int64_t row_delta;
  uint64_t inserted, updated, removed;
  struct bz_writes *next;
};

struct blitz_txn
{
  struct bz_writes *writes;
  struct bz_writes *spare; /* one, with its memory, for the next one */
  struct bz_buffer record; /* in which a commit is put together for the log */
  unsigned lock_timeout;
  const struct blitz_indexer *indexer;
};

/* TXN's changes of TABLE; NULL: there are none. */
struct bz_writes *bz_txn_writes(const struct blitz_txn *txn, const struct blitz_table *table);

/* The same, or new ones, after taking TABLE's writer slot; with room for what one call
 * changes: until the next such call, changes stay where they are in memory.
 */
enum blitz_rc bz_writes_begin(struct blitz_txn *txn, struct blitz_table *table,
                              struct bz_writes **writesp, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Gives the slot back and forgets the changes. */
void bz_writes_end(struct blitz_txn *txn, struct bz_writes *writes);

void bz_writes_free(struct bz_writes *writes); /* NULL is allowed */

/* The change of KEY; NULL: there is none. */
struct bz_change *bz_writes_find(struct bz_writes *writes, const struct bz_key *key);

/* The origin of the row that CHANGE has put under its key; the row's block, if the
 * transaction has inserted it. See moves.h.
 */
uint64_t bz_writes_origin(const struct bz_writes *writes, const struct bz_change *change);

/* Adds a change of KEY, of which there is none, in room from bz_writes_begin(). */
void bz_writes_add(struct bz_writes *writes, const struct bz_key *key, uint64_t new_off,
                   uint64_t old_off);

/* After a change that could not be finished: no more of them. */
void bz_set_broken(struct blitz_table *table);

#endif /* BZ_WRITES_H */
