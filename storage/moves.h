/* SPDX-License-Identifier: GPL-2.0-only
 *
 * moves.h: where a transaction's rows are that got other keys. For txn.h, change.c and
 * moves.c; cursor.c asks by the functions in blitz_int.h.
 *
 * A row is known to a statement by its first block (its origin): the committed one, or the
 * one that the transaction inserted. While a committed row keeps its key, the change of
 * that key says where it is by now. Here stand the others: rows whose keys were changed,
 * removed ones whose keys other rows have got since, and new ones that have changed.
 */
#ifndef BZ_MOVES_H
#define BZ_MOVES_H

#include <stdbool.h>
#include <stdint.h>

struct bz_move
{
  uint64_t origin;
  uint64_t current; /* the row's block; 0: it was removed */
};

struct bz_moves
{
  struct bz_move *list;
  uint32_t count, room;
  uint32_t *slots; /* positions + 1 in the list, by either offset; some are out of date */
  uint32_t slot_count, used;
  bool lost; /* memory ran out: what is here is not all */
};

/* The row of which the origin is OFF; NULL: it is not here. */
const struct bz_move *bz_moves_of_origin(const struct bz_moves *moves, uint64_t off);

/* The row that is in the block at OFF; NULL: it is not here. */
const struct bz_move *bz_moves_of_current(const struct bz_moves *moves, uint64_t off);

/* The row of which the origin is ORIGIN is now at CURRENT. */
void bz_moves_set(struct bz_moves *moves, uint64_t origin, uint64_t current);

/* The block at OFF becomes a new row. The one that had it was given up while nobody knew its
 * position, and gets another origin.
 */
void bz_moves_forget(struct bz_moves *moves, uint64_t off);

void bz_moves_clear(struct bz_moves *moves);

#endif /* BZ_MOVES_H */
