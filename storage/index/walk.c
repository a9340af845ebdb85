/* SPDX-License-Identifier: GPL-2.0-only
 *
 * walk.c: walks over LMDB's pages; see walk.h.
 *
 * Why no bytes can kill or hold up who walks:
 *
 *   - A commit's pages end where the file does, which is asked when the commit is looked at:
 *     beyond, a map is a signal. Nobody cuts off pages of a commit afterwards.
 *   - A page is entered by open_page() alone, if there is such a page, with its number, of the
 *     kind that its level has. A node is looked at by node_at() alone, if it and its key are in
 *     the page; its value by find_value(), if it is in the page, or in pages of its own.
 *   - The way down has as many pages as the tree's record says, at most BZ_TREE_DEPTH_MAX.
 *   - From leaf to leaf, keys must go on in the walk's direction. So no leaf is met twice
 *     without a turn, whatever the branches lead to, and a walk ends.
 *
 * Pages of a commit that is not kept any more, and those that are free, to which a damaged page
 * may lead, may be changed meanwhile. So each number is loaded from the page once (page.h), and
 * what was looked at is what is followed.
 */
#include "base/prefetch.h"
#include "index/walk.h"
#include "index/lmdb.h"
#include "index/page.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_LEN_MIN (UINT64_C(1) << 16)
#define AHEAD 4 /* entries that are fetched from memory before their turn */

/* ---- commits ---------------------------------------------------------------------- */

static enum blitz_rc rc_of_map_errno(void)
{
  return errno == ENOMEM ? BLITZ_NOMEM : BLITZ_IO;
}

/* Makes sure that the last map has LEN bytes. */
static enum blitz_rc map_file(struct bz_walk_maps *maps, int fd, uint64_t len)
{
  uint64_t map_len = MAP_LEN_MIN;
  void *base;

  while (map_len < len)
    map_len *= 2;
  if (maps->count > 0)
  {
    uint8_t *last = maps->maps[maps->count - 1].base;
    size_t *last_len = &maps->maps[maps->count - 1].len;
    if (*last_len >= len)
      return BLITZ_OK;
    if (mremap(last, *last_len, map_len, 0) == last)
    {
      *last_len = map_len;
      return BLITZ_OK;
    }
  }
  if (maps->count == BZ_WALK_MAPS_MAX)
    return BLITZ_NOMEM; /* each is twice as long as the one before, at least */
  base = mmap(NULL, map_len, PROT_READ, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED)
    return rc_of_map_errno();
  maps->maps[maps->count].base = base;
  maps->maps[maps->count++].len = map_len;
  return BLITZ_OK;
}

void bz_walk_unmap(struct bz_walk_maps *maps)
{
  while (maps->count > 0)
  {
    maps->count--;
    munmap(maps->maps[maps->count].base, maps->maps[maps->count].len);
  }
  *maps = (struct bz_walk_maps){0};
}

static enum blitz_rc read_head(int fd, uint64_t off, uint8_t page[META_PAGE_LEN])
{
  ssize_t n = pread(fd, page, META_PAGE_LEN, (off_t)off);

  return n < 0 ? BLITZ_IO : n < META_PAGE_LEN ? BLITZ_CORRUPT : BLITZ_OK;
}

/* Reads page WHICH, 0 or 1, and no other: that may be written to meanwhile. */
static enum blitz_rc read_meta(const struct bz_walk_maps *maps, int fd, unsigned which,
                               uint8_t page[META_PAGE_LEN])
{
  enum blitz_rc rc = read_head(fd, which * maps->page_len, page);

  return rc == BLITZ_OK && !page_is_meta(page, which, maps->page_len) ? BLITZ_CORRUPT : rc;
}

/* Reads the page that says where the trees of commit NUMBER begin. */
static enum blitz_rc find_meta(struct bz_walk_maps *maps, int fd, uint64_t number,
                               uint8_t page[META_PAGE_LEN])
{
  uint8_t other[META_PAGE_LEN];
  enum blitz_rc rc = BLITZ_OK;

  if (maps->page_len == 0)
  {
    rc = read_head(fd, 0, page);
    if (rc == BLITZ_OK && (maps->page_len = page_len_of(page)) == 0)
      rc = BLITZ_CORRUPT;
  }
  if (rc == BLITZ_OK)
    rc = read_meta(maps, fd, number == BZ_WALK_LAST ? 0 : number % 2, page);
  if (rc != BLITZ_OK)
    return rc;
  if (number != BZ_WALK_LAST)
    return meta_number(page) == number ? BLITZ_OK : BLITZ_CORRUPT;
  rc = read_meta(maps, fd, 1, other);
  if (rc == BLITZ_OK && meta_number(other) > meta_number(page))
    memcpy(page, other, sizeof other);
  return rc;
}

