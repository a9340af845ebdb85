/* SPDX-License-Identifier: GPL-2.0-only
 *
 * nomem_test.c: the first, second, third ... allocation of a piece of work
 * fails, until it needs no more of them. Each time it gives BLITZ_NOMEM or goes
 * without, and the table is as sound as before.
 *
 * The program brings its own malloc() and so on, which the sanitizers do not
 * like: there is nothing to see for them here.
 */
#include "support/support.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define NO_MALLOC
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define NO_MALLOC
#endif
#endif

static _Thread_local bool armed;
static _Thread_local unsigned countdown;
static _Thread_local bool failed;

#ifndef NO_MALLOC
#include <errno.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

static bool fails(void)
{
  if (!armed || failed || countdown-- > 0)
    return false;
  failed = true;
  errno = ENOMEM;
  return true;
}

void *malloc(size_t size)
{
  return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
  return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
  return fails() ? NULL : __libc_realloc(block, size);
}
#endif

static void arm(unsigned n)
{
  failed = false;
  countdown = n;
  armed = true;
}

static enum blitz_rc disarm(enum blitz_rc rc)
{
  armed = false;
  return rc;
}

/* Runs CALL with allocation number N failing; true if it went through. */
#define goes(n, call) (arm(n), check(disarm(call), #call))

static bool check(enum blitz_rc rc, const char *what)
{
  if (rc != BLITZ_OK && !(rc == BLITZ_NOMEM && failed))
    fail_msg("%s gave %s: %s", what, blitz_rc_name(rc), last_error.text);
  return rc == BLITZ_OK;
}

static char value[5000];

static void opening(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("open");
  put_rows(table, 0, 500, 100, 1);
  remove_rows(table, 400, 500);
  blitz_table_close(table);
  unsigned n = 0;
  do
  {
    arm(n);
    if (check(disarm(blitz_table_open(path_of("open"), 0, &table, ERR)), "open"))
      blitz_table_close(table);
    else
      assert_null(table);
    n++;
  } while (failed);
  assert_true(n > 1);
  table = open_table("open");
  assert_rows(table, 0, 400, 1);
  blitz_table_close(table);
}

static void changing(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("change");
  put_rows(table, 0, 300, 100, 1);
  bool any = true;
  for (unsigned n = 0; any; n++)
  {
    /* Everything of one transaction, which is undone at the first failure. */
    struct blitz_txn *txn = NULL;
    any = false;
    bool ok = goes(n, blitz_txn_create(&txn));
    any |= failed;
    if (!ok)
    {
      assert_null(txn);
      continue;
    }
    for (uint64_t i = 0; ok && i < 300; i++)
    {
      size_t len = 16 + i * 13;
      row_fill(value, len, i, 2);
      ok = goes(n, blitz_update(txn, table, number_key(i), number_key(i), bytes(value, len), ERR));
      any |= failed;
      if (ok && i % 3 == 0)
        ok = goes(n, blitz_remove(txn, table, number_key(i), ERR)), any |= failed;
      row_fill(value, 50, 1000 + i, 2);
      if (ok)
        ok = goes(n, blitz_insert(txn, table, number_key(1000 + i), bytes(value, 50), ERR)),
        any |= failed;
    }
    blitz_txn_rollback(txn);
    blitz_txn_free(txn);
    assert_rows(table, 0, 300, 1);
  }
  blitz_table_close(table);
  table = open_table("change");
  assert_rows(table, 0, 300, 1);
  blitz_table_close(table);
}

static void committing(void **state)
{
  (void)state;
  /* A commit cannot fail, so it must do without what it does not get. */
  for (unsigned n = 0;; n++)
  {
    struct blitz_table *table = new_table("commit");
    struct blitz_txn *txn = new_txn();
    put_rows(table, 0, 200, 100, 1);
    for (uint64_t i = 0; i < 400; i++)
    {
      row_fill(value, 150, i, 2);
      enum blitz_rc rc =
          i < 200 ? blitz_update(txn, table, number_key(i), number_key(i), bytes(value, 150), ERR)
                  : blitz_insert(txn, table, number_key(i), bytes(value, 150), ERR);
      assert_ok(rc);
    }
    arm(n);
    require_ok(blitz_txn_commit(txn, ERR));
    armed = false;
    bool more = failed;
    assert_rows(table, 0, 400, 2);
    arm(n);
    blitz_txn_free(txn);
    blitz_table_close(table);
    armed = false;
    more |= failed;
    table = open_table("commit");
    assert_rows(table, 0, 400, 2);
    blitz_table_close(table);
    if (!more)
      break;
  }
}

static void reading(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("read");
  put_rows(table, 0, 50, 4000, 1);
  bool any = true;
  for (unsigned n = 0; any; n++)
  {
    struct blitz_cursor *cursor = NULL;
    struct blitz_slice found;
    uint64_t position, version;
    any = false;
    if (!goes(n, blitz_cursor_open(table, NULL, &cursor)))
    {
      assert_null(cursor);
      any = true;
      continue;
    }
    any |= failed;
    if (goes(n, blitz_get(cursor, number_key(7), &found, ERR)))
      assert_true(row_proves(found, 7, &version));
    any |= failed;
    if (goes(n, blitz_scan_begin(cursor)))
    {
      any |= failed;
      uint64_t rows = 0;
      enum blitz_rc rc;
      for (arm(n); (rc = disarm(blitz_scan_next(cursor, &found, ERR))) == BLITZ_OK; arm(n))
      {
        any |= failed;
        rows++;
        if (goes(n, blitz_cursor_position(cursor, &position)) && !failed)
          assert_ok(blitz_get_at(cursor, position, &found, ERR));
        any |= failed;
      }
      assert_true(rc == BLITZ_END ? rows == 50 : rc == BLITZ_NOMEM && failed);
    }
    any |= failed;
    blitz_cursor_close(cursor);
  }
  assert_rows(table, 0, 50, 1);
  blitz_table_close(table);
}

static void loading_and_copying(void **state)
{
  (void)state;
  struct blitz_table *table = new_table("load");
  bool any = true;
  for (unsigned n = 0; any; n++)
  {
    struct blitz_txn *txn = new_txn();
    bool ok = goes(n, blitz_txn_expect_rows(txn, table, 100, false, ERR));
    any = failed;
    for (uint64_t i = 0; ok && i < 100; i++)
    {
      row_fill(value, 100, i, 1);
      ok = goes(n, blitz_insert(txn, table, number_key(i), bytes(value, 100), ERR));
      any |= failed;
    }
    if (any || !ok)
      blitz_txn_rollback(txn);
    else
      require_ok(blitz_txn_commit(txn, ERR));
    blitz_txn_free(txn);
    if (any || !ok)
      assert_int_equal(row_count(table), 0);
  }
  assert_rows(table, 0, 100, 1);
  any = true;
  for (unsigned n = 0; any; n++)
  {
    if (goes(n, blitz_table_copy(table, path_of("copy"), ERR)))
    {
      any = failed;
      struct blitz_table *copy = open_table("copy");
      assert_rows(copy, 0, 100, 1);
      blitz_table_close(copy);
      assert_ok(blitz_table_drop(path_of("copy"), ERR));
    }
    else
      assert_int_equal(file_len(file_of("copy")), UINT64_MAX);
  }
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(opening),
      cmocka_unit_test(changing),
      cmocka_unit_test(committing),
      cmocka_unit_test(reading),
      cmocka_unit_test(loading_and_copying),
  };
#ifdef NO_MALLOC
  printf("# skipped: the sanitizers' malloc() does not fail\n");
  return 0;
#endif
  catch_log();
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
