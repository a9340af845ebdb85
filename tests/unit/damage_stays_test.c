/* SPDX-License-Identifier: GPL-2.0-only
 *
 * damage_stays_test.c: a damaged row is an error until a repair is asked for, whatever comes
 * between: a kill and the recovery after it, a missing index file, a rebuild that fails, a
 * clean close. Its key cannot be given to another row meanwhile, and the rows beside it can
 * be read and changed.
 */
#include "indexed.h"

#include <sys/wait.h>
#include <unistd.h>

enum
{
  ROWS = 60,
  LEN = 80,
  FLAGS_OFF = 33
};

static int begin(void **state)
{
  (void)state;
  alarm(100);
  catch_log();
  return 0;
}

/* Where row N of LEN bytes has its value in the file; its key is before that. */
static size_t value_off(const char *data, size_t len, uint64_t n)
{
  char value[LEN];
  row_fill(value, LEN, n, 1);
  for (size_t off = 0; off + LEN <= len; off++)
    if (memcmp(data + off, value, LEN) == 0)
      return off;
  fail_msg("row %llu is not in the file", (unsigned long long)n);
  return 0;
}

/* Makes a file of ROWS rows, closed or left open by a kill, with the byte BACK bytes before
 * the value of row N changed; 0: the value's first byte.
 */
static void make_damaged(const char *name, bool closed, uint64_t n, size_t back)
{
  size_t len;
  fflush(NULL);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0)
  {
    struct blitz_table *table = new_table(name);
    put_rows(table, 0, ROWS, LEN, 1);
    if (closed)
      blitz_table_close(table);
    _exit(0);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  char *data = read_whole(file_of(name), &len);
  assert_int_equal(data[FLAGS_OFF] & 1, !closed);
  data[value_off(data, len, n) - back] ^= 0x10;
  write_whole(file_of(name), data, len);
  free(data);
}

/* Of the other rows, how many can be read; no look-up gives a wrong row. */
static unsigned readable(struct blitz_table *table, uint64_t damaged)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  unsigned rows = 0;
  for (uint64_t n = 0; n < ROWS; n++)
  {
    uint64_t version;
    enum blitz_rc rc = blitz_get(cursor, number_key(n), &value, ERR);
    if (n == damaged)
      assert_rc(BLITZ_CORRUPT, rc);
    else if (rc == BLITZ_OK)
    {
      assert_true(row_proves(value, n, &version));
      rows++;
    }
    else
      assert_rc(BLITZ_CORRUPT, rc);
  }
  blitz_cursor_close(cursor);
  return rows;
}

static void assert_scan_fails(struct blitz_table *table)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  enum blitz_rc rc;
  assert_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
    ;
  assert_rc(BLITZ_CORRUPT, rc);
  blitz_cursor_close(cursor);
}

/* The damage is an error, in each of three openings, and after changes of other rows. */
static void assert_damage_stays(const char *name, uint64_t damaged, unsigned rows)
{
  char value[LEN];
  struct blitz_txn *txn = new_txn();
  for (unsigned round = 0; round < 3; round++)
  {
    struct blitz_table *table = open_table(name);
    assert_in_range(readable(table, damaged), rows, ROWS - 1);
    assert_scan_fails(table);
    row_fill(value, LEN, damaged, 1);
    enum blitz_rc rc = blitz_insert(txn, table, number_key(damaged), bytes(value, LEN), ERR);
    assert_true(rc == BLITZ_DUPLICATE || rc == BLITZ_CORRUPT);
    blitz_txn_rollback(txn);
    uint64_t other = damaged == 0 ? ROWS - 1 : 0;
    row_fill(value, LEN, other, 1);
    rc = blitz_update(txn, table, number_key(other), number_key(other), bytes(value, LEN), ERR);
    if (rc == BLITZ_OK)
      assert_ok(blitz_txn_commit(txn, ERR));
    else
      blitz_txn_rollback(txn);
    blitz_table_close(table);
  }
  blitz_txn_free(txn);
  struct blitz_table *table;
  catch_log();
  assert_ok(blitz_table_open(path_of(name), BLITZ_OPEN_REPAIR, &table, ERR));
  assert_non_null(strstr(log_text(), "1 rows were damaged and are lost"));
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice slice;
  for (uint64_t n = 0; n < ROWS; n++)
    assert_rc(n == damaged ? BLITZ_NOT_FOUND : BLITZ_OK,
              blitz_get(cursor, number_key(n), &slice, ERR));
  blitz_cursor_close(cursor);
  put_rows(table, damaged, damaged + 1, LEN, 1);
  assert_rows(table, 0, ROWS, 1);
  blitz_table_close(table);
}

static void a_damaged_value(void **state)
{
  (void)state;
  for (unsigned closed = 0; closed < 2; closed++)
    for (uint64_t n = 0; n < ROWS; n += 7)
    {
      make_damaged("value", closed, n, 0);
      assert_damage_stays("value", n, ROWS - 1);
    }
}

/* Behind the key there are its 6 bytes of spread, number and checksum of the row (12). */
static void a_damaged_key(void **state)
{
  (void)state;
  for (unsigned closed = 0; closed < 2; closed++)
    for (uint64_t n = 0; n < ROWS; n += 7)
    {
      make_damaged("key", closed, n, 12 + 6 + 1);
      assert_damage_stays("key", n, ROWS / 2);
    }
}

static void a_damaged_length(void **state)
{
  (void)state;
  /* Two bytes of lengths before the key. */
  for (unsigned closed = 0; closed < 2; closed++)
    for (uint64_t n = 0; n < ROWS; n += 7)
    {
      make_damaged("length", closed, n, 12 + 6 + 8 + 1);
      assert_damage_stays("length", n, ROWS / 2);
    }
}

/* ---- with indexes ---- */

static enum blitz_rc open_indexed(const char *name, unsigned flags, struct blitz_table **tablep)
{
  struct blitz_open_options options = {
      .flags = flags, .indexes = &indexed_ids, .indexer = &indexed_indexer};
  return blitz_table_open_with(path_of(name), &options, tablep, ERR);
}

static void a_failed_rebuild_changes_nothing(void **state)
{
  (void)state;
  size_t len;
  struct blitz_table *table = new_indexed_table("rebuilt");
  put_indexed_rows(table, 0, ROWS, 1, LEN);
  blitz_table_close(table);
  char *data = read_whole(file_of("rebuilt"), &len);
  data[value_off(data, len, 9) + LEN - 1] ^= 1;
  write_whole(file_of("rebuilt"), data, len);
  free(data);
  assert_int_equal(unlink(index_file_of("rebuilt")), 0);
  for (unsigned round = 0; round < 4; round++)
  {
    assert_rc(BLITZ_CORRUPT, open_indexed("rebuilt", 0, &table));
    assert_error_names(file_of("rebuilt"));
    data = read_whole(file_of("rebuilt"), &len);
    assert_int_equal(data[FLAGS_OFF], 0);
    free(data);
  }
  catch_log();
  assert_ok(open_indexed("rebuilt", BLITZ_OPEN_REPAIR, &table));
  assert_non_null(strstr(log_text(), "1 rows were damaged and are lost"));
  assert_int_equal(row_count(table), ROWS - 1);
  assert_indexes_right(table);
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(a_damaged_value, begin),
      cmocka_unit_test_setup(a_damaged_key, begin),
      cmocka_unit_test_setup(a_damaged_length, begin),
      cmocka_unit_test_setup(a_failed_rebuild_changes_nothing, begin),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
