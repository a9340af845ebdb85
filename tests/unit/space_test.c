/* SPDX-License-Identifier: GPL-2.0-only
 *
 * space_test.c: space while snapshots are open, and versions while commits are under way.
 *  1. Only what a snapshot sees is kept: rows that came and went between two of them are not.
 *  2. Updates of random sizes under overlapping scans, or beside one that never ends, need
 *     little more than without them; free blocks join whatever the order in which they came.
 *  3. What a long reader has left is given back in slices, a bounded one for each commit.
 *  4. A look-up beside a commit that has changed the trees and is not done finds what was
 *     there before, at once.
 */
#include "rows/rows.h"

#include "support.h"

#include <unistd.h>

static int begin(void **state)
{
  (void)state;
  alarm(200);
  catch_log();
  return 0;
}

static void update_row(struct blitz_txn *txn, struct blitz_table *table, uint64_t n,
                       uint64_t version, size_t len)
{
  char value[2000];
  row_fill(value, len, n, version);
  assert_ok(blitz_update(txn, table, number_key(n), number_key(n), bytes(value, len), ERR));
  assert_ok(blitz_txn_commit(txn, ERR));
}

static struct blitz_cursor *begin_scan(struct blitz_table *table)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  assert_ok(blitz_scan_begin(cursor));
  assert_ok(blitz_scan_next(cursor, &value, ERR));
  return cursor;
}

/* Goes on to the end: each of ROWS rows is there once, in a version up to MAX. */
static void finish_scan(struct blitz_cursor *cursor, uint64_t rows, uint64_t max)
{
  struct blitz_slice value;
  uint64_t met = 0, version;
  do
  {
    const uint8_t *key = blitz_cursor_key(cursor).data;
    uint64_t n = 0;
    for (unsigned i = 0; i < 8; i++)
      n = n << 8 | key[i];
    assert_true(n < rows);
    if (met++ > 0)
      assert_true(row_proves(value, n, &version) && version <= max);
  } while (blitz_scan_next(cursor, &value, ERR) == BLITZ_OK);
  assert_int_equal(met, rows);
}

