/* SPDX-License-Identifier: GPL-2.0-only
 *
 * sample_test.c: a sample is of committed rows, whatever their keys and their age, and
 * of all of them if they are few; also beside a writer.
 */
#include "support/support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum
{
  ROWS = 40000,
  PARTS = 10,
  WANTED = 2000,
  WRITES = 60
};

struct sampled
{
  uint64_t count;
  uint64_t of_part[PARTS]; /* by the row's number */
};

static void take(void *arg, struct blitz_slice value)
{
  struct sampled *sampled = arg;
  uint64_t n, version;

  assert_true(value.len >= sizeof(n));
  memcpy(&n, value.data, sizeof(n));
  assert_true(row_proves(value, n, &version));
  assert_true(n < ROWS);
  sampled->count++;
  sampled->of_part[n * PARTS / ROWS]++;
}

static struct sampled sample(struct blitz_table *table, uint64_t max)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct sampled sampled = {0};

  assert_ok(blitz_sample(cursor, max, take, &sampled, ERR));
  blitz_cursor_close(cursor);
  return sampled;
}

static void few_rows_are_all_in_it(void **state)
{
  struct blitz_table *table = new_table("few");

  (void)state;
  assert_int_equal(sample(table, WANTED).count, 0);
  put_rows(table, 0, 100, 50, 1);
  assert_int_equal(sample(table, WANTED).count, 100);
  remove_rows(table, 50, 100);
  assert_int_equal(sample(table, WANTED).count, 50);
  blitz_table_close(table);
}

/* Keys come in order, so that a row's number is its age. */
static void every_part_of_a_table_is_in_it(void **state)
{
  struct blitz_table *table = new_table("parts");
  struct sampled sampled;

  (void)state;
  put_rows(table, 0, ROWS, 50, 1);
  sampled = sample(table, WANTED);
  assert_in_range(sampled.count, WANTED, WANTED + 32);
  for (unsigned i = 0; i < PARTS; i++)
    assert_in_range(sampled.of_part[i], WANTED / PARTS * 7 / 10, WANTED / PARTS * 13 / 10);
  blitz_table_close(table);
}

static void changes_of_others_are_not_in_it(void **state)
{
  struct blitz_table *table = new_table("own");
  struct blitz_txn *txn = new_txn();
  char value[50];

  (void)state;
  put_rows(table, 0, 10, sizeof(value), 1);
  row_fill(value, sizeof(value), 10, 1);
  assert_ok(blitz_insert(txn, table, (struct blitz_slice){"new", 3},
                         (struct blitz_slice){value, sizeof(value)}, ERR));
  assert_int_equal(sample(table, WANTED).count, 10);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static atomic_bool is_over;

static void *write_rows(void *arg)
{
  struct blitz_table *table = arg;

  for (unsigned i = 0; i < WRITES; i++)
  {
    put_rows(table, i * 500, (i + 1) * 500, 16 + i, 1);
    if (i % 2 == 1)
      remove_rows(table, i * 500 - 500, i * 500 + 100);
  }
  atomic_store(&is_over, true);
  return NULL;
}

static void it_is_taken_beside_a_writer(void **state)
{
  struct blitz_table *table = new_table("beside");
  pthread_t writer;

  (void)state;
  assert_int_equal(pthread_create(&writer, NULL, write_rows, table), 0);
  while (!atomic_load(&is_over))
    assert_true(sample(table, 500).count <= 500 + 32);
  assert_int_equal(pthread_join(writer, NULL), 0);
  assert_true(sample(table, 500).count >= 500);
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(few_rows_are_all_in_it),
      cmocka_unit_test(every_part_of_a_table_is_in_it),
      cmocka_unit_test(changes_of_others_are_not_in_it),
      cmocka_unit_test(it_is_taken_beside_a_writer),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
