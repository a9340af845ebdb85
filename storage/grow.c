/* SPDX-License-Identifier: GPL-2.0-only
 *
 * grow.c: a bucket array that grows with its table, a little at each change, by
 * linear hashing (Litwin, 1980). The array stands before the rows, so it grows
 * into the place of the first rows, which move to the end of the file first.
 *
 * Invariants:
 *  1. A round begins with a power of two of buckets, when there are more rows than
 *     that, and ends with twice as many. Only then does the header's number
 *     change: Tokyo Cabinet knows no state between.
 *  2. Blocks before `first` are nobody's. It moves only while no snapshot is open.
 *  3. A row that moves keeps its number. A killed process leaves two copies at
 *     most, and recovery takes either.
 */
#include "blitz_int.h"
#include "bytes.h"

#include <string.h>

static void set_first(struct blitz_table *table, uint64_t first)
{
  bz_store_be64(bz_base(table) + BZ_TC_FIRST_OFF, first);
  atomic_store_explicit(&table->first, first, memory_order_release);
}

/* Copies the row at OFF to the end. */
static bool copy_to_end(struct blitz_table *table, const struct bz_row *row, uint64_t *offp)
{
  uint8_t *base;

  if (bz_space_alloc_at_end(table, row->len, offp, NULL) != BLITZ_OK)
    return false;
  base = bz_base(table);
  memcpy(base + *offp + BZ_ROW_PADDING_OFF, base + row->off + BZ_ROW_PADDING_OFF,
         row->len - BZ_ROW_PADDING_OFF);
  bz_count(&bz_counters.rows_moved, 1);
  return true;
}

static bool move_live_row(struct blitz_table *table, struct blitz_txn *txn, uint64_t off)
{
  struct bz_row row;
  struct bz_place place;
  struct bz_key key;
  uint64_t new_off;

  if (!bz_row_parse(bz_base(table), off, atomic_load(&table->end), &row))
    return false;
  key = bz_key_of_row(&row);
  /* A row that does not hang where it should cannot move. */
  if (bz_hash_find(table, &key, &place) != BLITZ_OK || place.row.off != off ||
      !copy_to_end(table, &row, &new_off) ||
      !bz_row_parse(bz_base(table), new_off, atomic_load(&table->end), &row))
    return false;
  bz_row_moved(bz_base(table), &row, off);
  bz_hash_replace(table, key.hash, &place, new_off);
  bz_txn_moved(txn, table, &key, off, new_off);
  return true;
}

static bool move_inflight_row(struct blitz_table *table, struct blitz_txn *txn, uint64_t off)
{
  struct bz_row row;
  struct bz_key key;
  uint64_t new_off;

  if (txn == NULL || !bz_row_parse(bz_base(table), off, atomic_load(&table->end), &row) ||
      !copy_to_end(table, &row, &new_off) ||
      !bz_row_parse(bz_base(table), new_off, atomic_load(&table->end), &row))
    return false;
  key = bz_key_of_row(&row);
  bz_txn_moved(txn, table, &key, off, new_off);
  return true;
}

/* Makes the block at `first`, or as much of it as is wanted, part of the room
 * before it.
 */
static bool clear_first_block(struct blitz_table *table, struct blitz_txn *txn, uint64_t wanted)
{
  uint64_t off = atomic_load_explicit(&table->first, memory_order_relaxed);
  uint64_t word, len;
  struct bz_row row;

  if (off == atomic_load_explicit(&table->end, memory_order_relaxed))
  {
    uint64_t end = (wanted + BZ_ALIGN - 1) / BZ_ALIGN * BZ_ALIGN;
    if (bz_file_reserve(table, end, NULL) != BLITZ_OK)
      return false;
    bz_file_set_end(table, end);
    set_first(table, end);
    return true;
  }
  word = bz_word_load(bz_base(table), off);
  if (bz_word_magic(word) == BZ_ROW_MAGIC)
  {
    if (!bz_row_parse(bz_base(table), off, atomic_load(&table->end), &row) ||
        !move_live_row(table, txn, off))
      return false;
    len = row.len;
  }
  else if (bz_word_magic(word) != BZ_FREE_MAGIC)
    return false;
  else
  {
    len = bz_free_word_len(word);
    switch (bz_free_word_state(word))
    {
    case BZ_STATE_FREE:
      if (len > wanted - off)
        len = (wanted - off + BZ_ALIGN - 1) / BZ_ALIGN * BZ_ALIGN;
      if (!bz_space_forget(table, off, len))
        return false;
      break;
    case BZ_STATE_INFLIGHT:
      if (!move_inflight_row(table, txn, off))
        return false;
      break;
    default: return false; /* not reclaimed yet: later */
    }
  }
  set_first(table, off + len);
  return true;
}

static bool make_room(struct blitz_table *table, struct blitz_txn *txn, uint64_t wanted)
{
  bool done = true;

  if (wanted <= atomic_load_explicit(&table->first, memory_order_relaxed))
    return true;
  pthread_mutex_lock(&table->snapshot_lock);
  if (table->snapshots != NULL)
    done = false;
  while (done && atomic_load_explicit(&table->first, memory_order_relaxed) < wanted)
    done = clear_first_block(table, txn, wanted);
  pthread_mutex_unlock(&table->snapshot_lock);
  return done;
}

void bz_grow(struct blitz_table *table, struct blitz_txn *txn, uint64_t rows, uint64_t budget)
{
  uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_relaxed);

  for (; budget > 0; budget--)
  {
    bool between_rounds = (count & (count - 1)) == 0;

    if (between_rounds && (rows <= count || count >= BZ_BUCKETS_MAX))
      return;
    if (!make_room(table, txn, BZ_HEADER_LEN + (count + 1) * BZ_BUCKET_LEN + BZ_POOL_LEN))
      return;
    bz_hash_split(table);
    bz_count(&bz_counters.bucket_splits, 1);
    count++;
    if ((count & (count - 1)) == 0)
      bz_store_be64(bz_base(table) + BZ_TC_BUCKET_COUNT_OFF, count);
  }
}

bool bz_grow_finish(struct blitz_table *table)
{
  uint64_t count;

  bz_grow(table, NULL, 0, UINT64_MAX);
  count = atomic_load(&table->bucket_count);
  return (count & (count - 1)) == 0;
}
