/* SPDX-License-Identifier: GPL-2.0-only
 *
 * moves.c: where a transaction's rows are that got other keys; see moves.h.
 *
 * One table of slots serves both offsets. A slot whose row has gone on is left where it
 * is and passed over; it goes when the table is made anew, at the latest when half of
 * it is in use.
 *
 * A change cannot fail for want of memory here: the row is changed, and what is not
 * remembered makes only reads by position fail.
 */
#include "txn/moves.h"
#include "txn/writes.h"

#include <stdlib.h>

#define ROOM_MIN 16

static struct bz_move *find(const struct bz_moves *moves, uint64_t off, bool is_from)
{
  const struct bz_positions *positions = &moves->positions;

  if (moves->count == 0)
    return NULL;
  for (uint32_t slot = bz_positions_first(positions, off); positions->slots[slot] != 0;
       slot = bz_positions_next(positions, slot))
  {
    struct bz_move *move = &moves->list[positions->slots[slot] - 1];
    if (is_from ? move->from == off : move->is_all && move->to == off)
      return move;
  }
  return NULL;
}

const struct bz_move *bz_moves_from(const struct bz_moves *moves, uint64_t off)
{
  return find(moves, off, true);
}

const struct bz_move *bz_moves_to(const struct bz_moves *moves, uint64_t off)
{
  return find(moves, off, false);
}

static void put_position(struct bz_moves *moves, uint64_t off, uint32_t position)
{
  bz_positions_add(&moves->positions, off, position);
  moves->used++;
}

static void put_move(struct bz_moves *moves, struct bz_move move, uint32_t position)
{
  moves->list[position] = move;
  put_position(moves, move.from, position);
  if (move.is_all && move.to != 0)
    put_position(moves, move.to, position);
}

/* Moves that were forgotten leave the list. */
static void fill_positions(struct bz_moves *moves)
{
  uint32_t count = moves->count;

  moves->count = 0;
  moves->used = 0;
  for (uint32_t i = 0; i < count; i++)
    if (moves->list[i].from != 0)
      put_move(moves, moves->list[i], moves->count++);
}

/* Makes room for one more row, or one more place of one. */
static bool reserve(struct bz_moves *moves)
{
  uint32_t room = moves->room > 0 ? moves->room : ROOM_MIN;
  struct bz_move *list;

  if (moves->count < moves->room && moves->used + 2 <= moves->positions.slot_count / 2)
    return true;
  if (moves->count == moves->room && moves->room > 0)
    room *= 2;
  list = room <= UINT32_MAX / 16 ? realloc(moves->list, room * sizeof *list) : NULL;
  if (list == NULL)
    return false;
  moves->list = list;
  moves->room = room;
  if (!bz_positions_renew(&moves->positions, room * 8))
    return false;
  fill_positions(moves);
  return true;
}

void bz_moves_set(struct bz_moves *moves, uint64_t from, uint64_t to, bool is_all)
{
  struct bz_move *move;

  if (!reserve(moves))
  {
    moves->lost = true;
    return;
  }
  move = find(moves, from, true);
  if (move == NULL)
  {
    put_move(moves, (struct bz_move){from, to, is_all}, moves->count++);
    return;
  }
  move->to = to;
  if (is_all && to != 0)
    put_position(moves, to, (uint32_t)(move - moves->list));
}

void bz_moves_forget(struct bz_moves *moves, uint64_t off)
{
  struct bz_move *move = find(moves, off, true);

  if (move != NULL)
    *move = (struct bz_move){0};
}

void bz_moves_clear(struct bz_moves *moves)
{
  free(moves->list);
  free(moves->positions.slots);
  *moves = (struct bz_moves){0};
}

/* ---- what cursors ask -------------------------------------------------------------- */

uint64_t bz_txn_origin(const struct blitz_txn *txn, const struct blitz_table *table,
                       const struct bz_key *key, uint64_t off)
{
  struct bz_writes *writes = bz_txn_writes(txn, table);
  const struct bz_change *change;

  if (writes == NULL || writes->load != NULL)
    return off;
  change = bz_writes_find(writes, key);
  return change != NULL && change->new_off == off ? bz_writes_origin(writes, change) : off;
}

bool bz_txn_forgot(const struct blitz_txn *txn, const struct blitz_table *table)
{
  const struct bz_writes *writes = bz_txn_writes(txn, table);

  return writes != NULL && writes->moves.lost;
}

enum bz_own bz_txn_own_at(const struct blitz_txn *txn, const struct blitz_table *table,
                          uint64_t position, uint64_t *offp)
{
  struct bz_writes *writes = bz_txn_writes(txn, table);
  const struct bz_move *move;
  uint64_t off = position;
  struct bz_row row;
  struct bz_key key;

  *offp = 0;
  if (writes == NULL)
    return BZ_OWN_NONE;
  while ((move = bz_moves_from(&writes->moves, off)) != NULL)
  {
    off = move->to;
    if (off == 0)
      return BZ_OWN_REMOVED;
    if (move->is_all)
      break;
  }
  if (off != position)
  {
    *offp = off;
    return BZ_OWN_ROW;
  }
  if (!bz_block_row(table, position, &row))
    return BZ_OWN_NONE;
  key = bz_key_of_row(&row);
  return bz_txn_own(txn, table, &key, UINT32_MAX, offp);
}
