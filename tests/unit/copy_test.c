/* SPDX-License-Identifier: GPL-2.0-only
 *
 * copy_test.c: a copy of a table holds what was committed at one moment, also
 * while others write; it is compact, and is a table like any other.
 */
#include "support/support.h"

#include <pthread.h>
#include <stdatomic.h>

static void a_copy_has_the_rows(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("original");
  put_rows(table, 0, 1000, 100, 1);
  assert_ok(blitz_table_counter_raise(table, 77, ERR));
  assert_ok(blitz_table_copy(table, path_of("copy"), ERR));
  put_rows(table, 0, 1100, 100, 2); /* neither follows the other */
  struct blitz_table *copy = open_table("copy");
  assert_rows(copy, 0, 1000, 1);
  assert_int_equal(blitz_table_counter(copy), 77);
  put_rows(copy, 0, 900, 50, 3);
  assert_rows(table, 0, 1100, 2);
  blitz_table_close(copy);
  blitz_table_close(table);
  assert_ok(blitz_table_drop(path_of("copy"), ERR));
}

static void a_copy_of_nothing(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("original");
  assert_ok(blitz_table_copy(table, path_of("copy"), ERR));
  struct blitz_table *copy = open_table("copy");
  assert_int_equal(row_count(copy), 0);
  put_rows(copy, 0, 10, 100, 1);
  assert_rows(copy, 0, 10, 1);
  blitz_table_close(copy);
  blitz_table_close(table);
  assert_ok(blitz_table_drop(path_of("copy"), ERR));
}

static void a_copy_does_not_replace(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("original");
  struct blitz_table *other = new_table("other");
  put(table, "a", "1");
  put(other, "a", "2");
  blitz_table_close(other);
  assert_rc(BLITZ_EXISTS, blitz_table_copy(table, path_of("other"), ERR));
  assert_error_names(file_of("other"));
  other = open_table("other");
  assert_row(other, NULL, "a", "2");
  blitz_table_close(other);
  blitz_table_close(table);
}

static void a_copy_needs_its_directory(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("original");
  put(table, "a", "1");
  assert_int_not_equal(blitz_table_copy(table, path_of("no/such/copy"), ERR), BLITZ_OK);
  assert_error_names(path_of("no/such/copy"));
  assert_row(table, NULL, "a", "1");
  blitz_table_close(table);
}

static void a_copy_is_compact(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("original");
  put_rows(table, 0, 20000, 200, 1);
  remove_rows(table, 100, 20000);
  assert_ok(blitz_table_copy(table, path_of("copy"), ERR));
  assert_true(file_len(file_of("copy")) < 100 * 300 + 32768);
  assert_true(file_len(file_of("copy")) < file_len(file_of("original")) / 10);
  struct blitz_table *copy = open_table("copy");
  assert_rows(copy, 0, 100, 1);
  blitz_table_close(copy);
  blitz_table_close(table);
  assert_ok(blitz_table_drop(path_of("copy"), ERR));
}

static void a_copy_has_committed_rows_only(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("original");
  struct blitz_txn *txn = new_txn();
  put_rows(table, 0, 100, 60, 1);
  assert_ok(blitz_insert(txn, table, number_key(100), text("not committed"), ERR));
  assert_ok(blitz_remove(txn, table, number_key(1), ERR));
  assert_ok(blitz_update(txn, table, number_key(2), number_key(200), text("moved"), ERR));
  assert_ok(blitz_table_copy(table, path_of("copy"), ERR));
  blitz_txn_rollback(txn);
  struct blitz_table *copy = open_table("copy");
  assert_rows(copy, 0, 100, 1);
  blitz_table_close(copy);
  blitz_txn_free(txn);
  blitz_table_close(table);
  assert_ok(blitz_table_drop(path_of("copy"), ERR));
}