static void only_what_a_snapshot_sees_is_kept(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("counter");
  struct blitz_txn *txn = new_txn();
  put_rows(table, 0, 10, 100, 1);
  struct blitz_cursor *reader = begin_scan(table);
  uint64_t before = table->end;
  for (uint64_t version = 2; version < 20000; version++)
    update_row(txn, table, 3, version, 100);
  /* The version that the reader sees, and those that the last commits have not looked at yet. */
  assert_in_range(table->removed.count, 1, 5);
  assert_true(table->end - before < 10000);
  finish_scan(reader, 10, 1);
  blitz_cursor_close(reader);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

enum
{
  ROWS = 3000,
  UPDATES = 60000
};

/* The file's length after updates of random sizes. */
static uint64_t churn(bool overlapping, bool never_ending)
{
  struct rnd rnd = {12345};
  struct blitz_table *table = new_table("churn");
  struct blitz_txn *txn = new_txn();
  struct blitz_cursor *readers[3] = {NULL, NULL, NULL}, *endless = NULL;
  put_rows(table, 0, ROWS, 500, 1);
  if (never_ending)
    endless = begin_scan(table);
  for (uint64_t i = 0; i < UPDATES; i++)
  {
    update_row(txn, table, rnd_below(&rnd, ROWS), 2, 16 + rnd_below(&rnd, 984));
    if (overlapping && i % 200 == 0)
    {
      struct blitz_cursor **next = &readers[i / 200 % 3];
      if (*next != NULL)
      {
        finish_scan(*next, ROWS, 2);
        blitz_cursor_close(*next);
      }
      *next = begin_scan(table);
    }
  }
  if (never_ending)
    finish_scan(endless, ROWS, 1);
  blitz_cursor_close(endless);
  for (unsigned i = 0; i < 3; i++)
    blitz_cursor_close(readers[i]);
  uint64_t end = table->end;
  blitz_txn_free(txn);
  blitz_table_close(table);
  blitz_table_close(open_table("churn"));
  return end;
}

static void files_stay_short_under_scans(void **state)
{
  (void)state;
  uint64_t alone = churn(false, false), scanned = churn(true, false), endless = churn(true, true);
  print_message("# %llu bytes alone, %llu under scans, %llu beside an endless one\n",
                (unsigned long long)alone, (unsigned long long)scanned,
                (unsigned long long)endless);
  assert_true(scanned < 2 * alone);
  assert_true(endless < 3 * alone);
}

static void free_blocks_join_both_ways(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("join");
  struct blitz_txn *txn = new_txn();
  struct rnd rnd = {run_seed()};
  struct blitz_table_stats stats;
  char value[3000];
  put_rows(table, 0, 1000, 100, 1);
  uint64_t order[999];
  for (unsigned i = 0; i < 999; i++)
    order[i] = i;
  for (unsigned i = 998; i > 0; i--)
  {
    unsigned other = rnd_below(&rnd, i + 1);
    uint64_t n = order[i];
    order[i] = order[other];
    order[other] = n;
  }
  /* All but the last row, in any order, one by one. */
  for (unsigned i = 0; i < 999; i++)
  {
    assert_ok(blitz_remove(txn, table, number_key(order[i]), ERR));
    assert_ok(blitz_txn_commit(txn, ERR));
  }
  uint64_t end = table->end;
  blitz_table_stats(table, &stats);
  /* What is free can be had for long rows. */
  for (uint64_t n = 2000; stats.free_len > 40000; n++)
  {
    row_fill(value, sizeof value, n, 1);
    assert_ok(blitz_insert(txn, table, number_key(n), bytes(value, sizeof value), ERR));
    assert_ok(blitz_txn_commit(txn, ERR));
    blitz_table_stats(table, &stats);
  }
  assert_int_equal(table->end, end);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void what_is_left_goes_in_slices(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("slices");
  struct blitz_txn *txn = new_txn();
  put_rows(table, 0, 5000, 100, 1);
  struct blitz_cursor *reader = begin_scan(table);
  for (uint64_t n = 0; n < 5000; n++)
    update_row(txn, table, n, 2, 100);
  assert_true(table->removed.count >= 5000);
  finish_scan(reader, 5000, 1);
  blitz_cursor_close(reader);
  unsigned commits = 0;
  for (; table->removed.count > 2; commits++)
  {
    size_t before = table->removed.count;
    update_row(txn, table, 1, 3 + commits, 100);
    assert_true(table->removed.count + 100 >= before);
    assert_in_range(commits, 0, 1000);
  }
  assert_in_range(commits, 30, 200);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

/* ---- what is left of removed rows ---- */

static struct blitz_table *open_as_after_a_kill(struct blitz_table *table,
                                                struct blitz_cursor *cursor)
{
  copy_file(file_of("left"), file_of("killed"));
  blitz_cursor_close(cursor);
  blitz_table_close(table);
  copy_file(file_of("killed"), file_of("left"));
  return open_table("left");
}

/* The last row of the file goes, and so does a later one that ends 16 bytes behind the place
 * where it began, with a value that looks there like a live row. What is left of the first one
 * is all that does not change in a row's life, at its place. Its block is freed by the commit,
 * or by a repair, since a scan still sees it.
 */
static void remove_and_look(bool freed_by_repair)
{
  static const char zeros[100];
  char marks[127];
  struct blitz_table *table = new_table("left");
  struct blitz_txn *txn = new_txn();
  memset(marks, 0xC8, sizeof marks);
  assert_ok(blitz_insert(txn, table, number_key(1), bytes(zeros, sizeof zeros), ERR));
  assert_ok(blitz_insert(txn, table, number_key(2), bytes(zeros, sizeof zeros), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  if (freed_by_repair)
    assert_ok(blitz_scan_begin(cursor));
  remove_rows(table, 1, 3);
  if (freed_by_repair)
  {
    table = open_as_after_a_kill(table, cursor);
    cursor = new_cursor(table, NULL);
  }
  assert_ok(blitz_insert(txn, table, number_key(3), bytes(marks, sizeof marks), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  remove_rows(table, 3, 4);
  table = open_as_after_a_kill(table, cursor);
  assert_int_equal(row_count(table), 0);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void a_removed_row_does_not_come_back(void **state)
{
  (void)state;
  remove_and_look(false);
  remove_and_look(true);
}

/* ---- beside a commit ---- */

static struct blitz_table *watched; /* its commits are looked at before they are published */
static unsigned looks;

void __real_bz_snapshot_publish(struct blitz_table *, uint64_t, uint64_t);
void __wrap_bz_snapshot_publish(struct blitz_table *, uint64_t, uint64_t);

/* The commit of beside_a_commit() has changed all trees by now. */
void __wrap_bz_snapshot_publish(struct blitz_table *table, uint64_t seq, uint64_t rows)
{
  if (table == watched)
  {
    struct blitz_cursor *cursor = new_cursor(table, NULL);
    struct blitz_slice value;
    uint64_t version;
    watched = NULL;
    for (uint64_t n = 0; n < 40; n++)
    {
      assert_ok(blitz_get(cursor, number_key(n), &value, ERR));
      assert_true(row_proves(value, n, &version));
      assert_int_equal(version, 1);
      looks++;
    }
    for (uint64_t n = 40; n < 60; n++)
      assert_rc(BLITZ_NOT_FOUND, blitz_get(cursor, number_key(n), &value, ERR));
    blitz_cursor_close(cursor);
  }
  __real_bz_snapshot_publish(table, seq, rows);
}

static void beside_a_commit(void **state)
{
  (void)state;
  char value[100];
  struct blitz_table *table = new_table("beside");
  struct blitz_txn *txn = new_txn();
  put_rows(table, 0, 40, 100, 1);
  for (uint64_t n = 0; n < 20; n++)
  {
    row_fill(value, sizeof value, n, 2);
    assert_ok(blitz_update(txn, table, number_key(n), number_key(n), bytes(value, 100), ERR));
    assert_ok(blitz_remove(txn, table, number_key(n + 20), ERR));
    row_fill(value, sizeof value, n + 40, 2);
    assert_ok(blitz_insert(txn, table, number_key(n + 40), bytes(value, 100), ERR));
  }
  watched = table;
  assert_ok(blitz_txn_commit(txn, ERR));
  assert_int_equal(looks, 40);
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice slice;
  for (uint64_t n = 0; n < 60; n++)
    assert_rc(n >= 20 && n < 40 ? BLITZ_NOT_FOUND : BLITZ_OK,
              blitz_get(cursor, number_key(n), &slice, ERR));
  blitz_cursor_close(cursor);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(only_what_a_snapshot_sees_is_kept, begin),
      cmocka_unit_test_setup(files_stay_short_under_scans, begin),
      cmocka_unit_test_setup(free_blocks_join_both_ways, begin),
      cmocka_unit_test_setup(what_is_left_goes_in_slices, begin),
      cmocka_unit_test(a_removed_row_does_not_come_back),
      cmocka_unit_test_setup(beside_a_commit, begin),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
