/* SPDX-License-Identifier: GPL-2.0-only
 *
 * full_test.c: a device without space. A change that does not fit gives
 * BLITZ_FULL and has not happened; nothing that was committed is lost; no signal
 * comes; a commit never fails; work goes on when there is space again.
 *
 * With root's rights it uses a small tmpfs of its own, without them a limit on
 * the size of files, which covers less.
 */
#define _GNU_SOURCE
#include "support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

enum
{
  DEVICE_LEN = 4 << 20,
  ROW_LEN = 900
};

static char mount_point[4100];
static bool mounted;

static int begin(void **state)
{
  if (make_dir(state) != 0)
    return -1;
  signal(SIGXFSZ, SIG_IGN);
  snprintf(mount_point, sizeof mount_point, "%s", test_dir());
  char options[40];
  snprintf(options, sizeof options, "size=%d", DEVICE_LEN);
  if (mount("blitz-test", mount_point, "tmpfs", 0, options) == 0)
    mounted = true;
  else
    print_message("# a tmpfs cannot be mounted here (%s)\n", strerror(errno));
  return 0;
}

static int end(void **state)
{
  if (mounted && umount2(mount_point, MNT_DETACH) != 0)
    return -1;
  return remove_dir(state);
}

static void need_mount(void)
{
  if (!mounted)
  {
    print_message("# skipped: it needs a tmpfs of its own\n");
    skip();
  }
}

/* Takes all the space that there is, but for LEAVE bytes. */
static void fill_device(size_t leave)
{
  char name[4200];
  snprintf(name, sizeof name, "%s/filler", mount_point);
  int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0600);
  assert_true(fd >= 0);
  static char block[4096];
  off_t len = 0;
  while (write(fd, block, sizeof block) == (ssize_t)sizeof block)
    len += (off_t)sizeof block;
  if ((off_t)leave > len)
    leave = (size_t)len;
  assert_int_equal(ftruncate(fd, len - (off_t)leave), 0);
  close(fd);
}

static void free_device(void)
{
  char name[4200];
  snprintf(name, sizeof name, "%s/filler", mount_point);
  unlink(name);
}

static enum blitz_rc insert_row(struct blitz_txn *txn, struct blitz_table *table, uint64_t n)
{
  static char value[ROW_LEN];
  row_fill(value, sizeof value, n, 1);
  return blitz_insert(txn, table, number_key(n), bytes(value, sizeof value), ERR);
}

/* Inserts rows FROM, FROM + 1, ... each with a commit, until there is no space;
 * returns how many there are then.
 */
static uint64_t insert_until_full(struct blitz_table *table, uint64_t from, const char *name)
{
  struct blitz_txn *txn = new_txn();
  enum blitz_rc rc;
  uint64_t n = from;
  while ((rc = insert_row(txn, table, n)) == BLITZ_OK)
  {
    require_ok(blitz_txn_commit(txn, ERR));
    n++;
    assert_true(n < 1000000);
  }
  assert_rc(BLITZ_FULL, rc);
  assert_error_names(file_of(name));
  blitz_txn_free(txn);
  return n;
}

static void inserts_stop_when_it_is_full(void **state)
{
  (void)state;
  need_mount();
  struct blitz_table *table = new_table("inserts");
  uint64_t rows = insert_until_full(table, 0, "inserts");
  assert_true(rows > 1000);
  assert_rows(table, 0, rows, 1);
  blitz_table_close(table);
  table = open_table("inserts");
  assert_rows(table, 0, rows, 1);

  /* Space comes back when rows go. */
  remove_rows(table, 0, 200);
  struct blitz_txn *txn = new_txn();
  for (uint64_t n = rows; n < rows + 150; n++)
    assert_ok(insert_row(txn, table, n));
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
  assert_rows(table, 200, rows + 150, 1);
  blitz_table_close(table);
  assert_ok(blitz_table_drop(path_of("inserts"), ERR));
}

