/* SPDX-License-Identifier: GPL-2.0-only
 *
 * kill_test.c: a child process changes tables and is killed at a random moment,
 * also while it repairs what the kill before left. Then:
 *  1. every commit that the child was told of is in the file;
 *  2. the one commit it was in is there wholly or not at all;
 *  3. nothing else is there, no row twice, and the row count is right;
 *  4. no row id is ever given twice;
 *  5. a table is loaded or emptied wholly or not at all;
 *  6. the log does not call rows damaged, since no byte is.
 *
 * Parent and child share a ledger: before a commit the child writes there what
 * the transaction does, after it the number of the transaction.
 */
#define _GNU_SOURCE
#include "support/support.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum
{
  KEYS = 600,
  CHANGES_MAX = 64, /* in one transaction */
  TXNS_MAX = 40000, /* of one child; then it waits for the end */
  VALUE_MAX = 40000,
  LOAD_ROWS = 1500,
};

struct change
{
  uint32_t key;
  uint32_t version; /* 0: removed */
};

struct ledger
{
  atomic_uint begun;     /* transactions described */
  atomic_uint committed; /* transactions acknowledged */
  atomic_uint ready;     /* the child is at work */
  uint32_t next_version;
  atomic_uint_fast64_t last_row_id;
  atomic_uint row_id_twice;
  atomic_uint load_begun, load_committed; /* odd: LOAD_ROWS rows of that version, even: none */
  unsigned first_change[TXNS_MAX + 1];
  struct change changes[TXNS_MAX * 8];
};

static struct ledger *ledger;
static uint32_t model[KEYS]; /* versions; 0: no row */

static size_t len_of(uint32_t key, uint32_t version)
{
  struct rnd rnd = {(uint64_t)key << 32 | version};
  switch (rnd_below(&rnd, 20))
  {
  case 0: return 16 + rnd_below(&rnd, VALUE_MAX - 16);
  case 1: return 16;
  default: return 16 + rnd_below(&rnd, 600);
  }
}

/* ---- the child ---- */

static bool in_txn(const struct change *changes, unsigned count, uint32_t key)
{
  for (unsigned i = 0; i < count; i++)
    if (changes[i].key == key)
      return true;
  return false;
}

static void change_one(struct blitz_txn *txn, struct blitz_table *table, struct change change,
                       bool there)
{
  static char value[VALUE_MAX];
  struct blitz_slice key = number_key(change.key);
  size_t len = len_of(change.key, change.version);
  if (change.version == 0)
  {
    require_ok(blitz_remove(txn, table, key, ERR));
    return;
  }
  row_fill(value, len, change.key, change.version);
  if (there)
    require_ok(blitz_update(txn, table, key, key, bytes(value, len), ERR));
  else
    require_ok(blitz_insert(txn, table, key, bytes(value, len), ERR));
}

/* One transaction; NOW is the child's own model. False: the ledger is full. */
static bool one_txn(struct blitz_txn *txn, struct blitz_table *table, struct rnd *rnd,
                    uint32_t *now)
{
  unsigned number = atomic_load(&ledger->begun);
  unsigned at = ledger->first_change[number];
  unsigned count = rnd_below(rnd, 4) ? 1 + rnd_below(rnd, 3) : 1 + rnd_below(rnd, CHANGES_MAX);
  struct change *changes = ledger->changes + at;
  if (number == TXNS_MAX || at + count > TXNS_MAX * 8)
    return false;
  for (unsigned i = 0; i < count; i++)
  {
    do
      changes[i].key = rnd_below(rnd, KEYS);
    while (in_txn(changes, i, changes[i].key));
    bool there = now[changes[i].key] != 0;
    changes[i].version = there && rnd_below(rnd, 3) == 0 ? 0 : ++ledger->next_version;
    /* Now and then the row is changed more than once on the way. */
    if (rnd_below(rnd, 8) == 0)
    {
      change_one(txn, table, (struct change){changes[i].key, ++ledger->next_version}, there);
      change_one(txn, table, changes[i], true);
    }
    else
      change_one(txn, table, changes[i], there);
  }
  if (rnd_below(rnd, 10) == 0)
  {
    blitz_txn_rollback(txn);
    return true;
  }
  ledger->first_change[number + 1] = at + count;
  atomic_store(&ledger->begun, number + 1);
  require_ok(blitz_txn_commit(txn, ERR));
  atomic_store(&ledger->committed, number + 1);
  for (unsigned i = 0; i < count; i++)
    now[changes[i].key] = changes[i].version;
  return true;
}

