/* SPDX-License-Identifier: GPL-2.0-only
 *
 * durable_test.c: logged tables while nothing crashes, and after kills: what was committed is
 * there, in a file that was closed as in one that was not.
 */
#include "support/support.h"

#include <sys/wait.h>
#include <unistd.h>

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

/* Runs WORK in a process that ends without any leave. */
static void in_killed_process(void (*work)(void))
{
  pid_t pid = fork();
  int status;
  require(pid >= 0);
  if (pid == 0)
  {
    work();
    _exit(0);
  }
  require(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
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

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(closed_tables_have_all),
      cmocka_unit_test(a_killed_process_loses_nothing),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
