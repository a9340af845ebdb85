/* SPDX-License-Identifier: GPL-2.0-only
 *
 * space.c: the free space of a data file: which blocks may be used, which
 * removed rows snapshots still read, and the list of free blocks that a closed
 * file carries behind its last block.
 *
 * Invariants:
 *  1. All blocks of state BZ_STATE_FREE, and no others, are in the bin for their
 *     length, once, and count in free_len. Word 1 of each is its position there.
 *     What is found inside a block is never taken for one: values may hold
 *     anything, even a copy of such a file. In a table that was taken up after a crash there
 *     are blocks between walk_off and walk_end that say they are free, or were left behind, and
 *     are in no bin: they come into one as the walk comes to them, and not before.
 *  2. A block is cut from its front. Two are joined only where no scan wants a block to
 *     begin (bz_scan_watches()), and the end does not move back while a snapshot is open,
 *     so a scan never finds its next offset in the middle of something.
 *  3. Whatever is stored, blocks tile the file at each moment (R10): a longer length is
 *     stored before the word that it makes superfluous goes.
 *
 * Everything here is the writer's.
 */
#include "base/crc32c.h"
#include "rows/space.h"

#include "base/bytes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SMALL_MAX ((uint64_t)BZ_SMALL_BINS * BZ_ALIGN)
#define LARGE_TRIES 16 /* blocks of one bin looked at for one that is long enough */

/* ---- bins ---------------------------------------------------------------- */

static unsigned small_bin(uint64_t len)
{
  return (unsigned)(len / BZ_ALIGN) - 1;
}

static unsigned large_bin(uint64_t len)
{
  return 63 - (unsigned)__builtin_clzll(len);
}

static struct bz_numbers *bin_for(struct bz_space *space, uint64_t len)
{
  return len <= SMALL_MAX ? &space->small[small_bin(len)] : &space->large[large_bin(len)];
}

/* Notes whether the bin for LEN is empty. */
static void set_mask(struct bz_space *space, uint64_t len, bool empty)
{
  if (len <= SMALL_MAX)
  {
    uint64_t bit = UINT64_C(1) << small_bin(len);
    space->small_mask = empty ? space->small_mask & ~bit : space->small_mask | bit;
  }
  else
  {
    uint32_t bit = UINT32_C(1) << large_bin(len);
    space->large_mask = empty ? space->large_mask & ~bit : space->large_mask | bit;
  }
}

static void change_free_len(struct blitz_table *table, int64_t by)
{
  uint64_t len = atomic_load_explicit(&table->space.free_len, memory_order_relaxed);

  atomic_store_explicit(&table->space.free_len, len + (uint64_t)by, memory_order_relaxed);
}

/* Length of the free block at OFF, where a block begins or the end is; 0: none. */
static uint64_t free_len_at(const struct blitz_table *table, uint64_t off)
{
  uint64_t word;

  if (off >= atomic_load_explicit(&table->end, memory_order_relaxed))
    return 0;
  word = bz_word_load(bz_base(table), off);
  if (bz_word_magic(word) != BZ_FREE_MAGIC || bz_free_word_state(word) != BZ_STATE_FREE ||
      bz_free_word_len(word) % BZ_ALIGN != 0)
    return 0;
  return bz_free_word_len(word);
}

/* The last 8 bytes of a free block say how long it is, for what is behind it: a hint, since
 * there may as well be a row before that.
 */
static uint64_t length_before(const struct blitz_table *table, uint64_t off)
{
  return off < 8 ? 0 : bz_load_le64(bz_base(table) + off - 8);
}

/* Makes LEN bytes at OFF a free block. */
static void put_free(struct blitz_table *table, uint64_t off, uint64_t len)
{
  struct bz_numbers *bin = bin_for(&table->space, len);
  bool in_bin = bz_numbers_push(bin, off);

  assert(off % BZ_ALIGN == 0 && len % BZ_ALIGN == 0 && len >= BZ_ALIGN);
  bz_space_stamp_out(table, off, len);
  /* Without memory its space is lost until the file is opened again. */
  bz_put_word(table, off, bz_free_word(len, in_bin ? BZ_STATE_FREE : BZ_STATE_DROPPED));
  if (!in_bin)
    return;
  bz_put_word(table, off + 8, bin->count - 1);
  if (len > BZ_ALIGN)
    bz_put_le64(table, off + len - 8, len);
  set_mask(&table->space, len, false);
  change_free_len(table, (int64_t)len);
}

