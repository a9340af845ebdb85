/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_damage_test.c: index files that were damaged, closed or while they were open at a
 * kill. Nobody dies of it and no answer is wrong: either the file is made anew or what is in it
 * is right. BLITZ_ROUNDS=10000 tries as many damages.
 */
#include "support/indexed.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

enum
{
  ROWS = 300,
  PAGE_LEN = 4096,
  LIMIT_SECONDS = 60
};

static uint64_t rows_made;

/* Makes a table, and closes it or ends as after a kill. */
static void make_table(const char *name, bool close_it)
{
  pid_t child = fork();
  int status;
  require(child >= 0);
  if (child == 0)
  {
    struct blitz_table *table = new_indexed_table(name);
    struct blitz_txn *txn = new_indexed_txn();
    for (uint64_t n = 0; n < ROWS; n += 50)
      put_indexed_rows(table, n, n + 50, 1, 60);
    for (uint64_t n = 0; n < ROWS; n += 5)
      require_ok(indexed_update(txn, table, n, indexed_version(3, 3), 60));
    require_ok(blitz_txn_commit(txn, ERR));
    for (uint64_t n = ROWS - 40; n < ROWS; n++)
      require_ok(blitz_remove(txn, table, number_key(n), ERR));
    require_ok(blitz_txn_commit(txn, ERR));
    blitz_txn_free(txn);
    if (close_it)
      blitz_table_close(table);
    _exit(0);
  }
  require(waitpid(child, &status, 0) == child && status == 0);
  rows_made = ROWS - 40;
}

/* ---- damages ------------------------------------------------------------------------- */

static void damage_once(char *data, size_t *len, struct rnd *rnd)
{
  size_t pages = *len / PAGE_LEN, page = rnd_below(rnd, (uint32_t)pages) * (size_t)PAGE_LEN;
  size_t other = rnd_below(rnd, (uint32_t)pages) * (size_t)PAGE_LEN;
  switch (rnd_below(rnd, 8))
  {
  case 0: /* a bit */ data[rnd_below(rnd, (uint32_t)*len)] ^= (char)(1 << rnd_below(rnd, 8)); break;
  case 1: /* a bit near the begin of a page */
    data[page + rnd_below(rnd, 64)] ^= (char)(1 << rnd_below(rnd, 8));
    break;
  case 2: /* eight bytes */
    for (unsigned i = 0; i < 8; i++)
      data[page + rnd_below(rnd, PAGE_LEN / 8) * 8 + i] = (char)rnd_next(rnd);
    break;
  case 3: /* a small number somewhere in the first bytes */
    data[page + rnd_below(rnd, 200)] = (char)rnd_below(rnd, 8);
    break;
  case 4: /* a page */
    for (unsigned i = 0; i < PAGE_LEN; i++)
      data[page + i] = (char)rnd_next(rnd);
    break;
  case 5: memset(data + page, 0, PAGE_LEN); break;
  case 6: /* another page's bytes */
    for (unsigned i = 0; i < PAGE_LEN; i++)
    {
      char byte = data[page + i];
      data[page + i] = data[other + i];
      data[other + i] = byte;
    }
    break;
  default: *len = rnd_below(rnd, (uint32_t)*len); break;
  }
}

static void damage(const char *from, const char *to, struct rnd *rnd)
{
  char file[4200];
  size_t len;
  char *data;
  snprintf(file, sizeof file, "%s", index_file_of(from));
  data = read_whole(file, &len);
  for (unsigned times = rnd_below(rnd, 4) ? 1 : 3; times > 0 && len >= PAGE_LEN; times--)
    damage_once(data, &len, rnd);
  write_whole(index_file_of(to), data, len);
  free(data);
}

/* ---- what becomes of it ----------------------------------------------------------------- */

