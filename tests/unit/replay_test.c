/* SPDX-License-Identifier: GPL-2.0-only
 *
 * replay_test.c: what a start makes of a log and a journal that say what they seldom say.
 *  1. A table is open by two numbers, since marking its file has failed after the first record
 *     said so, or since it was damaged, closed as it was and repaired: what was done by the second
 *     one is there.
 *  2. What was done to a file without the log is not undone by a journal of an earlier time.
 *  3. Changes that were not committed need not be possible.
 *  4. Records and journals with right checksums that make no sense are left out, or an error that
 *     says what to do; nothing dies.
 */
#include "base/bytes.h"
#include "log/current.h"
#include "log/journal.h"
#include "log/record.h"
#include "support.h"
#include "table/table.h"
#include "txn/writes.h"

#include <unistd.h>

static enum blitz_rc start(void)
{
  struct blitz_start_options options = {.dir = test_dir(), .log_limit = 1 << 20, .memory = 1 << 20};
  return bz_start(&options, false, ERR);
}

static void open_by_two_numbers(void)
{
  require_ok(start());
  struct blitz_table *table = new_table("twice");
  put_rows(table, 0, 100, 60, 1);
  blitz_table_close(table);
  table = open_table("twice");
  require_ok(bz_log_table(table, ERR));
  table->log_number = 0;
  put_rows(table, 100, 200, 60, 1);
}

static void the_last_number_of_a_table_counts(void **state)
{
  (void)state;
  in_killed_process(open_by_two_numbers);
  assert_ok(start());
  struct blitz_table *table = open_table("twice");
  assert_rows(table, 0, 200, 1);
  blitz_table_close(table);
  blitz_stop();
}

static void repair_what_was_given_up(void)
{
  require_ok(start());
  struct blitz_table *table = new_table("repaired");
  put_rows(table, 0, 100, 60, 1);
  require_ok(blitz_checkpoint(ERR));
  put_rows(table, 100, 200, 60, 1);
  bz_set_broken(table);
  blitz_table_close(table);
  require_ok(blitz_table_open(path_of("repaired"), BLITZ_OPEN_REPAIR, &table, ERR));
  require(row_count(table) == 100);
  blitz_table_close(table);
  put_rows(open_table("repaired"), 0, 150, 70, 2);
}

/* Commits that a repair has given up have the numbers of later ones. */
static void what_was_given_up_is_not_made_again(void **state)
{
  (void)state;
  in_killed_process(repair_what_was_given_up);
  assert_ok(start());
  struct blitz_table *table = open_table("repaired");
  assert_rows(table, 0, 150, 2);
  blitz_table_close(table);
  blitz_stop();
}

/* As a commit of two tables that fails when this is logged. */
static void log_changes_alone(void)
{
  require_ok(start());
  struct blitz_table *table = new_table("alone");
  put_rows(table, 0, 100, 60, 1);
  uint8_t head[BZ_CHANGES_HEAD_LEN], change[64];
  size_t len = bz_change_head_put(change, BZ_LOGGED_UPDATE, 8, 20);
  memcpy(change + len, number_key(500).data, 8);
  memset(change + len + 8, 'x', 20);
  bz_store_le64(head, UINT64_MAX);
  bz_store_le64(head + 8, table->log_number);
  bz_store_le64(head + 16, atomic_load(&table->committed) + 1);
  struct blitz_slice parts[] = {{head, sizeof head}, {change, len + 28}};
  uint64_t end;
  require_ok(bz_redo_append(bz_current_log(), BZ_RECORD_CHANGES, parts, 2, &end, ERR));
  put_rows(table, 100, 200, 60, 1);
}

/* They may be impossible, if the file has a part of the commit that came next. */
static void changes_without_a_commit_are_left_out(void **state)
{
  (void)state;
  in_killed_process(log_changes_alone);
  assert_ok(start());
  struct blitz_table *table = open_table("alone");
  assert_rows(table, 0, 200, 1);
  blitz_table_close(table);
  blitz_stop();
}

static void changes_without_the_log_stay(void **state)
{
  (void)state;
  assert_ok(start());
  struct blitz_table *table = new_table("unlogged");
  put_rows(table, 0, 100, 60, 1);
  blitz_table_close(table);
  blitz_stop();
  table = open_table("unlogged");
  put_rows(table, 0, 150, 70, 2);
  blitz_table_close(table);
  assert_ok(start());
  table = open_table("unlogged");
  assert_rows(table, 0, 150, 2);
  blitz_table_close(table);
  blitz_stop();
}

static void log_no_number(void)
{
  struct bz_open_record record = {0};
  uint8_t head[BZ_OPEN_RECORD_LEN];
  require_ok(start());
  struct blitz_table *table = new_table("none");
  put_rows(table, 0, 100, 60, 1);
  record.secret = table->secret.key[0];
  bz_open_record_put(head, &record);
  blitz_table_close(table);
  struct blitz_slice parts[] = {{head, sizeof head}, text(path_of("none"))};
  uint64_t end;
  require_ok(bz_redo_append(bz_current_log(), BZ_RECORD_OPEN, parts, 2, &end, ERR));
  require_ok(bz_redo_sync(bz_current_log(), end, ERR));
}

static void a_table_without_a_number_is_left_out(void **state)
{
  (void)state;
  in_killed_process(log_no_number);
  assert_ok(start());
  struct blitz_table *table = open_table("none");
  assert_rows(table, 0, 100, 1);
  blitz_table_close(table);
  blitz_stop();
}

static void a_journal_without_names_is_an_error(void **state)
{
  (void)state;
  uint8_t page[4096] = {1, [24] = 0xff, [25] = 0xff};
  struct bz_journal *journal;
  uint64_t position;
  char name[4300];
  assert_ok(bz_journal_open(test_dir(), "pages", &journal, &position, ERR));
  assert_ok(bz_journal_begin(journal, 0, 1, ERR));
  assert_ok(bz_journal_add(journal, 0, 0, page, ERR));
  assert_ok(bz_journal_finish(journal, ERR));
  bz_journal_close(journal);
  assert_rc(BLITZ_CORRUPT, start());
  assert_non_null(strstr(last_error.text, "Restore all tables and all files of the log"));
  snprintf(name, sizeof name, "%s/blitz_log.pages", test_dir());
  assert_int_equal(unlink(name), 0);
  assert_ok(start());
  blitz_stop();
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_last_number_of_a_table_counts),
      cmocka_unit_test(what_was_given_up_is_not_made_again),
      cmocka_unit_test(changes_without_a_commit_are_left_out),
      cmocka_unit_test(changes_without_the_log_stay),
      cmocka_unit_test(a_table_without_a_number_is_left_out),
      cmocka_unit_test(a_journal_without_names_is_an_error),
  };
  catch_log();
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
