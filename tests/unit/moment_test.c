/* SPDX-License-Identifier: GPL-2.0-only
 *
 * moment_test.c: one moment of several tables.
 *  1. A moment's cursors find in each table what was there, by scans, look-ups and, if they were
 *     there when it was taken, by indexes; whatever was committed since.
 *  2. A commit of several tables is seen in all of them or in none.
 */
#include "support/indexed.h"

#include <pthread.h>
#include <stdatomic.h>

enum
{
  ROWS = 40,
  BALANCE = 1000,
  READERS = 3
};

static struct blitz_table *plain, *indexed;

static void open_tables(const char *name)
{
  char indexed_name[100];
  snprintf(indexed_name, sizeof indexed_name, "%s_indexed", name);
  plain = new_table(name);
  indexed = new_indexed_table(indexed_name);
  put_rows(plain, 0, ROWS, 100, BALANCE);
  put_indexed_rows(indexed, 0, ROWS, BALANCE, 100);
}

static void close_tables(void)
{
  blitz_table_close(plain);
  blitz_table_close(indexed);
}

/* Row 0 goes, row 1 changes, row ROWS comes; two commits, so that rows are also replaced twice. */
static void change(struct blitz_table *table)
{
  struct blitz_txn *txn = new_indexed_txn();
  for (uint64_t version = BALANCE + 1; version <= BALANCE + 2; version++)
  {
    assert_ok(indexed_update(txn, table, 1, version, 200));
    if (version == BALANCE + 1)
    {
      assert_ok(blitz_remove(txn, table, number_key(0), ERR));
      assert_ok(indexed_insert(txn, table, ROWS, BALANCE, 100));
    }
    assert_ok(blitz_txn_commit(txn, ERR));
  }
  blitz_txn_free(txn);
}

static void assert_scan(struct blitz_cursor *cursor, uint64_t rows, uint64_t sum)
{
  struct blitz_slice value;
  uint64_t version, found_sum = 0, found = 0;
  enum blitz_rc rc;
  assert_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
  {
    assert_true(row_proves(value, number_of_key(blitz_cursor_key(cursor)), &version));
    found_sum += version;
    found++;
  }
  assert_rc(BLITZ_END, rc);
  blitz_scan_end(cursor);
  assert_int_equal(found, rows);
  assert_int_equal(found_sum, sum);
}

/* What was there before change(), or what is since. */
static void assert_old(struct blitz_cursor *cursor)
{
  assert_scan(cursor, ROWS, ROWS * BALANCE);
  assert_int_equal(row_version(cursor, 0), BALANCE);
  assert_int_equal(row_version(cursor, 1), BALANCE);
  assert_int_equal(row_version(cursor, 2), BALANCE);
  assert_int_equal(row_version(cursor, ROWS), 0);
}

static void assert_new(struct blitz_cursor *cursor)
{
  assert_scan(cursor, ROWS, ROWS * BALANCE + 2);
  assert_int_equal(row_version(cursor, 0), 0);
  assert_int_equal(row_version(cursor, 1), BALANCE + 2);
  assert_int_equal(row_version(cursor, ROWS), BALANCE);
}

/* The sum of the versions that index 2 has as its payload. */
static uint64_t index_sum(struct blitz_cursor *cursor)
{
  uint64_t sum = 0, n, version;
  enum blitz_rc rc;
  require_ok(blitz_index_begin(cursor, 2, ERR));
  rc = blitz_index_seek(cursor, bytes("", 0), BLITZ_SEEK_FIRST, ERR);
  for (; rc == BLITZ_OK; rc = blitz_index_step(cursor, true, ERR))
  {
    require(entry_is_right(cursor, 2, &n, &version));
    sum += version;
  }
  require(rc == BLITZ_END);
  blitz_index_end(cursor);
  return sum;
}

/* The index file has later entries; what is read of it is as it was. */
static void assert_index_old(struct blitz_cursor *cursor, const struct blitz_moment *moment)
{
  struct blitz_cursor *other = new_cursor(indexed, NULL);
  assert_int_equal(index_sum(cursor), ROWS * BALANCE);
  assert_ok(blitz_checkpoint(ERR));
  blitz_cursor_set_moment(other, moment);
  assert_old(other);
  assert_int_equal(index_sum(other), ROWS * BALANCE);
  assert_int_equal(index_sum(cursor), ROWS * BALANCE);
  assert_old(cursor);
  blitz_cursor_close(other);
}

