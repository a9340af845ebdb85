/* SPDX-License-Identifier: GPL-2.0-only
 *
 * hash_test.c: where keys fall, and the trees of the buckets.
 *  1. Keys that were chosen to collide by what anybody can compute (Tokyo Cabinet's hash, a
 *     checksum) spread like any others.
 *  2. Even if all rows hang in one bucket, in the worst order, no row is deeper than
 *     BZ_DEPTH_MAX, and all are found, replaced and removed.
 *  3. Buckets grow in segments among the rows while a scan is open, which sees its moment, and
 *     the closed file has them before the rows again.
 */
#include "rows/hash.h"

#include "base/crc32c.h"
#include "support.h"

#include <unistd.h>

static int begin(void **state)
{
  (void)state;
  alarm(240);
  catch_log();
  return 0;
}

/* ---- how deep the trees are ---- */

static unsigned depth_below(const uint8_t *base, uint64_t off, unsigned limit)
{
  if (off == 0)
    return 0;
  assert_true(limit > 0);
  unsigned left = depth_below(base, bz_link(base, off + BZ_ROW_LEFT_OFF), limit - 1);
  unsigned right = depth_below(base, bz_link(base, off + BZ_ROW_RIGHT_OFF), limit - 1);
  return 1 + (left > right ? left : right);
}

static unsigned deepest(const struct blitz_table *table)
{
  unsigned deepest = 0;
  for (uint64_t bucket = 0; bucket < table->bucket_count; bucket++)
  {
    uint64_t root = bz_link(bz_base(table), bz_bucket_off(table, bucket));
    unsigned depth = depth_below(bz_base(table), root, BZ_DEPTH_MAX);
    if (depth > deepest)
      deepest = depth;
  }
  return deepest;
}

/* ---- keys that collide without the secret ---- */

enum
{
  PAIRS = 40, /* of two bytes, each in one of two forms to which the bucket hash is the same */
  PAIRS_LEN = 2 * PAIRS,
  ALIKE = 20000
};

static void make_pairs(uint64_t forms, uint8_t *key)
{
  for (unsigned i = 0; i < PAIRS; i++)
  {
    key[2 * i] = forms >> i & 1 ? 101 : 100;
    key[2 * i + 1] = forms >> i & 1 ? 63 : 100;
  }
}

static uint16_t checksum_of(uint64_t forms)
{
  uint8_t key[PAIRS_LEN];
  make_pairs(forms, key);
  return (uint16_t)bz_crc32c(0, key, sizeof key);
}

/* Forms whose checksums have the same low 16 bits: sums of these basis vectors, of which
 * there are *COUNTP, since the checksum is linear.
 */
static void find_basis(uint64_t *basis, unsigned *countp)
{
  uint16_t values[16], none = checksum_of(0);
  uint64_t masks[16];
  unsigned ranks = 0;
  *countp = 0;
  for (unsigned i = 0; i < PAIRS; i++)
  {
    uint64_t mask = UINT64_C(1) << i;
    uint16_t value = checksum_of(mask) ^ none;
    for (unsigned j = 0; j < ranks; j++)
      if (value & 1 << (31 - __builtin_clz(values[j])))
      {
        value ^= values[j];
        mask ^= masks[j];
      }
    if (value == 0)
      basis[(*countp)++] = mask;
    else
    {
      values[ranks] = value;
      masks[ranks++] = mask;
    }
  }
}

static void chosen_keys_spread(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("chosen");
  struct blitz_txn *txn = new_txn();
  uint64_t basis[PAIRS];
  unsigned basis_count;
  find_basis(basis, &basis_count);
  assert_true(UINT64_C(1) << basis_count >= ALIKE);
  uint64_t hash = 0;
  for (uint64_t n = 0; n < ALIKE; n++)
  {
    uint8_t key[PAIRS_LEN];
    uint64_t forms = 0;
    for (unsigned bit = 0; bit < basis_count; bit++)
      if (n >> bit & 1)
        forms ^= basis[bit];
    make_pairs(forms, key);
    /* They do collide: that is what the spread is against. */
    assert_int_equal((uint16_t)bz_crc32c(0, key, sizeof key), checksum_of(0));
    assert_true(n == 0 || bz_hash(key, sizeof key).bucket == hash);
    hash = bz_hash(key, sizeof key).bucket;
    assert_ok(blitz_insert(txn, table, bytes(key, sizeof key), text("v"), ERR));
    if (n % 100 == 0)
      assert_ok(blitz_txn_commit(txn, ERR));
  }
  assert_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
  assert_true(table->bucket_count >= ALIKE);
  assert_in_range(deepest(table), 1, 12);
  blitz_table_close(table);
}

/* ---- all in one bucket ---- */

enum
{
  BUCKETS = 4096,
  IN_BUCKET = 600
};

struct chosen
{
  uint8_t key[8];
  uint8_t file_key[8 + BZ_KEY_SPREAD_LEN];
  struct bz_hash hash;
};

