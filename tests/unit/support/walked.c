/* SPDX-License-Identifier: GPL-2.0-only
 *
 * walked.c: rows for tests of walks over index files; see walked.h.
 */
#include "walked.h"
#include "base/bytes.h"

#include <fcntl.h>

#define PAYLOAD_MAX 9000

const struct blitz_indexes walked_ids = {.count = 2, .ids = {7, 0xABCDEF0123456789}};

size_t any_walked_key(struct rnd *rnd, uint8_t to[WALKED_KEY_MAX])
{
  static const uint8_t few[] = {0, 1, 'a', 0xFE, 0xFF};
  static const size_t alike[] = {0, 3, 20, 498, 510, 700, 3000};
  unsigned kind = rnd_below(rnd, 16);
  size_t head = kind < 8 ? 0 : alike[rnd_below(rnd, sizeof alike / sizeof *alike)], len;
  memset(to, kind < 12 ? 'h' : 0xFF, head);
  len = head + rnd_below(rnd, kind < 4 ? 4 : 12);
  for (size_t i = head; i < len; i++)
    to[i] = few[rnd_below(rnd, sizeof few)];
  return len;
}

static size_t make_payload(struct rnd *rnd, uint8_t *to)
{
  size_t len = rnd_below(rnd, 12) > 0 ? rnd_below(rnd, 24) : rnd_below(rnd, PAYLOAD_MAX);
  for (size_t i = 0; i < len; i++)
    to[i] = (uint8_t)(i + len);
  return len;
}

static void put_number(uint8_t *to, uint64_t n)
{
  to[0] = (uint8_t)(n >> 8);
  to[1] = (uint8_t)n;
}

struct blitz_slice walked_row_key(uint64_t n)
{
  static _Thread_local uint8_t key[WALKED_ROW_KEY_LEN];
  put_number(key, n);
  return bytes(key, sizeof key);
}

struct blitz_index_entry walked_entry(unsigned index_no, uint64_t n, uint64_t version)
{
  static _Thread_local uint8_t key[WALKED_KEY_MAX], payload[PAYLOAD_MAX];
  struct rnd rnd = {n * 31 + version};
  size_t len = any_walked_key(&rnd, key);
  if (index_no == 1)
  {
    put_number(key + len, n);
    len += WALKED_ROW_KEY_LEN;
  }
  return (struct blitz_index_entry){.key = bytes(key, len),
                                    .payload = bytes(payload, make_payload(&rnd, payload)),
                                    .unique = index_no == 1};
}

static enum blitz_rc make_entry(void *arg, unsigned index_no, struct blitz_slice value,
                                struct blitz_index_entry *entry, struct blitz_error *err)
{
  (void)arg;
  (void)err;
  *entry =
      walked_entry(index_no, bz_load_le64(value.data), bz_load_le64((const char *)value.data + 8));
  return BLITZ_OK;
}

static const struct blitz_indexer indexer = {.make_entry = make_entry};

static struct blitz_slice value_of(uint64_t n, uint64_t version)
{
  static uint8_t value[16];
  bz_store_le64(value, n);
  bz_store_le64(value + 8, version);
  return bytes(value, sizeof value);
}

struct blitz_table *new_walked_table(const char *name)
{
  struct blitz_create_options options = {0};
  struct blitz_table *table;
  assert_ok(blitz_table_create(path_of(name), &options, true, ERR));
  assert_ok(open_with_indexes(name, &walked_ids, &indexer, &table, ERR));
  return table;
}

void put_walked_rows(struct blitz_table *table, uint64_t from, uint64_t to, uint64_t version)
{
  struct blitz_txn *txn = new_txn();
  blitz_txn_set_indexer(txn, &indexer);
  for (uint64_t n = from; n < to; n++)
    if (version == 0)
      assert_ok(blitz_insert(txn, table, walked_row_key(n), value_of(n, 0), ERR));
    else
      assert_ok(blitz_update(txn, table, walked_row_key(n), walked_row_key(n), value_of(n, version),
                             ERR));
  assert_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
}

void remove_walked_rows(struct blitz_table *table, uint64_t from, uint64_t to)
{
  struct blitz_txn *txn = new_txn();
  blitz_txn_set_indexer(txn, &indexer);
  for (uint64_t n = from; n < to; n++)
    assert_ok(blitz_remove(txn, table, walked_row_key(n), ERR));
  assert_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
}

int open_walked_file(const char *name, int flags)
{
  char file[4200];
  int fd;
  snprintf(file, sizeof file, "%s%s", path_of(name), BLITZ_INDEX_FILE_EXT);
  fd = open(file, flags | O_CLOEXEC);
  assert_true(fd >= 0);
  return fd;
}