/* The last pages of a commit may be free ones, which LMDB does not write: then the file ends
 * before them. What it has of the commit now, nobody cuts off.
 */
static enum blitz_rc count_pages(const struct bz_walk_maps *maps, int fd, uint64_t last,
                                 uint64_t *countp)
{
  struct stat st;

  if (fstat(fd, &st) != 0)
    return BLITZ_IO;
  *countp = (uint64_t)st.st_size / maps->page_len;
  if (last < *countp)
    *countp = last + 1;
  return BLITZ_OK;
}

enum blitz_rc bz_walk_look(struct bz_walk_maps *maps, int fd, uint64_t number,
                           struct bz_walk_commit *commit)
{
  struct bz_walk_commit look = {.base = NULL};
  uint8_t page[META_PAGE_LEN];
  const uint8_t *meta = page + META_OFF;
  enum blitz_rc rc;

  *commit = look;
  if (number != BZ_WALK_LAST && maps->last.base != NULL && maps->last.number == number)
  {
    *commit = maps->last;
    return BLITZ_OK;
  }
  rc = find_meta(maps, fd, number, page);
  if (rc == BLITZ_OK)
    rc = count_pages(maps, fd, page_load64(meta + META_LAST_OFF), &look.page_count);
  if (rc == BLITZ_OK)
    rc = map_file(maps, fd, look.page_count * maps->page_len);
  if (rc != BLITZ_OK)
    return rc;
  look.base = maps->maps[maps->count - 1].base;
  look.page_len = maps->page_len;
  look.number = meta_number(page);
  look.root = page_load64(meta + META_MAIN_OFF + DB_ROOT_OFF);
  look.depth = page_load16(meta + META_MAIN_OFF + DB_DEPTH_OFF);
  *commit = maps->last = look;
  return BLITZ_OK;
}

/* ---- pages and nodes ---------------------------------------------------------------- */

/* Where the walk's page of LEVEL is from now on. */
static bool open_page(struct bz_walk *walk, uint64_t number, unsigned level)
{
  struct bz_walk_step *step = &walk->steps[level];
  unsigned kind = level + 1 == walk->depth ? PAGE_LEAF : PAGE_BRANCH, lower, upper;
  const uint8_t *page;

  if (number < PAGE_FIRST || number >= walk->page_count)
    return false;
  page = walk->base + number * walk->page_len;
  lower = page_load16(page + PAGE_LOWER_OFF);
  upper = page_load16(page + PAGE_UPPER_OFF);
  step->page = page;
  step->slots = (uint16_t)((lower - PAGE_SLOTS_OFF) / 2);
  step->upper = (uint16_t)upper;
  return page_load64(page + PAGE_NUMBER_OFF) == number &&
         page_load16(page + PAGE_FLAGS_OFF) == kind && lower >= PAGE_SLOTS_OFF + 2 &&
         lower <= upper && upper <= walk->page_len;
}

/* The node of SLOT, which the page has, and the length of its key. NULL: it is not in the page. */
static inline const uint8_t *node_at(const struct bz_walk *walk, const struct bz_walk_step *step,
                                     unsigned slot, size_t *key_lenp)
{
  unsigned off = page_load16(step->page + PAGE_SLOTS_OFF + 2 * slot);

  if (off < step->upper || off + NODE_KEY_OFF > walk->page_len)
    return NULL;
  *key_lenp = page_load16(step->page + off + NODE_KEY_LEN_OFF);
  return *key_lenp <= LMDB_KEY_MAX && off + NODE_KEY_OFF + *key_lenp <= walk->page_len
             ? step->page + off
             : NULL;
}

