/* SPDX-License-Identifier: GPL-2.0-only
 *
 * count.c: how many entries lie between two keys, without walking over them.
 *
 * LMDB counts a whole tree, not a part of it. So this file goes down the committed
 * tree by itself: a page's position among its siblings, level by level, says which
 * part of all entries lies before it.
 *
 * It runs in a read transaction, whose pages do not change, and believes no number
 * that leads out of a page or deeper than a tree can be.
 */
#include "index/lmdb.h"
#include "index/page.h"

#define GROUP_LEN 64 /* entries that are visited together */

struct page
{
  const uint8_t *at;
  unsigned slots;
  bool leaf;
};

struct tree
{
  const uint8_t *base; /* of the map */
  size_t page_len;
  uint64_t page_count;
  uint64_t root;
  unsigned depth;
  double weights[BZ_TREE_DEPTH_MAX]; /* entries below a node of a page, by its distance from the
                                        root */
};

/* Says how many entries there are below a node, on average. LMDB knows the number of leaves
 * and that of all pages above them; of a tree of up to three levels, that is the number of
 * pages of each.
 */
static void weigh(struct tree *tree, const uint8_t *record)
{
  double entries = (double)page_load64(record + DB_ENTRIES_OFF);
  double pages = (double)page_load64(record + DB_LEAVES_OFF);      /* of the level below */
  double branches = (double)page_load64(record + DB_BRANCHES_OFF); /* at this level and above */

  tree->weights[tree->depth - 1] = 1;
  for (unsigned level = tree->depth - 1; level-- > 0;)
  {
    double fan_out = pages / branches;
    double here = level == 1 ? branches - 1 : branches * (1 - 1 / (fan_out > 2 ? fan_out : 2));
    tree->weights[level] = entries / pages;
    pages = here > 1 ? here : 1;
    branches = branches > pages + 1 ? branches - pages : 1;
  }
}

/* The tree of index ID. False: there is none, or it is empty. */
static bool find_tree(MDB_txn *txn, uint64_t id, struct tree *tree)
{
  char name[DB_NAME_LEN];
  MDB_val key = {DB_NAME_LEN - 1, name}, record;
  MDB_envinfo info;
  MDB_stat stat;
  const uint8_t *page;

  bz_index_db_name(id, name);
  if (mdb_get(txn, MAIN_DBI, &key, &record) != 0 || record.mv_size != DB_LEN ||
      mdb_env_stat(mdb_txn_env(txn), &stat) != 0 || mdb_env_info(mdb_txn_env(txn), &info) != 0)
    return false;
  tree->page_len = stat.ms_psize;
  tree->page_count = info.me_last_pgno + 1; /* beyond that the map has no file */
  /* The record is in a page, which begins with its own number. */
  page = (const uint8_t *)((uintptr_t)record.mv_data & ~(uintptr_t)(tree->page_len - 1));
  tree->base = page - page_load64(page) * tree->page_len;
  tree->root = page_load64((const uint8_t *)record.mv_data + DB_ROOT_OFF);
  tree->depth = page_load16((const uint8_t *)record.mv_data + DB_DEPTH_OFF);
  if (tree->root >= tree->page_count || tree->depth == 0 || tree->depth > BZ_TREE_DEPTH_MAX)
    return false;
  weigh(tree, record.mv_data);
  return true;
}

static bool open_page(const struct tree *tree, uint64_t number, struct page *page)
{
  unsigned lower;

  if (number >= tree->page_count)
    return false;
  page->at = tree->base + number * tree->page_len;
  lower = page_load16(page->at + PAGE_LOWER_OFF);
  page->leaf = (page_load16(page->at + PAGE_FLAGS_OFF) & PAGE_LEAF) != 0;
  page->slots = (lower - PAGE_SLOTS_OFF) / 2;
  return lower >= PAGE_SLOTS_OFF + 2 && lower <= tree->page_len &&
         (page->leaf || (page_load16(page->at + PAGE_FLAGS_OFF) & PAGE_BRANCH) != 0);
}

static const uint8_t *node(const struct tree *tree, const struct page *page, unsigned slot)
{
  unsigned off = page_load16(page->at + PAGE_SLOTS_OFF + 2 * slot);

  return off + NODE_KEY_OFF <= tree->page_len &&
                 off + NODE_KEY_OFF + page_load16(page->at + off + NODE_KEY_LEN_OFF) <=
                     tree->page_len
             ? page->at + off
             : NULL;
}

/* Does the node at AT stand before the place of KEY? */
static bool is_before(const uint8_t *at, struct blitz_slice key, bool beyond)
{
  size_t len = page_load16(at + NODE_KEY_LEN_OFF);
  int order = key.len > 0 ? memcmp(at + NODE_KEY_OFF, key.data, len < key.len ? len : key.len) : 0;

  if (order != 0)
    return order < 0;
  return len < key.len || beyond;
}

/* The number of nodes before the place of KEY. False: the page is damaged. */
static bool count_before(const struct tree *tree, const struct page *page, struct blitz_slice key,
                         bool beyond, unsigned *countp)
{
  unsigned low = page->leaf ? 0 : 1, high = page->slots; /* a branch's first key is empty */

  while (low < high)
  {
    unsigned middle = low + (high - low) / 2;
    const uint8_t *at = node(tree, page, middle);
    if (at == NULL)
      return false;
    if (is_before(at, key, beyond))
      low = middle + 1;
    else
      high = middle;
  }
  *countp = low;
  return true;
}

