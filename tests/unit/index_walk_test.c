/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_walk_test.c: walks over an index file find what LMDB's cursors find, wherever they are
 * sent; and in a file with any damage they come to an end, with an error or without, and read
 * nothing but the file. BLITZ_ROUNDS=100000 tries as many damages.
 *
 * A row's value is two numbers, from which its entries are made: keys of a few bytes, or that
 * begin alike, or that are about as long as LMDB's may be, or longer; and small and large
 * payloads.
 */
#include "index/lmdb.h"
#include "index/page.h"
#include "support/support.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum
{
  KEY_MAX = 4000,
  PAYLOAD_MAX = 9000,
  PAGE_LEN = 4096,
  LIMIT_SECONDS = 240
};

static const struct blitz_indexes ids = {.count = 2, .ids = {7, 0xABCDEF0123456789}};

/* ---- rows ------------------------------------------------------------------------------ */

/* Any key of a kind; equal ones are common. */
static size_t make_key(struct rnd *rnd, uint8_t *to)
{
  static const uint8_t few[] = {0, 1, 'a', 0xFE, 0xFF};
  static const size_t alike[] = {0, 3, 20, 498, 510, 700, 3000};
  unsigned kind = rnd_below(rnd, 16);
  size_t head = kind < 8 ? 0 : alike[rnd_below(rnd, sizeof alike / sizeof *alike)], len;
  memset(to, kind < 12 ? 'h' : 0xFF, head);
  len = head + rnd_below(rnd, kind < 4 ? 4 : 12);
  for (size_t i = head; i < len; i++)
    to[i] = few[rnd_below(rnd, sizeof few)];
  return len;
}

static size_t make_payload(struct rnd *rnd, uint8_t *to)
{
  size_t len = rnd_below(rnd, 12) > 0 ? rnd_below(rnd, 24) : rnd_below(rnd, PAYLOAD_MAX);
  for (size_t i = 0; i < len; i++)
    to[i] = (uint8_t)(i + len);
  return len;
}

static enum blitz_rc make_entry(void *arg, unsigned index_no, struct blitz_slice value,
                                struct blitz_index_entry *entry, struct blitz_error *err)
{
  static _Thread_local uint8_t key[KEY_MAX], payload[PAYLOAD_MAX];
  struct rnd rnd = {bz_load_le64(value.data) * 31 + bz_load_le64((const char *)value.data + 8)};
  size_t len = make_key(&rnd, key);
  (void)arg;
  (void)err;
  if (index_no == 1)
  {
    memcpy(key + len, value.data, 8);
    len += 8;
  }
  *entry = (struct blitz_index_entry){.key = bytes(key, len),
                                      .payload = bytes(payload, make_payload(&rnd, payload)),
                                      .unique = index_no == 1};
  return BLITZ_OK;
}

static const struct blitz_indexer indexer = {.make_entry = make_entry};

static struct blitz_slice value_of(uint64_t n, uint64_t version)
{
  static uint8_t value[16];
  bz_store_le64(value, n);
  bz_store_le64(value + 8, version);
  return bytes(value, sizeof value);
}

static struct blitz_table *new_walked(const char *name)
{
  struct blitz_create_options options = {0};
  struct blitz_table *table;
  assert_ok(blitz_table_create(path_of(name), &options, true, ERR));
  assert_ok(open_with_indexes(name, &ids, &indexer, &table, ERR));
  return table;
}

static void put_walked(struct blitz_table *table, uint64_t from, uint64_t to, uint64_t version)
{
  struct blitz_txn *txn = new_txn();
  blitz_txn_set_indexer(txn, &indexer);
  for (uint64_t n = from; n < to; n++)
    if (version == 0)
      assert_ok(blitz_insert(txn, table, number_key(n), value_of(n, 0), ERR));
    else
      assert_ok(blitz_update(txn, table, number_key(n), number_key(n), value_of(n, version), ERR));
  assert_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
}

static void remove_walked(struct blitz_table *table, uint64_t from, uint64_t to)
{
  struct blitz_txn *txn = new_txn();
  blitz_txn_set_indexer(txn, &indexer);
  for (uint64_t n = from; n < to; n++)
    assert_ok(blitz_remove(txn, table, number_key(n), ERR));
  assert_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
}

/* ---- what LMDB finds ---------------------------------------------------------------------- */

/* A read transaction, and the commit that it keeps. */
struct moment
{
  struct blitz_table *table;
  struct MDB_txn *txn;
  struct bz_walk_commit commit;
};

