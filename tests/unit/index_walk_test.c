/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_walk_test.c: walks over an index file find what LMDB's cursors find, wherever they are
 * sent: in keys of all lengths, in a commit that was kept while others came, and without LMDB.
 */
#include "index/lmdb.h"
#include "support/walked.h"

#include <fcntl.h>
#include <unistd.h>

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
  struct bz_index_view view;
  pthread_mutex_lock(&table->snapshot_lock);
  require_ok(bz_index_view_begin(table, &view, atomic_load(&table->committed)));
  bz_index_view_end(table, &view);
  require(mdb_txn_begin(table->index->env, NULL, MDB_RDONLY, &moment.txn) == 0);
  require(mdb_txn_id(moment.txn) == view.commit.number);
  pthread_mutex_unlock(&table->snapshot_lock);
  moment.commit = view.commit;
  return moment;
}

static void end_moment(struct moment *moment)
{
  mdb_txn_abort(moment->txn);
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
  assert_ok(bz_walk_open(&moment->commit, walked_ids.ids[index_no], &both.walk));
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
  static uint8_t key[WALKED_KEY_MAX + 16];
  size_t len;
  if (!near || !both->at_entry)
    return bytes(key, any_walked_key(rnd, key));
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
  static uint8_t sort_key[WALKED_KEY_MAX];
  struct blitz_index_entry entry = walked_entry(index_no, n, version);
  struct blitz_slice row_key = walked_row_key(n);
  struct bz_entry by_lmdb;
  struct bz_walk walk;
  size_t len = entry.key.len;
  enum blitz_rc wanted;
  memcpy(sort_key, entry.key.data, len);
  if (!entry.unique)
  {
    memcpy(sort_key + len, row_key.data, row_key.len);
    len += row_key.len;
  }
  wanted = bz_tree_get(both->moment->table, both->moment->txn, both->dbi, bytes(sort_key, len),
                       &by_lmdb, ERR);
  bz_walk_copy(&walk, &both->walk);
  assert_rc(wanted, bz_walk_get(&walk, bytes(sort_key, len), &both->entry));
  if (wanted == BLITZ_OK)
    assert_same(both, BLITZ_OK, &by_lmdb, BLITZ_OK);
}

static void assert_same_walks(struct moment *moment, unsigned index_no)
{
  struct bz_tree_shape shape;
  MDB_stat by_lmdb;
  assert_int_equal(mdb_stat(moment->txn, moment->table->index->dbis[index_no], &by_lmdb), 0);
  for (unsigned forward = 0; forward < 2; forward++)
  {
    struct both both = open_both(moment, index_no);
    uint64_t count = 0;
    bz_walk_shape(&both.walk, &shape);
    assert_int_equal(shape.entry_count, by_lmdb.ms_entries);
    assert_int_equal(shape.page_count,
                     by_lmdb.ms_branch_pages + by_lmdb.ms_leaf_pages + by_lmdb.ms_overflow_pages);
    assert_int_equal(shape.depth, by_lmdb.ms_depth);
    for (step_both(&both, forward); both.at_entry; step_both(&both, forward))
      count++;
    assert_int_equal(count, by_lmdb.ms_entries);
    bz_tree_close_cursor(both.mc);
  }
}

static void go_on_in_a_copy(struct both *both)
{
  struct bz_walk copy;
  memset(&copy, 0xAA, sizeof copy);
  bz_walk_copy(&copy, &both->walk);
  both->walk = copy;
}

/* Seeks, each with some steps after it. */
static void assert_same_seeks(struct moment *moment, unsigned index_no, struct rnd *rnd,
                              unsigned count, uint64_t rows)
{
  struct both both = open_both(moment, index_no);
  for (unsigned i = 0; i < count; i++)
  {
    bool forward = rnd_below(rnd, 2);
    get_both(&both, index_no, rnd_below(rnd, (uint32_t)rows + 3), rnd_below(rnd, 2));
    seek_both(&both, some_key(&both, rnd, rnd_below(rnd, 3) > 0), rnd_below(rnd, 4));
    for (unsigned steps = rnd_below(rnd, 40); steps > 0 && both.at_entry; steps--)
    {
      if (rnd_below(rnd, 16) == 0)
        go_on_in_a_copy(&both);
      step_both(&both, rnd_below(rnd, 16) ? forward : !forward);
    }
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
  for (unsigned index_no = 0; index_no < walked_ids.count; index_no++)
  {
    assert_same_walks(moment, index_no);
    assert_same_seeks(moment, index_no, rnd, seeks, rows);
  }
}

/* ---- walks are LMDB's ------------------------------------------------------------------------ */

static void walks_find_what_cursors_find(void **state)
{
  struct blitz_table *table = new_walked_table("same");
  struct rnd rnd = {run_seed()};
  uint64_t rows = 0;
  (void)state;
  for (unsigned round = 0; round < 12; round++)
  {
    struct moment moment = begin_moment(table);
    assert_moment_same(&moment, &rnd, 300, rows);
    put_walked_rows(table, rows, rows + round * 60, 0);
    rows += round * 60;
    put_walked_rows(table, rows / 3, rows / 2, 1);
    assert_moment_same(&moment, &rnd, 30, rows); /* as it was */
    end_moment(&moment);
  }
  remove_walked_rows(table, 5, rows);
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
  struct blitz_table *table = new_walked_table("grows");
  struct moment moments[MOMENTS];
  struct rnd rnd = {run_seed()};
  (void)state;
  for (unsigned i = 0; i < MOMENTS; i++)
  {
    put_walked_rows(table, i * 150, i * 150 + 150, 0);
    moments[i] = begin_moment(table);
  }
  assert_true(moments[0].commit.page_count * 4 < moments[MOMENTS - 1].commit.page_count);
  remove_walked_rows(table, 0, 1000);
  for (unsigned i = 0; i < MOMENTS; i++)
  {
    assert_moment_same(&moments[i], &rnd, 20, 2000);
    end_moment(&moments[i]);
  }
  blitz_table_close(table);
}

/* Without LMDB; and where a walk is after an end. */
static void a_file_is_walked_by_its_descriptor(void **state)
{
  struct blitz_table *table = new_walked_table("alone");
  struct bz_walk_maps maps = {0};
  struct bz_walk_commit commit;
  struct bz_walk walk;
  struct bz_entry entry, first, last;
  uint64_t count = 1;
  int fd;
  (void)state;
  put_walked_rows(table, 0, 500, 0);
  blitz_table_close(table);
  fd = open_walked_file("alone", O_RDONLY);
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
  uint8_t high[WALKED_KEY_MAX];
  memset(high, 0xFF, sizeof high);
  assert_rc(BLITZ_END, bz_walk_seek(&walk, bytes(high, WALKED_KEY_MAX), BLITZ_SEEK_AFTER, &entry));
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

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(walks_find_what_cursors_find),
      cmocka_unit_test(a_commit_stays_while_the_file_grows),
      cmocka_unit_test(a_file_is_walked_by_its_descriptor),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