/* A value that has pages of its own. FROM is where the node has their number. */
static bool find_long(const struct bz_walk *walk, const uint8_t *from, size_t len, MDB_val *value)
{
  uint64_t number = page_load64(from), count;
  const uint8_t *page;

  if (number < PAGE_FIRST || number >= walk->page_count)
    return false;
  page = walk->base + number * walk->page_len;
  count = page_load32(page + PAGE_RUN_OFF);
  *value = (MDB_val){len, (void *)(uintptr_t)(page + PAGE_SLOTS_OFF)};
  return page_load64(page + PAGE_NUMBER_OFF) == number &&
         page_load16(page + PAGE_FLAGS_OFF) == PAGE_OVERFLOW && count > 0 &&
         count <= walk->page_count - number && len <= count * walk->page_len - PAGE_SLOTS_OFF;
}

static inline bool find_value(const struct bz_walk *walk, const struct bz_walk_step *leaf,
                              const uint8_t *at, size_t key_len, MDB_val *value)
{
  const uint8_t *from = at + NODE_KEY_OFF + key_len;
  size_t len = node_value_len(at), room = walk->page_len - (size_t)(from - leaf->page);
  unsigned flags = page_load16(at + NODE_FLAGS_OFF);

  *value = (MDB_val){len, (void *)(uintptr_t)from};
  if (flags == walk->flags)
    return len <= room;
  return flags == NODE_BIG && walk->flags == 0 && room >= sizeof(uint64_t) &&
         find_long(walk, from, len, value);
}

/* The pair where the walk is. */
static inline bool read_pair(const struct bz_walk *walk, MDB_val *key, MDB_val *value)
{
  const struct bz_walk_step *leaf = &walk->steps[walk->depth - 1];
  const uint8_t *at = node_at(walk, leaf, leaf->slot, &key->mv_size);

  if (at == NULL)
    return false;
  key->mv_data = (void *)(uintptr_t)(at + NODE_KEY_OFF);
  return find_value(walk, leaf, at, key->mv_size, value);
}

static enum blitz_rc fail(struct bz_walk *walk)
{
  walk->placed = false;
  return BLITZ_CORRUPT;
}

/* The entry where the walk is. A step is hardly more than that, so it is to be part of it. */
static inline __attribute__((always_inline)) enum blitz_rc read_entry(struct bz_walk *walk,
                                                                      struct bz_entry *found)
{
  MDB_val key, value;

  return read_pair(walk, &key, &value) && bz_entry_parse(&key, &value, found) &&
                 (found->sort_key.len > LONG_HEAD) == (key.mv_size == LMDB_KEY_MAX)
             ? BLITZ_OK
             : fail(walk);
}

/* ---- the way down --------------------------------------------------------------------- */

/* The page below the node where the walk is on LEVEL. */
static bool find_child(const struct bz_walk *walk, unsigned level, uint64_t *numberp)
{
  const struct bz_walk_step *step = &walk->steps[level];
  size_t key_len;
  const uint8_t *at = node_at(walk, step, step->slot, &key_len);

  if (at != NULL)
    *numberp = node_child(at);
  return at != NULL;
}

/* Goes down from page NUMBER on LEVEL to the first of the leaves below it, or to the last. */
static enum blitz_rc go_to_edge(struct bz_walk *walk, uint64_t number, unsigned level, bool first)
{
  for (;; level++)
  {
    struct bz_walk_step *step = &walk->steps[level];
    if (!open_page(walk, number, level))
      return fail(walk);
    step->slot = first ? 0 : step->slots - 1u;
    if (level + 1 == walk->depth)
      break;
    if (!find_child(walk, level, &number))
      return fail(walk);
  }
  walk->placed = true;
  return BLITZ_OK;
}

/* A key that is looked for. */
struct sought
{
  const uint8_t *data;
  size_t len;
  uint64_t head; /* the first bytes, with zeros behind a short key: mostly they tell */
};

/* The same as bz_load_head() of a node's key. Before that is the rest of the node, so that of a
 * short one more may be loaded than it has.
 */
static inline uint64_t node_head(const uint8_t *key, size_t len)
{
  if (len >= sizeof(uint64_t))
    return bz_load_be64(key);
  return len > 0 ? bz_load_be64(key + len - sizeof(uint64_t)) << 8 * (sizeof(uint64_t) - len) : 0;
}

static inline int compare_node(const uint8_t *key, size_t len, const struct sought *sought)
{
  uint64_t head = node_head(key, len);
  size_t both = len < sought->len ? len : sought->len;
  int order = 0;

  if (head != sought->head)
    return head < sought->head ? -1 : 1;
  if (both > sizeof head)
    order = memcmp(key + sizeof head, sought->data + sizeof head, both - sizeof head);
  return order != 0 ? order : len < sought->len ? -1 : len > sought->len;
}

