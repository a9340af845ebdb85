/* SPDX-License-Identifier: GPL-2.0-only
 *
 * redo_crash_test.c: the log after the death of the process, and after loss of power, at any
 * call: also while it is opened again after such a crash. Each time
 *  1. it opens;
 *  2. what it gives back are records as they were appended, in order, without a gap;
 *  3. all that was synced is there, and after the death of the process all that was written;
 *  4. none that was released long ago comes back.
 *
 * The faults of crash_fs.h must each be found, or the test would see nothing.
 */
#include "log/redo.h"
#include "support/crash_fs.h"

#include <sys/stat.h>
#include <unistd.h>

enum
{
  FILE_LEN = 64 << 10,
  STEPS = 150,
  LEN_MAX = 20000,
};

/* What the program has been told; see crash_note(). Numbers of records. */
enum
{
  NOTE_APPENDED,  /* so many there are */
  NOTE_WRITTEN,   /* bz_redo_write() has returned */
  NOTE_SYNCED,    /* bz_redo_sync() */
  NOTE_RELEASING, /* bz_redo_release() was called for the records before */
  NOTE_RELEASED,  /* and has returned */
};

/* ---- records ---- */

/* RUN tells records of different runs apart that have one number. */
static size_t make_record(uint8_t *to, uint64_t number, uint64_t run)
{
  struct rnd rnd = {number * 31 + run};
  size_t len = 16 + 16 + rnd_below(&rnd, rnd_below(&rnd, 4) ? 200 : LEN_MAX - 32);
  memcpy(to, &number, 8);
  memcpy(to + 8, &run, 8);
  row_fill((char *)to + 16, len - 16, number, run);
  return len;
}

struct read_back
{
  uint64_t first, count;
  uint64_t runs[4096]; /* of the records */
  bool wrong;
};

static enum blitz_rc read_one(void *arg, const struct bz_redo_record *record,
                              struct blitz_error *err)
{
  struct read_back *back = arg;
  uint8_t expected[LEN_MAX];
  uint64_t number, run;
  (void)err;
  if (record->payload.len < 32)
  {
    back->wrong = true;
    return BLITZ_OK;
  }
  memcpy(&number, record->payload.data, 8);
  memcpy(&run, (const uint8_t *)record->payload.data + 8, 8);
  size_t len = make_record(expected, number, run);
  if (back->count == 0)
    back->first = number;
  if (number != back->first + back->count || len != record->payload.len ||
      memcmp(expected, record->payload.data, len) != 0 || record->type != number % 250)
    back->wrong = true;
  require(back->count < sizeof back->runs / sizeof *back->runs);
  back->runs[back->count++] = run;
  return BLITZ_OK;
}

static enum blitz_rc open_log(const char *dir, struct bz_redo **redop, struct read_back *back)
{
  struct bz_redo_options options = {.dir = dir, .file_len = FILE_LEN, .limit = 64 << 20};
  back->first = back->count = 0;
  back->wrong = false;
  return bz_redo_open(&options, read_one, back, redop, ERR);
}

/* ---- the program ---- */

struct program
{
  struct bz_redo *redo;
  uint64_t run;
  uint64_t next;       /* number of the next record */
  uint64_t ends[4096]; /* where records end, from the one numbered base on */
  uint64_t base, released;
};

static void append(struct program *program)
{
  uint8_t record[LEN_MAX];
  size_t len = make_record(record, program->next, program->run);
  struct blitz_slice part = bytes(record, len);
  uint64_t end;
  /* It may be written at once to make room. */
  crash_note(NOTE_APPENDED, program->next + 1);
  require_ok(bz_redo_append(program->redo, (uint8_t)(program->next % 250), &part, 1, &end, ERR));
  program->ends[program->next++ - program->base] = end;
}

static void release(struct program *program, struct rnd *rnd)
{
  uint64_t span = program->next - program->released;
  if (span < 2)
    return;
  uint64_t to = program->released + 1 + rnd_below(rnd, (uint32_t)span - 1);
  require_ok(bz_redo_sync(program->redo, program->ends[program->next - 1 - program->base], ERR));
  crash_note(NOTE_SYNCED, program->next);
  crash_note(NOTE_RELEASING, to);
  require_ok(bz_redo_release(program->redo, program->ends[to - 1 - program->base], ERR));
  crash_note(NOTE_RELEASED, to);
  program->released = to;
}

/* Opens the log in DIR and works STEPS times. FIRST: number of the first record that is new. */
static void work(const char *dir, struct rnd *rnd, uint64_t run, unsigned steps)
{
  struct program program = {.run = run};
  static struct read_back back;
  require_ok(open_log(dir, &program.redo, &back));
  program.next = program.base = program.released = back.first + back.count;
  /* What is found is there for good. */
  crash_note(NOTE_APPENDED, program.next);
  crash_note(NOTE_SYNCED, program.next);
  if (back.count > 0)
    crash_note(NOTE_RELEASED, back.first);
  for (unsigned i = 0; i < steps; i++)
  {
    bool any = program.next > program.base;
    uint64_t last = any ? program.ends[program.next - 1 - program.base] : 0;
    switch (rnd_below(rnd, 10))
    {
    case 0: release(&program, rnd); break;
    case 1:
    case 2:
      if (!any)
        break;
      require_ok(bz_redo_sync(program.redo, last, ERR));
      crash_note(NOTE_SYNCED, program.next);
      break;
    case 3:
    case 4:
      if (!any)
        break;
      require_ok(bz_redo_write(program.redo, last, ERR));
      crash_note(NOTE_WRITTEN, program.next);
      break;
    case 5:
      /* Now and then several files at once, which are synced when the log has to (D4). */
      for (unsigned more = rnd_below(rnd, 8) == 0 ? 60 : 1; more > 0; more--)
        append(&program);
      break;
    default: append(&program);
    }
  }
  bz_redo_close(program.redo);
  crash_note(NOTE_SYNCED, program.next);
}

