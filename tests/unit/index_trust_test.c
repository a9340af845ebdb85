/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_trust_test.c: an index file that is missing, foreign, cut off, from another time, or
 * of a table that was changed without it, is made anew when the table is opened, once, and the
 * log says so.
 */
#include "support/indexed.h"

#include <unistd.h>

#define ROWS 500
#define VALUE_LEN 64

static void assert_made_anew(const char *name, uint64_t rows)
{
  struct blitz_table *table;
  catch_log();
  table = open_indexed_table(name);
  assert_non_null(strstr(log_text(), "anew"));
  assert_int_equal(row_count(table), rows);
  assert_ok(blitz_table_check_indexes(table, &indexed_indexer, ERR));
  blitz_table_close(table);
  catch_log();
  table = open_indexed_table(name);
  assert_null(strstr(log_text(), "anew"));
  assert_ok(blitz_table_check_indexes(table, &indexed_indexer, ERR));
  blitz_table_close(table);
}

static void make_table(const char *name)
{
  struct blitz_table *table = new_indexed_table(name);
  put_indexed_rows(table, 0, ROWS, 1, VALUE_LEN);
  blitz_table_close(table);
}

static void a_missing_file_is_made_anew(void **state)
{
  (void)state;
  make_table(__func__);
  assert_int_equal(unlink(index_file_of(__func__)), 0);
  assert_made_anew(__func__, ROWS);
}

static void a_foreign_file_is_made_anew(void **state)
{
  (void)state;
  make_table(__func__);
  write_whole(index_file_of(__func__), "no index", 8);
  assert_made_anew(__func__, ROWS);
}

static void a_file_that_was_cut_off_is_made_anew(void **state)
{
  (void)state;
  size_t len;
  char *whole;
  make_table(__func__);
  whole = read_whole(index_file_of(__func__), &len);
  write_whole(index_file_of(__func__), whole, len / 2);
  free(whole);
  assert_made_anew(__func__, ROWS);
}

static void a_file_from_before_the_last_change_is_made_anew(void **state)
{
  (void)state;
  struct blitz_table *table;
  size_t len;
  char *before;
  make_table(__func__);
  before = read_whole(index_file_of(__func__), &len);
  table = open_indexed_table(__func__);
  put_indexed_rows(table, ROWS, ROWS + 1, 1, VALUE_LEN);
  blitz_table_close(table);
  write_whole(index_file_of(__func__), before, len);
  free(before);
  assert_made_anew(__func__, ROWS + 1);
}

static void a_change_without_the_indexes_voids_them(void **state)
{
  (void)state;
  struct blitz_table *table;
  struct blitz_txn *txn;
  make_table(__func__);
  assert_ok(blitz_table_open(path_of(__func__), 0, &table, ERR));
  assert_ok(blitz_txn_create(&txn));
  assert_ok(blitz_remove(txn, table, number_key(7), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
  blitz_table_close(table);
  assert_made_anew(__func__, ROWS - 1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_missing_file_is_made_anew),
      cmocka_unit_test(a_foreign_file_is_made_anew),
      cmocka_unit_test(a_file_that_was_cut_off_is_made_anew),
      cmocka_unit_test(a_file_from_before_the_last_change_is_made_anew),
      cmocka_unit_test(a_change_without_the_indexes_voids_them),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
