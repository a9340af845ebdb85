/* SPDX-License-Identifier: GPL-2.0-only
 *
 * logging.h: the records that a commit leaves in the log (log/record.h). For commit.c.
 *
 * The entries of indexes that a commit has in memory are logged behind its rows. Those that go to
 * the index file are not: who reads the log finds by the index file's number whether they are
 * there.
 *
 * What can fail for want of space or memory is done by bz_log_changes(), but for a single table of
 * which nothing goes to an index file, so that nothing else could be in vain. Between it and
 * bz_log_commit() come the entries of index files: once these are committed the log has room for
 * the last record.
 */
#ifndef BZ_LOGGING_H
#define BZ_LOGGING_H

#include "log/redo.h"
#include "txn/writes.h"

/* One of the tables of a commit. */
struct bz_commit_part
{
  struct blitz_table *table;
  struct bz_writes *writes;      /* NULL: its indexes alone change */
  struct MDB_txn *index_txn;     /* NULL: they do not, or in memory: */
  const struct bz_deltas *own;   /* NULL: they do not */
  struct bz_index_copies copies; /* of these */
  uint64_t seq;
  uint64_t row_count; /* without WRITES: as it was */
  bool has_entries;   /* those of INDEX_TXN are committed */
};

struct bz_logging
{
  struct bz_buffer *buf; /* the caller's, for the changes */
  struct bz_redo *redo;  /* NULL: none of the tables is logged */
  size_t len;            /* of what is in the buffer */
  size_t piece_len;      /* of changes that are logged at once */
  uint64_t tag;
  uint32_t tables; /* that are logged */
  bool in_commit;  /* the last changes are in the record that says they are committed */
  size_t kept;     /* room in the log; 0: there is none */
  uint8_t *record; /* memory for what is said of several tables; NULL: of one */
};

/* The number of the next commit of a table. */
static inline uint64_t bz_next_commit(const struct blitz_table *table)
{
  return atomic_load_explicit(&table->committed, memory_order_relaxed) + 1;
}

/* How many rows the table has after the commit. */
static inline uint64_t bz_rows_after(const struct bz_commit_part *part)
{
  if (part->writes == NULL)
    return part->row_count;
  return atomic_load_explicit(&part->table->row_count, memory_order_relaxed) +
         (uint64_t)part->writes->row_delta;
}

/* Logs the changes of a commit; of LOGGING, buf alone is set. */
enum blitz_rc bz_log_changes(struct bz_logging *logging, const struct bz_commit_part *parts,
                             unsigned count, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Logs that they are committed: returns when that is written, or on the device, as the tables want
 * it (T5). If LATERP is not NULL and they want it on the device, that is left to the caller, and
 * *LATERP becomes the record's end.
 */
enum blitz_rc bz_log_commit(struct bz_logging *logging, const struct bz_commit_part *parts,
                            unsigned count, uint64_t *laterp,
                            struct blitz_error *err) BLITZ_MUST_CHECK;

/* To be called at last, whatever has failed. */
void bz_log_end(struct bz_logging *logging);

#endif /* BZ_LOGGING_H */
