/* SPDX-License-Identifier: GPL-2.0-only
 *
 * repair_test.c: opening with BLITZ_OPEN_REPAIR makes a table of what can still
 * be read of its rows. No row that is whole is lost, none that is not is kept,
 * and the log counts them.
 */
#define _GNU_SOURCE
#include "support/support.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum
{
  ROWS = 400,
  LEN = 90,
  BUCKETS_OFF = 40,
  END_OFF = 56,
  FIRST_OFF = 64,
  HEADER_LEN = 256
};

static uint64_t big_endian(const char *at)
{
  uint64_t n = 0;
  for (int i = 0; i < 8; i++)
    n = n << 8 | (unsigned char)at[i];
  return n;
}

static struct blitz_table *repair(const char *name)
{
  struct blitz_table *table = NULL;
  catch_log();
  assert_ok(blitz_table_open(path_of(name), BLITZ_OPEN_REPAIR, &table, ERR));
  if (!strstr(log_text(), file_of(name)) || !strstr(log_text(), "repaired"))
    fail_msg("the log does not tell of it: %s", log_text());
  return table;
}

/* How many of the rows are there; those that are must be right. */
static uint64_t count_right_rows(struct blitz_table *table)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  uint64_t found = 0, version;
  for (uint64_t n = 0; n < ROWS; n++)
  {
    enum blitz_rc rc = blitz_get(cursor, number_key(n), &value, ERR);
    if (rc == BLITZ_NOT_FOUND)
      continue;
    assert_ok(rc);
    assert_true(row_proves(value, n, &version));
    found++;
  }
  blitz_cursor_close(cursor);
  assert_int_equal(found, row_count(table));
  return found;
}

static char *make_file(const char *name, size_t *lenp)
{
  struct blitz_table *table = new_table(name);
  put_rows(table, 0, ROWS + 100, LEN, 1);
  remove_rows(table, ROWS, ROWS + 100);
  put_rows(table, 0, ROWS / 2, LEN, 2);
  put_rows(table, 0, ROWS / 2, LEN, 1);
  assert_ok(blitz_table_counter_raise(table, 33, ERR));
  blitz_table_close(table);
  return read_whole(file_of(name), lenp);
}

static void a_sound_table_stays_as_it_is(void **state)
{
  (void)state;
  size_t len;
  free(make_file("sound", &len));
  for (int twice = 0; twice < 2; twice++)
  {
    struct blitz_table *table = repair("sound");
    assert_rows(table, 0, ROWS, 1);
    assert_int_equal(blitz_table_counter(table), 33);
    assert_null(strstr(log_text(), "damaged"));
    put_rows(table, ROWS, ROWS + 50, LEN, 1);
    remove_rows(table, ROWS, ROWS + 50);
    blitz_table_close(table);
  }
  struct blitz_table *table = open_table("sound");
  assert_rows(table, 0, ROWS, 1);
  blitz_table_close(table);
}

static void lost_buckets_cost_no_row(void **state)
{
  (void)state;
  size_t len;
  char *data = make_file("buckets", &len);
  memset(data + HEADER_LEN, 0x5a, 8 * big_endian(data + BUCKETS_OFF));
  write_whole(file_of("buckets"), data, len);
  struct blitz_table *table = NULL;
  assert_rc(BLITZ_CORRUPT, blitz_table_open(path_of("buckets"), 0, &table, ERR));
  table = repair("buckets");
  assert_rows(table, 0, ROWS, 1);
  assert_null(strstr(log_text(), "damaged"));
  put_rows(table, 0, ROWS, LEN * 2, 4);
  assert_rows(table, 0, ROWS, 4);
  blitz_table_close(table);
  table = open_table("buckets");
  assert_rows(table, 0, ROWS, 4);
  blitz_table_close(table);
  free(data);
}

static void damaged_links_cost_no_row(void **state)
{
  (void)state;
  size_t len;
  char *data = make_file("links", &len);
  for (size_t off = big_endian(data + FIRST_OFF); off + 18 < len; off += 16)
    if ((unsigned char)data[off] == 0xc8)
      memset(data + off + 2, 0x11, 16);
  write_whole(file_of("links"), data, len);
  struct blitz_table *table = repair("links");
  /* A value that has the byte of a row's begin at a place of one may be hit. */
  assert_true(count_right_rows(table) >= ROWS - ROWS / 10);
  blitz_table_close(table);
  free(data);
}

static void damaged_rows_go_and_the_rest_stays(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  size_t len;
  char *data = make_file("rows", &len), value[LEN];
  /* One byte in each of ten values. */
  for (uint64_t n = 0; n < 10; n++)
  {
    row_fill(value, LEN, n * 17, 1);
    char *at = memmem(data, len, value, LEN);
    assert_non_null(at);
    /* Copies that are free by now would do no harm. */
    while (at)
    {
      at[rnd_below(&rnd, LEN)] ^= 0x40;
      at = memmem(at + LEN, len - (size_t)(at + LEN - data), value, LEN);
    }
  }
  write_whole(file_of("rows"), data, len);
  struct blitz_table *table = repair("rows");
  assert_int_equal(count_right_rows(table), ROWS - 10);
  if (!strstr(log_text(), "10 rows were damaged"))
    fail_msg("the log does not count them: %s", log_text());
  blitz_table_close(table);
  table = open_table("rows");
  assert_int_equal(count_right_rows(table), ROWS - 10);
  blitz_table_close(table);
  free(data);
}

