/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_nomem_test.c: the first, second, third ... allocation of a piece of work on a
 * table with indexes fails, ours or LMDB's, until it needs no more of them. Each time it
 * gives BLITZ_NOMEM or goes without, and rows and indexes agree afterwards.
 *
 * As in nomem_test.c there is nothing to see for the sanitizers.
 */
#include "support/indexed.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define NO_MALLOC
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define NO_MALLOC
#endif
#endif

enum
{
  ROWS = 60
};

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

/* Is RC what it must be? True: it went through. */
static bool check(enum blitz_rc rc, const char *what)
{
  if (rc != BLITZ_OK && !(rc == BLITZ_NOMEM && failed))
    fail_msg("%s gave %s: %s", what, blitz_rc_name(rc), last_error.text);
  return rc == BLITZ_OK;
}

#define goes(call) check(disarm(call), #call)

static struct blitz_table *filled_table(const char *name, unsigned rows)
{
  struct blitz_table *table = new_indexed_table(name);
  put_indexed_rows(table, 0, rows, 1, 50);
  return table;
}

/* ---- opening ---------------------------------------------------------------------- */

static void opening(void **state)
{
  (void)state;
  /* 0: as it was closed; 1: indexes are missing; 2: there are others; 3: all are missing. */
  for (unsigned how = 0; how < 4; how++)
  {
    struct blitz_indexes ids = indexed_ids;
    unsigned n = 0;
    blitz_table_close(filled_table("open", 300));
    do
    {
      struct blitz_table *table;
      enum blitz_rc rc;
      if (how == 1)
        ids.ids[1] = 1000 + n;
      ids.count = how == 2 ? 2 + n % 2 : 3;
      if (how == 3)
        remove(index_file_of("open"));
      arm(n++);
      rc = disarm(open_with_indexes("open", &ids, &indexed_indexer, &table, ERR));
      if (check(rc, "open"))
      {
        assert_ok(blitz_table_check_indexes(table, &indexed_indexer, ERR));
        blitz_table_close(table);
      }
      else
        assert_null(table);
    } while (failed);
    assert_true(n > 5);
  }
}

/* ---- changing ---------------------------------------------------------------------- */

static enum blitz_rc change_all(struct blitz_txn *txn, struct blitz_table *table, unsigned n)
{
  enum blitz_rc rc = BLITZ_OK;
  for (uint64_t i = 0; i < ROWS && rc == BLITZ_OK; i++)
  {
    if (i % 3 == 0)
    {
      blitz_txn_set_indexer(txn, &indexed_indexer);
      rc = blitz_remove(txn, table, number_key(i), ERR);
    }
    else
      rc = indexed_update(txn, table, i, indexed_version(i % 2 ? n : 0, 2), 50);
    if (rc == BLITZ_OK)
      rc = indexed_insert(txn, table, 1000 + i, 2, 50);
  }
  return rc;
}

static void changing(void **state)
{
  (void)state;
  struct blitz_table *table = filled_table("change", ROWS);
  bool any = true;
  for (unsigned n = 0; any; n++)
  {
    struct blitz_txn *txn = new_indexed_txn();
    arm(n);
    goes(change_all(txn, table, n));
    any = failed;
    blitz_txn_rollback(txn);
    blitz_txn_free(txn);
    assert_ok(blitz_table_check_indexes(table, &indexed_indexer, ERR));
    assert_int_equal(row_count(table), ROWS);
  }
  assert_indexes_right(table);
  blitz_table_close(table);
}

/* A commit fails, and nothing has changed, or it is done; the indexes may be lost by it, but not
 * unnoticed.
 */
static void committing(void **state)
{
  (void)state;
  unsigned lost = 0, undone = 0;
  bool any = true;
  for (unsigned n = 0; any; n++)
  {
    struct blitz_table *table = filled_table("commit", ROWS);
    struct blitz_txn *txn = new_indexed_txn();
    enum blitz_rc rc;
    assert_ok(change_all(txn, table, 7));
    arm(n);
    rc = blitz_txn_commit(txn, ERR);
    armed = false;
    any = failed;
    require(rc == BLITZ_OK || (rc == BLITZ_NOMEM && any));
    assert_int_equal(row_count(table), rc == BLITZ_OK ? ROWS + ROWS - ROWS / 3 : ROWS);
    undone += rc != BLITZ_OK;
    rc = blitz_table_check_indexes(table, &indexed_indexer, ERR);
    assert_true(rc == BLITZ_OK || rc == BLITZ_CORRUPT);
    lost += rc != BLITZ_OK;
    arm(n);
    blitz_txn_free(txn);
    blitz_table_close(table);
    armed = false;
    any |= failed;
    table = open_indexed_table("commit");
    assert_indexes_right(table);
    blitz_table_close(table);
  }
  print_message("# %u times a commit lost the indexes, %u times it was undone\n", lost, undone);
}

