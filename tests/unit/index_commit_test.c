/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_commit_test.c: a commit of entries fails at its n-th write, for n = 1, 2, ... until
 * there are no more, for changes of each kind. What failed has not happened; rows and indexes
 * agree, at once and after reopening.
 *
 * The writes are LMDB's, which finds the functions of this program.
 */
#include "support/indexed.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum
{
  ROWS = 400,
  META_END = 8192 /* of the two pages that say where the trees begin */
};

/* ---- the n-th write ------------------------------------------------------------------ */

static long left = -1; /* writes until one fails; -1: none does */
static bool in_part;   /* it is done in part */
static bool failed, failed_meta;

static bool fails(off_t off)
{
  if (left < 0 || left-- > 0)
    return false;
  failed = true;
  failed_meta = off >= 0 && off < META_END;
  left = -1;
  return true;
}

static ssize_t write_at(int fd, const void *data, size_t len, off_t off)
{
  if (!fails(off))
    return syscall(SYS_pwrite64, fd, data, len, off);
  if (in_part && len > 1)
    return syscall(SYS_pwrite64, fd, data, len / 2, off);
  errno = ENOSPC;
  return -1;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t off)
{
  return write_at(fd, data, len, off);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t off)
{
  return write_at(fd, data, len, off);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
  if (!fails(-1))
    return syscall(SYS_writev, fd, parts, count);
  if (in_part)
    return syscall(SYS_writev, fd, parts, 1);
  errno = ENOSPC;
  return -1;
}

/* ---- changes --------------------------------------------------------------------------- */

static const struct blitz_indexes more = {.count = 1, .ids = {2}};

static enum blitz_rc commit(struct blitz_txn *txn, enum blitz_rc rc)
{
  if (rc == BLITZ_OK)
    rc = blitz_txn_commit(txn, ERR);
  blitz_txn_rollback(txn);
  return rc;
}

static enum blitz_rc insert_one(struct blitz_table *table, struct blitz_txn *txn)
{
  return commit(txn, indexed_insert(txn, table, ROWS + row_count(table), 1, 100));
}

static enum blitz_rc insert_many(struct blitz_table *table, struct blitz_txn *txn)
{
  enum blitz_rc rc = BLITZ_OK;
  uint64_t first = 10000 + row_count(table);
  for (uint64_t n = first; n < first + 300 && rc == BLITZ_OK; n++)
    rc = indexed_insert(txn, table, n, 1, 100);
  return commit(txn, rc);
}

static enum blitz_rc update_many(struct blitz_table *table, struct blitz_txn *txn)
{
  static uint32_t version = 1;
  enum blitz_rc rc = BLITZ_OK;
  version++;
  for (uint64_t n = 0; n < ROWS && rc == BLITZ_OK; n += 3)
    rc = indexed_update(txn, table, n, indexed_version(version, version), 80);
  return commit(txn, rc);
}

static enum blitz_rc replace_all(struct blitz_table *table, struct blitz_txn *txn)
{
  enum blitz_rc rc = blitz_remove_all(txn, table, NULL, NULL, ERR);
  for (uint64_t n = 0; n < ROWS && rc == BLITZ_OK; n++)
    rc = indexed_insert(txn, table, n, 7, 90);
  return commit(txn, rc);
}

static enum blitz_rc add_index(struct blitz_table *table, struct blitz_txn *txn)
{
  (void)txn;
  return blitz_table_add_indexes(table, &more, &indexed_indexer, NULL, ERR);
}

static enum blitz_rc drop_index(struct blitz_table *table, struct blitz_txn *txn)
{
  (void)txn;
  return blitz_table_drop_indexes(table, &more, ERR);
}

static enum blitz_rc rebuild(struct blitz_table *table, struct blitz_txn *txn)
{
  (void)txn;
  return blitz_table_rebuild_indexes(table, &indexed_indexer, ERR);
}

static enum blitz_rc disable(struct blitz_table *table, struct blitz_txn *txn)
{
  (void)txn;
  return blitz_table_disable_indexes(table, 5, ERR);
}

