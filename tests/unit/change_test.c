/* SPDX-License-Identifier: GPL-2.0-only
 *
 * change_test.c: what one transaction does to a table, and what of it is left
 * after a commit and after a rollback.
 */
#include "support/support.h"

#include <pthread.h>

struct fixture
{
  struct blitz_table *table;
  struct blitz_txn *txn;
};

static int begin(void **state)
{
  struct fixture *f = malloc(sizeof *f);
  f->table = new_table("changes");
  f->txn = new_txn();
  *state = f;
  return 0;
}

static int end(void **state)
{
  struct fixture *f = *state;
  blitz_txn_free(f->txn);
  blitz_table_close(f->table);
  free(f);
  return 0;
}

static enum blitz_rc insert(struct fixture *f, const char *key, const char *value)
{
  return blitz_insert(f->txn, f->table, text(key), text(value), ERR);
}

static enum blitz_rc update(struct fixture *f, const char *key, const char *new_key,
                            const char *value)
{
  return blitz_update(f->txn, f->table, text(key), text(new_key), text(value), ERR);
}

static enum blitz_rc take(struct fixture *f, const char *key)
{
  return blitz_remove(f->txn, f->table, text(key), ERR);
}

static void reopen(struct fixture *f)
{
  blitz_table_close(f->table);
  f->table = open_table("changes");
}

static void an_insert_is_seen_after_commit(void **state)
{
  struct fixture *f = *state;
  assert_false(blitz_txn_changed(f->txn));
  assert_ok(insert(f, "a", "1"));
  assert_true(blitz_txn_changed(f->txn));
  assert_no_row(f->table, NULL, "a");
  assert_row(f->table, f->txn, "a", "1");
  assert_int_equal(row_count(f->table), 0);
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_false(blitz_txn_changed(f->txn));
  assert_row(f->table, NULL, "a", "1");
  assert_int_equal(row_count(f->table), 1);
  reopen(f);
  assert_row(f->table, NULL, "a", "1");
}

static void an_update_is_seen_after_commit(void **state)
{
  struct fixture *f = *state;
  put(f->table, "a", "old");
  assert_ok(update(f, "a", "a", "new and longer than it was"));
  assert_row(f->table, NULL, "a", "old");
  assert_row(f->table, f->txn, "a", "new and longer than it was");
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_row(f->table, NULL, "a", "new and longer than it was");
  assert_int_equal(row_count(f->table), 1);
  reopen(f);
  assert_row(f->table, NULL, "a", "new and longer than it was");
}

static void a_remove_is_seen_after_commit(void **state)
{
  struct fixture *f = *state;
  put(f->table, "a", "1");
  assert_ok(take(f, "a"));
  assert_row(f->table, NULL, "a", "1");
  assert_no_row(f->table, f->txn, "a");
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_no_row(f->table, NULL, "a");
  assert_int_equal(row_count(f->table), 0);
  reopen(f);
  assert_no_row(f->table, NULL, "a");
}

static void a_key_is_there_once(void **state)
{
  struct fixture *f = *state;
  put(f->table, "a", "1");
  assert_rc(BLITZ_DUPLICATE, insert(f, "a", "2"));
  assert_row(f->table, f->txn, "a", "1");
  assert_ok(insert(f, "b", "1"));
  assert_rc(BLITZ_DUPLICATE, insert(f, "b", "2"));
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_row(f->table, NULL, "a", "1");
  assert_row(f->table, NULL, "b", "1");
}

static void missing_rows_are_not_found(void **state)
{
  struct fixture *f = *state;
  assert_rc(BLITZ_NOT_FOUND, update(f, "a", "a", "1"));
  assert_rc(BLITZ_NOT_FOUND, update(f, "a", "b", "1"));
  assert_rc(BLITZ_NOT_FOUND, take(f, "a"));
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_no_row(f->table, NULL, "b");
  assert_int_equal(row_count(f->table), 0);
  put(f->table, "a", "1");
  assert_ok(take(f, "a"));
  assert_rc(BLITZ_NOT_FOUND, take(f, "a"));
  assert_rc(BLITZ_NOT_FOUND, update(f, "a", "a", "2"));
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_no_row(f->table, NULL, "a");
}

