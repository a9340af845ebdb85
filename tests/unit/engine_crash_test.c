/* SPDX-License-Identifier: GPL-2.0-only
 *
 * engine_crash_test.c: tables, their log and their checkpoints, when the process or the machine
 * dies at any call that changes a file, also in what comes after a crash. What must hold is that
 * all tables together are what they were after some commit: the last one that was acknowledged, or
 * was on the device when the machine died, or a later one.
 */
#include "crash_fs.h"
#include "log/current.h"
#include "table/table.h"
#include "txn/load.h"
#include "txn/writes.h"

#include <sys/stat.h>
#include <unistd.h>

enum
{
  TABLES = 3, /* the last one is crash-safe */
  KEYS = 160,
  COMMITS_MAX = 4000,
  CHANGES_MAX = 60000,
  LOG_LIMIT = 1 << 20,
};

enum note
{
  NOTE_MADE,    /* commits that were begun */
  NOTE_ACKED,   /* that have returned */
  NOTE_SYNCED,  /* that are promised to be on the device */
  NOTE_STARTED, /* 1: the start is over */
};

struct change
{
  uint8_t table, key;
  uint16_t len; /* 0: the row is removed */
  uint32_t commit;
};

/* What the run has done, in order. */
static struct change changes[CHANGES_MAX];
static uint32_t change_count, commit_count;

/* What is in the tables after some commits: of each row its commit and length, 0: none. */
struct model
{
  struct
  {
    uint32_t commit, len;
  } rows[TABLES][KEYS];
};

static void model_after(uint32_t commits, struct model *model)
{
  memset(model, 0, sizeof *model);
  for (uint32_t i = 0; i < change_count && changes[i].commit <= commits; i++)
  {
    model->rows[changes[i].table][changes[i].key].commit = changes[i].commit;
    model->rows[changes[i].table][changes[i].key].len = changes[i].len;
  }
}

/* ---- working ---- */

struct store;

static struct rnd *pausing;       /* NULL: no checkpoints in the middle of commits */
static struct store *interrupted; /* of which a checkpoint is under way; NULL: none */
static unsigned pauses, interruptions, failures;

void __wrap_bz_current_wait_memory(void);
void __wrap_bz_current_wait_memory(void)
{
  if (pausing == NULL || interrupted != NULL || rnd_below(pausing, 2))
    return;
  pauses++;
  require_ok(blitz_checkpoint(ERR));
}

struct store
{
  struct blitz_table *tables[TABLES];
  struct model model; /* with what is not committed */
};

/* A table may be renamed, from the first name to the second or back. */
static const char *const paths[TABLES][2] = {
    {"./a", "./a2"}, {"./b", "./b2"}, {"./safe", "./safe2"}};

static bool is_there(const char *path)
{
  char file[64];
  snprintf(file, sizeof file, "%s.bzd", path);
  return access(file, F_OK) == 0;
}

static const char *table_path(unsigned i)
{
  return paths[i][!is_there(paths[i][0])];
}

static enum blitz_rc open_one(struct store *store, unsigned i)
{
  unsigned flags = i == TABLES - 1 ? BLITZ_OPEN_CRASH_SAFE : 0;
  return blitz_table_open(table_path(i), flags, &store->tables[i], ERR);
}

static enum blitz_rc open_store(struct store *store)
{
  struct blitz_start_options options = {.dir = ".", .log_limit = LOG_LIMIT, .memory = 1 << 20};
  enum blitz_rc rc = bz_start(&options, false, ERR);
  memset(store, 0, sizeof *store);
  for (unsigned i = 0; i < TABLES && rc == BLITZ_OK; i++)
    rc = open_one(store, i);
  return rc;
}

static void close_store(struct store *store)
{
  for (unsigned i = 0; i < TABLES; i++)
    if (store->tables[i] != NULL)
      blitz_table_close(store->tables[i]);
  blitz_stop();
}

static uint64_t random_len(struct rnd *rnd)
{
  return 16 + rnd_below(rnd, rnd_below(rnd, 40) == 0 ? 6000 : 100);
}

static void note_change(unsigned table, unsigned key, uint64_t len)
{
  require(change_count < CHANGES_MAX);
  changes[change_count++] =
      (struct change){(uint8_t)table, (uint8_t)key, (uint16_t)len, commit_count + 1};
}

