/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_replay_test.c: entries of indexes that are in memory and in the log when the process dies.
 * A process is killed at any moment, also while checkpoints bring entries into the index file, and
 * the next one finds each commit's rows and entries: nothing is made anew from the rows, unless a
 * change that goes to the index file directly was under way. And an index file that is damaged
 * meanwhile, anywhere, is made anew, or an error at worst until it is closed and opened again.
 */
#include "support/indexed.h"
#include "table/table.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum
{
  ROWS = 300,
  CHANGES_MAX = 24,
  VALUE_LEN = 64
};

/* What the table has, in memory that outlives the process. */
struct model
{
  uint64_t versions[ROWS]; /* 0: no such row */
  unsigned changed;        /* by the commit that is under way */
  uint64_t numbers[CHANGES_MAX], to[CHANGES_MAX];
  bool direct;   /* it has gone to the index file */
  bool clearing; /* it removes all rows */
  uint64_t seed, last_version, commits, lives;
  uint64_t unverified; /* lives that began with an index file that was not looked over */
};

static struct model *model;
static bool direct_too; /* this life */
static bool background;

static bool is_ready_for(struct blitz_table *table)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  bool same = true;
  for (uint64_t n = 0; n < ROWS && same; n++)
    same = row_version(cursor, n) == model->versions[n];
  blitz_cursor_close(cursor);
  return same;
}

static void apply_changes(void)
{
  for (unsigned i = 0; i < model->changed; i++)
    model->versions[model->numbers[i]] = model->to[i];
  model->changed = 0;
}

/* The table is what the model says, without or with the commit that was under way. */
static void check_table(struct blitz_table *table)
{
  if (!is_ready_for(table))
  {
    if (model->clearing)
      memset(model->versions, 0, sizeof model->versions);
    else
      apply_changes();
    require(is_ready_for(table));
  }
  model->changed = 0;
  model->clearing = false;
  assert_indexes_right(table);
}

static uint64_t any_version(struct rnd *rnd)
{
  return indexed_version(1 + rnd_below(rnd, 5), (uint32_t)++model->last_version);
}

/* Adds a change of a row that has none yet in this transaction. */
static enum blitz_rc change_any(struct rnd *rnd, struct blitz_txn *txn, struct blitz_table *table)
{
  uint64_t n = rnd_below(rnd, ROWS), to = rnd_below(rnd, 3) ? any_version(rnd) : 0;
  enum blitz_rc rc;
  for (unsigned i = 0; i < model->changed; i++)
    if (model->numbers[i] == n)
      return BLITZ_OK;
  if (model->versions[n] == 0 && to == 0)
    return BLITZ_OK;
  if (to == 0)
    rc = blitz_remove(txn, table, number_key(n), ERR);
  else if (model->versions[n] == 0)
    rc = indexed_insert(txn, table, n, to, VALUE_LEN);
  else
    rc = indexed_update(txn, table, n, to, VALUE_LEN);
  if (rc != BLITZ_OK)
    return rc;
  model->numbers[model->changed] = n;
  model->to[model->changed] = to;
  model->changed++;
  return BLITZ_OK;
}

/* Equal rows of unique indexes undo the transaction. */
static void commit_any(struct rnd *rnd, struct blitz_table *table)
{
  struct blitz_txn *txn = new_indexed_txn();
  enum blitz_rc rc = BLITZ_OK;
  for (unsigned i = 1 + rnd_below(rnd, CHANGES_MAX - 1); i > 0 && rc == BLITZ_OK; i--)
    rc = change_any(rnd, txn, table);
  require(rc == BLITZ_OK || rc == BLITZ_DUPLICATE);
  if (rc == BLITZ_OK && rnd_below(rnd, 8) > 0)
  {
    require_ok(blitz_txn_commit(txn, ERR));
    apply_changes();
    model->commits++;
  }
  model->changed = 0;
  blitz_txn_rollback(txn);
  blitz_txn_free(txn);
}

static bool go_on(void *arg)
{
  (void)arg;
  return true;
}

