/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_mixture_test.c: an index file beside rows of another time, or with damaged bytes.
 * Both files are kept as they were at many moments, when the table was closed and when a
 * kill would have stopped it. Any of the one kind with any of the other:
 *  1. the indexes agree with the rows when the table is open, believed or made anew;
 *  2. if both are of one moment they are believed;
 *  3. no damaged byte of a closed table's index file goes unnoticed, and none is believed
 *     that was not closed, after the machine has started again.
 */
#include "support/indexed.h"

#include <unistd.h>

enum
{
  ROWS = 120,
  STATES_MAX = 40,
  BOOT_ID_LEN = 8
};

struct state
{
  char *rows, *index;
  size_t rows_len, index_len;
  bool closed;
};

static struct state states[STATES_MAX];
static unsigned state_count;
static const char name[] = "states", mixed[] = "mixed";

static int begin(void **state)
{
  (void)state;
  alarm(240);
  catch_log();
  return 0;
}

static void keep_state(bool closed)
{
  struct state *state = &states[state_count++];
  assert_true(state_count <= STATES_MAX);
  state->closed = closed;
  state->rows = read_whole(file_of(name), &state->rows_len);
  state->index = read_whole(index_file_of(name), &state->index_len);
}

static void change_rows(struct blitz_table *table, struct rnd *rnd, unsigned count)
{
  struct blitz_txn *txn = new_indexed_txn();
  for (unsigned i = 0; i < count; i++)
  {
    uint64_t n = rnd_below(rnd, ROWS);
    uint64_t version = indexed_version(rnd_below(rnd, 50), rnd_below(rnd, 1000));
    enum blitz_rc rc = BLITZ_NOT_FOUND;
    blitz_txn_set_indexer(txn, &indexed_indexer);
    if (rnd_below(rnd, 4) == 0)
      rc = blitz_remove(txn, table, number_key(n), ERR);
    else if (rnd_below(rnd, 2))
      rc = indexed_update(txn, table, n, version, 100);
    if (rc == BLITZ_NOT_FOUND)
      rc = indexed_insert(txn, table, n, version, 100);
    assert_true(rc == BLITZ_OK || rc == BLITZ_DUPLICATE);
    require_ok(blitz_txn_commit(txn, ERR));
  }
  blitz_txn_free(txn);
}

/* All that makes states of the files, and one of each. */
static void make_states(struct rnd *rnd)
{
  struct blitz_table *table = new_indexed_table(name);
  keep_state(false);
  change_rows(table, rnd, 100);
  keep_state(false);
  for (unsigned i = 0; i < 4; i++)
  {
    blitz_table_close(table);
    keep_state(true);
    table = open_indexed_table(name);
    keep_state(true); /* nothing has changed yet */
    change_rows(table, rnd, 1);
    keep_state(false);
    if (i == 1)
      assert_ok(blitz_table_rebuild_indexes(table, &indexed_indexer, ERR));
    change_rows(table, rnd, 20);
    keep_state(false);
    if (i == 2)
    {
      assert_ok(blitz_table_disable_indexes(table, 5, ERR));
      keep_state(false);
      change_rows(table, rnd, 3);
      keep_state(false);
      assert_ok(blitz_table_enable_indexes(table, &indexed_indexer, ERR));
      keep_state(false);
    }
  }
  blitz_table_close(table);
  assert_ok(blitz_table_open(path_of(name), 0, &table, ERR)); /* without the indexes */
  struct blitz_txn *txn = new_txn();
  enum blitz_rc rc = blitz_remove(txn, table, number_key(5), ERR);
  if (rc == BLITZ_NOT_FOUND)
    rc = blitz_remove(txn, table, number_key(6), ERR);
  require_ok(blitz_txn_commit(txn, ERR));
  keep_state(false);
  blitz_txn_free(txn);
  blitz_table_close(table);
  keep_state(true);
  table = open_indexed_table(name);
  keep_state(false);
  blitz_table_close(table);
  keep_state(true);
}

