/* SPDX-License-Identifier: GPL-2.0-only
 *
 * moves.h: where a transaction's rows are that got other keys. For writes.h, change.c
 * and moves.c; cursors ask by the functions in txn.h.
 *
 * A committed row is known to a statement by its block, the row's origin. While it keeps
 * its key, the change of that key says where it is by now. Here stand the others: rows
 * whose keys were changed, and removed ones whose keys other rows have got since. Rows that
 * the transaction has inserted may stand here several times, a block leading to the next,
 * as far as the blocks have not been used again.
 */
#ifndef BZ_MOVES_H
#define BZ_MOVES_H

#include "base/positions.h"

struct bz_move
{
  uint64_t from;
  uint64_t to; /* the row's next block; 0: it was removed */
  bool is_all; /* FROM is the origin of a committed row, and TO where it is now */
};

struct bz_moves
{
  struct bz_move *list;
  uint32_t count, room;
  struct bz_positions positions; /* in the list, by either offset; some are out of date */
  uint32_t used;                 /* slots of them */
  bool lost;                     /* memory ran out: what is here is not all */
};

/* Where the row that was at OFF went; NULL: that is not here. */
const struct bz_move *bz_moves_from(const struct bz_moves *moves, uint64_t off);

/* The committed row that is now in the block at OFF; NULL: it is not here. */
const struct bz_move *bz_moves_to(const struct bz_moves *moves, uint64_t off);

void bz_moves_set(struct bz_moves *moves, uint64_t from, uint64_t to, bool is_all);

/* The block at OFF becomes another row: it was given up while nobody knew its position. */
void bz_moves_forget(struct bz_moves *moves, uint64_t off);

void bz_moves_clear(struct bz_moves *moves);

#endif /* BZ_MOVES_H */