static void all_tables_are_of_the_moment(void **state)
{
  struct blitz_moment *moment, *later;
  struct blitz_cursor *a, *b;
  (void)state;
  open_tables(__func__);
  a = new_cursor(plain, NULL);
  b = new_cursor(indexed, NULL);
  assert_ok(blitz_moment_take(NULL, 0, &moment, ERR));
  change(plain);
  change(indexed);
  assert_ok(blitz_moment_take(NULL, 0, &later, ERR));
  blitz_cursor_set_moment(a, moment);
  blitz_cursor_set_moment(b, moment);
  assert_old(a);
  assert_old(b);
  assert_index_old(b, moment);
  blitz_cursor_set_moment(a, later);
  blitz_cursor_set_moment(b, later);
  assert_new(a);
  assert_new(b);
  assert_int_equal(index_sum(b), ROWS * BALANCE + 2);
  blitz_cursor_set_moment(a, moment);
  assert_old(a);
  blitz_cursor_reset(a);
  blitz_cursor_reset(b);
  blitz_moment_end(moment);
  blitz_moment_end(later);
  assert_new(a);
  blitz_cursor_close(a);
  blitz_cursor_close(b);
  close_tables();
}

static void cursors_keep_the_moment(void **state)
{
  struct blitz_moment *moment;
  struct blitz_cursor *cursors[2];
  (void)state;
  open_tables(__func__);
  cursors[0] = new_cursor(plain, NULL);
  cursors[1] = new_cursor(indexed, NULL);
  assert_ok(blitz_moment_take(cursors, 2, &moment, ERR));
  blitz_moment_end(moment);
  change(plain);
  change(indexed);
  for (unsigned again = 0; again < 2; again++)
  {
    assert_old(cursors[0]);
    assert_old(cursors[1]);
    assert_int_equal(index_sum(cursors[1]), ROWS * BALANCE);
  }
  for (unsigned i = 0; i < 2; i++)
  {
    blitz_cursor_reset(cursors[i]);
    assert_new(cursors[i]);
  }
  assert_int_equal(index_sum(cursors[1]), ROWS * BALANCE + 2);
  blitz_cursor_close(cursors[0]);
  blitz_cursor_close(cursors[1]);
  close_tables();
}

static void a_moment_holds_for_tables_opened_later(void **state)
{
  struct blitz_moment *moment;
  struct blitz_cursor *cursor;
  (void)state;
  open_tables(__func__);
  blitz_table_close(plain);
  assert_ok(blitz_moment_take(NULL, 0, &moment, ERR));
  plain = open_table(__func__);
  change(plain);
  cursor = new_cursor(plain, NULL);
  blitz_cursor_set_moment(cursor, moment);
  assert_old(cursor);
  blitz_cursor_close(cursor);
  /* What was removed goes when all have closed the table. */
  blitz_table_close(plain);
  plain = open_table(__func__);
  cursor = new_cursor(plain, NULL);
  blitz_cursor_set_moment(cursor, moment);
  assert_rc(BLITZ_CHANGED, blitz_scan_begin(cursor));
  blitz_cursor_reset(cursor);
  assert_new(cursor);
  blitz_cursor_close(cursor);
  blitz_moment_end(moment);
  close_tables();
}

/* ---- threads ---- */

static atomic_bool writing;
static atomic_ullong moments;
static unsigned work;
static uint64_t seed;