static void one_wrong_byte_costs_one_row_at_most(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  size_t len;
  unsigned kept = 0, lost_one = 0, refused = 0;
  char *data = make_file("byte", &len);
  for (unsigned round = 0; round < run_rounds(1500); round++)
  {
    size_t off = rnd_below(&rnd, 10) ? rnd_below(&rnd, (uint32_t)len) : rnd_below(&rnd, HEADER_LEN);
    char was = data[off];
    struct blitz_table *table = NULL;
    data[off] = (char)(was ^ (1 + rnd_below(&rnd, 255)));
    write_whole(file_of("byte"), data, len);
    enum blitz_rc rc = blitz_table_open(path_of("byte"), BLITZ_OPEN_REPAIR, &table, ERR);
    if (rc != BLITZ_OK)
    {
      /* Without its header a file is nobody's. */
      if (off >= HEADER_LEN)
        fail_msg("byte %zu: %s", off, last_error.text);
      assert_true(rc == BLITZ_CORRUPT || rc == BLITZ_NOT_BLITZ || rc == BLITZ_BAD_VERSION);
      refused++;
    }
    else
    {
      uint64_t rows = count_right_rows(table);
      if (rows != ROWS && rows != ROWS - 1)
        fail_msg("byte %zu: %d rows are left", off, (int)rows);
      kept += rows == ROWS;
      lost_one += rows == ROWS - 1;
      blitz_table_close(table);
    }
    data[off] = was;
  }
  print_message("# %u files lost nothing, %u a row, %u were refused\n", kept, lost_one, refused);
  assert_true(kept > 0 && lost_one > 0);
  free(data);
}

static void row_ids_go_on_ascending(void **state)
{
  (void)state;
  struct blitz_table *table = new_row_id_table("ids");
  struct blitz_txn *txn = new_txn();
  uint64_t id, last = 0;
  for (int i = 0; i < 100; i++)
    assert_ok(blitz_insert_row_id(txn, table, text("row"), &last, ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_table_close(table);
  table = repair("ids");
  assert_int_equal(row_count(table), 100);
  assert_ok(blitz_insert_row_id(txn, table, text("row"), &id, ERR));
  assert_true(id > last);
  require_ok(blitz_txn_commit(txn, ERR));
  assert_int_equal(row_count(table), 101);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void a_file_that_was_not_closed_is_repaired_alike(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("open");
  put_rows(table, 0, ROWS, LEN, 1);
  struct blitz_txn *txn = new_txn();
  assert_ok(blitz_remove(txn, table, number_key(3), ERR));
  assert_ok(blitz_insert(txn, table, number_key(ROWS), text("not committed"), ERR));
  copy_file(file_of("open"), file_of("killed"));
  blitz_txn_free(txn);
  blitz_table_close(table);
  table = repair("killed");
  assert_rows(table, 0, ROWS, 1);
  blitz_table_close(table);
}

/* What is behind the end may look like a row that is damaged. It is none, also for whoever
 * repairs the file after somebody who was killed in it.
 */
static void what_is_behind_the_end_is_no_damage_after_a_killed_repair(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("behind");
  size_t len;
  put_rows(table, 0, 100000, LEN, 1);
  copy_file(file_of("behind"), file_of("half"));
  blitz_table_close(table);
  char *whole = read_whole(file_of("half"), &len);
  uint64_t end = big_endian(whole + END_OFF), row = big_endian(whole + FIRST_OFF);
  while ((unsigned char)whole[row] != 0xC8)
    row += 16;
  assert_true(end + 256 < len);
  memcpy(whole + end, whole + row, 256);
  write_whole(file_of("half"), whole, len);
  free(whole);

  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0)
  {
    catch_log();
    if (blitz_table_open(path_of("half"), 0, &table, ERR) == BLITZ_OK)
      pause();
    _exit(1);
  }
  usleep(10000);
  kill(pid, SIGKILL);
  assert_int_equal(waitpid(pid, NULL, 0), pid);

  catch_log();
  assert_ok(blitz_table_open(path_of("half"), 0, &table, ERR));
  if (strstr(log_text(), "damaged"))
    fail_msg("%s", log_text());
  assert_int_equal(row_count(table), 100000);
  blitz_table_close(table);
}

/* A close moves rows from the front to make room for buckets; behind these is a bit of room in
 * which the old copies would be whole.
 */
static void rows_that_a_close_has_moved_do_not_come_back(void **state)
{
  (void)state;
  for (uint64_t rows = 70; rows < 90; rows++)
  {
    struct blitz_table *table = new_table("moved");
    put_rows(table, 0, rows, 16 + rows % 7, 1);
    blitz_table_close(table);
    table = open_table("moved");
    remove_rows(table, 0, rows - 1);
    blitz_table_close(table);
    table = repair("moved");
    assert_rows(table, rows - 1, rows, 1);
    blitz_table_close(table);
    assert_int_equal(unlink(file_of("moved")), 0);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_sound_table_stays_as_it_is),
      cmocka_unit_test(lost_buckets_cost_no_row),
      cmocka_unit_test(damaged_links_cost_no_row),
      cmocka_unit_test(damaged_rows_go_and_the_rest_stays),
      cmocka_unit_test(one_wrong_byte_costs_one_row_at_most),
      cmocka_unit_test(row_ids_go_on_ascending),
      cmocka_unit_test(a_file_that_was_not_closed_is_repaired_alike),
      cmocka_unit_test(rows_that_a_close_has_moved_do_not_come_back),
      cmocka_unit_test(what_is_behind_the_end_is_no_damage_after_a_killed_repair),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
