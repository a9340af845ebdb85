/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_walk_damage_test.c: walks over an index file with any damage come to an end, with an
 * error or without, and read nothing but the file. BLITZ_ROUNDS=100000 tries as many damages.
 */
#include "index/lmdb.h"
#include "index/page.h"
#include "support/indexed.h"
#include "support/walked.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum
{
  PAGE_LEN = 4096,
  LIMIT_SECONDS = 240
};

/* ---- damage -------------------------------------------------------------------------------- */

static uint64_t touched; /* so that nobody leaves out what is read */

/* A file that is walked. */
struct walked
{
  struct bz_walk_commit commit;
  unsigned ok, corrupt;
};

/* Is what was found in the file? Some of it is read, and its last byte. */
static void touch(const struct walked *walked, struct blitz_slice slice)
{
  const uint8_t *from = slice.data, *base = walked->commit.base;
  require(from >= base &&
          from + slice.len <= base + walked->commit.page_count * walked->commit.page_len);
  for (size_t i = 0; i < slice.len; i += 256)
    touched += from[i];
  if (slice.len > 0)
    touched += from[slice.len - 1];
}

static enum blitz_rc note(struct walked *walked, enum blitz_rc rc, const struct bz_entry *entry)
{
  require(rc == BLITZ_OK || rc == BLITZ_END || rc == BLITZ_NOT_FOUND || rc == BLITZ_CORRUPT);
  walked->ok += rc == BLITZ_OK;
  walked->corrupt += rc == BLITZ_CORRUPT;
  if (rc == BLITZ_OK)
  {
    touch(walked, entry->sort_key);
    touch(walked, entry->row_key);
    touch(walked, entry->payload);
  }
  return rc;
}

static void visit_nothing(void *arg, struct blitz_slice key, bool first)
{
  (void)first;
  touch(arg, key);
}

/* From one end to the other: no more entries than the file has room for. */
static void walk_through(struct walked *walked, const struct bz_walk *from, bool forward)
{
  uint64_t max = walked->commit.page_count * walked->commit.page_len / 2, count = 0;
  struct bz_walk walk = *from;
  struct bz_entry entry;
  while (note(walked, bz_walk_step(&walk, forward, &entry), &entry) == BLITZ_OK)
    require(++count <= max);
}

static void walk_around(struct walked *walked, const struct bz_walk *from, struct rnd *rnd,
                        unsigned seeks)
{
  static uint8_t key[WALKED_KEY_MAX];
  struct bz_tree_path path;
  struct bz_walk walk = *from;
  struct bz_entry entry;
  for (unsigned i = 0; i < seeks; i++)
  {
    struct blitz_slice sought = bytes(key, any_walked_key(rnd, key));
    enum blitz_rc rc = note(walked, bz_walk_seek(&walk, sought, i % 4, &entry), &entry);
    if (rc == BLITZ_OK && entry.sort_key.len < WALKED_KEY_MAX) /* and one that is there, if it is */
    {
      memcpy(key, entry.sort_key.data, entry.sort_key.len);
      (void)note(walked, bz_walk_get(&walk, bytes(key, entry.sort_key.len), &entry), &entry);
    }
    for (unsigned steps = 0; steps < 5; steps++)
      (void)note(walked, bz_walk_step(&walk, i / 4 % 2, &entry), &entry);
    rc = bz_walk_find_path(&walk, sought, i % 2, &path);
    walked->corrupt += rc == BLITZ_CORRUPT;
  }
  walked->corrupt += bz_walk_sample(&walk, 256, visit_nothing, walked) == BLITZ_CORRUPT;
}