/* Opens rows of one state with the indexes of another. True: they were made anew. */
static bool open_mixture(unsigned rows, unsigned index)
{
  struct blitz_table *table;
  write_whole(file_of(mixed), states[rows].rows, states[rows].rows_len);
  write_whole(index_file_of(mixed), states[index].index, states[index].index_len);
  catch_log();
  table = open_indexed_table(mixed);
  if (blitz_table_check_indexes(table, &indexed_indexer, ERR) != BLITZ_OK)
    fail_msg("rows of %u, indexes of %u: %s", rows, index, last_error.text);
  assert_indexes_right(table);
  blitz_table_close(table);
  return strstr(log_text(), "anew") != NULL;
}

static void mixtures_give_no_wrong_answer(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  unsigned believed = 0, anew = 0;
  make_states(&rnd);
  for (unsigned i = 0; i < state_count; i++)
    if (!open_mixture(i, i))
      believed++;
  for (unsigned round = 0; round < run_rounds(40); round++)
  {
    /* They are more alike when they are of near moments. */
    unsigned rows = rnd_below(&rnd, state_count);
    unsigned index = rnd_below(&rnd, 2) ? rnd_below(&rnd, state_count)
                                        : (rows + rnd_below(&rnd, 4)) % state_count;
    if (open_mixture(rows, index))
      anew++;
  }
  print_message("# %u of one moment were believed, %u mixtures made anew\n", believed, anew);
  assert_true(believed >= state_count - 3 && anew > 0);
}

static void a_closed_file_s_damage_is_noticed(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed() + 1};
  struct state *closed = &states[2];
  assert_true(closed->closed);
  for (unsigned round = 0; round < run_rounds(25); round++)
  {
    struct blitz_table *table;
    char *data = malloc(closed->index_len);
    assert_non_null(data);
    memcpy(data, closed->index, closed->index_len);
    for (unsigned i = rnd_below(&rnd, 3); i != UINT32_MAX; i--)
    {
      size_t off = rnd_below(&rnd, (uint32_t)closed->index_len);
      data[off] = (char)(data[off] ^ (char)(1 + rnd_below(&rnd, 255)));
    }
    write_whole(file_of(mixed), closed->rows, closed->rows_len);
    write_whole(index_file_of(mixed), data, closed->index_len - (round % 10 == 0));
    free(data);
    catch_log();
    table = open_indexed_table(mixed);
    assert_non_null(strstr(log_text(), "anew"));
    assert_indexes_right(table);
    blitz_table_close(table);
  }
}

/* The header says in which run of the machine the file was open. */
static size_t boot_id_off(const struct state *state)
{
  char text[64] = "", id[BOOT_ID_LEN];
  unsigned digits = 0;
  FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");
  if (f == NULL || fgets(text, sizeof text, f) == NULL)
    return 0;
  fclose(f);
  memset(id, 0, sizeof id);
  for (const char *c = text; *c && digits < 2 * BOOT_ID_LEN; c++)
    if (strchr("0123456789abcdef", *c))
    {
      unsigned value = *c <= '9' ? (unsigned)(*c - '0') : (unsigned)(*c - 'a') + 10;
      id[digits / 2] = (char)((unsigned)id[digits / 2] << 4 | value);
      digits++;
    }
  for (size_t off = 0; off < 256 - BOOT_ID_LEN; off++)
    if (memcmp(state->rows + off, id, BOOT_ID_LEN) == 0)
      return off;
  return 0;
}

static void nothing_open_is_believed_after_another_start(void **state)
{
  (void)state;
  size_t off = boot_id_off(&states[1]);
  if (off == 0)
  {
    print_message("# skipped: this kernel names no start\n");
    skip();
  }
  for (unsigned i = 0; i < state_count; i++)
  {
    bool was_open = !states[i].closed;
    states[i].rows[off] ^= 1;
    bool again = was_open ? open_mixture(i, i) : true;
    states[i].rows[off] ^= 1;
    /* An empty table's indexes are made without a word. */
    if (i > 0)
      assert_true(again);
  }
}

static int end(void **state)
{
  for (unsigned i = 0; i < state_count; i++)
  {
    free(states[i].rows);
    free(states[i].index);
  }
  return remove_dir(state);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(mixtures_give_no_wrong_answer, begin),
      cmocka_unit_test(a_closed_file_s_damage_is_noticed),
      cmocka_unit_test(nothing_open_is_believed_after_another_start),
  };
  return cmocka_run_group_tests(tests, make_dir, end);
}
