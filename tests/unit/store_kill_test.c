/* SPDX-License-Identifier: GPL-2.0-only
 *
 * store_kill_test.c: a process is killed after each store that it makes to a data file, not
 * at random: a traced child goes step by step, and whenever the file has changed, that is
 * what a kill there would leave.
 *  1. A commit is there or not, as a whole.
 *  2. A recovery, and a repair, may be killed anywhere: the next one finds all rows, and
 *     none of them damaged.
 *  3. The same for closing, which moves rows and puts the bucket array together.
 *  4. A load of a table that was emptied, for which the beginning of its blocks moves, is
 *     there or not, as a whole, and so is one that is undone.
 */
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

enum
{
  ROWS = 16,
  LOADED = 90, /* so many rows want more buckets than a new file has */
  STATES_MAX = 20000
};

/* What the file was after each store. */
struct states
{
  struct
  {
    char *data;
    size_t len;
  } list[STATES_MAX];
  unsigned count;
};

static int begin(void **state)
{
  (void)state;
  alarm(280);
  catch_log();
  return 0;
}

static void add_state(struct states *states, const char *data, size_t len)
{
  require(states->count < STATES_MAX);
  states->list[states->count].data = malloc(len);
  require(states->list[states->count].data != NULL);
  memcpy(states->list[states->count].data, data, len);
  states->list[states->count++].len = len;
}

static void free_states(struct states *states)
{
  for (unsigned i = 0; i < states->count; i++)
    free(states->list[i].data);
  free(states);
}

/* The file as it is now, mapped again if it has another length. */
struct watched
{
  int fd;
  char *map;
  size_t len;
};

static void watch(struct watched *watched)
{
  off_t len = lseek(watched->fd, 0, SEEK_END);
  require(len > 0);
  if ((size_t)len == watched->len)
    return;
  if (watched->map != NULL)
    munmap(watched->map, watched->len);
  watched->len = (size_t)len;
  watched->map = mmap(NULL, watched->len, PROT_READ, MAP_SHARED, watched->fd, 0);
  require(watched->map != MAP_FAILED);
}

/* Lets a child do WORK, and notes each state of NAME's file. */
static struct states *trace(const char *name, void (*work)(const char *name))
{
  struct states *states = calloc(1, sizeof *states);
  struct watched watched = {.fd = open(file_of(name), O_RDONLY)};
  int status;
  assert_non_null(states);
  assert_true(watched.fd >= 0);
  fflush(NULL);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0)
  {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    work(name);
    _exit(0);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  watch(&watched);
  add_state(states, watched.map, watched.len);
  while (WIFSTOPPED(status))
  {
    assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    watch(&watched);
    if (states->list[states->count - 1].len != watched.len ||
        memcmp(states->list[states->count - 1].data, watched.map, watched.len) != 0)
      add_state(states, watched.map, watched.len);
  }
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  munmap(watched.map, watched.len);
  close(watched.fd);
  return states;
}

/* ---- what is done ---- */

static void commit_changes(const char *name)
{
  struct blitz_table *table = open_table(name);
  struct blitz_txn *txn = new_txn();
  char value[200];
  for (uint64_t n = 0; n < ROWS; n += 2)
  {
    row_fill(value, 60 + 3 * n, n, 2);
    require_ok(
        blitz_update(txn, table, number_key(n), number_key(n), bytes(value, 60 + 3 * n), ERR));
  }
  for (uint64_t n = 1; n < ROWS; n += 4)
    require_ok(blitz_remove(txn, table, number_key(n), ERR));
  for (uint64_t n = ROWS; n < ROWS + 6; n++)
  {
    row_fill(value, 60, n, 2);
    require_ok(blitz_insert(txn, table, number_key(n), bytes(value, 60), ERR));
  }
  require_ok(blitz_txn_commit(txn, ERR));
}

static void just_open(const char *name)
{
  struct blitz_table *table;
  catch_log();
  require_ok(blitz_table_open(path_of(name), 0, &table, ERR));
}