static struct moment begin_moment(struct blitz_table *table)
{
  struct moment moment = {.table = table};
  pthread_mutex_lock(&table->snapshot_lock);
  require_ok(bz_index_read_begin(table, &moment.txn));
  require_ok(bz_walk_look_txn(table->index, moment.txn, &moment.commit));
  pthread_mutex_unlock(&table->snapshot_lock);
  return moment;
}

static void end_moment(struct moment *moment)
{
  pthread_mutex_lock(&moment->table->snapshot_lock);
  bz_index_read_end(moment->table, moment->txn);
  pthread_mutex_unlock(&moment->table->snapshot_lock);
  bz_index_read_free(moment->txn);
}

/* An index, read by both. */
struct both
{
  struct moment *moment;
  unsigned dbi;
  struct MDB_cursor *mc;
  struct bz_walk walk;
  struct bz_entry entry; /* where they are */
  bool at_entry;
};

static struct both open_both(struct moment *moment, unsigned index_no)
{
  struct both both = {.moment = moment, .dbi = moment->table->index->dbis[index_no]};
  assert_ok(bz_tree_open_cursor(moment->table, moment->txn, both.dbi, &both.mc, ERR));
  assert_ok(bz_walk_open(&moment->commit, ids.ids[index_no], &both.walk));
  return both;
}

static void assert_same_slice(struct blitz_slice a, struct blitz_slice b)
{
  assert_int_equal(a.len, b.len);
  if (a.len > 0)
    assert_memory_equal(a.data, b.data, a.len);
}

static void assert_same(struct both *both, enum blitz_rc wanted, const struct bz_entry *by_lmdb,
                        enum blitz_rc rc)
{
  assert_rc(wanted, rc);
  both->at_entry = rc == BLITZ_OK;
  if (rc != BLITZ_OK)
    return;
  assert_same_slice(by_lmdb->sort_key, both->entry.sort_key);
  assert_same_slice(by_lmdb->key, both->entry.key);
  assert_same_slice(by_lmdb->row_key, both->entry.row_key);
  assert_same_slice(by_lmdb->payload, both->entry.payload);
  assert_int_equal(by_lmdb->off, both->entry.off);
  assert_int_equal(by_lmdb->unique, both->entry.unique);
}

static void seek_both(struct both *both, struct blitz_slice key, enum blitz_seek where)
{
  struct bz_entry by_lmdb;
  enum blitz_rc wanted = bz_tree_seek(both->mc, key, where, &by_lmdb);
  assert_same(both, wanted, &by_lmdb, bz_walk_seek(&both->walk, key, where, &both->entry));
}

static void step_both(struct both *both, bool forward)
{
  struct bz_entry by_lmdb;
  enum blitz_rc wanted = bz_tree_step(both->mc, forward, &by_lmdb);
  assert_same(both, wanted, &by_lmdb, bz_walk_step(&both->walk, forward, &both->entry));
}

/* A key that is there, or near one, or any. */
static struct blitz_slice some_key(struct both *both, struct rnd *rnd, bool near)
{
  static uint8_t key[KEY_MAX + 16];
  size_t len;
  if (!near || !both->at_entry)
    return bytes(key, make_key(rnd, key));
  len = both->entry.sort_key.len;
  memcpy(key, both->entry.sort_key.data, len);
  if (len > 0 && rnd_below(rnd, 2))
    len -= rnd_below(rnd, len < 20 ? (uint32_t)len + 1 : 20);
  if (len > 0 && rnd_below(rnd, 3) == 0)
    key[len - 1] += (uint8_t)(1 - 2 * (int)rnd_below(rnd, 2));
  if (rnd_below(rnd, 5) == 0)
    key[len++] = (uint8_t)rnd_next(rnd);
  return bytes(key, len);
}

/* The entry of row N and VERSION, whether it is there or not. */
static void get_both(struct both *both, unsigned index_no, uint64_t n, uint64_t version)
{
  static uint8_t sort_key[KEY_MAX + 8];
  struct blitz_index_entry entry;
  struct bz_entry by_lmdb;
  struct bz_walk walk;
  size_t len;
  enum blitz_rc wanted;
  assert_ok(make_entry(NULL, index_no, value_of(n, version), &entry, ERR));
  memcpy(sort_key, entry.key.data, entry.key.len);
  len = entry.key.len;
  if (!entry.unique)
  {
    memcpy(sort_key + len, number_key(n).data, 8);
    len += 8;
  }
  wanted = bz_tree_get(both->moment->table, both->moment->txn, both->dbi, &entry, number_key(n),
                       &by_lmdb, ERR);
  bz_walk_copy(&walk, &both->walk);
  assert_rc(wanted, bz_walk_get(&walk, bytes(sort_key, len), &both->entry));
  both->at_entry = false;
  if (wanted != BLITZ_OK)
    return;
  by_lmdb.sort_key = bytes(sort_key, len); /* it says only what its caller did not know */
  by_lmdb.key = entry.key;
  assert_same(both, BLITZ_OK, &by_lmdb, BLITZ_OK);
}

