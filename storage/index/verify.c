/* SPDX-License-Identifier: GPL-2.0-only
 *
 * verify.c: whether a file is an index file, from one end to the other.
 *
 * LMDB believes what it reads: a wrong number in a page leads it out of its map. So a file
 * that may have been changed by others since it was closed is looked at here first, by
 * reading and not through a map, with no number believed:
 *
 *   - both pages that say where the trees begin
 *   - each page of each tree: its kind, where its nodes are, that they fill it without gaps
 *   - keys ascend, in a page and between what is left and right of it above
 *   - a page belongs to one tree, or to the list of free pages, once
 *   - depth and counts are what the tree's record says
 *   - each entry can be taken apart, and the sum over all of an index is that of the file's
 *     own record: no byte of any entry has changed
 *
 * Memory is a bit for each page, and a page for each level of two trees.
 */
#include "index/lmdb.h"
#include "index/page.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_UNWRITTEN (UINT64_C(1) << 24) /* free pages behind the end of the file */

enum tree_kind
{
  FREE_PAGES, /* the list of free pages: by commit, the numbers of pages */
  DATABASES,  /* the unnamed database: the file's own record, and the others' */
  ENTRIES,
};

struct file
{
  int fd;
  size_t page_len;
  uint64_t file_pages; /* that are in the file */
  uint64_t page_count; /* that may be used */
  uint64_t number;     /* of the last commit */
  uint8_t *seen;       /* a bit for each page */
  MDB_val record;      /* a copy of the file's own record */
  bool names_alone;    /* what the databases have is not looked at */
};

struct tree
{
  struct file *file;
  enum tree_kind kind;
  unsigned depth;
  uint64_t branches, leaves, long_pages, entries; /* met so far */
  uint64_t sum;
  uint8_t *pages; /* one for each level */
};

/* What the keys of a page must be: not before LOW, and before HIGH (NULL: any). */
struct bounds
{
  const uint8_t *low, *high;
};

static bool verify_tree(struct file *file, enum tree_kind kind, const uint8_t *record,
                        uint64_t *sump);

/* ---- pages ------------------------------------------------------------------------ */

static bool read_at(const struct file *file, uint64_t off, uint8_t *to, size_t len)
{
  while (len > 0)
  {
    ssize_t n = pread(file->fd, to, len, (off_t)off);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    to += n;
    off += (uint64_t)n;
    len -= (size_t)n;
  }
  return true;
}

/* Notes that COUNT pages from NUMBER on are used. False: one is already, or cannot be. */
static bool take_pages(struct file *file, uint64_t number, uint64_t count)
{
  if (number < PAGE_FIRST || number >= file->page_count || count > file->page_count - number)
    return false;
  for (; count > 0; count--, number++)
  {
    uint8_t bit = (uint8_t)(1u << number % 8);
    if (file->seen[number / 8] & bit)
      return false;
    file->seen[number / 8] |= bit;
  }
  return true;
}

static bool read_page(struct file *file, uint64_t number, uint8_t *to)
{
  return take_pages(file, number, 1) && number < file->file_pages &&
         read_at(file, number * file->page_len, to, file->page_len) &&
         page_load64(to + PAGE_NUMBER_OFF) == number;
}

/* ---- nodes ---------------------------------------------------------------------------- */

static unsigned slot_count(const uint8_t *page)
{
  return (page_load16(page + PAGE_LOWER_OFF) - PAGE_SLOTS_OFF) / 2u;
}

static const uint8_t *node_at(const uint8_t *page, unsigned slot)
{
  return page + page_load16(page + PAGE_SLOTS_OFF + 2 * slot);
}

/* The bytes that a node takes, 0: that cannot be. */
static size_t node_len(const struct tree *tree, const uint8_t *at, bool leaf, size_t room)
{
  size_t key_len = page_load16(at + NODE_KEY_LEN_OFF), len = NODE_KEY_OFF + key_len;
  unsigned flags = page_load16(at + NODE_FLAGS_OFF);

  if (key_len > LMDB_KEY_MAX)
    return 0;
  if (leaf && (flags & ~(NODE_BIG | NODE_DB)) != 0)
    return 0;
  if (leaf && flags == NODE_BIG)
    len += sizeof(uint64_t);
  else if (leaf)
  {
    len += node_value_len(at);
    /* LMDB counts on two nodes a page, at least. */
    if (len > ((tree->file->page_len - PAGE_SLOTS_OFF) / 2 & ~(size_t)1) - 2)
      return 0;
  }
  len = (len + 1) & ~(size_t)1;
  return len <= room ? len : 0;
}

