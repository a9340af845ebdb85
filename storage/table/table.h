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

#include "log/redo.h"
#include "txn/txn.h"

/* ---- table.c, copy.c: tables that are not in the registry ------------------------- */

/* A table of which the file is not open yet. NULL: out of memory. */
struct blitz_table *bz_table_new(const char *path, unsigned flags);
void bz_table_free(struct blitz_table *table);

/* Writes and syncs all, and takes the mark away. False: the file stays marked as open; *ERR, which
 * may be NULL for a table that is not logged, says why that of a logged one does.
 */
bool bz_table_finish(struct blitz_table *table, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Puts a file of this version, with the same rows, in the place of TABLE's, which is of an
 * earlier one. LAYOUT is what the caller says of the rows.
 */
enum blitz_rc bz_convert(struct blitz_table *table, uint64_t layout,
                         struct blitz_error *err) BLITZ_MUST_CHECK;

/* The open tables that are logged and have changed, claimed (rows.h); the array is to be freed.
 * NULL: out of memory.
 */
struct blitz_table **bz_registry_claim(size_t *countp);

/* From where on the log is needed, now that COUNT tables are written, which need it from POSITION
 * on.
 */
uint64_t bz_registry_written(struct blitz_table **tables, size_t count, uint64_t position);

/* Puts a table there that the start has brought to its last commit, for who opens it. */
void bz_registry_leave(struct blitz_table *table);

/* Closes the tables of which the file could not be written when they were, and those that nobody
 * has opened since the start and the last call: who wants one right after the start is not to wait
 * for its close. At the end, when there is no later, those that cannot be written are left to the
 * log.
 */
enum blitz_rc bz_registry_finish(struct blitz_error *err) BLITZ_MUST_CHECK;
void bz_registry_give_up(void);

/* ---- content.c: the data file of a table that is opened --------------------------------- */

/* Are the rows of the file what the caller takes them for? */
enum blitz_rc bz_table_check_layout(const struct blitz_table *table, const struct bz_header *header,
                                    const struct blitz_open_options *options,
                                    struct blitz_error *err) BLITZ_MUST_CHECK;

/* Opens it, and makes it whole if it is not. *TRUST: how far its indexes may be believed then. */
enum blitz_rc bz_table_open_rows(struct blitz_table *table,
                                 const struct blitz_open_options *options,
                                 struct bz_index_trust *trust,
                                 struct blitz_error *err) BLITZ_MUST_CHECK;

/* ---- start.c ------------------------------------------------------------------------- */

/* blitz_start(), with or without the threads that sync the log and write checkpoints. */
enum blitz_rc bz_start(const struct blitz_start_options *options, bool background,
                       struct blitz_error *err) BLITZ_MUST_CHECK;

/* No checkpoints, from after the one that is under way on; or again. */
void bz_checkpoints_hold(bool hold);

/* ---- replay.c: what the log has of tables that a crash has left -------------------------- */

struct bz_replay;

struct bz_replay *bz_replay_begin(void); /* NULL: out of memory */
enum blitz_rc bz_replay_record(void *replay, const struct bz_redo_record *record,
                               struct blitz_error *err) BLITZ_MUST_CHECK;
/* Leaves the tables to who opens them (bz_registry_leave()); how many. */
size_t bz_replay_finish(struct bz_replay *replay);
void bz_replay_free(struct bz_replay *replay); /* NULL is allowed */

/* ---- difference.c ------------------------------------------------------------------------ */

/* Of the row KEY, the value that the struct bz_difference in *VALUE makes, into BUF. It is the new
 * one, or this is an error.
 */
enum blitz_rc bz_difference_value(struct blitz_table *table, struct blitz_slice key,
                                  struct blitz_slice *value, struct bz_buffer *buf,
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