static void change_row(struct store *store, struct blitz_txn *txn, unsigned table, unsigned key,
                       struct rnd *rnd)
{
  static char value[8192];
  uint64_t len = random_len(rnd);
  bool is_there = store->model.rows[table][key].len != 0;
  if (is_there && rnd_below(rnd, 3) == 0)
  {
    require_ok(blitz_remove(txn, store->tables[table], number_key(key), ERR));
    len = 0;
  }
  else
  {
    row_fill(value, len, key, commit_count + 1);
    if (is_there)
      require_ok(blitz_update(txn, store->tables[table], number_key(key), number_key(key),
                              bytes(value, len), ERR));
    else
      require_ok(blitz_insert(txn, store->tables[table], number_key(key), bytes(value, len), ERR));
  }
  store->model.rows[table][key].len = (uint32_t)len;
  store->model.rows[table][key].commit = commit_count + 1;
  note_change(table, key, len);
}

/* Now and then a commit of two tables fails when its changes are in the log already. */
enum blitz_rc __wrap_bz_redo_keep(struct bz_redo *redo, size_t len, struct blitz_error *err);
enum blitz_rc __wrap_bz_redo_keep(struct bz_redo *redo, size_t len, struct blitz_error *err)
{
  enum blitz_rc __real_bz_redo_keep(struct bz_redo *, size_t, struct blitz_error *);
  if (pausing == NULL || rnd_below(pausing, 4) != 0)
    return __real_bz_redo_keep(redo, len, err);
  failures++;
  return bz_fail(err, BLITZ_FULL, 0, "no space for the record of a commit");
}

/* Loads are small here. A large one waits for the checkpoint that is under way, and so is not one
 * in the middle of that.
 */
static bool loads_are_large;
bool __wrap_bz_load_is_large(const struct bz_writes *writes);
bool __wrap_bz_load_is_large(const struct bz_writes *writes)
{
  return loads_are_large && interrupted == NULL && writes->load != NULL && writes->table->logged &&
         bz_current_log() != NULL;
}

static uint64_t
    owed; /* where to wait for commits that are not acknowledged yet; 0: there are none */

/* False: it was rolled back, or has failed. *POSITIONP: where in the log to wait for the device. */
static bool commit_or_undo(struct blitz_txn *txn, struct rnd *rnd, uint64_t *positionp)
{
  *positionp = 0;
  if (rnd_below(rnd, 6) == 0)
  {
    blitz_txn_rollback(txn);
    return false;
  }
  crash_note(NOTE_MADE, commit_count + 1);
  enum blitz_rc rc = rnd_below(rnd, 3) == 0 ? blitz_txns_commit_early(&txn, 1, positionp, ERR)
                                            : blitz_txn_commit(txn, ERR);
  require(rc == BLITZ_OK || rc == BLITZ_FULL);
  return rc == BLITZ_OK;
}

static void commit_some(struct store *store, struct rnd *rnd)
{
  struct blitz_txn *txn = new_txn();
  struct model before = store->model;
  uint32_t count_before = change_count;
  unsigned tables = rnd_below(rnd, 3) == 0 ? 2 : 1, first = rnd_below(rnd, TABLES);
  bool safe = false, load = rnd_below(rnd, 2);
  uint64_t position;
  for (unsigned n = 0; n < tables; n++)
  {
    unsigned table = (first + n) % TABLES;
    safe |= table == TABLES - 1;
    if (load)
      require_ok(blitz_txn_expect_rows(txn, store->tables[table], 0, false, ERR));
    for (unsigned i = 1 + rnd_below(rnd, rnd_below(rnd, 8) == 0 ? 2 * KEYS : 5); i > 0; i--)
      change_row(store, txn, table, rnd_below(rnd, KEYS), rnd);
    loads_are_large = rnd_below(rnd, 2);
    if (load && rnd_below(rnd, 2) == 0)
      require_ok(blitz_txn_finish_load(txn, store->tables[table], NULL, NULL, ERR));
  }
  if (!commit_or_undo(txn, rnd, &position))
  {
    store->model = before;
    change_count = count_before;
  }
  else
  {
    require(++commit_count < COMMITS_MAX);
    if (position != 0)
      owed = position;
    /* Or the next one is acknowledged first, and this one with it: that may have changed nothing,
     * and then has nothing in the log.
     */
    if (position == 0 || rnd_below(rnd, 2) == 0)
    {
      require_ok(blitz_commit_wait(owed, ERR));
      owed = 0;
      crash_note(NOTE_ACKED, commit_count);
      if (safe)
        crash_note(NOTE_SYNCED, commit_count);
    }
  }
  blitz_txn_free(txn);
}

