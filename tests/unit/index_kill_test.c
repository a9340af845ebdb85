/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_kill_test.c: a child process changes a table with indexes, adds, drops, disables
 * and enables them, and is killed at a random moment, also while the table is repaired or
 * its indexes are made anew. Then:
 *  1. every commit that the child was told of is there, and the one it was in wholly or
 *     not at all;
 *  2. the indexes agree with the rows, whether they were believed or made anew;
 *  3. they are seldom made anew.
 *
 * Parent and child share a ledger, as in kill_test.c.
 */
#define _GNU_SOURCE
#include "support/indexed.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum
{
  KEYS = 500,
  CHANGES_MAX = 400, /* in one transaction */
  LEDGER_MAX = 1 << 20,
  FOURTH = 3 /* number of the index that comes and goes */
};

struct change
{
  uint32_t n;
  uint64_t version; /* 0: removed */
};

struct ledger
{
  atomic_uint begun, committed; /* changes before the last commit begun, or acknowledged */
  atomic_uint txns;
  atomic_uint ready;
  uint32_t next_version;
  struct change changes[LEDGER_MAX];
};

static struct ledger *ledger;
static uint64_t model[KEYS]; /* versions; 0: no row */
static const char name[] = "killed";

/* ---- indexes ---- */

/* The fourth one: the version. */
static enum blitz_rc make_any(void *arg, unsigned index_no, struct blitz_slice value,
                              struct blitz_index_entry *entry, struct blitz_error *err)
{
  enum blitz_rc rc;
  if (arg == NULL && index_no != FOURTH)
    return indexed_indexer.make_entry(arg, index_no, value, entry, err);
  rc = indexed_indexer.make_entry(NULL, 2, value, entry, err);
  entry->key = entry->payload;
  entry->payload = bytes(NULL, 0);
  return rc;
}

static const struct blitz_indexer indexer = {.make_entry = make_any};
static const struct blitz_indexer adder = {.make_entry = make_any, .arg = &ledger};
static const struct blitz_indexes all = {.count = 4, .ids = {101, 102, 103, 104}};
static const struct blitz_indexes fourth = {.count = 1, .ids = {104}};

static struct blitz_table *open_killed(bool with_fourth)
{
  struct blitz_table *table;
  require_ok(open_with_indexes(name, with_fourth ? &all : &indexed_ids, &indexer, &table, ERR));
  return table;
}

/* ---- the child ---- */

static size_t some_len(struct rnd *rnd)
{
  return 16 + rnd_below(rnd, rnd_below(rnd, 20) ? 300 : 9000);
}

static void change_one(struct blitz_txn *txn, struct blitz_table *table, struct rnd *rnd,
                       uint32_t n, uint64_t *now)
{
  uint64_t generation = rnd_below(rnd, 1000), version = ++ledger->next_version;
  bool new_keys = now[n] == 0 || rnd_below(rnd, 2);
  version |= new_keys ? generation << 32 : now[n] >> 32 << 32;
  if (now[n] == 0)
    require_ok(indexed_insert(txn, table, n, version, some_len(rnd)));
  else if (rnd_below(rnd, 3) > 0)
    require_ok(indexed_update(txn, table, n, version, some_len(rnd)));
  else
  {
    require_ok(blitz_remove(txn, table, number_key(n), ERR));
    version = 0;
  }
  now[n] = version;
}

/* Commits, or rolls back; NOW is the child's model, WAS what it was before. */
static void end_txn(struct blitz_txn *txn, struct rnd *rnd, uint64_t *now, uint64_t *was)
{
  unsigned at = atomic_load(&ledger->begun);
  if (rnd_below(rnd, 10) == 0)
  {
    blitz_txn_rollback(txn);
    memcpy(now, was, KEYS * sizeof *now);
    return;
  }
  if (at + KEYS > LEDGER_MAX)
    for (;;)
      pause();
  for (uint32_t n = 0; n < KEYS; n++)
    if (now[n] != was[n])
      ledger->changes[at++] = (struct change){n, now[n]};
  atomic_store(&ledger->begun, at);
  require_ok(blitz_txn_commit(txn, ERR));
  atomic_store(&ledger->committed, at);
  atomic_fetch_add(&ledger->txns, 1);
  memcpy(was, now, KEYS * sizeof *now);
}

