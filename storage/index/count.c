/* SPDX-License-Identifier: GPL-2.0-only
 *
 * count.c: how many entries lie between two keys, without walking over them; samples.
 *
 * LMDB counts a whole tree, not a part of it. But on the way down the committed tree, a page's
 * position among its siblings, level by level, says which part of all entries lies before it.
 */
#include "index/lmdb.h"
#include "index/page.h"

#define GROUP_LEN 64 /* entries that are visited together */

/* ---- counts ------------------------------------------------------------------------ */

/* Says how many entries there are below a node, on average. LMDB knows the number of leaves
 * and that of all pages above them; of a tree of up to three levels, that is the number of
 * pages of each.
 */
static void weigh(const struct bz_walk *walk, double *weights)
{
  double entries = (double)walk->entries;
  double pages = (double)walk->leaves;      /* of the level below */
  double branches = (double)walk->branches; /* at this level and above */

  weights[walk->depth - 1] = 1;
  for (unsigned level = walk->depth - 1u; level-- > 0;)
  {
    double fan_out = pages / branches;
    double here = level == 1 ? branches - 1 : branches * (1 - 1 / (fan_out > 2 ? fan_out : 2));
    weights[level] = entries / pages;
    pages = here > 1 ? here : 1;
    branches = branches > pages + 1 ? branches - pages : 1;
  }
}

enum blitz_rc bz_walk_find_path(struct bz_walk *walk, struct blitz_slice key, bool beyond,
                                struct bz_tree_path *path)
{
  enum blitz_rc rc = bz_walk_place(walk, key, beyond);

  if (rc != BLITZ_OK)
    return rc == BLITZ_END ? BLITZ_NOT_FOUND : rc;
  path->depth = walk->depth;
  weigh(walk, path->weights);
  for (unsigned level = 0; level < walk->depth; level++)
  {
    path->steps[level].page = walk->steps[level].page;
    path->steps[level].slot = walk->steps[level].slot;
    path->steps[level].slots = walk->steps[level].slots;
  }
  return BLITZ_OK;
}

double bz_tree_between(const struct bz_tree_path *low, const struct bz_tree_path *high)
{
  unsigned level = 0, leaf = low->depth - 1;
  double count;

  while (level < leaf && low->steps[level].slot == high->steps[level].slot)
    level++;
  count = (double)high->steps[level].slot - low->steps[level].slot;
  if (level == leaf)
    return count;
  /* Whole nodes between the two, then what is right of the one and left of the other. */
  count = (count - 1) * low->weights[level];
  while (++level <= leaf)
    count +=
        (low->steps[level].slots - low->steps[level].slot - (level < leaf)) * low->weights[level] +
        high->steps[level].slot * high->weights[level];
  return count;
}

void bz_walk_shape(const struct bz_walk *walk, struct bz_tree_shape *shape)
{
  shape->entry_count = walk->entries;
  shape->page_count = walk->branches + walk->leaves + walk->longs;
  shape->depth = walk->depth;
}

/* ---- samples -------------------------------------------------------------------- */

/* Calls VISIT for up to COUNT entries from ENTRY on, where the walk is. */
static enum blitz_rc visit_group(struct bz_walk *walk, struct bz_entry *entry, uint64_t count,
                                 blitz_visit_fn *visit, void *arg)
{
  enum blitz_rc rc = BLITZ_OK;

  for (uint64_t i = 0; i < count && rc == BLITZ_OK; i++)
  {
    visit(arg, entry->key, i == 0);
    rc = bz_walk_step(walk, true, entry);
  }
  return rc == BLITZ_END ? BLITZ_OK : rc;
}

enum blitz_rc bz_walk_sample(struct bz_walk *walk, uint64_t max, blitz_visit_fn *visit, void *arg)
{
  bool all = walk->entries <= max;
  uint64_t groups = all || max < GROUP_LEN ? 1 : max / GROUP_LEN;
  struct bz_entry entry;
  enum blitz_rc rc = BLITZ_OK;

  for (uint64_t i = 0; i < groups && rc == BLITZ_OK; i++)
  {
    rc = bz_walk_seek_part(walk, all ? 0 : ((double)i + 0.5) / (double)groups, &entry);
    if (rc == BLITZ_OK)
      rc = visit_group(walk, &entry, all ? UINT64_MAX : GROUP_LEN, visit, arg);
  }
  return rc == BLITZ_END ? BLITZ_OK : rc;
}
