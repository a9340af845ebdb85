/* SPDX-License-Identifier: GPL-2.0-only
 *
 * table.h: tables as a whole: opening, closing and naming them, copying their rows, making
 * their indexes. What a program calls of that is in blitz.h, and no other room calls this one.
 *
 * Whoever opens or closes a table has it alone, and counts as its writer: the registry, under
 * a lock of its own (table.c), sees to that. Invariants: table.c.
 */
#ifndef BZ_TABLE_H
#define BZ_TABLE_H

#include "txn/txn.h"

/* ---- table.c, copy.c: tables that are not in the registry ------------------------- */

/* A table of which the file is not open yet. NULL: out of memory. */
struct blitz_table *bz_table_new(const char *path, unsigned flags);
void bz_table_free(struct blitz_table *table);

/* Writes and syncs all, and takes the mark away. False: the file stays marked as open. */
bool bz_table_finish(struct blitz_table *table) BLITZ_MUST_CHECK;

/* Puts a file of this version, with the same rows, in the place of TABLE's, which is of an
 * earlier one. LAYOUT is what the caller says of the rows.
 */
enum blitz_rc bz_convert(struct blitz_table *table, uint64_t layout,
                         struct blitz_error *err) BLITZ_MUST_CHECK;

/* ---- build.c: making indexes from the rows --------------------------------------------- */

/* Makes the indexes of which the bit is set in WHICH, and which are empty, from the rows.
 * REASON, if not NULL, says that the table is being opened and why; if there are rows it goes
 * to the log as a message of that LEVEL.
 */
enum blitz_rc bz_build(struct blitz_table *table, uint64_t which,
                       const struct blitz_indexer *indexer, const char *reason,
                       enum blitz_log_level level, struct blitz_error *err) BLITZ_MUST_CHECK;

#endif /* BZ_TABLE_H */
