/* SPDX-License-Identifier: GPL-2.0-only
 *
 * durable_kill_test.c: a child process starts the engine with a small log and little memory, so
 * that it writes checkpoints all the time, and several threads change logged tables: two of them
 * together, one with indexes and one that is crash-safe; one that is loaded and emptied; one that
 * is opened and closed again and again. The child is killed at a random moment, also while it
 * starts or stops the engine. Then:
 *  1. every commit that a thread was told of is there, and the one it was in wholly or not at
 *     all, over both tables;
 *  2. nothing else is there, and the row counts are right;
 *  3. the indexes agree with the rows, and are seldom made anew;
 *  4. the log calls nothing damaged.
 *
 * Parent and child share a ledger, in which each thread has a part of its own, as each has keys
 * of its own.
 */
#define _GNU_SOURCE
#include "support/indexed.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum
{
  PAIRED = 3, /* threads that change the first two tables */
  WORKERS,    /* and one that opens and closes the third */
  TABLES = 3,
  KEYS = 150, /* of one thread, in each table */
  CHANGES_MAX = 100000,
  LOG_LIMIT = 1 << 20,
  MEMORY = 1 << 20,
  LOAD_ROWS = 1500,
  LARGE_LEN = 50000, /* so many of that length are not logged */
  HANG_SECONDS = 120
};

struct change
{
  uint32_t table, key;
  uint64_t version; /* 0: removed */
};

struct part
{
  atomic_uint begun, committed; /* changes before the last commit begun, or acknowledged */
  struct change changes[CHANGES_MAX];
};

struct ledger
{
  struct part parts[WORKERS];
  atomic_uint load_begun, load_committed; /* odd: the rows of that version, even: none */
  atomic_uint ready, quit;
  atomic_uint txns, checkpoints;
};

static struct ledger *ledger;
static uint64_t model[WORKERS][TABLES][KEYS]; /* versions; 0: no row */
static uint32_t next_version;

static const char *const names[TABLES] = {"indexed", "safe", "opened"};

static void start(void)
{
  char dir[4200];
  struct blitz_start_options options = {.dir = dir, .log_limit = LOG_LIMIT, .memory = MEMORY};
  snprintf(dir, sizeof dir, "%s", path_of("log"));
  require_ok(blitz_start(&options, ERR));
}

static struct blitz_table *open_one(unsigned table)
{
  struct blitz_open_options options = {.indexer = &indexed_indexer};
  struct blitz_table *opened;
  if (table != 1)
    options.indexes = &indexed_ids;
  else
    options.flags = BLITZ_OPEN_CRASH_SAFE;
  require_ok(blitz_table_open_with(path_of(names[table]), &options, &opened, ERR));
  return opened;
}

static uint64_t number_of(unsigned worker, uint32_t key)
{
  return worker * KEYS + key;
}

/* ---- the child ---- */

struct worker
{
  pthread_t thread;
  unsigned number;
  struct rnd rnd;
  struct blitz_txn *txn;
  struct blitz_table **tables;
  uint32_t version;
  uint64_t now[TABLES][KEYS], was[TABLES][KEYS]; /* with what is not committed, and without */
};

static struct blitz_table *shared[TABLES];

static bool goes_on(void)
{
  return atomic_load(&ledger->quit) == 0;
}

static size_t some_len(struct rnd *rnd)
{
  return 16 + rnd_below(rnd, rnd_below(rnd, 20) ? 300 : 9000);
}

static void change_one(struct worker *worker, unsigned table)
{
  uint32_t key = rnd_below(&worker->rnd, KEYS);
  uint64_t *now = &worker->now[table][key], n = number_of(worker->number, key);
  uint64_t version = indexed_version(rnd_below(&worker->rnd, 1000), ++worker->version);
  struct blitz_table *to = worker->tables[table];
  if (*now == 0)
    require_ok(indexed_insert(worker->txn, to, n, version, some_len(&worker->rnd)));
  else if (rnd_below(&worker->rnd, 3) > 0)
    require_ok(indexed_update(worker->txn, to, n, version, some_len(&worker->rnd)));
  else
  {
    require_ok(blitz_remove(worker->txn, to, number_key(n), ERR));
    version = 0;
  }
  *now = version;
}