/* Others commit while the pages of a moment are taken. */
bool __wrap_bz_pages_take(struct bz_pages *pages, uint64_t *page, uint8_t *to);
bool __wrap_bz_pages_take(struct bz_pages *pages, uint64_t *page, uint8_t *to)
{
  bool __real_bz_pages_take(struct bz_pages *, uint64_t *, uint8_t *);
  if (interrupted != NULL && rnd_below(pausing, 6) == 0)
  {
    interruptions++;
    commit_some(interrupted, pausing);
  }
  return __real_bz_pages_take(pages, page, to);
}

static void checkpoint(struct store *store)
{
  interrupted = store;
  require_ok(blitz_checkpoint(ERR));
  interrupted = NULL;
}

/* Empties a table, in a commit. */
static void remove_all(struct store *store, unsigned table)
{
  struct blitz_txn *txn = new_txn();
  bool changed = false;
  for (unsigned key = 0; key < KEYS; key++)
    if (store->model.rows[table][key].len != 0)
    {
      require_ok(blitz_remove(txn, store->tables[table], number_key(key), ERR));
      store->model.rows[table][key].len = 0;
      store->model.rows[table][key].commit = commit_count + 1;
      note_change(table, key, 0);
      changed = true;
    }
  crash_note(NOTE_MADE, commit_count + 1);
  require_ok(blitz_txn_commit(txn, ERR));
  require_ok(blitz_commit_wait(owed, ERR));
  owed = 0;
  require(++commit_count < COMMITS_MAX);
  crash_note(NOTE_ACKED, commit_count);
  if (changed && table == TABLES - 1)
    crash_note(NOTE_SYNCED, commit_count);
  blitz_txn_free(txn);
}

/* Renames a table. */
static void rename_one(struct store *store, unsigned table)
{
  unsigned from = !is_there(paths[table][0]);
  blitz_table_close(store->tables[table]);
  store->tables[table] = NULL;
  require_ok(blitz_table_rename(paths[table][from], paths[table][1 - from], ERR));
  require_ok(open_one(store, table));
}

/* Puts a new table into the place of another one: that is done, and on the device, when it is
 * acknowledged, so what came before must be.
 */
static void replace_one(struct store *store, unsigned table)
{
  struct blitz_create_options options = {0};
  require_ok(blitz_sync(ERR));
  crash_note(NOTE_SYNCED, commit_count);
  blitz_table_close(store->tables[table]);
  store->tables[table] = NULL;
  for (unsigned key = 0; key < KEYS; key++)
    if (store->model.rows[table][key].len != 0)
      note_change(table, key, 0);
  memset(store->model.rows[table], 0, sizeof store->model.rows[table]);
  crash_note(NOTE_MADE, commit_count + 1);
  require_ok(blitz_table_create(table_path(table), &options, true, ERR));
  require(++commit_count < COMMITS_MAX);
  crash_note(NOTE_ACKED, commit_count);
  crash_note(NOTE_SYNCED, commit_count);
  require_ok(open_one(store, table));
}

static void step(struct store *store, struct rnd *rnd)
{
  unsigned table = rnd_below(rnd, TABLES);
  switch (rnd_below(rnd, 14))
  {
  case 12: rename_one(store, table); break;
  case 13: replace_one(store, table); break;
  case 0: checkpoint(store); break;
  case 1:
    blitz_table_close(store->tables[table]);
    store->tables[table] = NULL;
    require_ok(open_one(store, table));
    break;
  case 2:
    require_ok(blitz_sync(ERR));
    crash_note(NOTE_SYNCED, commit_count);
    break;
  case 3:
    if (rnd_below(rnd, 3) == 0)
      remove_all(store, table);
    break;
  default: commit_some(store, rnd); break;
  }
}

static void work(struct rnd *rnd, unsigned steps)
{
  struct store store;
  owed = 0;
  require_ok(open_store(&store));
  crash_note(NOTE_STARTED, 1);
  pausing = rnd;
  model_after(commit_count, &store.model);
  crash_note(NOTE_MADE, commit_count);
  crash_note(NOTE_ACKED, commit_count);
  crash_note(NOTE_SYNCED, commit_count);
  for (unsigned i = 0; i < steps; i++)
    step(&store, rnd);
  if (rnd_below(rnd, 2))
    close_store(&store);
  else
  {
    /* Something is under way when it ends. */
    struct blitz_txn *txn = new_txn();
    change_row(&store, txn, 0, 0, rnd);
    change_count--;
    blitz_txn_free(txn);
    close_store(&store);
  }
  pausing = NULL;
}

/* ---- crashing ---- */

