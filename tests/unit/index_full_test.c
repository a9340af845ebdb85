/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_full_test.c: a device without space for entries. A change that does not fit gives
 * BLITZ_FULL and has not happened; no signal comes, neither from a change nor from a
 * commit; rows and indexes agree; work goes on when there is space again.
 *
 * It uses a small tmpfs of its own, for which it needs root's rights.
 */
#define _GNU_SOURCE
#include "support/indexed.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

enum
{
  DEVICE_LEN = 24 << 20
};

static char mount_point[4100];
static bool mounted;

static int begin(void **state)
{
  char options[40];
  if (make_dir(state) != 0)
    return -1;
  catch_log();
  snprintf(mount_point, sizeof mount_point, "%s", test_dir());
  snprintf(options, sizeof options, "size=%d", DEVICE_LEN);
  if (mount("blitz-test", mount_point, "tmpfs", 0, options) == 0)
    mounted = true;
  else
    print_message("# a tmpfs cannot be mounted here (%s)\n", strerror(errno));
  return 0;
}

static int end(void **state)
{
  if (mounted && umount2(mount_point, MNT_DETACH) != 0)
    return -1;
  return remove_dir(state);
}

static void need_mount(void)
{
  if (!mounted)
  {
    print_message("# skipped: it needs a tmpfs of its own\n");
    skip();
  }
}

static void free_device(void)
{
  char name[4200];
  snprintf(name, sizeof name, "%s/filler", mount_point);
  unlink(name);
}

/* What a test that failed left there does not harm the next one. */
static int clean(void **state)
{
  (void)state;
  if (mounted)
  {
    char options[40];
    umount2(mount_point, MNT_DETACH);
    snprintf(options, sizeof options, "size=%d", DEVICE_LEN);
    return mount("blitz-test", mount_point, "tmpfs", 0, options);
  }
  return 0;
}

/* Takes all the space that there is, but for LEAVE bytes. */
static void fill_device(size_t leave)
{
  static char block[32768];
  char name[4200];
  off_t len = 0;
  int fd;
  free_device();
  snprintf(name, sizeof name, "%s/filler", mount_point);
  fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0600);
  assert_true(fd >= 0);
  while (write(fd, block, sizeof block) == (ssize_t)sizeof block)
    len += (off_t)sizeof block;
  while (write(fd, block, 4096) == 4096)
    len += 4096;
  if ((off_t)leave > len)
    leave = (size_t)len;
  assert_int_equal(ftruncate(fd, len - (off_t)leave), 0);
  close(fd);
}

/* Commits, or undoes what failed or what there is no space for. */
static enum blitz_rc finish(struct blitz_txn *txn, enum blitz_rc rc)
{
  if (rc == BLITZ_OK)
    rc = blitz_txn_commit(txn, ERR);
  assert_true(rc == BLITZ_OK || rc == BLITZ_FULL);
  blitz_txn_rollback(txn);
  return rc;
}

static void drop(struct blitz_table *table, const char *name)
{
  blitz_table_close(table);
  assert_ok(blitz_table_drop(path_of(name), ERR));
  free_device();
}

/* ---- rows with long keys ---------------------------------------------------------- */

/* The value is the key of both indexes. */
static enum blitz_rc value_entry(void *arg, unsigned index_no, struct blitz_slice value,
                                 struct blitz_index_entry *entry, struct blitz_error *err)
{
  (void)arg;
  (void)index_no;
  (void)err;
  *entry = (struct blitz_index_entry){.key = value, .payload = text("payload")};
  return BLITZ_OK;
}

static const struct blitz_indexer value_indexer = {.make_entry = value_entry};
static const struct blitz_indexes value_ids = {.count = 2, .ids = {1, 2}};

static struct blitz_table *open_long(const char *name)
{
  struct blitz_table *table;
  assert_ok(open_with_indexes(name, &value_ids, &value_indexer, &table, ERR));
  return table;
}

static struct blitz_table *new_long(const char *name)
{
  struct blitz_create_options options = {0};
  assert_ok(blitz_table_create(path_of(name), &options, true, ERR));
  return open_long(name);
}

/* All keys have the same length and begin with the same letters. */
static enum blitz_rc put_long(struct blitz_txn *txn, struct blitz_table *table, uint64_t n,
                              unsigned letter, size_t len)
{
  static char value[40000];
  struct blitz_slice key = number_key(n);
  enum blitz_rc rc;
  memset(value, (int)letter, len);
  memcpy(value + len - 8, key.data, 8);
  blitz_txn_set_indexer(txn, &value_indexer);
  rc = blitz_insert(txn, table, key, bytes(value, len), ERR);
  return rc != BLITZ_DUPLICATE ? rc : blitz_update(txn, table, key, key, bytes(value, len), ERR);
}