static void an_update_may_change_the_key(void **state)
{
  struct fixture *f = *state;
  put(f->table, "a", "1");
  put(f->table, "b", "2");
  assert_rc(BLITZ_DUPLICATE, update(f, "a", "b", "x"));
  assert_ok(update(f, "a", "c", "3"));
  assert_no_row(f->table, f->txn, "a");
  assert_row(f->table, f->txn, "c", "3");
  assert_row(f->table, NULL, "a", "1");
  assert_no_row(f->table, NULL, "c");
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_no_row(f->table, NULL, "a");
  assert_row(f->table, NULL, "b", "2");
  assert_row(f->table, NULL, "c", "3");
  assert_int_equal(row_count(f->table), 2);
}

static void keys_may_go_round(void **state)
{
  struct fixture *f = *state;
  put(f->table, "a", "1");
  put(f->table, "b", "2");
  /* a <-> b by way of c, in one transaction */
  assert_ok(update(f, "a", "c", "1"));
  assert_ok(update(f, "b", "a", "2"));
  assert_ok(update(f, "c", "b", "1"));
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_row(f->table, NULL, "a", "2");
  assert_row(f->table, NULL, "b", "1");
  assert_no_row(f->table, NULL, "c");
  assert_int_equal(row_count(f->table), 2);
  reopen(f);
  assert_row(f->table, NULL, "a", "2");
  assert_row(f->table, NULL, "b", "1");
  assert_int_equal(row_count(f->table), 2);
}

static void many_changes_of_one_row_are_one(void **state)
{
  struct fixture *f = *state;
  put(f->table, "a", "1");
  for (int i = 0; i < 50; i++)
  {
    assert_ok(update(f, "a", "a", i % 2 ? "two" : "a longer value than the other one"));
    assert_ok(take(f, "a"));
    assert_ok(insert(f, "a", "x"));
  }
  assert_ok(update(f, "a", "a", "last"));
  assert_row(f->table, NULL, "a", "1");
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_row(f->table, NULL, "a", "last");
  assert_int_equal(row_count(f->table), 1);
}

static void insert_and_remove_leave_nothing(void **state)
{
  struct fixture *f = *state;
  assert_ok(insert(f, "a", "1"));
  assert_ok(take(f, "a"));
  assert_no_row(f->table, f->txn, "a");
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_no_row(f->table, NULL, "a");
  assert_int_equal(row_count(f->table), 0);
}

static void rollback_undoes_everything(void **state)
{
  struct fixture *f = *state;
  put(f->table, "keep", "1");
  put(f->table, "move", "2");
  put(f->table, "take", "3");
  assert_ok(insert(f, "new", "4"));
  assert_ok(update(f, "keep", "keep", "changed"));
  assert_ok(update(f, "move", "moved", "changed"));
  assert_ok(take(f, "take"));
  blitz_txn_rollback(f->txn);
  assert_false(blitz_txn_changed(f->txn));
  for (int twice = 0; twice < 2; twice++)
  {
    assert_row(f->table, NULL, "keep", "1");
    assert_row(f->table, NULL, "move", "2");
    assert_row(f->table, NULL, "take", "3");
    assert_no_row(f->table, NULL, "new");
    assert_no_row(f->table, NULL, "moved");
    assert_int_equal(row_count(f->table), 3);
    reopen(f);
  }
}

static void freeing_a_transaction_rolls_back(void **state)
{
  struct fixture *f = *state;
  assert_ok(insert(f, "a", "1"));
  blitz_txn_free(f->txn);
  f->txn = NULL;
  assert_no_row(f->table, NULL, "a");
  put(f->table, "a", "2"); /* and nobody is left waiting */
  assert_row(f->table, NULL, "a", "2");
}