/* All rows go, and others are loaded. */
static void load(struct blitz_txn *txn, struct blitz_table *table, struct rnd *rnd, uint64_t *now,
                 uint64_t *was)
{
  for (uint32_t n = 0; n < KEYS; n++)
    if (now[n] != 0)
      require_ok(blitz_remove(txn, table, number_key(n), ERR)), now[n] = 0;
  end_txn(txn, rnd, now, was);
  if (rnd_below(rnd, 4) > 0)
    require_ok(blitz_txn_expect_rows(txn, table, KEYS, rnd_below(rnd, 2), ERR));
  for (uint32_t n = 0; n < KEYS; n++)
    if (now[n] == 0)
      change_one(txn, table, rnd, n, now);
  require_ok(blitz_txn_finish_load(txn, table, NULL, NULL, ERR));
  end_txn(txn, rnd, now, was);
}

/* Index 0, whose entries are not unique, and the fourth one come and go. */
static struct blitz_table *change_indexes(struct blitz_table *table, struct rnd *rnd, bool *has)
{
  switch (rnd_below(rnd, 5))
  {
  case 0: require_ok(blitz_table_disable_indexes(table, 1, ERR)); return table;
  case 1: require_ok(blitz_table_enable_indexes(table, &indexer, ERR)); return table;
  case 2: require_ok(blitz_table_rebuild_indexes(table, &indexer, ERR)); return table;
  default: break;
  }
  if (!*has)
    require_ok(blitz_table_add_indexes(table, &fourth, &adder, NULL, ERR));
  else if (rnd_below(rnd, 2))
    require_ok(blitz_table_drop_indexes(table, &fourth, ERR));
  *has = !*has;
  blitz_table_close(table);
  return open_killed(*has);
}

_Noreturn static void child(uint64_t seed)
{
  struct rnd rnd = {seed};
  struct blitz_txn *txn;
  bool has_fourth = rnd_below(&rnd, 2);
  struct blitz_table *table;
  static uint64_t now[KEYS], was[KEYS];
  memcpy(now, model, sizeof now);
  memcpy(was, model, sizeof was);
  catch_log();
  indexed_maker = &indexer;
  table = open_killed(has_fourth);
  require_ok(blitz_txn_create(&txn));
  blitz_txn_set_indexer(txn, &indexer);
  atomic_store(&ledger->ready, 1);
  for (;;)
  {
    unsigned what = rnd_below(&rnd, 200);
    if (what == 0)
      load(txn, table, &rnd, now, was);
    else if (what < 3)
      table = change_indexes(table, &rnd, &has_fourth);
    else if (what == 3)
    {
      blitz_table_close(table);
      table = open_killed(has_fourth);
    }
    else
    {
      for (unsigned i = 1 + rnd_below(&rnd, what < 20 ? CHANGES_MAX : 3); i > 0; i--)
        change_one(txn, table, &rnd, rnd_below(&rnd, KEYS), now);
      end_txn(txn, &rnd, now, was);
    }
  }
}

/* A child that does no more than open the table, perhaps with other indexes, and close it. */
_Noreturn static void opener(bool with_fourth)
{
  catch_log();
  blitz_table_close(open_killed(with_fourth));
  _exit(0);
}

/* ---- the parent ---- */

static void apply(unsigned from, unsigned to)
{
  for (; from < to; from++)
    model[ledger->changes[from].n] = ledger->changes[from].version;
}

/* Makes MODEL what the file must hold, the commit in flight by looking at it. */
static void settle_model(struct blitz_table *table)
{
  unsigned begun = atomic_load(&ledger->begun), committed = atomic_load(&ledger->committed);
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  uint64_t version;
  apply(0, committed);
  if (begun > committed)
  {
    const struct change *change = &ledger->changes[committed];
    enum blitz_rc rc = blitz_get(cursor, number_key(change->n), &value, ERR);
    if (rc == BLITZ_NOT_FOUND
            ? change->version == 0
            : row_proves(value, change->n, &version) && version == change->version)
      apply(committed, begun);
  }
  blitz_cursor_close(cursor);
  atomic_store(&ledger->begun, 0);
  atomic_store(&ledger->committed, 0);
}

