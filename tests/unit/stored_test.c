/* SPDX-License-Identifier: GPL-2.0-only
 *
 * stored_test.c: files as earlier versions of BlitzDB have left them, closed and open, with a log
 * and with the journal of a checkpoint that was interrupted. The engine is started there; all rows
 * are as they were, can be changed, and are in a closed file of this version afterwards, which
 * opens again. Version 1 is refused.
 *
 * `tests/unit/stored/make` has made these files, and says by which commands.
 */
#include "support.h"
#include "table/table.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct blitz_start_options start_options = {
    .dir = ".", .log_limit = 1 << 20, .memory = 1 << 20};

/* Which rows a table has: FROM to TO - 1, but one; row 3 may be another one. */
struct rows
{
  const char *table;
  unsigned from, to, but;
  bool other_3;
  uint64_t counter;
  uint64_t image; /* number of the one that is there when it was started; 0: no matter */
};

static const struct rows of_200 = {"./t", 0, 200, 200, false, 1234, 0};
static const struct rows closed_200 = {"./t", 0, 200, 7, false, 1234, 0};

/* ---- files ---- */

/* Into a new directory, which is the current one then. */
static void enter(const char *name)
{
  char dir[4200];
  snprintf(dir, sizeof dir, "%s/%s", test_dir(), name);
  assert_int_equal(mkdir(dir, 0700), 0);
  assert_int_equal(chdir(dir), 0);
}

static void take_file(const char *stored, const char *name)
{
  char from[9000];
  snprintf(from, sizeof from, "%s/%s", BLITZ_STORED_FILES, stored);
  copy_file(from, name);
}

static void take_dir(const char *stored)
{
  char from[4200], file[4600];
  snprintf(from, sizeof from, "%s/%s", BLITZ_STORED_FILES, stored);
  DIR *dir = opendir(from);
  struct dirent *entry;
  unsigned count = 0;
  assert_non_null(dir);
  while ((entry = readdir(dir)) != NULL)
    if (entry->d_name[0] != '.')
    {
      snprintf(file, sizeof file, "%s/%s", stored, entry->d_name);
      take_file(file, entry->d_name);
      count++;
    }
  closedir(dir);
  assert_int_equal(count, 6);
}

static uint64_t header_number(const char *path, size_t off, unsigned len)
{
  char file[64];
  size_t file_len;
  snprintf(file, sizeof file, "%s%s", path, BLITZ_FILE_EXT);
  unsigned char *data = (unsigned char *)read_whole(file, &file_len);
  uint64_t number = 0;
  assert_true(file_len > 256);
  while (len-- > 0)
    number = number << 8 | data[off + len];
  free(data);
  return number;
}

/* ---- rows ---- */

static bool is_row(const struct rows *rows, struct blitz_slice key, struct blitz_slice value,
                   unsigned n)
{
  char want_key[16], want[40];
  snprintf(want_key, sizeof want_key, "key%u", n);
  snprintf(want, sizeof want, rows->other_3 && n == 3 ? "another value of %u" : "value of %u", n);
  return slice_is(key, want_key, strlen(want_key)) && slice_is(value, want, strlen(want));
}

/* By a scan, and by key. */
static void assert_these(struct blitz_table *table, const struct rows *rows)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  bool seen[200] = {0};
  unsigned count = rows->to - rows->from - (rows->but < rows->to);
  enum blitz_rc rc;
  assert_int_equal(row_count(table), count);
  assert_int_equal(blitz_table_counter(table), rows->counter);
  assert_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
  {
    unsigned n = rows->from;
    while (n < rows->to && !is_row(rows, blitz_cursor_key(cursor), value, n))
      n++;
    assert_true(n < rows->to && n != rows->but && !seen[n]);
    seen[n] = true;
    count--;
  }
  assert_rc(BLITZ_END, rc);
  assert_int_equal(count, 0);
  blitz_scan_end(cursor);
  for (unsigned n = 0; n < 200; n++)
  {
    char key[16];
    snprintf(key, sizeof key, "key%u", n);
    rc = blitz_get(cursor, text(key), &value, ERR);
    assert_rc(seen[n] ? BLITZ_OK : BLITZ_NOT_FOUND, rc);
    assert_true(rc != BLITZ_OK || is_row(rows, text(key), value, n));
  }
  blitz_cursor_close(cursor);
}