/* Is there the free block OFF of LEN bytes? *POSITIONP: where in its bin. A bin knows the
 * lengths of its blocks; what the file says of them can come to harm.
 */
static bool is_free(struct blitz_table *table, uint64_t off, uint64_t len, uint64_t *positionp)
{
  const struct bz_numbers *bin = bin_for(&table->space, len);
  uint64_t position = bz_word_load(bz_base(table), off + 8);

  if (position >= bin->count || bin->items[position] != off)
    return false;
  *positionp = position;
  return true;
}

/* Takes the free block at OFF out of its bin. False: it is not there, so its length is
 * not what it was.
 */
static bool take_out(struct blitz_table *table, uint64_t off, uint64_t len)
{
  struct bz_numbers *bin = bin_for(&table->space, len);
  uint64_t position, last;

  if (!is_free(table, off, len, &position))
    for (position = 0; position < bin->count && bin->items[position] != off; position++)
      ;
  if (position == bin->count)
    return false;
  last = bin->items[--bin->count];
  bin->items[position] = last;
  bz_put_word(table, last + 8, position);
  if (bin->count == 0)
    set_mask(&table->space, len, true);
  change_free_len(table, -(int64_t)len);
  return true;
}

/* The free block that ends at OFF; 0: there is none. */
static uint64_t free_before(struct blitz_table *table, uint64_t off)
{
  uint64_t first = atomic_load_explicit(&table->first, memory_order_relaxed), position;
  uint64_t lens[2] = {BZ_ALIGN, length_before(table, off)};

  for (unsigned i = 0; i < 2; i++)
    if (lens[i] >= BZ_ALIGN && lens[i] % BZ_ALIGN == 0 && lens[i] <= off - first &&
        free_len_at(table, off - lens[i]) == lens[i] &&
        is_free(table, off - lens[i], lens[i], &position))
      return off - lens[i];
  return 0;
}

/* Takes LEN bytes from the front of the free block at OFF. */
static bool cut(struct blitz_table *table, uint64_t off, uint64_t block_len, uint64_t len)
{
  if (!take_out(table, off, block_len))
    return false;
  if (block_len > len)
    put_free(table, off + len, block_len - len);
  bz_put_word(table, off, bz_free_word(len, BZ_STATE_INFLIGHT));
  return true;
}

/* Takes LEN bytes from a block of the bin. 0: none that was looked at is long enough. */
static uint64_t take_from(struct blitz_table *table, struct bz_numbers *bin, uint64_t len)
{
  size_t stop = bin->count > LARGE_TRIES ? bin->count - LARGE_TRIES : 0;

  for (size_t i = bin->count; i > stop; i--)
  {
    uint64_t off = bin->items[i - 1];
    uint64_t block_len = free_len_at(table, off);

    if (block_len >= len && cut(table, off, block_len, len))
      return off;
  }
  return 0;
}

static uint64_t take(struct blitz_table *table, uint64_t len)
{
  struct bz_space *space = &table->space;
  uint32_t large_mask = space->large_mask;

  if (len <= SMALL_MAX)
  {
    uint64_t mask = space->small_mask & (~UINT64_C(0) << small_bin(len));
    if (mask != 0)
      return take_from(table, &space->small[__builtin_ctzll(mask)], len);
  }
  else
    large_mask &= ~UINT32_C(0) << large_bin(len);
  for (; large_mask != 0; large_mask &= large_mask - 1)
  {
    uint64_t off = take_from(table, &space->large[__builtin_ctz(large_mask)], len);
    if (off != 0)
      return off;
  }
  return 0;
}

/* ---- taking and giving back ---------------------------------------------- */

enum blitz_rc bz_space_alloc_at_end(struct blitz_table *table, uint64_t len, uint64_t *offp,
                                    struct blitz_error *err)
{
  uint64_t end = atomic_load_explicit(&table->end, memory_order_relaxed);
  enum blitz_rc rc;

  bz_assert_writer(table);
  *offp = 0;
  rc = bz_file_reserve(table, end + len, err);
  if (rc != BLITZ_OK)
    return rc;
  bz_put_word(table, end, bz_free_word(len, BZ_STATE_INFLIGHT));
  bz_file_set_end(table, end + len);
  *offp = end;
  return BLITZ_OK;
}