/* ---- tests ---------------------------------------------------------------------------- */

static void single_rows_until_it_is_full(void **state)
{
  (void)state;
  need_mount();
  struct blitz_table *table = new_indexed_table("rows");
  struct blitz_txn *txn = new_indexed_txn();
  struct rnd rnd = {run_seed()};
  uint64_t rows = 0;
  for (unsigned round = 0; round < 4; round++)
  {
    enum blitz_rc rc;
    fill_device(round % 2 ? 100000 + rnd_below(&rnd, 100000) : 1 << 20);
    for (;; rows++)
    {
      rc = indexed_insert(txn, table, rows, indexed_version(rnd_below(&rnd, 9), 1), 40);
      if (rc != BLITZ_OK)
        break;
      if (rnd_below(&rnd, 3) || round % 2)
      {
        rc = blitz_txn_commit(txn, ERR);
        if (rc != BLITZ_OK)
          break;
      }
      else
      {
        rc = indexed_insert(txn, table, rows + 1, 1, 100);
        assert_true(rc == BLITZ_OK || rc == BLITZ_FULL);
        blitz_txn_rollback(txn);
        rows--;
      }
    }
    assert_rc(BLITZ_FULL, rc);
    blitz_txn_rollback(txn);
    /* What is there can be changed still, or not; and read. */
    for (uint64_t n = 0; n < rows; n += 1 + rnd_below(&rnd, 50))
    {
      rc = indexed_update(txn, table, n, indexed_version(rnd_below(&rnd, 9), round), 40);
      (void)finish(txn, rc);
    }
    assert_int_equal(row_count(table), rows);
    assert_indexes_right(table);
    blitz_table_close(table);
    table = open_indexed_table("rows");
    assert_indexes_right(table);
    free_device();
  }
  blitz_txn_free(txn);
  drop(table, "rows");
}

static void a_batch_that_does_not_fit_leaves_nothing(void **state)
{
  (void)state;
  need_mount();
  for (unsigned load = 0; load < 3; load++)
  {
    struct blitz_table *table = new_indexed_table("batch");
    struct blitz_txn *txn = new_indexed_txn();
    enum blitz_rc rc = BLITZ_OK;
    if (load == 0)
      put_indexed_rows(table, 100000, 100100, 1, 100);
    for (unsigned round = 0; round < 3; round++)
    {
      uint64_t n = 0;
      fill_device(700000 + 400000 * round);
      if (load > 0)
        rc = blitz_txn_expect_rows(txn, table, 0, load == 2, ERR);
      for (n = 0; rc == BLITZ_OK; n++)
        rc = indexed_insert(txn, table, n, indexed_version((uint32_t)n % 5, 1), 30);
      assert_rc(BLITZ_FULL, rc);
      if (n < 300)
        fail_msg("load %u round %u: no more than %u rows: %s", load, round, (unsigned)n,
                 last_error.text);
      blitz_txn_rollback(txn);
      assert_int_equal(row_count(table), load == 0 ? 100 : 0);
      assert_indexes_right(table);
      rc = BLITZ_OK;
    }
    free_device();
    put_indexed_rows(table, 0, 1000, 1, 100);
    assert_indexes_right(table);
    blitz_txn_free(txn);
    drop(table, "batch");
  }
}

/* The rows of a load fit, and their entries do not. */
static void entries_of_a_load_do_not_fit(void **state)
{
  (void)state;
  need_mount();
  struct blitz_table *table = new_long("load");
  struct blitz_txn *txn = new_txn();
  enum blitz_rc rc;
  unsigned full = 0;
  for (uint64_t rows = 100; rows < 1500; rows += 200)
  {
    assert_ok(blitz_txn_expect_rows(txn, table, 0, true, ERR));
    for (uint64_t n = 0; n < rows; n++)
      assert_ok(put_long(txn, table, n, 'a' + n % 3, 700));
    fill_device(300000);
    rc = blitz_txn_finish_load(txn, table, NULL, NULL, ERR);
    rc = finish(txn, rc);
    full += rc == BLITZ_FULL;
    assert_int_equal(row_count(table), rc == BLITZ_OK ? rows : 0);
    assert_ok(blitz_table_check_indexes(table, &value_indexer, ERR));
    free_device();
    assert_ok(blitz_remove_all(txn, table, NULL, NULL, ERR));
    require_ok(blitz_txn_commit(txn, ERR));
  }
  assert_true(full > 0);
  blitz_txn_free(txn);
  drop(table, "load");
}

