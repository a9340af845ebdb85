/* SPDX-License-Identifier: GPL-2.0-only
 *
 * hash.h: what walking a bucket's tree needs, for the writer (hash.c, tree.c) and for
 * readers beside it (hash_read.c).
 */
#ifndef BZ_HASH_H
#define BZ_HASH_H

#include "rows/rows.h"

#include <string.h>

/* Before the buckets of a segment (grow.c): words 0 and 1 of its block. */
#define BZ_SEGMENT_HEAD_LEN BZ_ALIGN

/* Rows on the way from a bucket to any row below it; see H5. */
#define BZ_DEPTH_MAX 64

enum bz_step
{
  BZ_STEP_FOUND,
  BZ_STEP_LEFT,
  BZ_STEP_RIGHT,
};

/* Where to go from ROW, whose second hash is ROW_SECOND, when looking for KEY. */
static inline enum bz_step bz_step(const struct bz_key *key, const struct bz_row *row,
                                   uint8_t row_second)
{
  int order;

  if (key->hash.second != row_second)
    return key->hash.second > row_second ? BZ_STEP_LEFT : BZ_STEP_RIGHT;
  if (key->len != row->key_len)
    return key->len > row->key_len ? BZ_STEP_LEFT : BZ_STEP_RIGHT;
  order = memcmp(key->data, row->key, key->len);
  if (order == 0)
    return BZ_STEP_FOUND;
  return order > 0 ? BZ_STEP_LEFT : BZ_STEP_RIGHT;
}

/* Does ROW hang in the tree of BUCKET of COUNT, as its key wants? If not, the key or a link
 * is damaged, and a look-up that passes it would miss rows.
 */
static inline bool bz_row_belongs(const struct bz_row *row, uint8_t row_second, uint64_t count,
                                  uint64_t bucket)
{
  struct bz_hash hash = bz_hash(row->key, row->key_len);

  return hash.second == row_second && bz_bucket(hash.bucket, count) == bucket;
}

static inline struct bz_stripe *bz_stripe_of(struct blitz_table *table, struct bz_hash hash)
{
  return &table->stripes[hash.bucket % BZ_STRIPES];
}

static inline void bz_set_link(struct blitz_table *table, uint64_t link_off, uint64_t off)
{
  atomic_thread_fence(memory_order_release);
  bz_put_be64(table, link_off, off >> BZ_ALIGN_POWER);
}

/* Splits the next bucket in two. False: its tree is damaged. */
bool bz_hash_split(struct blitz_table *table) BLITZ_MUST_CHECK;

/* ---- tree.c: a bucket's tree as a whole, for the writer, in its stripe ---------------- */

/* A bucket's rows, in order, hung on one another by their right links. */
struct bz_vine
{
  uint64_t first; /* offset of a row; 0: none */
  uint64_t count;
};

/* Makes the tree at LINK_OFF a vine. False: it is damaged, and nothing has changed. */
bool bz_tree_to_vine(struct blitz_table *table, uint64_t link_off,
                     struct bz_vine *vine) BLITZ_MUST_CHECK;

/* Makes the vine a tree at LINK_OFF that is as low as can be. */
void bz_vine_to_tree(struct blitz_table *table, struct bz_vine vine, uint64_t link_off);

#endif /* BZ_HASH_H */