static void end_txn(struct worker *worker)
{
  struct part *part = &ledger->parts[worker->number];
  unsigned at = atomic_load(&part->begun);
  if (rnd_below(&worker->rnd, 10) == 0)
  {
    blitz_txn_rollback(worker->txn);
    memcpy(worker->now, worker->was, sizeof worker->now);
    return;
  }
  if (at + TABLES * KEYS > CHANGES_MAX)
    for (;;)
      pause();
  for (unsigned table = 0; table < TABLES; table++)
    for (uint32_t key = 0; key < KEYS; key++)
      if (worker->now[table][key] != worker->was[table][key])
        part->changes[at++] = (struct change){table, key, worker->now[table][key]};
  atomic_store(&part->begun, at);
  require_ok(blitz_txn_commit(worker->txn, ERR));
  atomic_store(&part->committed, at);
  atomic_fetch_add(&ledger->txns, 1);
  memcpy(worker->was, worker->now, sizeof worker->was);
}

static unsigned change_count(struct rnd *rnd)
{
  return 1 + rnd_below(rnd, rnd_below(rnd, 10) == 0 ? KEYS : 4);
}

/* Changes of one table or of both, in this order, so that no two wait for each other. */
static void *change_pair(void *arg)
{
  struct worker *worker = arg;
  while (goes_on())
  {
    unsigned which = 1 + rnd_below(&worker->rnd, 3);
    for (unsigned table = 0; table < 2; table++)
      for (unsigned i = which >> table & 1 ? change_count(&worker->rnd) : 0; i > 0; i--)
        change_one(worker, table);
    end_txn(worker);
  }
  return NULL;
}

static void *open_and_close(void *arg)
{
  struct worker *worker = arg;
  while (goes_on())
  {
    shared[2] = open_one(2);
    for (unsigned txns = rnd_below(&worker->rnd, 20); txns > 0 && goes_on(); txns--)
    {
      for (unsigned i = change_count(&worker->rnd); i > 0; i--)
        change_one(worker, 2);
      end_txn(worker);
    }
    blitz_table_close(shared[2]);
  }
  return NULL;
}

static void load(struct blitz_txn *txn, struct blitz_table *table, uint32_t number, size_t len)
{
  static char value[LARGE_LEN];
  require_ok(blitz_txn_expect_rows(txn, table, number % 4 == 1 ? LOAD_ROWS : 0, false, ERR));
  for (uint64_t n = 0; n < LOAD_ROWS; n++)
  {
    row_fill(value, len, n, number);
    require_ok(blitz_insert(txn, table, number_key(n), bytes(value, len), ERR));
  }
}

static bool is_not_stopped(void *arg)
{
  (void)arg;
  return true;
}

static void *load_and_empty(void *arg)
{
  struct worker *worker = arg;
  struct blitz_table *table;
  require_ok(blitz_table_open(path_of("loaded"), 0, &table, ERR));
  while (goes_on())
  {
    uint32_t number = atomic_load(&ledger->load_committed) + 1;
    if (number % 2)
      load(worker->txn, table, number, rnd_below(&worker->rnd, 40) == 0 ? LARGE_LEN : 200);
    else
      require_ok(blitz_remove_all(worker->txn, table, is_not_stopped, NULL, ERR));
    atomic_store(&ledger->load_begun, number);
    require_ok(blitz_txn_commit(worker->txn, ERR));
    atomic_store(&ledger->load_committed, number);
  }
  blitz_table_close(table);
  return NULL;
}

