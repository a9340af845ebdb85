/* SPDX-License-Identifier: GPL-2.0-only
 *
 * table_test.c: creating, opening, closing, dropping and renaming tables, the
 * limits of keys and values, the caller's counter, and what the errors say.
 */
#define _GNU_SOURCE
#include "support/support.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct blitz_create_options plain = {0};

static void creates_an_empty_table(void **state)
{
  (void)state;
  assert_ok(blitz_table_create(path_of("empty"), &plain, false, ERR));
  struct blitz_table *table = open_table("empty");
  assert_int_equal(row_count(table), 0);
  assert_int_equal(blitz_table_counter(table), 0);
  assert_no_row(table, NULL, "a");
  blitz_table_close(table);
  table = open_table("empty");
  assert_int_equal(row_count(table), 0);
  blitz_table_close(table);
}

static void create_keeps_a_table_that_is_there(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("there");
  put(table, "a", "1");
  blitz_table_close(table);
  assert_rc(BLITZ_EXISTS, blitz_table_create(path_of("there"), &plain, false, ERR));
  assert_error_names(file_of("there"));
  table = open_table("there");
  assert_row(table, NULL, "a", "1");
  blitz_table_close(table);
}

static void create_replaces_a_table_if_told(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("replaced");
  put(table, "a", "1");
  assert_ok(blitz_table_counter_raise(table, 7, ERR));
  blitz_table_close(table);
  assert_ok(blitz_table_create(path_of("replaced"), &plain, true, ERR));
  table = open_table("replaced");
  assert_no_row(table, NULL, "a");
  assert_int_equal(row_count(table), 0);
  assert_int_equal(blitz_table_counter(table), 0);
  blitz_table_close(table);
}

static void create_needs_its_directory(void **state)
{
  (void)state;
  enum blitz_rc rc = blitz_table_create(path_of("no/such/dir"), &plain, false, ERR);
  assert_true(rc == BLITZ_IO || rc == BLITZ_NOT_FOUND);
  assert_int_equal(last_error.sys_errno, ENOENT);
  assert_error_names(path_of("no/such/dir"));
}

static void open_says_that_there_is_no_table(void **state)
{
  (void)state;
  struct blitz_table *table = (struct blitz_table *)(uintptr_t)1;
  assert_rc(BLITZ_NOT_FOUND, blitz_table_open(path_of("missing"), 0, &table, ERR));
  assert_null(table);
  assert_int_equal(last_error.rc, BLITZ_NOT_FOUND);
  assert_error_names(file_of("missing"));
  /* The error is not obligatory. */
  assert_rc(BLITZ_NOT_FOUND, blitz_table_open(path_of("missing"), 0, &table, NULL));
}

static void a_table_may_be_opened_twice(void **state)
{
  (void)state;
  struct blitz_table *one = new_table("twice");
  struct blitz_table *two = open_table("twice");
  put(one, "a", "1");
  assert_row(two, NULL, "a", "1");
  blitz_table_close(one);
  put(two, "b", "2");
  assert_row(two, NULL, "a", "1");
  blitz_table_close(two);
  two = open_table("twice");
  assert_int_equal(row_count(two), 2);
  blitz_table_close(two);
}

static void another_process_finds_the_table_busy(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("busy");
  put(table, "a", "1");
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0)
  {
    /* A name that leads to the same file but is not the one opened: a process
     * of its own would not have the table in its memory either.
     */
    char path[4200];
    struct blitz_table *other;
    snprintf(path, sizeof path, "%s/./busy", test_dir());
    _exit(blitz_table_open(path, 0, &other, ERR));
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), BLITZ_BUSY);
  blitz_table_close(table);
  table = open_table("busy");
  blitz_table_close(table);
}