void bz_space_append_dropped(struct blitz_table *table, uint64_t end)
{
  bz_assert_writer(table);
  for (uint64_t off = atomic_load_explicit(&table->end, memory_order_relaxed), len; off < end;
       off += len)
  {
    len = end - off < BZ_BLOCK_LEN_MAX ? end - off : BZ_BLOCK_LEN_MAX;
    bz_put_word(table, off, bz_free_word(len, BZ_STATE_DROPPED));
    bz_file_set_end(table, off + len);
  }
}

enum blitz_rc bz_space_alloc(struct blitz_table *table, uint64_t len, uint64_t *offp,
                             struct blitz_error *err)
{
  bz_assert_writer(table);
  *offp = take(table, len);
  if (*offp == 0 && (bz_space_walk(table) || bz_removed_make_room(table)))
    *offp = take(table, len);
  return *offp != 0 ? BLITZ_OK : bz_space_alloc_at_end(table, len, offp, err);
}

/* Is the block at OFF one that bz_space_walk() comes to? */
static bool is_unknown(const struct blitz_table *table, uint64_t off)
{
  return off >= table->walk_off && off < table->walk_end;
}

/* Frees a block. Needs snapshot_lock. */
static uint64_t free_block(struct blitz_table *table, uint64_t off)
{
  uint64_t len = bz_free_word_len(bz_word_load(bz_base(table), off));
  uint64_t before, next_len, inner[2] = {0, 0}, end = off + len;

  assert(bz_holds(&table->snapshot_lock));
  assert(free_len_at(table, off) == 0); /* not twice */
  bz_space_stamp_out(table, off, len);
  if (is_unknown(table, off))
  {
    bz_put_word(table, off, bz_free_word(len, BZ_STATE_DROPPED));
    return end;
  }
  before = bz_scan_watches(table, off) ? 0 : free_before(table, off);
  if (before != 0 && end - before <= BZ_BLOCK_LEN_MAX && take_out(table, before, off - before))
  {
    inner[0] = off;
    off = before;
  }
  next_len = bz_scan_watches(table, end) || is_unknown(table, end) ? 0 : free_len_at(table, end);
  if (next_len != 0 && end + next_len - off <= BZ_BLOCK_LEN_MAX && take_out(table, end, next_len))
  {
    inner[1] = end;
    end += next_len;
  }
  if (end == atomic_load_explicit(&table->end, memory_order_relaxed) &&
      LIST_EMPTY(&table->snapshots))
    bz_file_set_end(table, off);
  else
    put_free(table, off, end - off);
  for (unsigned i = 0; i < 2; i++)
    if (inner[i] != 0)
      bz_put_word(table, inner[i], 0);
  return end;
}

uint64_t bz_space_free(struct blitz_table *table, uint64_t off)
{
  uint64_t end;

  bz_assert_writer(table);
  pthread_mutex_lock(&table->snapshot_lock);
  end = free_block(table, off);
  pthread_mutex_unlock(&table->snapshot_lock);
  return end;
}

void bz_space_free_all(struct blitz_table *table, const uint64_t *offs, size_t count)
{
  bz_assert_writer(table);
  if (count == 0)
    return;
  pthread_mutex_lock(&table->snapshot_lock);
  bz_reuse_begin(table);
  for (size_t i = 0; i < count; i++)
    (void)free_block(table, offs[i]);
  bz_reuse_end(table);
  pthread_mutex_unlock(&table->snapshot_lock);
}

void bz_space_free_later(struct blitz_table *table, uint64_t off)
{
  uint64_t len = bz_free_word_len(bz_word_load(bz_base(table), off));
  uint64_t seq = atomic_load_explicit(&table->committed, memory_order_relaxed) + 1;
  bool wait;

  bz_assert_writer(table);
  pthread_mutex_lock(&table->snapshot_lock);
  wait = !LIST_EMPTY(&table->snapshots);
  pthread_mutex_unlock(&table->snapshot_lock);
  if (!wait)
  {
    (void)bz_space_free(table, off);
    return;
  }
  bz_put_word(table, off, bz_free_word(len, BZ_STATE_DROPPED));
  /* Wanted by all who look at the table now, and at a load that is under way. Nobody looks for it
   * by a key; its place for a hash keeps such rows apart.
   */
  bz_removed_add(table, off, 0, seq + 1, off);
}

