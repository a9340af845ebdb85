/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_label_test.c: long keys that begin alike, in orders that leave no room between labels.
 * What is counted is how many entries get a new label, whatever a machine's speed.
 */
#include "base/counters.h"
#include "support/indexed.h"

enum
{
  HEAD_LEN = 600,
  ROWS = 6000 / INDEXED_SLOWER
};

static enum blitz_rc make_entry(void *arg, unsigned index_no, struct blitz_slice value,
                                struct blitz_index_entry *entry, struct blitz_error *err)
{
  static uint8_t key[HEAD_LEN + 8];
  (void)arg;
  (void)index_no;
  (void)err;
  memset(key, 'x', HEAD_LEN);
  memcpy(key + HEAD_LEN, value.data, 8);
  *entry = (struct blitz_index_entry){.key = bytes(key, sizeof key)};
  return BLITZ_OK;
}

static const struct blitz_indexer indexer = {.make_entry = make_entry};
static const struct blitz_indexes ids = {.count = 1, .ids = {1}};

/* Orders: the place of the I-th key among all numbers. */
static uint64_t ascending(unsigned i)
{
  return 1000 + i;
}

static uint64_t descending(unsigned i)
{
  return UINT64_MAX / 2 - i;
}

static uint64_t random_order(unsigned i)
{
  return (i + 1) * UINT64_C(0x9E3779B97F4A7C15) >> 1;
}

/* Each key stands between the two before it. */
static uint64_t zooming(unsigned i)
{
  return UINT64_C(1) << 40 ^ (i % 2 ? UINT64_C(1000000) - i : i);
}

/* Blocks in descending order, ascending in each. */
static uint64_t in_blocks(unsigned i)
{
  return (1000 - i / 100) * UINT64_C(1000) + i % 100;
}

typedef uint64_t order_fn(unsigned i);

static void try_order(order_fn *order, const char *what, double moves_max)
{
  struct blitz_create_options options = {0};
  struct blitz_table *table;
  struct blitz_txn *txn = new_txn();
  uint64_t moved = atomic_load(&bz_counters.labels_moved), before = 0, rows = 0;
  struct blitz_cursor *cursor;
  enum blitz_rc rc;
  assert_ok(blitz_table_create(path_of("label"), &options, true, ERR));
  assert_ok(open_with_indexes("label", &ids, &indexer, &table, ERR));
  blitz_txn_set_indexer(txn, &indexer);
  /* The lowest and the highest: there is an end of labels on both sides. */
  assert_ok(blitz_insert(txn, table, number_key(0), number_key(0), ERR));
  assert_ok(blitz_insert(txn, table, number_key(UINT64_MAX), number_key(UINT64_MAX), ERR));
  for (unsigned i = 0; i < ROWS; i++)
  {
    assert_ok(blitz_insert(txn, table, number_key(order(i)), number_key(order(i)), ERR));
    if (i % 500 == 0)
      assert_ok(blitz_txn_commit(txn, ERR));
  }
  assert_ok(blitz_txn_commit(txn, ERR));
  moved = atomic_load(&bz_counters.labels_moved) - moved;
  print_message("# %s: %.2f entries moved for each new one\n", what, (double)moved / ROWS);
  assert_true((double)moved / ROWS <= moves_max);
  assert_ok(blitz_table_check_indexes(table, &indexer, ERR));
  cursor = new_cursor(table, NULL);
  assert_ok(blitz_index_begin(cursor, 0, ERR));
  for (rc = blitz_index_seek(cursor, text(""), BLITZ_SEEK_FIRST, ERR); rc == BLITZ_OK;
       rc = blitz_index_step(cursor, true, ERR), rows++)
  {
    uint64_t n = number_of_key(blitz_index_row_key(cursor));
    assert_true(rows == 0 ? n == 0 : n > before);
    before = n;
  }
  assert_int_equal(rows, ROWS + 2);
  blitz_cursor_close(cursor);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void few_entries_get_new_labels(void **state)
{
  (void)state;
  try_order(ascending, "ascending", 15);
  try_order(descending, "descending", 15);
  try_order(random_order, "random", 15);
  try_order(zooming, "zooming in", 40);
  try_order(in_blocks, "ascending blocks, descending", 40);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(few_entries_get_new_labels),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