enum blitz_rc bz_tree_find_path(struct MDB_txn *txn, uint64_t id, struct blitz_slice key,
                                bool beyond, struct bz_tree_path *path)
{
  struct tree tree;
  uint64_t number;

  if (!find_tree(txn, id, &tree))
    return BLITZ_NOT_FOUND;
  path->depth = tree.depth;
  memcpy(path->weights, tree.weights, sizeof path->weights);
  if (key.len > LONG_HEAD)
    key.len = LONG_HEAD;
  number = tree.root;
  for (unsigned level = 0; level < tree.depth; level++)
  {
    const uint8_t *at;
    struct page page;
    unsigned before;

    if (!open_page(&tree, number, &page) || !count_before(&tree, &page, key, beyond, &before) ||
        page.leaf != (level + 1 == tree.depth))
      return BLITZ_CORRUPT;
    /* Child n of a branch has what is from its key on. */
    path->steps[level].page = page.at;
    path->steps[level].slot = page.leaf ? before : before - 1;
    path->steps[level].slots = page.slots;
    if (page.leaf)
      return BLITZ_OK;
    at = node(&tree, &page, before - 1);
    if (at == NULL)
      return BLITZ_CORRUPT;
    number = node_child(at);
  }
  return BLITZ_CORRUPT;
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

void bz_tree_shape(struct MDB_txn *txn, unsigned dbi, struct bz_tree_shape *shape)
{
  MDB_stat stat;

  *shape = (struct bz_tree_shape){0, 0, 0};
  if (mdb_stat(txn, dbi, &stat) != 0)
    return;
  shape->entry_count = stat.ms_entries;
  shape->page_count = stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
  shape->depth = stat.ms_depth;
}

/* ---- samples -------------------------------------------------------------------- */

/* Puts the cursor at about FRACTION of all entries. */
static int seek_fraction(MDB_cursor *mc, const struct tree *tree, double fraction, MDB_val *key,
                         MDB_val *value)
{
  uint64_t number = tree->root;

  for (unsigned level = 0; level < tree->depth; level++)
  {
    struct page page;
    const uint8_t *at;
    unsigned slot;

    if (!open_page(tree, number, &page))
      return MDB_CORRUPTED;
    fraction *= page.slots;
    slot = fraction < page.slots ? (unsigned)fraction : page.slots - 1;
    fraction -= slot;
    at = node(tree, &page, slot);
    if (at == NULL)
      return MDB_CORRUPTED;
    if (page.leaf)
    {
      *key = (MDB_val){page_load16(at + NODE_KEY_LEN_OFF), (void *)(uintptr_t)(at + NODE_KEY_OFF)};
      return mdb_cursor_get(mc, key, value, MDB_SET_RANGE);
    }
    number = node_child(at);
  }
  return MDB_CORRUPTED;
}

/* Calls VISIT for up to COUNT entries from the cursor's on. */
static int visit_group(MDB_cursor *mc, MDB_val *key, MDB_val *value, uint64_t count,
                       blitz_visit_fn *visit, void *arg)
{
  int rc = 0;

  for (uint64_t i = 0; i < count && rc == 0; i++)
  {
    struct bz_entry entry;
    if (!bz_entry_parse(key, value, &entry))
      return MDB_CORRUPTED;
    visit(arg, entry.key, i == 0);
    rc = mdb_cursor_get(mc, key, value, MDB_NEXT);
  }
  return rc;
}

enum blitz_rc bz_tree_sample(struct MDB_txn *txn, uint64_t id, unsigned dbi, uint64_t max,
                             blitz_visit_fn *visit, void *arg)
{
  struct bz_tree_shape shape;
  struct tree tree;
  MDB_cursor *mc;
  MDB_val key, value;
  uint64_t groups = max / GROUP_LEN > 0 ? max / GROUP_LEN : 1;
  int rc;

  bz_tree_shape(txn, dbi, &shape);
  if (!find_tree(txn, id, &tree))
    return BLITZ_OK;
  rc = mdb_cursor_open(txn, dbi, &mc);
  if (rc != 0)
    return BLITZ_NOMEM;
  if (shape.entry_count <= max)
  {
    rc = mdb_cursor_get(mc, &key, &value, MDB_FIRST);
    if (rc == 0)
      rc = visit_group(mc, &key, &value, UINT64_MAX, visit, arg);
  }
  for (uint64_t i = 0; i < groups && rc == 0 && shape.entry_count > max; i++)
  {
    rc = seek_fraction(mc, &tree, ((double)i + 0.5) / (double)groups, &key, &value);
    if (rc == 0)
      rc = visit_group(mc, &key, &value, GROUP_LEN, visit, arg);
    if (rc == MDB_NOTFOUND)
      rc = 0;
  }
  mdb_cursor_close(mc);
  return rc == 0 || rc == MDB_NOTFOUND ? BLITZ_OK : BLITZ_CORRUPT;
}
