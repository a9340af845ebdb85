/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_long_test.c: thousands of keys that are longer than LMDB's and begin with the same
 * bytes, so that labels alone order them: put in any order, between neighbours until
 * there is no label left, one by one or all at once, and taken out again.
 *
 * A row's value is what its key ends with, and both indexes have the same keys, but those
 * of index 1 are unique.
 */
#include "support/indexed.h"

enum
{
  HEAD_LEN = 520, /* more than what is kept in place of a long key, which is 503 */
  TAIL_MAX = 12
};

static size_t make_key(const void *tail, size_t len, uint8_t *to)
{
  memset(to, 'h', HEAD_LEN);
  memcpy(to + HEAD_LEN, tail, len);
  return HEAD_LEN + len;
}

static enum blitz_rc make_entry(void *arg, unsigned index_no, struct blitz_slice value,
                                struct blitz_index_entry *entry, struct blitz_error *err)
{
  static _Thread_local uint8_t key[HEAD_LEN + TAIL_MAX];
  (void)arg;
  (void)err;
  require(value.len <= TAIL_MAX);
  *entry = (struct blitz_index_entry){.key = bytes(key, make_key(value.data, value.len, key)),
                                      .payload = value,
                                      .unique = index_no == 1};
  return BLITZ_OK;
}

static const struct blitz_indexer indexer = {.make_entry = make_entry};
static const struct blitz_indexes ids = {.count = 2, .ids = {1, 2}};

static struct blitz_table *open_long(const char *name)
{
  struct blitz_table *table;
  assert_ok(open_with_indexes(name, &ids, &indexer, &table, ERR));
  return table;
}

static struct blitz_table *new_long(const char *name)
{
  struct blitz_create_options options = {0};
  assert_ok(blitz_table_create(path_of(name), &options, true, ERR));
  return open_long(name);
}

static struct blitz_txn *new_long_txn(void)
{
  struct blitz_txn *txn = new_txn();
  blitz_txn_set_indexer(txn, &indexer);
  return txn;
}

/* The row whose key ends with the eight bytes of N. */
static void insert(struct blitz_txn *txn, struct blitz_table *table, uint64_t n)
{
  assert_ok(blitz_insert(txn, table, number_key(n), number_key(n), ERR));
}

static uint64_t tail_at(struct blitz_cursor *cursor)
{
  struct blitz_slice key = blitz_index_key(cursor);
  assert_int_equal(key.len, HEAD_LEN + 8);
  return number_of_key(bytes((const char *)key.data + HEAD_LEN, 8));
}

/* Walks over all rows, which are COUNT. */
static void assert_order(struct blitz_table *table, struct blitz_txn *txn, uint64_t count)
{
  for (unsigned how = 0; how < 4; how++)
  {
    struct blitz_cursor *cursor = new_cursor(table, txn);
    bool forward = how % 2 == 0;
    uint64_t rows = 0, last = 0;
    enum blitz_rc rc;
    assert_ok(blitz_index_begin(cursor, how / 2, ERR));
    for (rc = blitz_index_seek(cursor, text(""), forward ? BLITZ_SEEK_FIRST : BLITZ_SEEK_LAST, ERR);
         rc == BLITZ_OK; rc = blitz_index_step(cursor, forward, ERR))
    {
      uint64_t tail = tail_at(cursor);
      assert_true(rows == 0 || (forward ? tail > last : tail < last));
      assert_int_equal(number_of_key(blitz_index_row_key(cursor)), tail);
      last = tail;
      rows++;
    }
    assert_rc(BLITZ_END, rc);
    assert_int_equal(rows, count);
    blitz_cursor_close(cursor);
  }
}

static void assert_right(struct blitz_table *table, uint64_t count)
{
  assert_order(table, NULL, count);
  assert_int_equal(row_count(table), count);
  assert_ok(blitz_table_check_indexes(table, &indexer, ERR));
}

