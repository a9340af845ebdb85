/* SPDX-License-Identifier: GPL-2.0-only
 *
 * undo.h: what entries of an index file were before: for who reads a commit of the rows that is
 * earlier than the file. A merge puts there what it changes, if such a snapshot is open. It is a
 * database of the file's own, next to those of the indexes, whose entries are
 *
 *   sort key   the index's id, 8 bytes, big-endian; the sort key of an entry
 *   payload    versions of that entry, from the newest to the oldest: number of the commit (8);
 *              1 + length of the value, 0: it was removed (4); the value, as in deltas.h
 *
 * Numbers are little-endian unless said otherwise.
 *
 * Invariants:
 *  U1. The newest version of an entry is what the file has of it.
 *  U2. For each snapshot since the last direct commit that is earlier than the file: of an entry
 *      that has versions, the newest one up to the snapshot's number is what that snapshot sees,
 *      and if there is none, the entry was not there. Of an entry that has none, it sees what the
 *      file has.
 *  U3. It is empty as long as there has been no such snapshot since the file was opened, or else
 *      the next merge or direct commit makes it so.
 */
#ifndef BZ_INDEX_UNDO_H
#define BZ_INDEX_UNDO_H

#include "index/deltas.h"
#include "index/index.h"

#define BZ_UNDO_ID UINT64_MAX /* of the database, as if it were an index's */

/* ---- reading ------------------------------------------------------------------------- */

/* A place in the undo of an index, as of a commit of the rows. What it finds is copied. */
struct bz_undo_place
{
  struct bz_walk walk;
  uint64_t id;     /* of the index */
  uint64_t number; /* versions up to that are seen */
  struct bz_buffer sought, bytes;
  struct blitz_slice sort_key; /* of the entry at the place */
  bool removed;                /* it was not there */
  struct bz_entry entry;
};

/* Opens PLACE, of which id and number are set and the rest is zeros, or was opened before.
 * BLITZ_NOT_FOUND: there is no undo.
 */
enum blitz_rc bz_undo_open(const struct bz_walk_commit *commit,
                           struct bz_undo_place *place) BLITZ_MUST_CHECK;
void bz_undo_close(struct bz_undo_place *place);

/* Like bz_walk_seek(), bz_walk_step() and bz_walk_get(), for entries that have versions. */
enum blitz_rc bz_undo_seek(struct bz_undo_place *place, struct blitz_slice key,
                           enum blitz_seek where) BLITZ_MUST_CHECK;
enum blitz_rc bz_undo_step(struct bz_undo_place *place, bool forward) BLITZ_MUST_CHECK;
enum blitz_rc bz_undo_find(struct bz_undo_place *place,
                           struct blitz_slice sort_key) BLITZ_MUST_CHECK;

/* ---- writing ------------------------------------------------------------------------- */

/* For who is `writing`. */
struct bz_undo
{
  struct blitz_table *table;
  struct MDB_txn *txn;
  struct MDB_cursor *mc; /* NULL: nobody needs it */
  const uint64_t *numbers;
  size_t count;
  struct bz_buffer key, list;
};

/* Begins to put there what TXN changes, for snapshots with NUMBERS, COUNT of them, ascending; with
 * none it becomes empty. KEEP: so is what is there already for these. UNDO is to be ended, also
 * after a failure.
 */
enum blitz_rc bz_undo_begin(struct bz_undo *undo, struct blitz_table *table, struct MDB_txn *txn,
                            const uint64_t *numbers, size_t count, bool keep,
                            struct blitz_error *err) BLITZ_MUST_CHECK;
void bz_undo_end(struct bz_undo *undo);

/* Puts there what an entry of index INDEX_NO was, before the newest version at PLACE is brought
 * into the file.
 */
enum blitz_rc bz_undo_keep(struct bz_undo *undo, unsigned index_no,
                           const struct bz_delta_place *place,
                           struct blitz_error *err) BLITZ_MUST_CHECK;

/* Makes it empty, for a direct change. */
enum blitz_rc bz_undo_clear(struct blitz_table *table, struct MDB_txn *txn,
                            struct blitz_error *err) BLITZ_MUST_CHECK;

#endif /* BZ_INDEX_UNDO_H */