static void a_transaction_knows_its_row_delta(void **state)
{
  struct fixture *f = *state;
  put(f->table, "a", "1");
  put(f->table, "b", "1");
  assert_int_equal(blitz_txn_row_delta(f->txn, f->table), 0);
  assert_ok(insert(f, "c", "1"));
  assert_ok(insert(f, "d", "1"));
  assert_int_equal(blitz_txn_row_delta(f->txn, f->table), 2);
  assert_ok(update(f, "c", "e", "2"));
  assert_rc(BLITZ_DUPLICATE, insert(f, "a", "2"));
  assert_int_equal(blitz_txn_row_delta(f->txn, f->table), 2);
  assert_ok(take(f, "a"));
  assert_ok(take(f, "b"));
  assert_ok(take(f, "d"));
  assert_int_equal(blitz_txn_row_delta(f->txn, f->table), -1);
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_int_equal(blitz_txn_row_delta(f->txn, f->table), 0);
  assert_int_equal(row_count(f->table), 1);
}

static void a_failed_change_leaves_the_others(void **state)
{
  struct fixture *f = *state;
  put(f->table, "a", "1");
  assert_ok(insert(f, "b", "2"));
  assert_rc(BLITZ_DUPLICATE, insert(f, "a", "x"));
  assert_rc(BLITZ_DUPLICATE, update(f, "b", "a", "x"));
  assert_row(f->table, f->txn, "b", "2");
  assert_ok(insert(f, "c", "3"));
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_row(f->table, NULL, "a", "1");
  assert_row(f->table, NULL, "b", "2");
  assert_row(f->table, NULL, "c", "3");
}

static void a_transaction_is_used_again(void **state)
{
  struct fixture *f = *state;
  char key[16];
  for (int i = 0; i < 300; i++)
  {
    snprintf(key, sizeof key, "k%d", i);
    assert_ok(insert(f, key, "v"));
    if (i % 3 == 0)
      blitz_txn_rollback(f->txn);
    else
      require_ok(blitz_txn_commit(f->txn, ERR));
  }
  assert_int_equal(row_count(f->table), 200);
  assert_no_row(f->table, NULL, "k0");
  assert_row(f->table, NULL, "k1", "v");
}

static void a_transaction_may_change_several_tables(void **state)
{
  struct fixture *f = *state;
  struct blitz_table *other = new_table("other");
  assert_ok(insert(f, "a", "1"));
  assert_ok(blitz_insert(f->txn, other, text("a"), text("2"), ERR));
  assert_row(other, f->txn, "a", "2");
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_row(f->table, NULL, "a", "1");
  assert_row(other, NULL, "a", "2");
  assert_ok(take(f, "a"));
  assert_ok(blitz_remove(f->txn, other, text("a"), ERR));
  blitz_txn_rollback(f->txn);
  assert_row(f->table, NULL, "a", "1");
  assert_row(other, NULL, "a", "2");
  blitz_table_close(other);
}

static bool is_what_was_expected(void *arg, struct blitz_slice current)
{
  const char *wanted = arg;
  return slice_is(current, wanted, strlen(wanted));
}

static void conditional_changes_ask_first(void **state)
{
  struct fixture *f = *state;
  char one[] = "1", two[] = "2";
  put(f->table, "a", "1");
  assert_rc(BLITZ_CHANGED, blitz_update_if(f->txn, f->table, text("a"), text("2"),
                                           is_what_was_expected, two, ERR));
  assert_rc(BLITZ_CHANGED,
            blitz_remove_if(f->txn, f->table, text("a"), is_what_was_expected, two, ERR));
  assert_ok(
      blitz_update_if(f->txn, f->table, text("a"), text("2"), is_what_was_expected, one, ERR));
  /* From now on it is the transaction's own row that counts. */
  assert_rc(BLITZ_CHANGED,
            blitz_remove_if(f->txn, f->table, text("a"), is_what_was_expected, one, ERR));
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_row(f->table, NULL, "a", "2");
  assert_ok(blitz_remove_if(f->txn, f->table, text("a"), is_what_was_expected, two, ERR));
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_no_row(f->table, NULL, "a");
  assert_rc(BLITZ_NOT_FOUND, blitz_update_if(f->txn, f->table, text("a"), text("2"),
                                             is_what_was_expected, one, ERR));
  assert_rc(BLITZ_NOT_FOUND,
            blitz_remove_if(f->txn, f->table, text("a"), is_what_was_expected, one, ERR));
}

