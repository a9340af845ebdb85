/* SPDX-License-Identifier: GPL-2.0-only
 *
 * library_format_test.c: a closed table is a Tokyo Cabinet hash database. The
 * library itself, linked statically, opens it, counts, iterates and looks up
 * every row, and `tchmgr inform` accepts it. A key in the file is the row's key
 * and six bytes more, a value is a header of 12 bytes and the row's value.
 */
#include "support/support.h"

#include <tchdb.h>

enum
{
  KEY_MORE = 6,
  VALUE_HEADER = 12
};

static void assert_library_reads(const char *name, uint64_t rows, uint64_t version)
{
  TCHDB *db = tchdbnew();
  char command[4300];
  int key_len, value_len;
  uint64_t seen = 0;
  unsigned char *met = calloc(rows + 1, 1);
  char *key;

  if (!tchdbopen(db, file_of(name), HDBOREADER | HDBONOLCK))
    fail_msg("tchdbopen: %s", tchdberrmsg(tchdbecode(db)));
  assert_int_equal(tchdbrnum(db), rows);
  assert_true(tchdbiterinit(db));
  while ((key = tchdbiternext(db, &key_len)))
  {
    uint64_t n = 0, found_version;
    assert_int_equal(key_len, 8 + KEY_MORE);
    for (int i = 0; i < 8; i++)
      n = n << 8 | (unsigned char)key[i];
    assert_true(n < rows);
    assert_int_equal(met[n]++, 0);
    char *value = tchdbget(db, key, key_len, &value_len);
    assert_non_null(value);
    assert_true(value_len >= VALUE_HEADER);
    struct blitz_slice row = bytes(value + VALUE_HEADER, (size_t)value_len - VALUE_HEADER);
    assert_true(row_proves(row, n, &found_version));
    assert_int_equal(found_version, version);
    free(value);
    free(key);
    seen++;
  }
  assert_int_equal(seen, rows);
  assert_null(tchdbget(db, "no such key", 11, &value_len));
  assert_true(tchdbclose(db));
  tchdbdel(db);
  free(met);

  snprintf(command, sizeof command, "tchmgr inform -nl '%s' >/dev/null", file_of(name));
  assert_int_equal(system(command), 0);
  snprintf(command, sizeof command, "test \"$(tchmgr list -nl -px '%s' | wc -l)\" = %llu",
           file_of(name), (unsigned long long)rows);
  if (rows > 0)
    assert_int_equal(system(command), 0);
}

static void the_library_reads_an_empty_table(void **state)
{
  (void)state;
  blitz_table_close(new_table("none"));
  assert_library_reads("none", 0, 0);
  struct blitz_table *table = open_table("none");
  put_rows(table, 0, 100, 50, 1);
  remove_rows(table, 0, 100);
  blitz_table_close(table);
  assert_library_reads("none", 0, 0);
}

static void the_library_reads_ten_rows(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("ten");
  put_rows(table, 0, 10, 50, 1);
  blitz_table_close(table);
  assert_library_reads("ten", 10, 1);
}

static void the_library_reads_a_big_table(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("big");
  put_rows(table, 0, 60000, 50, 1);
  put_rows(table, 0, 30000, 150, 2);
  put_rows(table, 20000, 50000, 40, 2);
  remove_rows(table, 50000, 60000);
  put_rows(table, 0, 10, 100000, 2);
  blitz_table_close(table);
  assert_library_reads("big", 50000, 2);
  table = open_table("big");
  assert_rows(table, 0, 50000, 2);
  blitz_table_close(table);
  assert_library_reads("big", 50000, 2);
}

static void the_library_reads_a_table_of_any_size(void **state)
{
  (void)state;
  /* Growth goes on in rounds; the file must be whole wherever it was closed. */
  struct blitz_table *table = new_table("steps");
  for (uint64_t rows = 0; rows < 2000; rows += 61)
  {
    put_rows(table, rows, rows + 61, 30, 1);
    blitz_table_close(table);
    assert_library_reads("steps", rows + 61, 1);
    table = open_table("steps");
  }
  blitz_table_close(table);
}

static void the_library_reads_a_loaded_table_and_a_copy(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("loaded");
  struct blitz_txn *txn = new_txn();
  char value[70];
  assert_ok(blitz_txn_expect_rows(txn, table, 20000, false, ERR));
  for (uint64_t n = 0; n < 20000; n++)
  {
    row_fill(value, sizeof value, n, 1);
    assert_ok(blitz_insert(txn, table, number_key(n), bytes(value, sizeof value), ERR));
  }
  require_ok(blitz_txn_commit(txn, ERR));
  assert_ok(blitz_table_copy(table, path_of("copied"), ERR));
  blitz_txn_free(txn);
  blitz_table_close(table);
  assert_library_reads("loaded", 20000, 1);
  assert_library_reads("copied", 20000, 1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_library_reads_an_empty_table),
      cmocka_unit_test(the_library_reads_ten_rows),
      cmocka_unit_test(the_library_reads_a_big_table),
      cmocka_unit_test(the_library_reads_a_table_of_any_size),
      cmocka_unit_test(the_library_reads_a_loaded_table_and_a_copy),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