static void compare(struct blitz_table *table, unsigned round)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  uint64_t rows = 0, version = 0;
  for (uint32_t n = 0; n < KEYS; n++)
  {
    enum blitz_rc rc = blitz_get(cursor, number_key(n), &value, ERR);
    bool right = model[n] == 0
                     ? rc == BLITZ_NOT_FOUND
                     : rc == BLITZ_OK && row_proves(value, n, &version) && version == model[n];
    if (!right)
      fail_msg("round %u: row %u has version %llx, not %llx; %s %s", round, n,
               (unsigned long long)(rc == BLITZ_OK ? version : 0), (unsigned long long)model[n],
               blitz_rc_name(rc), rc == BLITZ_OK ? "" : last_error.text);
    rows += model[n] != 0;
  }
  blitz_cursor_close(cursor);
  assert_int_equal(row_count(table), rows);
  if (blitz_table_check_indexes(table, &indexer, ERR) != BLITZ_OK)
    fail_msg("round %u: %s", round, last_error.text);
  assert_indexes_right(table);
}

static void kill_a_child(struct rnd *rnd)
{
  uint64_t seed = rnd_next(rnd);
  pid_t pid;
  atomic_store(&ledger->ready, 0);
  pid = fork();
  assert_true(pid >= 0);
  if (pid == 0)
    child(seed);
  while (!atomic_load(&ledger->ready) && waitpid(pid, NULL, WNOHANG) == 0)
    usleep(100);
  assert_true(atomic_load(&ledger->ready));
  kill_after(pid, rnd_below(rnd, rnd_below(rnd, 3) ? 20000 : 100000));
  /* What repairs it is killed as well, more than once now and then. */
  while (rnd_below(rnd, 2))
  {
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
      opener(seed & 1);
    kill_after(pid, rnd_below(rnd, 4000));
  }
}

static void kills_leave_right_indexes(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  unsigned rounds = run_rounds(60), anew = 0;
  uint64_t txns;
  ledger = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(ledger != MAP_FAILED);
  catch_log();
  blitz_table_close(new_indexed_table(name));
  for (unsigned round = 0; round < rounds; round++)
  {
    struct blitz_table *table;
    kill_a_child(&rnd);
    catch_log();
    table = open_killed(false);
    if (strstr(log_text(), "anew"))
      anew++;
    settle_model(table);
    compare(table, round);
    if (strstr(log_text(), "rows were damaged"))
      fail_msg("round %u: %s", round, log_text());
    if (rnd_below(&rnd, 2))
      blitz_table_close(table), table = open_killed(false);
    compare(table, round);
    blitz_table_close(table);
    assert_true(file_len(index_file_of(name)) < 64 << 20);
  }
  txns = atomic_load(&ledger->txns);
  print_message("# %u kills, %llu commits, indexes made anew %u times\n", rounds,
                (unsigned long long)txns, anew);
  assert_true(txns > rounds);
  /* One whose opening was killed is not opened again. */
  assert_true(anew < 2 + rounds * 3 / 4);
  munmap(ledger, sizeof *ledger);
}

/* The file as a kill would leave it now. */
static struct blitz_table *open_as_killed(const char *of, const char *as)
{
  copy_file(file_of(of), file_of(as));
  if (access(index_file_of(of), F_OK) == 0)
  {
    char from[4200];
    snprintf(from, sizeof from, "%s", index_file_of(of));
    copy_file(from, index_file_of(as));
  }
  return open_indexed_table(as);
}

static void rows_of_a_load_that_was_undone_stay_away(void **state)
{
  (void)state;
  catch_log();
  for (unsigned with_reader = 0; with_reader < 2; with_reader++)
  {
    struct blitz_table *table = new_indexed_table("undone"), *killed;
    struct blitz_txn *txn = new_indexed_txn();
    struct blitz_cursor *cursor = new_cursor(table, NULL);
    if (with_reader)
      assert_ok(blitz_scan_begin(cursor));
    assert_ok(blitz_txn_expect_rows(txn, table, 0, false, ERR));
    for (uint64_t n = 0; n < 300; n++)
      assert_ok(indexed_insert(txn, table, n, 1, 100));
    blitz_txn_rollback(txn);
    /* Its commit has the number that the load would have had. */
    assert_ok(indexed_insert(txn, table, 1000, 1, 100));
    require_ok(blitz_txn_commit(txn, ERR));
    killed = open_as_killed("undone", "undone2");
    assert_int_equal(row_count(killed), 1);
    assert_indexes_right(killed);
    blitz_table_close(killed);
    blitz_cursor_close(cursor);
    blitz_txn_free(txn);
    blitz_table_close(table);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_of_a_load_that_was_undone_stay_away),
      cmocka_unit_test(kills_leave_right_indexes),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
