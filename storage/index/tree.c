/* SPDX-License-Identifier: GPL-2.0-only
 *
 * tree.c: the entries of one index: a database of LMDB's. How an entry's bytes
 * are laid out is in lmdb.h.
 *
 * LMDB's keys have at most 511 bytes. A longer sort key keeps its first LONG_HEAD
 * bytes in place, and the whole of it in the value; among those that begin alike, a
 * label in the key gives the order. A new one gets a label between those of its
 * neighbours, which are found by bisection (label.c).
 */
#include "base/crc32c.h"
#include "index/deltas.h"
#include "index/lmdb.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- bytes of an entry ---------------------------------------------------------- */

uint64_t bz_pair_sum(const MDB_val *key, const MDB_val *value)
{
  size_t len = key->mv_size < LONG_HEAD ? key->mv_size : LONG_HEAD;
  uint64_t sum = (uint64_t)bz_crc32c(0, key->mv_data, len) << 32 |
                 bz_crc32c((uint32_t)len, value->mv_data, value->mv_size);

  /* Sums of what is alike must not cancel out. */
  sum = (sum ^ sum >> 31) * UINT64_C(0x9E3779B97F4A7C15);
  return sum ^ sum >> 29;
}

/* WHOLE: the sort key is not in LMDB's key as it is, but here. */
static size_t value_len(size_t sort_key_len, bool whole, bool unique, size_t row_key_len,
                        size_t payload_len)
{
  return WORD_LEN + (whole ? LONG_LEN_LEN + sort_key_len : 0) + (unique ? row_key_len : 0) +
         payload_len;
}

static uint8_t *put_slice(uint8_t *to, struct blitz_slice slice)
{
  if (slice.len > 0)
    memcpy(to, slice.data, slice.len);
  return to + slice.len;
}

static void fill_value(uint8_t *to, struct blitz_slice sort_key, bool whole, bool unique,
                       struct blitz_slice row_key, struct blitz_slice payload, uint64_t off)
{
  assert(row_key.len <= WORD_ROW_KEY_MASK);
  bz_store_le64(to, off >> BZ_ALIGN_POWER << WORD_OFF_SHIFT | row_key.len << WORD_ROW_KEY_SHIFT |
                        (whole ? WORD_LONG : 0) | (unique ? WORD_UNIQUE : 0));
  to += WORD_LEN;
  if (whole)
  {
    bz_store_le32(to, (uint32_t)sort_key.len);
    to = put_slice(to + LONG_LEN_LEN, sort_key);
  }
  if (unique)
    to = put_slice(to, row_key);
  put_slice(to, payload);
}

size_t bz_entry_value_len(const struct bz_entry *entry)
{
  return value_len(entry->sort_key.len, false, entry->unique, entry->row_key.len,
                   entry->payload.len);
}

void bz_entry_fill_value(uint8_t *to, const struct bz_entry *entry)
{
  fill_value(to, entry->sort_key, false, entry->unique, entry->row_key, entry->payload, entry->off);
}

static enum blitz_rc check_key(const struct blitz_table *table,
                               const struct blitz_index_entry *entry, struct blitz_error *err)
{
  if (entry->key.len <= BLITZ_INDEX_KEY_MAX)
    return BLITZ_OK;
  return bz_fail(err, BLITZ_TOO_BIG, 0,
                 "%s: a key of %zu bytes is too long for an index: the limit is %d", table->file,
                 entry->key.len, BLITZ_INDEX_KEY_MAX);
}

enum blitz_rc bz_sort_key_make(const struct blitz_table *table,
                               const struct blitz_index_entry *entry, struct blitz_slice row_key,
                               struct bz_sort_key *to, struct blitz_error *err)
{
  enum blitz_rc rc = check_key(table, entry, err);