static void remove_all(struct blitz_table *table)
{
  struct blitz_txn *txn = new_indexed_txn();
  model->clearing = true;
  require_ok(blitz_remove_all(txn, table, go_on, NULL, ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  memset(model->versions, 0, sizeof model->versions);
  model->clearing = false;
  blitz_txn_free(txn);
}

static void change_directly(struct rnd *rnd, struct blitz_table *table)
{
  model->direct = true;
  if (rnd_below(rnd, 2))
    remove_all(table);
  else
    require_ok(blitz_table_rebuild_indexes(table, &indexed_indexer, ERR));
  model->direct = false;
}

/* Commits come between the entries of a checkpoint and its rows. */
static struct rnd *between;
static struct blitz_table *between_of;

enum blitz_rc __real_bz_checkpoint(struct blitz_table *const *tables, size_t count,
                                   enum bz_journal_use use, bool complete, struct blitz_error *err);
enum blitz_rc __wrap_bz_checkpoint(struct blitz_table *const *tables, size_t count,
                                   enum bz_journal_use use, bool complete, struct blitz_error *err);
enum blitz_rc __wrap_bz_checkpoint(struct blitz_table *const *tables, size_t count,
                                   enum bz_journal_use use, bool complete, struct blitz_error *err)
{
  if (between != NULL)
    commit_any(between, between_of);
  return __real_bz_checkpoint(tables, count, use, complete, err);
}

static void checkpoint(struct rnd *rnd, struct blitz_table *table)
{
  between = rnd_below(rnd, 2) ? rnd : NULL;
  between_of = table;
  require_ok(blitz_checkpoint(ERR));
  between = NULL;
}

static void step(struct rnd *rnd, struct blitz_table **table)
{
  unsigned dice = rnd_below(rnd, 40);
  if (dice == 0)
    checkpoint(rnd, *table);
  else if (dice == 1 && direct_too)
    change_directly(rnd, *table);
  else if (dice == 2)
  {
    blitz_table_close(*table);
    *table = open_indexed_table("t");
  }
  else
    commit_any(rnd, *table);
}

static void start_engine(void)
{
  /* Nobody waits for checkpoints that nobody writes. */
  unsigned shift = background ? 0 : 8;
  struct blitz_start_options options = {.dir = test_dir(),
                                        .log_limit = (uint64_t)1 << (20 + shift),
                                        .memory = (uint64_t)256 << (10 + shift)};
  require_ok(bz_start(&options, background, ERR));
}

/* A process: finds all, and goes on until it is killed or has done enough. */
static void live(void)
{
  struct rnd rnd = {model->seed + model->lives};
  struct blitz_table *table;
  catch_log();
  start_engine();
  /* Nobody has opened it: the second checkpoint closes it. */
  for (unsigned i = rnd_below(&rnd, 4); i > 1; i--)
    require_ok(blitz_checkpoint(ERR));
  table = open_indexed_table("t");
  if (strstr(log_text(), "anew") != NULL && !model->direct)
  {
    fprintf(stderr, "%s\n", log_text());
    require(false);
  }
  model->direct = false;
  model->unverified += table->index->unverified;
  check_table(table);
  for (unsigned i = rnd_below(&rnd, 400); i > 0; i--)
    step(&rnd, &table);
  if (rnd_below(&rnd, 6) > 0)
    return;
  blitz_table_close(table);
  if (rnd_below(&rnd, 2) == 0)
    blitz_stop();
}

static void make_table(void)
{
  start_engine();
  blitz_table_close(new_indexed_table("t"));
  blitz_stop();
}

static void new_model(void)
{
  memset(model, 0, sizeof *model);
  model->seed = run_seed();
  in_killed_process(make_table);
}

/* Dies between two calls. */
static void what_is_committed_is_found(void **state)
{
  (void)state;
  new_model();
  background = false;
  for (unsigned round = run_rounds(24); round > 0; round--)
  {
    model->lives++;
    direct_too = round % 4 == 0;
    in_killed_process(live);
  }
  print_message("# %llu commits, %llu index files not looked over at open\n",
                (unsigned long long)model->commits, (unsigned long long)model->unverified);
  assert_true(model->unverified > 0);
}

/* Dies anywhere. */
static void a_kill_loses_nothing(void **state)
{
  struct rnd rnd;
  (void)state;
  new_model();
  rnd = (struct rnd){model->seed};
  background = true;
  for (unsigned round = run_rounds(24); round > 0; round--)
  {
    pid_t pid;
    model->lives++;
    direct_too = round % 4 == 0;
    pid = fork();
    require(pid >= 0);
    if (pid == 0)
    {
      live();
      _exit(0);
    }
    kill_after(pid, 1000 + rnd_below(&rnd, 400000));
  }
  print_message("# %llu commits\n", (unsigned long long)model->commits);
  background = false;
}

/* ---- one index ---- */

static void change_one_index(void)
{
  struct blitz_table *table;
  struct blitz_txn *txn;
  start_engine();
  table = new_indexed_table("one");
  put_indexed_rows(table, 0, ROWS, indexed_version(1, 1), VALUE_LEN);
  assert_ok(blitz_table_disable_indexes(table, 1, ERR));
  require_ok(blitz_checkpoint(ERR));
  txn = new_indexed_txn();
  require_ok(indexed_update(txn, table, 7, indexed_version(1, 2), VALUE_LEN));
  require_ok(blitz_txn_commit(txn, ERR));
}

static void close_what_is_left(void)
{
  start_engine();
  require_ok(blitz_checkpoint(ERR));
  require_ok(blitz_checkpoint(ERR));
}

/* What closes the table knows of one index alone. */
static void other_indexes_stay_as_they_are(void **state)
{
  (void)state;
  struct blitz_table *table;
  in_killed_process(change_one_index);
  in_killed_process(close_what_is_left);
  catch_log();
  start_engine();
  table = open_indexed_table("one");
  assert_null(strstr(log_text(), "anew"));
  assert_int_equal(blitz_table_disabled_indexes(table), 1);
  assert_ok(blitz_table_check_indexes(table, &indexed_indexer, ERR));
  blitz_table_close(table);
  blitz_stop();
}

/* ---- damage ---- */

static struct rnd damage_rnd;

static void change_byte(const char *name)
{
  size_t len, at, run = 1 + rnd_below(&damage_rnd, 2) * rnd_below(&damage_rnd, 4096);
  char *whole = read_whole(name, &len);
  at = rnd_below(&damage_rnd, (uint32_t)len);
  for (size_t i = 0; i < run && at + i < len; i++)
    whole[at + i] = (char)(run == 1 ? whole[at] ^ (1 << rnd_below(&damage_rnd, 8))
                                    : (int)rnd_below(&damage_rnd, 256));
  write_whole(name, whole, len);
  free(whole);
}

/* Reads all indexes, which may be damaged, both ways, but not for ever. */
static void read_indexes(struct blitz_table *table)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  for (unsigned i = 0; i < 2 * INDEXED_COUNT; i++)
  {
    bool forward = i % 2 == 0;
    unsigned steps = 0;
    enum blitz_rc rc = blitz_index_begin(cursor, i / 2, ERR);
    if (rc == BLITZ_OK)
      rc = blitz_index_seek(cursor, text(""), forward ? BLITZ_SEEK_FIRST : BLITZ_SEEK_LAST, ERR);
    for (; rc == BLITZ_OK && steps < 100 * ROWS; steps++)
    {
      rc = blitz_index_row(cursor, &value, ERR);
      if (rc == BLITZ_OK)
        rc = blitz_index_step(cursor, forward, ERR);
    }
    if (rc != BLITZ_END && rc != BLITZ_CORRUPT)
      fprintf(stderr, "index %u: %d after %u steps\n", i, rc, steps);
    require(rc == BLITZ_END || rc == BLITZ_CORRUPT);
    blitz_index_end(cursor);
  }
  blitz_cursor_close(cursor);
}

/* Uses what may be damaged: answers, errors, but it lives. */
static void live_with_damage(void)
{
  struct blitz_table *table;
  struct blitz_txn *txn;
  enum blitz_rc rc;
  catch_log();
  start_engine();
  table = open_indexed_table("t");
  read_indexes(table);
  txn = new_indexed_txn();
  rc = indexed_update(txn, table, 1, any_version(&damage_rnd), VALUE_LEN);
  if (rc == BLITZ_OK)
    rc = blitz_txn_commit(txn, ERR);
  require(rc == BLITZ_OK || rc == BLITZ_CORRUPT || rc == BLITZ_DUPLICATE || rc == BLITZ_NOT_FOUND);
  blitz_txn_rollback(txn);
  blitz_txn_free(txn);
  require_ok(blitz_checkpoint(ERR)); /* others are not to suffer from it */
  read_indexes(table);
  blitz_table_close(table);
  table = open_indexed_table("t");
  assert_indexes_right(table);
}

static void damaged_files_are_survived(void **state)
{
  (void)state;
  new_model();
  damage_rnd = (struct rnd){model->seed};
  for (unsigned round = run_rounds(24); round > 0; round--)
  {
    model->lives++;
    in_killed_process(live);
    change_byte(index_file_of("t"));
    in_killed_process(live_with_damage);
    /* The table may be another one than the model knows. */
    in_killed_process(make_table);
    memset(model->versions, 0, sizeof model->versions);
    model->changed = 0;
    rnd_next(&damage_rnd);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_committed_is_found),
      cmocka_unit_test(a_kill_loses_nothing),
      cmocka_unit_test(other_indexes_stay_as_they_are),
      cmocka_unit_test(damaged_files_are_survived),
  };
  bz_index_verified_later_min = 0;
  model = mmap(NULL, sizeof *model, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (model == MAP_FAILED)
    return 1;
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
