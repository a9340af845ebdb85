/* SPDX-License-Identifier: GPL-2.0-only
 *
 * file_test.c: what may stand in the place of a table's file.
 *  1. A file of format version 2, closed or left open, is converted; its rows, row ids and the
 *     caller's number stay. Nothing is changed by who may not, or cannot, convert it.
 *  2. A file whose rows have another layout is refused, and not changed.
 *  3. What is no regular file is an error at once; nothing planted is followed or overwritten.
 *  4. Holes of a sparse copy are allocated before the file is used.
 */
#include "rows/format.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int begin(void **state)
{
  (void)state;
  alarm(60);
  catch_log();
  return 0;
}

/* ---- version 2 ---- */

static const char *stored(const char *name)
{
  static char path[4096];
  snprintf(path, sizeof path, "%s/%s", BLITZ_STORED_FILES, name);
  return path;
}

static unsigned version_of(const char *name)
{
  size_t len;
  char *data = read_whole(file_of(name), &len);
  unsigned version = (unsigned char)data[136];
  free(data);
  return version;
}

/* The 200 rows that were stored; row 7 was removed again in the one that was closed. */
static void assert_stored_rows(struct blitz_table *table, bool closed)
{
  char key[16], value[40];
  for (unsigned i = 0; i < 200; i++)
  {
    snprintf(key, sizeof key, "key%u", i);
    snprintf(value, sizeof value, "value of %u", i);
    if (closed && i == 7)
      assert_no_row(table, NULL, key);
    else
      assert_row(table, NULL, key, value);
  }
  assert_int_equal(row_count(table), closed ? 199 : 200);
  assert_int_equal(blitz_table_counter(table), 1234);
}

static void version_2_is_converted(void **state)
{
  (void)state;
  for (unsigned closed = 0; closed < 2; closed++)
  {
    struct blitz_open_options options = {.layout = 77};
    struct blitz_table *table;
    copy_file(stored(closed ? "v2.bzd" : "v2_open.bzd"), file_of("old"));
    catch_log();
    assert_ok(blitz_table_open_with(path_of("old"), &options, &table, ERR));
    assert_non_null(strstr(log_text(), "is converted from format version 2 to 3"));
    assert_stored_rows(table, closed);
    assert_no_row(table, NULL, "not there");
    put(table, "new", "row");
    blitz_table_close(table);
    assert_int_equal(version_of("old"), 3);
    options.layout = 78;
    assert_rc(BLITZ_FOREIGN, blitz_table_open_with(path_of("old"), &options, &table, ERR));
    table = open_table("old");
    assert_row(table, NULL, "new", "row");
    remove_key(table, "new");
    assert_stored_rows(table, closed);
    blitz_table_close(table);
  }
}

static void other_keys_are_not_converted(void **state)
{
  (void)state;
  struct blitz_open_options options = {.flags = BLITZ_OPEN_NO_CONVERT, .layout = 77};
  struct blitz_table *table;
  for (unsigned closed = 0; closed < 2; closed++)
  {
    copy_file(stored(closed ? "v2.bzd" : "v2_open.bzd"), file_of("keys"));
    uint64_t sum = file_sum(file_of("keys"));
    assert_rc(BLITZ_FOREIGN, blitz_table_open_with(path_of("keys"), &options, &table, ERR));
    options.flags |= BLITZ_OPEN_REPAIR;
    assert_rc(BLITZ_FOREIGN, blitz_table_open_with(path_of("keys"), &options, &table, ERR));
    options.flags &= ~BLITZ_OPEN_REPAIR;
    assert_true(file_sum(file_of("keys")) == sum);
    blitz_table_close(open_table("keys"));
    options.layout = 0;
    assert_ok(blitz_table_open_with(path_of("keys"), &options, &table, ERR));
    assert_stored_rows(table, closed);
    blitz_table_close(table);
  }
}

