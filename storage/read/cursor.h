/* SPDX-License-Identifier: GPL-2.0-only
 *
 * cursor.h: what is read of a table: rows and entries of one moment, a view, and what the
 * reader's own transaction has made of them. Private to this room: others read by the
 * functions of blitz.h.
 *
 * A cursor is one thread's at a time, and so are those that share its view. Nothing here wants
 * a lock to be held; snapshot_lock is taken, and the writer slot is tried for (view.c).
 * Invariants: cursor.c; what a view rests on is in docs/LOCKING.md.
 */
#ifndef BZ_CURSOR_H
#define BZ_CURSOR_H

#include "txn/txn.h"

/* A moment of a table: of its rows, and if somebody asked for it of its indexes, the same
 * commit. It is open while somebody uses it.
 */
struct bz_view
{
  struct bz_snapshot snapshot;
  bool has_index;
  struct bz_index_view index;
  uint64_t serial; /* of what is read of the indexes: another one for each commit of theirs */
  uint64_t lookups, misses; /* of rows by entries; added to the counters when it is closed */
  unsigned users;           /* cursors */
};

enum bz_index_mode
{
  BZ_INDEX_NONE, /* no index is being read */
  BZ_INDEX_VIEW, /* the cursor's view */
  BZ_INDEX_OWN,  /* what the cursor's transaction has made of it */
};

#define BZ_AHEAD_MAX 32

/* Copies of entries that were read ahead, so that their rows are fetched at once. */
struct bz_ahead
{
  struct bz_entry entries[BZ_AHEAD_MAX];
  unsigned pos, count;
  unsigned window;     /* how many to read next time; 0: none */
  enum blitz_rc ended; /* what comes after them: BLITZ_END, an error; BLITZ_OK: more entries */
};

struct bz_index_position
{
  enum bz_index_mode mode;
  unsigned index_no;
  bool at_entry; /* `entry` is one */
  bool resting;  /* it was, and the view has been given up since */
  bool reads_rows;
  struct bz_entry entry; /* a copy */
  struct bz_ahead ahead;
  struct bz_reader reader; /* beyond what was read ahead */
  uint64_t own_changes;    /* of the transaction, when `entry` was read */

  /* Where copies are: those in use, and those that are just being made. */
  struct bz_buffer copies, made;
};

struct blitz_cursor
{
  struct blitz_table *table;
  struct blitz_txn *txn;
  struct bz_buffer buf;
  struct bz_row row; /* read last; row.off 0: none */

  struct bz_view own_view;
  struct blitz_cursor *leader; /* whose own_view is used; the cursor itself, usually */
  struct bz_view *view;        /* NULL: none is open for this cursor */
  bool keeps_view;             /* for positions */
  bool keeps_moment;           /* the view stays until the cursor is reset, and look-ups see it */
  const struct blitz_moment *moment; /* of which a view is to be; NULL: each is of now */

  uint64_t scan_off;    /* 0: no scan */
  struct bz_scan watch; /* of its way, while there is one */
  uint64_t scan_rows;   /* of the snapshot, met so far */

  /* The changes that the scan sees: the first ones of this transaction. */
  struct blitz_txn *scan_txn;
  uint32_t scan_changes;
  uint32_t scan_added; /* those of them looked at for rows to add at the end */

  struct bz_index_position index;
};

/* What a view that has the indexes has of them. */
static inline struct bz_source bz_view_source(const struct bz_view *view)
{
  return bz_source_of_view(&view->index, view->serial);
}

/* ---- view.c ------------------------------------------------------------------ */

/* Opens the view for CURSOR, if it is not; with the indexes, if WITH_INDEX. */
enum blitz_rc bz_view_take(struct blitz_cursor *cursor, bool with_index,
                           struct blitz_error *err) BLITZ_MUST_CHECK;

/* The cursor needs it no more. */
void bz_view_leave(struct blitz_cursor *cursor);

/* Nobody reads for now: the view goes, unless it is to be kept. */
void bz_view_rest(struct blitz_cursor *cursor);

/* Takes the indexes for the view, or takes them anew, as of the same moment (X9). */
enum blitz_rc bz_view_refresh(struct blitz_cursor *cursor) BLITZ_MUST_CHECK;

/* The row at a position, as it was when it was taken. */
enum blitz_rc bz_view_row_at(struct blitz_cursor *cursor, uint64_t position,
                             struct bz_row *row) BLITZ_MUST_CHECK;

/* The row KEY, with its hash, as the cursor's view has it. */
enum blitz_rc bz_view_key(struct blitz_cursor *cursor, const struct bz_key *key,
                          struct bz_row *row) BLITZ_MUST_CHECK;

/* The row KEY as the cursor's view has it, which a hint says is at OFF. ROW stays valid until
 * the view is closed or the cursor reads something else.
 */
enum blitz_rc bz_view_row(struct blitz_cursor *cursor, struct blitz_slice key, uint64_t off,
                          struct bz_row *row) BLITZ_MUST_CHECK;

/* ---- cursor.c, for index_cursor.c ---------------------------------------------- */

/* Forgets the scan, if there is one. */
void bz_cursor_stop_scan(struct blitz_cursor *cursor);

/* Reads the row KEY as it is at this moment, the cursor's transaction's change included. */
enum blitz_rc bz_cursor_read_key(struct blitz_cursor *cursor, struct blitz_slice key,
                                 struct blitz_error *err) BLITZ_MUST_CHECK;

/* ---- index_cursor.c ---------------------------------------------------------------- */

/* Forgets what is being read of an index; frees what is kept for it. */
void bz_index_position_reset(struct blitz_cursor *cursor);
void bz_index_position_free(struct blitz_cursor *cursor);

/* Reads the row of the entry at the cursor, if it has not been. */
enum blitz_rc bz_index_need_row(struct blitz_cursor *cursor,
                                struct blitz_error *err) BLITZ_MUST_CHECK;

#endif /* BZ_CURSOR_H */
