/* SPDX-License-Identifier: GPL-2.0-only
 *
 * cursor_change_test.c: changing the row that a cursor has just read, without
 * looking for it again: after look-ups, in scans, at positions, of rows that are
 * the transaction's own, and of rows that have gone meanwhile.
 */
#include "support/support.h"

struct fixture
{
  struct blitz_table *table;
  struct blitz_txn *txn;
  struct blitz_cursor *cursor;
};

static int begin(void **state)
{
  struct fixture *f = malloc(sizeof *f);
  f->table = new_table("cursors");
  f->txn = new_txn();
  f->cursor = new_cursor(f->table, f->txn);
  *state = f;
  return 0;
}

static int end(void **state)
{
  struct fixture *f = *state;
  blitz_cursor_close(f->cursor);
  blitz_txn_free(f->txn);
  blitz_table_close(f->table);
  free(f);
  return 0;
}

static void read_row(struct fixture *f, const char *key, const char *want)
{
  struct blitz_slice value;
  assert_ok(blitz_get(f->cursor, text(key), &value, ERR));
  assert_true(slice_is(value, want, strlen(want)));
}

static enum blitz_rc update(struct fixture *f, const char *new_key, const char *value)
{
  return blitz_cursor_update(f->cursor, text(new_key), text(value), ERR);
}

static void changes_the_row_that_was_looked_up(void **state)
{
  struct fixture *f = *state;
  put(f->table, "a", "1");
  put(f->table, "b", "2");
  read_row(f, "a", "1");
  assert_ok(update(f, "a", "a longer one than it was"));
  assert_row(f->table, NULL, "a", "1");
  assert_row(f->table, f->txn, "a", "a longer one than it was");
  read_row(f, "b", "2");
  assert_ok(blitz_cursor_remove(f->cursor, ERR));
  assert_no_row(f->table, f->txn, "b");
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_row(f->table, NULL, "a", "a longer one than it was");
  assert_no_row(f->table, NULL, "b");
  assert_int_equal(row_count(f->table), 1);
}

static void changes_the_key(void **state)
{
  struct fixture *f = *state;
  put(f->table, "a", "1");
  put(f->table, "b", "2");
  read_row(f, "a", "1");
  assert_rc(BLITZ_DUPLICATE, update(f, "b", "x"));
  read_row(f, "a", "1");
  assert_ok(update(f, "c", "3"));
  assert_no_row(f->table, f->txn, "a");
  assert_row(f->table, f->txn, "c", "3");
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_no_row(f->table, NULL, "a");
  assert_row(f->table, NULL, "b", "2");
  assert_row(f->table, NULL, "c", "3");
  assert_int_equal(row_count(f->table), 2);
}

static void changes_a_row_of_its_own(void **state)
{
  struct fixture *f = *state;
  put(f->table, "a", "1");
  assert_ok(blitz_insert(f->txn, f->table, text("n"), text("new"), ERR));
  read_row(f, "n", "new");
  assert_ok(update(f, "n", "newer"));
  read_row(f, "n", "newer");
  assert_ok(update(f, "m", "moved"));
  assert_no_row(f->table, f->txn, "n");
  read_row(f, "a", "1");
  assert_ok(update(f, "a", "2"));
  read_row(f, "a", "2");
  assert_ok(update(f, "a", "3"));
  read_row(f, "a", "3");
  assert_ok(blitz_cursor_remove(f->cursor, ERR));
  assert_no_row(f->table, f->txn, "a");
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_no_row(f->table, NULL, "a");
  assert_row(f->table, NULL, "m", "moved");
  assert_int_equal(row_count(f->table), 1);
}

static void without_a_row_or_a_transaction_it_is_refused(void **state)
{
  struct fixture *f = *state;
  struct blitz_slice value;
  put(f->table, "a", "1");
  assert_rc(BLITZ_INVALID, update(f, "a", "2"));
  assert_rc(BLITZ_INVALID, blitz_cursor_remove(f->cursor, ERR));
  assert_rc(BLITZ_NOT_FOUND, blitz_get(f->cursor, text("none"), &value, ERR));
  assert_rc(BLITZ_INVALID, update(f, "a", "2"));
  read_row(f, "a", "1");
  blitz_cursor_set_txn(f->cursor, NULL);
  assert_rc(BLITZ_INVALID, update(f, "a", "2"));
  assert_rc(BLITZ_INVALID, blitz_cursor_remove(f->cursor, ERR));
  assert_row(f->table, NULL, "a", "1");
}

