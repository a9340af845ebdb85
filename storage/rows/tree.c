/* SPDX-License-Identifier: GPL-2.0-only
 *
 * tree.c: a bucket's tree as a whole: taking it apart and making it low again, after
 * Q. F. Stout and B. L. Warren, "Tree rebalancing in optimal time and space", 1986.
 * Nothing here recurses or takes memory, so it can be part of a commit.
 */
#include "rows/hash.h"

/* A walk through a tree in order: left, the row itself, right. */
struct walk
{
  const struct blitz_table *table;
  uint64_t rows[BZ_DEPTH_MAX]; /* of which what is left of them has been gone down to */
  unsigned depth;
  uint64_t down; /* where to go down next; 0: nowhere */
};

/* The next row, *OFFP; 0: there is none. False: the tree is damaged. */
static bool walk_on(struct walk *walk, uint64_t *offp)
{
  const uint8_t *base = bz_base(walk->table);
  uint64_t end = atomic_load_explicit(&walk->table->end, memory_order_relaxed);
  struct bz_row row;

  for (; walk->down != 0; walk->down = bz_link(base, walk->down + BZ_ROW_LEFT_OFF))
  {
    if (walk->depth == BZ_DEPTH_MAX || !bz_row_parse(base, walk->down, end, &row) ||
        base[walk->down] != BZ_ROW_MAGIC)
      return false;
    walk->rows[walk->depth++] = walk->down;
  }
  *offp = walk->depth > 0 ? walk->rows[--walk->depth] : 0;
  if (*offp != 0)
    walk->down = bz_link(base, *offp + BZ_ROW_RIGHT_OFF);
  return true;
}

/* What a row is known by in the order of its tree. */
static struct bz_key key_of(const struct blitz_table *table, const struct bz_row *row)
{
  return (struct bz_key){
      row->key, row->key_len, {.second = bz_base(table)[row->off + BZ_ROW_HASH_OFF]}};
}

/* Are all rows of the tree there, and in order, so that none of them is there twice? */
static bool is_whole(struct blitz_table *table, uint64_t root)
{
  struct walk walk = {.table = table, .down = root};
  uint64_t end = atomic_load_explicit(&table->end, memory_order_relaxed), off;
  struct bz_key last = {.data = NULL};
  struct bz_row row;

  while (walk_on(&walk, &off))
  {
    if (off == 0)
      return true;
    if (!bz_row_parse(bz_base(table), off, end, &row))
      return false;
    if (last.data != NULL &&
        bz_step(&last, &row, bz_base(table)[off + BZ_ROW_HASH_OFF]) != BZ_STEP_LEFT)
      return false;
    last = key_of(table, &row);
  }
  return false;
}

bool bz_tree_to_vine(struct blitz_table *table, uint64_t link_off, struct bz_vine *vine)
{
  const uint8_t *base = bz_base(table);
  uint64_t root = bz_link(base, link_off), off, last = 0;
  struct walk walk = {.table = table, .down = root};

  *vine = (struct bz_vine){0, 0};
  if (!is_whole(table, root))
    return false;
  /* A row's own links have been read when it is met, so they can be used. */
  while (walk_on(&walk, &off) && off != 0)
  {
    bz_set_link(table, off + BZ_ROW_LEFT_OFF, 0);
    bz_set_link(table, off + BZ_ROW_RIGHT_OFF, 0);
    if (last == 0)
      vine->first = off;
    else
      bz_set_link(table, last + BZ_ROW_RIGHT_OFF, off);
    last = off;
    vine->count++;
  }
  return true;
}

/* Lifts every second one of the first 2 * COUNT rows below LINK_OFF over the one before. */
static void compress(struct blitz_table *table, uint64_t link_off, uint64_t count)
{
  const uint8_t *base = bz_base(table);

  for (; count > 0; count--)
  {
    uint64_t upper = bz_link(base, link_off);
    uint64_t lifted = bz_link(base, upper + BZ_ROW_RIGHT_OFF);

    bz_set_link(table, upper + BZ_ROW_RIGHT_OFF, bz_link(base, lifted + BZ_ROW_LEFT_OFF));
    bz_set_link(table, lifted + BZ_ROW_LEFT_OFF, upper);
    bz_set_link(table, link_off, lifted);
    link_off = lifted + BZ_ROW_RIGHT_OFF;
  }
}

void bz_vine_to_tree(struct blitz_table *table, struct bz_vine vine, uint64_t link_off)
{
  uint64_t full = 1; /* rows of the largest full tree that has no more than these, and 1 */

  while (full * 2 <= vine.count + 1)
    full *= 2;
  bz_set_link(table, link_off, vine.first);
  compress(table, link_off, vine.count + 1 - full);
  for (uint64_t rest = full / 2; rest > 1; rest /= 2)
    compress(table, link_off, rest - 1);
}