/* Does with the file all that can be done. */
static struct walked walk_all(int fd, struct rnd *rnd, unsigned seeks)
{
  struct bz_walk_maps maps = {0};
  struct walked walked = {.ok = 0};
  struct blitz_slice record;
  enum blitz_rc rc = bz_walk_look(&maps, fd, BZ_WALK_LAST, &walked.commit);
  assert_true(rc == BLITZ_OK || rc == BLITZ_CORRUPT);
  walked.corrupt += rc != BLITZ_OK;
  if (rc == BLITZ_OK && bz_walk_record(&walked.commit, &record) == BLITZ_OK)
    touch(&walked, record);
  for (unsigned i = 0; i < walked_ids.count && rc == BLITZ_OK; i++)
  {
    struct bz_walk walk;
    enum blitz_rc open_rc = bz_walk_open(&walked.commit, walked_ids.ids[i], &walk);
    assert_true(open_rc == BLITZ_OK || open_rc == BLITZ_CORRUPT || open_rc == BLITZ_NOT_FOUND);
    walked.corrupt += open_rc == BLITZ_CORRUPT;
    if (open_rc != BLITZ_OK)
      continue;
    walk_through(&walked, &walk, true);
    walk_through(&walked, &walk, false);
    walk_around(&walked, &walk, rnd, seeks);
  }
  bz_walk_unmap(&maps);
  return walked;
}

/* The file of a table with that many rows, and its bytes. */
static int make_file(const char *name, unsigned rows, uint8_t **bytesp, size_t *lenp)
{
  struct blitz_table *table = new_walked_table(name);
  char file[4200];
  put_walked_rows(table, 0, rows / 2, 0);
  put_walked_rows(table, rows / 2, rows, 0);
  put_walked_rows(table, rows / 4, rows / 3, 1);
  blitz_table_close(table);
  snprintf(file, sizeof file, "%s%s", path_of(name), BLITZ_INDEX_FILE_EXT);
  *bytesp = (uint8_t *)read_whole(file, lenp);
  return open_walked_file(name, O_RDWR);
}

static void write_at(int fd, const uint8_t *from, size_t len, size_t off)
{
  assert_int_equal(pwrite(fd, from, len, (off_t)off), len);
}

/* Numbers that lead to the edge of something. */
static uint64_t some_number(struct rnd *rnd, uint64_t old, uint64_t page_count)
{
  switch (rnd_below(rnd, 9))
  {
  case 0: return 0;
  case 1: return UINT64_MAX;
  case 2: return old + 1;
  case 3: return old - 1;
  case 4: return old ^ UINT64_C(1) << rnd_below(rnd, 64);
  case 5: return PAGE_LEN - rnd_below(rnd, 20);
  case 6: return rnd_below(rnd, (uint32_t)page_count + 2);
  case 7: return rnd_below(rnd, 64);
  default: return rnd_next(rnd);
  }
}

/* Up to four words of one, two, four or eight bytes, here and there, mostly near the begin of
 * the page, where its own numbers are.
 */
static void change_words(uint8_t *page, struct rnd *rnd, uint64_t page_count)
{
  for (unsigned words = 1 + rnd_below(rnd, 4); words > 0; words--)
  {
    size_t size = (size_t)1 << rnd_below(rnd, 4);
    size_t off = rnd_below(rnd, rnd_below(rnd, 2) ? 200 : PAGE_LEN) / size * size;
    uint64_t word = 0;
    memcpy(&word, page + off, size);
    word = some_number(rnd, word, page_count);
    memcpy(page + off, &word, size);
  }
}

static void any_words_are_changed(void **state)
{
  uint8_t *data, page[PAGE_LEN];
  size_t len;
  int fd = make_file("words", 400, &data, &len);
  uint64_t seed = run_seed();
  struct rnd rnd = {seed};
  unsigned rounds = run_rounds(3000 / INDEXED_SLOWER), corrupt = 0;
  (void)state;
  alarm(LIMIT_SECONDS);
  assert_int_equal(walk_all(fd, &rnd, 50).corrupt, 0);
  for (unsigned round = 0; round < rounds; round++)
  {
    size_t at = rnd_below(&rnd, (uint32_t)(len / PAGE_LEN)) * (size_t)PAGE_LEN;
    memcpy(page, data + at, PAGE_LEN);
    change_words(page, &rnd, len / PAGE_LEN);
    write_at(fd, page, PAGE_LEN, at);
    corrupt += walk_all(fd, &rnd, 8).corrupt > 0;
    write_at(fd, data + at, PAGE_LEN, at);
  }
  assert_true(corrupt > rounds / 20);
  assert_int_equal(walk_all(fd, &rnd, 50).corrupt, 0);
  alarm(0);
  close(fd);
  free(data);
}

