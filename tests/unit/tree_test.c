/* SPDX-License-Identifier: GPL-2.0-only
 *
 * tree_test.c: a damaged link lets a row hang in two places of its bucket's tree. Growth, which
 * takes trees apart, and whoever else goes through them comes to an end.
 */
#include "support.h"

#include <unistd.h>

enum
{
  ROWS = 60
};

/* Lets the first row that has a left child alone have it on the right as well. */
static void hang_twice(const char *file)
{
  size_t len;
  char *data = read_whole(file, &len);
  static const char none[8];
  for (size_t off = 0x340; off + 32 < len; off += 16)
    if ((unsigned char)data[off] == 0xc8 && memcmp(data + off + 2, none, 8) != 0 &&
        memcmp(data + off + 10, none, 8) == 0)
    {
      memcpy(data + off + 10, data + off + 2, 8);
      write_whole(file, data, len);
      free(data);
      return;
    }
  fail_msg("no row has a child");
}

static void growth_comes_to_an_end(void **state)
{
  (void)state;
  catch_log();
  alarm(60);
  struct blitz_table *table = new_table("twice");
  put_rows(table, 0, ROWS, 40, 1);
  blitz_table_close(table);
  hang_twice(file_of("twice"));
  table = open_table("twice");
  struct blitz_txn *txn = new_txn();
  char value[40];
  enum blitz_rc rc = BLITZ_OK;
  for (uint64_t n = ROWS; n < 20 * ROWS && rc == BLITZ_OK; n++)
  {
    row_fill(value, sizeof value, n, 1);
    rc = blitz_insert(txn, table, number_key(n), bytes(value, sizeof value), ERR);
    if (rc == BLITZ_OK)
      rc = blitz_txn_commit(txn, ERR);
  }
  assert_true(rc == BLITZ_OK || rc == BLITZ_CORRUPT);
  blitz_txn_free(txn);
  blitz_table_close(table);
  assert_ok(blitz_table_open(path_of("twice"), BLITZ_OPEN_REPAIR, &table, ERR));
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  for (uint64_t n = 0; n < ROWS; n++)
    assert_int_equal(row_version(cursor, n), 1);
  blitz_cursor_close(cursor);
  blitz_table_close(table);
  alarm(0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(growth_comes_to_an_end),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
