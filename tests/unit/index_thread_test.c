/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_thread_test.c: one writer, and readers of its indexes meanwhile.
 *  1. A row that was there throughout, with the same keys, is met exactly once by a
 *     walk in either direction, and found by a seek.
 *  2. Entries come in order, and an entry and its row are of each other.
 *  3. Cursors that follow a leader see its moment: the same rows in each index.
 */
#include "support/indexed.h"

#include <pthread.h>
#include <stdatomic.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SLOWER 10
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SLOWER 10
#endif
#endif
#ifndef SLOWER
#define SLOWER 1
#endif

enum
{
  STABLE = 300, /* rows 0..STABLE-1 are never removed and keep their keys */
  OTHERS = 300, /* the rows after them come, change and go */
  LEN_MAX = 300,
  READERS = 4
};

static struct blitz_table *table;
static atomic_bool writing;
static atomic_ullong walks, seeks;
static unsigned work; /* of the writer: transactions */
static uint64_t seed;

static size_t some_len(struct rnd *rnd)
{
  return 16 + rnd_below(rnd, LEN_MAX - 16);
}

/* ---- the writer ---- */

static void change_one(struct blitz_txn *txn, struct rnd *rnd, uint64_t *versions)
{
  uint64_t n = rnd_below(rnd, STABLE + OTHERS);
  uint64_t version = versions[n] + 1;
  if (n >= STABLE && versions[n] == 0)
  {
    versions[n] = indexed_version(rnd_below(rnd, 1000), 1);
    require_ok(indexed_insert(txn, table, n, versions[n], some_len(rnd)));
    return;
  }
  if (n >= STABLE && rnd_below(rnd, 3) == 0)
  {
    blitz_txn_set_indexer(txn, &indexed_indexer);
    require_ok(blitz_remove(txn, table, number_key(n), ERR));
    versions[n] = 0;
    return;
  }
  if (n >= STABLE && rnd_below(rnd, 2) == 0)
    version = indexed_version(rnd_below(rnd, 1000), (uint32_t)version);
  require_ok(indexed_update(txn, table, n, version, some_len(rnd)));
  versions[n] = version;
}

static void *write_rows(void *arg)
{
  struct rnd rnd = {seed};
  struct blitz_txn *txn;
  static uint64_t versions[STABLE + OTHERS], before[STABLE + OTHERS];
  (void)arg;
  for (uint64_t n = 0; n < STABLE; n++)
    versions[n] = 1;
  memset(versions + STABLE, 0, OTHERS * sizeof *versions);
  require_ok(blitz_txn_create(&txn));
  for (unsigned i = 0; i < work; i++)
  {
    memcpy(before, versions, sizeof before);
    for (unsigned n = rnd_below(&rnd, rnd_below(&rnd, 20) ? 4 : 200) + 1; n > 0; n--)
      change_one(txn, &rnd, versions);
    if (rnd_below(&rnd, 8) == 0)
    {
      blitz_txn_rollback(txn);
      memcpy(versions, before, sizeof before);
    }
    else
      require_ok(blitz_txn_commit(txn, ERR));
  }
  blitz_txn_free(txn);
  atomic_store(&writing, false);
  return NULL;
}

/* ---- the readers ---- */

/* Walks over an index; SUM becomes a sum over all rows, the same for the same rows. Rows are
 * looked at with a chance of ROWS in 4.
 */
static uint64_t walk(struct blitz_cursor *cursor, struct rnd *rnd, unsigned index_no, bool forward,
                     unsigned rows, uint64_t *sum)
{
  unsigned char met[STABLE + OTHERS] = {0};
  struct indexed_order last = {.len = 0};
  uint64_t count = 0, n, version;
  enum blitz_rc rc;
  *sum = 0;
  require_ok(blitz_index_begin(cursor, index_no, ERR));
  for (rc = blitz_index_seek(cursor, text(""), forward ? BLITZ_SEEK_FIRST : BLITZ_SEEK_LAST, ERR);
       rc == BLITZ_OK; rc = blitz_index_step(cursor, forward, ERR))
  {
    require(entry_is_behind(cursor, forward, &last));
    n = number_of_key(blitz_index_row_key(cursor));
    if (rnd_below(rnd, 4) < rows)
    {
      require(entry_is_right(cursor, index_no, &n, &version));
      *sum += (n + 1) * (version * 2 + 1);
    }
    require(n < STABLE + OTHERS && met[n]++ == 0);
    count++;
  }
  require(rc == BLITZ_END);
  for (n = 0; n < STABLE; n++)
    require(met[n] == 1);
  atomic_fetch_add(&walks, 1);
  return count;
}

