/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_place_test.c: a cursor's place in an index, which it keeps while entries come, go
 * and move: in its own transaction, in one that has ended, after it has followed another
 * cursor, and while what it reads is written over by merges.
 */
#include "rows/rows.h"
#include "support/indexed.h"

#include <stdlib.h>

static struct blitz_cursor *begin_walk(struct blitz_table *table, struct blitz_txn *txn,
                                       unsigned index_no)
{
  struct blitz_cursor *cursor = new_cursor(table, txn);
  assert_ok(blitz_index_begin(cursor, index_no, ERR));
  assert_ok(blitz_index_seek(cursor, text(""), BLITZ_SEEK_FIRST, ERR));
  return cursor;
}

static void assert_at(struct blitz_cursor *cursor, unsigned index_no, uint64_t n)
{
  uint64_t found, version;
  assert_true(entry_is_right(cursor, index_no, &found, &version));
  assert_int_equal(found, n);
}

static void change(struct blitz_txn *txn, struct blitz_table *table, uint64_t n, uint64_t version)
{
  assert_ok(indexed_update(txn, table, n, version, 100));
}

/* ---- row keys that begin alike -------------------------------------------------- */

static enum blitz_rc same_for_all(void *arg, unsigned index_no, struct blitz_slice value,
                                  struct blitz_index_entry *entry, struct blitz_error *err)
{
  (void)arg;
  (void)index_no;
  (void)value;
  (void)err;
  *entry = (struct blitz_index_entry){.key = text("same"), .payload = text("")};
  return BLITZ_OK;
}

static const struct blitz_indexer same_indexer = {.make_entry = same_for_all};
static const struct blitz_indexes one_index = {.count = 1, .ids = {7}};

static void no_row_is_skipped_whose_key_begins_alike(void **state)
{
  (void)state;
  struct blitz_create_options options = {0};
  struct blitz_table *table;
  struct blitz_txn *txn = new_txn(), *reading;
  assert_ok(blitz_table_create(path_of(__func__), &options, false, ERR));
  assert_ok(open_with_indexes(__func__, &one_index, &same_indexer, &table, ERR));
  blitz_txn_set_indexer(txn, &same_indexer);
  for (const char *key = "aaaaaaaa"; *key; key++)
    assert_ok(blitz_insert(txn, table, text(key), text("value"), ERR));
  for (unsigned own = 0; own < 2; own++)
  {
    reading = own ? txn : NULL;
    if (own)
      assert_ok(blitz_insert(txn, table, text("b"), text("value"), ERR));
    else
      require_ok(blitz_txn_commit(txn, ERR));
    struct blitz_cursor *cursor = begin_walk(table, reading, 0);
    for (unsigned len = 1; len < 8; len++)
    {
      struct blitz_slice value;
      assert_int_equal(blitz_index_row_key(cursor).len, len);
      assert_ok(blitz_index_row(cursor, &value, ERR));
      /* A row behind all of these, so that the place is to be found again. */
      if (own)
        assert_ok(blitz_insert(txn, table, text(&"ccccccc"[len - 1]), text("value"), ERR));
      assert_ok(blitz_index_step(cursor, true, ERR));
      assert_ok(blitz_index_step(cursor, false, ERR));
      assert_int_equal(blitz_index_row_key(cursor).len, len);
      assert_ok(blitz_index_step(cursor, true, ERR));
    }
    assert_int_equal(blitz_index_row_key(cursor).len, 8);
    blitz_cursor_close(cursor);
  }
  blitz_txn_free(txn);
  blitz_table_close(table);
}

/* ---- a transaction's own changes ---------------------------------------------------- */