/* What becomes of a whole page. */
static void damage_page(uint8_t *page, const uint8_t *data, size_t pages, unsigned how,
                        struct rnd *rnd)
{
  switch (how)
  {
  case 0: memset(page, 0, PAGE_LEN); break;
  case 1: memset(page, 0xFF, PAGE_LEN); break;
  case 2:
    for (size_t i = 0; i < PAGE_LEN; i++)
      page[i] = (uint8_t)rnd_next(rnd);
    break;
  case 3: /* all but where it begins */
    for (size_t i = 16; i < PAGE_LEN; i++)
      page[i] = (uint8_t)rnd_next(rnd);
    break;
  case 4: /* all nodes are one */
    for (size_t i = 18; i < page_load16(page + PAGE_LOWER_OFF) && i + 2 < PAGE_LEN; i += 2)
      memcpy(page + i, page + 16, 2);
    break;
  case 5: /* it has all slots that there can be */
    memset(page + PAGE_LOWER_OFF, 0, 4);
    page[PAGE_LOWER_OFF + 1] = page[PAGE_UPPER_OFF + 1] = PAGE_LEN >> 8;
    break;
  case 6: /* a leaf is a branch, and the other way round */ page[PAGE_FLAGS_OFF] ^= 3; break;
  case 7: /* another page that says that it is this one */
    memcpy(page + 8, data + rnd_below(rnd, (uint32_t)pages) * (size_t)PAGE_LEN + 8, PAGE_LEN - 8);
    break;
  default: /* the first half of another one */
    memcpy(page, data + rnd_below(rnd, (uint32_t)pages) * (size_t)PAGE_LEN, PAGE_LEN / 2);
    break;
  }
}

static void every_page_is_damaged(void **state)
{
  uint8_t *data, page[PAGE_LEN];
  size_t len;
  int fd = make_file("pages", 150, &data, &len);
  struct rnd rnd = {run_seed()};
  (void)state;
  alarm(LIMIT_SECONDS);
  for (size_t at = 0; at < len; at += PAGE_LEN)
  {
    unsigned flags = page_load16(data + at + PAGE_FLAGS_OFF), corrupt = 0;
    for (unsigned how = 0; how < 9; how++)
    {
      memcpy(page, data + at, PAGE_LEN);
      damage_page(page, data, len / PAGE_LEN, how, &rnd);
      write_at(fd, page, PAGE_LEN, at);
      if (walk_all(fd, &rnd, 20).corrupt > 0)
        corrupt |= 1u << how;
      write_at(fd, data + at, PAGE_LEN, at);
    }
    /* What shows at once, if the page is used at all. */
    if (corrupt != 0 && (flags == PAGE_BRANCH || flags == PAGE_LEAF))
      assert_int_equal(corrupt & 0x47, 0x47);
  }
  assert_int_equal(walk_all(fd, &rnd, 50).corrupt, 0);
  alarm(0);
  close(fd);
  free(data);
}

/* Beyond the end of the file, its map is a signal. What is cut off of it last may be free. */
static void a_file_is_cut_off_anywhere(void **state)
{
  uint8_t *data;
  size_t len;
  int fd = make_file("cut", 150, &data, &len);
  struct rnd rnd = {run_seed()};
  unsigned cuts = 0, corrupt = 0;
  (void)state;
  for (size_t cut = 0; cut < len; cut += cut < 3 * PAGE_LEN ? 61 : PAGE_LEN / 2 + 40)
  {
    assert_int_equal(ftruncate(fd, (off_t)cut), 0);
    corrupt += walk_all(fd, &rnd, 20).corrupt > 0;
    cuts++;
    assert_int_equal(ftruncate(fd, 0), 0);
    write_at(fd, data, len, 0);
  }
  assert_true(corrupt > cuts / 4 * 3);
  assert_int_equal(walk_all(fd, &rnd, 50).corrupt, 0);
  close(fd);
  free(data);
}