bool bz_space_forget(struct blitz_table *table, uint64_t off, uint64_t len)
{
  uint64_t block_len = free_len_at(table, off);

  bz_assert_writer(table);
  if (block_len < len || !take_out(table, off, block_len))
    return false;
  if (block_len > len)
    put_free(table, off + len, block_len - len);
  return true;
}

/* ---- free blocks of a file that was not closed -------------------------------------- */

#define WALK_LEN (UINT64_C(64) << 10) /* bytes that are looked at at once */
#define WALK_BLOCKS 256               /* that are freed at once */

/* The block at OFF is nobody's, or it is a row, or a part of the bucket array; its length, 0: it
 * is none of these.
 */
static uint64_t look_at(const struct blitz_table *table, uint64_t off, bool *is_free)
{
  uint64_t word = bz_word_load(bz_base(table), off), len = bz_free_word_len(word);
  struct bz_row row;

  *is_free = false;
  if (bz_word_magic(word) == BZ_ROW_MAGIC)
    return bz_block_row(table, off, &row) ? row.len : 0;
  if (bz_word_magic(word) != BZ_FREE_MAGIC || len % BZ_ALIGN != 0 || len > table->walk_end - off)
    return 0;
  switch (bz_free_word_state(word))
  {
  case BZ_STATE_FREE:
  case BZ_STATE_INFLIGHT:
  case BZ_STATE_DROPPED: *is_free = true; break;
  case BZ_STATE_REMOVED:
    *is_free = le64toh(bz_word_load(bz_base(table), off + 8)) <= table->walk_commit;
    break;
  case BZ_STATE_BUCKETS: break;
  }
  return len;
}

bool bz_space_walk(struct blitz_table *table)
{
  uint64_t offs[WALK_BLOCKS], off = table->walk_off, stop = off + WALK_LEN;
  size_t count = 0;

  bz_assert_writer(table);
  if (off >= table->walk_end)
    return false;
  while (off < table->walk_end && off < stop && count < WALK_BLOCKS)
  {
    bool is_free;
    uint64_t len = look_at(table, off, &is_free);

    if (len == 0)
    {
      /* What is behind it stays as it is until somebody repairs the table. */
      table->walk_end = off;
      break;
    }
    if (is_free)
    {
      offs[count++] = off;
      bz_put_word(table, off, bz_free_word(len, BZ_STATE_INFLIGHT));
    }
    off += len;
  }
  table->walk_off = off;
  bz_space_free_all(table, offs, count);
  return true;
}

void bz_space_free_gap(struct blitz_table *table, uint64_t off, uint64_t end)
{
  bz_assert_writer(table);
  /* From the rear, so that there is a block wherever another one ends. */
  while (off < end)
  {
    uint64_t len = (end - off - 1) % BZ_BLOCK_LEN_MAX + 1;
    put_free(table, end - len, len);
    end -= len;
  }
}

void bz_space_stamp_removed(struct blitz_table *table, uint64_t off, uint64_t len, uint64_t seq)
{
  bz_assert_writer(table);
  assert(bz_word_magic(bz_word_load(bz_base(table), off)) == BZ_ROW_MAGIC);
  assert(seq > atomic_load_explicit(&table->committed, memory_order_relaxed));
  bz_put_word(table, off + 8, htole64(seq));
  bz_put_word(table, off, bz_free_word(len, BZ_STATE_REMOVED));
}

/* ---- the list in a closed file ------------------------------------------- */

static size_t each_bin(struct bz_space *space, struct bz_numbers **bins)
{
  size_t n = 0;

  for (unsigned i = 0; i < BZ_SMALL_BINS; i++)
    bins[n++] = &space->small[i];
  for (unsigned i = 0; i < BZ_LARGE_BINS; i++)
    bins[n++] = &space->large[i];
  return n;
}

/* All free blocks, sorted. */
static struct bz_numbers list_free(struct blitz_table *table)
{
  struct bz_numbers *bins[BZ_SMALL_BINS + BZ_LARGE_BINS];
  struct bz_numbers all = {0};
  size_t bin_count = each_bin(&table->space, bins);

  for (size_t b = 0; b < bin_count; b++)
    for (size_t i = 0; i < bins[b]->count; i++)
      (void)!bz_numbers_push(&all, bins[b]->items[i]);
  bz_numbers_sort(all.items, all.count);
  return all;
}