/* ---- what is found ---- */

static uint64_t max(uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

/* What was promised before the run that is recorded. */
struct promise
{
  uint64_t synced, appended, releasing, released;
};

/* Does what is found hold what was promised? NULL: it does. */
static const char *judge(const struct crash_player *player, bool killed, enum blitz_rc rc,
                         const struct read_back *back, const struct promise *before)
{
  uint64_t synced = max(before->synced, crash_noted(player, NOTE_SYNCED));
  uint64_t written = max(synced, crash_noted(player, NOTE_WRITTEN));
  uint64_t appended = max(before->appended, crash_noted(player, NOTE_APPENDED));
  uint64_t releasing = max(before->releasing, crash_noted(player, NOTE_RELEASING));
  uint64_t released = max(before->released, crash_noted(player, NOTE_RELEASED));
  uint64_t end = back->first + back->count;
  if (rc != BLITZ_OK)
    return last_error.text;
  if (back->wrong)
    return "records are not those that were appended";
  /* With no record there is no number. */
  if (back->count == 0)
    return synced > releasing ? "all is gone" : NULL;
  if (back->first > releasing)
    return "the first records are gone";
  if (back->first < released)
    return "released records are there";
  if (end < (killed ? written : synced))
    return "acknowledged records are gone";
  if (appended > 0 && end > appended)
    return "there are records that nobody appended";
  return NULL;
}

struct figures
{
  unsigned crashes, nested, found;
};

/* Crashes before call after call of what is recorded, and looks. In some of these places the
 * log is then opened, works on and crashes again.
 */
static void crash_everywhere(const struct crash_record *record, enum crash_fault fault,
                             const struct promise *before, struct rnd *rnd, unsigned depth,
                             struct figures *figures)
{
  struct crash_player *player = crash_play(record, fault);
  char dir[4300];
  static struct read_back back;
  snprintf(dir, sizeof dir, "%s/image%u", test_dir(), depth);
  (void)mkdir(dir, 0700);
  do
  {
    unsigned images = depth == 0 ? 3 : rnd_below(rnd, 4) == 0;
    for (unsigned i = 0; i < images; i++)
    {
      bool killed = rnd_below(rnd, 3) == 0;
      bool go_on = depth == 0 && fault == CRASH_NO_FAULT && rnd_below(rnd, 12) == 0;
      uint64_t image_seed = rnd_next(rnd);
      struct bz_redo *redo = NULL;
      crash_image(player, killed, image_seed, dir);
      enum blitz_rc rc = open_log(dir, &redo, &back);
      bz_redo_close(redo);
      const char *wrong = judge(player, killed, rc, &back, before);
      figures->crashes++;
      if (wrong != NULL && fault == CRASH_NO_FAULT)
        fail_msg("a crash (%s) before call %u: %s; records %llu to %llu", killed ? "kill" : "power",
                 figures->crashes, wrong, (unsigned long long)back.first,
                 (unsigned long long)(back.first + back.count));
      figures->found += wrong != NULL;
      if (!go_on || wrong != NULL)
        continue;
      /* The same image once more, since it has been opened. */
      crash_image(player, killed, image_seed, dir);
      /* With no record nobody knows which number comes next. */
      if (back.count == 0)
        continue;
      struct promise then = {.synced = max(before->synced, crash_noted(player, NOTE_SYNCED)),
                             .appended = back.first + back.count,
                             .releasing =
                                 max(before->releasing, crash_noted(player, NOTE_RELEASING)),
                             .released = max(before->released, crash_noted(player, NOTE_RELEASED))};
      crash_begin_image(player, killed, dir);
      work(dir, rnd, rnd_next(rnd), 30);
      struct crash_record *inner = crash_end();
      figures->nested++;
      crash_everywhere(inner, fault, &then, rnd, 1, figures);
      crash_record_free(inner);
    }
  } while (crash_step(player));
  crash_player_free(player);
}

static struct crash_record *record_run(struct rnd *rnd, const char *dir)
{
  crash_empty_dir(dir);
  crash_begin(dir);
  work(dir, rnd, 1, STEPS);
  return crash_end();
}

static void nothing_synced_is_lost(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  crash_seed(rnd.state);
  struct figures figures = {0};
  char dir[4300];
  snprintf(dir, sizeof dir, "%s/work", test_dir());
  (void)mkdir(dir, 0700);
  for (unsigned round = run_rounds(2); round > 0; round--)
  {
    struct crash_record *record = record_run(&rnd, dir);
    crash_everywhere(record, CRASH_NO_FAULT, &(struct promise){0}, &rnd, 0, &figures);
    crash_record_free(record);
  }
  print_message("# %u crashes, %u of the runs that came after one crashed again\n", figures.crashes,
                figures.nested);
  assert_true(figures.crashes > 500 && figures.nested > 3);
}

static void faults_are_found(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  crash_seed(rnd.state);
  char dir[4300];
  snprintf(dir, sizeof dir, "%s/work", test_dir());
  (void)mkdir(dir, 0700);
  struct crash_record *record = record_run(&rnd, dir);
  for (enum crash_fault fault = CRASH_NO_FAULT + 1; fault < CRASH_FAULTS; fault++)
  {
    struct figures figures = {0};
    crash_everywhere(record, fault, &(struct promise){0}, &rnd, 0, &figures);
    print_message("# fault %u: found by %u of %u crashes\n", fault, figures.found, figures.crashes);
    assert_true(figures.found > 0);
  }
  crash_record_free(record);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_synced_is_lost),
      cmocka_unit_test(faults_are_found),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