static void assert_same_walks(struct moment *moment, unsigned index_no)
{
  struct bz_tree_shape by_lmdb, shape;
  bz_tree_shape(moment->txn, moment->table->index->dbis[index_no], &by_lmdb);
  for (unsigned forward = 0; forward < 2; forward++)
  {
    struct both both = open_both(moment, index_no);
    uint64_t count = 0;
    bz_walk_shape(&both.walk, &shape);
    assert_int_equal(shape.entry_count, by_lmdb.entry_count);
    assert_int_equal(shape.page_count, by_lmdb.page_count);
    assert_int_equal(shape.depth, by_lmdb.depth);
    for (step_both(&both, forward); both.at_entry; step_both(&both, forward))
      count++;
    assert_int_equal(count, by_lmdb.entry_count);
    bz_tree_close_cursor(both.mc);
  }
}

/* Seeks, each with some steps after it; and now and then the walk goes on in a copy. */
static void assert_same_seeks(struct moment *moment, unsigned index_no, struct rnd *rnd,
                              unsigned count, uint64_t rows)
{
  struct both both = open_both(moment, index_no);
  for (unsigned i = 0; i < count; i++)
  {
    bool forward = rnd_below(rnd, 2);
    seek_both(&both, some_key(&both, rnd, rnd_below(rnd, 3) > 0), rnd_below(rnd, 4));
    for (unsigned steps = rnd_below(rnd, 40); steps > 0 && both.at_entry; steps--)
      step_both(&both, rnd_below(rnd, 16) ? forward : !forward);
    if (rnd_below(rnd, 4) == 0)
    {
      struct bz_walk copy;
      memset(&copy, 0xAA, sizeof copy);
      bz_walk_copy(&copy, &both.walk);
      both.walk = copy;
    }
    get_both(&both, index_no, rnd_below(rnd, (uint32_t)rows + 3), rnd_below(rnd, 2));
  }
  bz_tree_close_cursor(both.mc);
}

static void assert_moment_same(struct moment *moment, struct rnd *rnd, unsigned seeks,
                               uint64_t rows)
{
  struct blitz_slice record;
  MDB_val key = bz_index_record_key(), by_lmdb;
  assert_int_equal(mdb_get(moment->txn, MAIN_DBI, &key, &by_lmdb), 0);
  assert_ok(bz_walk_record(&moment->commit, &record));
  assert_same_slice(record, bytes(by_lmdb.mv_data, by_lmdb.mv_size));
  for (unsigned index_no = 0; index_no < ids.count; index_no++)
  {
    assert_same_walks(moment, index_no);
    assert_same_seeks(moment, index_no, rnd, seeks, rows);
  }
}

/* ---- walks are LMDB's ------------------------------------------------------------------------ */

static void walks_find_what_cursors_find(void **state)
{
  struct blitz_table *table = new_walked("same");
  struct rnd rnd = {run_seed()};
  uint64_t rows = 0;
  (void)state;
  for (unsigned round = 0; round < 12; round++)
  {
    struct moment moment = begin_moment(table);
    assert_moment_same(&moment, &rnd, 300, rows);
    put_walked(table, rows, rows + round * 60, 0);
    rows += round * 60;
    put_walked(table, rows / 3, rows / 2, 1);
    assert_moment_same(&moment, &rnd, 30, rows); /* as it was */
    end_moment(&moment);
  }
  remove_walked(table, 5, rows);
  struct moment moment = begin_moment(table);
  assert_moment_same(&moment, &rnd, 300, rows);
  end_moment(&moment);
  blitz_table_close(table);
}