static inline void fetch_node(const struct bz_walk_step *step, unsigned slot)
{
  bz_prefetch(step->page + page_load16(step->page + PAGE_SLOTS_OFF + 2 * slot));
}

/* Sets the step's slot: of a leaf, to the first node from the key on; of a branch, to the last
 * one up to it, whose own key is not beyond: that of the first one means nothing.
 */
static bool find_slot(const struct bz_walk *walk, struct bz_walk_step *step,
                      const struct sought *sought, bool leaf)
{
  unsigned low = leaf ? 0 : 1, high = step->slots;

  while (low < high)
  {
    unsigned middle = low + (high - low) / 2;
    size_t key_len;
    const uint8_t *at;
    int order;
    fetch_node(step, low + (middle - low) / 2);
    fetch_node(step, middle + (high - middle) / 2);
    at = node_at(walk, step, middle, &key_len);
    if (at == NULL)
      return false;
    order = compare_node(at + NODE_KEY_OFF, key_len, sought);
    if (order < 0 || (order == 0 && !leaf))
      low = middle + 1;
    else
      high = middle;
  }
  step->slot = leaf ? low : low - 1;
  return true;
}

/* Goes to the first pair from KEY on in the leaf where it would be, or behind its last one. */
static enum blitz_rc go_to_key(struct bz_walk *walk, const MDB_val *key)
{
  struct sought sought = {key->mv_data, key->mv_size, bz_load_head(key->mv_data, key->mv_size)};
  uint64_t number = walk->root;

  for (unsigned level = 0;; level++)
  {
    bool leaf = level + 1 == walk->depth;
    if (!open_page(walk, number, level) || !find_slot(walk, &walk->steps[level], &sought, leaf))
      return fail(walk);
    if (leaf)
      break;
    if (!find_child(walk, level, &number))
      return fail(walk);
  }
  walk->placed = true;
  return BLITZ_OK;
}

/* ---- from leaf to leaf -------------------------------------------------------------------- */

static bool key_at(const struct bz_walk *walk, const struct bz_walk_step *step, unsigned slot,
                   struct blitz_slice *key)
{
  const uint8_t *at = node_at(walk, step, slot, &key->len);

  key->data = at + NODE_KEY_OFF;
  return at != NULL;
}

/* Are all keys of leaf HIGH beyond those of LOW? Only their ends are looked at, of both leaves:
 * that is what keeps a walk from going round.
 */
static bool is_beyond(const struct bz_walk *walk, const struct bz_walk_step *low,
                      const struct bz_walk_step *high)
{
  struct blitz_slice ends[4];

  return key_at(walk, low, 0, &ends[0]) && key_at(walk, low, low->slots - 1u, &ends[1]) &&
         key_at(walk, high, 0, &ends[2]) && key_at(walk, high, high->slots - 1u, &ends[3]) &&
         bz_compare_keys(ends[0], ends[1]) <= 0 && bz_compare_keys(ends[1], ends[2]) < 0 &&
         bz_compare_keys(ends[2], ends[3]) <= 0;
}

/* Goes to the first pair of the next leaf, or to the last one of the leaf before. BLITZ_END: there
 * is none, and the walk is where it was.
 */
static enum blitz_rc go_to_next_leaf(struct bz_walk *walk, bool forward)
{
  unsigned level = walk->depth - 1u, slot;
  struct bz_walk_step *leaf = &walk->steps[level], from = *leaf;
  uint64_t number;
  enum blitz_rc rc;

  do
  {
    if (level == 0)
      return BLITZ_END;
    level--;
    slot = forward ? walk->steps[level].slot + 1 : walk->steps[level].slot - 1;
  } while (slot >= walk->steps[level].slots);
  walk->steps[level].slot = slot;
  if (!find_child(walk, level, &number))
    return fail(walk);
  rc = go_to_edge(walk, number, level + 1, forward);
  if (rc == BLITZ_OK && !(forward ? is_beyond(walk, &from, leaf) : is_beyond(walk, leaf, &from)))
    return fail(walk);
  return rc;
}

/* Goes to a pair, if the walk is behind the last one of a leaf. */
static enum blitz_rc go_to_pair(struct bz_walk *walk)
{
  const struct bz_walk_step *leaf = &walk->steps[walk->depth - 1];