/* ---- ways round ------------------------------------------------------------------------------ */

static void put_number(uint8_t *to, uint64_t n, size_t len)
{
  memcpy(to, &n, len);
}

static void put_child(uint8_t *node, uint64_t number)
{
  put_number(node + NODE_LOW_OFF, number & 0xFFFF, 2);
  put_number(node + NODE_HIGH_OFF, number >> 16 & 0xFFFF, 2);
  put_number(node + NODE_FLAGS_OFF, number >> 32, 2);
}

/* Each branch leads to one page alone: to the first below it, to itself, or to any other. */
static void branches_lead_astray(void **state)
{
  uint8_t *data, *page;
  size_t len;
  int fd = make_file("astray", 700, &data, &len);
  struct rnd rnd = {run_seed()};
  unsigned branches = 0;
  (void)state;
  alarm(LIMIT_SECONDS);
  for (size_t at = 0; at < len; at += PAGE_LEN)
    for (unsigned how = 0; how < 4; how++)
    {
      page = data + at;
      if (page_load16(page + PAGE_FLAGS_OFF) != PAGE_BRANCH || page_load64(page) != at / PAGE_LEN)
        continue;
      uint8_t old[PAGE_LEN];
      uint64_t only = how == 1 ? at / PAGE_LEN : how == 2 ? rnd_below(&rnd, 30) : 0;
      memcpy(old, page, PAGE_LEN);
      for (unsigned slot = 0; slot < (page_load16(page + PAGE_LOWER_OFF) - 16u) / 2; slot++)
      {
        uint8_t *node = page + page_load16(page + PAGE_SLOTS_OFF + 2 * slot);
        if (how == 0 && slot == 0)
          only = node_child(node);
        put_child(node, how < 3 ? only : rnd_below(&rnd, (uint32_t)(len / PAGE_LEN)));
      }
      write_at(fd, page, PAGE_LEN, at);
      branches += how == 0;
      (void)walk_all(fd, &rnd, 20);
      memcpy(page, old, PAGE_LEN);
      write_at(fd, page, PAGE_LEN, at);
    }
  assert_true(branches > 3);
  assert_int_equal(walk_all(fd, &rnd, 50).corrupt, 0);
  alarm(0);
  close(fd);
  free(data);
}

/* ---- other trees ------------------------------------------------------------------------- */

/* Makes a page of COUNT nodes, each being the LEN bytes of NODE. */
static void make_page(uint8_t *page, uint64_t number, unsigned kind, unsigned count,
                      const uint8_t *node, size_t len)
{
  memset(page, 0, PAGE_LEN);
  put_number(page + PAGE_NUMBER_OFF, number, 8);
  put_number(page + PAGE_FLAGS_OFF, kind, 2);
  put_number(page + PAGE_LOWER_OFF, PAGE_SLOTS_OFF + 2 * count, 2);
  put_number(page + PAGE_UPPER_OFF, PAGE_LEN - count * len, 2);
  for (unsigned i = 0; i < count; i++)
  {
    size_t off = PAGE_LEN - (i + 1) * len;
    put_number(page + PAGE_SLOTS_OFF + 2 * i, off, 2);
    memcpy(page + off, node, len);
  }
}

/* Gives the first index another tree, which is from page ROOT on, and lets the file have pages
 * up to LAST.
 */