/* A transaction that puts long values again and again: LMDB uses their pages only once. */
static void long_keys_on_a_full_device(void **state)
{
  (void)state;
  need_mount();
  static const size_t lens[] = {530, 900, 1400, 1600, 3000, 5000, 30000};
  for (unsigned i = 0; i < sizeof lens / sizeof *lens; i++)
  {
    struct blitz_table *table = new_long("long");
    struct blitz_txn *txn = new_txn();
    enum blitz_rc rc = BLITZ_OK;
    unsigned changes = 0;
    for (uint64_t n = 0; n < 20; n++)
      assert_ok(put_long(txn, table, n, 'a', lens[i]));
    require_ok(blitz_txn_commit(txn, ERR));
    for (unsigned round = 0; round < 4; round++)
    {
      /* LMDB gives a reader's pages to nobody. */
      struct blitz_cursor *reader = new_cursor(table, NULL);
      assert_ok(blitz_index_begin(reader, 0, ERR));
      if (round / 2)
        assert_ok(blitz_index_seek(reader, text(""), BLITZ_SEEK_FIRST, ERR));
      fill_device(150000 + 150000 * round);
      for (changes = 0; changes < 4000 && rc == BLITZ_OK; changes++)
        rc = put_long(txn, table, changes % (round % 2 ? 20 : 60), 'a' + changes % 23, lens[i]);
      (void)finish(txn, rc);
      rc = BLITZ_OK;
      blitz_cursor_close(reader);
      assert_ok(blitz_table_check_indexes(table, &value_indexer, ERR));
    }
    free_device();
    assert_ok(put_long(txn, table, 3, 'z', lens[i]));
    require_ok(blitz_txn_commit(txn, ERR));
    assert_ok(blitz_table_check_indexes(table, &value_indexer, ERR));
    blitz_txn_free(txn);
    drop(table, "long");
  }
}

/* When many pages become free, LMDB needs some to write down which. */
static void much_is_removed_without_space(void **state)
{
  (void)state;
  need_mount();
  for (unsigned how = 0; how < 4; how++)
  {
    struct blitz_table *table = new_long("remove");
    struct blitz_txn *txn = new_txn();
    enum blitz_rc rc = BLITZ_OK;
    for (uint64_t n = 0; n < 1200; n++)
      assert_ok(put_long(txn, table, n, 'a' + n % 7, 700));
    require_ok(blitz_txn_commit(txn, ERR));
    blitz_table_close(table);
    table = open_long("remove");
    fill_device(how % 2 ? 0 : 20000);
    if (how < 2)
      for (uint64_t n = 0; n < 1200 && rc == BLITZ_OK; n++)
      {
        blitz_txn_set_indexer(txn, &value_indexer);
        rc = blitz_remove(txn, table, number_key(n), ERR);
      }
    else
      rc = blitz_table_disable_indexes(table, 3, ERR);
    assert_true(rc == BLITZ_OK || rc == BLITZ_FULL);
    if (how % 2)
      blitz_txn_rollback(txn);
    else
      rc = finish(txn, rc);
    assert_ok(blitz_table_check_indexes(table, &value_indexer, ERR));
    for (uint64_t n = 2000; rc == BLITZ_OK && n < 4000; n++)
      rc = put_long(txn, table, n, 'c', 30);
    assert_true(rc == BLITZ_OK || rc == BLITZ_FULL);
    blitz_txn_rollback(txn);
    blitz_txn_free(txn);
    drop(table, "remove");
  }
}