/* What is stored is in the current directory. */
static void assert_opens(const struct rows *rows, unsigned count)
{
  struct blitz_table *table;
  assert_ok(bz_start(&start_options, false, ERR));
  for (unsigned i = 0; i < count; i++)
  {
    if (rows[i].image != 0)
      assert_int_equal(header_number(rows[i].table, 72, 8), rows[i].image);
    assert_ok(blitz_table_open(rows[i].table, 0, &table, ERR));
    assert_these(table, &rows[i]);
    put(table, "new", "row");
    blitz_table_close(table);
    assert_int_equal(header_number(rows[i].table, 136, 2), 3);
    assert_int_equal(header_number(rows[i].table, 33, 1), 0);
  }
  blitz_stop();
  assert_ok(bz_start(&start_options, false, ERR));
  for (unsigned i = 0; i < count; i++)
  {
    assert_ok(blitz_table_open(rows[i].table, 0, &table, ERR));
    assert_row(table, NULL, "new", "row");
    remove_key(table, "new");
    assert_these(table, &rows[i]);
    blitz_table_close(table);
  }
  blitz_stop();
}

/* ---- tests ---- */

static void version_1_is_refused(void **state)
{
  (void)state;
  struct blitz_table *table;
  enter("v1");
  take_file("v1.bzd", "t.bzd");
  uint64_t sum = file_sum("t.bzd");
  assert_ok(bz_start(&start_options, false, ERR));
  for (unsigned flags = 0; flags <= BLITZ_OPEN_REPAIR; flags += BLITZ_OPEN_REPAIR)
  {
    assert_rc(BLITZ_BAD_VERSION, blitz_table_open("./t", flags, &table, ERR));
    assert_error_names("./t.bzd has format version 1, this BlitzDB reads 2 and later");
    assert_non_null(strstr(last_error.text, "mariadb-dump"));
  }
  blitz_stop();
  assert_true(file_sum("t.bzd") == sum);
}

static void tables_without_a_log(void **state)
{
  (void)state;
  static const char *const stored[] = {"v2", "v2_open", "v3", "v3_open"};
  for (unsigned i = 0; i < sizeof stored / sizeof *stored; i++)
  {
    char file[32];
    enter(stored[i]);
    snprintf(file, sizeof file, "%s%s", stored[i], BLITZ_FILE_EXT);
    take_file(file, "t.bzd");
    assert_int_equal(header_number("./t", 136, 2), i < 2 ? 2 : 3);
    assert_int_equal(header_number("./t", 33, 1), i % 2);
    assert_opens(i % 2 == 0 ? &closed_200 : &of_200, 1);
  }
}

static void commits_in_the_log(void **state)
{
  (void)state;
  static const struct rows rows[] = {{"./t", 0, 60, 7, true, 1234, 1},
                                     {"./u", 40, 60, 47, false, 0, 0}};
  enter("v4_log");
  take_dir("v4_log");
  for (unsigned i = 0; i < 2; i++)
    assert_int_equal(header_number(rows[i].table, 136, 2), 4);
  assert_opens(rows, 2);
}

/* Its pages make image 2. */
static void a_whole_journal(void **state)
{
  (void)state;
  static const struct rows rows[] = {{"./t", 0, 40, 7, true, 0, 2},
                                     {"./u", 41, 42, 42, false, 0, 2}};
  enter("v4_journal");
  take_dir("v4_journal");
  for (unsigned i = 0; i < 2; i++)
  {
    assert_int_equal(header_number(rows[i].table, 136, 2), 4);
    assert_int_equal(header_number(rows[i].table, 72, 8), 1);
  }
  assert_opens(rows, 2);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(version_1_is_refused),
      cmocka_unit_test(tables_without_a_log),
      cmocka_unit_test(commits_in_the_log),
      cmocka_unit_test(a_whole_journal),
  };
  catch_log();
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
