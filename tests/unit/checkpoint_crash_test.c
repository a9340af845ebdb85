/* SPDX-License-Identifier: GPL-2.0-only
 *
 * checkpoint_crash_test.c: how a log, pages in memory and a journal make changes of two files
 * survive. Changes are appended to the log and made in memory; now and then the pages of one
 * moment are written to the journal, then to their places, and the log before that moment goes.
 * After the death of the process or loss of power, at any call, also of a recovery,
 *  1. all changes that were synced (of the process: written) are there,
 *  2. each as a whole, in both files, and in order.
 * And each of the faults of crash_fs.h, and of those of a checkpoint below, is found.
 * A journal that was emptied stays empty, whatever comes.
 */
#include "base/pages.h"
#include "log/journal.h"
#include "log/redo.h"
#include "log/redo_file.h"
#include "support/crash_fs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum
{
  FILES = 2,
  PAGES = 12,
  CELLS = PAGES * 512,
  LOG_FILE_LEN = 64 << 10,
  CHANGES_MAX = 8000,
  CELLS_MAX = 12, /* that one change stores into */
};

enum
{
  NOTE_MADE, /* changes that were begun */
  NOTE_WRITTEN,
  NOTE_SYNCED,
};

enum fault
{
  FAULT_NONE,
  FAULT_LOG_NOT_SYNCED,     /* before the journal is finished */
  FAULT_PLACED_TOO_EARLY,   /* before the journal is on the device */
  FAULT_RELEASED_TOO_EARLY, /* before the places are on the device */
  FAULT_JOURNAL_NOT_LOOKED_AT,
  FAULT_NOT_RELEASED_AGAIN, /* by a recovery that has placed the journal */
  FAULTS
};

/* A change adds 1 to cell 0 of both files, and values to others: made twice, or on top of a
 * mixture of moments, it is wrong.
 */
struct cell
{
  uint32_t file, number;
  uint64_t value;
};

struct change
{
  uint32_t count;
  struct cell cells[CELLS_MAX];
};

static struct change changes[CHANGES_MAX];

struct store
{
  char dir[4200];
  enum fault fault;
  int fds[FILES];
  struct bz_pages pages[FILES];
  struct bz_redo *redo;
  struct bz_journal *journal;
  uint64_t made, last_end;
};

/* ---- changes ---- */

static void make_change(struct rnd *rnd, uint64_t number)
{
  struct change *change = &changes[number];
  memset(change, 0, sizeof *change);
  change->count = FILES + rnd_below(rnd, CELLS_MAX - FILES);
  for (uint32_t i = 0; i < change->count; i++)
    change->cells[i] = i < FILES ? (struct cell){i, 0, 1}
                                 : (struct cell){rnd_below(rnd, FILES),
                                                 1 + rnd_below(rnd, CELLS - 1), rnd_next(rnd)};
}

static uint64_t cell_of(const struct store *store, unsigned file, uint64_t number)
{
  uint64_t value;
  memcpy(&value, store->pages[file].base + number * 8, 8);
  return value;
}

static void apply(struct store *store, const struct change *change)
{
  for (uint32_t i = 0; i < change->count; i++)
  {
    const struct cell *cell = &change->cells[i];
    uint64_t value = cell_of(store, cell->file, cell->number) + cell->value;
    bz_pages_note(&store->pages[cell->file], cell->number * 8, 8);
    memcpy(store->pages[cell->file].base + cell->number * 8, &value, 8);
  }
}

/* ---- opening ---- */

static enum blitz_rc place(void *arg, uint64_t file, uint64_t page, uint64_t count,
                           const uint8_t *data, struct blitz_error *err)
{
  struct store *store = arg;
  (void)err;
  require(file < FILES && page + count <= PAGES);
  require(bz_redo_write_at(store->fds[file], data, count * 4096, page * 4096, false));
  return BLITZ_OK;
}

static void sync_places(struct store *store)
{
  for (unsigned file = 0; file < FILES; file++)
    require(fdatasync(store->fds[file]) == 0);
}

/* Records that are behind what the files hold. */
struct replay
{
  struct store *store;
  uint64_t from;
};

static enum blitz_rc replay_one(void *arg, const struct bz_redo_record *record,
                                struct blitz_error *err)
{
  const struct replay *replay = arg;
  struct change change;
  (void)err;
  if (replay->from != UINT64_MAX && record->at < replay->from)
    return BLITZ_OK;
  require(record->payload.len <= sizeof change);
  memset(&change, 0, sizeof change);
  memcpy(&change, record->payload.data, record->payload.len);
  apply(replay->store, &change);
  return BLITZ_OK;
}

