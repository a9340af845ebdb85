/* SPDX-License-Identifier: GPL-2.0-only
 *
 * hash.c: the bucket array and the tree of rows that hangs on each bucket: find,
 * link, unlink, and reading beside a writer.
 *
 * A bucket holds the offset / 16 of its first row, a row those of two children:
 * Tokyo Cabinet's binary tree, ordered by the second hash, then the key's length,
 * then its bytes, larger ones left.
 *
 * Invariants:
 *  H1. The number of buckets is a multiple of BZ_STRIPES, so all that hangs on a
 *      bucket, and the buckets that it may be split into, have one stripe: the
 *      bucket hash modulo BZ_STRIPES. A change happens between bz_stripe_begin()
 *      and bz_stripe_end() of that stripe.
 *  H2. A link is one 8-byte store, of a row that is complete. A killed process
 *      leaves every tree walkable, and recovery trusts none of them anyway.
 *  H3. A walk ends, whatever the bytes: offsets are checked against the end of
 *      the blocks, magic numbers are checked, and depth is limited.
 *  H4. Buckets are split one by one, so between two powers of two some hash values
 *      use one bit more than others; one number, the buckets in use, tells which
 *      (bz_bucket_off()). It changes within the stripe of the buckets it concerns.
 */
#include "hash.h"

#include "bytes.h"
#include "seqlock.h"

#include <string.h>

enum blitz_rc bz_hash_find(const struct blitz_table *table, const struct bz_key *key,
                           struct bz_place *place)
{
  const uint8_t *base = bz_base(table);
  uint64_t end = atomic_load_explicit(&table->end, memory_order_relaxed);
  uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_relaxed);

  uint64_t root_off = bz_bucket_off(key->hash.bucket, count);

  place->link_off = root_off;
  for (unsigned depth = 0; depth <= BZ_DEPTH_MAX; depth++)
  {
    uint64_t off = bz_load_be64(base + place->link_off) << BZ_ALIGN_POWER;
    enum bz_step step;

    place->row.off = off;
    if (off == 0)
      return BLITZ_NOT_FOUND;
    if (!bz_row_parse(base, off, end, &place->row) || base[off] != BZ_ROW_MAGIC)
      return BLITZ_CORRUPT;
    step = bz_step(key, &place->row, base[off + BZ_ROW_HASH_OFF]);
    if (step == BZ_STEP_FOUND)
      return BLITZ_OK;
    if (!bz_row_belongs(&place->row, base[off + BZ_ROW_HASH_OFF], count, root_off))
      return BLITZ_CORRUPT;
    place->link_off = off + (step == BZ_STEP_LEFT ? BZ_ROW_LEFT_OFF : BZ_ROW_RIGHT_OFF);
  }
  return BLITZ_CORRUPT;
}

/* ---- linking, for the writer --------------------------------------------- */

static void set_link(uint8_t *base, uint64_t link_off, uint64_t off)
{
  atomic_thread_fence(memory_order_release);
  bz_store_be64(base + link_off, off >> BZ_ALIGN_POWER);
}

/* Words 0 and 1 of a live row, from its hash and children (as in the file). */
static void make_live(uint8_t *base, uint64_t off, uint8_t second, const uint8_t *children)
{
  uint8_t head[16] = {BZ_ROW_MAGIC, second};
  uint64_t word0, word1;

  memcpy(head + BZ_ROW_LEFT_OFF, children, sizeof head - BZ_ROW_LEFT_OFF);
  memcpy(base + off + sizeof head, children + sizeof head - BZ_ROW_LEFT_OFF, 2);
  memcpy(&word0, head, 8);
  memcpy(&word1, head + 8, 8);
  bz_word_store(base, off + 8, word1);
  bz_word_store(base, off, word0);
}

void bz_hash_link(struct blitz_table *table, struct bz_hash hash, uint64_t link_off, uint64_t off)
{
  static const uint8_t no_children[16];
  struct bz_stripe *stripe = bz_stripe_of(table, hash);
  uint8_t *base = bz_base(table);

  bz_stripe_begin(stripe);
  make_live(base, off, hash.second, no_children);
  set_link(base, link_off, off);
  bz_stripe_end(stripe);
}

void bz_hash_replace(struct blitz_table *table, struct bz_hash hash, const struct bz_place *old,
                     uint64_t off)
{
  struct bz_stripe *stripe = bz_stripe_of(table, hash);
  uint8_t *base = bz_base(table);

  bz_stripe_begin(stripe);
  make_live(base, off, hash.second, base + old->row.off + BZ_ROW_LEFT_OFF);
  set_link(base, old->link_off, off);
  bz_stripe_end(stripe);
}