static void a_scan_changes_what_it_meets(void **state)
{
  struct fixture *f = *state;
  struct blitz_slice value;
  enum blitz_rc rc;
  uint64_t met = 0, version;
  char buf[200];
  put_rows(f->table, 0, 2000, 60, 1);
  assert_ok(blitz_scan_begin(f->cursor));
  while ((rc = blitz_scan_next(f->cursor, &value, ERR)) == BLITZ_OK)
  {
    uint64_t n = ((const unsigned char *)blitz_cursor_key(f->cursor).data)[6] * 256U +
                 ((const unsigned char *)blitz_cursor_key(f->cursor).data)[7];
    met++;
    assert_true(row_proves(value, n, &version));
    assert_int_equal(version, 1);
    if (n >= 1500)
      assert_ok(blitz_cursor_remove(f->cursor, ERR));
    else
    {
      size_t len = 16 + n % 180;
      row_fill(buf, len, n, 2);
      assert_ok(blitz_cursor_update(f->cursor, number_key(n), bytes(buf, len), ERR));
    }
  }
  assert_rc(BLITZ_END, rc);
  assert_int_equal(met, 2000);
  blitz_scan_end(f->cursor);
  assert_int_equal(blitz_txn_row_delta(f->txn, f->table), -500);
  blitz_txn_rollback(f->txn);
  assert_rows(f->table, 0, 2000, 1);
}

static void a_scan_moves_all_rows_once(void **state)
{
  struct fixture *f = *state;
  struct blitz_slice value;
  enum blitz_rc rc;
  char buf[60];
  uint64_t moved = 0;
  put_rows(f->table, 0, 1000, 60, 1);
  assert_ok(blitz_scan_begin(f->cursor));
  while ((rc = blitz_scan_next(f->cursor, &value, ERR)) == BLITZ_OK)
  {
    uint64_t n = ((const unsigned char *)blitz_cursor_key(f->cursor).data)[6] * 256U +
                 ((const unsigned char *)blitz_cursor_key(f->cursor).data)[7];
    row_fill(buf, sizeof buf, n + 5000, 2);
    assert_ok(blitz_cursor_update(f->cursor, number_key(n + 5000), bytes(buf, sizeof buf), ERR));
    moved++;
  }
  assert_rc(BLITZ_END, rc);
  assert_int_equal(moved, 1000);
  blitz_scan_end(f->cursor);
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_rows(f->table, 5000, 6000, 2);
}

static void changes_the_row_at_a_position(void **state)
{
  struct fixture *f = *state;
  struct blitz_slice value;
  uint64_t positions[100], version;
  char buf[100];
  put_rows(f->table, 0, 100, 60, 1);
  for (uint64_t n = 0; n < 100; n++)
  {
    assert_ok(blitz_get(f->cursor, number_key(n), &value, ERR));
    assert_ok(blitz_cursor_position(f->cursor, &positions[n]));
  }
  /* Twice: the second time the rows are the transaction's own. */
  for (uint64_t round = 2; round <= 3; round++)
    for (uint64_t n = 0; n < 100; n++)
    {
      assert_ok(blitz_get_at(f->cursor, positions[n], &value, ERR));
      assert_true(row_proves(value, n, &version));
      assert_int_equal(version, round - 1);
      row_fill(buf, 16 + n % 80, n, round);
      assert_ok(blitz_cursor_update(f->cursor, number_key(n), bytes(buf, 16 + n % 80), ERR));
    }
  for (uint64_t n = 50; n < 100; n++)
  {
    assert_ok(blitz_get_at(f->cursor, positions[n], &value, ERR));
    assert_ok(blitz_cursor_remove(f->cursor, ERR));
    assert_rc(BLITZ_NOT_FOUND, blitz_get_at(f->cursor, positions[n], &value, ERR));
  }
  blitz_cursor_reset(f->cursor);
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_rows(f->table, 0, 50, 3);
}

/* What another transaction has done since must not be undone or made worse: the
 * change happens to the row as it is now, or is refused.
 */
static void a_row_that_changed_meanwhile(void **state)
{
  struct fixture *f = *state;
  put(f->table, "a", "1");
  for (int round = 0; round < 20; round++)
  {
    struct blitz_slice value;
    assert_ok(blitz_get(f->cursor, text("a"), &value, ERR));
    put(f->table, "a", round % 2 ? "another value" : "one more value, and a longer one");
    put(f->table, "other", "takes the place of what was freed");
    enum blitz_rc rc =
        round % 3 == 0 ? blitz_cursor_remove(f->cursor, ERR) : update(f, "a", "mine");
    assert_true(rc == BLITZ_OK || rc == BLITZ_CHANGED || rc == BLITZ_NOT_FOUND);
    require_ok(blitz_txn_commit(f->txn, ERR));
    assert_row(f->table, NULL, "other", "takes the place of what was freed");
    if (rc != BLITZ_OK)
      assert_row(f->table, NULL, "a",
                 round % 2 ? "another value" : "one more value, and a longer one");
    else if (round % 3 == 0)
      assert_no_row(f->table, NULL, "a");
    else
      assert_row(f->table, NULL, "a", "mine");
    put(f->table, "a", "1");
    assert_int_equal(row_count(f->table), 2);
  }
}