static void some_row_ids(struct blitz_txn *txn, struct blitz_table *table, struct rnd *rnd)
{
  uint64_t id;
  for (unsigned i = rnd_below(rnd, 6); i > 0; i--)
  {
    require_ok(blitz_insert_row_id(txn, table, text("a row"), &id, ERR));
    if (id <= atomic_load(&ledger->last_row_id))
      atomic_store(&ledger->row_id_twice, 1);
    atomic_store(&ledger->last_row_id, id);
  }
  if (rnd_below(rnd, 3) == 0)
    blitz_txn_rollback(txn);
  else
    require_ok(blitz_txn_commit(txn, ERR));
}

static void load_or_empty(struct blitz_txn *txn, struct blitz_table *table, struct rnd *rnd)
{
  uint32_t number = atomic_load(&ledger->load_committed) + 1;
  char value[300];
  atomic_store(&ledger->load_begun, number);
  if (number % 2)
    require_ok(blitz_txn_expect_rows(txn, table, rnd_below(rnd, 2) ? LOAD_ROWS : 0, false, ERR));
  for (uint32_t n = 0; n < LOAD_ROWS; n++)
  {
    size_t len = 16 + (n * 7 + number) % 280;
    row_fill(value, len, n, number);
    require_ok(number % 2 ? blitz_insert(txn, table, number_key(n), bytes(value, len), ERR)
                          : blitz_remove(txn, table, number_key(n), ERR));
  }
  require_ok(blitz_txn_commit(txn, ERR));
  atomic_store(&ledger->load_committed, number);
}

_Noreturn static void child(uint64_t seed)
{
  struct rnd rnd = {seed};
  struct blitz_table *table, *ids, *loads;
  struct blitz_txn *txn;
  uint32_t now[KEYS];
  memcpy(now, model, sizeof now);
  catch_log();
  require_ok(blitz_table_open(path_of("killed"), 0, &table, ERR));
  require_ok(blitz_table_open(path_of("ids"), 0, &ids, ERR));
  require_ok(blitz_table_open(path_of("loads"), 0, &loads, ERR));
  require_ok(blitz_txn_create(&txn));
  atomic_store(&ledger->ready, 1);
  for (;;)
  {
    if (!one_txn(txn, table, &rnd, now))
      pause();
    if (rnd_below(&rnd, 4) == 0)
      some_row_ids(txn, ids, &rnd);
    if (rnd_below(&rnd, 60) == 0)
      load_or_empty(txn, loads, &rnd);
    if (rnd_below(&rnd, 300) == 0)
    {
      blitz_table_close(table);
      require_ok(blitz_table_open(path_of("killed"), 0, &table, ERR));
    }
  }
}

/* A child that does no more than open the tables and close them. */
_Noreturn static void opener(void)
{
  struct blitz_table *table, *ids, *loads;
  catch_log();
  require_ok(blitz_table_open(path_of("killed"), 0, &table, ERR));
  require_ok(blitz_table_open(path_of("ids"), 0, &ids, ERR));
  require_ok(blitz_table_open(path_of("loads"), 0, &loads, ERR));
  atomic_store(&ledger->ready, 1);
  blitz_table_close(loads);
  blitz_table_close(ids);
  blitz_table_close(table);
  _exit(0);
}

/* ---- the parent ---- */

static void apply(unsigned txn)
{
  for (unsigned i = ledger->first_change[txn]; i < ledger->first_change[txn + 1]; i++)
    model[ledger->changes[i].key] = ledger->changes[i].version;
}

/* Makes MODEL what the file must hold, the commit in flight by looking at it. */
static void settle_model(const uint32_t *found)
{
  unsigned begun = atomic_load(&ledger->begun), committed = atomic_load(&ledger->committed);
  for (unsigned txn = 0; txn < committed; txn++)
    apply(txn);
  if (begun > committed)
  {
    const struct change *first = ledger->changes + ledger->first_change[committed];
    if (found[first->key] == first->version)
      apply(committed);
  }
}

