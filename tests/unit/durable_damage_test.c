/* SPDX-License-Identifier: GPL-2.0-only
 *
 * durable_damage_test.c: one byte of what a killed process has left is another one: of a table's
 * file, of the log, of its control file, of a journal. Whatever starts and opens then either says
 * so or has the right rows; it does not die. The process died with changes in the log alone, or
 * when it was about to place the pages of a journal: one that is damaged is as good as none.
 *
 * BLITZ_EVERY_BYTE=1 changes every byte; otherwise it is some of them.
 *
 * Left out are the bytes of the bucket array in the file of a table that was open, which has no
 * checksum: a look-up there may miss a row. A scan does not, and CHECK TABLE finds it.
 */
#include "log/journal.h"
#include "support/support.h"
#include "table/table.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum
{
  ROWS = 120,
  BUCKETS_END = 256 + 64 * 8,
};

enum file
{
  TABLE,
  LOG,
  CONTROL,
  JOURNAL,
  FILES,
};

static const char *const names[FILES] = {"t.bzd", "blitz_log.00000001", "blitz_log.control",
                                         "blitz_log.pages"};

static char *contents[FILES];
static size_t lens[FILES];

static enum blitz_rc start(void)
{
  struct blitz_start_options options = {.dir = ".", .log_limit = 1 << 20, .memory = 1 << 20};
  return bz_start(&options, false, ERR);
}

static bool dies_in_checkpoint;

enum blitz_rc __wrap_bz_journal_place(struct bz_journal *journal, bz_journal_place_fn *place,
                                      void *arg, struct blitz_error *err);
enum blitz_rc __wrap_bz_journal_place(struct bz_journal *journal, bz_journal_place_fn *place,
                                      void *arg, struct blitz_error *err)
{
  enum blitz_rc __real_bz_journal_place(struct bz_journal *, bz_journal_place_fn *, void *,
                                        struct blitz_error *);
  if (dies_in_checkpoint)
    _exit(0);
  return __real_bz_journal_place(journal, place, arg, err);
}

static void work(bool in_checkpoint)
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
  dies_in_checkpoint = in_checkpoint;
  if (in_checkpoint)
    require_ok(blitz_checkpoint(ERR));
}

static void enter(const char *name)
{
  char dir[4200];
  snprintf(dir, sizeof dir, "%s/%s", test_dir(), name);
  (void)mkdir(dir, 0700);
  require(chdir(dir) == 0);
}

/* Takes what a process has left that was killed into memory. */
static void leave_files(const char *made, bool in_checkpoint)
{
  enter(made);
  pid_t pid = fork();
  int status;
  if (pid == 0)
  {
    work(in_checkpoint);
    _exit(in_checkpoint);
  }
  require(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
  for (unsigned i = 0; i < FILES; i++)
  {
    free(contents[i]);
    contents[i] = read_whole(names[i], &lens[i]);
  }
  enter("used");
}

static void put_files(void)
{
  DIR *dir = opendir(".");
  struct dirent *entry;
  require(dir != NULL);
  while ((entry = readdir(dir)) != NULL)
    if (entry->d_name[0] != '.')
      require(unlink(entry->d_name) == 0);
  closedir(dir);
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
  alarm(60); /* it does not hang */
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
  if (wrong == NULL && error && file == JOURNAL)
    wrong = last_error.text;
  if (wrong != NULL)
    fail_msg("byte %zu of %s: %s", at, names[file], wrong);
}

/* Changes some of the bytes from FROM to TO - 1, or all of them. */
static void damage_some(unsigned file, size_t from, size_t to, struct rnd *rnd,
                        struct figures *figures)
{
  if (getenv("BLITZ_EVERY_BYTE") != NULL)
    for (size_t at = from; at < to; at++)
      damage(file, at, rnd, figures);
  else
    for (unsigned i = run_rounds(300); i > 0; i--)
      damage(file, from + rnd_below(rnd, (uint32_t)(to - from)), rnd, figures);
}

static void all_is_there_before(void)
{
  struct blitz_table *table;
  bool error;
  put_files();
  assert_ok(start());
  assert_ok(blitz_table_open("./t", 0, &table, ERR));
  assert_null(look(table, &error));
  assert_false(error);
  blitz_table_close(table);
  blitz_stop();
}

static void tell(const struct figures *figures)
{
  print_message("# %u bytes: %u starts refused, %u errors, %u times all rows\n", figures->tries,
                figures->refused, figures->errors, figures->whole);
}

static void damaged_bytes_are_noticed(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  struct figures figures = {0};
  leave_files("made", false);
  all_is_there_before();
  for (size_t at = 0; at < 256; at++)
    damage(TABLE, at, &rnd, &figures);
  for (size_t at = 0; at < 128; at++)
    damage(CONTROL, at, &rnd, &figures);
  damage_some(TABLE, BUCKETS_END, lens[TABLE], &rnd, &figures);
  damage_some(LOG, 0, 24000, &rnd, &figures);
  damage_some(CONTROL, 0, lens[CONTROL], &rnd, &figures);
  tell(&figures);
  assert_true(figures.refused > 10 && figures.errors > 50 && figures.whole > 50);
}

static void damaged_journals_are_not_placed(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  struct figures figures = {0};
  leave_files("made_in_checkpoint", true);
  all_is_there_before();
  size_t list = lens[JOURNAL] / 4096 * 4096;
  assert_true(list > 2 * 4096 && list < lens[JOURNAL]);
  for (size_t at = 0; at < 32; at++)
    damage(JOURNAL, at, &rnd, &figures);
  for (size_t at = list; at < lens[JOURNAL]; at++)
    damage(JOURNAL, at, &rnd, &figures);
  damage_some(JOURNAL, 4096, list, &rnd, &figures);
  tell(&figures);
  assert_int_equal(figures.whole, figures.tries);
  damage_some(TABLE, BUCKETS_END, lens[TABLE], &rnd, &figures);
  damage_some(LOG, 0, 24000, &rnd, &figures);
  tell(&figures);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(damaged_bytes_are_noticed),
      cmocka_unit_test(damaged_journals_are_not_placed),
  };
  catch_log();
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
