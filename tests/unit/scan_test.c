/* SPDX-License-Identifier: GPL-2.0-only
 *
 * scan_test.c: scans see the table as it was when they began, whatever is
 * changed meanwhile, and positions lead back to the rows they were taken of.
 */
#include "support/support.h"

struct seen
{
  uint64_t count;
  uint64_t sum;      /* of row numbers */
  uint64_t versions; /* sum of them */
};

static uint64_t number_at(struct blitz_cursor *cursor)
{
  struct blitz_slice key = blitz_cursor_key(cursor);
  uint64_t n = 0;
  assert_int_equal(key.len, 8);
  for (int i = 0; i < 8; i++)
    n = n << 8 | ((const unsigned char *)key.data)[i];
  return n;
}

/* One step; false at the end. */
static bool step(struct blitz_cursor *cursor, struct seen *seen)
{
  struct blitz_slice value;
  uint64_t version;
  enum blitz_rc rc = blitz_scan_next(cursor, &value, ERR);
  if (rc == BLITZ_END)
    return false;
  assert_ok(rc);
  uint64_t n = number_at(cursor);
  assert_true(row_proves(value, n, &version));
  seen->count++;
  seen->sum += n;
  seen->versions += version;
  return true;
}

static struct seen scan(struct blitz_table *table, struct blitz_txn *txn)
{
  struct blitz_cursor *cursor = new_cursor(table, txn);
  struct seen seen = {0};
  assert_ok(blitz_scan_begin(cursor));
  while (step(cursor, &seen))
    ;
  blitz_scan_end(cursor);
  blitz_cursor_close(cursor);
  return seen;
}

static void assert_seen(struct seen seen, uint64_t count, uint64_t version)
{
  assert_int_equal(seen.count, count);
  assert_int_equal(seen.sum, count * (count - (count > 0)) / 2);
  assert_int_equal(seen.versions, count * version);
}

static void change_row(struct blitz_txn *txn, struct blitz_table *table, uint64_t n, size_t len,
                       uint64_t version)
{
  char value[4096];
  row_fill(value, len, n, version);
  enum blitz_rc rc = blitz_update(txn, table, number_key(n), number_key(n), bytes(value, len), ERR);
  if (rc == BLITZ_NOT_FOUND)
    rc = blitz_insert(txn, table, number_key(n), bytes(value, len), ERR);
  assert_ok(rc);
}

static void an_empty_table_has_no_rows(void **state)
{
  (void)state;
  struct blitz_table *table = new_table(__func__);
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value = text("something");
  assert_ok(blitz_scan_begin(cursor));
  assert_rc(BLITZ_END, blitz_scan_next(cursor, &value, ERR));
  assert_int_equal(value.len, 0);
  assert_rc(BLITZ_END, blitz_scan_next(cursor, &value, ERR));
  assert_int_equal(blitz_cursor_key(cursor).len, 0);
  blitz_cursor_close(cursor);
  blitz_table_close(table);
}

static void a_scan_can_begin_again(void **state)
{
  (void)state;
  struct blitz_table *table = new_table(__func__);
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct seen seen = {0};
  put_rows(table, 0, 100, 30, 1);
  assert_ok(blitz_scan_begin(cursor));
  for (int i = 0; i < 50; i++)
    assert_true(step(cursor, &seen));
  put_rows(table, 100, 200, 30, 1);
  for (int twice = 0; twice < 2; twice++)
  {
    seen = (struct seen){0};
    blitz_scan_end(cursor);
    assert_ok(blitz_scan_begin(cursor));
    while (step(cursor, &seen))
      ;
    assert_seen(seen, 200, 1);
  }
  blitz_cursor_close(cursor);
  blitz_table_close(table);
}

