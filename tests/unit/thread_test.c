/* SPDX-License-Identifier: GPL-2.0-only
 *
 * thread_test.c: readers, scanners and writers at the same time. Every scan sees
 * a state between two commits, every look-up a committed row, and no change is
 * lost. The same program runs under the thread sanitizer.
 *
 * Each writer does a fixed amount of work; the readers go on until all have.
 */
#include "support/support.h"

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
  ACCOUNTS = 400,
  EACH = 500,
  THREADS_MAX = 12
};

static struct blitz_table *table;
static atomic_uint writers_left;
static atomic_ullong scans, gets;
static unsigned work; /* of one writer */

struct worker
{
  pthread_t thread;
  void (*run)(struct worker *);
  bool writes;
  struct rnd rnd;
  struct blitz_txn *txn;
  struct blitz_cursor *cursor;
};

static void *run_worker(void *arg)
{
  struct worker *worker = arg;
  require_ok(blitz_txn_create(&worker->txn));
  require_ok(blitz_cursor_open(table, worker->txn, &worker->cursor));
  worker->run(worker);
  blitz_cursor_close(worker->cursor);
  blitz_txn_free(worker->txn);
  if (worker->writes)
    atomic_fetch_sub(&writers_left, 1);
  return NULL;
}

struct role
{
  unsigned count;
  bool writes;
  void (*run)(struct worker *);
};