static void use(const char *name)
{
  struct blitz_table *table;
  struct blitz_txn *txn;
  alarm(LIMIT_SECONDS);
  table = open_indexed_table(name);
  require(row_count(table) == rows_made);
  assert_indexes_right(table);
  txn = new_indexed_txn();
  for (uint64_t n = 0; n < rows_made; n += 17)
    require_ok(indexed_update(txn, table, n, indexed_version(9, 9), 50));
  for (uint64_t n = ROWS; n < ROWS + 60; n++)
    require_ok(indexed_insert(txn, table, n, 1, 50));
  require_ok(blitz_txn_commit(txn, ERR));
  for (uint64_t n = 3; n < rows_made; n += 19)
    require_ok(blitz_remove(txn, table, number_key(n), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
  assert_indexes_right(table);
  blitz_table_close(table);
}

/* In a process of its own. */
static void use_in_child(const char *name, uint64_t seed, unsigned round)
{
  pid_t child = fork();
  int status;
  assert_true(child >= 0);
  if (child == 0)
  {
    use(name);
    _exit(0);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  if (status != 0)
    fail_msg("seed %llu, round %u: the process ended with status %#x", (unsigned long long)seed,
             round, (unsigned)status);
}

static void copy_rows(const char *from, const char *to)
{
  char file[4200];
  snprintf(file, sizeof file, "%s", file_of(from));
  copy_file(file, file_of(to));
}

static void damage_and_use(const char *from, unsigned rounds)
{
  uint64_t seed = run_seed();
  struct rnd rnd = {seed};
  for (unsigned round = 0; round < rounds; round++)
  {
    copy_rows(from, "work");
    damage(from, "work", &rnd);
    use_in_child("work", seed, round);
  }
}

static void files_left_open_at_a_kill(void **state)
{
  (void)state;
  catch_log();
  make_table("left", false);
  damage_and_use("left", run_rounds(300 / INDEXED_SLOWER));
}

static void closed_files(void **state)
{
  (void)state;
  catch_log();
  make_table("closed", true);
  damage_and_use("closed", run_rounds(100 / INDEXED_SLOWER));
}

/* What is whole is not made anew, or the tests above would tell nothing. */
static void whole_files_are_believed(void **state)
{
  static const char *const names[] = {"left", "closed"};
  char file[4200];
  (void)state;
  for (unsigned i = 0; i < 2; i++)
  {
    make_table(names[i], i == 1);
    catch_log();
    copy_rows(names[i], "work");
    snprintf(file, sizeof file, "%s", index_file_of(names[i]));
    copy_file(file, index_file_of("work"));
    struct blitz_table *table = open_indexed_table("work");
    assert_null(strstr(log_text(), "anew"));
    assert_indexes_right(table);
    blitz_table_close(table);
  }
}

/* A byte of what an entry tells beside its key is wrong, at each of many places: nothing of
 * the file's structure shows it.
 */
static void a_changed_byte_of_an_entry_is_found(void **state)
{
  char file[4200];
  char *data;
  size_t len;
  unsigned found = 0;
  (void)state;
  make_table("left", false);
  snprintf(file, sizeof file, "%s", index_file_of("left"));
  data = read_whole(file, &len);
  for (size_t off = 2 * PAGE_LEN; off + 8 < len; off++)
  {
    struct blitz_table *table;
    static const char payload[8] = {0, 0, 0, 3, 0, 0, 0, 3};
    if (memcmp(data + off, payload, sizeof payload) != 0 || found++ % 16 != 0)
      continue;
    data[off + 7] = 4;
    copy_rows("left", "work");
    write_whole(index_file_of("work"), data, len);
    data[off + 7] = 3;
    table = open_indexed_table("work");
    assert_indexes_right(table);
    blitz_table_close(table);
  }
  free(data);
  assert_true(found > 20);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whole_files_are_believed),
      cmocka_unit_test(a_changed_byte_of_an_entry_is_found),
      cmocka_unit_test(files_left_open_at_a_kill),
      cmocka_unit_test(closed_files),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