  if (rc != BLITZ_OK)
    return rc;
  memcpy(to->bytes, entry->key.data, entry->key.len);
  to->len = entry->key.len;
  if (!entry->unique)
    to->len = (size_t)(put_slice(to->bytes + to->len, row_key) - to->bytes);
  return BLITZ_OK;
}

/* ---- places ------------------------------------------------------------------------ */

/* A bz_seek_pair_fn of a cursor of LMDB's. */
static int seek_range(void *mc, MDB_val *at, MDB_val *value)
{
  return mdb_cursor_get(mc, at, value, MDB_SET_RANGE);
}

/* Puts the cursor at the first pair from KEY on, or if BEYOND from the first one on that
 * does not begin with it.
 */
static int seek_pair(MDB_cursor *mc, struct blitz_slice key, bool beyond, MDB_val *at,
                     MDB_val *value)
{
  uint8_t buf[LMDB_KEY_MAX];
  int rc = bz_find_place(seek_range, mc, key, beyond, buf, at);

  if (rc != 0)
    return rc;
  return mdb_cursor_get(mc, at, value, at->mv_size == 0 ? MDB_FIRST : MDB_SET_RANGE);
}

static enum blitz_rc found_pair(int rc, const MDB_val *key, const MDB_val *value,
                                struct bz_entry *found)
{
  if (rc == MDB_NOTFOUND)
    return BLITZ_END;
  if (rc != 0)
    return rc == ENOMEM ? BLITZ_NOMEM : BLITZ_CORRUPT;
  return bz_entry_parse(key, value, found) ? BLITZ_OK : BLITZ_CORRUPT;
}

enum blitz_rc bz_tree_open_cursor(const struct blitz_table *table, struct MDB_txn *txn,
                                  unsigned dbi, struct MDB_cursor **mcp, struct blitz_error *err)
{
  int rc = mdb_cursor_open(txn, dbi, mcp);

  return rc == 0 ? BLITZ_OK : bz_index_fail(table, rc, err);
}

void bz_tree_close_cursor(struct MDB_cursor *mc)
{
  if (mc != NULL)
    mdb_cursor_close(mc);
}

enum blitz_rc bz_tree_seek(struct MDB_cursor *mc, struct blitz_slice key, enum blitz_seek where,
                           struct bz_entry *found)
{
  bool backward = where == BLITZ_SEEK_LAST || where == BLITZ_SEEK_BEFORE;
  bool beyond = where == BLITZ_SEEK_LAST || where == BLITZ_SEEK_AFTER;
  MDB_val at, value;
  int rc = seek_pair(mc, key, beyond, &at, &value);

  if (backward)
    rc = rc == MDB_NOTFOUND ? mdb_cursor_get(mc, &at, &value, MDB_LAST)
         : rc == 0          ? mdb_cursor_get(mc, &at, &value, MDB_PREV)
                            : rc;
  return found_pair(rc, &at, &value, found);
}

enum blitz_rc bz_tree_step(struct MDB_cursor *mc, bool forward, struct bz_entry *found)
{
  MDB_val at, value;
  int rc = mdb_cursor_get(mc, &at, &value, forward ? MDB_NEXT : MDB_PREV);

  return found_pair(rc, &at, &value, found);
}

/* The key of LMDB's that the entry of a sort key has. MDB_NOTFOUND: there is none. */
static int find_long(MDB_cursor *mc, struct blitz_slice key, uint8_t buf[LMDB_KEY_MAX], MDB_val *at)
{
  struct bz_gap gap;
  int rc = bz_find_gap(seek_range, mc, key, false, &gap);

  if (rc == 0 && !gap.exact)
    return MDB_NOTFOUND;
  if (rc == 0)
    *at = bz_labelled(key.data, gap.after, buf);
  return rc;
}

enum blitz_rc bz_tree_get(const struct blitz_table *table, struct MDB_txn *txn, unsigned dbi,
                          struct blitz_slice sort_key, struct bz_entry *found,
                          struct blitz_error *err)
{
  uint8_t buf[LMDB_KEY_MAX];
  MDB_val at = {sort_key.len, (void *)(uintptr_t)sort_key.data}, value;
  MDB_cursor *mc;
  int mdb_rc = 0;

