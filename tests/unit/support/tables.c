/* SPDX-License-Identifier: GPL-2.0-only
 *
 * tables.c: making, filling and looking over tables; see support.h.
 */
#include "support.h"

static struct blitz_table *make_table(const char *name, bool row_ids)
{
  struct blitz_create_options options = {.expected_rows = 0, .row_ids = row_ids};
  assert_ok(blitz_table_create(path_of(name), &options, true, ERR));
  return open_table(name);
}

struct blitz_table *new_table(const char *name)
{
  return make_table(name, false);
}

struct blitz_table *new_row_id_table(const char *name)
{
  return make_table(name, true);
}

struct blitz_table *open_table(const char *name)
{
  struct blitz_table *table = NULL;
  assert_ok(blitz_table_open(path_of(name), 0, &table, ERR));
  assert_non_null(table);
  return table;
}

enum blitz_rc open_with_indexes(const char *name, const struct blitz_indexes *indexes,
                                const struct blitz_indexer *indexer, struct blitz_table **tablep,
                                struct blitz_error *err)
{
  struct blitz_open_options options = {.indexes = indexes, .indexer = indexer};

  return blitz_table_open_with(path_of(name), &options, tablep, err);
}

struct blitz_txn *new_txn(void)
{
  struct blitz_txn *txn = NULL;
  assert_ok(blitz_txn_create(&txn));
  assert_non_null(txn);
  return txn;
}

struct blitz_cursor *new_cursor(struct blitz_table *table, struct blitz_txn *txn)
{
  struct blitz_cursor *cursor = NULL;
  assert_ok(blitz_cursor_open(table, txn, &cursor));
  assert_non_null(cursor);
  return cursor;
}

void put(struct blitz_table *table, const char *key, const char *value)
{
  struct blitz_txn *txn = new_txn();
  enum blitz_rc rc = blitz_insert(txn, table, text(key), text(value), ERR);
  if (rc == BLITZ_DUPLICATE)
    rc = blitz_update(txn, table, text(key), text(key), text(value), ERR);
  assert_ok(rc);
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
}

void remove_key(struct blitz_table *table, const char *key)
{
  struct blitz_txn *txn = new_txn();
  assert_ok(blitz_remove(txn, table, text(key), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
}

void put_rows(struct blitz_table *table, uint64_t from, uint64_t to, size_t len, uint64_t version)
{
  struct blitz_txn *txn = new_txn();
  char *value = malloc(len);
  assert_non_null(value);
  for (uint64_t n = from; n < to; n++)
  {
    row_fill(value, len, n, version);
    enum blitz_rc rc = blitz_insert(txn, table, number_key(n), bytes(value, len), ERR);
    if (rc == BLITZ_DUPLICATE)
      rc = blitz_update(txn, table, number_key(n), number_key(n), bytes(value, len), ERR);
    assert_ok(rc);
    if (n % 1000 == 999)
      require_ok(blitz_txn_commit(txn, ERR));
  }
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
  free(value);
}

void remove_rows(struct blitz_table *table, uint64_t from, uint64_t to)
{
  struct blitz_txn *txn = new_txn();
  for (uint64_t n = from; n < to; n++)
    assert_ok(blitz_remove(txn, table, number_key(n), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
}

enum blitz_rc look_up(struct blitz_table *table, struct blitz_txn *txn, const char *key,
                      char *value, size_t value_max)
{
  struct blitz_cursor *cursor = new_cursor(table, txn);
  struct blitz_slice found;
  enum blitz_rc rc = blitz_get(cursor, text(key), &found, ERR);
  if (rc == BLITZ_OK)
  {
    assert_true(found.len < value_max);
    memcpy(value, found.data, found.len);
    value[found.len] = 0;
  }
  else
    assert_int_equal(found.len, 0); /* outputs are nothing on failure */
  blitz_cursor_close(cursor);
  return rc;
}

void assert_row(struct blitz_table *table, struct blitz_txn *txn, const char *key,
                const char *value)
{
  char found[4096];
  assert_ok(look_up(table, txn, key, found, sizeof found));
  assert_string_equal(found, value);
}

void assert_no_row(struct blitz_table *table, struct blitz_txn *txn, const char *key)
{
  char found[4096];
  assert_rc(BLITZ_NOT_FOUND, look_up(table, txn, key, found, sizeof found));
}

uint64_t row_count(struct blitz_table *table)
{
  struct blitz_table_stats stats;
  blitz_table_stats(table, &stats);
  return stats.row_count;
}

static uint64_t number_of(struct blitz_slice key)
{
  uint64_t n = 0;
  assert_int_equal(key.len, 8);
  for (int i = 0; i < 8; i++)
    n = n << 8 | ((const unsigned char *)key.data)[i];
  return n;
}

void assert_rows(struct blitz_table *table, uint64_t from, uint64_t to, uint64_t version)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  enum blitz_rc rc;
  uint64_t seen = 0, found_version;
  unsigned char *met = calloc(to - from + 1, 1);
  assert_non_null(met);

  assert_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
  {
    uint64_t n = number_of(blitz_cursor_key(cursor));
    assert_in_range(n, from, to - 1);
    assert_int_equal(met[n - from]++, 0);
    assert_true(row_proves(value, n, &found_version));
    assert_int_equal(found_version, version);
    seen++;
  }
  assert_rc(BLITZ_END, rc);
  blitz_scan_end(cursor);
  assert_int_equal(seen, to - from);
  assert_int_equal(row_count(table), to - from);

  for (uint64_t n = from; n < to; n++)
  {
    assert_ok(blitz_get(cursor, number_key(n), &value, ERR));
    assert_true(row_proves(value, n, &found_version));
    assert_int_equal(found_version, version);
  }
  assert_rc(BLITZ_NOT_FOUND, blitz_get(cursor, number_key(to), &value, ERR));
  blitz_cursor_close(cursor);
  free(met);
}

uint64_t row_version(struct blitz_cursor *cursor, uint64_t n)
{
  struct blitz_slice value;
  uint64_t version;
  enum blitz_rc rc = blitz_get(cursor, number_key(n), &value, ERR);
  if (rc == BLITZ_NOT_FOUND)
    return 0;
  assert_ok(rc);
  assert_true(row_proves(value, n, &version) && version != 0);
  return version;
}