static void begin_worker(struct worker *worker, unsigned number, struct rnd *rnd)
{
  *worker = (struct worker){.number = number, .rnd = {rnd_next(rnd)}, .tables = shared};
  worker->version = next_version;
  require_ok(blitz_txn_create(&worker->txn));
  blitz_txn_set_indexer(worker->txn, &indexed_indexer);
  if (number < WORKERS)
    memcpy(worker->now, model[number], sizeof worker->now);
  memcpy(worker->was, worker->now, sizeof worker->was);
  require(pthread_create(&worker->thread, NULL,
                         number < PAIRED    ? change_pair
                         : number < WORKERS ? open_and_close
                                            : load_and_empty,
                         worker) == 0);
}

static void note_checkpoints(void)
{
  struct blitz_counters counters;
  blitz_counters_get(&counters);
  atomic_store(&ledger->checkpoints, (unsigned)counters.checkpoints);
}

_Noreturn static void child(uint64_t seed)
{
  static struct worker workers[WORKERS + 1];
  struct rnd rnd = {seed};
  alarm(HANG_SECONDS);
  signal(SIGSEGV, SIG_DFL);
  catch_log();
  start();
  shared[0] = open_one(0);
  shared[1] = open_one(1);
  for (unsigned i = 0; i < WORKERS + 1; i++)
    begin_worker(&workers[i], i, &rnd);
  atomic_store(&ledger->ready, 1);
  for (; goes_on(); usleep(1000))
    note_checkpoints();
  for (unsigned i = 0; i < WORKERS + 1; i++)
  {
    pthread_join(workers[i].thread, NULL);
    blitz_txn_free(workers[i].txn);
  }
  blitz_table_close(shared[0]);
  blitz_table_close(shared[1]);
  blitz_stop();
  _exit(0);
}

/* A child that does no more than start and stop. */
_Noreturn static void starter(bool opens)
{
  alarm(HANG_SECONDS);
  catch_log();
  start();
  for (unsigned i = 0; i < TABLES && opens; i++)
    blitz_table_close(open_one(i));
  blitz_stop();
  _exit(0);
}

/* ---- the parent ---- */

static void kill_a_child(struct rnd *rnd)
{
  uint64_t seed = rnd_next(rnd);
  pid_t pid;
  atomic_store(&ledger->ready, 0);
  atomic_store(&ledger->quit, 0);
  pid = fork();
  assert_true(pid >= 0);
  if (pid == 0)
    child(seed);
  while (!atomic_load(&ledger->ready) && waitpid(pid, NULL, WNOHANG) == 0)
    usleep(100);
  assert_true(atomic_load(&ledger->ready));
  if (rnd_below(rnd, 4) == 0)
  {
    usleep(rnd_below(rnd, 100000));
    atomic_store(&ledger->quit, 1);
  }
  kill_after(pid, rnd_below(rnd, rnd_below(rnd, 3) ? 100000 : 600000));
  /* What makes the commits again is killed as well, more than once now and then. */
  while (rnd_below(rnd, 3))
  {
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
      starter(seed & 1);
    kill_after(pid, rnd_below(rnd, 30000));
  }
}

static void apply(unsigned worker, unsigned from, unsigned to)
{
  for (; from < to; from++)
  {
    const struct change *change = &ledger->parts[worker].changes[from];
    model[worker][change->table][change->key] = change->version;
  }
}

/* Makes MODEL what must be there, the commits in flight by looking at the first row of each. */
static void settle_model(struct blitz_cursor **cursors)
{
  for (unsigned worker = 0; worker < WORKERS; worker++)
  {
    struct part *part = &ledger->parts[worker];
    unsigned begun = atomic_load(&part->begun), committed = atomic_load(&part->committed);
    const struct change *change = &part->changes[committed];
    apply(worker, 0, committed);
    if (begun > committed &&
        row_version(cursors[change->table], number_of(worker, change->key)) == change->version)
      apply(worker, committed, begun);
    for (unsigned i = 0; i < begun; i++)
      if ((uint32_t)part->changes[i].version > next_version)
        next_version = (uint32_t)part->changes[i].version;
    atomic_store(&part->begun, 0);
    atomic_store(&part->committed, 0);
  }
}