/* Do the nodes of a page fill the space between its `upper` and its end, one by one? */
static bool verify_nodes(const struct tree *tree, const uint8_t *page, bool leaf)
{
  size_t upper = page_load16(page + PAGE_UPPER_OFF), lower = page_load16(page + PAGE_LOWER_OFF);
  size_t sum = 0, page_len = tree->file->page_len;
  uint8_t begins[PAGE_LEN_MAX / 16] = {0}; /* a bit for each even place: is it taken? */

  for (unsigned slot = 0; slot < (lower - PAGE_SLOTS_OFF) / 2; slot++)
  {
    size_t off = page_load16(page + PAGE_SLOTS_OFF + 2 * slot), len;
    if (off % 2 != 0 || off < upper || off + NODE_KEY_OFF > page_len)
      return false;
    len = node_len(tree, page + off, leaf, page_len - off);
    if (len == 0)
      return false;
    sum += len;
    for (size_t at = off / 2; at < (off + len) / 2; at++)
    {
      if (begins[at / 8] >> at % 8 & 1)
        return false;
      begins[at / 8] |= (uint8_t)(1u << at % 8);
    }
  }
  return sum == page_len - upper;
}

static bool verify_page(const struct tree *tree, const uint8_t *page, bool leaf)
{
  unsigned lower = page_load16(page + PAGE_LOWER_OFF), upper = page_load16(page + PAGE_UPPER_OFF);
  /* But for the list of free pages, LMDB counts on two children. */
  unsigned slots_min = leaf || tree->kind == FREE_PAGES ? 1 : 2;

  return page_load16(page + PAGE_FLAGS_OFF) == (leaf ? PAGE_LEAF : PAGE_BRANCH) && lower % 2 == 0 &&
         lower >= PAGE_SLOTS_OFF + 2 * slots_min && lower <= upper &&
         upper <= tree->file->page_len && verify_nodes(tree, page, leaf);
}

/* ---- keys ---------------------------------------------------------------------------- */

static int compare_keys(const struct tree *tree, const uint8_t *a, const uint8_t *b)
{
  size_t a_len = page_load16(a + NODE_KEY_LEN_OFF), b_len = page_load16(b + NODE_KEY_LEN_OFF);
  int order;

  if (tree->kind == FREE_PAGES)
  {
    uint64_t x = page_load64(a + NODE_KEY_OFF), y = page_load64(b + NODE_KEY_OFF);
    return x < y ? -1 : x > y;
  }
  order = memcmp(a + NODE_KEY_OFF, b + NODE_KEY_OFF, a_len < b_len ? a_len : b_len);
  return order != 0 ? order : a_len < b_len ? -1 : a_len > b_len;
}

/* A branch's first key means nothing. */
static bool verify_keys(const struct tree *tree, const uint8_t *page, bool leaf,
                        const struct bounds *bounds)
{
  const uint8_t *before = bounds->low;
  bool is_bound = true;

  for (unsigned slot = leaf ? 0 : 1; slot < slot_count(page); slot++)
  {
    const uint8_t *at = node_at(page, slot);
    size_t len = page_load16(at + NODE_KEY_LEN_OFF);
    int order;
    if (tree->kind == FREE_PAGES ? len != sizeof(uint64_t) : len == 0)
      return false;
    order = before != NULL ? compare_keys(tree, before, at) : -1;
    if (order > 0 || (order == 0 && !is_bound))
      return false;
    before = at;
    is_bound = false;
  }
  return before == NULL || bounds->high == NULL || compare_keys(tree, before, bounds->high) < 0;
}

/* ---- values ---------------------------------------------------------------------------- */

