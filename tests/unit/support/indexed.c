/* SPDX-License-Identifier: GPL-2.0-only
 *
 * indexed.c: rows for tests of ordered indexes; see indexed.h.
 */
#include "indexed.h"

#define GROUPS 40
#define LONG_EVERY 11
#define LONG_LEN 520
#define NOT_UNIQUE_EVERY 7

const struct blitz_indexes indexed_ids = {.count = INDEXED_COUNT, .ids = {101, 102, 103}};

static size_t put_number(uint8_t *to, uint64_t n, size_t len)
{
  for (size_t i = 0; i < len; i++)
    to[i] = (uint8_t)(n >> 8 * (len - 1 - i));
  return len;
}

size_t indexed_key(unsigned index_no, uint64_t n, uint64_t version, uint8_t *to)
{
  uint32_t generation = (uint32_t)(version >> 32);
  size_t used;
  switch (index_no)
  {
  case 0:
    used = put_number(to, (n * 31 + generation * 7) % GROUPS, 2);
    if (n % LONG_EVERY == 0)
    {
      memset(to + used, 'x', LONG_LEN + n % 3);
      used += LONG_LEN + n % 3;
    }
    to[used++] = 0;
    return used;
  case 1:
    used = put_number(to, (uint32_t)n * 2654435761U, 4);
    return used + put_number(to + used, generation, 4);
  default: return put_number(to, n, 4);
  }
}

static enum blitz_rc make_entry(void *arg, unsigned index_no, struct blitz_slice value,
                                struct blitz_index_entry *entry, struct blitz_error *err)
{
  static _Thread_local uint8_t key[INDEXED_KEY_MAX], payload[8];
  uint64_t n, version;
  (void)arg;
  (void)err;
  require(value.len >= 16);
  memcpy(&n, value.data, 8);
  memcpy(&version, (const char *)value.data + 8, 8);
  entry->key = bytes(key, indexed_key(index_no, n, version, key));
  entry->unique = index_no == 1 && n % NOT_UNIQUE_EVERY != 0;
  entry->payload = bytes(payload, index_no == 2 ? put_number(payload, version, 8) : 0);
  return BLITZ_OK;
}

const struct blitz_indexer indexed_indexer = {.make_entry = make_entry};
const struct blitz_indexer *indexed_maker = &indexed_indexer;

/* ---- tables ---- */

struct blitz_table *open_indexed_table(const char *name)
{
  struct blitz_table *table;
  assert_ok(open_with_indexes(name, &indexed_ids, &indexed_indexer, &table, ERR));
  return table;
}

struct blitz_table *new_indexed_table(const char *name)
{
  struct blitz_create_options options = {0};
  assert_ok(blitz_table_create(path_of(name), &options, true, ERR));
  return open_indexed_table(name);
}

struct blitz_txn *new_indexed_txn(void)
{
  struct blitz_txn *txn = new_txn();
  blitz_txn_set_indexer(txn, &indexed_indexer);
  return txn;
}

const char *index_file_of(const char *name)
{
  static _Thread_local char file[4200];
  snprintf(file, sizeof file, "%s%s", path_of(name), BLITZ_INDEX_FILE_EXT);
  return file;
}

static char *value_of(uint64_t n, uint64_t version, size_t len)
{
  static _Thread_local char value[70000];
  require(len <= sizeof value);
  row_fill(value, len, n, version);
  return value;
}

enum blitz_rc indexed_insert(struct blitz_txn *txn, struct blitz_table *table, uint64_t n,
                             uint64_t version, size_t len)
{
  blitz_txn_set_indexer(txn, indexed_maker);
  return blitz_insert(txn, table, number_key(n), bytes(value_of(n, version, len), len), ERR);
}

enum blitz_rc indexed_update(struct blitz_txn *txn, struct blitz_table *table, uint64_t n,
                             uint64_t version, size_t len)
{
  blitz_txn_set_indexer(txn, indexed_maker);
  return blitz_update(txn, table, number_key(n), number_key(n),
                      bytes(value_of(n, version, len), len), ERR);
}

void put_indexed_rows(struct blitz_table *table, uint64_t from, uint64_t to, uint64_t version,
                      size_t len)
{
  struct blitz_txn *txn = new_indexed_txn();
  for (uint64_t n = from; n < to; n++)
  {
    enum blitz_rc rc = indexed_insert(txn, table, n, version, len);
    if (rc == BLITZ_DUPLICATE)
      rc = indexed_update(txn, table, n, version, len);
    assert_ok(rc);
  }
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
}

/* ---- looking ---- */

uint64_t number_of_key(struct blitz_slice key)
{
  uint64_t n = 0;
  require(key.len == 8);
  for (int i = 0; i < 8; i++)
    n = n << 8 | ((const unsigned char *)key.data)[i];
  return n;
}

bool entry_is_right(struct blitz_cursor *cursor, unsigned index_no, uint64_t *np,
                    uint64_t *versionp)
{
  uint8_t key[INDEXED_KEY_MAX], payload[8];
  struct blitz_slice value;
  enum blitz_rc rc = blitz_index_row(cursor, &value, ERR);
  *np = *versionp = 0;
  if (rc != BLITZ_OK)
    return false;
  *np = number_of_key(blitz_index_row_key(cursor));
  if (!row_proves(value, *np, versionp) || number_of_key(blitz_cursor_key(cursor)) != *np)
    return false;
  put_number(payload, *versionp, 8);
  return slice_is(blitz_index_key(cursor), key, indexed_key(index_no, *np, *versionp, key)) &&
         slice_is(blitz_index_payload(cursor), payload, index_no == 2 ? 8 : 0);
}

bool entry_is_behind(const struct blitz_cursor *cursor, bool forward, struct indexed_order *last)
{
  struct blitz_slice key = blitz_index_key(cursor), row_key = blitz_index_row_key(cursor);
  struct indexed_order now = {.len = key.len + row_key.len};
  size_t len = now.len < last->len ? now.len : last->len;
  int order;
  require(now.len <= sizeof now.key);
  memcpy(now.key, key.data, key.len);
  memcpy(now.key + key.len, row_key.data, row_key.len);
  order = last->len > 0 ? memcmp(now.key, last->key, len) : forward ? 1 : -1;
  memcpy(last->key, now.key, now.len);
  last->len = now.len;
  return forward ? order > 0 : order < 0;
}

static void assert_walk(struct blitz_table *table, unsigned index_no, bool forward)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct indexed_order last = {.len = 0};
  uint64_t rows = 0, n, version;
  enum blitz_rc rc;
  assert_ok(blitz_index_begin(cursor, index_no, ERR));
  for (rc = blitz_index_seek(cursor, text(""), forward ? BLITZ_SEEK_FIRST : BLITZ_SEEK_LAST, ERR);
       rc == BLITZ_OK; rc = blitz_index_step(cursor, forward, ERR))
  {
    if (!entry_is_right(cursor, index_no, &n, &version))
      fail_msg("index %u: the entry of row %llu is not right (%s)", index_no, (unsigned long long)n,
               last_error.text);
    assert_true(entry_is_behind(cursor, forward, &last));
    rows++;
  }
  assert_rc(BLITZ_END, rc);
  assert_int_equal(rows, row_count(table));
  blitz_cursor_close(cursor);
}

void assert_indexes_right(struct blitz_table *table)
{
  assert_ok(blitz_table_check_indexes(table, &indexed_indexer, ERR));
  for (unsigned i = 0; i < INDEXED_COUNT; i++)
    if ((blitz_table_disabled_indexes(table) >> i & 1) == 0)
    {
      assert_walk(table, i, true);
      assert_walk(table, i, false);
    }
}
