/* SPDX-License-Identifier: GPL-2.0-only
 *
 * durable_test.c: logged tables while nothing crashes, and after kills: what was committed is
 * there, in a file that was closed as in one that was not.
 */
#include "support/support.h"

#include <sys/resource.h>

static struct blitz_start_options start_options(void)
{
  return (struct blitz_start_options){.dir = test_dir(), .log_limit = 64 << 20, .memory = 64 << 20};
}

static void start(void)
{
  struct blitz_start_options options = start_options();
  require_ok(blitz_start(&options, ERR));
}

static void closed_tables_have_all(void **state)
{
  (void)state;
  start();
  struct blitz_table *table = new_table("closed");
  put_rows(table, 0, 5000, 60, 1);
  remove_rows(table, 1000, 2000);
  put_rows(table, 1000, 2000, 90, 2);
  blitz_table_close(table);
  table = open_table("closed");
  assert_int_equal(row_count(table), 5000);
  blitz_table_close(table);
  blitz_stop();
  /* Without the log as well. */
  table = open_table("closed");
  assert_int_equal(row_count(table), 5000);
  blitz_table_close(table);
}

static void fill(void)
{
  start();
  struct blitz_table *table = new_table("killed");
  put_rows(table, 0, 3000, 60, 1);
  struct blitz_txn *txn = new_txn();
  require_ok(blitz_insert(txn, table, text("not committed"), text("x"), ERR));
}

static void change_more(void)
{
  start();
  struct blitz_table *table = open_table("killed");
  remove_rows(table, 0, 1500);
  require_ok(blitz_checkpoint(ERR));
  put_rows(table, 3000, 4500, 200, 1);
}

static void a_killed_process_loses_nothing(void **state)
{
  (void)state;
  in_killed_process(fill);
  in_killed_process(change_more);
  start();
  struct blitz_table *table = open_table("killed");
  assert_rows(table, 1500, 4500, 1);
  assert_no_row(table, NULL, "not committed");
  put_rows(table, 4500, 9000, 50, 1);
  blitz_table_close(table);
  table = open_table("killed");
  assert_rows(table, 1500, 9000, 1);
  blitz_table_close(table);
  blitz_stop();
}

static void idle_tables_are_not_written_again(void **state)
{
  (void)state;
  struct blitz_counters before, after;
  start();
  struct blitz_table *idle = new_table("idle"), *busy = new_table("busy");
  put_rows(idle, 0, 100, 60, 1);
  put_rows(busy, 0, 100, 60, 1);
  assert_ok(blitz_checkpoint(ERR));
  blitz_counters_get(&before);
  assert_ok(blitz_checkpoint(ERR));
  blitz_counters_get(&after);
  assert_int_equal(after.pages_written, before.pages_written);
  put_rows(busy, 100, 101, 60, 1);
  assert_ok(blitz_checkpoint(ERR));
  blitz_counters_get(&after);
  assert_in_range(after.pages_written - before.pages_written, 1, 8);
  blitz_table_close(busy);
  blitz_table_close(idle);
  blitz_stop();
}

enum
{
  MANY = 40
};

static const char *many_name(unsigned i)
{
  static char name[16];
  snprintf(name, sizeof name, "many%u", i);
  return name;
}

static void fill_many(void)
{
  start();
  for (unsigned i = 0; i < MANY; i++)
    put_rows(new_table(many_name(i)), 0, 20, 60, 1);
  require_ok(blitz_checkpoint(ERR));
  for (unsigned i = 0; i < MANY; i++)
  {
    struct blitz_table *table = open_table(many_name(i));
    put_rows(table, 20, 30, 60, 1);
  }
}

/* With some descriptors it fails when it opens the log or a table, and says so. */
static void a_start_without_descriptors_loses_nothing(void **state)
{
  (void)state;
  struct blitz_start_options options = start_options();
  struct rlimit limit, few;
  unsigned failed = 0;
  in_killed_process(fill_many);
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
  few = limit;
  for (few.rlim_cur = 6; few.rlim_cur < 40; few.rlim_cur += 3)
  {
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    enum blitz_rc rc = blitz_start(&options, ERR);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_not_equal(rc, BLITZ_OK);
    failed++;
  }
  assert_true(failed > 5);
  start();
  for (unsigned i = 0; i < MANY; i++)
  {
    struct blitz_table *table = open_table(many_name(i));
    assert_rows(table, 0, 30, 1);
    blitz_table_close(table);
  }
  blitz_stop();
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(closed_tables_have_all),
      cmocka_unit_test(a_killed_process_loses_nothing),
      cmocka_unit_test(idle_tables_are_not_written_again),
      cmocka_unit_test(a_start_without_descriptors_loses_nothing),
  };
  catch_log();
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