/* There and back again, now and then. */
static void wander(struct blitz_cursor *cursor, struct rnd *rnd, unsigned index_no)
{
  unsigned char key[INDEXED_KEY_MAX];
  uint64_t start = rnd_below(rnd, STABLE), n, version;
  struct blitz_slice at = bytes(key, indexed_key(index_no, start, 0, key));
  bool forward = rnd_below(rnd, 2) != 0;
  int place = 0;
  require_ok(blitz_index_begin(cursor, index_no, ERR));
  require_ok(blitz_index_seek(cursor, at, BLITZ_SEEK_FIRST, ERR));
  n = number_of_key(blitz_index_row_key(cursor));
  require(index_no == 0 || n == start);
  start = n;
  for (unsigned i = 0; i < 20; i++)
  {
    if (rnd_below(rnd, 3) > 0)
      require(entry_is_right(cursor, index_no, &n, &version));
    if (rnd_below(rnd, 4) == 0)
      forward = !forward;
    if (blitz_index_step(cursor, forward, ERR) == BLITZ_OK)
      place += forward ? 1 : -1;
  }
  while (place != 0)
  {
    require_ok(blitz_index_step(cursor, place < 0, ERR));
    place += place < 0 ? 1 : -1;
  }
  require(entry_is_right(cursor, index_no, &n, &version) && n == start);
  atomic_fetch_add(&seeks, 1);
}

static void *read_rows(void *arg)
{
  struct rnd rnd = {seed + 77 * (uint64_t)(uintptr_t)arg};
  struct blitz_cursor *cursor;
  uint64_t sum;
  require_ok(blitz_cursor_open(table, NULL, &cursor));
  do
  {
    walk(cursor, &rnd, rnd_below(&rnd, INDEXED_COUNT), rnd_below(&rnd, 2) != 0, rnd_below(&rnd, 5),
         &sum);
    if (rnd_below(&rnd, 2) == 0)
      blitz_index_end(cursor);
    for (unsigned i = 0; i < 20; i++)
    {
      if (rnd_below(&rnd, 3) == 0)
        blitz_cursor_reset(cursor);
      wander(cursor, &rnd, rnd_below(&rnd, INDEXED_COUNT));
    }
    blitz_index_end(cursor);
  } while (atomic_load(&writing));
  blitz_cursor_close(cursor);
  return NULL;
}

static void *read_together(void *arg)
{
  struct rnd rnd = {seed + 99};
  struct blitz_cursor *leader, *first, *second;
  (void)arg;
  require_ok(blitz_cursor_open(table, NULL, &leader));
  require_ok(blitz_cursor_open(table, NULL, &first));
  require_ok(blitz_cursor_open(table, NULL, &second));
  do
  {
    uint64_t sums[3], counts[3];
    /* They may have read alone before. */
    if (rnd_below(&rnd, 2))
      walk(first, &rnd, 0, true, 4, sums), blitz_index_end(first);
    blitz_cursor_follow(first, leader);
    blitz_cursor_follow(second, leader);
    counts[0] = walk(leader, &rnd, 0, rnd_below(&rnd, 2), 4, &sums[0]);
    counts[1] = walk(first, &rnd, 1, rnd_below(&rnd, 2), 4, &sums[1]);
    if (rnd_below(&rnd, 2))
      blitz_index_end(leader);
    counts[2] = walk(second, &rnd, 2, rnd_below(&rnd, 2), 4, &sums[2]);
    require(sums[0] == sums[1] && sums[0] == sums[2]);
    require(counts[0] == counts[1] && counts[0] == counts[2]);
    blitz_index_end(second);
    blitz_index_end(first);
    blitz_index_end(leader);
    blitz_cursor_follow(first, first);
  } while (atomic_load(&writing));
  blitz_cursor_close(second);
  blitz_cursor_close(first);
  blitz_cursor_close(leader);
  return NULL;
}

static void run(unsigned readers, unsigned together)
{
  pthread_t threads[READERS + 2];
  unsigned count = 0;
  struct blitz_counters before, after;
  blitz_counters_get(&before);
  atomic_store(&walks, 0);
  atomic_store(&seeks, 0);
  atomic_store(&writing, true);
  assert_int_equal(pthread_create(&threads[count++], NULL, write_rows, NULL), 0);
  for (uintptr_t i = 0; i < readers; i++)
    assert_int_equal(pthread_create(&threads[count++], NULL, read_rows, (void *)i), 0);
  for (unsigned i = 0; i < together; i++)
    assert_int_equal(pthread_create(&threads[count++], NULL, read_together, NULL), 0);
  while (count > 0)
    pthread_join(threads[--count], NULL);
  blitz_counters_get(&after);
  print_message("# %llu walks, %llu tours, %llu of %llu rows were not where the entry says\n",
                (unsigned long long)atomic_load(&walks), (unsigned long long)atomic_load(&seeks),
                (unsigned long long)(after.index_misses - before.index_misses),
                (unsigned long long)(after.index_lookups - before.index_lookups));
  assert_true(after.index_misses > before.index_misses);
}

static void walks_are_whole_beside_a_writer(void **state)
{
  (void)state;
  table = new_indexed_table(__func__);
  put_indexed_rows(table, 0, STABLE, 1, 100);
  seed = run_seed();
  work = run_rounds(6000 / SLOWER);
  run(2, 1);
  assert_indexes_right(table);
  blitz_table_close(table);
  table = open_indexed_table(__func__);
  assert_indexes_right(table);
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(walks_are_whole_beside_a_writer),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
