/* SPDX-License-Identifier: GPL-2.0-only
 *
 * mixture_test.c: what the crash of a machine leaves of a table that was open is
 * a mixture of its pages, some older and some newer. Rows may be lost then, but
 *  1. no row is wrong: each has a value that it once had, and each key is there once;
 *  2. scans, look-ups and the row count agree;
 *  3. the table can be written again, and closed and opened.
 */
#include "support/support.h"

#include <unistd.h>

enum
{
  ROWS = 300,
  STATES = 6,
  PAGE = 4096
};

static char *states[STATES];
static size_t lens[STATES];

static int begin(void **state)
{
  (void)state;
  alarm(240);
  catch_log();
  return 0;
}

static void change_rows(struct blitz_table *table, struct rnd *rnd, uint64_t version)
{
  struct blitz_txn *txn = new_txn();
  char value[2000];
  for (int i = 0; i < 200; i++)
  {
    uint64_t n = rnd_below(rnd, ROWS);
    size_t len = 16 + rnd_below(rnd, rnd_below(rnd, 10) ? 200 : 1900);
    enum blitz_rc rc;
    row_fill(value, len, n, version);
    if (rnd_below(rnd, 4) == 0)
      rc = blitz_remove(txn, table, number_key(n), ERR);
    else
    {
      rc = blitz_update(txn, table, number_key(n), number_key(n), bytes(value, len), ERR);
      if (rc == BLITZ_NOT_FOUND)
        rc = blitz_insert(txn, table, number_key(n), bytes(value, len), ERR);
    }
    assert_true(rc == BLITZ_OK || rc == BLITZ_NOT_FOUND);
    if (i % 5 == 0)
      require_ok(blitz_txn_commit(txn, ERR));
  }
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
}

/* Can all of it be read? If the first page is that of the closed file, nothing says
 * that the others may not be: then they are found to be damaged in reading them.
 */
static bool is_readable(struct blitz_table *table)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  enum blitz_rc rc, worst = BLITZ_OK;
  assert_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
    ;
  if (rc != BLITZ_END)
    worst = rc;
  for (uint64_t n = 0; n < ROWS; n++)
  {
    rc = blitz_get(cursor, number_key(n), &value, ERR);
    if (rc != BLITZ_OK && rc != BLITZ_NOT_FOUND)
      worst = rc;
  }
  blitz_cursor_close(cursor);
  assert_true(worst == BLITZ_OK || worst == BLITZ_CORRUPT);
  return worst == BLITZ_OK;
}

/* Opens the mixture, with a repair if it says that it needs one; NULL: it cannot
 * be read at all.
 */
static struct blitz_table *open_mixture(unsigned *repairs)
{
  struct blitz_table *table;
  catch_log();
  enum blitz_rc rc = blitz_table_open(path_of("mixed"), 0, &table, ERR);
  if (rc == BLITZ_OK && is_readable(table))
    return table;
  if (rc == BLITZ_OK)
  {
    if (strstr(log_text(), "is repaired"))
      fail_msg("it was repaired, and is not in order: %s", last_error.text);
    blitz_table_close(table);
  }
  else
    assert_rc(BLITZ_CORRUPT, rc);
  ++*repairs;
  rc = blitz_table_open(path_of("mixed"), BLITZ_OPEN_REPAIR, &table, ERR);
  if (rc == BLITZ_CORRUPT)
    return NULL; /* the header may be that of a longer file */
  assert_ok(rc);
  return table;
}

/* The file as it was closed, and then, open, after each of some bursts of changes. */
static void make_states(const char *name, struct rnd *rnd)
{
  struct blitz_table *table = new_table(name);
  put_rows(table, 0, ROWS, 120, 1);
  blitz_table_close(table);
  states[0] = read_whole(file_of(name), &lens[0]);
  table = open_table(name);
  for (int i = 1; i < STATES; i++)
  {
    change_rows(table, rnd, 1 + (uint64_t)i);
    states[i] = read_whole(file_of(name), &lens[i]);
  }
  blitz_table_close(table);
}

static void mix(const char *name, struct rnd *rnd)
{
  /* The length of a file is known later than its pages are, or earlier. */
  size_t len = lens[rnd_below(rnd, STATES)];
  char *data = calloc(len, 1);
  assert_non_null(data);
  unsigned bias = rnd_below(rnd, STATES);
  for (size_t off = 0; off < len; off += PAGE)
  {
    unsigned which = rnd_below(rnd, 3) ? bias : rnd_below(rnd, STATES);
    size_t part = len - off < PAGE ? len - off : PAGE;
    if (off + part <= lens[which])
      memcpy(data + off, states[which] + off, part);
  }
  mark_other_boot(data);
  write_whole(file_of(name), data, len);
  free(data);
}

static void assert_sound(struct blitz_table *table, unsigned char *met)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  enum blitz_rc rc;
  uint64_t rows = 0, version;
  memset(met, 0, ROWS);
  assert_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
  {
    struct blitz_slice key = blitz_cursor_key(cursor);
    assert_int_equal(key.len, 8);
    uint64_t n = ((const unsigned char *)key.data)[6] * 256U + ((const unsigned char *)key.data)[7];
    assert_true(n < ROWS);
    assert_int_equal(met[n]++, 0);
    assert_true(row_proves(value, n, &version));
    assert_in_range(version, 1, STATES + 1);
    rows++;
  }
  assert_rc(BLITZ_END, rc);
  blitz_scan_end(cursor);
  assert_int_equal(row_count(table), rows);
  for (uint64_t n = 0; n < ROWS; n++)
  {
    rc = blitz_get(cursor, number_key(n), &value, ERR);
    assert_rc(met[n] ? BLITZ_OK : BLITZ_NOT_FOUND, rc);
    assert_true(rc != BLITZ_OK || row_proves(value, n, &version));
  }
  blitz_cursor_close(cursor);
}

static void mixtures_have_no_wrong_row(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  unsigned repairs = 0, hopeless = 0, rounds = run_rounds(400);
  make_states("changed", &rnd);
  for (unsigned round = 0; round < rounds; round++)
  {
    unsigned char met[ROWS];
    mix("mixed", &rnd);
    struct blitz_table *table = open_mixture(&repairs);
    if (table == NULL)
    {
      hopeless++;
      continue;
    }
    assert_sound(table, met);
    change_rows(table, &rnd, STATES + 1);
    assert_sound(table, met);
    blitz_table_close(table);
    table = open_table("mixed");
    assert_sound(table, met);
    blitz_table_close(table);
  }
  print_message("# %u files of %u wanted REPAIR, %u could not have it\n", repairs, rounds,
                hopeless);
  assert_int_equal(hopeless, 0);
  for (int i = 0; i < STATES; i++)
    free(states[i]);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(mixtures_have_no_wrong_row, begin),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
