/* SPDX-License-Identifier: GPL-2.0-only
 *
 * grow.c: a bucket array that grows with its table, a little at each change, by
 * linear hashing (Litwin, 1980).
 *
 * In a closed file the array stands before the rows. While the table is open those buckets
 * stay where they are, and each round, which doubles them, has a block of its own for the
 * new ones: a segment, somewhere among the rows. So growing moves no row, and readers do
 * not keep it from going on. When the table is closed the rows at the front make room, and
 * the array is put together there.
 *
 * Invariants:
 *  G1. A round begins with a power of two of buckets, when there are more rows than
 *     that, and ends with twice as many. The header has the number of those at the front:
 *     Tokyo Cabinet knows no state between.
 *  G2. A segment is a block of state BZ_STATE_BUCKETS: for scans, for recovery and for Tokyo
 *     Cabinet a free block, in which there is no row.
 *  G3. Blocks before `first` are nobody's. It moves only while nobody reads, or while there
 *     are no blocks.
 */
#include "base/counters.h"
#include "rows/hash.h"
#include "rows/space.h"

#define SEGMENT_BUCKETS_MAX (UINT64_C(1) << 28) /* fit into a block */

static uint64_t bucket_count_of(const struct blitz_table *table)
{
  return atomic_load_explicit(&table->bucket_count, memory_order_relaxed);
}

static uint64_t front_buckets_of(const struct blitz_table *table)
{
  return atomic_load_explicit(&table->front_buckets, memory_order_relaxed);
}

static bool is_power_of_two(uint64_t n)
{
  return (n & (n - 1)) == 0;
}

/* Blocks tile the file from there on. */
static void set_first(struct blitz_table *table, uint64_t first)
{
  assert(first > atomic_load(&table->first) && first <= atomic_load(&table->end));
  bz_put_be64(table, BZ_TC_FIRST_OFF, first);
  atomic_store_explicit(&table->first, first, memory_order_release);
}

static void set_front_buckets(struct blitz_table *table, uint64_t count)
{
  bz_put_be64(table, BZ_TC_BUCKET_COUNT_OFF, count);
  atomic_store_explicit(&table->front_buckets, count, memory_order_relaxed);
}

/* Where blocks may begin behind an array of COUNT buckets. */
static uint64_t first_behind(uint64_t count)
{
  uint64_t len = BZ_HEADER_LEN + count * BZ_BUCKET_LEN + BZ_POOL_LEN;

  return (len + BZ_ALIGN - 1) / BZ_ALIGN * BZ_ALIGN;
}

/* ---- while the table is open ------------------------------------------------------ */

/* Is there a place for the buckets of the round that begins with COUNT of them? */
static bool have_segment(struct blitz_table *table, uint64_t count)
{
  atomic_ullong *segment = &table->segments[bz_log2(count)];
  uint64_t off;

  if (count < front_buckets_of(table) || atomic_load_explicit(segment, memory_order_relaxed) != 0)
    return true;
  if (count > SEGMENT_BUCKETS_MAX ||
      bz_space_alloc(table, BZ_SEGMENT_HEAD_LEN + count * BZ_BUCKET_LEN, &off, NULL) != BLITZ_OK)
    return false;
  /* Each leads to the one before it (image.c). */
  bz_put_word(table, off + 8,
              htole64(count > front_buckets_of(table) ? segment[-1] - BZ_SEGMENT_HEAD_LEN : 0));
  bz_put_word(table, off,
              bz_free_word(BZ_SEGMENT_HEAD_LEN + count * BZ_BUCKET_LEN, BZ_STATE_BUCKETS));
  /* Released to readers by the number of buckets. */
  atomic_store_explicit(segment, off + BZ_SEGMENT_HEAD_LEN, memory_order_relaxed);
  return true;
}

void bz_grow(struct blitz_table *table, uint64_t rows, uint64_t budget)
{
  bz_assert_writer(table);
  for (; budget > 0; budget--)
  {
    uint64_t count = bucket_count_of(table);

    if (is_power_of_two(count) &&
        (rows <= count || count >= BZ_BUCKETS_MAX || !have_segment(table, count)))
      return;
    if (!bz_hash_split(table))
      return;
    bz_count(&bz_counters.bucket_splits, 1);
  }
}

void bz_buckets_clear(struct blitz_table *table, uint64_t count)
{
  uint64_t front = front_buckets_of(table);

  bz_assert_writer(table);
  bz_put_zeros(table, BZ_HEADER_LEN, (count < front ? count : front) * BZ_BUCKET_LEN);
  for (uint64_t from = front; from < count; from *= 2)
    bz_put_zeros(table, bz_bucket_off(table, from),
                 (count - from < from ? count - from : from) * BZ_BUCKET_LEN);
}

/* Moves the beginning of a file without blocks behind an array of COUNT buckets, if it is not
 * there: what a close clears before the blocks are whole ones, and may be more than was wanted.
 */
static bool make_front(struct blitz_table *table, uint64_t count)
{
  uint64_t first = first_behind(count);
  bool empty;

  pthread_mutex_lock(&table->snapshot_lock);
  empty = LIST_EMPTY(&table->snapshots) && front_buckets_of(table) == bucket_count_of(table) &&
          atomic_load(&table->first) == atomic_load(&table->end) &&
          bz_file_reserve(table, first, NULL) == BLITZ_OK;
  if (empty)
  {
    bz_space_append_dropped(table, first);
    if (first > atomic_load(&table->first))
      set_first(table, first);
    set_front_buckets(table, count);
  }
  pthread_mutex_unlock(&table->snapshot_lock);
  return empty;
}

