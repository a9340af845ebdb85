/* SPDX-License-Identifier: GPL-2.0-only
 *
 * difference_test.c: updates of which the log has only what they change.
 *  1. A difference makes the new value of the old one, and of the new one again.
 *  2. The log gets little of a large row, and a start makes the row that was there.
 *  3. A row that is neither the old nor the new one is told, and the table is not opened.
 */
#include "base/bytes.h"
#include "log/current.h"
#include "log/record.h"
#include "support.h"
#include "table/table.h"

enum
{
  LEN_MAX = 40,
  ROW_LEN = 1000,
  LOGGED_MAX = 200, /* bytes, of an update of one byte */
};

static enum blitz_rc start(void)
{
  struct blitz_start_options options = {.dir = test_dir(), .log_limit = 1 << 20, .memory = 1 << 20};
  return bz_start(&options, false, ERR);
}

/* Values of which much is the same, at other places too. */
static struct blitz_slice some_value(uint8_t *to, struct rnd *rnd)
{
  size_t len = rnd_below(rnd, LEN_MAX + 1);
  for (size_t i = 0; i < len; i++)
    to[i] = rnd_below(rnd, 12) == 0 ? 'b' : 'a';
  return bytes(to, len);
}

static void assert_makes(const struct bz_difference *difference, struct blitz_slice of,
                         struct blitz_slice value)
{
  uint8_t made[LEN_MAX];
  assert_int_equal(bz_difference_len(difference, of), value.len);
  bz_difference_make(difference, of, made);
  assert_memory_equal(made, value.data, value.len);
}

static void a_difference_makes_the_new_value(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  for (unsigned round = run_rounds(100000); round > 0; round--)
  {
    uint8_t a[LEN_MAX], b[LEN_MAX], logged[BZ_DIFFERENCE_HEAD_MAX + LEN_MAX];
    struct blitz_slice before = some_value(a, &rnd), after = some_value(b, &rnd);
    struct bz_difference found = {.crc = (uint32_t)rnd_next(&rnd)}, read;
    bz_difference_find(before, after, &found);
    size_t head_len = bz_difference_head_put(logged, &found);
    memcpy(logged + head_len, found.middle.data, found.middle.len);
    assert_true(bz_difference_get(bytes(logged, head_len + found.middle.len), &read));
    assert_int_equal(read.crc, found.crc);
    assert_makes(&read, before, after);
    assert_makes(&read, after, after);
    for (size_t len = 0; len < head_len; len++)
      assert_false(bz_difference_get(bytes(logged, len), &read));
  }
}

/* Row 1 after an update of one byte, and after one that makes it longer too. */
static struct blitz_slice updated(bool longer)
{
  static char value[ROW_LEN + 3];
  row_fill(value, ROW_LEN, 1, 1);
  value[ROW_LEN / 2] ^= 1;
  memcpy(value + ROW_LEN, "end", 3);
  return bytes(value, ROW_LEN + (longer ? 3 : 0));
}

static void update_to(struct blitz_table *table, struct blitz_slice value)
{
  struct blitz_txn *txn = new_txn();
  require_ok(blitz_update(txn, table, number_key(1), number_key(1), value, ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
}

static void update_rows(void)
{
  require_ok(start());
  struct blitz_table *table = new_table("updated");
  put_rows(table, 0, 10, ROW_LEN, 1);
  for (int longer = 0; longer < 2; longer++)
  {
    uint64_t end = bz_redo_end(bz_current_log());
    update_to(table, updated(longer));
    require(bz_redo_end(bz_current_log()) - end < LOGGED_MAX);
  }
}

static void the_log_gets_what_has_changed(void **state)
{
  (void)state;
  struct blitz_slice value, want = updated(true);
  in_killed_process(update_rows);
  assert_ok(start());
  struct blitz_table *table = open_table("updated");
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  assert_ok(blitz_get(cursor, number_key(1), &value, ERR));
  assert_true(slice_is(value, want.data, want.len));
  blitz_cursor_close(cursor);
  assert_int_equal(row_count(table), 10);
  blitz_table_close(table);
  blitz_stop();
}

/* Logs a commit with a difference of another row 1 than there is. */
static void log_other_row(void)
{
  require_ok(start());
  struct blitz_table *table = new_table("other");
  put_rows(table, 0, 10, 60, 1);
  uint8_t commit[BZ_COMMIT_HEAD_LEN + BZ_COMMIT_TABLE_LEN], change[64];
  struct bz_difference difference = {.begin = 20, .end = 30, .crc = 1};
  size_t len = bz_change_head_put(change, BZ_LOGGED_DIFFERENCE, 8, 7);
  memcpy(change + len, number_key(1).data, 8);
  len += 8;
  len += bz_difference_head_put(change + len, &difference);
  change[len++] = 'x';
  bz_commit_head_put(commit, UINT64_MAX, 1);
  bz_commit_record_put(commit + BZ_COMMIT_HEAD_LEN,
                       &(struct bz_commit_record){.number = table->log_number,
                                                  .commit = atomic_load(&table->committed) + 1,
                                                  .row_count = 10});
  struct blitz_slice parts[] = {{commit, sizeof commit}, {change, len}};
  uint64_t end;
  require_ok(bz_redo_append(bz_current_log(), BZ_RECORD_COMMIT, parts, 2, &end, ERR));
  require_ok(bz_redo_sync(bz_current_log(), end, ERR));
}

static void a_row_that_is_neither_is_told(void **state)
{
  (void)state;
  struct blitz_table *table;
  in_killed_process(log_other_row);
  assert_ok(start());
  assert_non_null(strstr(log_text(), "cannot be brought to its last commit"));
  assert_rc(BLITZ_CORRUPT, blitz_table_open(path_of("other"), 0, &table, ERR));
  assert_ok(blitz_table_open(path_of("other"), BLITZ_OPEN_REPAIR, &table, ERR));
  blitz_table_close(table);
  blitz_stop();
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_difference_makes_the_new_value),
      cmocka_unit_test(the_log_gets_what_has_changed),
      cmocka_unit_test(a_row_that_is_neither_is_told),
  };
  catch_log();
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