void bz_space_save(struct blitz_table *table)
{
  uint64_t end = atomic_load(&table->end);
  struct bz_numbers all = list_free(table);
  size_t len = all.count * sizeof *all.items;
  uint8_t *base;

  bz_assert_writer(table);
  /* Without the list the next open walks through the file instead. */
  bz_put_le64(table, BZ_FREE_LIST_OFF, 0);
  bz_put_le64(table, BZ_FREE_COUNT_OFF, 0);
  if (all.count > 0 && bz_file_reserve(table, end + len, NULL) == BLITZ_OK)
  {
    base = bz_base(table);
    bz_note(table, end, len);
    for (size_t i = 0; i < all.count; i++)
      bz_store_le64(base + end + i * 8, all.items[i]);
    bz_put_le32(table, BZ_FREE_CRC_OFF, bz_crc32c(table->salt, base + end, len));
    bz_put_le64(table, BZ_FREE_COUNT_OFF, all.count);
    bz_put_le64(table, BZ_FREE_LIST_OFF, end);
    end += len;
  }
  else if (all.count == 0)
    bz_put_le64(table, BZ_FREE_LIST_OFF, end);
  free(all.items);
  /* A logged table's file has blocks behind that until its pages are written. */
  if (table->logged || ftruncate(table->fd, (off_t)end) == 0)
    table->allocated = end;
}

/* Does a block begin at OFF, or is that the end? */
static bool block_begins(const struct blitz_table *table, uint64_t off)
{
  uint64_t end = atomic_load(&table->end);
  struct bz_row row;

  if (off >= end)
    return off == end;
  return bz_word_magic(bz_word_load(bz_base(table), off)) == BZ_ROW_MAGIC
             ? bz_row_parse(bz_base(table), off, end, &row)
             : free_len_at(table, off) != 0;
}

static bool load_list(struct blitz_table *table)
{
  const uint8_t *base = bz_base(table);
  uint64_t off = bz_load_le64(base + BZ_FREE_LIST_OFF);
  uint64_t count = bz_load_le64(base + BZ_FREE_COUNT_OFF);

  if (off != atomic_load(&table->end) || count > (table->allocated - off) / 8)
    return false;
  if (count == 0)
    return true;
  if (bz_load_le32(base + BZ_FREE_CRC_OFF) != bz_crc32c(table->salt, base + off, count * 8))
    return false;
  for (uint64_t i = 0; i < count; i++)
  {
    uint64_t block = bz_load_le64(base + off + i * 8);
    uint64_t len = block % BZ_ALIGN == 0 ? free_len_at(table, block) : 0;
    if (len == 0 || len > off - block || !block_begins(table, block + len))
      return false;
    put_free(table, block, len);
  }
  return true;
}

static enum blitz_rc load_by_walk(struct blitz_table *table, struct blitz_error *err)
{
  const uint8_t *base = bz_base(table);
  uint64_t off = atomic_load(&table->first), end = atomic_load(&table->end);

  while (off < end)
  {
    uint64_t word = bz_word_load(base, off);
    struct bz_row row;

    if (bz_word_magic(word) == BZ_ROW_MAGIC && bz_row_parse(base, off, end, &row))
      off += row.len;
    else if (bz_word_magic(word) == BZ_FREE_MAGIC && bz_free_word_len(word) != 0 &&
             bz_free_word_len(word) % BZ_ALIGN == 0 && bz_free_word_len(word) <= end - off)
    {
      put_free(table, off, bz_free_word_len(word));
      off += bz_free_word_len(word);
    }
    else
      return bz_damaged(table, off, err);
  }
  return BLITZ_OK;
}

enum blitz_rc bz_space_load(struct blitz_table *table, struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  bz_change_begin(table);
  if (!load_list(table))
  {
    bz_space_clear(table);
    rc = load_by_walk(table, err);
  }
  bz_change_end(table);
  return rc;
}

void bz_space_clear(struct blitz_table *table)
{
  struct bz_numbers *bins[BZ_SMALL_BINS + BZ_LARGE_BINS];
  size_t bin_count = each_bin(&table->space, bins);

  for (size_t b = 0; b < bin_count; b++)
    free(bins[b]->items);
  memset(&table->space, 0, sizeof table->space);
  bz_removed_clear(table);
}
