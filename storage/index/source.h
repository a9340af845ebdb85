/* SPDX-License-Identifier: GPL-2.0-only
 *
 * source.h: an index as somebody sees it: what the file has, with the deltas laid over it (X7). For
 * who reads at one moment, and for a transaction, whose own changes lie on top.
 *
 * For one thread at a time.
 */
#ifndef BZ_INDEX_SOURCE_H
#define BZ_INDEX_SOURCE_H

#include "index/deltas.h"
#include "index/index.h"

#define BZ_SOURCE_DELTAS 3

struct bz_source
{
  struct MDB_txn *txn;
  struct bz_walk_commit commit;               /* that TXN keeps, unless IN_WRITE */
  struct bz_deltas *deltas[BZ_SOURCE_DELTAS]; /* the newest first; NULL: none */
  uint64_t numbers[BZ_SOURCE_DELTAS];         /* versions up to that are seen */
  uint64_t serial;                            /* no two sources have the same */
  bool in_write; /* TXN is a write transaction, which is read by LMDB's cursors */
};

/* A number for a source that is another one than all before it. */
uint64_t bz_source_serial(void);

/* What VIEW has, up to commit SEQ; the serial is the caller's. */
struct bz_source bz_source_of_view(const struct bz_index_view *view, uint64_t seq, uint64_t serial);

/* The entry of a sort key. BLITZ_NOT_FOUND: there is none. */
enum blitz_rc bz_source_get(const struct blitz_table *table, const struct bz_source *source,
                            unsigned index_no, struct blitz_slice sort_key, struct bz_entry *found,
                            struct blitz_error *err) BLITZ_MUST_CHECK;

/* A place in an index, as of a source. */
struct bz_reader
{
  struct MDB_cursor *mc; /* NULL: it walks */
  struct bz_walk walk;
  uint64_t serial;       /* of the source */
  uint64_t write_serial; /* the file's, then */
  unsigned index_no;

  /* Of the deltas that have anything. If none has, the file is all there is. */
  unsigned count;
  struct bz_delta_place places[BZ_SOURCE_DELTAS];
  bool there[BZ_SOURCE_DELTAS]; /* it is at a version */
  struct bz_entry of_file;
  bool file_there;
  bool forward;          /* where the last step went */
  struct blitz_slice at; /* sort key of the entry that was found last */
};

/* Opens READER, which is zeros or was opened before, at no place yet. After a failure too it is to
 * be closed.
 */
enum blitz_rc bz_reader_open(const struct blitz_table *table, const struct bz_source *source,
                             unsigned index_no, struct bz_reader *reader,
                             struct blitz_error *err) BLITZ_MUST_CHECK;
void bz_reader_close(const struct blitz_table *table, struct bz_reader *reader);

/* Seek and step, as bz_tree_seek() and bz_tree_step(). */
enum blitz_rc bz_reader_seek(struct bz_reader *reader, struct blitz_slice key,
                             enum blitz_seek where, struct bz_entry *found) BLITZ_MUST_CHECK;
enum blitz_rc bz_reader_step(struct bz_reader *reader, bool forward,
                             struct bz_entry *found) BLITZ_MUST_CHECK;

#endif /* BZ_INDEX_SOURCE_H */