/* Moves one from a row of the one table to a row of the other, in one commit. */
static void *transfer(void *arg)
{
  struct rnd rnd = {seed};
  struct blitz_txn *txn;
  struct blitz_cursor *from, *to;
  (void)arg;
  require_ok(blitz_txn_create(&txn));
  blitz_txn_set_indexer(txn, &indexed_indexer);
  require_ok(blitz_cursor_open(plain, NULL, &from));
  require_ok(blitz_cursor_open(indexed, NULL, &to));
  for (unsigned i = 0; i < work; i++)
  {
    uint64_t n = rnd_below(&rnd, ROWS), m = rnd_below(&rnd, ROWS);
    bool back = rnd_below(&rnd, 2) != 0;
    uint64_t a = row_version(from, n) + (back ? 1 : -1), b = row_version(to, m) - (back ? 1 : -1);
    require_ok(indexed_update(txn, plain, n, a, 100 + rnd_below(&rnd, 100)));
    require_ok(indexed_update(txn, indexed, m, b, 100 + rnd_below(&rnd, 100)));
    require_ok(blitz_txn_commit(txn, ERR));
  }
  atomic_store(&writing, false);
  blitz_cursor_close(from);
  blitz_cursor_close(to);
  blitz_txn_free(txn);
  return NULL;
}

static uint64_t scan_sum(struct blitz_cursor *cursor)
{
  struct blitz_slice value;
  uint64_t sum = 0, version;
  enum blitz_rc rc;
  require_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
  {
    require(row_proves(value, number_of_key(blitz_cursor_key(cursor)), &version));
    sum += version;
  }
  require(rc == BLITZ_END);
  blitz_scan_end(cursor);
  return sum;
}

static uint64_t lookup_sum(struct blitz_cursor *cursor)
{
  uint64_t sum = 0;
  for (uint64_t n = 0; n < ROWS; n++)
    sum += row_version(cursor, n);
  return sum;
}

static void *read_moments(void *arg)
{
  struct rnd rnd = {seed + (uint64_t)(uintptr_t)arg};
  struct blitz_cursor *cursors[2];
  require_ok(blitz_cursor_open(plain, NULL, &cursors[0]));
  require_ok(blitz_cursor_open(indexed, NULL, &cursors[1]));
  do
  {
    struct blitz_moment *moment;
    bool taken = rnd_below(&rnd, 2) != 0;
    require_ok(blitz_moment_take(cursors, taken ? 2 : 0, &moment, ERR));
    if (taken && rnd_below(&rnd, 2) != 0)
    {
      blitz_moment_end(moment);
      moment = NULL;
    }
    for (unsigned i = 0; i < 2 && !taken; i++)
      blitz_cursor_set_moment(cursors[i], moment);
    for (unsigned i = 0; i < 3; i++)
    {
      uint64_t a = rnd_below(&rnd, 2) ? scan_sum(cursors[0]) : lookup_sum(cursors[0]);
      uint64_t b = taken && rnd_below(&rnd, 2) ? index_sum(cursors[1])
                   : rnd_below(&rnd, 2)        ? scan_sum(cursors[1])
                                               : lookup_sum(cursors[1]);
      require(a + b == 2 * ROWS * BALANCE);
    }
    blitz_cursor_reset(cursors[0]);
    blitz_cursor_reset(cursors[1]);
    blitz_moment_end(moment);
    atomic_fetch_add(&moments, 1);
  } while (atomic_load(&writing));
  blitz_cursor_close(cursors[0]);
  blitz_cursor_close(cursors[1]);
  return NULL;
}

static void several_tables_change_at_once(void **state)
{
  pthread_t writer, readers[READERS];
  (void)state;
  open_tables(__func__);
  work = run_rounds(10000 / INDEXED_SLOWER);
  seed = run_seed();
  atomic_store(&writing, true);
  assert_int_equal(pthread_create(&writer, NULL, transfer, NULL), 0);
  for (uintptr_t i = 0; i < READERS; i++)
    assert_int_equal(pthread_create(&readers[i], NULL, read_moments, (void *)(i + 1)), 0);
  pthread_join(writer, NULL);
  for (unsigned i = 0; i < READERS; i++)
    pthread_join(readers[i], NULL);
  print_message("# %llu moments, %u transfers\n", (unsigned long long)atomic_load(&moments), work);
  close_tables();
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_tables_are_of_the_moment),
      cmocka_unit_test(cursors_keep_the_moment),
      cmocka_unit_test(a_moment_holds_for_tables_opened_later),
      cmocka_unit_test(several_tables_change_at_once),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