static void open_files(struct store *store)
{
  for (unsigned file = 0; file < FILES; file++)
  {
    char name[4300];
    snprintf(name, sizeof name, "%s/%u.dat", store->dir, file);
    store->fds[file] = open(name, O_RDWR);
    require(store->fds[file] >= 0);
  }
}

/* The files are of the moment POSITION: the log begins there (J2). */
static enum blitz_rc release_placed(struct store *store, uint64_t position)
{
  struct bz_redo_figures figures;
  bz_redo_figures(store->redo, &figures);
  if (position > figures.end)
    return bz_fail(ERR, BLITZ_CORRUPT, 0, "the journal is ahead of the log");
  if (store->fault == FAULT_NOT_RELEASED_AGAIN)
    return BLITZ_OK;
  return bz_redo_release(store->redo, position, ERR);
}

static enum blitz_rc open_store(struct store *store, const char *dir, enum fault fault)
{
  enum blitz_rc rc;
  struct bz_redo_options options = {.dir = dir, .file_len = LOG_FILE_LEN, .limit = 64 << 20};
  struct replay replay = {store, UINT64_MAX};
  *store = (struct store){.fault = fault};
  snprintf(store->dir, sizeof store->dir, "%s", dir);
  open_files(store);
  require_ok(bz_journal_open(dir, "pages", &store->journal, &replay.from, ERR));
  if (fault == FAULT_JOURNAL_NOT_LOOKED_AT)
    replay.from = UINT64_MAX;
  if (replay.from != UINT64_MAX)
  {
    require_ok(bz_journal_place(store->journal, place, store, ERR));
    sync_places(store);
  }
  for (unsigned file = 0; file < FILES; file++)
    require_ok(bz_pages_open(&store->pages[file], store->fds[file], PAGES * 4096));
  rc = bz_redo_open(&options, replay_one, &replay, &store->redo, ERR);
  if (rc == BLITZ_OK && replay.from != UINT64_MAX)
    rc = release_placed(store, replay.from);
  store->made = cell_of(store, 0, 0);
  return rc;
}

static void close_store(struct store *store)
{
  bz_redo_close(store->redo);
  bz_journal_close(store->journal);
  for (unsigned file = 0; file < FILES; file++)
  {
    bz_pages_close(&store->pages[file]);
    close(store->fds[file]);
  }
}

/* ---- working ---- */

static void change_some(struct store *store, struct rnd *rnd)
{
  for (unsigned i = rnd_below(rnd, 4); i > 0; i--)
  {
    uint64_t number = store->made++;
    require(number < CHANGES_MAX);
    make_change(rnd, number);
    crash_note(NOTE_MADE, number + 1);
    struct blitz_slice part =
        bytes(&changes[number], offsetof(struct change, cells) +
                                    changes[number].count * sizeof changes[number].cells[0]);
    require_ok(bz_redo_append(store->redo, 1, &part, 1, &store->last_end, ERR));
    unsigned how = rnd_below(rnd, 4);
    if (how == 0)
    {
      require_ok(bz_redo_sync(store->redo, store->last_end, ERR));
      crash_note(NOTE_SYNCED, number + 1);
    }
    else if (how < 3)
    {
      require_ok(bz_redo_write(store->redo, store->last_end, ERR));
      crash_note(NOTE_WRITTEN, number + 1);
    }
    apply(store, &changes[number]);
  }
}

/* Others go on between its steps. */
static void checkpoint(struct store *store, struct rnd *rnd)
{
  struct bz_redo_figures figures;
  uint64_t count = 0, changed, page, position;
  uint8_t data[4096];
  bz_redo_figures(store->redo, &figures);
  position = figures.end;
  for (unsigned file = 0; file < FILES; file++)
  {
    require_ok(bz_pages_begin(&store->pages[file], &changed));
    count += changed;
  }
  change_some(store, rnd);
  if (store->fault != FAULT_LOG_NOT_SYNCED)
    require_ok(bz_redo_sync(store->redo, position, ERR));
  require_ok(bz_journal_begin(store->journal, position, count + 1, ERR));
  for (unsigned file = 0; file < FILES; file++)
    while (bz_pages_take(&store->pages[file], &page, data))
    {
      require_ok(bz_journal_add(store->journal, file, page, data, ERR));
      if (store->fault == FAULT_PLACED_TOO_EARLY)
        require_ok(place(store, file, page, 1, data, ERR));
      if (rnd_below(rnd, 10) == 0)
        change_some(store, rnd);
    }
  require_ok(bz_journal_finish(store->journal, ERR));
  change_some(store, rnd);
  require_ok(bz_journal_place(store->journal, place, store, ERR));
  change_some(store, rnd);
  if (store->fault != FAULT_RELEASED_TOO_EARLY)
    sync_places(store);
  for (unsigned file = 0; file < FILES; file++)
    bz_pages_placed(&store->pages[file]);
  if (store->fault == FAULT_LOG_NOT_SYNCED)
    return;
  require_ok(bz_redo_release(store->redo, position, ERR));
}