static void put_tree(int fd, uint8_t *data, size_t len, uint64_t root, unsigned depth,
                     uint64_t last)
{
  unsigned found = 0;
  for (unsigned i = 0; i < 2; i++)
    put_number(data + i * PAGE_LEN + META_OFF + META_LAST_OFF, last, 8);
  for (size_t at = 2 * PAGE_LEN; at + 17 + DB_LEN < len; at++)
    if (memcmp(data + at, "i0000000000000007", 17) == 0)
    {
      uint8_t *record = data + at + 17;
      put_number(record + DB_DEPTH_OFF, depth, 2);
      put_number(record + DB_BRANCHES_OFF, depth > 1, 8);
      put_number(record + DB_LEAVES_OFF, 1, 8);
      put_number(record + DB_LONG_OFF, 0, 8);
      put_number(record + DB_ENTRIES_OFF, 100, 8);
      put_number(record + DB_ROOT_OFF, root, 8);
      found++;
    }
  assert_true(found > 0);
  write_at(fd, data, len, 0);
}

static void put_page(int fd, uint64_t number, unsigned kind, unsigned count, const uint8_t *node,
                     size_t len)
{
  uint8_t page[PAGE_LEN];
  make_page(page, number, kind, count, node, len);
  write_at(fd, page, PAGE_LEN, number * PAGE_LEN);
}

/* A tree as deep as can be, each page of which leads a hundred times to the next: had it ways
 * as it says, there were 100^31 leaves. Nor do they go on if that leaf ends before it begins.
 */
static void a_tree_of_few_pages_is_soon_through(void **state)
{
  uint8_t *data, page[PAGE_LEN], node[NODE_KEY_OFF + 1 + 16] = {0};
  size_t len;
  int fd = make_file("ways", 10, &data, &len);
  uint64_t first = len / PAGE_LEN, last = first + BZ_TREE_DEPTH_MAX - 1;
  struct rnd rnd = {run_seed()};
  struct walked walked;
  (void)state;
  alarm(LIMIT_SECONDS);
  node[NODE_KEY_LEN_OFF] = 1;
  node[NODE_KEY_OFF] = 'k';
  for (uint64_t number = first; number < last; number++)
  {
    put_child(node, number + 1);
    put_page(fd, number, PAGE_BRANCH, 100, node, sizeof node);
  }
  put_child(node, 16); /* the length of a value */
  make_page(page, last, PAGE_LEAF, 100, node, sizeof node);
  put_tree(fd, data, len, first, BZ_TREE_DEPTH_MAX, last);
  for (unsigned i = 0; i < 2; i++)
  {
    write_at(fd, page, PAGE_LEN, last * PAGE_LEN);
    walked = walk_all(fd, &rnd, 20);
    assert_true(walked.ok >= 100 && walked.corrupt > 0);
    page[PAGE_LEN - sizeof node + NODE_KEY_OFF] = 'z'; /* of the first node */
  }
  alarm(0);
  close(fd);
  free(data);
}

/* A branch that leads to itself is as deep as somebody says. */
static void no_tree_is_too_deep(void **state)
{
  uint8_t *data, node[NODE_KEY_OFF + 1 + 16] = {0};
  size_t len;
  int fd = make_file("deep", 10, &data, &len);
  uint64_t first = len / PAGE_LEN;
  struct rnd rnd = {run_seed()};
  (void)state;
  put_child(node, first);
  put_page(fd, first, PAGE_BRANCH, 1, node, sizeof node);
  for (unsigned depth = BZ_TREE_DEPTH_MAX - 1; depth < 65536; depth += depth < 40 ? 1 : 5000)
  {
    put_tree(fd, data, len, first, depth, first);
    assert_true(walk_all(fd, &rnd, 20).corrupt > 0);
  }
  for (unsigned depth = BZ_TREE_DEPTH_MAX - 1; depth < 65536; depth += depth < 40 ? 1 : 5000)
  {
    for (unsigned i = 0; i < 2; i++)
    {
      put_number(data + i * PAGE_LEN + META_OFF + META_MAIN_OFF + DB_ROOT_OFF, first, 8);
      put_number(data + i * PAGE_LEN + META_OFF + META_MAIN_OFF + DB_DEPTH_OFF, depth, 2);
    }
    write_at(fd, data, len, 0);
    assert_true(walk_all(fd, &rnd, 20).corrupt > 0);
  }
  close(fd);
  free(data);
}

