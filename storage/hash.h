/* SPDX-License-Identifier: GPL-2.0-only
 *
 * hash.h: what walking a bucket's tree needs, for the writer (hash.c) and for
 * readers beside it (hash_read.c).
 */
#ifndef BZ_HASH_H
#define BZ_HASH_H

#include "blitz_int.h"

#include <string.h>

/* No tree of a file that is not damaged is as deep as that. */
#define BZ_DEPTH_MAX (1u << 20)

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

/* Does ROW hang in the tree of the bucket at ROOT_OFF, as its key wants? If not, the
 * key or a link is damaged, and a look-up that passes it would miss rows.
 */
static inline bool bz_row_belongs(const struct bz_row *row, uint8_t row_second, uint64_t count,
                                  uint64_t root_off)
{
  struct bz_hash hash = bz_hash(row->key, row->key_len);

  return hash.second == row_second && bz_bucket_off(hash.bucket, count) == root_off;
}

static inline struct bz_stripe *bz_stripe_of(struct blitz_table *table, struct bz_hash hash)
{
  return &table->stripes[hash.bucket % BZ_STRIPES];
}

#endif /* BZ_HASH_H */