static void run_all(const struct role *roles, size_t role_count)
{
  static struct worker workers[THREADS_MAX];
  unsigned count = 0;
  atomic_store(&writers_left, 0);
  atomic_store(&scans, 0);
  atomic_store(&gets, 0);
  for (size_t r = 0; r < role_count; r++)
    for (unsigned i = 0; i < roles[r].count; i++, count++)
    {
      assert_true(count < THREADS_MAX);
      workers[count] = (struct worker){.run = roles[r].run, .writes = roles[r].writes};
      workers[count].rnd.state = run_seed() + count * 1000003;
      if (roles[r].writes)
        atomic_fetch_add(&writers_left, 1);
    }
  for (unsigned i = 0; i < count; i++)
    assert_int_equal(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
  for (unsigned i = 0; i < count; i++)
    pthread_join(workers[i].thread, NULL);
}

static uint64_t number_at(struct blitz_cursor *cursor)
{
  struct blitz_slice key = blitz_cursor_key(cursor);
  uint64_t n = 0;
  require(key.len == 8);
  for (int i = 0; i < 8; i++)
    n = n << 8 | ((const unsigned char *)key.data)[i];
  return n;
}

/* ---- money is moved, never made ---- */

static uint64_t read_balance(struct worker *worker, uint64_t n)
{
  struct blitz_slice value;
  uint64_t balance;
  require_ok(blitz_get(worker->cursor, number_key(n), &value, ERR));
  require(row_proves(value, n, &balance));
  return balance;
}

static void write_balance(struct worker *worker, uint64_t n, uint64_t balance)
{
  char value[300];
  size_t len = 16 + rnd_below(&worker->rnd, sizeof value - 16);
  row_fill(value, len, n, balance);
  require_ok(
      blitz_update(worker->txn, table, number_key(n), number_key(n), bytes(value, len), ERR));
}

/* The first change, of a row that is only there to be fought for, makes the
 * transaction the only writer; what it reads after that nobody else changes.
 */
static void transfer(struct worker *worker)
{
  for (unsigned i = 0; i < work; i++)
  {
    uint64_t a = rnd_below(&worker->rnd, ACCOUNTS), b = (a + 1) % ACCOUNTS;
    require_ok(blitz_update(worker->txn, table, number_key(ACCOUNTS), number_key(ACCOUNTS),
                            bytes("0123456789abcdef", 16), ERR));
    uint64_t sum = read_balance(worker, a) + read_balance(worker, b);
    uint64_t part = sum ? rnd_below(&worker->rnd, (uint32_t)sum) : 0;
    write_balance(worker, a, part);
    write_balance(worker, b, sum - part);
    if (rnd_below(&worker->rnd, 10) == 0)
      blitz_txn_rollback(worker->txn);
    else
      require_ok(blitz_txn_commit(worker->txn, ERR));
  }
}

static void scan_sums(struct worker *worker)
{
  do
  {
    struct blitz_slice value;
    enum blitz_rc rc;
    uint64_t sum = 0, rows = 0, balance;
    require_ok(blitz_scan_begin(worker->cursor));
    while ((rc = blitz_scan_next(worker->cursor, &value, ERR)) == BLITZ_OK)
    {
      uint64_t n = number_at(worker->cursor);
      if (n == ACCOUNTS)
        continue;
      require(row_proves(value, n, &balance));
      sum += balance;
      rows++;
    }
    require(rc == BLITZ_END);
    require(rows == ACCOUNTS);
    require(sum == (uint64_t)ACCOUNTS * EACH);
    blitz_scan_end(worker->cursor);
    atomic_fetch_add(&scans, 1);
  } while (atomic_load(&writers_left) > 0);
}

static void get_balances(struct worker *worker)
{
  do
  {
    for (int i = 0; i < 100; i++)
    {
      require(read_balance(worker, rnd_below(&worker->rnd, ACCOUNTS)) <= (uint64_t)ACCOUNTS * EACH);
      struct blitz_slice value;
      require(blitz_get(worker->cursor, number_key(ACCOUNTS + 1), &value, ERR) == BLITZ_NOT_FOUND);
    }
    atomic_fetch_add(&gets, 200);
  } while (atomic_load(&writers_left) > 0);
}

static void the_sum_is_always_the_same(void **state)
{
  (void)state;
  static const struct role roles[] = {
      {3, true, transfer}, {2, false, scan_sums}, {2, false, get_balances}};
  uint64_t rows;
  table = new_table("bank");
  put_rows(table, 0, ACCOUNTS, 100, EACH);
  put_rows(table, ACCOUNTS, ACCOUNTS + 1, 16, 0);
  work = run_rounds(6000 / SLOWER);
  run_all(roles, 3);
  rows = row_count(table);
  assert_int_equal(rows, ACCOUNTS + 1);
  assert_true(atomic_load(&scans) > 0 && atomic_load(&gets) > 0);
  print_message("# %llu scans and %llu look-ups beside %u commits\n",
                (unsigned long long)atomic_load(&scans), (unsigned long long)atomic_load(&gets),
                3 * work);
  blitz_table_close(table);
}

/* ---- counting with compare-and-change ---- */

struct expectation
{
  uint64_t n, version;
};

static bool has_version(void *arg, struct blitz_slice current)
{
  struct expectation *expected = arg;
  uint64_t version;
  return row_proves(current, expected->n, &version) && version == expected->version;
}

static void increment(struct worker *worker)
{
  char value[60];
  for (unsigned i = 0; i < work; i++)
    for (;;)
    {
      struct expectation expected = {.n = rnd_below(&worker->rnd, 4)};
      expected.version = read_balance(worker, expected.n);
      row_fill(value, sizeof value, expected.n, expected.version + 1);
      enum blitz_rc rc = blitz_update_if(worker->txn, table, number_key(expected.n),
                                         bytes(value, sizeof value), has_version, &expected, ERR);
      require_ok(blitz_txn_commit(worker->txn, ERR));
      if (rc == BLITZ_OK)
        break;
      require(rc == BLITZ_CHANGED);
    }
}

static void no_increment_is_lost(void **state)
{
  (void)state;
  static const struct role roles[] = {{4, true, increment}};
  struct blitz_slice value;
  uint64_t sum = 0, version;
  table = new_table("counts");
  put_rows(table, 0, 4, 60, 0);
  work = run_rounds(20000 / SLOWER);
  run_all(roles, 1);
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  for (uint64_t n = 0; n < 4; n++)
  {
    assert_ok(blitz_get(cursor, number_key(n), &value, ERR));
    assert_true(row_proves(value, n, &version));
    sum += version;
  }
  assert_int_equal(sum, 4 * (uint64_t)work);
  blitz_cursor_close(cursor);
  blitz_table_close(table);
}

/* ---- growth under the eyes of readers ---- */

static atomic_ullong grown; /* rows 0..grown-1 are committed */

static void grow(struct worker *worker)
{
  char value[50];
  for (uint64_t n = 0; n < work; n++)
  {
    row_fill(value, sizeof value, n, 1);
    require_ok(blitz_insert(worker->txn, table, number_key(n), bytes(value, sizeof value), ERR));
    require_ok(blitz_txn_commit(worker->txn, ERR));
    atomic_store(&grown, n + 1);
  }
}

static void get_grown(struct worker *worker)
{
  do
  {
    uint64_t rows = atomic_load(&grown), version;
    struct blitz_slice value;
    for (int i = 0; rows > 0 && i < 100; i++)
    {
      uint64_t n = rnd_below(&worker->rnd, (uint32_t)rows);
      require_ok(blitz_get(worker->cursor, number_key(n), &value, ERR));
      require(row_proves(value, n, &version));
    }
    atomic_fetch_add(&gets, rows ? 100 : 0);
  } while (atomic_load(&writers_left) > 0);
}

static void scan_grown(struct worker *worker)
{
  do
  {
    uint64_t at_least = atomic_load(&grown), rows = 0, highest = 0, version;
    struct blitz_slice value;
    enum blitz_rc rc;
    require_ok(blitz_scan_begin(worker->cursor));
    uint64_t at_most = atomic_load(&grown) + 1;
    while ((rc = blitz_scan_next(worker->cursor, &value, ERR)) == BLITZ_OK)
    {
      uint64_t n = number_at(worker->cursor);
      require(row_proves(value, n, &version));
      highest = n > highest ? n : highest;
      rows++;
    }
    require(rc == BLITZ_END);
    require(rows >= at_least && rows <= at_most);
    require(rows == 0 || highest == rows - 1); /* no hole */
    blitz_scan_end(worker->cursor);
    atomic_fetch_add(&scans, 1);
  } while (atomic_load(&writers_left) > 0);
}

static void growth_hides_no_row(void **state)
{
  (void)state;
  static const struct role roles[] = {
      {1, true, grow}, {2, false, get_grown}, {1, false, scan_grown}};
  table = new_table("grow");
  atomic_store(&grown, 0);
  work = run_rounds(100000 / SLOWER);
  run_all(roles, 3);
  assert_rows(table, 0, work, 1);
  blitz_table_close(table);
}

static void growth_beside_look_ups_alone(void **state)
{
  (void)state;
  /* Without scans the bucket array grows while readers look rows up. */
  static const struct role roles[] = {{1, true, grow}, {3, false, get_grown}};
  struct blitz_table_stats stats;
  table = new_table("grow");
  atomic_store(&grown, 0);
  work = run_rounds(150000 / SLOWER);
  run_all(roles, 2);
  blitz_table_stats(table, &stats);
  assert_true(stats.bucket_count >= work / 2);
  assert_rows(table, 0, work, 1);
  blitz_table_close(table);
}

/* ---- rows come and go ---- */

static void come_and_go(struct worker *worker)
{
  char value[200];
  for (unsigned i = 0; i < work; i++)
  {
    uint64_t n = rnd_below(&worker->rnd, 64);
    size_t len = 16 + rnd_below(&worker->rnd, sizeof value - 16);
    enum blitz_rc rc;
    row_fill(value, len, n, i);
    switch (rnd_below(&worker->rnd, 3))
    {
    case 0:
      rc = blitz_insert(worker->txn, table, number_key(n), bytes(value, len), ERR);
      require(rc == BLITZ_OK || rc == BLITZ_DUPLICATE);
      break;
    case 1:
      rc = blitz_remove(worker->txn, table, number_key(n), ERR);
      require(rc == BLITZ_OK || rc == BLITZ_NOT_FOUND);
      break;
    default:
      rc = blitz_update(worker->txn, table, number_key(n), number_key(n), bytes(value, len), ERR);
      require(rc == BLITZ_OK || rc == BLITZ_NOT_FOUND);
    }
    if (rnd_below(&worker->rnd, 3))
      require_ok(blitz_txn_commit(worker->txn, ERR));
    else if (rnd_below(&worker->rnd, 4) == 0)
      blitz_txn_rollback(worker->txn);
  }
}

static void look_at_comers(struct worker *worker)
{
  do
    for (int i = 0; i < 50; i++)
    {
      struct blitz_slice value;
      uint64_t n = rnd_below(&worker->rnd, 64), version;
      enum blitz_rc rc = blitz_get(worker->cursor, number_key(n), &value, ERR);
      require(rc == BLITZ_OK || rc == BLITZ_NOT_FOUND);
      require(rc != BLITZ_OK || row_proves(value, n, &version));
    }
  while (atomic_load(&writers_left) > 0);
}

static void scan_comers(struct worker *worker)
{
  do
  {
    struct blitz_slice value;
    enum blitz_rc rc;
    uint64_t met = 0, version;
    require_ok(blitz_scan_begin(worker->cursor));
    while ((rc = blitz_scan_next(worker->cursor, &value, ERR)) == BLITZ_OK)
    {
      uint64_t n = number_at(worker->cursor);
      require(n < 64 && row_proves(value, n, &version));
      require(!(met >> n & 1));
      met |= UINT64_C(1) << n;
    }
    require(rc == BLITZ_END);
    blitz_scan_end(worker->cursor);
    struct blitz_table_stats stats;
    blitz_table_stats(table, &stats);
    require(stats.row_count <= 64);
  } while (atomic_load(&writers_left) > 0);
}

static void rows_come_and_go(void **state)
{
  (void)state;
  static const struct role roles[] = {
      {3, true, come_and_go}, {2, false, look_at_comers}, {2, false, scan_comers}};
  table = new_table("comers");
  work = run_rounds(20000 / SLOWER);
  run_all(roles, 3);
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  uint64_t rows = 0;
  assert_ok(blitz_scan_begin(cursor));
  while (blitz_scan_next(cursor, &value, ERR) == BLITZ_OK)
    rows++;
  assert_int_equal(rows, row_count(table));
  blitz_cursor_close(cursor);
  blitz_table_close(table);
}

/* ---- row ids and counters ---- */

static void take_row_ids(struct worker *worker)
{
  uint64_t id, last = 0, counter = 0;
  for (unsigned i = 0; i < work; i++)
  {
    require_ok(blitz_insert_row_id(worker->txn, table, text("row"), &id, ERR));
    require(id > last);
    last = id;
    require_ok(blitz_table_counter_raise(table, id, ERR));
    require(blitz_table_counter(table) >= counter);
    counter = blitz_table_counter(table);
    require_ok(blitz_txn_commit(worker->txn, ERR));
  }
}

static void row_ids_are_unique(void **state)
{
  (void)state;
  static const struct role roles[] = {{4, true, take_row_ids}};
  table = new_row_id_table("ids");
  work = run_rounds(5000 / SLOWER);
  run_all(roles, 1);
  /* An id given twice would have been a duplicate, or one row less. */
  assert_int_equal(row_count(table), 4 * work);
  assert_true(blitz_table_counter(table) >= 4 * work);
  blitz_table_close(table);
}

/* ---- opening and closing ---- */

static void open_and_close(struct worker *worker)
{
  char name[20];
  for (unsigned i = 0; i < work; i++)
  {
    struct blitz_table *mine = NULL;
    struct blitz_slice value;
    struct blitz_cursor *cursor = NULL;
    uint64_t version;
    snprintf(name, sizeof name, "opened%u", rnd_below(&worker->rnd, 3));
    require_ok(blitz_table_open(path_of(name), 0, &mine, ERR));
    require_ok(blitz_cursor_open(mine, NULL, &cursor));
    require_ok(blitz_get(cursor, number_key(7), &value, ERR));
    require(row_proves(value, 7, &version));
    blitz_cursor_close(cursor);
    char buf[100];
    row_fill(buf, sizeof buf, 7, version + 1);
    require_ok(
        blitz_update(worker->txn, mine, number_key(7), number_key(7), bytes(buf, sizeof buf), ERR));
    require_ok(blitz_txn_commit(worker->txn, ERR));
    blitz_table_close(mine);
  }
}

static void tables_are_opened_and_closed(void **state)
{
  (void)state;
  static const struct role roles[] = {{4, true, open_and_close}};
  table = new_table("other");
  for (int i = 0; i < 3; i++)
  {
    char name[20];
    snprintf(name, sizeof name, "opened%d", i);
    struct blitz_table *one = new_table(name);
    put_rows(one, 0, 10, 50, 1);
    blitz_table_close(one);
  }
  work = run_rounds(1000 / SLOWER);
  run_all(roles, 1);
  for (int i = 0; i < 3; i++)
  {
    char name[20];
    snprintf(name, sizeof name, "opened%d", i);
    struct blitz_table *one = open_table(name);
    assert_int_equal(row_count(one), 10);
    blitz_table_close(one);
  }
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_sum_is_always_the_same),
      cmocka_unit_test(no_increment_is_lost),
      cmocka_unit_test(growth_hides_no_row),
      cmocka_unit_test(growth_beside_look_ups_alone),
      cmocka_unit_test(rows_come_and_go),
      cmocka_unit_test(row_ids_are_unique),
      cmocka_unit_test(tables_are_opened_and_closed),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