  return leaf->slot < leaf->slots ? BLITZ_OK : go_to_next_leaf(walk, true);
}

/* ---- trees --------------------------------------------------------------------------------- */

/* A walk over the tree of RECORD. Its numbers are for estimates, and only must not be absurd. */
enum blitz_rc bz_walk_open_record(const struct bz_walk_commit *commit, const uint8_t *record,
                                  struct bz_walk *walk)
{
  unsigned depth = page_load16(record + DB_DEPTH_OFF);

  walk->base = commit->base;
  walk->page_count = commit->page_count;
  walk->page_len = (uint32_t)commit->page_len;
  walk->depth = (uint16_t)depth;
  walk->flags = 0;
  walk->root = page_load64(record + DB_ROOT_OFF);
  walk->entries = page_load64(record + DB_ENTRIES_OFF);
  walk->branches = page_load64(record + DB_BRANCHES_OFF);
  walk->leaves = page_load64(record + DB_LEAVES_OFF);
  walk->longs = page_load64(record + DB_LONG_OFF);
  walk->placed = false;
  if (depth > BZ_TREE_DEPTH_MAX || (depth == 0) != (walk->root == DB_NO_ROOT) ||
      page_load16(record + DB_FLAGS_OFF) != 0 || walk->leaves > walk->page_count ||
      walk->branches > walk->page_count || walk->longs > walk->page_count ||
      (depth > 0) != (walk->leaves > 0) || (depth > 1) != (walk->branches > 0) ||
      walk->entries < walk->leaves || walk->entries > walk->leaves * walk->page_len)
  {
    walk->depth = 0;
    return BLITZ_CORRUPT;
  }
  return BLITZ_OK;
}

/* What the tree of databases has under NAME: a database's record, or the file's own. */
static enum blitz_rc find_name(const struct bz_walk_commit *commit, const MDB_val *name,
                               unsigned flags, MDB_val *value)
{
  struct bz_walk walk = {.base = commit->base,
                         .page_count = commit->page_count,
                         .root = commit->root,
                         .page_len = (uint32_t)commit->page_len,
                         .depth = (uint16_t)commit->depth,
                         .flags = (uint16_t)flags};
  enum blitz_rc rc;
  MDB_val key;

  if (commit->base == NULL || commit->depth > BZ_TREE_DEPTH_MAX ||
      (commit->depth == 0) != (commit->root == DB_NO_ROOT))
    return BLITZ_CORRUPT;
  if (commit->depth == 0)
    return BLITZ_NOT_FOUND;
  rc = go_to_key(&walk, name);
  if (rc == BLITZ_OK)
    rc = go_to_pair(&walk);
  if (rc != BLITZ_OK)
    return rc == BLITZ_END ? BLITZ_NOT_FOUND : rc;
  if (!read_pair(&walk, &key, value))
    return BLITZ_CORRUPT;
  return key.mv_size == name->mv_size && memcmp(key.mv_data, name->mv_data, key.mv_size) == 0
             ? BLITZ_OK
             : BLITZ_NOT_FOUND;
}

enum blitz_rc bz_walk_record(const struct bz_walk_commit *commit, struct blitz_slice *record)
{
  MDB_val name = bz_index_record_key(), value = {0, NULL};
  enum blitz_rc rc = find_name(commit, &name, 0, &value);

  *record = rc == BLITZ_OK ? (struct blitz_slice){value.mv_data, value.mv_size}
                           : (struct blitz_slice){NULL, 0};
  return rc;
}

enum blitz_rc bz_walk_open(const struct bz_walk_commit *commit, uint64_t id, struct bz_walk *walk)
{
  char name[DB_NAME_LEN];
  MDB_val key = {DB_NAME_LEN - 1, name}, record;
  enum blitz_rc rc;

  walk->depth = 0;
  walk->placed = false;
  bz_index_db_name(id, name);
  rc = find_name(commit, &key, NODE_DB, &record);
  if (rc != BLITZ_OK)
    return rc;
  return record.mv_size == DB_LEN ? bz_walk_open_record(commit, record.mv_data, walk)
                                  : BLITZ_CORRUPT;
}

/* ---- seeks and steps ---------------------------------------------------------------------- */

