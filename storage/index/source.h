/* SPDX-License-Identifier: GPL-2.0-only
 *
 * source.h: an index as somebody sees it: what the file has, with the undo and the deltas laid over
 * it (X7). For who reads at one moment, and for a transaction, whose own changes lie on top.
 *
 * What is found in the file may be gone already (X9): it is to be copied, and then the caller asks
 * whether it is to be believed. BLITZ_CHANGED, like a no to that: a view of the same moment is to
 * be taken anew, and what was asked for is to be looked for again.
 *
 * For one thread at a time.
 */
#ifndef BZ_INDEX_SOURCE_H
#define BZ_INDEX_SOURCE_H

#include "index/deltas.h"
#include "index/index.h"
#include "index/undo.h"

#define BZ_SOURCE_DELTAS 3

struct bz_source
{
  struct MDB_txn *txn;          /* a write transaction, which is read by LMDB's cursors; or NULL: */
  struct bz_walk_commit commit; /* the file's */
  bool kept;                    /* that is, while the view is open */
  bool is_earlier;              /* what is seen is, than the file: by the undo */
  uint64_t seq;                 /* of the rows, for the undo */
  struct bz_deltas *deltas[BZ_SOURCE_DELTAS]; /* the newest first; NULL: none */
  uint64_t numbers[BZ_SOURCE_DELTAS];         /* versions up to that are seen */
  uint64_t serial;                            /* no two sources have the same */
};

/* A number for a source that is another one than all before it. */
uint64_t bz_source_serial(void);

/* What VIEW has; the serial is the caller's. */
struct bz_source bz_source_of_view(const struct bz_index_view *view, uint64_t serial);

/* Is what was found in it to be believed? */
static inline bool bz_source_is_kept(const struct blitz_table *table,
                                     const struct bz_source *source)
{
  return source->txn != NULL || source->kept ||
         bz_index_is_kept(table->index, source->commit.number);
}

/* The entry of a sort key, copied to BUF. BLITZ_NOT_FOUND: there is none. BLITZ_CHANGED: see above.
 */
enum blitz_rc bz_source_get(const struct blitz_table *table, const struct bz_source *source,
                            unsigned index_no, struct blitz_slice sort_key, struct bz_buffer *buf,
                            struct bz_entry *found, struct blitz_error *err) BLITZ_MUST_CHECK;

/* A place in an index, as of a source. */
struct bz_reader
{
  const struct bz_index_file *file;
  struct MDB_cursor *mc; /* NULL: it walks */
  struct bz_walk walk;
  uint64_t serial;       /* of the source */
  uint64_t write_serial; /* the file's, then */
  unsigned index_no;

  uint64_t lmdb_number; /* of the file's commit */
  bool kept;            /* that is */

  /* What is laid over the file: the deltas that have anything, the newest first, and the undo. If
   * there is nothing, the file is all there is.
   */
  unsigned count;
  struct bz_delta_place places[BZ_SOURCE_DELTAS];
  bool there[BZ_SOURCE_DELTAS]; /* it is at a version */
  bool has_undo, undo_there;
  struct bz_undo_place undo;
  bool file_there;
  struct bz_entry of_file; /* a copy, in file_buf */
  struct bz_buffer file_buf;
  bool forward;       /* where the last seek or step went */
  unsigned at_layers; /* bit n: layer n is at the entry that was found last */
};

/* Is what was found to be believed, now that it is copied? */
static inline bool bz_reader_is_kept(const struct bz_reader *reader)
{
  return reader->mc != NULL || reader->kept || bz_index_is_kept(reader->file, reader->lmdb_number);
}

/* Has the reader nothing but the file? */
static inline bool bz_reader_is_plain(const struct bz_reader *reader)
{
  return reader->count == 0 && !reader->has_undo;
}

/* Opens READER, which is zeros or was opened before, at no place yet. After a failure too it is to
 * be closed.
 */
enum blitz_rc bz_reader_open(const struct blitz_table *table, const struct bz_source *source,
                             unsigned index_no, struct bz_reader *reader,
                             struct blitz_error *err) BLITZ_MUST_CHECK;
void bz_reader_close(const struct blitz_table *table, struct bz_reader *reader);

/* Seek and step, as bz_tree_seek() and bz_tree_step(); but who turns has to seek, unless the reader
 * is plain. BLITZ_CHANGED: see above.
 */
enum blitz_rc bz_reader_seek(struct bz_reader *reader, struct blitz_slice key,
                             enum blitz_seek where, struct bz_entry *found) BLITZ_MUST_CHECK;
enum blitz_rc bz_reader_step(struct bz_reader *reader, bool forward,
                             struct bz_entry *found) BLITZ_MUST_CHECK;

#endif /* BZ_INDEX_SOURCE_H */
