/* SPDX-License-Identifier: GPL-2.0-only
 *
 * grow_test.c: tables from ten rows to hundreds of thousands. Every row is
 * found, small tables have small files, and space is used again.
 */
#include "support/support.h"

enum
{
  MANY = 300000,
  LONG = 20000
};

static void a_small_table_is_a_small_file(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("small");
  put_rows(table, 0, 10, 145, 1);
  assert_true(file_len(file_of("small")) <= 16384);
  blitz_table_close(table);
  assert_true(file_len(file_of("small")) <= 16384);
  table = open_table("small");
  assert_rows(table, 0, 10, 1);
  blitz_table_close(table);
  assert_true(file_len(file_of("small")) <= 16384);
}

static void grows_from_empty(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("grown");
  struct blitz_table_stats first, last;
  blitz_table_stats(table, &first);
  put_rows(table, 0, MANY, 60, 1);
  blitz_table_stats(table, &last);
  /* A bucket for each row, or nearly: look-ups stay one step long. */
  assert_true(last.bucket_count >= MANY / 2);
  assert_true(last.bucket_count > first.bucket_count);
  assert_rows(table, 0, MANY, 1);
  blitz_table_close(table);
  table = open_table("grown");
  assert_rows(table, 0, MANY, 1);
  put_rows(table, MANY, MANY + 1000, 60, 1);
  assert_rows(table, 0, MANY + 1000, 1);
  blitz_table_close(table);
}