/* In the order in which each goes left of the one before. */
static int compare_chosen(const void *a, const void *b)
{
  const struct chosen *x = a, *y = b;
  if (x->hash.second != y->hash.second)
    return x->hash.second < y->hash.second ? -1 : 1;
  return memcmp(x->file_key, y->file_key, sizeof x->file_key);
}

/* The test knows the secret. */
static void choose_keys(const struct blitz_table *table, struct chosen *chosen)
{
  unsigned count = 0;
  for (uint64_t n = 0; count < IN_BUCKET; n++)
  {
    struct chosen *next = &chosen[count];
    memcpy(next->key, &n, sizeof n);
    bz_file_key(table, next->file_key, bytes(next->key, sizeof next->key));
    next->hash = bz_hash(next->file_key, sizeof next->file_key);
    if (bz_bucket(next->hash.bucket, BUCKETS) == 77)
      count++;
  }
  qsort(chosen, IN_BUCKET, sizeof *chosen, compare_chosen);
}

static void one_bucket_stays_low(void **state)
{
  (void)state;
  static struct chosen chosen[IN_BUCKET];
  static bool there[IN_BUCKET];
  struct rnd rnd = {run_seed()};
  struct blitz_create_options options = {.expected_rows = BUCKETS};
  assert_ok(blitz_table_create(path_of("one"), &options, true, ERR));
  struct blitz_table *table = open_table("one");
  struct blitz_txn *txn = new_txn();
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  choose_keys(table, chosen);
  for (unsigned i = 0; i < IN_BUCKET; i++)
  {
    assert_ok(blitz_insert(txn, table, bytes(chosen[i].key, 8), text("v"), ERR));
    assert_ok(blitz_txn_commit(txn, ERR));
    there[i] = true;
    assert_in_range(deepest(table), 1, BZ_DEPTH_MAX);
  }
  assert_int_equal(table->bucket_count, BUCKETS);
  for (unsigned round = 0; round < 4000; round++)
  {
    unsigned i = rnd_below(&rnd, IN_BUCKET);
    struct blitz_slice key = bytes(chosen[i].key, 8);
    enum blitz_rc rc;
    if (rnd_below(&rnd, 3) == 0)
      rc = blitz_update(txn, table, key, key, text("w"), ERR);
    else if (there[i])
      rc = blitz_remove(txn, table, key, ERR);
    else
      rc = blitz_insert(txn, table, key, text("v"), ERR);
    assert_true(rc == BLITZ_OK || (rc == BLITZ_NOT_FOUND && !there[i]));
    assert_ok(blitz_txn_commit(txn, ERR));
    rc = blitz_get(cursor, key, &value, ERR);
    there[i] = rc == BLITZ_OK;
    assert_in_range(deepest(table), 1, BZ_DEPTH_MAX);
    if (round % 200 == 0)
      for (unsigned k = 0; k < IN_BUCKET; k++)
        assert_rc(there[k] ? BLITZ_OK : BLITZ_NOT_FOUND,
                  blitz_get(cursor, bytes(chosen[k].key, 8), &value, ERR));
  }
  blitz_cursor_close(cursor);
  blitz_txn_free(txn);
  blitz_table_close(table);
  table = open_table("one");
  cursor = new_cursor(table, NULL);
  for (unsigned k = 0; k < IN_BUCKET; k++)
    assert_rc(there[k] ? BLITZ_OK : BLITZ_NOT_FOUND,
              blitz_get(cursor, bytes(chosen[k].key, 8), &value, ERR));
  blitz_cursor_close(cursor);
  blitz_table_close(table);
}

/* ---- growing ---- */

static void buckets_grow_while_a_scan_is_open(void **state)
{
  (void)state;
  enum
  {
    ROWS = 5000
  };
  struct blitz_table *table = new_table("grows");
  struct blitz_slice value;
  put_rows(table, 0, 100, 50, 1);
  uint64_t first = table->first;
  struct blitz_cursor *reader = new_cursor(table, NULL);
  assert_ok(blitz_scan_begin(reader));
  assert_ok(blitz_scan_next(reader, &value, ERR));
  put_rows(table, 100, ROWS, 50, 1);
  assert_true(table->bucket_count >= ROWS);
  assert_int_equal(table->first, first);
  assert_in_range(deepest(table), 1, 12);
  for (unsigned n = 1; n < 100; n++)
    assert_ok(blitz_scan_next(reader, &value, ERR));
  assert_rc(BLITZ_END, blitz_scan_next(reader, &value, ERR));
  blitz_cursor_close(reader);
  assert_rows(table, 0, ROWS, 1);
  uint64_t buckets = table->bucket_count;
  blitz_table_close(table);
  table = open_table("grows");
  assert_int_equal(table->front_buckets, buckets >= 8192 ? buckets : 8192);
  assert_true(table->first >= 256 + 8 * table->front_buckets);
  assert_rows(table, 0, ROWS, 1);
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(chosen_keys_spread, begin),
      cmocka_unit_test_setup(one_bucket_stays_low, begin),
      cmocka_unit_test_setup(buckets_grow_while_a_scan_is_open, begin),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
