/* SPDX-License-Identifier: GPL-2.0-only
 *
 * txn.h: who may change a table, and the changes of transactions: what they are until the
 * commit, the commit, and undoing them. What a program calls of that is in blitz.h.
 *
 * A transaction is one thread's at a time, and so is what is asked about it here. It has the
 * writer slot of each table that it has changed, from the first change to its end (slot.c),
 * and so it may call what is for the writer in rows.h and index.h. Nothing here wants a lock
 * to be held; slot_lock and snapshot_lock are taken.
 *
 * Invariants stand where they are kept:
 *   T1-T6   changes and the commit           commit.c
 *   M1-M3   commits and moments              pins.c
 *   those of a load and of moved rows        load.c, moves.h
 *
 * Private to the room: writes.h, moves.h, entries.h, load.h, logging.h.
 */
#ifndef BZ_TXN_H
#define BZ_TXN_H

#include "index/source.h"
#include "rows/rows.h"

/* ---- slot.c: one writer a table -------------------------------------------- */

enum blitz_rc bz_slot_take(struct blitz_table *table, const struct blitz_txn *txn,
                           unsigned timeout_seconds, struct blitz_error *err) BLITZ_MUST_CHECK;
void bz_slot_release(struct blitz_table *table);

/* Takes the slot for a moment if it is free. */
bool bz_slot_try(struct blitz_table *table) BLITZ_MUST_CHECK;

/* ---- txn.c, moves.c, entries.c: what others ask of a transaction's changes ------------- */

enum bz_own
{
  BZ_OWN_NONE,    /* the transaction has not changed that key */
  BZ_OWN_ROW,     /* it made a row, the block at *OFFP */
  BZ_OWN_REMOVED, /* it removed the row */
};

/* What TXN, which may be NULL, did to a key of TABLE in the first LIMIT of its
 * changes. While it loads the table, that is all that is there: BZ_OWN_ROW or
 * BZ_OWN_REMOVED.
 */
enum bz_own bz_txn_own(const struct blitz_txn *txn, const struct blitz_table *table,
                       const struct bz_key *key, uint32_t limit, uint64_t *offp);

/* What became of the row that was once at POSITION, whatever its key is by now.
 * bz_txn_forgot(): memory ran out, and that cannot be told.
 */
bool bz_txn_forgot(const struct blitz_txn *txn, const struct blitz_table *table);
enum bz_own bz_txn_own_at(const struct blitz_txn *txn, const struct blitz_table *table,
                          uint64_t position, uint64_t *offp);

/* The first place of the row KEY, read at OFF: the same whenever this transaction asks, but
 * for rows that it has inserted.
 */
uint64_t bz_txn_origin(const struct blitz_txn *txn, const struct blitz_table *table,
                       const struct bz_key *key, uint64_t off);

/* How many keys of TABLE it has changed; and the block with the row of change I, 0
 * if that change did not add a row.
 */
uint32_t bz_txn_change_count(const struct blitz_txn *txn, const struct blitz_table *table);
uint64_t bz_txn_added_row(const struct blitz_txn *txn, const struct blitz_table *table, uint32_t i);

/* Has TXN, which may be NULL, changed TABLE? */
bool bz_txn_changes(const struct blitz_txn *txn, const struct blitz_table *table);

/* Puts all that it has loaded into its place, so that a scan finds it. */
void bz_txn_settle(struct blitz_txn *txn, const struct blitz_table *table);

/* Is it loading TABLE (load.c)? */
bool bz_txn_loads(const struct blitz_txn *txn, const struct blitz_table *table);

/* Index INDEX_NO of TABLE as TXN, which has changed TABLE, sees it: no other of the source's
 * indexes may be read. And how many times it has changed entries.
 */
enum blitz_rc bz_txn_source(const struct blitz_txn *txn, const struct blitz_table *table,
                            unsigned index_no, struct bz_source *source,
                            struct blitz_error *err) BLITZ_MUST_CHECK;
uint64_t bz_txn_entry_changes(const struct blitz_txn *txn, const struct blitz_table *table);

/* ---- change.c: changes that are not in blitz.h ------------------------------------------ */

/* Inserts a row of which the caller made the key, in a table with row ids too. */
enum blitz_rc bz_insert(struct blitz_txn *txn, struct blitz_table *table, struct blitz_slice key,
                        struct blitz_slice value, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Changes of a row that was read as READ (NULL: unknown), which saves looking for it, and checking
 * it again.
 */
enum blitz_rc bz_update(struct blitz_txn *txn, struct blitz_table *table, const struct bz_key *key,
                        const struct bz_row *read, struct blitz_slice new_key,
                        struct blitz_slice value, struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc bz_remove(struct blitz_txn *txn, struct blitz_table *table, const struct bz_key *key,
                        const struct bz_row *read, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Removes all entries, and a row without its entries; for blitz_remove_all(). */
enum blitz_rc bz_remove_entries(struct blitz_txn *txn, struct blitz_table *table,
                                struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc bz_remove_alone(struct blitz_txn *txn, struct blitz_table *table,
                              const struct bz_key *key, const struct bz_row *read,
                              struct blitz_error *err) BLITZ_MUST_CHECK;

/* ---- pins.c: moments of all tables ------------------------------------------------------- */

/* Around making a commit seen: bz_moments_pin() for each of its tables, then its number. */
void bz_moments_begin(void);
void bz_moments_pin(struct blitz_table *table);
void bz_moments_end(void);

/* Before a table is closed (M3). */
void bz_moments_forget(struct blitz_table *table);

/* A moment after all commits that are seen; NULL: out of memory. It ends by blitz_moment_end(). */
struct blitz_moment *bz_moment_new(void);

/* Has no commit of TABLE been seen since MOMENT? */
bool bz_moment_is_now(const struct blitz_moment *moment, const struct blitz_table *table);

/* Takes a snapshot of TABLE as MOMENT sees it. BLITZ_CHANGED: the table was closed since, after a
 * commit; BLITZ_NOMEM: it could not be kept.
 */
enum blitz_rc bz_moment_snapshot(const struct blitz_moment *moment, struct blitz_table *table,
                                 struct bz_snapshot *snapshot) BLITZ_MUST_CHECK;

/* ---- for who changes the indexes alone --------------------------------------------------- */

/* Takes the writer slot of TABLE for TXN, which changes no row. */
enum blitz_rc bz_txn_take(struct blitz_txn *txn, struct blitz_table *table,
                          struct blitz_error *err) BLITZ_MUST_CHECK;

/* Commits INDEX_TXN, which may be NULL, with a number of its own; the rows stay as they are.
 * For the writer. A failure gives it up.
 */
enum blitz_rc bz_publish(struct blitz_table *table, struct MDB_txn *index_txn,
                         struct blitz_error *err) BLITZ_MUST_CHECK;

#endif /* BZ_TXN_H */