static void a_row_is_found_after_own_changes(void **state)
{
  (void)state;
  struct blitz_table *table = new_indexed_table(__func__);
  struct blitz_txn *txn = new_indexed_txn();
  struct blitz_slice value;
  put_indexed_rows(table, 100, 200, 1, 100);
  change(txn, table, 150, 2);
  struct blitz_cursor *cursor = begin_walk(table, txn, 2);
  for (uint64_t n = 100; n < 199; n++)
  {
    /* Entries that come before it push it on in its page. */
    for (uint64_t i = 0; i < 5; i++)
      assert_ok(indexed_insert(txn, table, (n - 100) * 5 + i + 1000, 1, 20));
    if (n < 150)
      assert_ok(indexed_insert(txn, table, 99 - (n - 100), 1, 20));
    assert_at(cursor, 2, n);
    assert_ok(blitz_index_step(cursor, true, ERR));
  }
  blitz_txn_set_indexer(txn, &indexed_indexer);
  assert_ok(blitz_remove(txn, table, number_key(199), ERR));
  assert_rc(BLITZ_NOT_FOUND, blitz_index_row(cursor, &value, ERR));
  assert_ok(blitz_index_step(cursor, true, ERR));
  assert_at(cursor, 2, 1000);
  blitz_cursor_close(cursor);
  require_ok(blitz_txn_commit(txn, ERR));
  assert_indexes_right(table);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void a_place_outlives_the_transaction(void **state)
{
  (void)state;
  struct blitz_table *table = new_indexed_table(__func__);
  struct blitz_txn *txn = new_indexed_txn();
  put_indexed_rows(table, 0, 20, 1, 100);
  change(txn, table, 3, 2);
  struct blitz_cursor *cursor = begin_walk(table, txn, 2);
  for (uint64_t n = 0; n < 10; n++)
  {
    assert_at(cursor, 2, n);
    if (n % 2)
      require_ok(blitz_txn_commit(txn, ERR));
    else
      blitz_txn_rollback(txn);
    assert_rc(BLITZ_INVALID, blitz_index_step(cursor, true, ERR));
    change(txn, table, 3, n + 3);
    blitz_index_end(cursor);
    assert_ok(blitz_index_begin(cursor, 2, ERR));
    assert_ok(blitz_index_seek(cursor, bytes((uint8_t[]){0, 0, 0, (uint8_t)n}, 4), BLITZ_SEEK_FIRST,
                               ERR));
    require_ok(blitz_txn_commit(txn, ERR));
    change(txn, table, 3, n + 3); /* as many changes as the cursor knows of */
    assert_ok(blitz_index_step(cursor, true, ERR));
  }
  assert_at(cursor, 2, 10);
  blitz_cursor_close(cursor);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

/* ---- leaders ---------------------------------------------------------------------------- */

static void who_has_read_alone_may_follow(void **state)
{
  (void)state;
  struct blitz_table *table = new_indexed_table(__func__);
  struct blitz_txn *txn = new_indexed_txn();
  struct blitz_cursor *leader, *cursor;
  put_indexed_rows(table, 0, 50, 1, 100);
  cursor = begin_walk(table, NULL, 2);
  assert_at(cursor, 2, 0);
  blitz_index_end(cursor);
  blitz_txn_set_indexer(txn, &indexed_indexer);
  assert_ok(blitz_remove(txn, table, number_key(0), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  leader = begin_walk(table, NULL, 2);
  blitz_cursor_follow(cursor, leader);
  assert_ok(blitz_index_begin(cursor, 2, ERR));
  assert_ok(blitz_index_seek(cursor, text(""), BLITZ_SEEK_FIRST, ERR));
  assert_at(cursor, 2, 1);
  assert_at(leader, 2, 1);
  blitz_cursor_close(cursor);
  blitz_cursor_close(leader);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

/* A cursor that scans rows keeps its moment, even if another one then asks for the indexes. */
static void a_scan_is_not_disturbed_by_followers(void **state)
{
  (void)state;
  struct blitz_table *table = new_indexed_table(__func__);
  struct blitz_txn *txn = new_indexed_txn();
  struct blitz_cursor *leader = new_cursor(table, NULL), *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  unsigned rows = 0;
  enum blitz_rc rc;
  put_indexed_rows(table, 0, 100, 1, 50);
  assert_ok(blitz_scan_begin(leader));
  for (; rows < 10; rows++)
    assert_ok(blitz_scan_next(leader, &value, ERR));
  put_indexed_rows(table, 200, 300, 1, 50);
  for (uint64_t n = 0; n < 50; n++)
    assert_ok(blitz_remove(txn, table, number_key(n), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_cursor_follow(cursor, leader);
  assert_ok(blitz_index_begin(cursor, 2, ERR));
  assert_ok(blitz_index_seek(cursor, text(""), BLITZ_SEEK_FIRST, ERR));
  assert_at(cursor, 2, 0); /* of the leader's moment */
  while ((rc = blitz_scan_next(leader, &value, ERR)) == BLITZ_OK)
    rows++;
  assert_rc(BLITZ_END, rc);
  assert_int_equal(rows, 100);
  blitz_cursor_close(cursor);
  blitz_cursor_close(leader);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

/* Equal rows of a load are not committed by who does not ask for them. */
static void an_unfinished_load_adds_no_equal_rows(void **state)
{
  (void)state;
  struct blitz_table *table = new_indexed_table(__func__);
  struct blitz_txn *txn = new_indexed_txn();
  assert_ok(blitz_txn_expect_rows(txn, table, 0, true, ERR));
  /* Their unique keys know only the lower half of a number. */
  assert_ok(indexed_insert(txn, table, 1, 1, 50));
  assert_ok(indexed_insert(txn, table, 1 + (UINT64_C(1) << 32), 1, 50));
  assert_rc(BLITZ_DUPLICATE, blitz_txn_commit(txn, ERR));
  assert_int_equal(row_count(table), 0);
  blitz_txn_free(txn);
  blitz_table_close(table);
  table = open_indexed_table(__func__);
  assert_indexes_right(table);
  blitz_table_close(table);
}

/* ---- an end, and back ------------------------------------------------------------------- */

static void an_end_is_no_dead_end(void **state)
{
  (void)state;
  struct blitz_table *table = new_indexed_table(__func__);
  put_indexed_rows(table, 0, 100, 1, 100);
  for (unsigned rows = 0; rows < 2; rows++)
  {
    struct blitz_cursor *cursor = begin_walk(table, NULL, 2);
    struct blitz_slice value;
    uint64_t n = 0;
    for (unsigned i = 0; i < 1000; i++)
    {
      bool forward = i / 130 % 2 == 0;
      enum blitz_rc rc = blitz_index_step(cursor, forward, ERR);
      assert_rc((forward ? n < 99 : n > 0) ? BLITZ_OK : BLITZ_END, rc);
      if (rc == BLITZ_OK)
        n += forward ? 1 : -1;
      assert_int_equal(number_of_key(blitz_index_row_key(cursor)), n);
      if (rows)
        assert_ok(blitz_index_row(cursor, &value, ERR));
    }
    blitz_cursor_close(cursor);
  }
  blitz_table_close(table);
}

/* ---- readers that are slow ---------------------------------------------------------------- */

/* All rows change; of the upper half every third is removed or comes back. */
static void change_rows(struct blitz_txn *txn, struct blitz_table *table, uint64_t rows,
                        uint64_t round)
{
  blitz_txn_set_indexer(txn, &indexed_indexer);
  for (uint64_t n = rows; n < 2 * rows; n++)
  {
    if ((n + round) % 3 == 0)
      assert_ok(blitz_remove(txn, table, number_key(n), ERR));
    else if ((n + round) % 3 == 1)
      assert_ok(indexed_insert(txn, table, n, indexed_version((uint32_t)round + 1, 1), 300));
    else
      change(txn, table, n, indexed_version((uint32_t)round + 1, 2));
  }
  for (uint64_t n = 0; n < rows; n++)
    change(txn, table, n, round + 2);
  require_ok(blitz_txn_commit(txn, ERR));
}

enum
{
  SLOW_ROWS = 120 / INDEXED_SLOWER
};

/* The versions of all rows now; UINT64_MAX: there is no such row. */
struct state
{
  uint64_t versions[2 * SLOW_ROWS];
  uint64_t rows;
};

static struct state state_now(struct blitz_table *table)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  struct state now = {.rows = 0};
  enum blitz_rc rc;
  memset(now.versions, 0xff, sizeof now.versions);
  assert_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
  {
    uint64_t n = number_of_key(blitz_cursor_key(cursor));
    assert_true(row_proves(value, n, &now.versions[n]));
    now.rows++;
  }
  assert_rc(BLITZ_END, rc);
  blitz_cursor_close(cursor);
  return now;
}

/* A walk over an index that began when the table was in STATE. */
struct slow_walk
{
  struct blitz_cursor *cursor;
  unsigned index_no;
  bool forward, by_rows;
  struct state state;
  struct indexed_order last;
  uint64_t met;
};

static struct slow_walk begin_slow(struct blitz_table *table, unsigned kind)
{
  struct slow_walk walk = {.cursor = new_cursor(table, NULL),
                           .index_no = kind / 4 % INDEXED_COUNT,
                           .forward = kind % 2 == 0,
                           .by_rows = kind / 2 % 2 == 0,
                           .state = state_now(table)};
  assert_ok(blitz_index_begin(walk.cursor, walk.index_no, ERR));
  return walk;
}

/* One entry, which must be that of the walk's moment. False: it was the last. */
static bool step_slow(struct slow_walk *walk)
{
  uint8_t key[INDEXED_KEY_MAX], payload[8];
  uint64_t n, version;
  enum blitz_rc rc =
      walk->met > 0 ? blitz_index_step(walk->cursor, walk->forward, ERR)
                    : blitz_index_seek(walk->cursor, text(""),
                                       walk->forward ? BLITZ_SEEK_FIRST : BLITZ_SEEK_LAST, ERR);
  if (rc == BLITZ_END)
  {
    assert_int_equal(walk->met, walk->state.rows);
    return false;
  }
  assert_ok(rc);
  walk->met++;
  assert_true(entry_is_behind(walk->cursor, walk->forward, &walk->last));
  n = number_of_key(blitz_index_row_key(walk->cursor));
  assert_true(n < 2 * SLOW_ROWS);
  version = walk->state.versions[n];
  bz_store_be64(payload, version);
  assert_true(
      slice_is(blitz_index_key(walk->cursor), key, indexed_key(walk->index_no, n, version, key)));
  assert_true(slice_is(blitz_index_payload(walk->cursor), payload, walk->index_no == 2 ? 8 : 0));
  if (walk->by_rows)
  {
    uint64_t row_n, row_version;
    assert_true(entry_is_right(walk->cursor, walk->index_no, &row_n, &row_version));
    assert_int_equal(row_n, n);
    assert_int_equal(row_version, version);
  }
  return true;
}

static struct blitz_table *new_slow_table(const char *name, struct blitz_txn *txn)
{
  struct blitz_table *table = new_indexed_table(name);
  put_indexed_rows(table, 0, SLOW_ROWS, 1, 300);
  for (uint64_t n = SLOW_ROWS; n < 2 * SLOW_ROWS; n++)
    if (n % 3 != 1)
      assert_ok(indexed_insert(txn, table, n, 1, 300));
  require_ok(blitz_txn_commit(txn, ERR));
  return table;
}

/* However long it takes for each row, a walk sees the moment when it began; and of a logged table
 * it keeps no more space than that moment takes.
 */
static void slow_readers_see_their_moment(void **state)
{
  (void)state;
  struct blitz_txn *txn = new_indexed_txn();
  struct blitz_table *table = new_slow_table(__func__, txn);
  bool logged = getenv("BLITZ_LOGGED") != NULL;
  struct blitz_table_stats stats;
  uint64_t round = 0, len = 0, index_len = 0;
  for (unsigned kind = 0; kind < 4 * INDEXED_COUNT; kind++)
  {
    struct slow_walk walk = begin_slow(table, kind);
    uint64_t n, version;
    while (step_slow(&walk))
    {
      change_rows(txn, table, SLOW_ROWS, round++ % 3);
      /* The entries of a logged table come into its index file by checkpoints. */
      if (round % 4 == 0)
        assert_ok(blitz_checkpoint(ERR));
      blitz_table_stats(table, &stats);
      if (kind > 0 && logged)
      {
        assert_true(stats.file_len <= len);
        assert_true(blitz_index_file_len(table) <= index_len);
      }
    }
    /* From the end it can go back. */
    assert_ok(blitz_index_step(walk.cursor, !walk.forward, ERR));
    assert_true(entry_is_right(walk.cursor, walk.index_no, &n, &version));
    assert_int_equal(version, walk.state.versions[n]);
    blitz_cursor_close(walk.cursor);
    assert_ok(blitz_checkpoint(ERR));
    blitz_table_stats(table, &stats);
    if (kind == 0)
      len = stats.file_len * 3 / 2, index_len = blitz_index_file_len(table) * 2;
  }
  assert_indexes_right(table);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

/* Many of them at a time, each with a moment of its own; after each merge, any of them goes on. */
static void slow_readers_do_not_disturb_each_other(void **state)
{
  (void)state;
  enum
  {
    WALKS = 40 / INDEXED_SLOWER,
    ROUNDS = 300 / INDEXED_SLOWER
  };
  struct blitz_txn *txn = new_indexed_txn();
  struct blitz_table *table = new_slow_table(__func__, txn);
  struct slow_walk walks[WALKS];
  bool open[WALKS] = {false};
  struct rnd rnd = {run_seed()};
  for (unsigned round = 0; round < ROUNDS; round++)
  {
    for (unsigned i = 0; i < WALKS / 4; i++)
    {
      unsigned which = (unsigned)rnd_below(&rnd, WALKS);
      if (!open[which])
        walks[which] = begin_slow(table, (unsigned)rnd_below(&rnd, 4 * INDEXED_COUNT));
      open[which] = true;
      for (uint64_t steps = 1 + rnd_below(&rnd, 8); open[which] && steps > 0; steps--)
        open[which] = step_slow(&walks[which]);
      if (!open[which])
        blitz_cursor_close(walks[which].cursor);
    }
    change_rows(txn, table, SLOW_ROWS, round % 3);
    if (rnd_below(&rnd, 3) == 0)
      assert_ok(blitz_checkpoint(ERR));
    if (rnd_below(&rnd, 50) == 0)
      assert_indexes_right(table);
  }
  for (unsigned which = 0; which < WALKS; which++)
    if (open[which])
    {
      while (step_slow(&walks[which]))
        ;
      blitz_cursor_close(walks[which].cursor);
    }
  assert_indexes_right(table);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

/* ---- removed rows ------------------------------------------------------------------------- */

/* Reads all ROWS rows of an index, which must have VERSION; from the view, once it is open. */
static void read_version(struct blitz_cursor *cursor, unsigned index_no, uint64_t rows,
                         uint64_t version)
{
  uint64_t n, found, count = 0;
  enum blitz_rc rc;
  for (rc = blitz_index_seek(cursor, text(""), BLITZ_SEEK_FIRST, ERR); rc == BLITZ_OK;
       rc = blitz_index_step(cursor, true, ERR))
  {
    assert_true(entry_is_right(cursor, index_no, &n, &found));
    assert_int_equal(found, version);
    count++;
  }
  assert_rc(BLITZ_END, rc);
  assert_int_equal(count, rows);
}

/* Two readers in turn keep what was removed since they began, so the list of that is never
 * empty, while each row is changed thousands of times.
 */
static void old_versions_are_found_among_many(void **state)
{
  (void)state;
  enum
  {
    ROWS = 50,
    ROUNDS = 3000 / INDEXED_SLOWER
  };
  struct blitz_table *table = new_indexed_table(__func__);
  struct blitz_txn *txn = new_indexed_txn();
  struct blitz_cursor *readers[2];
  uint64_t began[2] = {1, 1};
  put_indexed_rows(table, 0, ROWS, 1, 60);
  for (unsigned i = 0; i < 2; i++)
    readers[i] = begin_walk(table, NULL, i);
  for (uint64_t version = 2; version < ROUNDS; version++)
  {
    for (uint64_t n = 0; n < ROWS; n++)
      assert_ok(indexed_update(txn, table, n, version, 60));
    require_ok(blitz_txn_commit(txn, ERR));
    if (version % (ROUNDS / 6) == 0)
      for (unsigned i = 0; i < 2; i++)
        read_version(readers[i], i, ROWS, began[i]);
    if (version % (version < ROUNDS / 2 ? 3 : ROUNDS / 4) == 0)
    {
      unsigned which = version % 2;
      blitz_index_end(readers[which]);
      assert_ok(blitz_index_begin(readers[which], which, ERR));
      read_version(readers[which], which, ROWS, version);
      began[which] = version;
    }
  }
  /* What came and went between two readers' moments is not kept. */
  assert_true(table->removed.count < 20 * ROWS);
  for (unsigned i = 0; i < 2; i++)
    blitz_cursor_close(readers[i]);
  /* Each commit gives back a slice of what the readers have left. */
  for (unsigned i = 0; i < 100 && table->removed.count > 0; i++)
  {
    change(txn, table, 0, ROUNDS + i);
    require_ok(blitz_txn_commit(txn, ERR));
  }
  assert_int_equal(table->removed.count, 0);
  assert_indexes_right(table);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_row_is_skipped_whose_key_begins_alike),
      cmocka_unit_test(a_row_is_found_after_own_changes),
      cmocka_unit_test(a_place_outlives_the_transaction),
      cmocka_unit_test(who_has_read_alone_may_follow),
      cmocka_unit_test(a_scan_is_not_disturbed_by_followers),
      cmocka_unit_test(an_unfinished_load_adds_no_equal_rows),
      cmocka_unit_test(an_end_is_no_dead_end),
      cmocka_unit_test(slow_readers_see_their_moment),
      cmocka_unit_test(slow_readers_do_not_disturb_each_other),
      cmocka_unit_test(old_versions_are_found_among_many),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