static void remove_all(struct blitz_txn *txn, struct blitz_table *table, const uint64_t *numbers,
                       uint64_t count)
{
  for (uint64_t i = 0; i < count; i++)
    assert_ok(blitz_remove(txn, table, number_key(numbers[i]), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  assert_right(table, 0);
}

static void shuffle(struct rnd *rnd, uint64_t *numbers, uint64_t count)
{
  for (uint64_t i = count; i > 1; i--)
  {
    uint64_t j = rnd_below(rnd, (uint32_t)i), n = numbers[i - 1];
    numbers[i - 1] = numbers[j];
    numbers[j] = n;
  }
}

enum order
{
  ASCENDING,
  DESCENDING,
  RANDOM,
  INWARD,      /* from both ends: each between its neighbours, until no label is left */
  AFTER_FIRST, /* each right behind the first one */
  BEFORE_LAST,
  ORDERS
};

static void make_order(enum order order, struct rnd *rnd, uint64_t *numbers, uint64_t count)
{
  for (uint64_t i = 0; i < count; i++)
    switch (order)
    {
    case ASCENDING:
    case RANDOM: numbers[i] = i * 10; break;
    case DESCENDING: numbers[i] = (count - i) * 10; break;
    case INWARD: numbers[i] = i % 2 ? (2 * count - i) * 10 : i * 10; break;
    case AFTER_FIRST: numbers[i] = i == 0 ? 0 : (count - i) * 10; break;
    default: numbers[i] = i == 0 ? count * 10 : i * 10; break;
    }
  if (order == RANDOM)
    shuffle(rnd, numbers, count);
}

static void any_order_of_coming_and_going(void **state)
{
  (void)state;
  enum
  {
    COUNT = 3000 / INDEXED_SLOWER
  };
  static uint64_t numbers[COUNT];
  struct rnd rnd = {run_seed()};
  struct blitz_table *table = new_long("orders");
  struct blitz_txn *txn = new_long_txn();
  for (enum order order = 0; order < ORDERS; order++)
  {
    uint64_t count = order == INWARD ? 800 / INDEXED_SLOWER : COUNT;
    make_order(order, &rnd, numbers, count);
    for (uint64_t i = 0; i < count; i++)
    {
      insert(txn, table, numbers[i]);
      if (rnd_below(&rnd, 100) == 0)
        require_ok(blitz_txn_commit(txn, ERR));
    }
    assert_order(table, txn, count);
    require_ok(blitz_txn_commit(txn, ERR));
    assert_right(table, count);
    blitz_table_close(table);
    table = open_long("orders");
    assert_right(table, count);
    if (rnd_below(&rnd, 2))
      shuffle(&rnd, numbers, count);
    remove_all(txn, table, numbers, count);
  }
  blitz_txn_free(txn);
  blitz_table_close(table);
}

/* All at once, sorted, and then some more at each end and between. */
static void a_load_and_then_single_ones(void **state)
{
  (void)state;
  struct blitz_table *table = new_long("load");
  struct blitz_txn *txn = new_long_txn();
  assert_ok(blitz_txn_expect_rows(txn, table, 0, true, ERR));
  for (uint64_t n = 0; n < 3000; n++)
    insert(txn, table, n * 7919 % 3000 * 10 + 1000);
  assert_ok(blitz_txn_finish_load(txn, table, NULL, NULL, ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  assert_right(table, 3000);
  for (uint64_t n = 0; n < 300; n++)
  {
    insert(txn, table, 999 - n);
    insert(txn, table, 40000 + n);
    insert(txn, table, 1001 + n * 10);
  }
  require_ok(blitz_txn_commit(txn, ERR));
  assert_right(table, 3900);
  assert_ok(blitz_table_rebuild_indexes(table, &indexer, ERR));
  assert_right(table, 3900);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

/* All pages of a new index are allocated before they are written to: beyond the file's end
 * that would be a signal.
 */
static void large_indexes_are_added(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("add");
  struct blitz_txn *txn = new_long_txn();
  for (uint64_t n = 0; n < 20000; n++)
    insert(txn, table, n * 7919 % 20000);
  require_ok(blitz_txn_commit(txn, ERR));
  assert_ok(blitz_table_add_indexes(table, &ids, &indexer, NULL, ERR));
  blitz_table_close(table);
  catch_log();
  table = open_long("add");
  assert_null(strstr(log_text(), "anew"));
  assert_ok(blitz_table_disable_indexes(table, 1, ERR));
  assert_ok(blitz_table_enable_indexes(table, &indexer, ERR));
  assert_right(table, 20000);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void assert_seek(struct blitz_cursor *cursor, struct blitz_slice key, enum blitz_seek where,
                        uint64_t expected)
{
  enum blitz_rc rc = blitz_index_seek(cursor, key, where, ERR);
  assert_rc(expected == UINT64_MAX ? BLITZ_END : BLITZ_OK, rc);
  if (rc == BLITZ_OK)
    assert_int_equal(tail_at(cursor), expected);
}

/* Rows 256 * i + j for j below 4: beginnings of keys that are long themselves. */
static void seeks_with_long_beginnings(void **state)
{
  (void)state;
  struct blitz_table *table = new_long("seeks");
  struct blitz_txn *txn = new_long_txn();
  uint8_t key[HEAD_LEN + TAIL_MAX];
  for (unsigned own = 0; own < 2; own++)
  {
    for (uint64_t i = 1; i <= 200; i++)
      for (uint64_t j = own; j < 4; j += 2)
        insert(txn, table, (i * 73 % 200 + 1) * 512 + j);
    if (own == 0)
      require_ok(blitz_txn_commit(txn, ERR));
    for (unsigned index_no = 0; index_no < 2; index_no++)
    {
      struct blitz_cursor *cursor = new_cursor(table, own ? txn : NULL);
      uint64_t step = own ? 1 : 2;
      assert_ok(blitz_index_begin(cursor, index_no, ERR));
      for (uint64_t i = 1; i <= 200; i++)
      {
        uint64_t first = i * 512, last = own ? first + 3 : first + 2;
        struct blitz_slice beginning = bytes(key, make_key(number_key(first).data, 7, key));
        assert_seek(cursor, beginning, BLITZ_SEEK_FIRST, first);
        assert_seek(cursor, beginning, BLITZ_SEEK_LAST, last);
        assert_seek(cursor, beginning, BLITZ_SEEK_AFTER, i < 200 ? first + 512 : UINT64_MAX);
        assert_seek(cursor, beginning, BLITZ_SEEK_BEFORE, i > 1 ? last - 512 : UINT64_MAX);
        beginning = bytes(key, make_key(number_key(first + 256).data, 7, key)); /* of none */
        assert_seek(cursor, beginning, BLITZ_SEEK_FIRST, i < 200 ? first + 512 : UINT64_MAX);
        assert_seek(cursor, beginning, BLITZ_SEEK_LAST, last);
        beginning = bytes(key, make_key(number_key(first + step).data, 8, key)); /* all of it */
        assert_seek(cursor, beginning, BLITZ_SEEK_FIRST, first + step);
        assert_seek(cursor, beginning, BLITZ_SEEK_BEFORE, first);
      }
      for (size_t len = 500; len <= HEAD_LEN; len++)
      {
        memset(key, 'h', len);
        assert_seek(cursor, bytes(key, len), BLITZ_SEEK_FIRST, 512);
        assert_seek(cursor, bytes(key, len), BLITZ_SEEK_LAST, 200 * 512 + (own ? 3 : 2));
        assert_seek(cursor, bytes(key, len), BLITZ_SEEK_AFTER, UINT64_MAX);
        assert_seek(cursor, bytes(key, len), BLITZ_SEEK_BEFORE, UINT64_MAX);
        key[len - 1] = 'i';
        assert_seek(cursor, bytes(key, len), BLITZ_SEEK_FIRST, UINT64_MAX);
        assert_seek(cursor, bytes(key, len), BLITZ_SEEK_BEFORE, 200 * 512 + (own ? 3 : 2));
        key[len - 1] = 'g';
        assert_seek(cursor, bytes(key, len), BLITZ_SEEK_AFTER, 512);
        assert_seek(cursor, bytes(key, len), BLITZ_SEEK_LAST, UINT64_MAX);
      }
      blitz_cursor_close(cursor);
    }
  }
  require_ok(blitz_txn_commit(txn, ERR));
  assert_right(table, 800);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void long_keys_are_unique_too(void **state)
{
  (void)state;
  struct blitz_table *table = new_long("unique");
  struct blitz_txn *txn = new_long_txn();
  for (uint64_t n = 0; n < 500; n++)
    insert(txn, table, n);
  require_ok(blitz_txn_commit(txn, ERR));
  for (uint64_t n = 0; n < 500; n++)
  {
    assert_rc(BLITZ_DUPLICATE, blitz_insert(txn, table, number_key(n + 1000), number_key(n), ERR));
    assert_int_equal(last_error.index_no, 1);
    assert_rc(BLITZ_DUPLICATE, blitz_update(txn, table, number_key(n), number_key(n),
                                            number_key((n + 1) % 500), ERR));
    assert_int_equal(last_error.index_no, 1);
  }
  blitz_txn_rollback(txn);
  assert_right(table, 500);
  /* Another row may have it when the first one has gone. */
  for (uint64_t n = 0; n < 500; n++)
  {
    assert_ok(blitz_remove(txn, table, number_key(n), ERR));
    assert_ok(blitz_insert(txn, table, number_key(n), number_key(n), ERR));
  }
  require_ok(blitz_txn_commit(txn, ERR));
  assert_right(table, 500);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(any_order_of_coming_and_going),
      cmocka_unit_test(a_load_and_then_single_ones),
      cmocka_unit_test(large_indexes_are_added),
      cmocka_unit_test(seeks_with_long_beginnings),
      cmocka_unit_test(long_keys_are_unique_too),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