/* Adds the row of a scan. NULL: it is right. */
static const char *add_row(struct blitz_cursor *cursor, struct blitz_cursor *getter,
                           struct blitz_slice value, struct model *model, unsigned table)
{
  struct blitz_slice key = blitz_cursor_key(cursor), found;
  uint64_t n = UINT64_MAX, version;
  for (unsigned i = 0; i < KEYS; i++)
    if (slice_is(key, number_key(i).data, number_key(i).len))
      n = i;
  if (n == UINT64_MAX || !row_proves(value, n, &version))
    return "a row is wrong";
  if (model->rows[table][n].len != 0)
    return "a row is there twice";
  model->rows[table][n].commit = (uint32_t)version;
  model->rows[table][n].len = (uint32_t)value.len;
  return blitz_get(getter, number_key(n), &found, ERR) == BLITZ_OK ? NULL
                                                                   : "a row cannot be looked up";
}

/* What is in a table. NULL: no row is wrong. */
static const char *read_table(struct blitz_table *table, struct model *model, unsigned number)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL), *getter = new_cursor(table, NULL);
  struct blitz_slice value;
  const char *wrong = NULL;
  uint64_t rows = 0;
  enum blitz_rc rc = BLITZ_OK;
  require_ok(blitz_scan_begin(cursor));
  while (wrong == NULL && (rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
  {
    wrong = add_row(cursor, getter, value, model, number);
    rows++;
  }
  blitz_cursor_close(cursor);
  blitz_cursor_close(getter);
  if (wrong == NULL && rc != BLITZ_END)
    wrong = last_error.text;
  if (wrong == NULL && rows != row_count(table))
    wrong = "the count of rows is wrong";
  return wrong;
}

static const char *read_model(struct store *store, struct model *model)
{
  const char *wrong = NULL;
  memset(model, 0, sizeof *model);
  for (unsigned table = 0; table < TABLES && wrong == NULL; table++)
    wrong = read_table(store->tables[table], model, table);
  return wrong;
}

static char difference[256]; /* that was found last */

static bool same(const struct model *a, const struct model *b)
{
  for (unsigned table = 0; table < TABLES; table++)
    for (unsigned key = 0; key < KEYS; key++)
      if (a->rows[table][key].len != b->rows[table][key].len ||
          (a->rows[table][key].len != 0 &&
           a->rows[table][key].commit != b->rows[table][key].commit))
      {
        snprintf(difference, sizeof difference,
                 "%s, row %u: %u bytes of commit %u, and not %u of commit %u", table_path(table),
                 key, a->rows[table][key].len, a->rows[table][key].commit, b->rows[table][key].len,
                 b->rows[table][key].commit);
        return false;
      }
  return true;
}

static uint64_t max(uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

struct promise
{
  uint64_t synced, made;
};

struct figures
{
  unsigned crashes, nested, found;
};

/* Opens what is in the current directory and looks. NULL: all is right; *FOUND is the last commit.
 */
static const char *judge(const struct crash_player *player, bool killed,
                         const struct promise *before, uint32_t *found)
{
  uint64_t synced = max(before->synced, crash_noted(player, NOTE_SYNCED));
  uint64_t least = killed ? max(synced, crash_noted(player, NOTE_ACKED)) : synced;
  uint64_t most = max(before->made, crash_noted(player, NOTE_MADE));
  static struct model model, expected;
  struct store store;
  const char *wrong;
  *found = 0;
  if (open_store(&store) != BLITZ_OK)
    wrong = last_error.text;
  else
    wrong = read_model(&store, &model);
  if (wrong == NULL)
  {
    wrong = difference;
    for (uint64_t commits = least; commits <= most && wrong != NULL; commits++)
    {
      model_after((uint32_t)commits, &expected);
      if (same(&model, &expected))
        wrong = NULL;
      *found = (uint32_t)commits;
    }
  }
  close_store(&store);
  return wrong;
}

static void enter(const char *dir)
{
  require(chdir(dir) == 0);
}

/* Is there to be a crash here? In a start after a crash more often than later. */
static bool is_chosen(const struct crash_player *player, unsigned depth, struct rnd *rnd)
{
  bool starts = depth > 0 && crash_noted(player, NOTE_STARTED) == 0;
  return rnd_below(rnd, starts ? 2 : depth == 0 ? 3 : 12) == 0;
}

static void crash_everywhere(const struct crash_record *record, enum crash_fault left_out,
                             const struct promise *before, struct rnd *rnd, unsigned depth,
                             struct figures *figures)
{
  struct crash_player *player = crash_play(record, left_out);
  char dir[4300];
  snprintf(dir, sizeof dir, "%s/image%u", test_dir(), depth);
  (void)mkdir(dir, 0700);
  do
  {
    if (!is_chosen(player, depth, rnd))
      continue;
    bool killed = rnd_below(rnd, 3) == 0;
    uint64_t seed = rnd_next(rnd);
    uint32_t found;
    crash_image(player, killed, seed, dir);
    enter(dir);
    const char *wrong = judge(player, killed, before, &found);
    figures->crashes++;
    figures->found += wrong != NULL;
    if (wrong != NULL && left_out == CRASH_NO_FAULT)
    {
      if (getenv("BLITZ_KEEP") != NULL)
      {
        snprintf(dir, sizeof dir, "%s", getenv("BLITZ_KEEP"));
        (void)mkdir(dir, 0700);
        crash_image(player, killed, seed, dir);
      }
      fail_msg(
          "crash %u (%s), depth %u: %s; %u to %u commits", figures->crashes,
          killed ? "kill" : "power", depth, wrong,
          (unsigned)max(before->synced, crash_noted(player, killed ? NOTE_ACKED : NOTE_SYNCED)),
          (unsigned)max(before->made, crash_noted(player, NOTE_MADE)));
    }
    /* What a kill leaves need not be on the device, and is believed by who opens it. */
    if (wrong != NULL || depth > 1 || rnd_below(rnd, killed && depth == 0 ? 6 : 20) != 0)
      continue;
    /* It is opened, works on and crashes again, also while it is being opened. */
    uint32_t commits = commit_count, count = change_count;
    static struct change kept[2][CHANGES_MAX];
    struct promise then = {.synced = max(before->synced, crash_noted(player, NOTE_SYNCED)),
                           .made = found};
    memcpy(kept[depth], changes, sizeof changes);
    crash_image(player, killed, seed, dir);
    enter(dir);
    commit_count = found;
    while (change_count > 0 && changes[change_count - 1].commit > found)
      change_count--;
    crash_begin_image(player, killed, ".");
    work(rnd, depth == 0 ? 12 : 3);
    struct crash_record *inner = crash_end();
    figures->nested++;
    crash_everywhere(inner, left_out, &then, rnd, depth + 1, figures);
    crash_record_free(inner);
    memcpy(changes, kept[depth], sizeof changes);
    commit_count = commits;
    change_count = count;
  } while (crash_step(player));
  crash_player_free(player);
}

static struct crash_record *record_run(struct rnd *rnd)
{
  struct blitz_create_options options = {0};
  char dir[4300];
  snprintf(dir, sizeof dir, "%s/work", test_dir());
  (void)mkdir(dir, 0700);
  crash_empty_dir(dir);
  enter(dir);
  for (unsigned i = 0; i < TABLES; i++)
    require_ok(blitz_table_create(table_path(i), &options, false, ERR));
  change_count = commit_count = 0;
  crash_begin(".");
  work(rnd, 60);
  return crash_end();
}

static void nothing_is_lost_or_torn(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  crash_seed(rnd.state);
  struct figures figures = {0};
  for (unsigned round = run_rounds(2); round > 0; round--)
  {
    struct crash_record *record = record_run(&rnd);
    crash_everywhere(record, CRASH_NO_FAULT, &(struct promise){0}, &rnd, 0, &figures);
    crash_record_free(record);
  }
  print_message(
      "# %u crashes, %u of the runs that came after one crashed again, %u checkpoints in "
      "the middle of a commit, %u commits in the middle of a checkpoint, %u that failed\n",
      figures.crashes, figures.nested, pauses, interruptions, failures);
  assert_true(figures.crashes > 200 && figures.nested > 2);
  assert_true(pauses > 2 && interruptions > 2 && failures > 2);
}

static void syncs_that_are_left_out_are_found(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  crash_seed(rnd.state);
  for (enum crash_fault fault = CRASH_NO_FSYNC; fault <= CRASH_NO_DSYNC; fault++)
  {
    struct figures figures = {0};
    for (unsigned tries = 0; tries < 10 && figures.found == 0; tries++)
    {
      struct crash_record *record = record_run(&rnd);
      crash_everywhere(record, fault, &(struct promise){0}, &rnd, 0, &figures);
      crash_record_free(record);
    }
    print_message("# fault %u: found by %u of %u crashes\n", fault, figures.found, figures.crashes);
    assert_true(figures.found > 0);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_is_lost_or_torn),
      cmocka_unit_test(syncs_that_are_left_out_are_found),
  };
  catch_log();
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
