/* SPDX-License-Identifier: GPL-2.0-only
 *
 * positions.h: where in a list things are, by their hashes: a table with open addressing. Who
 * has one sees to it that it has free slots, and knows by the list whether a position is the
 * wanted one. Nothing is taken out; it is made anew for that.
 */
#ifndef BZ_POSITIONS_H
#define BZ_POSITIONS_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct bz_positions
{
  uint32_t *slots;     /* position + 1; 0: a free one */
  uint32_t slot_count; /* a power of two, or 0 */
};

/* The slots in which a position of HASH may be, up to the first free one. */
static inline uint32_t bz_positions_first(const struct bz_positions *positions, uint64_t hash)
{
  return (uint32_t)((hash * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (positions->slot_count - 1);
}

static inline uint32_t bz_positions_next(const struct bz_positions *positions, uint32_t slot)
{
  return (slot + 1) & (positions->slot_count - 1);
}

static inline void bz_positions_add(struct bz_positions *positions, uint64_t hash,
                                    uint32_t position)
{
  uint32_t slot = bz_positions_first(positions, hash);

  assert(positions->slot_count > 0);
  while (positions->slots[slot] != 0)
    slot = bz_positions_next(positions, slot);
  positions->slots[slot] = position + 1;
}

/* Makes it one of COUNT free slots. False: out of memory, and it is as before. */
static inline bool bz_positions_renew(struct bz_positions *positions, uint32_t count)
{
  uint32_t *slots = calloc(count, sizeof *slots);

  if (slots == NULL)
    return false;
  free(positions->slots);
  positions->slots = slots;
  positions->slot_count = count;
  return true;
}

static inline void bz_positions_clear(struct bz_positions *positions)
{
  memset(positions->slots, 0, positions->slot_count * sizeof *positions->slots);
}

#endif /* BZ_POSITIONS_H */