static void row_ids_of_version_2_go_on(void **state)
{
  (void)state;
  copy_file(stored("v2_row_ids.bzd"), file_of("ids"));
  struct blitz_table *table = open_table("ids");
  struct blitz_txn *txn = new_txn();
  uint64_t id;
  assert_int_equal(row_count(table), 200);
  assert_ok(blitz_insert_row_id(txn, table, text("x"), &id, ERR));
  assert_int_equal(id, 201);
  assert_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void what_cannot_be_converted_stays(void **state)
{
  (void)state;
  struct blitz_table *table;
  char blocker[4300];
  copy_file(stored("v2.bzd"), file_of("stays"));
  uint64_t sum = file_sum(file_of("stays"));
  assert_rc(BLITZ_READONLY, blitz_table_open(path_of("stays"), BLITZ_OPEN_READONLY, &table, ERR));
  assert_true(file_sum(file_of("stays")) == sum);
  snprintf(blocker, sizeof blocker, "%s.new", file_of("stays"));
  assert_int_equal(mkdir(blocker, 0700), 0);
  assert_rc(BLITZ_IO, blitz_table_open(path_of("stays"), 0, &table, ERR));
  assert_int_equal(version_of("stays"), 2);
  assert_int_equal(rmdir(blocker), 0);
  table = open_table("stays");
  assert_stored_rows(table, true);
  blitz_table_close(table);
}

/* ---- another layout ---- */

static void another_layout_is_refused(void **state)
{
  (void)state;
  struct blitz_create_options options = {.layout = 0xabc};
  struct blitz_open_options open = {.layout = 0xdef};
  struct blitz_table *table;
  assert_ok(blitz_table_create(path_of("foreign"), &options, true, ERR));
  table = open_table("foreign");
  put(table, "k", "v");
  blitz_table_close(table);
  uint64_t sum = file_sum(file_of("foreign"));
  for (unsigned repair = 0; repair < 2; repair++)
  {
    open.flags = repair ? BLITZ_OPEN_REPAIR : 0;
    assert_rc(BLITZ_FOREIGN, blitz_table_open_with(path_of("foreign"), &open, &table, ERR));
    assert_error_names(file_of("foreign"));
    assert_non_null(strstr(last_error.text, "0000000000000abc"));
    assert_non_null(strstr(last_error.text, "0000000000000def"));
  }
  assert_true(file_sum(file_of("foreign")) == sum);
  open = (struct blitz_open_options){.layout = 0xabc};
  assert_ok(blitz_table_open_with(path_of("foreign"), &open, &table, ERR));
  assert_row(table, NULL, "k", "v");
  blitz_table_close(table);
}

/* ---- no regular files ---- */

static void what_is_no_file_is_an_error(void **state)
{
  (void)state;
  struct blitz_table *table;
  blitz_table_close(new_table("target"));
  assert_int_equal(mkfifo(file_of("fifo"), 0600), 0);
  assert_int_equal(mkdir(file_of("directory"), 0700), 0);
  assert_int_equal(symlink(file_of("target"), file_of("link")), 0);
  assert_int_equal(symlink("/dev/zero", file_of("device")), 0);
  static const char *const names[] = {"fifo", "directory", "link", "device"};
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
    for (unsigned flags = 0; flags <= BLITZ_OPEN_READONLY; flags++)
    {
      enum blitz_rc rc = blitz_table_open(path_of(names[i]), flags, &table, ERR);
      assert_true(rc == BLITZ_NOT_BLITZ || rc == BLITZ_IO);
      assert_error_names(file_of(names[i]));
    }
}

static void nothing_planted_is_followed(void **state)
{
  (void)state;
  struct blitz_create_options options = {0};
  char planted[4300], victim[4300];
  snprintf(victim, sizeof victim, "%s/victim", test_dir());
  snprintf(planted, sizeof planted, "%s.new", file_of("made"));
  write_whole(victim, "precious", 8);
  assert_int_equal(symlink(victim, planted), 0);
  assert_ok(blitz_table_create(path_of("made"), &options, true, ERR));
  assert_int_equal(file_len(victim), 8);
  struct stat st;
  assert_int_equal(lstat(file_of("made"), &st), 0);
  assert_true(S_ISREG(st.st_mode));
  blitz_table_close(open_table("made"));
}

/* ---- holes ---- */

static void holes_are_filled(void **state)
{
  (void)state;
  struct stat st;
  struct blitz_table *table = new_table("sparse");
  put_rows(table, 0, 2000, 200, 1);
  remove_rows(table, 100, 1900);
  blitz_table_close(table);
  /* The middle is one free block, whose inside nobody reads. */
  int fd = open(file_of("sparse"), O_RDWR);
  assert_true(fd >= 0);
  assert_int_equal(fstat(fd, &st), 0);
  off_t from = st.st_size / 4 / 4096 * 4096, len = st.st_size / 2 / 4096 * 4096;
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, len) != 0)
  {
    print_message("# skipped: no holes here (%s)\n", strerror(errno));
    close(fd);
    skip();
  }
  assert_int_equal(fstat(fd, &st), 0);
  assert_true(st.st_blocks < st.st_size / 512);
  close(fd);
  table = open_table("sparse");
  assert_int_equal(stat(file_of("sparse"), &st), 0);
  assert_true(st.st_blocks >= st.st_size / 512);
  put_rows(table, 100, 1900, 200, 1);
  assert_rows(table, 0, 2000, 1);
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(version_2_is_converted, begin),
      cmocka_unit_test_setup(other_keys_are_not_converted, begin),
      cmocka_unit_test_setup(row_ids_of_version_2_go_on, begin),
      cmocka_unit_test_setup(what_cannot_be_converted_stays, begin),
      cmocka_unit_test_setup(another_layout_is_refused, begin),
      cmocka_unit_test_setup(what_is_no_file_is_an_error, begin),
      cmocka_unit_test_setup(nothing_planted_is_followed, begin),
      cmocka_unit_test_setup(holes_are_filled, begin),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