static void indexes_are_made_without_space(void **state)
{
  (void)state;
  need_mount();
  static const struct blitz_indexes more = {.count = 1, .ids = {3}};
  struct blitz_table *table = new_long("make");
  struct blitz_txn *txn = new_txn();
  enum blitz_rc rc;
  for (uint64_t n = 0; n < 1300; n++)
    assert_ok(put_long(txn, table, n, 'a' + n % 7, 700));
  require_ok(blitz_txn_commit(txn, ERR));
  for (size_t leave = 0; leave < 5000000; leave += 450000)
  {
    fill_device(leave);
    rc = blitz_table_add_indexes(table, &more, &value_indexer, NULL, ERR);
    assert_true(rc == BLITZ_OK || rc == BLITZ_FULL);
    assert_ok(blitz_table_check_indexes(table, &value_indexer, ERR));
    rc = blitz_table_rebuild_indexes(table, &value_indexer, ERR);
    assert_true(rc == BLITZ_OK || rc == BLITZ_FULL);
    assert_ok(blitz_table_check_indexes(table, &value_indexer, ERR));
    rc = blitz_table_drop_indexes(table, &more, ERR);
    assert_true(rc == BLITZ_OK || rc == BLITZ_FULL);
    assert_ok(blitz_table_check_indexes(table, &value_indexer, ERR));
    (void)finish(txn, put_long(txn, table, leave % 1300, 'q', 700));
    assert_ok(blitz_table_check_indexes(table, &value_indexer, ERR));
  }
  free_device();
  assert_ok(blitz_table_add_indexes(table, &more, &value_indexer, NULL, ERR));
  blitz_txn_free(txn);
  drop(table, "make");
}

/* The file for sorting is on the full device, too. */
static void sorting_does_not_fit(void **state)
{
  (void)state;
  need_mount();
  struct blitz_table *table = new_long("sort");
  struct blitz_txn *txn = new_txn();
  enum blitz_rc rc = BLITZ_OK;
  uint64_t n;
  assert_ok(blitz_set_sort(mount_point, 1));
  fill_device(3 << 20);
  assert_ok(blitz_txn_expect_rows(txn, table, 0, true, ERR));
  for (n = 0; rc == BLITZ_OK; n++)
    rc = put_long(txn, table, n, 'a' + n % 7, 300);
  assert_rc(BLITZ_FULL, rc);
  blitz_txn_rollback(txn);
  assert_int_equal(row_count(table), 0);
  free_device();
  for (n = 0; n < 2500; n++)
    assert_ok(put_long(txn, table, n, 'a' + n % 7, 300));
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_table_close(table);
  table = open_long("sort");
  fill_device(500000);
  assert_rc(BLITZ_FULL, blitz_table_rebuild_indexes(table, &value_indexer, ERR));
  assert_ok(blitz_table_check_indexes(table, &value_indexer, ERR));
  assert_ok(blitz_set_sort("/tmp", 64 << 20));
  blitz_txn_free(txn);
  drop(table, "sort");
}

static void it_is_opened_and_closed_without_space(void **state)
{
  (void)state;
  need_mount();
  struct blitz_table *table = new_long("open");
  struct blitz_txn *txn = new_txn();
  for (uint64_t n = 0; n < 1200; n++)
    assert_ok(put_long(txn, table, n, 'a' + n % 7, 700));
  require_ok(blitz_txn_commit(txn, ERR));
  /* To close takes none, and what was closed is believed. */
  fill_device(0);
  blitz_table_close(table);
  catch_log();
  table = open_long("open");
  assert_ok(blitz_table_check_indexes(table, &value_indexer, ERR));
  blitz_table_close(table);
  assert_null(strstr(log_text(), "anew"));
  /* An index that is to be made anew takes more than there is. */
  assert_int_equal(unlink(index_file_of("open")), 0);
  for (unsigned i = 0; i < 3; i++)
  {
    fill_device(100000 * i);
    assert_rc(BLITZ_FULL, open_with_indexes("open", &value_ids, &value_indexer, &table, ERR));
    assert_null(table);
    assert_non_null(strstr(last_error.text, "could not be made anew"));
    assert_error_names(index_file_of("open"));
    assert_ok(blitz_table_open(path_of("open"), 0, &table, ERR)); /* the rows alone */
    assert_null(strstr(log_text(), "repair"));                    /* as they were: closed */
    assert_int_equal(row_count(table), 1200);
    blitz_table_close(table);
  }
  free_device();
  table = open_long("open");
  assert_ok(blitz_table_check_indexes(table, &value_indexer, ERR));
  blitz_txn_free(txn);
  drop(table, "open");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(single_rows_until_it_is_full, clean),
      cmocka_unit_test_setup(a_batch_that_does_not_fit_leaves_nothing, clean),
      cmocka_unit_test_setup(entries_of_a_load_do_not_fit, clean),
      cmocka_unit_test_setup(long_keys_on_a_full_device, clean),
      cmocka_unit_test_setup(much_is_removed_without_space, clean),
      cmocka_unit_test_setup(indexes_are_made_without_space, clean),
      cmocka_unit_test_setup(sorting_does_not_fit, clean),
      cmocka_unit_test_setup(it_is_opened_and_closed_without_space, clean),
  };
  return cmocka_run_group_tests(tests, begin, end);
}