static void a_row_that_went_meanwhile(void **state)
{
  struct fixture *f = *state;
  for (int round = 0; round < 10; round++)
  {
    struct blitz_slice value;
    put(f->table, "a", "1");
    assert_ok(blitz_get(f->cursor, text("a"), &value, ERR));
    remove_key(f->table, "a");
    put(f->table, "b", "2");
    enum blitz_rc rc = round % 2 ? blitz_cursor_remove(f->cursor, ERR) : update(f, "a", "x");
    assert_true(rc == BLITZ_CHANGED || rc == BLITZ_NOT_FOUND);
    require_ok(blitz_txn_commit(f->txn, ERR));
    assert_no_row(f->table, NULL, "a");
    assert_row(f->table, NULL, "b", "2");
    assert_int_equal(row_count(f->table), 1);
  }
}

static void scan_remove_leaves_a_row_that_changed(void **state)
{
  struct fixture *f = *state;
  struct blitz_slice value;
  put(f->table, "a", "1");
  assert_ok(blitz_scan_begin(f->cursor));
  assert_ok(blitz_scan_next(f->cursor, &value, ERR));
  put(f->table, "a", "2");
  assert_rc(BLITZ_CHANGED, blitz_scan_remove(f->cursor, ERR));
  blitz_scan_end(f->cursor);
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_row(f->table, NULL, "a", "2");
}

static void rows_of_a_load_are_changed_too(void **state)
{
  struct fixture *f = *state;
  struct blitz_slice value;
  uint64_t version;
  char buf[100];
  assert_ok(blitz_txn_expect_rows(f->txn, f->table, 0, false, ERR));
  for (uint64_t n = 0; n < 500; n++)
  {
    row_fill(buf, 40, n, 1);
    assert_ok(blitz_insert(f->txn, f->table, number_key(n), bytes(buf, 40), ERR));
  }
  for (uint64_t n = 0; n < 500; n++)
  {
    assert_ok(blitz_get(f->cursor, number_key(n), &value, ERR));
    assert_true(row_proves(value, n, &version));
    row_fill(buf, 90, n, 2);
    if (n < 400)
      assert_ok(blitz_cursor_update(f->cursor, number_key(n), bytes(buf, 90), ERR));
    else
      assert_ok(blitz_cursor_remove(f->cursor, ERR));
  }
  assert_int_equal(row_count(f->table), 0);
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_rows(f->table, 0, 400, 2);
}

static void values_of_the_cursors_own_buffer_may_be_given(void **state)
{
  struct fixture *f = *state;
  struct blitz_slice value;
  char big[20000];
  uint64_t version;
  row_fill(big, sizeof big, 7, 1);
  assert_ok(blitz_insert(f->txn, f->table, text("a"), bytes(big, sizeof big), ERR));
  require_ok(blitz_txn_commit(f->txn, ERR));
  /* What was read is what is written, under another key, and again from a scan. */
  assert_ok(blitz_get(f->cursor, text("a"), &value, ERR));
  assert_ok(blitz_cursor_update(f->cursor, text("b"), value, ERR));
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_ok(blitz_scan_begin(f->cursor));
  assert_ok(blitz_scan_next(f->cursor, &value, ERR));
  assert_ok(blitz_cursor_update(f->cursor, text("c"), value, ERR));
  blitz_scan_end(f->cursor);
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_ok(blitz_get(f->cursor, text("c"), &value, ERR));
  assert_int_equal(value.len, sizeof big);
  assert_true(row_proves(value, 7, &version));
  assert_int_equal(row_count(f->table), 1);
}

#define changes(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
  const struct CMUnitTest tests[] = {
      changes(changes_the_row_that_was_looked_up),
      changes(changes_the_key),
      changes(changes_a_row_of_its_own),
      changes(without_a_row_or_a_transaction_it_is_refused),
      changes(a_scan_changes_what_it_meets),
      changes(a_scan_moves_all_rows_once),
      changes(changes_the_row_at_a_position),
      changes(a_row_that_changed_meanwhile),
      changes(a_row_that_went_meanwhile),
      changes(scan_remove_leaves_a_row_that_changed),
      changes(rows_of_a_load_are_changed_too),
      changes(values_of_the_cursors_own_buffer_may_be_given),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
