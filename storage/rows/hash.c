/* SPDX-License-Identifier: GPL-2.0-only
 *
 * hash.c: the bucket array and the tree of rows that hangs on each bucket, for the writer:
 * find, link, unlink, split.
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
 *      leaves rows whole, and recovery trusts none of the trees anyway.
 *  H3. A walk ends, whatever the bytes: offsets are checked against the end of
 *      the blocks, magic numbers are checked, and depth is limited.
 *  H4. Buckets are split one by one, so between two powers of two some hash values
 *      use one bit more than others; one number, the buckets in use, tells which
 *      (bz_bucket()). It changes within the stripe of the buckets it concerns.
 *  H5. No row is deeper in its tree than BZ_DEPTH_MAX: a new one that would be has the
 *      tree made low first, and a removal makes no row deeper. Who chooses keys does not
 *      know where they fall (bz_key_spread()), so that is seldom, and cheap: trees have
 *      two rows or so.
 */
#include "rows/hash.h"

enum blitz_rc bz_hash_find(const struct blitz_table *table, const struct bz_key *key,
                           struct bz_place *place)
{
  const uint8_t *base = bz_base(table);
  uint64_t end = atomic_load_explicit(&table->end, memory_order_relaxed);
  uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_relaxed);
  uint64_t bucket = bz_bucket(key->hash.bucket, count);

  bz_assert_writer(table);
  place->link_off = bz_bucket_off(table, bucket);
  for (place->depth = 0; place->depth <= BZ_DEPTH_MAX; place->depth++)
  {
    uint64_t off = bz_link(base, place->link_off);
    enum bz_step step;

    place->row.off = off;
    if (off == 0)
      return BLITZ_NOT_FOUND;
    if (!bz_row_parse(base, off, end, &place->row) || base[off] != BZ_ROW_MAGIC)
      return BLITZ_CORRUPT;
    step = bz_step(key, &place->row, base[off + BZ_ROW_HASH_OFF]);
    if (step == BZ_STEP_FOUND)
      return BLITZ_OK;
    if (!bz_row_belongs(&place->row, base[off + BZ_ROW_HASH_OFF], count, bucket))
      return BLITZ_CORRUPT;
    place->link_off = off + (step == BZ_STEP_LEFT ? BZ_ROW_LEFT_OFF : BZ_ROW_RIGHT_OFF);
  }
  return BLITZ_CORRUPT;
}

/* ---- linking ------------------------------------------------------------- */

/* Words 0 and 1 of a live row, from its hash and children (as in the file). Word 1 of a
 * removed row says which commit removed it, and must not go before word 0 says that the row
 * lives (R3); what has been no row yet becomes one by word 0, so that must come last (F1).
 */
static void make_live(struct blitz_table *table, uint64_t off, uint8_t second,
                      const uint8_t *children)
{
  uint8_t *base = bz_base(table);
  uint8_t head[16] = {BZ_ROW_MAGIC, second};
  bool removed = bz_word_magic(bz_word_load(base, off)) == BZ_FREE_MAGIC &&
                 bz_free_word_state(bz_word_load(base, off)) == BZ_STATE_REMOVED;
  uint64_t word0, word1;

  bz_note(table, off, sizeof head + 2);
  memcpy(head + BZ_ROW_LEFT_OFF, children, sizeof head - BZ_ROW_LEFT_OFF);
  memcpy(base + off + sizeof head, children + sizeof head - BZ_ROW_LEFT_OFF, 2);
  memcpy(&word0, head, 8);
  memcpy(&word1, head + 8, 8);
  if (removed)
    bz_word_store(base, off, word0);
  bz_word_store(base, off + 8, word1);
  bz_word_store(base, off, word0);
}

/* Makes the tree of a bucket low again (H5), in its stripe. */
static void make_low(struct blitz_table *table, uint64_t link_off)
{
  struct bz_vine vine;

  if (bz_tree_to_vine(table, link_off, &vine))
    bz_vine_to_tree(table, vine, link_off);
}

void bz_hash_link(struct blitz_table *table, const struct bz_key *key, struct bz_place *place,
                  uint64_t off)
{
  static const uint8_t no_children[16];
  struct bz_stripe *stripe = bz_stripe_of(table, key->hash);

  bz_assert_writer(table);
  bz_stripe_begin(stripe);
  if (place->depth >= BZ_DEPTH_MAX)
  {
    uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_relaxed);

    make_low(table, bz_bucket_off(table, bz_bucket(key->hash.bucket, count)));
    (void)!bz_hash_find(table, key, place);
  }
  make_live(table, off, key->hash.second, no_children);
  bz_set_link(table, place->link_off, off);
  bz_stripe_end(stripe);
}

void bz_hash_replace(struct blitz_table *table, struct bz_hash hash, const struct bz_place *old,
                     uint64_t off)
{
  struct bz_stripe *stripe = bz_stripe_of(table, hash);

  bz_assert_writer(table);
  bz_stripe_begin(stripe);
  make_live(table, off, hash.second, bz_base(table) + old->row.off + BZ_ROW_LEFT_OFF);
  bz_set_link(table, old->link_off, off);
  bz_stripe_end(stripe);
}

/* The link to the row at the right end of the tree at LINK_OFF, which is not empty; 0:
 * damaged.
 */