  if (sort_key.len > LONG_HEAD)
  {
    mdb_rc = mdb_cursor_open(txn, dbi, &mc);
    if (mdb_rc != 0)
      return bz_index_fail(table, mdb_rc, err);
    mdb_rc = find_long(mc, sort_key, buf, &at);
    mdb_cursor_close(mc);
  }
  if (mdb_rc == 0)
    mdb_rc = mdb_get(txn, dbi, &at, &value);
  if (mdb_rc == MDB_NOTFOUND)
    return BLITZ_NOT_FOUND;
  if (mdb_rc != 0)
    return bz_index_fail(table, mdb_rc, err);
  /* Its keys may point to the caller's or to what is on the stack here. */
  return bz_entry_parse(&at, &value, found) ? BLITZ_OK : bz_index_fail(table, MDB_CORRUPTED, err);
}

/* The key of LMDB's to put a long sort key under. *EXISTS: there is one already. */
static enum blitz_rc place_long(struct blitz_table *table, MDB_txn *txn, unsigned dbi,
                                struct blitz_slice key, uint8_t buf[LMDB_KEY_MAX], MDB_val *at,
                                bool *exists, struct blitz_error *err)
{
  struct bz_gap gap;
  uint64_t label;

  for (;;)
  {
    MDB_cursor *mc;
    enum blitz_rc rc;
    int mdb_rc = mdb_cursor_open(txn, dbi, &mc);

    if (mdb_rc == 0)
    {
      mdb_rc = bz_find_gap(seek_range, mc, key, false, &gap);
      mdb_cursor_close(mc);
    }
    if (mdb_rc != 0)
      return bz_index_fail(table, mdb_rc, err);
    *exists = gap.exact;
    if (gap.exact || bz_label_between(table->index, dbi, &gap, &label))
      break;
    rc = bz_label_spread(table, txn, dbi, key.data, gap.has_before ? gap.before : gap.after, err);
    if (rc != BLITZ_OK)
      return rc;
  }
  *at = bz_labelled(key.data, gap.exact ? gap.after : label, buf);
  return BLITZ_OK;
}

/* ---- changes -------------------------------------------------------------------------- */

enum blitz_rc bz_tree_put(struct blitz_table *table, struct MDB_cursor *mc,
                          const struct bz_entry *entry, struct blitz_error *err)
{
  unsigned dbi = mdb_cursor_dbi(mc);
  struct blitz_slice key = entry->sort_key;
  bool is_long = key.len > LONG_HEAD, exists = true;
  uint8_t buf[LMDB_KEY_MAX];
  MDB_val at = {key.len, (void *)(uintptr_t)key.data}, old;
  MDB_val value = {
      value_len(key.len, is_long, entry->unique, entry->row_key.len, entry->payload.len), NULL};
  uint64_t *sum = &table->index->write_sums[dbi].sum;
  enum blitz_rc rc = BLITZ_OK;
  int mdb_rc;

  assert(table->index->writing);
  if (is_long)
    rc = place_long(table, mdb_cursor_txn(mc), dbi, key, buf, &at, &exists, err);
  if (rc != BLITZ_OK)
    return rc;
  mdb_rc = exists ? mdb_cursor_get(mc, &at, &old, MDB_SET) : MDB_NOTFOUND;
  if (mdb_rc == 0)
    *sum -= bz_pair_sum(&at, &old);
  if (mdb_rc == 0 || mdb_rc == MDB_NOTFOUND)
    mdb_rc = mdb_cursor_put(mc, &at, &value, MDB_RESERVE);
  if (mdb_rc != 0)
    return bz_index_write_fail(table, mdb_rc, err);
  fill_value(value.mv_data, key, is_long, entry->unique, entry->row_key, entry->payload,
             entry->off);
  *sum += bz_pair_sum(&at, &value);
  return BLITZ_OK;
}