/* ---- reading ------------------------------------------------------------------------ */

static enum blitz_rc read_all(struct blitz_table *table, unsigned index_no, bool forward)
{
  struct blitz_cursor *cursor = NULL;
  struct blitz_slice value;
  enum blitz_rc rc = blitz_cursor_open(table, NULL, &cursor);
  uint64_t count;
  unsigned rows = 0;
  if (rc == BLITZ_OK)
    rc = blitz_index_estimate(cursor, index_no, text(""), BLITZ_SEEK_FIRST, text("\xff"),
                              BLITZ_SEEK_AFTER, &count, ERR);
  if (rc == BLITZ_OK)
    rc = blitz_index_begin(cursor, index_no, ERR);
  if (rc == BLITZ_OK)
    rc = blitz_index_seek(cursor, text(""), forward ? BLITZ_SEEK_FIRST : BLITZ_SEEK_LAST, ERR);
  while (rc == BLITZ_OK)
  {
    rc = blitz_index_row(cursor, &value, ERR);
    if (rc == BLITZ_OK)
      rc = blitz_index_step(cursor, forward, ERR);
    /* There and back again. */
    if (rc == BLITZ_OK && rows++ % 5 == 0)
    {
      rc = blitz_index_step(cursor, !forward, ERR);
      if (rc == BLITZ_OK)
        rc = blitz_index_step(cursor, forward, ERR);
    }
  }
  if (rc == BLITZ_END)
    rc = rows == ROWS - 1 ? BLITZ_OK : BLITZ_CORRUPT;
  blitz_cursor_close(cursor);
  return rc;
}

static void reading(void **state)
{
  (void)state;
  struct blitz_table *table = filled_table("read", ROWS);
  struct blitz_txn *txn = new_indexed_txn();
  /* Rows that are not where their entries say. */
  for (uint64_t n = 0; n < ROWS; n++)
    assert_ok(indexed_update(txn, table, n, 2, 60));
  require_ok(blitz_txn_commit(txn, ERR));
  for (unsigned how = 0; how < 2 * INDEXED_COUNT; how++)
  {
    unsigned n = 0;
    do
    {
      arm(n++);
      goes(read_all(table, how / 2, how % 2));
    } while (failed);
    assert_true(n > 2);
  }
  blitz_txn_free(txn);
  blitz_table_close(table);
}

/* ---- building ------------------------------------------------------------------------ */

static enum blitz_rc load(struct blitz_txn *txn, struct blitz_table *table)
{
  enum blitz_rc rc = blitz_txn_expect_rows(txn, table, 200, true, ERR);
  for (uint64_t i = 0; i < 200 && rc == BLITZ_OK; i++)
    rc = indexed_insert(txn, table, i, 1, 50);
  return rc == BLITZ_OK ? blitz_txn_finish_load(txn, table, NULL, NULL, ERR) : rc;
}

static void loading(void **state)
{
  (void)state;
  struct blitz_table *table = new_indexed_table("load");
  bool any = true;
  for (unsigned n = 0; any; n++)
  {
    struct blitz_txn *txn = new_indexed_txn();
    arm(n);
    goes(load(txn, table));
    any = failed;
    blitz_txn_rollback(txn);
    blitz_txn_free(txn);
    assert_int_equal(row_count(table), 0);
    assert_ok(blitz_table_check_indexes(table, &indexed_indexer, ERR));
  }
  blitz_table_close(table);
}

static void making_indexes(void **state)
{
  (void)state;
  static const struct blitz_indexes more = {.count = 1, .ids = {500}};
  struct blitz_table *table = filled_table("make", 500);
  for (unsigned how = 0; how < 5; how++)
  {
    unsigned n = 0;
    do
    {
      arm(n++);
      switch (how)
      {
      case 0: goes(blitz_table_rebuild_indexes(table, &indexed_indexer, ERR)); break;
      case 1: goes(blitz_table_add_indexes(table, &more, &indexed_indexer, NULL, ERR)); break;
      case 2: goes(blitz_table_drop_indexes(table, &more, ERR)); break;
      case 3: goes(blitz_table_disable_indexes(table, 5, ERR)); break;
      default: goes(blitz_table_enable_indexes(table, &indexed_indexer, ERR)); break;
      }
      armed = false;
      bool any = failed;
      assert_ok(blitz_table_check_indexes(table, &indexed_indexer, ERR));
      failed = any;
    } while (failed);
    assert_true(n > 1);
  }
  assert_indexes_right(table);
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(opening), cmocka_unit_test(changing), cmocka_unit_test(committing),
      cmocka_unit_test(reading), cmocka_unit_test(loading),  cmocka_unit_test(making_indexes),
  };
#ifdef NO_MALLOC
  printf("# skipped: the sanitizers' malloc() does not fail\n");
  return 0;
#endif
  catch_log();
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