static enum blitz_rc enable(struct blitz_table *table, struct blitz_txn *txn)
{
  (void)txn;
  return blitz_table_enable_indexes(table, &indexed_indexer, ERR);
}

static enum blitz_rc remove_most(struct blitz_table *table, struct blitz_txn *txn)
{
  enum blitz_rc rc = BLITZ_OK;
  for (uint64_t n = 5; n < ROWS && rc == BLITZ_OK; n++)
    rc = blitz_remove(txn, table, number_key(n), ERR);
  return commit(txn, rc);
}

typedef enum blitz_rc change_fn(struct blitz_table *table, struct blitz_txn *txn);
static change_fn *const changes[] = {insert_one, insert_many, update_many, replace_all,
                                     add_index,  drop_index,  rebuild,     disable,
                                     enable,     remove_most};

/* ---- tests ------------------------------------------------------------------------------ */

static struct blitz_table *look_again(struct blitz_table *table, uint64_t rows)
{
  blitz_table_close(table);
  table = open_indexed_table("commit");
  assert_int_equal(row_count(table), rows);
  assert_indexes_right(table);
  return table;
}

/* One change, again and again with a later write failing. How many times it failed. */
static unsigned fail_each_write(struct blitz_table **tablep, struct blitz_txn *txn,
                                change_fn *change)
{
  unsigned failures = 0;
  for (;; failures++)
  {
    uint64_t rows = row_count(*tablep);
    enum blitz_rc rc;
    failed = failed_meta = false;
    left = failures;
    rc = change(*tablep, txn);
    left = -1;
    if (!failed)
    {
      assert_ok(rc);
      return failures;
    }
    if (rc != BLITZ_FULL && !(in_part && rc == BLITZ_IO))
      fail_msg("write %u: %s, %s", failures, blitz_rc_name(rc), last_error.text);
    assert_error_names(index_file_of("commit"));
    assert_int_equal(row_count(*tablep), rows);
    if (failed_meta)
      *tablep = look_again(*tablep, rows);
    assert_indexes_right(*tablep);
    if (failures % 4 == 3)
      *tablep = look_again(*tablep, rows);
  }
}

static void commits_fail_at_each_write(void **state)
{
  (void)state;
  catch_log();
  for (unsigned i = 0; i < 2; i++)
  {
    struct blitz_table *table = new_indexed_table("commit");
    struct blitz_txn *txn = new_indexed_txn();
    in_part = i == 1;
    put_indexed_rows(table, 0, ROWS, 1, 100);
    for (unsigned n = 0; n < sizeof changes / sizeof *changes; n++)
    {
      unsigned failures = fail_each_write(&table, txn, changes[n]);
      if (failures == 0)
        fail_msg("change %u: there was no write that could fail", n);
      table = look_again(table, row_count(table));
    }
    blitz_txn_free(txn);
    blitz_table_close(table);
  }
}

/* The system's own limit, at each page behind the end of the file. */
static void files_have_a_longest_length(void **state)
{
  (void)state;
  struct rlimit none, limit;
  struct blitz_table *table = new_indexed_table("limit");
  struct blitz_txn *txn = new_indexed_txn();
  unsigned refused = 0;
  put_indexed_rows(table, 0, ROWS, 1, 16);
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &none), 0);
  limit = none;
  for (rlim_t len = file_len(index_file_of("limit"));; len += 4096)
  {
    uint64_t rows = row_count(table);
    enum blitz_rc rc;
    limit.rlim_cur = len;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    rc = insert_many(table, txn);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    if (rc == BLITZ_OK)
      break;
    refused++;
    assert_rc(BLITZ_FULL, rc);
    assert_int_equal(row_count(table), rows);
    assert_indexes_right(table);
  }
  assert_true(refused > 3);
  assert_indexes_right(table);
  blitz_txn_free(txn);
  blitz_table_close(table);
  table = open_indexed_table("limit");
  assert_indexes_right(table);
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(commits_fail_at_each_write),
      cmocka_unit_test(files_have_a_longest_length),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