enum blitz_rc bz_tree_remove(struct blitz_table *table, struct MDB_cursor *mc,
                             struct blitz_slice sort_key, struct blitz_error *err)
{
  uint8_t buf[LMDB_KEY_MAX];
  MDB_val at = {sort_key.len, (void *)(uintptr_t)sort_key.data}, value;
  int mdb_rc = sort_key.len > LONG_HEAD ? find_long(mc, sort_key, buf, &at) : 0;

  assert(table->index->writing);
  if (mdb_rc == 0)
    mdb_rc = mdb_cursor_get(mc, &at, &value, MDB_SET);
  if (mdb_rc == 0)
  {
    table->index->write_sums[mdb_cursor_dbi(mc)].sum -= bz_pair_sum(&at, &value);
    mdb_rc = mdb_cursor_del(mc, 0);
  }
  if (mdb_rc == MDB_NOTFOUND)
    return BLITZ_NOT_FOUND;
  return mdb_rc == 0 ? BLITZ_OK : bz_index_write_fail(table, mdb_rc, err);
}

/* The label of the next long key, which stands behind the last one of TAIL. */
static enum blitz_rc next_label(struct bz_tree_tail *tail, struct blitz_slice key)
{
  uint8_t *bytes;

  if (tail->len > 0 && bz_compare_keys((struct blitz_slice){tail->key, tail->len}, key) == 0)
    return BLITZ_DUPLICATE;
  if (tail->len > 0 && memcmp(tail->key, key.data, LONG_HEAD) == 0)
    tail->label += LABEL_STEP;
  else
    tail->label = LABEL_FIRST;
  bytes = realloc(tail->key, key.len);
  if (bytes == NULL)
    return BLITZ_NOMEM;
  memcpy(bytes, key.data, key.len);
  tail->key = bytes;
  tail->len = key.len;
  return BLITZ_OK;
}

enum blitz_rc bz_tree_append(struct blitz_table *table, struct MDB_cursor *mc,
                             struct bz_tree_tail *tail, const struct bz_entry *entry,
                             struct blitz_error *err)
{
  uint8_t buf[LMDB_KEY_MAX];
  struct blitz_slice key = entry->sort_key;
  MDB_val at = {key.len, (void *)(uintptr_t)key.data};
  bool is_long = key.len > LONG_HEAD;
  MDB_val value = {
      value_len(key.len, is_long, entry->unique, entry->row_key.len, entry->payload.len), NULL};
  int mdb_rc;

  assert(table->index->writing);
  if (key.len > LONG_HEAD)
  {
    enum blitz_rc rc = next_label(tail, key);
    if (rc != BLITZ_OK)
      return bz_fail(err, rc, 0, "%s cannot be built: %s", table->index->name,
                     rc == BLITZ_NOMEM ? "out of memory" : "there are equal rows");
    at = bz_labelled(key.data, tail->label, buf);
  }
  mdb_rc = mdb_cursor_put(mc, &at, &value, MDB_APPEND | MDB_RESERVE);
  if (mdb_rc == MDB_KEYEXIST)
    return bz_fail(err, BLITZ_DUPLICATE, 0, "%s cannot be built: there are equal rows",
                   table->index->name);
  if (mdb_rc != 0)
    return bz_index_write_fail(table, mdb_rc, err);
  fill_value(value.mv_data, key, key.len > LONG_HEAD, entry->unique, entry->row_key, entry->payload,
             entry->off);
  table->index->write_sums[mdb_cursor_dbi(mc)].sum += bz_pair_sum(&at, &value);
  return BLITZ_OK;
}

/* ---- in memory ------------------------------------------------------------------------- */