static void a_transaction_that_does_not_fit_leaves_nothing(void **state)
{
  (void)state;
  need_mount();
  struct blitz_table *table = new_table("large");
  struct blitz_txn *txn = new_txn();
  enum blitz_rc rc = BLITZ_OK;
  put_rows(table, 0, 100, 500, 1);
  for (int round = 0; round < 3; round++)
  {
    uint64_t n = 1000;
    while ((rc = insert_row(txn, table, n)) == BLITZ_OK)
      n++;
    assert_rc(BLITZ_FULL, rc);
    assert_true(n > 2000);
    blitz_txn_rollback(txn);
    assert_rows(table, 0, 100, 1);
  }
  /* The space of what was undone is there for others. */
  for (uint64_t n = 100; n < 1000; n++)
    assert_ok(insert_row(txn, table, n));
  require_ok(blitz_txn_commit(txn, ERR));
  assert_rows(table, 0, 1000, 1);
  blitz_txn_free(txn);
  blitz_table_close(table);
  table = open_table("large");
  assert_rows(table, 0, 1000, 1);
  blitz_table_close(table);
  assert_ok(blitz_table_drop(path_of("large"), ERR));
}

static void others_may_fill_the_device(void **state)
{
  (void)state;
  need_mount();
  struct blitz_table *table = new_table("updates");
  struct blitz_txn *txn = new_txn();
  char value[2000];
  enum blitz_rc rc;
  uint64_t n, changed = 0;
  put_rows(table, 0, 500, ROW_LEN, 1);
  fill_device(0);
  for (n = 0; n < 500; n++)
  {
    row_fill(value, sizeof value, n, 2);
    rc = blitz_update(txn, table, number_key(n), number_key(n), bytes(value, sizeof value), ERR);
    if (rc != BLITZ_OK)
      break;
    require_ok(blitz_txn_commit(txn, ERR));
    changed++;
  }
  assert_true(n < 500);
  assert_rc(BLITZ_FULL, rc);
  blitz_txn_rollback(txn);
  /* All rows are there, in the version that was acknowledged. */
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice found;
  uint64_t version;
  for (n = 0; n < 500; n++)
  {
    assert_ok(blitz_get(cursor, number_key(n), &found, ERR));
    assert_true(row_proves(found, n, &version));
    assert_int_equal(version, n < changed ? 2 : 1);
  }
  blitz_cursor_close(cursor);
  free_device();
  put_rows(table, 0, 500, 2000, 3);
  assert_rows(table, 0, 500, 3);
  blitz_txn_free(txn);
  blitz_table_close(table);
  table = open_table("updates");
  assert_rows(table, 0, 500, 3);
  blitz_table_close(table);
  assert_ok(blitz_table_drop(path_of("updates"), ERR));
}

static void a_commit_needs_no_space(void **state)
{
  (void)state;
  need_mount();
  struct blitz_table *table = new_table("commit");
  struct blitz_txn *txn = new_txn();
  char value[ROW_LEN];
  put_rows(table, 0, 300, 100, 1);
  for (uint64_t n = 0; n < 600; n++)
  {
    row_fill(value, sizeof value, n, 2);
    enum blitz_rc rc =
        n < 300 ? blitz_update(txn, table, number_key(n), number_key(n), bytes(value, 500), ERR)
                : blitz_insert(txn, table, number_key(n), bytes(value, sizeof value), ERR);
    assert_ok(rc);
  }
  fill_device(0);
  require_ok(blitz_txn_commit(txn, ERR));
  assert_rows(table, 0, 600, 2);
  blitz_table_close(table); /* nor does closing */
  table = open_table("commit");
  assert_rows(table, 0, 600, 2);
  free_device();
  blitz_txn_free(txn);
  blitz_table_close(table);
  assert_ok(blitz_table_drop(path_of("commit"), ERR));
}

static void row_ids_and_counters_on_a_full_device(void **state)
{
  (void)state;
  need_mount();
  struct blitz_table *table = new_row_id_table("ids");
  struct blitz_txn *txn = new_txn();
  enum blitz_rc rc;
  uint64_t id = 0, last = 0, rows = 0;
  fill_device(100000);
  while ((rc = blitz_insert_row_id(txn, table, text("a row of some bytes"), &id, ERR)) == BLITZ_OK)
  {
    assert_true(id > last);
    last = id;
    rows++;
    require_ok(blitz_txn_commit(txn, ERR));
  }
  assert_rc(BLITZ_FULL, rc);
  assert_int_equal(id, 0);
  assert_int_equal(row_count(table), rows);
  assert_ok(blitz_table_counter_raise(table, 99, ERR));
  assert_int_equal(blitz_table_counter(table), 99);
  free_device();
  assert_ok(blitz_insert_row_id(txn, table, text("x"), &id, ERR));
  assert_true(id > last);
  blitz_txn_free(txn);
  blitz_table_close(table);
  assert_ok(blitz_table_drop(path_of("ids"), ERR));
}