static void repair(const char *name)
{
  struct blitz_table *table;
  catch_log();
  require_ok(blitz_table_open(path_of(name), BLITZ_OPEN_REPAIR, &table, ERR));
}

static void close_grown(const char *name)
{
  struct blitz_table *table = open_table(name);
  struct blitz_txn *txn = new_txn();
  char value[60];
  for (uint64_t n = ROWS; n < 100; n++)
  {
    row_fill(value, sizeof value, n, 1);
    require_ok(blitz_insert(txn, table, number_key(n), bytes(value, sizeof value), ERR));
    require_ok(blitz_txn_commit(txn, ERR));
  }
  blitz_txn_free(txn);
  blitz_table_close(table);
}

/* Empties the table, begins to load LOADED rows and undoes that; then loads them. */
static void load(const char *name)
{
  struct blitz_table *table = open_table(name);
  struct blitz_txn *txn = new_txn();
  char value[40];
  for (uint64_t n = 0; n < ROWS; n++)
    require_ok(blitz_remove(txn, table, number_key(n), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  for (unsigned undone = 0; undone < 2; undone++)
  {
    require_ok(blitz_txn_expect_rows(txn, table, LOADED << undone, false, ERR));
    for (uint64_t n = 0; n < LOADED; n++)
    {
      row_fill(value, sizeof value, n, 2);
      require_ok(blitz_insert(txn, table, number_key(n), bytes(value, sizeof value), ERR));
    }
    if (undone == 0)
      blitz_txn_rollback(txn);
  }
  require_ok(blitz_txn_finish_load(txn, table, NULL, NULL, ERR));
  require_ok(blitz_txn_commit(txn, ERR));
}

/* ---- what is there ---- */

static bool changed(struct blitz_cursor *cursor)
{
  bool after = row_version(cursor, 0) == 2;
  for (uint64_t n = 0; n < ROWS + 6; n++)
  {
    uint64_t before_version = n < ROWS ? 1 : 0;
    uint64_t after_version = n >= ROWS || n % 2 == 0 ? 2 : n % 4 == 1 ? 0 : 1;
    assert_int_equal(row_version(cursor, n), after ? after_version : before_version);
  }
  return after;
}

/* Scans agree with look-ups, and nothing was called damaged. */
static void assert_whole(struct blitz_table *table)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  enum blitz_rc rc;
  uint64_t rows = 0;
  assert_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
    rows++;
  assert_rc(BLITZ_END, rc);
  assert_int_equal(rows, row_count(table));
  blitz_cursor_close(cursor);
  if (strstr(log_text(), "damaged"))
    fail_msg("%s", log_text());
}

static void put_state(const char *name, const struct states *states, unsigned i)
{
  write_whole(file_of(name), states->list[i].data, states->list[i].len);
  catch_log();
}

/* Opens each state; returns how many have the changes. */
static unsigned assert_all_recover(const struct states *states)
{
  unsigned after = 0;
  for (unsigned i = 0; i < states->count; i++)
  {
    put_state("left", states, i);
    struct blitz_table *table = open_table("left");
    struct blitz_cursor *cursor = new_cursor(table, NULL);
    after += changed(cursor);
    blitz_cursor_close(cursor);
    assert_whole(table);
    blitz_table_close(table);
  }
  return after;
}

/* ---- tests ---- */

static void make_rows(const char *name)
{
  struct blitz_table *table = new_table(name);
  put_rows(table, 0, ROWS, 60, 1);
  blitz_table_close(table);
}

static void a_commit_is_whole(void **state)
{
  (void)state;
  make_rows("commit");
  struct states *states = trace("commit", commit_changes);
  unsigned after = assert_all_recover(states);
  print_message("# %u stores of a commit; %u of them leave it done\n", states->count - 1, after);
  assert_in_range(states->count, 100, STATES_MAX);
  assert_true(after > 0 && after < states->count);
  free_states(states);
}

static void recovery_may_be_killed(void **state)
{
  (void)state;
  make_rows("commit");
  struct states *commits = trace("commit", commit_changes);
  unsigned stores = 0;
  /* Most of all what the end of the commit leaves, where rows have been replaced. */
  for (unsigned i = commits->count - 1, step = 1; i > commits->count / 4; i -= step, step += 8)
  {
    put_state("again", commits, i);
    struct states *states = trace("again", just_open);
    stores += states->count - 1;
    unsigned after = assert_all_recover(states);
    assert_true(after == 0 || after == states->count);
    free_states(states);
    if (step > i)
      break;
  }
  print_message("# %u stores of recoveries\n", stores);
  assert_in_range(stores, 200, 1000000);
  free_states(commits);
}

/* Opens each state of a repair, with one or without. */
static void assert_all_rows_recover(const struct states *states, uint64_t rows)
{
  for (unsigned i = 0; i < states->count; i++)
    for (unsigned repaired = 0; repaired < 2; repaired++)
    {
      struct blitz_table *table;
      put_state("left", states, i);
      enum blitz_rc rc =
          blitz_table_open(path_of("left"), repaired ? BLITZ_OPEN_REPAIR : 0, &table, ERR);
      /* The file that was never touched is damaged, and says so. */
      if (i == 0 && !repaired && rc == BLITZ_CORRUPT)
        continue;
      assert_ok(rc);
      assert_rows(table, 0, rows, 1);
      assert_whole(table);
      blitz_table_close(table);
    }
}

static void repair_may_be_killed(void **state)
{
  (void)state;
  size_t len;
  make_rows("sound");
  char *data = read_whole(file_of("sound"), &len);
  /* The number of the last commit, then a bucket, are wrong. */
  static const unsigned offs[] = {152, 256 + 8};
  for (unsigned i = 0; i < 2; i++)
  {
    char *copy = malloc(len);
    assert_non_null(copy);
    memcpy(copy, data, len);
    copy[offs[i]] ^= 1;
    write_whole(file_of("repaired"), copy, len);
    struct states *states = trace("repaired", repair);
    print_message("# %u stores of a repair\n", states->count - 1);
    assert_in_range(states->count, 30, STATES_MAX);
    assert_all_rows_recover(states, ROWS);
    free_states(states);
    free(copy);
  }
  free(data);
}

static void closing_may_be_killed(void **state)
{
  (void)state;
  make_rows("grown");
  struct states *states = trace("grown", close_grown);
  uint64_t rows = ROWS;
  print_message("# %u stores of inserts and of closing\n", states->count - 1);
  for (unsigned i = 0; i < states->count; i++)
  {
    put_state("left", states, i);
    struct blitz_table *table = open_table("left");
    assert_in_range(row_count(table), rows, rows + 1);
    rows = row_count(table);
    assert_rows(table, 0, rows, 1);
    assert_whole(table);
    blitz_table_close(table);
  }
  assert_int_equal(rows, 100);
  free_states(states);
}

static void load_may_be_killed(void **state)
{
  (void)state;
  unsigned counts[3] = {0};
  make_rows("load");
  struct states *states = trace("load", load);
  for (unsigned i = 0; i < states->count; i++)
  {
    put_state("left", states, i);
    struct blitz_table *table = open_table("left");
    uint64_t rows = row_count(table);
    unsigned stage = rows == ROWS ? 0 : rows == 0 ? 1 : 2;
    counts[stage]++;
    if (stage == 0)
      assert_rows(table, 0, ROWS, 1);
    else if (stage == 2)
      assert_rows(table, 0, LOADED, 2);
    assert_whole(table);
    blitz_table_close(table);
  }
  print_message("# %u stores of loads; before them %u, after them %u\n", counts[1], counts[0],
                counts[2]);
  assert_true(counts[0] > 1 && counts[1] > LOADED && counts[2] > 0);
  free_states(states);
}

int main(void)
{
#ifdef SANITIZED
  puts("# skipped: with a sanitizer each store is hundreds of steps");
  return 0;
#endif
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(a_commit_is_whole, begin),
      cmocka_unit_test_setup(recovery_may_be_killed, begin),
      cmocka_unit_test_setup(repair_may_be_killed, begin),
      cmocka_unit_test_setup(closing_may_be_killed, begin),
      cmocka_unit_test_setup(load_may_be_killed, begin),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