/* A version without bytes yet in the delta of an index. */
static enum blitz_rc make_version(struct blitz_table *table, struct bz_deltas *deltas,
                                  unsigned index_no, const struct bz_delta_version *version,
                                  struct bz_delta_node **nodep, struct blitz_error *err)
{
  struct bz_delta *delta = bz_deltas_get(deltas, index_no);

  *nodep = delta != NULL ? bz_delta_make(delta, version) : NULL;
  return *nodep != NULL ? BLITZ_OK
                        : bz_fail(err, BLITZ_NOMEM, 0, "out of memory changing %s", table->file);
}

static enum blitz_rc add_version(struct blitz_table *table, struct bz_deltas *deltas,
                                 unsigned index_no, struct bz_delta_node *node,
                                 struct blitz_error *err)
{
  return bz_delta_add(bz_deltas_get(deltas, index_no), node)
             ? BLITZ_OK
             : bz_fail(err, BLITZ_NOMEM, 0, "out of memory changing %s", table->file);
}

static size_t sort_key_len(const struct blitz_index_entry *entry, struct blitz_slice row_key)
{
  return entry->key.len + (entry->unique ? 0 : row_key.len);
}

static void fill_sort_key(uint8_t *to, const struct blitz_index_entry *entry,
                          struct blitz_slice row_key)
{
  to = put_slice(to, entry->key);
  if (!entry->unique)
    put_slice(to, row_key);
}

enum blitz_rc bz_delta_put_entry(struct blitz_table *table, struct bz_deltas *deltas,
                                 unsigned index_no, const struct blitz_index_entry *entry,
                                 struct blitz_slice row_key, uint64_t off, uint64_t number,
                                 struct blitz_error *err)
{
  size_t key_len = sort_key_len(entry, row_key);
  struct bz_delta_version version = {
      .sort_key.len = key_len,
      .value.len = value_len(key_len, false, entry->unique, row_key.len, entry->payload.len),
      .number = number};
  struct bz_delta_node *node;
  uint8_t *bytes;
  enum blitz_rc rc = check_key(table, entry, err);

  if (rc == BLITZ_OK)
    rc = make_version(table, deltas, index_no, &version, &node, err);
  if (rc != BLITZ_OK)
    return rc;
  bytes = bz_delta_bytes(node);
  fill_sort_key(bytes, entry, row_key);
  fill_value(bytes + key_len, (struct blitz_slice){bytes, key_len}, false, entry->unique, row_key,
             entry->payload, off);
  return add_version(table, deltas, index_no, node, err);
}

enum blitz_rc bz_delta_remove_entry(struct blitz_table *table, struct bz_deltas *deltas,
                                    unsigned index_no, const struct blitz_index_entry *entry,
                                    struct blitz_slice row_key, uint64_t number,
                                    struct blitz_error *err)
{
  struct bz_delta_version version = {
      .sort_key.len = sort_key_len(entry, row_key), .number = number, .removed = true};
  struct bz_delta_node *node;
  enum blitz_rc rc = check_key(table, entry, err);

  if (rc == BLITZ_OK)
    rc = make_version(table, deltas, index_no, &version, &node, err);
  if (rc != BLITZ_OK)
    return rc;
  fill_sort_key(bz_delta_bytes(node), entry, row_key);
  return add_version(table, deltas, index_no, node, err);
}

bool bz_delta_entry(const struct bz_delta_version *version, struct bz_entry *entry)
{
  MDB_val key = {version->sort_key.len, (void *)(uintptr_t)version->sort_key.data};
  MDB_val value = {version->value.len, (void *)(uintptr_t)version->value.data};

  return bz_entry_parse(&key, &value, entry);
}

void bz_delta_set_off(uint8_t *value, uint64_t off)
{
  uint64_t word = bz_load_le64(value) & ((UINT64_C(1) << WORD_OFF_SHIFT) - 1);

  bz_store_le64(value, word | off >> BZ_ALIGN_POWER << WORD_OFF_SHIFT);
}