static void compare_table(struct blitz_table *opened, struct blitz_cursor *cursor, unsigned table,
                          unsigned round)
{
  uint64_t rows = 0;
  for (unsigned worker = 0; worker < WORKERS; worker++)
    for (uint32_t key = 0; key < KEYS; key++)
    {
      uint64_t found = row_version(cursor, number_of(worker, key));
      if (found != model[worker][table][key])
        fail_msg("round %u: row %u of thread %u in %s has version %llx, not %llx", round, key,
                 worker, names[table], (unsigned long long)found,
                 (unsigned long long)model[worker][table][key]);
      rows += found != 0;
    }
  assert_int_equal(row_count(opened), rows);
  if (table != 1 && blitz_table_check_indexes(opened, &indexed_indexer, ERR) != BLITZ_OK)
    fail_msg("round %u: %s", round, last_error.text);
}

static void compare(unsigned round)
{
  struct blitz_table *tables[TABLES];
  struct blitz_cursor *cursors[TABLES];
  for (unsigned i = 0; i < TABLES; i++)
  {
    tables[i] = open_one(i);
    cursors[i] = new_cursor(tables[i], NULL);
  }
  settle_model(cursors);
  for (unsigned i = 0; i < TABLES; i++)
  {
    compare_table(tables[i], cursors[i], i, round);
    blitz_cursor_close(cursors[i]);
    blitz_table_close(tables[i]);
  }
}

static void compare_load(void)
{
  uint32_t begun = atomic_load(&ledger->load_begun);
  uint32_t number = atomic_load(&ledger->load_committed);
  struct blitz_table *table = open_table("loaded");
  /* Which of the two it is the rows tell: one of the numbers is odd. */
  if (begun != number && (row_count(table) != 0) == (begun % 2 != 0))
    number = begun;
  if (number % 2)
    assert_rows(table, 0, LOAD_ROWS, number);
  else
    assert_rows(table, 0, 0, 0);
  blitz_table_close(table);
  atomic_store(&ledger->load_begun, number);
  atomic_store(&ledger->load_committed, number);
}

static void assert_log_is_quiet(unsigned round)
{
  static const char *const words[] = {"damaged", "cannot", "missing", "not here", "lack"};
  for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
    if (strstr(log_text(), words[i]))
      fail_msg("round %u: %s", round, log_text());
}

static void make_tables(void)
{
  struct blitz_create_options options = {0};
  assert_int_equal(mkdir(path_of("log"), 0700), 0);
  for (unsigned i = 0; i < TABLES; i++)
    assert_ok(blitz_table_create(path_of(names[i]), &options, false, ERR));
  assert_ok(blitz_table_create(path_of("loaded"), &options, false, ERR));
}

static void kills_lose_nothing(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  unsigned rounds = run_rounds(40), anew = 0, checkpoints = 0;
  struct blitz_counters before, after;
  ledger = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(ledger != MAP_FAILED);
  make_tables();
  blitz_counters_get(&before);
  for (unsigned round = 0; round < rounds; round++)
  {
    kill_a_child(&rnd);
    checkpoints += atomic_exchange(&ledger->checkpoints, 0);
    catch_log();
    start();
    compare(round);
    compare_load();
    if (rnd_below(&rnd, 2))
    {
      /* What the start has left is whole without what is in memory. */
      blitz_stop();
      start();
      compare(round);
    }
    blitz_stop();
    anew += strstr(log_text(), "anew") != NULL;
    assert_log_is_quiet(round);
  }
  blitz_counters_get(&after);
  print_message("# %u kills, %u commits, %u checkpoints, %llu tables brought to their last commit, "
                "indexes made anew %u times\n",
                rounds, atomic_load(&ledger->txns), checkpoints,
                (unsigned long long)(after.recoveries - before.recoveries), anew);
  assert_true(atomic_load(&ledger->txns) > rounds);
  assert_true(anew < 2 + rounds / 4);
  /* Else nothing was tested. */
  assert_true(checkpoints > rounds / 2 && after.recoveries > before.recoveries);
  munmap(ledger, sizeof *ledger);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(kills_lose_nothing),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