static void grows_within_one_transaction(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("grown");
  struct blitz_txn *txn = new_txn();
  char value[60];
  for (int round = 0; round < 2; round++)
  {
    for (uint64_t n = 0; n < MANY / 3; n++)
    {
      row_fill(value, sizeof value, n, 1);
      assert_ok(blitz_insert(txn, table, number_key(n), bytes(value, sizeof value), ERR));
    }
    if (round == 0)
    {
      blitz_txn_rollback(txn);
      assert_int_equal(row_count(table), 0);
    }
  }
  require_ok(blitz_txn_commit(txn, ERR));
  assert_rows(table, 0, MANY / 3, 1);
  /* And a change of them all in one. */
  for (uint64_t n = 0; n < MANY / 3; n++)
  {
    row_fill(value, sizeof value, n, 2);
    assert_ok(
        blitz_update(txn, table, number_key(n), number_key(n), bytes(value, sizeof value), ERR));
  }
  require_ok(blitz_txn_commit(txn, ERR));
  assert_rows(table, 0, MANY / 3, 2);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void grows_beside_look_ups_and_removals(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("mixed");
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  uint64_t version;
  struct rnd rnd = {run_seed()};
  /* A window of rows that moves and widens: [low, high) is there. */
  uint64_t low = 0, high = 0;
  while (high < MANY / 2)
  {
    uint64_t more = 1 + rnd_below(&rnd, 3000), less = rnd_below(&rnd, (uint32_t)more);
    put_rows(table, high, high + more, 30 + rnd_below(&rnd, 100), 1);
    high += more;
    remove_rows(table, low, low + less);
    low += less;
    for (int i = 0; i < 500; i++)
    {
      uint64_t n = rnd_below(&rnd, (uint32_t)high + 100);
      enum blitz_rc rc = blitz_get(cursor, number_key(n), &value, ERR);
      assert_rc(n >= low && n < high ? BLITZ_OK : BLITZ_NOT_FOUND, rc);
      assert_true(rc != BLITZ_OK || row_proves(value, n, &version));
    }
  }
  assert_rows(table, low, high, 1);
  blitz_cursor_close(cursor);
  blitz_table_close(table);
}

static void expected_rows_need_no_growth(void **state)
{
  (void)state;
  struct blitz_create_options options = {.expected_rows = 100000};
  struct blitz_table *table;
  struct blitz_table_stats stats;
  assert_ok(blitz_table_create(path_of("sized"), &options, true, ERR));
  table = open_table("sized");
  blitz_table_stats(table, &stats);
  assert_true(stats.bucket_count >= 50000);
  put_rows(table, 0, 100000, 40, 1);
  assert_rows(table, 0, 100000, 1);
  blitz_table_close(table);
}

/* The most that the file of a table may grow while changes of it go round. */
static void assert_bounded(const char *name, uint64_t settled)
{
  uint64_t now = file_len(file_of(name));
  if (now > settled + settled / 2 + 65536)
    fail_msg("the file went on growing: %llu bytes, then %llu", (unsigned long long)settled,
             (unsigned long long)now);
}

/* A close that clears a long block for the array has its blocks begin further behind than more
 * buckets want later.
 */
static void expected_rows_may_have_room_before_the_blocks(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("room");
  struct blitz_txn *txn = new_txn();
  put_rows(table, 0, 1, LONG, 1);
  put_rows(table, 1, 100, 60, 1);
  blitz_table_close(table);
  table = open_table("room");
  remove_rows(table, 0, 100);
  assert_ok(blitz_txn_expect_rows(txn, table, 400, false, ERR));
  blitz_txn_free(txn);
  put_rows(table, 0, 400, 60, 2);
  assert_rows(table, 0, 400, 2);
  assert_int_equal(row_count(table), 400);
  blitz_table_close(table);
  table = open_table("room");
  assert_rows(table, 0, 400, 2);
  blitz_table_close(table);
}

static void space_of_updated_rows_is_used_again(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("updates");
  put_rows(table, 0, 2000, 150, 1);
  put_rows(table, 0, 2000, 150, 2);
  uint64_t settled = file_len(file_of("updates"));
  for (uint64_t round = 0; round < 50; round++)
    put_rows(table, 0, 2000, 150, round);
  assert_bounded("updates", settled);
  assert_rows(table, 0, 2000, 49);
  blitz_table_close(table);
}

static void space_of_rows_of_changing_size_is_used_again(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("sizes");
  struct rnd rnd = {run_seed()};
  uint64_t settled = 0;
  char value[3000];
  struct blitz_txn *txn = new_txn();
  put_rows(table, 0, 1000, 100, 0);
  for (uint64_t round = 1; round <= 60; round++)
  {
    for (uint64_t n = 0; n < 1000; n++)
    {
      size_t len = 16 + rnd_below(&rnd, rnd_below(&rnd, 10) ? 300 : 2900);
      row_fill(value, len, n, round);
      assert_ok(blitz_update(txn, table, number_key(n), number_key(n), bytes(value, len), ERR));
      require_ok(blitz_txn_commit(txn, ERR));
    }
    if (round == 10)
      settled = file_len(file_of("sizes"));
  }
  assert_bounded("sizes", settled);
  assert_rows(table, 0, 1000, 60);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void space_of_removed_rows_is_used_again(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("removes");
  put_rows(table, 0, 3000, 200, 1);
  uint64_t settled = file_len(file_of("removes"));
  for (uint64_t round = 1; round <= 30; round++)
  {
    remove_rows(table, (round - 1) * 3000, round * 3000);
    put_rows(table, round * 3000, (round + 1) * 3000, 200, 1);
  }
  assert_bounded("removes", settled);
  assert_rows(table, 90000, 93000, 1);
  blitz_table_close(table);
}

static void space_is_used_again_after_a_reopen(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("reopens");
  put_rows(table, 0, 3000, 200, 1);
  uint64_t settled = file_len(file_of("reopens"));
  for (uint64_t round = 1; round <= 20; round++)
  {
    remove_rows(table, (round - 1) * 3000, round * 3000);
    blitz_table_close(table);
    table = open_table("reopens");
    put_rows(table, round * 3000, (round + 1) * 3000, 200, 1);
  }
  assert_bounded("reopens", settled);
  assert_rows(table, 60000, 63000, 1);
  blitz_table_close(table);
}

static void space_of_rolled_back_rows_is_used_again(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("rollbacks");
  struct blitz_txn *txn = new_txn();
  char value[500];
  uint64_t settled = 0;
  put_rows(table, 0, 100, 200, 1);
  for (uint64_t round = 0; round < 40; round++)
  {
    for (uint64_t n = 0; n < 3000; n++)
    {
      row_fill(value, sizeof value, 1000 + n, 1);
      assert_ok(blitz_insert(txn, table, number_key(1000 + n), bytes(value, sizeof value), ERR));
    }
    blitz_txn_rollback(txn);
    if (round == 0)
      settled = file_len(file_of("rollbacks"));
  }
  assert_bounded("rollbacks", settled);
  assert_rows(table, 0, 100, 1);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void space_is_free_again_when_a_scan_ends(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("scanned");
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  put_rows(table, 0, 2000, 200, 1);
  put_rows(table, 0, 2000, 200, 2);
  uint64_t settled = file_len(file_of("scanned"));
  for (uint64_t round = 3; round < 43; round++)
  {
    assert_ok(blitz_scan_begin(cursor));
    assert_ok(blitz_scan_next(cursor, &value, ERR));
    put_rows(table, 0, 1000, 200, round);
    put_rows(table, 1000, 2000, 200, round);
    blitz_scan_end(cursor);
  }
  assert_bounded("scanned", settled * 2);
  assert_rows(table, 0, 2000, 42);
  blitz_cursor_close(cursor);
  blitz_table_close(table);
}

static void insert_text(struct blitz_table *table, const char *key, struct blitz_slice value)
{
  struct blitz_txn *txn = new_txn();
  assert_ok(blitz_insert(txn, table, text(key), value, ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
}

static void remove_text(struct blitz_table *table, const char *key)
{
  struct blitz_txn *txn = new_txn();
  assert_ok(blitz_remove(txn, table, text(key), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
}

/* Two blocks of 64 bytes are freed and joined, and a row of 128 is put there, of which
 * the value holds a free block's first word where the second one began.
 */
static void a_value_that_looks_like_a_free_block_is_none(void **state)
{
  (void)state;
  static const unsigned char word[8] = {0xb0, 0, 0, 0, 64, 1, 0, 0};
  struct blitz_table *table = new_table("forged");
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice found;
  char value[91] = {0};
  insert_text(table, "a", bytes(value, 27));
  insert_text(table, "b", bytes(value, 27));
  insert_text(table, "c", bytes(value, 27));
  remove_text(table, "b");
  remove_text(table, "a");
  memcpy(value + 27, word, sizeof word);
  insert_text(table, "v", bytes(value, sizeof value));
  insert_text(table, "w", bytes(value, 27));
  insert_text(table, "x", bytes(value, 27));
  assert_ok(blitz_get(cursor, text("v"), &found, ERR));
  assert_true(slice_is(found, value, sizeof value));
  blitz_cursor_close(cursor);
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_small_table_is_a_small_file),
      cmocka_unit_test(grows_from_empty),
      cmocka_unit_test(grows_within_one_transaction),
      cmocka_unit_test(grows_beside_look_ups_and_removals),
      cmocka_unit_test(expected_rows_need_no_growth),
      cmocka_unit_test(expected_rows_may_have_room_before_the_blocks),
      cmocka_unit_test(space_of_updated_rows_is_used_again),
      cmocka_unit_test(space_of_rows_of_changing_size_is_used_again),
      cmocka_unit_test(space_of_removed_rows_is_used_again),
      cmocka_unit_test(space_is_used_again_after_a_reopen),
      cmocka_unit_test(space_of_rolled_back_rows_is_used_again),
      cmocka_unit_test(space_is_free_again_when_a_scan_ends),
      cmocka_unit_test(a_value_that_looks_like_a_free_block_is_none),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