static void a_copy_goes_on_with_row_ids(void **state)
{
  (void)state;
  struct blitz_table *table = new_row_id_table("original");
  struct blitz_txn *txn = new_txn();
  uint64_t id, last = 0;
  for (int i = 0; i < 500; i++)
    assert_ok(blitz_insert_row_id(txn, table, text("row"), &last, ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  assert_ok(blitz_table_copy(table, path_of("copy"), ERR));
  blitz_table_close(table);
  struct blitz_table *copy = open_table("copy");
  assert_int_equal(row_count(copy), 500);
  assert_ok(blitz_insert_row_id(txn, copy, text("row"), &id, ERR));
  assert_true(id > last);
  require_ok(blitz_txn_commit(txn, ERR));
  assert_int_equal(row_count(copy), 501);
  blitz_txn_free(txn);
  blitz_table_close(copy);
  assert_ok(blitz_table_drop(path_of("copy"), ERR));
}

/* ---- beside a writer ---- */

enum
{
  ACCOUNTS = 3000,
  EACH = 1000
};

static struct blitz_table *bank;
static atomic_bool stop;

/* Moves money between accounts, so that the sum is the same after each commit;
 * the balance is a row's version, which proves it.
 */
static void *move_money(void *arg)
{
  struct rnd rnd = {*(uint64_t *)arg};
  struct blitz_txn *txn = NULL;
  struct blitz_cursor *cursor = NULL;
  struct blitz_slice value;
  char buf[500];
  require_ok(blitz_txn_create(&txn));
  require_ok(blitz_cursor_open(bank, txn, &cursor));
  while (!atomic_load(&stop))
  {
    uint64_t sum = 0, balances[2], numbers[2] = {rnd_below(&rnd, ACCOUNTS), 0};
    numbers[1] = (numbers[0] + 1 + rnd_below(&rnd, ACCOUNTS - 1)) % ACCOUNTS;
    for (int i = 0; i < 2; i++)
    {
      require_ok(blitz_get(cursor, number_key(numbers[i]), &value, ERR));
      require(row_proves(value, numbers[i], &balances[i]));
      sum += balances[i];
    }
    balances[0] = sum / 3;
    balances[1] = sum - balances[0];
    for (int i = 0; i < 2; i++)
    {
      size_t len = 16 + rnd_below(&rnd, sizeof buf - 16);
      row_fill(buf, len, numbers[i], balances[i]);
      require_ok(blitz_update(txn, bank, number_key(numbers[i]), number_key(numbers[i]),
                              bytes(buf, len), ERR));
    }
    require_ok(blitz_txn_commit(txn, ERR));
  }
  blitz_cursor_close(cursor);
  blitz_txn_free(txn);
  return NULL;
}

static uint64_t sum_of(struct blitz_table *table, uint64_t *rowsp)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  uint64_t sum = 0;
  enum blitz_rc rc;
  *rowsp = 0;
  assert_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
  {
    struct blitz_slice key = blitz_cursor_key(cursor);
    uint64_t balance;
    uint64_t n =
        (uint64_t)((const unsigned char *)key.data)[6] << 8 | ((const unsigned char *)key.data)[7];
    assert_true(row_proves(value, n, &balance));
    sum += balance;
    ++*rowsp;
  }
  assert_rc(BLITZ_END, rc);
  blitz_cursor_close(cursor);
  return sum;
}

static void a_copy_is_of_one_moment(void **state)
{
  (void)state;
  pthread_t thread;
  uint64_t seed = run_seed();
  bank = new_table("bank");
  put_rows(bank, 0, ACCOUNTS, 200, EACH);
  atomic_store(&stop, false);
  assert_int_equal(pthread_create(&thread, NULL, move_money, &seed), 0);
  for (unsigned round = 0; round < run_rounds(20); round++)
  {
    uint64_t rows;
    assert_ok(blitz_table_copy(bank, path_of("moment"), ERR));
    struct blitz_table *copy = open_table("moment");
    assert_int_equal(sum_of(copy, &rows), (uint64_t)ACCOUNTS * EACH);
    assert_int_equal(rows, ACCOUNTS);
    assert_int_equal(row_count(copy), ACCOUNTS);
    blitz_table_close(copy);
    assert_ok(blitz_table_drop(path_of("moment"), ERR));
  }
  atomic_store(&stop, true);
  pthread_join(thread, NULL);
  uint64_t rows;
  assert_int_equal(sum_of(bank, &rows), (uint64_t)ACCOUNTS * EACH);
  blitz_table_close(bank);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_copy_has_the_rows),
      cmocka_unit_test(a_copy_of_nothing),
      cmocka_unit_test(a_copy_does_not_replace),
      cmocka_unit_test(a_copy_needs_its_directory),
      cmocka_unit_test(a_copy_is_compact),
      cmocka_unit_test(a_copy_has_committed_rows_only),
      cmocka_unit_test(a_copy_goes_on_with_row_ids),
      cmocka_unit_test(a_copy_is_of_one_moment),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