static void work(const char *dir, struct rnd *rnd, enum fault fault, unsigned steps)
{
  struct store store;
  require_ok(open_store(&store, dir, fault));
  /* What was found is synced by now. */
  crash_note(NOTE_MADE, store.made);
  crash_note(NOTE_SYNCED, store.made);
  for (unsigned i = 0; i < steps; i++)
  {
    change_some(&store, rnd);
    if (rnd_below(rnd, 5) == 0)
      checkpoint(&store, rnd);
  }
  close_store(&store);
}

/* ---- crashing ---- */

/* Do both files hold the first MADE changes and no others? */
static bool holds(const struct store *store, uint64_t made)
{
  static uint64_t cells[FILES][CELLS];
  memset(cells, 0, sizeof cells);
  for (uint64_t number = 0; number < made; number++)
    for (uint32_t i = 0; i < changes[number].count; i++)
      cells[changes[number].cells[i].file][changes[number].cells[i].number] +=
          changes[number].cells[i].value;
  for (unsigned file = 0; file < FILES; file++)
    if (memcmp(cells[file], store->pages[file].base, sizeof cells[file]) != 0)
      return false;
  return true;
}

static uint64_t max(uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

struct figures
{
  unsigned crashes, nested, found;
};

/* What held before the run that is recorded. */
struct promise
{
  uint64_t synced, made;
};

/* Opens DIR and looks. NULL: all is right. */
static const char *judge(const char *dir, const struct crash_player *player, bool killed,
                         enum fault fault, const struct promise *before, uint64_t *foundp)
{
  uint64_t synced = max(before->synced, crash_noted(player, NOTE_SYNCED));
  uint64_t written = max(synced, crash_noted(player, NOTE_WRITTEN));
  uint64_t made = max(before->made, crash_noted(player, NOTE_MADE));
  struct store store;
  const char *wrong = NULL;
  if (open_store(&store, dir, fault) != BLITZ_OK)
    wrong = last_error.text;
  else if (store.made < (killed ? written : synced))
    wrong = "changes that were acknowledged are gone";
  else if (store.made > made)
    wrong = "there are changes that nobody made";
  else if (!holds(&store, store.made))
    wrong = "changes are there in part";
  *foundp = store.made;
  close_store(&store);
  return wrong;
}

static void crash_everywhere(const struct crash_record *record, enum fault fault,
                             enum crash_fault left_out, const struct promise *before,
                             struct rnd *rnd, unsigned depth, struct figures *figures)
{
  struct crash_player *player = crash_play(record, left_out);
  bool faulty = fault != FAULT_NONE || left_out != CRASH_NO_FAULT;
  char dir[4300];
  snprintf(dir, sizeof dir, "%s/image%u", test_dir(), depth);
  (void)mkdir(dir, 0700);
  do
  {
    if (rnd_below(rnd, depth == 0 ? 2 : 8) != 0)
      continue;
    bool killed = rnd_below(rnd, 3) == 0;
    uint64_t seed = rnd_next(rnd), found;
    crash_image(player, killed, seed, dir);
    const char *wrong = judge(dir, player, killed, fault, before, &found);
    figures->crashes++;
    figures->found += wrong != NULL;
    if (wrong != NULL && !faulty)
      fail_msg("crash %u (%s): %s; %llu changes", figures->crashes, killed ? "kill" : "power",
               wrong, (unsigned long long)found);
    if (wrong != NULL || depth > 0 || rnd_below(rnd, 25) != 0)
      continue;
    /* It is opened, works on and crashes again. The changes that are lost are made anew. */
    static struct change kept[CHANGES_MAX];
    struct promise then = {.synced = max(before->synced, crash_noted(player, NOTE_SYNCED)),
                           .made = found};
    crash_image(player, killed, seed, dir);
    memcpy(kept, changes, sizeof kept);
    crash_begin_image(player, killed, dir);
    work(dir, rnd, fault, 8);
    struct crash_record *inner = crash_end();
    figures->nested++;
    crash_everywhere(inner, fault, left_out, &then, rnd, 1, figures);
    crash_record_free(inner);
    memcpy(changes, kept, sizeof kept);
  } while (crash_step(player));
  crash_player_free(player);
}

static struct crash_record *record_run(struct rnd *rnd, enum fault fault)
{
  static const uint8_t zeros[PAGES * 4096];
  char dir[4300], name[4400];
  snprintf(dir, sizeof dir, "%s/work", test_dir());
  (void)mkdir(dir, 0700);
  crash_empty_dir(dir);
  for (unsigned file = 0; file < FILES; file++)
  {
    snprintf(name, sizeof name, "%s/%u.dat", dir, file);
    write_whole(name, (const char *)zeros, sizeof zeros);
  }
  crash_begin(dir);
  work(dir, rnd, fault, 60);
  return crash_end();
}

static void nothing_is_lost_or_torn(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  crash_seed(rnd.state);
  struct figures figures = {0};
  for (unsigned round = run_rounds(3); round > 0; round--)
  {
    struct crash_record *record = record_run(&rnd, FAULT_NONE);
    crash_everywhere(record, FAULT_NONE, CRASH_NO_FAULT, &(struct promise){0}, &rnd, 0, &figures);
    crash_record_free(record);
  }
  print_message("# %u crashes, %u of the runs that came after one crashed again\n", figures.crashes,
                figures.nested);
  assert_true(figures.crashes > 500 && figures.nested > 3);
}

static void make_and_empty(const char *dir)
{
  static const uint8_t page[4096] = {1};
  struct bz_journal *journal;
  uint64_t position;
  require_ok(bz_journal_open(dir, "pages", &journal, &position, ERR));
  require_ok(bz_journal_begin(journal, 7, 1, ERR));
  require_ok(bz_journal_add(journal, 1, 0, page, ERR));
  require_ok(bz_journal_finish(journal, ERR));
  crash_note(NOTE_MADE, 1);
  require_ok(bz_journal_clear(journal, ERR));
  crash_note(NOTE_SYNCED, 1);
  bz_journal_close(journal);
}

static void an_emptied_journal_stays_empty(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  char dir[4300];
  unsigned whole = 0, looks = 0;
  snprintf(dir, sizeof dir, "%s/emptied", test_dir());
  require(mkdir(dir, 0700) == 0);
  crash_begin(dir);
  make_and_empty(dir);
  struct crash_record *record = crash_end();
  struct crash_player *player = crash_play(record, CRASH_NO_FAULT);
  snprintf(dir, sizeof dir, "%s/image0", test_dir());
  do
    for (unsigned i = 0; i < 20; i++)
    {
      struct bz_journal *journal;
      uint64_t position;
      crash_image(player, rnd_below(&rnd, 2), rnd_next(&rnd), dir);
      assert_ok(bz_journal_open(dir, "pages", &journal, &position, ERR));
      bz_journal_close(journal);
      bool is_whole = position != UINT64_MAX;
      whole += is_whole;
      looks++;
      assert_true(!is_whole || crash_noted(player, NOTE_SYNCED) == 0);
    }
  while (crash_step(player));
  crash_player_free(player);
  crash_record_free(record);
  print_message("# %u of %u crashes left it whole\n", whole, looks);
  assert_true(whole > 0);
}

static void faults_are_found(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  crash_seed(rnd.state);
  for (enum fault fault = FAULT_NONE + 1; fault < FAULTS; fault++)
  {
    struct figures figures = {0};
    for (unsigned tries = 0; tries < 40 && figures.found == 0; tries++)
    {
      struct crash_record *record = record_run(&rnd, fault);
      crash_everywhere(record, fault, CRASH_NO_FAULT, &(struct promise){0}, &rnd, 0, &figures);
      crash_record_free(record);
    }
    print_message("# fault %u: found by %u of %u crashes\n", fault, figures.found, figures.crashes);
    assert_true(figures.found > 0);
  }
}

static void syncs_that_are_left_out_are_found(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  crash_seed(rnd.state);
  struct figures figures = {0};
  struct crash_record *record = record_run(&rnd, FAULT_NONE);
  crash_everywhere(record, FAULT_NONE, CRASH_NO_FSYNC, &(struct promise){0}, &rnd, 0, &figures);
  crash_record_free(record);
  print_message("# no syncs: found by %u of %u crashes\n", figures.found, figures.crashes);
  assert_true(figures.found > 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_is_lost_or_torn),
      cmocka_unit_test(an_emptied_journal_stays_empty),
      cmocka_unit_test(faults_are_found),
      cmocka_unit_test(syncs_that_are_left_out_are_found),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
