/* SPDX-License-Identifier: GPL-2.0-only
 *
 * durable_damage_test.c: one byte of what a killed process has left is another one: of a table's
 * file, of the log, of its control file. Whatever starts and opens then either says so or has the
 * right rows; it does not die.
 *
 * Left out are the bytes of the bucket array in the file of a table that was open, which has no
 * checksum: a look-up there may miss a row. A scan does not, and CHECK TABLE finds it.
 */
#include "support/support.h"
#include "table/table.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum
{
  ROWS = 120,
  BUCKETS_END = 256 + 64 * 8,
};

static const char *const names[] = {"t.bzd", "blitz_log.00000001", "blitz_log.control"};

enum
{
  FILES = sizeof names / sizeof *names,
};

static char *contents[FILES];
static size_t lens[FILES];

static enum blitz_rc start(void)
{
  struct blitz_start_options options = {.dir = ".", .log_limit = 1 << 20, .memory = 1 << 20};
  return bz_start(&options, false, ERR);
}

static void work(void)
{
  require_ok(start());
  require_ok(blitz_table_create("./t", &(struct blitz_create_options){0}, false, ERR));
  struct blitz_table *table;
  require_ok(blitz_table_open("./t", 0, &table, ERR));
  put_rows(table, 0, ROWS / 2, 60, 1);
  remove_rows(table, 10, 20);
  put_rows(table, 10, 20, 300, 2);
  require_ok(blitz_checkpoint(ERR));
  put_rows(table, ROWS / 2, ROWS, 40, 1);
  require_ok(blitz_sync(ERR));
  /* Of the very last record nothing behind it tells that it was whole once. */
  require_ok(blitz_table_counter_set(table, 7, ERR));
}

static void enter(const char *name)
{
  char dir[4200];
  snprintf(dir, sizeof dir, "%s/%s", test_dir(), name);
  (void)mkdir(dir, 0700);
  require(chdir(dir) == 0);
}

/* Leaves what a process has left that was killed, in memory. */
static int leave_files(void **state)
{
  if (make_dir(state) != 0)
    return -1;
  enter("made");
  pid_t pid = fork();
  int status;
  if (pid == 0)
  {
    work();
    _exit(0);
  }
  if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
    return -1;
  for (unsigned i = 0; i < FILES; i++)
    contents[i] = read_whole(names[i], &lens[i]);
  enter("used");
  return 0;
}

static void put_files(void)
{
  require(system("rm -f -- *") == 0);
  for (unsigned i = 0; i < FILES; i++)
    write_whole(names[i], contents[i], lens[i]);
}

/* All rows, or an error; *ERROR: there was one. */
static const char *look(struct blitz_table *table, bool *error)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  uint64_t rows = 0, version;
  bool proven = true;
  enum blitz_rc rc;
  require_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
  {
    uint64_t n = ROWS;
    for (uint64_t i = 0; i < ROWS; i++)
      if (slice_is(blitz_cursor_key(cursor), number_key(i).data, 8))
        n = i;
    proven &= n < ROWS && row_proves(value, n, &version);
    rows++;
  }
  blitz_cursor_close(cursor);
  *error = rc != BLITZ_END;
  return !proven ? "a row is wrong" : rc == BLITZ_END && rows != ROWS ? "rows are missing" : NULL;
}

struct figures
{
  unsigned tries, refused, errors, whole;
};

/* Changes a byte and looks. */
static void damage(unsigned file, size_t at, struct rnd *rnd, struct figures *figures)
{
  struct blitz_table *table;
  const char *wrong = NULL;
  char before = contents[file][at];
  bool error = true;
  contents[file][at] = (char)(before ^ (1 + rnd_below(rnd, 255)));
  put_files();
  contents[file][at] = before;
  figures->tries++;
  if (start() != BLITZ_OK)
  {
    figures->refused++;
    return;
  }
  if (blitz_table_open("./t", 0, &table, ERR) == BLITZ_OK)
  {
    wrong = look(table, &error);
    blitz_table_close(table);
  }
  blitz_stop();
  figures->errors += error;
  figures->whole += !error;
  if (wrong != NULL)
    fail_msg("byte %zu of %s: %s", at, names[file], wrong);
}

static void damaged_bytes_are_noticed(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  struct figures figures = {0};
  catch_log();
  put_files();
  struct blitz_table *table;
  bool error;
  assert_ok(start());
  assert_ok(blitz_table_open("./t", 0, &table, ERR));
  assert_null(look(table, &error));
  assert_false(error);
  blitz_table_close(table);
  blitz_stop();
  for (size_t at = 0; at < 256; at++)
    damage(0, at, &rnd, &figures);
  for (size_t at = 0; at < 128; at++)
    damage(2, at, &rnd, &figures);
  for (unsigned i = run_rounds(300); i > 0; i--)
  {
    damage(0, BUCKETS_END + rnd_below(&rnd, (uint32_t)lens[0] - BUCKETS_END), &rnd, &figures);
    damage(1, rnd_below(&rnd, 24000), &rnd, &figures);
    damage(2, rnd_below(&rnd, (uint32_t)lens[2]), &rnd, &figures);
  }
  print_message("# %u bytes: %u starts refused, %u errors, %u times all rows\n", figures.tries,
                figures.refused, figures.errors, figures.whole);
  assert_true(figures.refused > 10 && figures.errors > 50 && figures.whole > 50);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(damaged_bytes_are_noticed),
  };
  return cmocka_run_group_tests(tests, leave_files, remove_dir);
}