static void compare(struct blitz_table *table, const char *when)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  static uint32_t found[KEYS];
  enum blitz_rc rc;
  uint64_t rows = 0;
  memset(found, 0, sizeof found);
  assert_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
  {
    struct blitz_slice key = blitz_cursor_key(cursor);
    uint64_t n = 0, version;
    assert_int_equal(key.len, 8);
    for (int i = 0; i < 8; i++)
      n = n << 8 | ((const unsigned char *)key.data)[i];
    assert_true(n < KEYS);
    assert_true(row_proves(value, n, &version));
    if (found[n] != 0)
      fail_msg("%s: row %d is there twice", when, (int)n);
    found[n] = (uint32_t)version;
    rows++;
  }
  assert_rc(BLITZ_END, rc);
  blitz_scan_end(cursor);
  assert_int_equal(row_count(table), rows);
  settle_model(found);
  for (uint32_t n = 0; n < KEYS; n++)
  {
    uint64_t version = 0;
    if (found[n] != model[n])
      fail_msg("%s: row %u has version %u, not %u", when, n, found[n], model[n]);
    rc = blitz_get(cursor, number_key(n), &value, ERR);
    assert_rc(model[n] ? BLITZ_OK : BLITZ_NOT_FOUND, rc);
    assert_true(rc != BLITZ_OK || (row_proves(value, n, &version) && version == model[n] &&
                                   value.len == len_of(n, model[n])));
  }
  blitz_cursor_close(cursor);
}

static void scan_row_ids(void)
{
  struct blitz_table *ids = open_table("ids");
  struct blitz_cursor *cursor = new_cursor(ids, NULL);
  struct blitz_slice value;
  uint64_t rows = 0;
  enum blitz_rc rc;
  assert_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
    rows++;
  assert_rc(BLITZ_END, rc);
  assert_int_equal(rows, row_count(ids));
  blitz_cursor_close(cursor);
  blitz_table_close(ids);
}

static void compare_loads(void)
{
  uint32_t begun = atomic_load(&ledger->load_begun);
  uint32_t committed = atomic_load(&ledger->load_committed);
  struct blitz_table *loads = open_table("loads");
  uint64_t rows = row_count(loads);
  uint32_t number = committed;
  /* Which of the two numbers it has is known by the rows: one is odd. */
  if (begun != committed && (rows != 0) == (begun % 2 != 0))
    number = begun;
  if (number % 2)
    assert_rows(loads, 0, LOAD_ROWS, number);
  else
    assert_rows(loads, 0, 0, 0);
  blitz_table_close(loads);
  atomic_store(&ledger->load_begun, number);
  atomic_store(&ledger->load_committed, number);
}

static void kills_lose_nothing(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  unsigned rounds = run_rounds(60);
  uint64_t commits = 0, recoveries = 0;
  size_t ledger_len = sizeof *ledger;
  ledger = mmap(NULL, ledger_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(ledger != MAP_FAILED);
  catch_log();
  blitz_table_close(new_table("killed"));
  blitz_table_close(new_row_id_table("ids"));
  blitz_table_close(new_table("loads"));

  for (unsigned round = 0; round < rounds; round++)
  {
    struct blitz_counters before, after;
    atomic_store(&ledger->begun, 0);
    atomic_store(&ledger->committed, 0);
    atomic_store(&ledger->ready, 0);
    uint64_t seed = rnd_next(&rnd);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
      child(seed);
    while (!atomic_load(&ledger->ready) && waitpid(pid, NULL, WNOHANG) == 0)
      usleep(100);
    assert_true(atomic_load(&ledger->ready));
    kill_after(pid, rnd_below(&rnd, rnd_below(&rnd, 3) ? 20000 : 100000));
    commits += atomic_load(&ledger->committed);

    /* The repair is killed as well, more than once now and then. */
    while (rnd_below(&rnd, 2))
    {
      pid = fork();
      assert_true(pid >= 0);
      if (pid == 0)
        opener();
      kill_after(pid, rnd_below(&rnd, 1500));
    }
    blitz_counters_get(&before);
    struct blitz_table *table = open_table("killed");
    blitz_counters_get(&after);
    recoveries += after.recoveries - before.recoveries;
    char when[40];
    snprintf(when, sizeof when, "round %u", round);
    compare(table, when);
    blitz_table_close(table);
    scan_row_ids();
    compare_loads();
    if (strstr(log_text(), "damaged"))
      fail_msg("%s: %s", when, log_text());
    catch_log();
    assert_int_equal(atomic_load(&ledger->row_id_twice), 0);
    /* The file that was repaired, closed and opened again is the same. */
    atomic_store(&ledger->begun, 0);
    atomic_store(&ledger->committed, 0);
    table = open_table("killed");
    compare(table, "opened again");
    blitz_table_close(table);
  }
  print_message("# %u kills, %llu commits, %llu repairs\n", rounds, (unsigned long long)commits,
                (unsigned long long)recoveries);
  assert_true(commits > rounds);
  assert_true(recoveries > 0); /* else nothing was tested */
  munmap(ledger, ledger_len);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(kills_lose_nothing),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
