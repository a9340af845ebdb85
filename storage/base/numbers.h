/* SPDX-License-Identifier: GPL-2.0-only
 *
 * numbers.h: lists of numbers that grow: offsets of blocks, pages.
 */
#ifndef BZ_NUMBERS_H
#define BZ_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct bz_numbers
{
  uint64_t *items; /* to be freed */
  size_t count, room;
};

/* False: out of memory, and the list is as it was. */
static inline bool bz_numbers_push(struct bz_numbers *list, uint64_t n)
{
  if (list->count == list->room)
  {
    size_t room = list->room > 0 ? list->room * 2 : 16;
    uint64_t *items = realloc(list->items, room * sizeof *items);
    if (items == NULL)
      return false;
    list->items = items;
    list->room = room;
  }
  list->items[list->count++] = n;
  return true;
}

static inline int bz_numbers_compare(const void *a, const void *b)
{
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

  return x < y ? -1 : x > y;
}

/* Sorts COUNT numbers, which may be none, ascending. */
static inline void bz_numbers_sort(uint64_t *items, size_t count)
{
  if (count > 1)
    qsort(items, count, sizeof *items, bz_numbers_compare);
}

#endif /* BZ_NUMBERS_H */