static uint64_t right_end(const struct blitz_table *table, uint64_t link_off)
{
  const uint8_t *base = bz_base(table);
  uint64_t end = atomic_load_explicit(&table->end, memory_order_relaxed);
  struct bz_row row;

  for (unsigned depth = 0; depth <= BZ_DEPTH_MAX; depth++)
  {
    uint64_t off = bz_link(base, link_off);

    if (!bz_row_parse(base, off, end, &row) || base[off] != BZ_ROW_MAGIC)
      return 0;
    if (bz_link(base, off + BZ_ROW_RIGHT_OFF) == 0)
      return link_off;
    link_off = off + BZ_ROW_RIGHT_OFF;
  }
  return 0;
}

/* Of a row with two children, the next one in order, which is at the right end of its left
 * tree, takes the place.
 */
enum blitz_rc bz_hash_unlink(struct blitz_table *table, struct bz_hash hash,
                             const struct bz_place *place)
{
  struct bz_stripe *stripe = bz_stripe_of(table, hash);
  uint8_t *base = bz_base(table);
  uint64_t off = place->row.off, heir_link_off = 0, heir;
  uint64_t left = bz_link(base, off + BZ_ROW_LEFT_OFF);
  uint64_t right = bz_link(base, off + BZ_ROW_RIGHT_OFF);

  bz_assert_writer(table);
  if (left != 0 && right != 0 && (heir_link_off = right_end(table, off + BZ_ROW_LEFT_OFF)) == 0)
    return BLITZ_CORRUPT;
  bz_stripe_begin(stripe);
  if (heir_link_off == 0)
    bz_set_link(table, place->link_off, left != 0 ? left : right);
  else
  {
    heir = bz_link(base, heir_link_off);
    if (heir != left)
    {
      bz_set_link(table, heir_link_off, bz_link(base, heir + BZ_ROW_LEFT_OFF));
      bz_set_link(table, heir + BZ_ROW_LEFT_OFF, left);
    }
    bz_set_link(table, heir + BZ_ROW_RIGHT_OFF, right);
    bz_set_link(table, place->link_off, heir);
  }
  bz_stripe_end(stripe);
  return BLITZ_OK;
}

/* ---- splitting ----------------------------------------------------------- */

#define PREFETCH_AHEAD 8 /* buckets */

/* Takes the first row of a vine off it. */
static uint64_t take_first(const uint8_t *base, struct bz_vine *vine)
{
  uint64_t off = vine->first;

  vine->first = bz_link(base, off + BZ_ROW_RIGHT_OFF);
  vine->count--;
  return off;
}

/* Hangs the rows of a vine that have BIT in their bucket hashes into HIGH_OFF, the others
 * into LOW_OFF.
 */
static void part(struct blitz_table *table, struct bz_vine vine, uint64_t bit, uint64_t low_off,
                 uint64_t high_off)
{
  uint8_t *base = bz_base(table);
  uint64_t end = atomic_load_explicit(&table->end, memory_order_relaxed);
  struct bz_vine parts[2] = {{0, 0}, {0, 0}};
  uint64_t last[2] = {0, 0};

  while (vine.count > 0)
  {
    uint64_t off = take_first(base, &vine);
    struct bz_row row = {0};
    unsigned high =
        bz_row_parse(base, off, end, &row) && (bz_hash(row.key, row.key_len).bucket & bit) != 0;

    bz_set_link(table, off + BZ_ROW_RIGHT_OFF, 0);
    if (last[high] == 0)
      parts[high].first = off;
    else
      bz_set_link(table, last[high] + BZ_ROW_RIGHT_OFF, off);
    last[high] = off;
    parts[high].count++;
  }
  bz_vine_to_tree(table, parts[0], low_off);
  bz_vine_to_tree(table, parts[1], high_off);
}

/* Most buckets have one row or none: that hangs in one of the two, and is not written to.
 * False: there are more, or it is damaged.
 */
static bool part_one(struct blitz_table *table, uint64_t bit, uint64_t low_off, uint64_t high_off)
{
  uint8_t *base = bz_base(table);
  uint64_t end = atomic_load_explicit(&table->end, memory_order_relaxed);
  uint64_t off = bz_link(base, low_off);
  bool high = false;
  struct bz_row row;

  if (off != 0)
  {
    if (!bz_row_parse(base, off, end, &row) || base[off] != BZ_ROW_MAGIC ||
        bz_link(base, off + BZ_ROW_LEFT_OFF) != 0 || bz_link(base, off + BZ_ROW_RIGHT_OFF) != 0)
      return false;
    high = (bz_hash(row.key, row.key_len).bucket & bit) != 0;
  }
  bz_set_link(table, high_off, high ? off : 0);
  if (high)
    bz_set_link(table, low_off, 0);
  return true;
}

bool bz_hash_split(struct blitz_table *table)
{
  uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_relaxed);
  uint64_t round = UINT64_C(1) << (63 - __builtin_clzll(count));
  uint64_t low_off = bz_bucket_off(table, count - round);
  uint64_t high_off = bz_bucket_off(table, count);
  struct bz_stripe *stripe = &table->stripes[count % BZ_STRIPES];
  uint8_t *base = bz_base(table);
  struct bz_vine vine;
  bool done;

  bz_assert_writer(table);
  /* The next splits' rows come while this one is done. */
  if (count - round + PREFETCH_AHEAD < round)
    bz_prefetch_row(base, bz_link(base, bz_bucket_off(table, count - round + PREFETCH_AHEAD)));
  bz_stripe_begin(stripe);
  done = part_one(table, round, low_off, high_off);
  if (!done)
  {
    done = bz_tree_to_vine(table, low_off, &vine);
    if (done)
      part(table, vine, round, low_off, high_off);
  }
  if (done)
    atomic_store_explicit(&table->bucket_count, count + 1, memory_order_release);
  bz_stripe_end(stripe);
  return done;
}