/* LMDB has none of more than 511 bytes. */
static void keys_are_not_too_long(void **state)
{
  uint8_t *data, node[NODE_KEY_OFF + LMDB_KEY_MAX + 1 + 16] = {0};
  size_t len;
  int fd = make_file("keys", 10, &data, &len);
  uint64_t first = len / PAGE_LEN;
  struct rnd rnd = {run_seed()};
  (void)state;
  node[NODE_LOW_OFF] = 16;
  node[NODE_KEY_LEN_OFF] = 9;
  put_page(fd, first, PAGE_LEAF, 1, node, sizeof node);
  put_tree(fd, data, len, first + 1, 2, first + 1);
  put_child(node, first);
  for (unsigned more = 0; more < 2; more++)
  {
    put_number(node + NODE_KEY_LEN_OFF, LMDB_KEY_MAX + more, 2);
    put_page(fd, first + 1, PAGE_BRANCH, 1, node, sizeof node);
    assert_int_equal(walk_all(fd, &rnd, 20).corrupt > 0, more > 0);
  }
  close(fd);
  free(data);
}

/* Who reads beyond the last page of a file gets a signal: so it is a leaf, or a branch. */
static void the_last_page_is_damaged(void **state)
{
  uint8_t *data, pages[2][PAGE_LEN], page[PAGE_LEN], node[NODE_KEY_OFF + 9 + 16] = {0};
  size_t len;
  int fd = make_file("last", 20, &data, &len);
  uint64_t first = len / PAGE_LEN;
  struct rnd rnd = {run_seed()};
  unsigned rounds = run_rounds(10000 / INDEXED_SLOWER), corrupt = 0;
  (void)state;
  alarm(LIMIT_SECONDS);
  node[NODE_LOW_OFF] = 16;
  node[NODE_KEY_LEN_OFF] = 9;
  for (unsigned depth = 1; depth <= 2; depth++)
  {
    make_page(pages[0], first, PAGE_LEAF, 50, node, sizeof node);
    put_child(node, first);
    make_page(pages[1], first + 1, PAGE_BRANCH, 50, node, sizeof node);
    write_at(fd, pages[0], depth * PAGE_LEN, len);
    put_tree(fd, data, len, first + depth - 1, depth, first + depth - 1);
    for (unsigned round = 0; round < rounds; round++)
    {
      memcpy(page, pages[depth - 1], PAGE_LEN);
      change_words(page, &rnd, first);
      write_at(fd, page, PAGE_LEN, (first + depth - 1) * PAGE_LEN);
      corrupt += walk_all(fd, &rnd, 4).corrupt > 0;
    }
  }
  assert_true(corrupt > rounds / 10);
  alarm(0);
  close(fd);
  free(data);
}