static void drop_removes_the_file(void **state)
{
  (void)state;
  blitz_table_close(new_table("dropped"));
  assert_int_not_equal(file_len(file_of("dropped")), UINT64_MAX);
  assert_ok(blitz_table_drop(path_of("dropped"), ERR));
  assert_int_equal(file_len(file_of("dropped")), UINT64_MAX);
  assert_rc(BLITZ_NOT_FOUND, blitz_table_drop(path_of("dropped"), ERR));
  assert_error_names(file_of("dropped"));
  /* The name is free for another one. */
  assert_ok(blitz_table_create(path_of("dropped"), &plain, false, ERR));
  assert_ok(blitz_table_drop(path_of("dropped"), ERR));
}

static void rename_takes_the_rows_along(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("from");
  put_rows(table, 0, 100, 50, 1);
  assert_ok(blitz_table_counter_raise(table, 42, ERR));
  blitz_table_close(table);
  assert_ok(blitz_table_rename(path_of("from"), path_of("to"), ERR));
  assert_int_equal(file_len(file_of("from")), UINT64_MAX);
  table = open_table("to");
  assert_rows(table, 0, 100, 1);
  assert_int_equal(blitz_table_counter(table), 42);
  blitz_table_close(table);
  assert_rc(BLITZ_NOT_FOUND, blitz_table_rename(path_of("from"), path_of("to2"), ERR));
}

static void leaves_no_other_files_behind(void **state)
{
  (void)state;
  char command[4300];
  struct blitz_table *table = new_table("alone");
  put_rows(table, 0, 100, 50, 1);
  blitz_table_close(table);
  assert_ok(blitz_table_rename(path_of("alone"), path_of("lonely"), ERR));
  assert_ok(blitz_table_create(path_of("lonely"), &plain, true, ERR));
  assert_ok(blitz_table_drop(path_of("lonely"), ERR));
  snprintf(command, sizeof command, "test -z \"$(ls -A '%s' | grep -E 'alone|lonely')\"",
           test_dir());
  assert_int_equal(system(command), 0);
}

static void a_readonly_table_refuses_changes(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("ro");
  put_rows(table, 0, 50, 40, 1);
  blitz_table_close(table);
  uint64_t sum = file_sum(file_of("ro"));

  assert_ok(blitz_table_open(path_of("ro"), BLITZ_OPEN_READONLY, &table, ERR));
  struct blitz_txn *txn = new_txn();
  assert_rc(BLITZ_READONLY, blitz_insert(txn, table, text("k"), text("v"), ERR));
  assert_error_names("ro");
  assert_rc(BLITZ_READONLY, blitz_update(txn, table, number_key(1), number_key(1), text("v"), ERR));
  assert_rc(BLITZ_READONLY, blitz_remove(txn, table, number_key(1), ERR));
  assert_rc(BLITZ_READONLY, blitz_table_counter_raise(table, 9, ERR));
  assert_false(blitz_txn_changed(txn));
  blitz_txn_free(txn);
  assert_rows(table, 0, 50, 1);
  blitz_table_close(table);
  assert_true(sum == file_sum(file_of("ro")));
}

static void a_temporary_table_works_alike(void **state)
{
  (void)state;
  struct blitz_table *table;
  assert_ok(blitz_table_create(path_of("tmp"), &plain, false, ERR));
  assert_ok(blitz_table_open(path_of("tmp"), BLITZ_OPEN_TEMPORARY, &table, ERR));
  put_rows(table, 0, 2000, 40, 1);
  assert_ok(blitz_table_sync(table, ERR));
  assert_rows(table, 0, 2000, 1);
  blitz_table_close(table);
  /* A table is closed and opened again under way, as the server's cache wants. */
  assert_ok(blitz_table_open(path_of("tmp"), BLITZ_OPEN_TEMPORARY, &table, ERR));
  assert_rows(table, 0, 2000, 1);
  blitz_table_close(table);
  assert_ok(blitz_table_drop(path_of("tmp"), ERR));
}