static void a_refused_change_holds_nobody_up_after_its_end(void **state)
{
  struct fixture *f = *state;
  char two[] = "2";
  put(f->table, "a", "1");
  assert_rc(BLITZ_CHANGED, blitz_update_if(f->txn, f->table, text("a"), text("2"),
                                           is_what_was_expected, two, ERR));
  assert_rc(BLITZ_DUPLICATE, insert(f, "a", "2"));
  assert_rc(BLITZ_NOT_FOUND, take(f, "none"));
  require_ok(blitz_txn_commit(f->txn, ERR));
  struct blitz_txn *other = new_txn();
  blitz_txn_lock_timeout(other, 0);
  assert_ok(blitz_update(other, f->table, text("a"), text("a"), text("3"), ERR));
  blitz_txn_free(other);
}

static void one_writer_at_a_time(void **state)
{
  struct fixture *f = *state;
  struct blitz_txn *other = new_txn();
  blitz_txn_lock_timeout(other, 0);
  put(f->table, "a", "1");
  assert_ok(update(f, "a", "a", "2"));
  assert_rc(BLITZ_BUSY, blitz_insert(other, f->table, text("b"), text("1"), ERR));
  assert_error_names(path_of("changes"));
  assert_rc(BLITZ_BUSY, blitz_remove(other, f->table, text("a"), ERR));
  assert_false(blitz_txn_changed(other));
  assert_row(f->table, other, "a", "1"); /* readers wait for nobody */
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_ok(blitz_insert(other, f->table, text("b"), text("1"), ERR));
  assert_rc(BLITZ_OK, look_up(f->table, other, "b", (char[10]){0}, 10));
  blitz_txn_rollback(other);
  assert_ok(insert(f, "b", "2"));
  blitz_txn_free(other);
}