static bool verify_free_pages(struct file *file, const MDB_val *key, const MDB_val *value)
{
  const uint8_t *from = value->mv_data;
  uint64_t count, before = UINT64_MAX;

  if (page_load64(key->mv_data) > file->number || value->mv_size < sizeof count)
    return false;
  count = page_load64(from);
  if (count > value->mv_size / sizeof count - 1)
    return false;
  for (uint64_t i = 1; i <= count; i++)
  {
    uint64_t number = page_load64(from + i * sizeof number);
    if (number >= before || !take_pages(file, number, 1))
      return false;
    before = number;
  }
  return true;
}

static bool verify_database(struct file *file, const MDB_val *key, const MDB_val *value)
{
  uint64_t id, sum = 0, wanted;

  if (value->mv_size != DB_LEN || !bz_index_db_id(key, &id) ||
      !bz_index_record_sum(&file->record, id, &wanted))
    return false;
  return file->names_alone || (verify_tree(file, ENTRIES, value->mv_data, &sum) && sum == wanted);
}

/* The file's own record comes before all databases. */
static bool keep_record(struct file *file, const MDB_val *key, const MDB_val *value)
{
  MDB_val wanted = bz_index_record_key();

  if (key->mv_size != wanted.mv_size || memcmp(key->mv_data, wanted.mv_data, key->mv_size) != 0)
    return false;
  file->record.mv_data = malloc(value->mv_size);
  if (file->record.mv_data == NULL)
    return false;
  file->record.mv_size = value->mv_size;
  memcpy(file->record.mv_data, value->mv_data, value->mv_size);
  return true;
}

static bool verify_value(struct tree *tree, unsigned flags, const MDB_val *key,
                         const MDB_val *value)
{
  struct bz_entry entry;

  if (((flags & NODE_DB) != 0) && tree->kind != DATABASES)
    return false;
  switch (tree->kind)
  {
  case FREE_PAGES: return verify_free_pages(tree->file, key, value);
  case DATABASES:
    return flags & NODE_DB ? verify_database(tree->file, key, value)
                           : keep_record(tree->file, key, value);
  case ENTRIES: break;
  }
  tree->sum += bz_pair_sum(key, value);
  return bz_entry_parse(key, value, &entry) &&
         (entry.sort_key.len > LONG_HEAD) == (key->mv_size == LMDB_KEY_MAX);
}

/* A value that has pages of its own. */
static bool verify_long(struct tree *tree, const uint8_t *at, const MDB_val *key)
{
  struct file *file = tree->file;
  uint64_t number = page_load64((const uint8_t *)key->mv_data + key->mv_size), count;
  uint8_t head[PAGE_SLOTS_OFF];
  MDB_val value = {node_value_len(at), NULL};
  bool ok;

  if (number >= file->file_pages || !read_at(file, number * file->page_len, head, sizeof head) ||
      page_load64(head + PAGE_NUMBER_OFF) != number ||
      page_load16(head + PAGE_FLAGS_OFF) != PAGE_OVERFLOW)
    return false;
  count = page_load32(head + PAGE_RUN_OFF);
  if (count == 0 || count > file->file_pages - number || !take_pages(file, number, count) ||
      value.mv_size > count * file->page_len - PAGE_SLOTS_OFF)
    return false;
  tree->long_pages += count;
  value.mv_data = malloc(value.mv_size + 1);
  ok = value.mv_data != NULL &&
       read_at(file, number * file->page_len + PAGE_SLOTS_OFF, value.mv_data, value.mv_size) &&
       verify_value(tree, 0, key, &value);
  free(value.mv_data);
  return ok;
}

static bool verify_leaf(struct tree *tree, const uint8_t *page)
{
  tree->leaves++;
  for (unsigned slot = 0; slot < slot_count(page); slot++)
  {
    const uint8_t *at = node_at(page, slot);
    unsigned flags = page_load16(at + NODE_FLAGS_OFF);
    MDB_val key = {page_load16(at + NODE_KEY_LEN_OFF), (void *)(uintptr_t)(at + NODE_KEY_OFF)};
    MDB_val value = {node_value_len(at), (uint8_t *)key.mv_data + key.mv_size};
    tree->entries++;
    if (flags & NODE_BIG ? flags != NODE_BIG || !verify_long(tree, at, &key)
                         : !verify_value(tree, flags, &key, &value))
      return false;
  }
  return true;
}

/* ---- trees ---------------------------------------------------------------------------- */