/* A bz_seek_pair_fn. */
static int seek_pair(void *arg, MDB_val *at, MDB_val *value)
{
  struct bz_walk *walk = arg;
  enum blitz_rc rc = go_to_key(walk, at);

  if (rc == BLITZ_OK)
    rc = go_to_pair(walk);
  if (rc != BLITZ_OK)
    return rc == BLITZ_END ? MDB_NOTFOUND : MDB_CORRUPTED;
  return read_pair(walk, at, value) ? 0 : MDB_CORRUPTED;
}

enum blitz_rc bz_walk_place(struct bz_walk *walk, struct blitz_slice key, bool beyond)
{
  uint8_t buf[LMDB_KEY_MAX];
  MDB_val at;
  enum blitz_rc rc;

  if (walk->depth == 0)
    return BLITZ_END;
  switch (bz_find_place(seek_pair, walk, key, beyond, buf, &at))
  {
  case 0: return at.mv_size > 0 ? go_to_key(walk, &at) : go_to_edge(walk, walk->root, 0, true);
  case MDB_NOTFOUND:
    rc = go_to_edge(walk, walk->root, 0, false);
    walk->steps[walk->depth - 1].slot++;
    return rc;
  default: return fail(walk);
  }
}

enum blitz_rc bz_walk_seek_part(struct bz_walk *walk, double part, struct bz_entry *found)
{
  uint64_t number = walk->root;

  if (walk->depth == 0)
    return BLITZ_END;
  for (unsigned level = 0;; level++)
  {
    struct bz_walk_step *step = &walk->steps[level];
    if (!open_page(walk, number, level))
      return fail(walk);
    part *= step->slots;
    step->slot = part < step->slots ? (uint32_t)part : step->slots - 1u;
    part -= step->slot;
    if (level + 1 == walk->depth)
      break;
    if (!find_child(walk, level, &number))
      return fail(walk);
  }
  walk->placed = true;
  return read_entry(walk, found);
}

/* A step out of a leaf, or from nowhere. */
static enum blitz_rc step_far(struct bz_walk *walk, bool forward, struct bz_entry *found)
{
  enum blitz_rc rc;

  if (walk->depth == 0)
    return BLITZ_END;
  rc = walk->placed ? go_to_next_leaf(walk, forward) : go_to_edge(walk, walk->root, 0, forward);
  return rc == BLITZ_OK ? read_entry(walk, found) : rc;
}

enum blitz_rc bz_walk_seek(struct bz_walk *walk, struct blitz_slice key, enum blitz_seek where,
                           struct bz_entry *found)
{
  bool backward = where == BLITZ_SEEK_LAST || where == BLITZ_SEEK_BEFORE;
  bool beyond = where == BLITZ_SEEK_LAST || where == BLITZ_SEEK_AFTER;
  enum blitz_rc rc = bz_walk_place(walk, key, beyond);

  if (rc == BLITZ_OK && backward)
  {
    rc = bz_walk_step(walk, false, found);
    if (rc == BLITZ_END)
      walk->steps[walk->depth - 1].slot--; /* before the first */
    return rc;
  }
  if (rc == BLITZ_OK)
    rc = go_to_pair(walk);
  return rc == BLITZ_OK ? read_entry(walk, found) : rc;
}

enum blitz_rc bz_walk_step(struct bz_walk *walk, bool forward, struct bz_entry *found)
{
  struct bz_walk_step *leaf;
  unsigned slot, ahead;

  if (!walk->placed)
    return step_far(walk, forward, found);
  leaf = &walk->steps[walk->depth - 1];
  slot = forward ? leaf->slot + 1 : leaf->slot - 1; /* UINT32_MAX stands before 0 */
  if (slot >= leaf->slots)
    return step_far(walk, forward, found);
  leaf->slot = slot;
  ahead = forward ? slot + AHEAD : slot - AHEAD;
  if (ahead < leaf->slots)
    fetch_node(leaf, ahead);
  return read_entry(walk, found);
}

enum blitz_rc bz_walk_get(struct bz_walk *walk, struct blitz_slice sort_key, struct bz_entry *found)
{
  enum blitz_rc rc = bz_walk_seek(walk, sort_key, BLITZ_SEEK_FIRST, found);

  if (rc == BLITZ_OK && bz_compare_keys(found->sort_key, sort_key) == 0)
    return BLITZ_OK;
  return rc == BLITZ_OK || rc == BLITZ_END ? BLITZ_NOT_FOUND : rc;
}