static void keys_have_a_longest_length(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("keylen");
  struct blitz_txn *txn = new_txn();
  struct blitz_cursor *cursor = new_cursor(table, txn);
  struct blitz_slice value;
  char *key = calloc(BLITZ_KEY_MAX + 1, 1);
  memset(key, 'k', BLITZ_KEY_MAX + 1);

  assert_rc(BLITZ_TOO_BIG, blitz_insert(txn, table, bytes(key, BLITZ_KEY_MAX + 1), text("v"), ERR));
  assert_ok(blitz_insert(txn, table, bytes(key, BLITZ_KEY_MAX), text("v"), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  assert_ok(blitz_get(cursor, bytes(key, BLITZ_KEY_MAX), &value, ERR));
  assert_true(slice_is(value, "v", 1));
  /* A longer key is no key of any row; looking for it is no crash. */
  assert_int_not_equal(blitz_get(cursor, bytes(key, BLITZ_KEY_MAX + 1), &value, ERR), BLITZ_OK);
  assert_rc(BLITZ_TOO_BIG, blitz_update(txn, table, bytes(key, BLITZ_KEY_MAX),
                                        bytes(key, BLITZ_KEY_MAX + 1), text("w"), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  assert_ok(blitz_get(cursor, bytes(key, BLITZ_KEY_MAX), &value, ERR));
  assert_true(slice_is(value, "v", 1));
  blitz_cursor_close(cursor);
  blitz_txn_free(txn);
  blitz_table_close(table);
  free(key);
}

static void values_have_a_longest_length(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("valuelen");
  struct blitz_txn *txn = new_txn();
  size_t len = (size_t)BLITZ_VALUE_MAX + 1;
  /* The length alone must be enough to refuse it: the bytes cannot be read. */
  char *value = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert_true(value != MAP_FAILED);
  assert_rc(BLITZ_TOO_BIG, blitz_insert(txn, table, text("k"), bytes(value, len), ERR));
  put(table, "k", "v");
  assert_rc(BLITZ_TOO_BIG, blitz_update(txn, table, text("k"), text("k"), bytes(value, len), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  assert_row(table, NULL, "k", "v");
  munmap(value, len);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void the_counter_is_kept(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("counter");
  struct blitz_txn *txn = new_txn();
  assert_ok(blitz_table_counter_raise(table, 10, ERR));
  assert_ok(blitz_table_counter_raise(table, 5, ERR));
  assert_int_equal(blitz_table_counter(table), 10);

  /* It does not belong to a transaction. */
  assert_ok(blitz_insert(txn, table, text("a"), text("1"), ERR));
  assert_ok(blitz_table_counter_raise(table, 11, ERR));
  blitz_txn_rollback(txn);
  assert_int_equal(blitz_table_counter(table), 11);

  assert_ok(blitz_table_counter_set(table, 3, ERR));
  assert_int_equal(blitz_table_counter(table), 3);
  assert_ok(blitz_table_counter_raise(table, UINT64_MAX, ERR));
  blitz_txn_free(txn);
  blitz_table_close(table);
  table = open_table("counter");
  assert_true(blitz_table_counter(table) == UINT64_MAX);
  assert_ok(blitz_table_counter_set(table, 0, ERR));
  blitz_table_close(table);
  table = open_table("counter");
  assert_int_equal(blitz_table_counter(table), 0);
  blitz_table_close(table);
}

static void row_ids_ascend_and_are_kept(void **state)
{
  (void)state;
  struct blitz_table *table = new_row_id_table("ids");
  struct blitz_txn *txn = new_txn();
  uint64_t id, last = 0;
  for (int i = 0; i < 100; i++)
  {
    assert_ok(blitz_insert_row_id(txn, table, text("v"), &id, ERR));
    assert_true(id > last);
    last = id;
  }
  require_ok(blitz_txn_commit(txn, ERR));
  assert_ok(blitz_insert_row_id(txn, table, text("v"), &id, ERR));
  assert_true(id > last);
  last = id;
  blitz_txn_rollback(txn);
  assert_ok(blitz_insert_row_id(txn, table, text("v"), &id, ERR));
  assert_true(id > last); /* not even one that was rolled back */
  last = id;
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_table_close(table);

  table = open_table("ids");
  assert_int_equal(row_count(table), 101);
  assert_ok(blitz_insert_row_id(txn, table, text("v"), &id, ERR));
  assert_true(id > last);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void only_row_id_tables_make_row_ids(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("noids");
  struct blitz_txn *txn = new_txn();
  uint64_t id = 1;
  assert_rc(BLITZ_INVALID, blitz_insert_row_id(txn, table, text("v"), &id, ERR));
  assert_int_equal(id, 0);
  assert_int_equal(row_count(table), 0);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void codes_have_names(void **state)
{
  (void)state;
  for (int rc = BLITZ_OK; rc <= BLITZ_READONLY; rc++)
  {
    const char *name = blitz_rc_name((enum blitz_rc)rc);
    assert_int_equal(strncmp(name, "BLITZ_", 6), 0);
    for (int other = BLITZ_OK; other < rc; other++)
      assert_string_not_equal(name, blitz_rc_name((enum blitz_rc)other));
  }
  assert_non_null(blitz_rc_name((enum blitz_rc)1000));
}

static void stats_tell_the_sizes(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("stats");
  struct blitz_table_stats before, after;
  put_rows(table, 0, 1000, 200, 1);
  blitz_table_stats(table, &before);
  assert_int_equal(before.row_count, 1000);
  assert_true(before.data_len >= 1000 * 200);
  assert_true(before.file_len >= before.data_len);
  assert_int_equal(before.file_len, file_len(file_of("stats")));
  remove_rows(table, 0, 500);
  blitz_table_stats(table, &after);
  assert_int_equal(after.row_count, 500);
  assert_true(after.free_len >= before.free_len + 500 * 200);
  assert_true(after.data_len + 500 * 200 <= before.data_len);
  blitz_table_close(table);
}

static void counters_count(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("counts");
  struct blitz_counters before, after;
  struct blitz_txn *txn = new_txn();
  blitz_counters_get(&before);
  assert_ok(blitz_insert(txn, table, text("a"), text("1"), ERR));
  assert_ok(blitz_insert(txn, table, text("b"), text("1"), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  assert_ok(blitz_update(txn, table, text("a"), text("a"), text("2"), ERR));
  assert_ok(blitz_remove(txn, table, text("b"), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  require_ok(blitz_txn_commit(txn, ERR)); /* nothing to commit */
  assert_ok(blitz_remove(txn, table, text("a"), ERR));
  blitz_txn_rollback(txn);
  blitz_counters_get(&after);
  assert_int_equal(after.commits - before.commits, 2);
  assert_int_equal(after.rollbacks - before.rollbacks, 1);
  assert_int_equal(after.rows_inserted - before.rows_inserted, 2);
  assert_int_equal(after.rows_updated - before.rows_updated, 1);
  assert_int_equal(after.rows_removed - before.rows_removed, 1);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(creates_an_empty_table),
      cmocka_unit_test(create_keeps_a_table_that_is_there),
      cmocka_unit_test(create_replaces_a_table_if_told),
      cmocka_unit_test(create_needs_its_directory),
      cmocka_unit_test(open_says_that_there_is_no_table),
      cmocka_unit_test(a_table_may_be_opened_twice),
      cmocka_unit_test(another_process_finds_the_table_busy),
      cmocka_unit_test(drop_removes_the_file),
      cmocka_unit_test(rename_takes_the_rows_along),
      cmocka_unit_test(leaves_no_other_files_behind),
      cmocka_unit_test(a_readonly_table_refuses_changes),
      cmocka_unit_test(a_temporary_table_works_alike),
      cmocka_unit_test(keys_have_a_longest_length),
      cmocka_unit_test(values_have_a_longest_length),
      cmocka_unit_test(the_counter_is_kept),
      cmocka_unit_test(row_ids_ascend_and_are_kept),
      cmocka_unit_test(only_row_id_tables_make_row_ids),
      cmocka_unit_test(codes_have_names),
      cmocka_unit_test(stats_tell_the_sizes),
      cmocka_unit_test(counters_count),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