static void a_scan_does_not_see_later_commits(void **state)
{
  (void)state;
  struct blitz_table *table = new_table(__func__);
  struct blitz_txn *txn = new_txn();
  put_rows(table, 0, 1000, 100, 1);
  struct blitz_cursor *early = new_cursor(table, NULL);
  struct blitz_cursor *late = new_cursor(table, NULL);
  struct seen seen_early = {0}, seen_late = {0};
  assert_ok(blitz_scan_begin(early));
  for (int i = 0; i < 10; i++)
    assert_true(step(early, &seen_early));

  for (uint64_t n = 0; n < 1000; n++)
    change_row(txn, table, n, 50 + n % 300, 2);
  require_ok(blitz_txn_commit(txn, ERR));
  for (uint64_t n = 1000; n < 1500; n++)
    change_row(txn, table, n, 100, 2);
  require_ok(blitz_txn_commit(txn, ERR));
  assert_ok(blitz_scan_begin(late));
  assert_true(step(late, &seen_late));
  for (uint64_t n = 0; n < 1500; n++)
    assert_ok(blitz_remove(txn, table, number_key(n), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  /* Space that is freed now may be written over at once. */
  for (int round = 0; round < 5; round++)
    put_rows(table, 5000, 6000, 100, 3), remove_rows(table, 5000, 6000);

  while (step(early, &seen_early))
    ;
  assert_seen(seen_early, 1000, 1);
  while (step(late, &seen_late))
    ;
  assert_seen(seen_late, 1500, 2);
  blitz_cursor_close(early);
  blitz_cursor_close(late);
  assert_seen(scan(table, NULL), 0, 0);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void a_scan_sees_its_own_earlier_changes(void **state)
{
  (void)state;
  struct blitz_table *table = new_table(__func__);
  struct blitz_txn *txn = new_txn();
  put_rows(table, 0, 200, 40, 1);
  for (uint64_t n = 0; n < 100; n++)
    change_row(txn, table, n, 90, 3);
  for (uint64_t n = 150; n < 200; n++)
    assert_ok(blitz_remove(txn, table, number_key(n), ERR));
  for (uint64_t n = 1000; n < 1100; n++)
    change_row(txn, table, n, 60, 3);
  struct seen seen = scan(table, txn);
  assert_int_equal(seen.count, 250);
  assert_int_equal(seen.versions, 200 * 3 + 50);
  seen = scan(table, NULL);
  assert_seen(seen, 200, 1);
  blitz_txn_rollback(txn);
  assert_seen(scan(table, txn), 200, 1);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void a_scan_does_not_meet_its_own_rows(void **state)
{
  (void)state;
  struct blitz_table *table = new_table(__func__);
  struct blitz_txn *txn = new_txn();
  put_rows(table, 0, 200, 40, 1);
  struct blitz_cursor *cursor = new_cursor(table, txn);
  struct seen seen = {0};
  assert_ok(blitz_scan_begin(cursor));
  /* INSERT ... SELECT of a table into itself, and updates that move rows. */
  while (step(cursor, &seen))
  {
    uint64_t n = number_at(cursor);
    change_row(txn, table, 1000 + n, 60, 2);
    change_row(txn, table, n, 400, 2);
  }
  assert_seen(seen, 200, 1);
  blitz_scan_end(cursor);
  require_ok(blitz_txn_commit(txn, ERR));
  seen = scan(table, txn);
  assert_int_equal(seen.count, 400);
  assert_int_equal(seen.versions, 800);
  blitz_cursor_close(cursor);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void a_scan_survives_growth(void **state)
{
  (void)state;
  struct blitz_table *table = new_table(__func__);
  struct blitz_table_stats before, after;
  put_rows(table, 0, 100, 40, 1);
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct seen seen = {0};
  assert_ok(blitz_scan_begin(cursor));
  assert_true(step(cursor, &seen));
  blitz_table_stats(table, &before);
  put_rows(table, 100, 50000, 40, 1);
  while (step(cursor, &seen))
    ;
  assert_seen(seen, 100, 1);
  blitz_scan_end(cursor);
  put_rows(table, 50000, 60000, 40, 1);
  blitz_table_stats(table, &after);
  assert_true(after.bucket_count > before.bucket_count);
  assert_seen(scan(table, NULL), 60000, 1);
  assert_rows(table, 0, 60000, 1);
  blitz_cursor_close(cursor);
  blitz_table_close(table);
}

static void scans_overlap(void **state)
{
  (void)state;
  enum
  {
    SCANS = 20
  };
  struct blitz_table *table = new_table(__func__);
  struct blitz_cursor *cursors[SCANS];
  struct seen seen[SCANS] = {0};
  for (uint64_t i = 0; i < SCANS; i++)
  {
    put_rows(table, 0, (i + 1) * 50, 60, i + 1);
    cursors[i] = new_cursor(table, NULL);
    assert_ok(blitz_scan_begin(cursors[i]));
    for (uint64_t k = 0; k < i * 7; k++)
      assert_true(step(cursors[i], &seen[i]));
  }
  /* They end in another order than they began. */
  for (uint64_t k = 0; k < SCANS; k++)
  {
    uint64_t i = k * 7 % SCANS;
    while (step(cursors[i], &seen[i]))
      ;
    assert_seen(seen[i], (i + 1) * 50, i + 1);
    blitz_cursor_close(cursors[i]);
    put_rows(table, 0, SCANS * 50, 60 + k, 100 + k);
  }
  assert_rows(table, 0, SCANS * 50, 100 + SCANS - 1);
  blitz_table_close(table);
}

static void a_scan_can_remove_what_it_meets(void **state)
{
  (void)state;
  struct blitz_table *table = new_table(__func__);
  struct blitz_txn *txn = new_txn();
  struct blitz_cursor *cursor = new_cursor(table, txn);
  struct seen seen = {0};
  put_rows(table, 0, 1000, 40, 1);
  assert_ok(blitz_scan_begin(cursor));
  while (step(cursor, &seen))
    if (number_at(cursor) >= 500)
      assert_ok(blitz_scan_remove(cursor, ERR));
  assert_seen(seen, 1000, 1);
  assert_int_equal(row_count(table), 1000);
  blitz_scan_end(cursor);
  blitz_txn_rollback(txn);
  assert_rows(table, 0, 1000, 1);

  seen = (struct seen){0};
  assert_ok(blitz_scan_begin(cursor));
  while (step(cursor, &seen))
    if (number_at(cursor) >= 500)
      assert_ok(blitz_scan_remove(cursor, ERR));
  blitz_scan_end(cursor);
  require_ok(blitz_txn_commit(txn, ERR));
  assert_rows(table, 0, 500, 1);

  /* All of it. */
  assert_ok(blitz_scan_begin(cursor));
  while (step(cursor, &seen))
    assert_ok(blitz_scan_remove(cursor, ERR));
  blitz_scan_end(cursor);
  require_ok(blitz_txn_commit(txn, ERR));
  assert_int_equal(row_count(table), 0);
  assert_seen(scan(table, NULL), 0, 0);
  blitz_cursor_close(cursor);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void scan_remove_of_a_row_that_is_gone(void **state)
{
  (void)state;
  struct blitz_table *table = new_table(__func__);
  struct blitz_txn *txn = new_txn();
  struct blitz_cursor *cursor = new_cursor(table, txn);
  struct seen seen = {0};
  put_rows(table, 0, 1, 40, 1);
  assert_ok(blitz_scan_begin(cursor));
  assert_true(step(cursor, &seen));
  remove_rows(table, 0, 1);
  assert_rc(BLITZ_NOT_FOUND, blitz_scan_remove(cursor, ERR));
  blitz_scan_end(cursor);
  require_ok(blitz_txn_commit(txn, ERR));
  assert_int_equal(row_count(table), 0);
  blitz_cursor_close(cursor);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void positions_lead_back(void **state)
{
  (void)state;
  enum
  {
    ROWS = 500
  };
  struct blitz_table *table = new_table(__func__);
  struct blitz_txn *txn = new_txn();
  struct blitz_cursor *cursor = new_cursor(table, txn);
  struct blitz_slice value;
  uint64_t positions[ROWS], numbers[ROWS], version;
  struct seen seen = {0};
  put_rows(table, 0, ROWS, 70, 1);
  assert_ok(blitz_scan_begin(cursor));
  for (int i = 0; i < ROWS; i++)
  {
    assert_true(step(cursor, &seen));
    numbers[i] = number_at(cursor);
    assert_ok(blitz_cursor_position(cursor, &positions[i]));
  }
  blitz_scan_end(cursor);
  for (int i = ROWS - 1; i >= 0; i--)
  {
    assert_ok(blitz_get_at(cursor, positions[i], &value, ERR));
    assert_true(row_proves(value, numbers[i], &version));
    assert_int_equal(version, 1);
    assert_int_equal(number_at(cursor), numbers[i]);
  }
  /* Own changes are met there. */
  for (int i = 0; i < ROWS; i += 2)
    change_row(txn, table, numbers[i], 300, 2);
  for (int i = 0; i < ROWS; i++)
  {
    assert_ok(blitz_get_at(cursor, positions[i], &value, ERR));
    assert_true(row_proves(value, numbers[i], &version));
    assert_int_equal(version, i % 2 ? 1 : 2);
  }
  blitz_txn_rollback(txn);
  for (int i = 0; i < ROWS; i++)
  {
    assert_ok(blitz_get_at(cursor, positions[i], &value, ERR));
    assert_true(row_proves(value, numbers[i], &version));
    assert_int_equal(version, 1);
  }
  blitz_cursor_reset(cursor);
  blitz_cursor_close(cursor);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void a_position_of_an_own_removed_row_is_empty(void **state)
{
  (void)state;
  struct blitz_table *table = new_table(__func__);
  struct blitz_txn *txn = new_txn();
  struct blitz_cursor *cursor = new_cursor(table, txn);
  struct blitz_slice value;
  struct seen seen = {0};
  uint64_t position;
  put_rows(table, 0, 1, 40, 1);
  assert_ok(blitz_scan_begin(cursor));
  assert_true(step(cursor, &seen));
  assert_ok(blitz_cursor_position(cursor, &position));
  blitz_scan_end(cursor);
  assert_ok(blitz_remove(txn, table, number_key(0), ERR));
  assert_rc(BLITZ_NOT_FOUND, blitz_get_at(cursor, position, &value, ERR));
  blitz_txn_rollback(txn);
  assert_ok(blitz_get_at(cursor, position, &value, ERR));
  blitz_cursor_close(cursor);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void a_position_outlives_others_changes(void **state)
{
  (void)state;
  enum
  {
    ROWS = 300
  };
  struct blitz_table *table = new_table(__func__);
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  uint64_t positions[ROWS], numbers[ROWS], version;
  struct seen seen = {0};
  put_rows(table, 0, ROWS, 50, 1);
  assert_ok(blitz_scan_begin(cursor));
  for (int i = 0; i < ROWS; i++)
  {
    assert_true(step(cursor, &seen));
    numbers[i] = number_at(cursor);
    assert_ok(blitz_cursor_position(cursor, &positions[i]));
  }
  put_rows(table, 0, 100, 50, 2);
  remove_rows(table, 200, ROWS);
  put_rows(table, 1000, 9000, 50, 3); /* writes over what is free */
  for (int i = 0; i < ROWS; i++)
  {
    assert_ok(blitz_get_at(cursor, positions[i], &value, ERR));
    assert_true(row_proves(value, numbers[i], &version));
    assert_int_equal(version, 1); /* as it was */
  }
  blitz_cursor_close(cursor);
  blitz_table_close(table);
}

static void positions_of_looked_up_rows(void **state)
{
  (void)state;
  struct blitz_table *table = new_table(__func__);
  struct blitz_txn *txn = new_txn();
  struct blitz_cursor *cursor = new_cursor(table, txn);
  struct blitz_slice value;
  uint64_t positions[50], version;
  put_rows(table, 0, 40, 50, 1);
  for (uint64_t n = 40; n < 50; n++)
    change_row(txn, table, n, 50, 1); /* not committed yet */
  for (uint64_t n = 0; n < 50; n++)
  {
    assert_ok(blitz_get(cursor, number_key(n), &value, ERR));
    assert_ok(blitz_cursor_position(cursor, &positions[n]));
  }
  for (uint64_t k = 0; k < 50; k++)
  {
    uint64_t n = k * 17 % 50;
    assert_ok(blitz_get_at(cursor, positions[n], &value, ERR));
    assert_true(row_proves(value, n, &version));
  }
  blitz_cursor_close(cursor);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void without_a_row_there_is_no_position(void **state)
{
  (void)state;
  struct blitz_table *table = new_table(__func__);
  struct blitz_txn *txn = new_txn();
  struct blitz_cursor *cursor = new_cursor(table, txn);
  struct blitz_slice value;
  uint64_t position;
  put_rows(table, 0, 1, 50, 1);
  assert_int_not_equal(blitz_cursor_position(cursor, &position), BLITZ_OK);
  assert_rc(BLITZ_NOT_FOUND, blitz_get(cursor, number_key(5), &value, ERR));
  assert_int_equal(blitz_cursor_key(cursor).len, 0);
  assert_int_not_equal(blitz_cursor_position(cursor, &position), BLITZ_OK);
  assert_int_not_equal(blitz_scan_remove(cursor, ERR), BLITZ_OK);
  assert_int_not_equal(blitz_scan_next(cursor, &value, ERR), BLITZ_OK); /* none has begun */
  assert_int_equal(row_count(table), 1);
  blitz_cursor_close(cursor);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void a_cursor_may_change_its_transaction(void **state)
{
  (void)state;
  struct blitz_table *table = new_table(__func__);
  struct blitz_txn *txn = new_txn();
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  change_row(txn, table, 1, 50, 1);
  assert_rc(BLITZ_NOT_FOUND, blitz_get(cursor, number_key(1), &value, ERR));
  blitz_cursor_set_txn(cursor, txn);
  assert_ok(blitz_get(cursor, number_key(1), &value, ERR));
  blitz_cursor_set_txn(cursor, NULL);
  assert_rc(BLITZ_NOT_FOUND, blitz_get(cursor, number_key(1), &value, ERR));
  blitz_cursor_close(cursor);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void a_scan_meets_rows_of_every_size(void **state)
{
  (void)state;
  struct blitz_table *table = new_table(__func__);
  struct blitz_txn *txn = new_txn();
  static const size_t lens[] = {16, 100, 70000, 20, 3000000, 17, 131072, 65536};
  size_t count = sizeof lens / sizeof *lens;
  char *buf = malloc(3000000);
  for (size_t i = 0; i < count; i++)
  {
    row_fill(buf, lens[i], i, 1);
    assert_ok(blitz_insert(txn, table, number_key(i), bytes(buf, lens[i]), ERR));
  }
  require_ok(blitz_txn_commit(txn, ERR));
  assert_seen(scan(table, NULL), count, 1);
  /* One that was begun before the big ones go. */
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct seen seen = {0};
  assert_ok(blitz_scan_begin(cursor));
  put_rows(table, 0, count, 30, 2);
  put_rows(table, 100, 200, 30000, 2);
  while (step(cursor, &seen))
    ;
  assert_seen(seen, count, 1);
  free(buf);
  blitz_cursor_close(cursor);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_empty_table_has_no_rows),
      cmocka_unit_test(a_scan_can_begin_again),
      cmocka_unit_test(a_scan_does_not_see_later_commits),
      cmocka_unit_test(a_scan_sees_its_own_earlier_changes),
      cmocka_unit_test(a_scan_does_not_meet_its_own_rows),
      cmocka_unit_test(a_scan_survives_growth),
      cmocka_unit_test(scans_overlap),
      cmocka_unit_test(a_scan_can_remove_what_it_meets),
      cmocka_unit_test(scan_remove_of_a_row_that_is_gone),
      cmocka_unit_test(positions_lead_back),
      cmocka_unit_test(a_position_of_an_own_removed_row_is_empty),
      cmocka_unit_test(a_position_outlives_others_changes),
      cmocka_unit_test(positions_of_looked_up_rows),
      cmocka_unit_test(without_a_row_there_is_no_position),
      cmocka_unit_test(a_cursor_may_change_its_transaction),
      cmocka_unit_test(a_scan_meets_rows_of_every_size),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