/* The file outgrows its maps, while each commit is kept. */
static void a_commit_stays_while_the_file_grows(void **state)
{
  enum
  {
    MOMENTS = 12
  };
  struct blitz_table *table = new_walked("grows");
  struct moment moments[MOMENTS];
  struct rnd rnd = {run_seed()};
  (void)state;
  for (unsigned i = 0; i < MOMENTS; i++)
  {
    put_walked(table, i * 150, i * 150 + 150, 0);
    moments[i] = begin_moment(table);
  }
  assert_true(moments[0].commit.page_count * 4 < moments[MOMENTS - 1].commit.page_count);
  remove_walked(table, 0, 1000);
  for (unsigned i = 0; i < MOMENTS; i++)
  {
    assert_moment_same(&moments[i], &rnd, 20, 2000);
    end_moment(&moments[i]);
  }
  blitz_table_close(table);
}

static int open_file(const char *name, int flags)
{
  char file[4200];
  int fd;
  snprintf(file, sizeof file, "%s%s", path_of(name), BLITZ_INDEX_FILE_EXT);
  fd = open(file, flags | O_CLOEXEC);
  assert_true(fd >= 0);
  return fd;
}

/* Without LMDB; and where a walk is after an end. */
static void a_file_is_walked_by_its_descriptor(void **state)
{
  struct blitz_table *table = new_walked("alone");
  struct bz_walk_maps maps = {0};
  struct bz_walk_commit commit;
  struct bz_walk walk;
  struct bz_entry entry, first, last;
  uint64_t count = 1;
  int fd;
  (void)state;
  put_walked(table, 0, 500, 0);
  blitz_table_close(table);
  fd = open_file("alone", O_RDONLY);
  assert_ok(bz_walk_look(&maps, fd, BZ_WALK_LAST, &commit));
  assert_rc(BLITZ_NOT_FOUND, bz_walk_open(&commit, 8, &walk));
  assert_rc(BLITZ_END, bz_walk_step(&walk, true, &entry));
  assert_ok(bz_walk_open(&commit, 7, &walk));
  assert_ok(bz_walk_step(&walk, true, &first));
  while (bz_walk_step(&walk, true, &last) == BLITZ_OK)
    count++;
  assert_int_equal(count, 500);
  assert_rc(BLITZ_END, bz_walk_step(&walk, true, &entry));
  assert_ok(bz_walk_step(&walk, false, &entry));
  assert_ok(bz_walk_step(&walk, true, &entry));
  assert_ptr_equal(entry.payload.data, last.payload.data);
  /* After seeks that find nothing. */
  uint8_t high[KEY_MAX];
  memset(high, 0xFF, sizeof high);
  assert_rc(BLITZ_END, bz_walk_seek(&walk, bytes(high, KEY_MAX), BLITZ_SEEK_AFTER, &entry));
  assert_rc(BLITZ_END, bz_walk_step(&walk, true, &entry));
  assert_ok(bz_walk_step(&walk, false, &entry));
  assert_ptr_equal(entry.payload.data, last.payload.data);
  assert_rc(BLITZ_END, bz_walk_seek(&walk, text(""), BLITZ_SEEK_BEFORE, &entry));
  assert_rc(BLITZ_END, bz_walk_step(&walk, false, &entry));
  assert_ok(bz_walk_step(&walk, true, &entry));
  assert_ptr_equal(entry.payload.data, first.payload.data);
  bz_walk_unmap(&maps);
  close(fd);
}

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
  static uint8_t key[KEY_MAX];
  struct bz_tree_path path;
  struct bz_walk walk = *from;
  struct bz_entry entry;
  for (unsigned i = 0; i < seeks; i++)
  {
    struct blitz_slice sought = bytes(key, make_key(rnd, key));
    enum blitz_rc rc = note(walked, bz_walk_seek(&walk, sought, i % 4, &entry), &entry);
    if (rc == BLITZ_OK && entry.sort_key.len < KEY_MAX) /* and one that is there, if it is */
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
  for (unsigned i = 0; i < ids.count && rc == BLITZ_OK; i++)
  {
    struct bz_walk walk;
    enum blitz_rc open_rc = bz_walk_open(&walked.commit, ids.ids[i], &walk);
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
  struct blitz_table *table = new_walked(name);
  char file[4200];
  put_walked(table, 0, rows / 2, 0);
  put_walked(table, rows / 2, rows, 0);
  put_walked(table, rows / 4, rows / 3, 1);
  blitz_table_close(table);
  snprintf(file, sizeof file, "%s%s", path_of(name), BLITZ_INDEX_FILE_EXT);
  *bytesp = (uint8_t *)read_whole(file, lenp);
  return open_file(name, O_RDWR);
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
 * a page, where its own numbers are.
 */
static void any_words_are_changed(void **state)
{
  uint8_t *data, page[PAGE_LEN];
  size_t len;
  int fd = make_file("words", 400, &data, &len);
  uint64_t seed = run_seed();
  struct rnd rnd = {seed};
  unsigned rounds = run_rounds(3000), corrupt = 0;
  (void)state;
  alarm(LIMIT_SECONDS);
  assert_int_equal(walk_all(fd, &rnd, 50).corrupt, 0);
  for (unsigned round = 0; round < rounds; round++)
  {
    size_t at = rnd_below(&rnd, (uint32_t)(len / PAGE_LEN)) * (size_t)PAGE_LEN;
    memcpy(page, data + at, PAGE_LEN);
    for (unsigned words = 1 + rnd_below(&rnd, 4); words > 0; words--)
    {
      size_t size = (size_t)1 << rnd_below(&rnd, 4);
      size_t off = rnd_below(&rnd, rnd_below(&rnd, 2) ? 200 : PAGE_LEN) / size * size;
      uint64_t old = 0;
      memcpy(&old, page + off, size);
      old = some_number(&rnd, old, len / PAGE_LEN);
      memcpy(page + off, &old, size);
    }
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
    for (unsigned how = 0; how < 9; how++)
    {
      memcpy(page, data + at, PAGE_LEN);
      damage_page(page, data, len / PAGE_LEN, how, &rnd);
      write_at(fd, page, PAGE_LEN, at);
      (void)walk_all(fd, &rnd, 20);
      write_at(fd, data + at, PAGE_LEN, at);
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

/* Writes a page of COUNT nodes, each being the LEN bytes of NODE. */
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

/* A tree as deep as can be, each page of which leads a hundred times to the next: had it ways
 * as it says, there were 100^31 leaves.
 */
static void a_tree_of_few_pages_is_soon_through(void **state)
{
  uint8_t *data, page[PAGE_LEN], node[NODE_KEY_OFF + 1 + 16] = {0};
  size_t len, found = 0;
  int fd = make_file("ways", 10, &data, &len);
  uint64_t first = len / PAGE_LEN;
  struct rnd rnd = {run_seed()};
  struct walked walked;
  (void)state;
  node[NODE_KEY_LEN_OFF] = 1;
  node[NODE_KEY_OFF] = 'k';
  for (unsigned level = 0; level < BZ_TREE_DEPTH_MAX; level++)
  {
    bool leaf = level + 1 == BZ_TREE_DEPTH_MAX;
    put_child(node, leaf ? 16 : first + level + 1); /* or 16 bytes of a value */
    make_page(page, first + level, leaf ? PAGE_LEAF : PAGE_BRANCH, 100, node, sizeof node);
    write_at(fd, page, PAGE_LEN, (first + level) * PAGE_LEN);
  }
  for (unsigned i = 0; i < 2; i++) /* the last page in use */
    put_number(data + i * PAGE_LEN + META_OFF + META_LAST_OFF, first + BZ_TREE_DEPTH_MAX, 8);
  for (size_t at = 2 * PAGE_LEN; at + DB_NAME_LEN < len; at++)
    if (memcmp(data + at, "i0000000000000007", DB_NAME_LEN - 1) == 0)
    {
      uint8_t *record = data + at + DB_NAME_LEN - 1;
      put_number(record + DB_DEPTH_OFF, BZ_TREE_DEPTH_MAX, 2);
      put_number(record + DB_BRANCHES_OFF, 30, 8);
      put_number(record + DB_LEAVES_OFF, 1, 8);
      put_number(record + DB_ENTRIES_OFF, 100, 8);
      put_number(record + DB_ROOT_OFF, first, 8);
      found++;
    }
  assert_true(found > 0);
  write_at(fd, data, len, 0);
  alarm(LIMIT_SECONDS);
  walked = walk_all(fd, &rnd, 20);
  assert_true(walked.ok >= 100 && walked.corrupt > 0);
  alarm(0);
  close(fd);
  free(data);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(walks_find_what_cursors_find),
      cmocka_unit_test(a_commit_stays_while_the_file_grows),
      cmocka_unit_test(a_file_is_walked_by_its_descriptor),
      cmocka_unit_test(any_words_are_changed),
      cmocka_unit_test(every_page_is_damaged),
      cmocka_unit_test(a_file_is_cut_off_anywhere),
      cmocka_unit_test(branches_lead_astray),
      cmocka_unit_test(a_tree_of_few_pages_is_soon_through),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