static void no_table_is_created_without_space(void **state)
{
  (void)state;
  need_mount();
  struct blitz_create_options options = {.expected_rows = 1000000};
  assert_rc(BLITZ_FULL, blitz_table_create(path_of("none"), &options, false, ERR));
  assert_error_names(file_of("none"));
  assert_int_equal(file_len(file_of("none")), UINT64_MAX);
  options.expected_rows = 0;
  fill_device(0);
  assert_rc(BLITZ_FULL, blitz_table_create(path_of("none"), &options, false, ERR));
  assert_int_equal(file_len(file_of("none")), UINT64_MAX);
  free_device();
  assert_ok(blitz_table_create(path_of("none"), &options, false, ERR));
  assert_ok(blitz_table_drop(path_of("none"), ERR));
}

static void no_copy_is_made_without_space(void **state)
{
  (void)state;
  need_mount();
  struct blitz_table *table = new_table("original");
  put_rows(table, 0, 2500, ROW_LEN, 1);
  assert_rc(BLITZ_FULL, blitz_table_copy(table, path_of("copy"), ERR));
  assert_error_names(file_of("copy"));
  assert_int_equal(file_len(file_of("copy")), UINT64_MAX);
  remove_rows(table, 0, 2000);
  assert_ok(blitz_table_copy(table, path_of("copy"), ERR));
  blitz_table_close(table);
  table = open_table("copy");
  assert_rows(table, 2000, 2500, 1);
  blitz_table_close(table);
  assert_ok(blitz_table_drop(path_of("copy"), ERR));
  assert_ok(blitz_table_drop(path_of("original"), ERR));
}

static void a_load_that_does_not_fit_leaves_nothing(void **state)
{
  (void)state;
  need_mount();
  struct blitz_table *table = new_table("load");
  struct blitz_txn *txn = new_txn();
  /* The bucket array alone would not fit. Saying no at once is right, and so is
   * trying.
   */
  enum blitz_rc rc = blitz_txn_expect_rows(txn, table, 1000000, false, ERR);
  assert_true(rc == BLITZ_OK || rc == BLITZ_FULL);
  blitz_txn_rollback(txn);
  assert_ok(blitz_txn_expect_rows(txn, table, 3000, false, ERR));
  uint64_t n = 0;
  while ((rc = insert_row(txn, table, n)) == BLITZ_OK)
    n++;
  assert_rc(BLITZ_FULL, rc);
  assert_true(n > 1000);
  blitz_txn_rollback(txn);
  assert_int_equal(row_count(table), 0);
  put_rows(table, 0, 1000, ROW_LEN, 1);
  assert_rows(table, 0, 1000, 1);
  blitz_txn_free(txn);
  blitz_table_close(table);
  assert_ok(blitz_table_drop(path_of("load"), ERR));
}

static void a_limit_on_files_is_like_a_full_device(void **state)
{
  (void)state;
  struct rlimit was, limit;
  struct blitz_table *table = new_table("limit");
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
  limit = was;
  limit.rlim_cur = 1 << 20;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  uint64_t rows = insert_until_full(table, 0, "limit");
  assert_rows(table, 0, rows, 1);
  blitz_table_close(table);
  table = open_table("limit");
  assert_rows(table, 0, rows, 1);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
  put_rows(table, rows, rows + 500, ROW_LEN, 1);
  assert_rows(table, 0, rows + 500, 1);
  blitz_table_close(table);
  assert_ok(blitz_table_drop(path_of("limit"), ERR));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(inserts_stop_when_it_is_full),
      cmocka_unit_test(a_transaction_that_does_not_fit_leaves_nothing),
      cmocka_unit_test(others_may_fill_the_device),
      cmocka_unit_test(a_commit_needs_no_space),
      cmocka_unit_test(row_ids_and_counters_on_a_full_device),
      cmocka_unit_test(no_table_is_created_without_space),
      cmocka_unit_test(no_copy_is_made_without_space),
      cmocka_unit_test(a_load_that_does_not_fit_leaves_nothing),
      cmocka_unit_test(a_limit_on_files_is_like_a_full_device),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