void bz_grow_empty(struct blitz_table *table, uint64_t rows)
{
  uint64_t count = bucket_count_of(table), wanted = count;

  bz_assert_writer(table);
  if (!is_power_of_two(count))
    return;
  while (wanted < rows && wanted < BZ_BUCKETS_MAX)
    wanted *= 2;
  if (wanted == count)
    return;
  if (!make_front(table, wanted))
    for (uint64_t from = count; from < wanted; from *= 2)
      if (!have_segment(table, from))
        wanted = from;
  bz_buckets_clear(table, wanted);
  atomic_store_explicit(&table->bucket_count, wanted, memory_order_release);
}

/* ---- when it is closed -------------------------------------------------------------- */

/* Copies the block at OFF, but for its first two words, into a new one at the end. */
static bool copy_to_end(struct blitz_table *table, uint64_t off, uint64_t len, uint64_t *new_offp)
{
  uint8_t *base;

  if (bz_space_alloc_at_end(table, len, new_offp, NULL) != BLITZ_OK)
    return false;
  base = bz_base(table);
  bz_note(table, *new_offp, len);
  memcpy(base + *new_offp + BZ_ALIGN, base + off + BZ_ALIGN, len - BZ_ALIGN);
  return true;
}

/* The row keeps its number. A killed process leaves two copies at most, and recovery takes
 * either (R4).
 */
static bool move_row(struct blitz_table *table, const struct bz_row *old)
{
  struct bz_key key = bz_key_of_row(old);
  struct bz_place place;
  struct bz_row row;
  uint64_t new_off;

  /* A row that does not hang where it should cannot move. */
  if (bz_hash_find(table, &key, &place) != BLITZ_OK || place.row.off != old->off ||
      !copy_to_end(table, old->off, old->len, &new_off) ||
      !bz_row_parse(bz_base(table), new_off, atomic_load(&table->end), &row))
    return false;
  bz_row_moved(bz_base(table), &row, old->off); /* noted by copy_to_end() */
  key = bz_key_of_row(&row);
  bz_hash_replace(table, key.hash, &place, new_off);
  bz_count(&bz_counters.rows_moved, 1);
  return true;
}

static bool move_segment(struct blitz_table *table, uint64_t off, uint64_t len)
{
  for (unsigned n = 0; n < sizeof table->segments / sizeof *table->segments; n++)
  {
    uint64_t new_off;

    if (atomic_load(&table->segments[n]) != off + BZ_SEGMENT_HEAD_LEN)
      continue;
    if (!copy_to_end(table, off, len, &new_off))
      return false;
    bz_put_word(table, new_off, bz_free_word(len, BZ_STATE_BUCKETS));
    atomic_store(&table->segments[n], new_off + BZ_SEGMENT_HEAD_LEN);
    return true;
  }
  return false;
}

/* Makes the block at `first`, or as much of it as is wanted, part of the room before it. */
static bool clear_first_block(struct blitz_table *table, uint64_t wanted)
{
  uint64_t off = atomic_load(&table->first), end = atomic_load(&table->end), len;
  uint64_t word = bz_word_load(bz_base(table), off);
  struct bz_row row;

  if (bz_word_magic(word) == BZ_ROW_MAGIC)
  {
    if (!bz_row_parse(bz_base(table), off, end, &row) || !move_row(table, &row))
      return false;
    len = row.len;
  }
  else if (bz_word_magic(word) != BZ_FREE_MAGIC)
    return false;
  else
  {
    len = bz_free_word_len(word);
    if (len == 0 || len % BZ_ALIGN != 0 || len > end - off)
      return false; /* damaged */
    switch (bz_free_word_state(word))
    {
    case BZ_STATE_FREE:
      if (len > wanted - off)
        len = wanted - off;
      if (!bz_space_forget(table, off, len))
        return false;
      break;
    case BZ_STATE_BUCKETS:
      if (!move_segment(table, off, len))
        return false;
      break;
    default: break; /* a row that nobody reads any more */
    }
  }
  set_first(table, off + len);
  return true;
}

/* Makes room for an array of COUNT buckets before the first block. */
static bool clear_front(struct blitz_table *table, uint64_t count)
{
  uint64_t wanted = first_behind(count);

  /* What moves to the end keeps it behind the first block. */
  while (atomic_load(&table->first) < wanted)
    if (!clear_first_block(table, wanted))
      return false;
  return true;
}

bool bz_grow_finish(struct blitz_table *table)
{
  uint64_t front = front_buckets_of(table), count;
  uint8_t *base;

  bz_assert_writer(table);
  bz_grow(table, 0, UINT64_MAX);
  count = bucket_count_of(table);
  if (!is_power_of_two(count))
    return false;
  if (count > front && !clear_front(table, count))
    return false;
  base = bz_base(table);
  if (count > front)
    bz_note(table, BZ_HEADER_LEN + front * BZ_BUCKET_LEN, (count - front) * BZ_BUCKET_LEN);
  for (uint64_t from = front; from < count; from *= 2)
    memcpy(base + BZ_HEADER_LEN + from * BZ_BUCKET_LEN, base + bz_bucket_off(table, from),
           from * BZ_BUCKET_LEN);
  set_front_buckets(table, count);
  for (uint64_t from = front; from < count; from *= 2)
  {
    bz_space_free(table, atomic_load(&table->segments[bz_log2(from)]) - BZ_SEGMENT_HEAD_LEN);
    atomic_store(&table->segments[bz_log2(from)], 0);
  }
  return true;
}