/* A page and all below it; no deeper than the tree's record says. */
static bool verify_branch(struct tree *tree, uint64_t number, unsigned level,
                          const struct bounds *bounds)
{
  uint8_t *page = tree->pages + level * tree->file->page_len;
  bool leaf = level + 1 == tree->depth;

  if (!read_page(tree->file, number, page) || !verify_page(tree, page, leaf) ||
      !verify_keys(tree, page, leaf, bounds))
    return false;
  if (leaf)
    return verify_leaf(tree, page);
  tree->branches++;
  for (unsigned slot = 0; slot < slot_count(page); slot++)
  {
    struct bounds below = {slot > 0 ? node_at(page, slot) : bounds->low,
                           slot + 1 < slot_count(page) ? node_at(page, slot + 1) : bounds->high};
    if (!verify_branch(tree, node_child(node_at(page, slot)), level + 1, &below))
      return false;
  }
  return true;
}

/* Is the tree what its RECORD says? */
static bool verify_tree(struct file *file, enum tree_kind kind, const uint8_t *record,
                        uint64_t *sump)
{
  struct tree tree = {.file = file, .kind = kind};
  uint64_t root = page_load64(record + DB_ROOT_OFF);
  const struct bounds any = {NULL, NULL};
  bool ok;

  tree.depth = page_load16(record + DB_DEPTH_OFF);
  if (kind != FREE_PAGES && page_load16(record + DB_FLAGS_OFF) != 0)
    return false;
  if (tree.depth > BZ_TREE_DEPTH_MAX || (tree.depth == 0) != (root == DB_NO_ROOT))
    return false;
  tree.pages = malloc((tree.depth + 1) * file->page_len);
  ok = tree.pages != NULL && (tree.depth == 0 || verify_branch(&tree, root, 0, &any));
  free(tree.pages);
  *sump = tree.sum;
  return ok && tree.branches == page_load64(record + DB_BRANCHES_OFF) &&
         tree.leaves == page_load64(record + DB_LEAVES_OFF) &&
         tree.long_pages == page_load64(record + DB_LONG_OFF) &&
         tree.entries == page_load64(record + DB_ENTRIES_OFF);
}

/* ---- the file ------------------------------------------------------------------------ */

/* Looks at both pages that say where the trees begin, and takes that of the later commit. */
static bool choose_meta(struct file *file, uint8_t meta[META_LEN])
{
  uint8_t pages[2][META_PAGE_LEN];
  uint64_t numbers[2];
  unsigned which;

  for (unsigned i = 0; i < 2; i++)
  {
    if (!read_at(file, i * file->page_len, pages[i], META_PAGE_LEN) ||
        !page_is_meta(pages[i], i, file->page_len))
      return false;
    numbers[i] = meta_number(pages[i]);
  }
  which = numbers[1] > numbers[0];
  memcpy(meta, pages[which] + META_OFF, META_LEN);
  file->number = numbers[which];
  return true;
}

static bool begin(struct file *file)
{
  uint8_t head[META_PAGE_LEN];
  struct stat st;

  if (fstat(file->fd, &st) != 0 || !read_at(file, 0, head, sizeof head))
    return false;
  file->page_len = page_len_of(head);
  if (file->page_len == 0)
    return false;
  file->file_pages = (uint64_t)st.st_size / file->page_len;
  return file->file_pages >= 2;
}

bool bz_index_verify(int fd, bool names_alone)
{
  struct file file = {.fd = fd, .names_alone = names_alone};
  uint8_t meta[META_LEN];
  uint64_t sum;
  bool ok;

  if (!begin(&file) || !choose_meta(&file, meta))
    return false;
  file.page_count = page_load64(meta + META_LAST_OFF) + 1;
  if (file.page_count < 2 || file.page_count > file.file_pages + MAX_UNWRITTEN)
    return false;
  file.seen = calloc(file.page_count / 8 + 1, 1);
  ok = file.seen != NULL && verify_tree(&file, DATABASES, meta + META_MAIN_OFF, &sum) &&
       (names_alone || verify_tree(&file, FREE_PAGES, meta + META_FREE_OFF, &sum));
  free(file.seen);
  free(file.record.mv_data);
  return ok;
}