/* The value of the only entry is on the last page of the file. */
static void long_values_end_where_their_pages_do(void **state)
{
  static const struct
  {
    uint64_t number; /* from that page on */
    uint32_t run, len;
    bool right;
  } tries[] = {
      {0, 1, 100, true},
      {0, 1, PAGE_LEN - 16, true},
      {0, 1, PAGE_LEN - 15, false},
      {0, 2, 100, false},
      {0, 0, 100, false},
      {0, UINT32_MAX, 100, false},
      {0, UINT32_MAX, INT32_MAX, false},
      {0, 0, UINT32_MAX, false},
      {1, 1, 100, false},
      {UINT64_MAX, 1, 100, false},
      {UINT64_MAX / 2, 1, 100, false},
  };
  uint8_t *data, page[PAGE_LEN], node[NODE_KEY_OFF + 10 + 8] = {0};
  size_t len;
  int fd = make_file("long", 20, &data, &len);
  uint64_t first = len / PAGE_LEN;
  struct rnd rnd = {run_seed()};
  (void)state;
  put_tree(fd, data, len, first, 1, first + 1);
  for (unsigned i = 0; i < sizeof tries / sizeof *tries; i++)
  {
    put_number(node + NODE_LOW_OFF, tries[i].len & 0xFFFF, 2);
    put_number(node + NODE_HIGH_OFF, tries[i].len >> 16, 2);
    put_number(node + NODE_FLAGS_OFF, NODE_BIG, 2);
    put_number(node + NODE_KEY_LEN_OFF, 10, 2);
    put_number(node + NODE_KEY_OFF + 10, first + 1 + tries[i].number, 8);
    make_page(page, first, PAGE_LEAF, 1, node, sizeof node);
    write_at(fd, page, PAGE_LEN, len);
    memset(page, 0, PAGE_LEN);
    put_number(page + PAGE_NUMBER_OFF, first + 1, 8);
    put_number(page + PAGE_FLAGS_OFF, PAGE_OVERFLOW, 2);
    put_number(page + PAGE_RUN_OFF, tries[i].run, 4);
    write_at(fd, page, PAGE_LEN, len + PAGE_LEN);
    assert_int_equal(walk_all(fd, &rnd, 20).corrupt == 0, tries[i].right);
  }
  close(fd);
  free(data);
}

/* Sets COUNT bytes at OFF of what pages 0 and 1 tell. */
static void assert_meta_told(int fd, uint8_t *data, size_t off, uint64_t n, size_t count)
{
  struct rnd rnd = {1};
  struct bz_walk_maps maps = {0};
  struct bz_walk_commit commit;
  uint8_t old[2 * PAGE_LEN];
  enum blitz_rc rc;
  memcpy(old, data, sizeof old);
  for (unsigned i = 0; i < 2; i++)
    put_number(data + i * PAGE_LEN + META_OFF + off, n, count);
  write_at(fd, data, sizeof old, 0);
  assert_true(walk_all(fd, &rnd, 4).corrupt > 0);
  rc = bz_walk_look(&maps, fd, meta_number(old), &commit);
  assert_true(rc == BLITZ_OK || rc == BLITZ_CORRUPT);
  bz_walk_unmap(&maps);
  memcpy(data, old, sizeof old);
  write_at(fd, data, sizeof old, 0);
}

static void what_the_first_pages_tell_is_not_believed(void **state)
{
  static const uint32_t page_lens[] = {0, 1, 256, 4095, 8192, 65536, UINT32_MAX};
  uint8_t *data;
  size_t len;
  int fd = make_file("meta", 20, &data, &len);
  struct rnd rnd = {1};
  (void)state;
  for (unsigned i = 0; i < sizeof page_lens / sizeof *page_lens; i++)
    assert_meta_told(fd, data, META_FREE_OFF + DB_PAD_OFF, page_lens[i], 4);
  assert_meta_told(fd, data, META_MAIN_OFF + DB_DEPTH_OFF, 0, 2);
  assert_meta_told(fd, data, META_MAIN_OFF + DB_ROOT_OFF, UINT64_MAX - 1, 8);
  assert_meta_told(fd, data, META_LAST_OFF, 1, 8);
  assert_meta_told(fd, data, META_NUMBER_OFF, UINT64_MAX, 8);
  assert_int_equal(walk_all(fd, &rnd, 4).corrupt, 0);
  close(fd);
  free(data);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(any_words_are_changed),
      cmocka_unit_test(every_page_is_damaged),
      cmocka_unit_test(a_file_is_cut_off_anywhere),
      cmocka_unit_test(branches_lead_astray),
      cmocka_unit_test(a_tree_of_few_pages_is_soon_through),
      cmocka_unit_test(no_tree_is_too_deep),
      cmocka_unit_test(keys_are_not_too_long),
      cmocka_unit_test(the_last_page_is_damaged),
      cmocka_unit_test(long_values_end_where_their_pages_do),
      cmocka_unit_test(what_the_first_pages_tell_is_not_believed),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