/* The place at the right end of the tree whose first row is at OFF; 0: damaged. */
static uint64_t right_end(const struct blitz_table *table, uint64_t off)
{
  const uint8_t *base = bz_base(table);
  uint64_t end = atomic_load_explicit(&table->end, memory_order_relaxed);
  struct bz_row row;

  for (unsigned depth = 0; depth <= BZ_DEPTH_MAX; depth++)
  {
    uint64_t next;

    if (!bz_row_parse(base, off, end, &row) || base[off] != BZ_ROW_MAGIC)
      return 0;
    next = bz_load_be64(base + off + BZ_ROW_RIGHT_OFF) << BZ_ALIGN_POWER;
    if (next == 0)
      return off + BZ_ROW_RIGHT_OFF;
    off = next;
  }
  return 0;
}

enum blitz_rc bz_hash_unlink(struct blitz_table *table, struct bz_hash hash,
                             const struct bz_place *place)
{
  struct bz_stripe *stripe = bz_stripe_of(table, hash);
  uint8_t *base = bz_base(table);
  uint64_t left = bz_load_be64(base + place->row.off + BZ_ROW_LEFT_OFF) << BZ_ALIGN_POWER;
  uint64_t right = bz_load_be64(base + place->row.off + BZ_ROW_RIGHT_OFF) << BZ_ALIGN_POWER;
  uint64_t right_link_off = 0;

  /* Of two children the right one goes to the right end below the left one. */
  if (left != 0 && right != 0 && (right_link_off = right_end(table, left)) == 0)
    return BLITZ_CORRUPT;
  bz_stripe_begin(stripe);
  if (right_link_off != 0)
    set_link(base, right_link_off, right);
  set_link(base, place->link_off, left != 0 ? left : right);
  bz_stripe_end(stripe);
  return BLITZ_OK;
}

#define PREFETCH_AHEAD 8 /* buckets; there are at least BZ_BUCKETS_MIN behind each one */

/* ---- splitting ----------------------------------------------------------- */

/* Hangs the row at OFF, and then what hung below it, into the two buckets at
 * LOW_OFF and HIGH_OFF, by BIT of its bucket hash. The depth of recursion is that
 * of the tree.
 */
static void rehang(struct blitz_table *table, uint64_t off, uint64_t bit, uint64_t low_off,
                   uint64_t high_off)
{
  uint8_t *base = bz_base(table);
  uint64_t end = atomic_load_explicit(&table->end, memory_order_relaxed);
  uint64_t left, right, link_off;
  struct bz_row row, other;
  struct bz_key key;

  while (off != 0)
  {
    if (base[off] != BZ_ROW_MAGIC || !bz_row_parse(base, off, end, &row))
      return; /* damaged: the rows below are lost to look-ups, not to recovery */
    key = bz_key_of_row(&row);
    left = bz_load_be64(base + off + BZ_ROW_LEFT_OFF) << BZ_ALIGN_POWER;
    right = bz_load_be64(base + off + BZ_ROW_RIGHT_OFF) << BZ_ALIGN_POWER;
    memset(base + off + BZ_ROW_LEFT_OFF, 0, 16);
    link_off = key.hash.bucket & bit ? high_off : low_off;
    for (;;)
    {
      uint64_t other_off = bz_load_be64(base + link_off) << BZ_ALIGN_POWER;
      enum bz_step step;
      if (other_off == 0 || !bz_row_parse(base, other_off, end, &other))
        break;
      step = bz_step(&key, &other, base[other_off + BZ_ROW_HASH_OFF]);
      if (step == BZ_STEP_FOUND)
        return; /* damaged as well: a row hangs in two places */
      link_off = other_off + (step == BZ_STEP_LEFT ? BZ_ROW_LEFT_OFF : BZ_ROW_RIGHT_OFF);
    }
    set_link(base, link_off, off);
    if (left != 0)
      rehang(table, left, bit, low_off, high_off);
    off = right;
  }
}

void bz_hash_split(struct blitz_table *table)
{
  uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_relaxed);
  uint64_t round = UINT64_C(1) << (63 - __builtin_clzll(count));
  uint64_t low_off = BZ_HEADER_LEN + (count - round) * BZ_BUCKET_LEN;
  uint64_t high_off = BZ_HEADER_LEN + count * BZ_BUCKET_LEN;
  struct bz_stripe *stripe = &table->stripes[count % BZ_STRIPES];
  uint8_t *base = bz_base(table);
  uint64_t off = bz_load_be64(base + low_off) << BZ_ALIGN_POWER;

  /* The next splits' rows come while this one is done. */
  __builtin_prefetch(
      base + (bz_load_be64(base + low_off + PREFETCH_AHEAD * BZ_BUCKET_LEN) << BZ_ALIGN_POWER));
  bz_stripe_begin(stripe);
  memset(base + low_off, 0, BZ_BUCKET_LEN);
  memset(base + high_off, 0, BZ_BUCKET_LEN);
  rehang(table, off, round, low_off, high_off);
  atomic_store_explicit(&table->bucket_count, count + 1, memory_order_release);
  bz_stripe_end(stripe);
}