static void *waiting_writer(void *arg)
{
  struct fixture *f = arg;
  struct blitz_txn *txn = NULL;
  require_ok(blitz_txn_create(&txn));
  require_ok(blitz_update(txn, f->table, text("a"), text("a"), text("second"), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
  return NULL;
}

static void a_writer_waits_for_the_other(void **state)
{
  struct fixture *f = *state;
  pthread_t thread;
  struct blitz_counters before, after;
  put(f->table, "a", "0");
  blitz_counters_get(&before);
  assert_ok(update(f, "a", "a", "first"));
  assert_int_equal(pthread_create(&thread, NULL, waiting_writer, f), 0);
  do /* until it waits */
    blitz_counters_get(&after);
  while (after.write_waits == before.write_waits);
  require_ok(blitz_txn_commit(f->txn, ERR));
  pthread_join(thread, NULL);
  assert_row(f->table, NULL, "a", "second");
}

static void keys_and_values_of_any_bytes(void **state)
{
  struct fixture *f = *state;
  struct blitz_cursor *cursor = new_cursor(f->table, f->txn);
  struct blitz_slice value;
  unsigned char key[512];
  for (size_t len = 0; len <= sizeof key; len++)
  {
    memset(key, (int)(len * 7), sizeof key);
    assert_ok(blitz_insert(f->txn, f->table, bytes(key, len), bytes(key, sizeof key - len), ERR));
  }
  for (int twice = 0; twice < 2; twice++)
  {
    for (size_t len = 0; len <= sizeof key; len++)
    {
      memset(key, (int)(len * 7), sizeof key);
      assert_ok(blitz_get(cursor, bytes(key, len), &value, ERR));
      assert_true(slice_is(value, key, sizeof key - len));
      assert_true(slice_is(blitz_cursor_key(cursor), key, len));
    }
    require_ok(blitz_txn_commit(f->txn, ERR));
  }
  assert_rc(BLITZ_DUPLICATE, blitz_insert(f->txn, f->table, text(""), text("x"), ERR));
  blitz_cursor_close(cursor);
}

static void values_of_every_size(void **state)
{
  struct fixture *f = *state;
  struct blitz_cursor *cursor = new_cursor(f->table, NULL);
  struct blitz_slice value;
  uint64_t version;
  static const size_t lens[] = {16,      17,      100,     127,      128,     4095,
                                4096,    16383,   16384,   65535,    65536,   70000,
                                1048576, 2097151, 2097152, 10000000, 33554432};
  size_t count = sizeof lens / sizeof *lens;
  char *buf = malloc(lens[count - 1]);
  for (size_t i = 0; i < count; i++)
  {
    row_fill(buf, lens[i], i, 1);
    assert_ok(blitz_insert(f->txn, f->table, number_key(i), bytes(buf, lens[i]), ERR));
  }
  require_ok(blitz_txn_commit(f->txn, ERR));
  for (size_t i = 0; i < count; i++)
  {
    assert_ok(blitz_get(cursor, number_key(i), &value, ERR));
    assert_int_equal(value.len, lens[i]);
    assert_true(row_proves(value, i, &version));
    assert_ok(blitz_get_prefix(cursor, number_key(i), 16, &value, ERR));
    assert_int_equal(value.len, 16);
    assert_true(row_proves(value, i, &version));
  }
  /* Each takes the size of the next one. */
  for (size_t i = 0; i < count; i++)
  {
    size_t len = lens[(i + 1) % count];
    row_fill(buf, len, i, 2);
    assert_ok(blitz_update(f->txn, f->table, number_key(i), number_key(i), bytes(buf, len), ERR));
  }
  require_ok(blitz_txn_commit(f->txn, ERR));
  blitz_cursor_close(cursor);
  reopen(f);
  assert_rows(f->table, 0, count, 2);
  free(buf);
}

static void a_prefix_is_enough(void **state)
{
  struct fixture *f = *state;
  struct blitz_cursor *cursor = new_cursor(f->table, f->txn);
  struct blitz_slice value;
  put(f->table, "a", "hello");
  for (int own = 0; own < 2; own++)
  {
    assert_ok(blitz_get_prefix(cursor, text("a"), 2, &value, ERR));
    assert_true(value.len >= 2 && memcmp(value.data, "he", 2) == 0);
    assert_ok(blitz_get_prefix(cursor, text("a"), 5, &value, ERR));
    assert_true(slice_is(value, "hello", 5));
    assert_ok(blitz_get_prefix(cursor, text("a"), 500, &value, ERR));
    assert_true(slice_is(value, "hello", 5));
    assert_rc(BLITZ_NOT_FOUND, blitz_get_prefix(cursor, text("b"), 2, &value, ERR));
    assert_ok(update(f, "a", "a", "hello"));
  }
  blitz_cursor_close(cursor);
}

static void expected_rows_go_in_at_once(void **state)
{
  struct fixture *f = *state;
  char value[40];
  uint64_t version;
  struct blitz_cursor *cursor = new_cursor(f->table, f->txn);
  struct blitz_slice found;
  assert_ok(blitz_txn_expect_rows(f->txn, f->table, 5000, false, ERR));
  for (uint64_t n = 0; n < 5000; n++)
  {
    row_fill(value, sizeof value, n, 1);
    assert_ok(blitz_insert(f->txn, f->table, number_key(n), bytes(value, sizeof value), ERR));
  }
  assert_rc(BLITZ_DUPLICATE, blitz_insert(f->txn, f->table, number_key(77), text("x"), ERR));
  assert_ok(blitz_get(cursor, number_key(77), &found, ERR));
  assert_true(row_proves(found, 77, &version));
  /* Nobody else sees any of it. */
  assert_int_equal(row_count(f->table), 0);
  struct blitz_cursor *other = new_cursor(f->table, NULL);
  assert_rc(BLITZ_NOT_FOUND, blitz_get(other, number_key(77), &found, ERR));
  assert_ok(blitz_scan_begin(other));
  assert_rc(BLITZ_END, blitz_scan_next(other, &found, ERR));
  blitz_cursor_close(other);
  blitz_cursor_close(cursor);
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_rows(f->table, 0, 5000, 1);
  reopen(f);
  assert_rows(f->table, 0, 5000, 1);
}

static void expected_rows_can_be_changed_at_once(void **state)
{
  struct fixture *f = *state;
  assert_ok(blitz_txn_expect_rows(f->txn, f->table, 0, false, ERR));
  assert_ok(insert(f, "a", "1"));
  assert_ok(insert(f, "b", "1"));
  assert_ok(insert(f, "c", "1"));
  assert_ok(update(f, "a", "a", "2"));
  assert_ok(update(f, "b", "d", "2"));
  assert_ok(take(f, "c"));
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_row(f->table, NULL, "a", "2");
  assert_row(f->table, NULL, "d", "2");
  assert_no_row(f->table, NULL, "b");
  assert_no_row(f->table, NULL, "c");
  assert_int_equal(row_count(f->table), 2);
}

static void expected_rows_can_be_rolled_back(void **state)
{
  struct fixture *f = *state;
  char value[100];
  for (int round = 0; round < 3; round++)
  {
    assert_ok(blitz_txn_expect_rows(f->txn, f->table, round * 1000, false, ERR));
    for (uint64_t n = 0; n < 3000; n++)
    {
      row_fill(value, sizeof value, n, 1);
      assert_ok(blitz_insert(f->txn, f->table, number_key(n), bytes(value, sizeof value), ERR));
    }
    blitz_txn_rollback(f->txn);
    assert_int_equal(row_count(f->table), 0);
    assert_no_row(f->table, NULL, "a");
    reopen(f);
    assert_int_equal(row_count(f->table), 0);
  }
  put_rows(f->table, 0, 500, 60, 2);
  assert_rows(f->table, 0, 500, 2);
}

static void expecting_rows_in_a_full_table_is_no_promise(void **state)
{
  struct fixture *f = *state;
  put_rows(f->table, 0, 10, 40, 1);
  assert_ok(blitz_txn_expect_rows(f->txn, f->table, 1000000, false, ERR));
  assert_ok(insert(f, "a", "1"));
  blitz_txn_rollback(f->txn);
  assert_rows(f->table, 0, 10, 1);
  /* And of rows that never come. */
  assert_ok(blitz_txn_expect_rows(f->txn, f->table, 1000000, false, ERR));
  require_ok(blitz_txn_commit(f->txn, ERR));
  assert_rows(f->table, 0, 10, 1);
  struct blitz_txn *other = new_txn();
  blitz_txn_lock_timeout(other, 0);
  assert_ok(blitz_remove(other, f->table, number_key(9), ERR));
  require_ok(blitz_txn_commit(other, ERR));
  blitz_txn_free(other);
  assert_rows(f->table, 0, 9, 1);
}

#define changes(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
  const struct CMUnitTest tests[] = {
      changes(an_insert_is_seen_after_commit),
      changes(an_update_is_seen_after_commit),
      changes(a_remove_is_seen_after_commit),
      changes(a_key_is_there_once),
      changes(missing_rows_are_not_found),
      changes(an_update_may_change_the_key),
      changes(keys_may_go_round),
      changes(many_changes_of_one_row_are_one),
      changes(insert_and_remove_leave_nothing),
      changes(rollback_undoes_everything),
      changes(freeing_a_transaction_rolls_back),
      changes(a_transaction_knows_its_row_delta),
      changes(a_failed_change_leaves_the_others),
      changes(a_transaction_is_used_again),
      changes(a_transaction_may_change_several_tables),
      changes(conditional_changes_ask_first),
      changes(a_refused_change_holds_nobody_up_after_its_end),
      changes(one_writer_at_a_time),
      changes(a_writer_waits_for_the_other),
      changes(keys_and_values_of_any_bytes),
      changes(values_of_every_size),
      changes(a_prefix_is_enough),
      changes(expected_rows_go_in_at_once),
      changes(expected_rows_can_be_changed_at_once),
      changes(expected_rows_can_be_rolled_back),
      changes(expecting_rows_in_a_full_table_is_no_promise),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
