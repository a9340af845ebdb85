/* SPDX-License-Identifier: GPL-2.0-only
 *
 * durable_full_test.c: devices without space while tables are logged: the log and the tables on
 * one, or each on one of its own. What does not fit gives BLITZ_FULL, names the file, and says
 * what to do; what was acknowledged stays; and work goes on, checkpoints too, when there is space
 * again, without a start in between.
 *
 * It needs root's rights, for a small tmpfs or two.
 */
#define _GNU_SOURCE
#include "support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum
{
  DEVICE_LEN = 8 << 20,
  LARGE_LEN = 256 << 20,
  LOG_LIMIT = 1 << 20,
  MEMORY = 1 << 20,
  ROW_LEN = 900,
  ROOM_LEN = 3 << 20, /* that is left on a device, to be filled by a table */
  ROWS_MAX = 80000    /* as a load that is too large for the log */
};

/* Which of the devices is small. */
struct layout
{
  const char *name;
  bool one_device; /* the log is where the tables are */
  bool small_log, small_tables;
};

static const struct layout layouts[] = {
    {"one device", true, true, true},
    {"the log's", false, true, false},
    {"the tables'", false, false, true},
};

static const struct layout *layout;
static char log_dir[4200], tables_dir[4200];
static bool mounted;
static struct rnd rnd;
static unsigned table_number; /* one that a test which failed has left open is not met again */
static unsigned closes_failed, opens_failed,
    starts_failed; /* that there was something to be seen of */

/* ---- devices ---- */

static bool mount_at(const char *dir, bool small)
{
  char options[40];
  snprintf(options, sizeof options, "size=%d", small ? DEVICE_LEN : LARGE_LEN);
  (void)mkdir(dir, 0700);
  return mount("blitz-test", dir, "tmpfs", 0, options) == 0;
}

static void mount_devices(const struct layout *of)
{
  layout = of;
  snprintf(tables_dir, sizeof tables_dir, "%s", path_of("tables"));
  snprintf(log_dir, sizeof log_dir, "%s", of->one_device ? path_of("tables/log") : path_of("log"));
  mounted = mount_at(tables_dir, of->small_tables);
  if (!mounted)
  {
    print_message("# skipped: a tmpfs cannot be mounted here (%s)\n", strerror(errno));
    skip();
  }
  if (of->one_device)
    assert_int_equal(mkdir(log_dir, 0700), 0);
  else
    assert_true(mount_at(log_dir, of->small_log));
}

static void unmount_devices(void)
{
  if (mounted && !layout->one_device)
    (void)umount2(log_dir, MNT_DETACH);
  if (mounted)
    (void)umount2(tables_dir, MNT_DETACH);
  mounted = false;
}

static const char *filler(const char *dir)
{
  static char name[4300];
  snprintf(name, sizeof name, "%s/filler", dir);
  return name;
}

/* Takes all the space that there is on the small devices, but for LEAVE bytes. */
static void fill_device(const char *dir, size_t leave)
{
  static char block[4096];
  off_t len = 0;
  int fd = open(filler(dir), O_CREAT | O_WRONLY | O_TRUNC, 0600);
  assert_true(fd >= 0);
  while (write(fd, block, sizeof block) == (ssize_t)sizeof block)
    len += (off_t)sizeof block;
  assert_int_equal(ftruncate(fd, (off_t)leave < len ? len - (off_t)leave : 0), 0);
  close(fd);
}

static void fill_devices(size_t leave)
{
  if (layout->small_tables)
    fill_device(tables_dir, leave);
  if (layout->small_log && !layout->one_device)
    fill_device(log_dir, leave);
}

static void free_devices(void)
{
  (void)unlink(filler(tables_dir));
  (void)unlink(filler(log_dir));
}

/* ---- tables ---- */

static void start(void)
{
  struct blitz_start_options options = {.dir = log_dir, .log_limit = LOG_LIMIT, .memory = MEMORY};
  assert_ok(blitz_start(&options, ERR));
}

static const char *table_path(void)
{
  static char buf[4300];
  snprintf(buf, sizeof buf, "%s/table%u", tables_dir, table_number);
  return buf;
}

static struct blitz_table *open_here(void)
{
  struct blitz_table *table;
  assert_ok(blitz_table_open(table_path(), 0, &table, ERR));
  return table;
}

static struct blitz_table *create_here(void)
{
  struct blitz_create_options options = {0};
  assert_ok(blitz_table_create(table_path(), &options, false, ERR));
  return open_here();
}

/* It is for want of space, of a file on a device that is small, and there is a remedy. */
static void assert_is_full(enum blitz_rc rc)
{
  assert_rc(BLITZ_FULL, rc);
  if (!(layout->small_tables && strstr(last_error.text, tables_dir)) &&
      !(layout->small_log && strstr(last_error.text, log_dir)))
    fail_msg("%s: no file is named: %s", layout->name, last_error.text);
  if (!strstr(last_error.text, "ree some"))
    fail_msg("%s: no remedy is named: %s", layout->name, last_error.text);
}

static enum blitz_rc put_row(struct blitz_txn *txn, struct blitz_table *table, uint64_t n,
                             bool is_there, uint64_t version)
{
  char value[ROW_LEN];
  row_fill(value, sizeof value, n, version);
  return is_there ? blitz_update(txn, table, number_key(n), number_key(n),
                                 bytes(value, sizeof value), ERR)
                  : blitz_insert(txn, table, number_key(n), bytes(value, sizeof value), ERR);
}

/* What each row is to be: its version; 0: it is not there. */
static unsigned model[ROWS_MAX];

/* Puts rows FROM..TO-1 in one transaction. */
static enum blitz_rc put_rows_here(struct blitz_table *table, uint64_t from, uint64_t to, bool load)
{
  static unsigned version;
  struct blitz_txn *txn = new_txn();
  enum blitz_rc rc = BLITZ_OK;
  version++;
  if (load)
    rc = blitz_txn_expect_rows(txn, table, to - from, false, ERR);
  for (uint64_t n = from; n < to && rc == BLITZ_OK; n++)
    rc = put_row(txn, table, n, model[n] != 0, version);
  if (rc == BLITZ_OK)
    rc = blitz_txn_commit(txn, ERR);
  for (uint64_t n = from; n < to && rc == BLITZ_OK; n++)
    model[n] = version;
  blitz_txn_free(txn);
  return rc;
}

static void assert_model(struct blitz_table *table)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  uint64_t version, rows = 0;
  for (uint64_t n = 0; n < ROWS_MAX; n++)
  {
    assert_rc(model[n] != 0 ? BLITZ_OK : BLITZ_NOT_FOUND,
              blitz_get(cursor, number_key(n), &value, ERR));
    rows += model[n] != 0;
    if (model[n] != 0)
      assert_true(row_proves(value, n, &version) && version == model[n]);
  }
  assert_int_equal(row_count(table), rows);
  blitz_cursor_close(cursor);
}

/* There is space: all that was to be written is. */
static void assert_goes_on(struct blitz_table *table)
{
  assert_ok(blitz_checkpoint(ERR));
  for (uint64_t n = 0; n < 2000; n += 100)
    assert_ok(put_rows_here(table, n, n + 100, false));
  assert_ok(blitz_checkpoint(ERR));
  assert_model(table);
}

/* ---- what is done on each layout ---- */

/* A table grows, while there is space on its device and the log's. */
static void insert_until_full(void)
{
  struct blitz_table *table = create_here();
  enum blitz_rc rc = BLITZ_OK;
  uint64_t n = 0;
  fill_devices(layout->small_tables ? ROOM_LEN : 0);
  for (; n < ROWS_MAX && rc == BLITZ_OK; n += 50)
    rc = put_rows_here(table, n, n + 50, false);
  if (rc != BLITZ_OK || layout->small_tables)
    assert_is_full(rc);
  assert_model(table);
  free_devices();
  /* Space that rows leave is space. */
  n = n / 2;
  assert_true(n > (layout->small_tables ? 500 : 50));
  remove_rows(table, 0, n);
  memset(model, 0, n * sizeof *model);
  assert_goes_on(table);
  blitz_table_close(table);
}

/* Others fill the devices while rows are updated, some and then more at a time. */
static void update_beside_others(void)
{
  struct blitz_table *table = create_here();
  enum blitz_rc rc = BLITZ_OK;
  for (uint64_t n = 0; n < 3000; n += 100)
    assert_ok(put_rows_here(table, n, n + 100, false));
  fill_devices(0);
  for (uint64_t count = 1; count <= 3000; count += 1 + count / 3)
  {
    enum blitz_rc one =
        put_rows_here(table, rnd_below(&rnd, 1 + 3000 - (uint32_t)count), count, false);
    if (one != BLITZ_OK)
      assert_is_full(rc = one);
    assert_model(table);
  }
  assert_is_full(rc);
  free_devices();
  assert_goes_on(table);
  blitz_table_close(table);
}

/* A load that does not fit leaves nothing, whether it is to be logged or is too large for that. */
static void load_too_much(void)
{
  struct blitz_table *table = create_here();
  enum blitz_rc rc;
  fill_devices(layout->small_tables ? ROOM_LEN : 0);
  for (uint64_t rows = 4000; rows <= ROWS_MAX; rows *= 4)
  {
    rc = put_rows_here(table, 0, rows, true);
    if (rc != BLITZ_OK)
    {
      assert_is_full(rc);
      assert_model(table);
      continue;
    }
    assert_model(table);
    remove_rows(table, 0, rows);
    memset(model, 0, sizeof model);
  }
  free_devices();
  assert_ok(put_rows_here(table, 0, 2000, true));
  assert_goes_on(table);
  blitz_table_close(table);
}

/* A table is closed that cannot be written. */
static void close_full(void)
{
  struct blitz_table *table = create_here();
  enum blitz_rc rc;
  for (uint64_t n = 0; n < 2000; n += 100)
    assert_ok(put_rows_here(table, n, n + 100, false));
  assert_ok(blitz_checkpoint(ERR));
  fill_devices(0);
  /* As much as there are pages for. */
  for (uint64_t n = 0; n < 2000; n += 10)
    if ((rc = put_rows_here(table, n, n + 10, false)) != BLITZ_OK)
      assert_is_full(rc);
  catch_log();
  blitz_table_close(table);
  closes_failed += strstr(log_text(), "Until then") != NULL;
}

static void open_again(void)
{
  struct blitz_table *table = open_here();
  assert_model(table);
  assert_goes_on(table);
  blitz_table_close(table);
}

static void close_and_start(void)
{
  close_full();
  blitz_stop();
  free_devices();
  start();
  open_again();
}

static void close_and_open(void)
{
  struct blitz_table *table;
  enum blitz_rc rc;
  close_full();
  rc = blitz_table_open(table_path(), 0, &table, ERR);
  if (rc == BLITZ_OK)
    blitz_table_close(table);
  else
  {
    assert_is_full(rc);
    opens_failed++;
  }
  free_devices();
  open_again();
}

/* By a checkpoint. */
static void close_and_wait(void)
{
  close_full();
  free_devices();
  assert_ok(blitz_checkpoint(ERR));
  blitz_stop();
  assert_null(strstr(log_text(), "started again"));
  start();
  open_again();
}

/* That it could not be written is in nobody's way. */
static void close_and_drop(void)
{
  close_full();
  assert_ok(blitz_table_drop(table_path(), ERR));
  memset(model, 0, sizeof model);
  free_devices();
  blitz_table_close(create_here());
  blitz_stop();
  start();
  open_again();
}

/* A process is killed, and the start after it finds no space for what is too much for memory. */
static void kill_and_start(void)
{
  struct blitz_start_options options = {
      .dir = log_dir, .log_limit = LOG_LIMIT, .memory = MEMORY / 8};
  struct blitz_table *table;
  enum blitz_rc rc;
  int status;
  pid_t pid;
  blitz_stop();
  for (unsigned n = 0; n < 2000; n++)
    model[n] = n / 100 + 1;
  pid = fork();
  assert_true(pid >= 0);
  if (pid == 0)
  {
    struct blitz_txn *txn;
    start();
    blitz_backup_begin(); /* so that there is no checkpoint, and all is in the log alone */
    table = create_here();
    txn = new_txn();
    for (uint64_t n = 0; n < 2000; n++)
    {
      require_ok(put_row(txn, table, n, false, n / 100 + 1));
      if (n % 100 == 99)
        require_ok(blitz_txn_commit(txn, ERR));
    }
    _exit(0);
  }
  assert_true(waitpid(pid, &status, 0) == pid && status == 0);
  fill_devices(0);
  rc = blitz_start(&options, ERR);
  if (rc != BLITZ_OK)
  {
    assert_is_full(rc);
    starts_failed++;
    free_devices();
    start();
  }
  free_devices();
  table = open_here();
  assert_model(table);
  assert_goes_on(table);
  blitz_table_close(table);
}

/* ---- the tests ---- */

static void on_each_layout(void (*work)(void))
{
  rnd.state = run_seed();
  for (unsigned i = 0; i < sizeof layouts / sizeof *layouts; i++)
  {
    mount_devices(&layouts[i]);
    memset(model, 0, sizeof model);
    table_number++;
    catch_log();
    start();
    work();
    blitz_stop();
    /* What is closed is whole without the log. */
    struct blitz_table *table = open_here();
    assert_model(table);
    blitz_table_close(table);
    unmount_devices();
  }
}

static void inserts_stop(void **state)
{
  (void)state;
  on_each_layout(insert_until_full);
}

static void updates_go_on(void **state)
{
  (void)state;
  on_each_layout(update_beside_others);
}

static void loads_leave_nothing(void **state)
{
  (void)state;
  on_each_layout(load_too_much);
}

static void closes_lose_nothing(void **state)
{
  (void)state;
  on_each_layout(close_and_start);
  assert_true(closes_failed > 0);
}

static void closes_are_finished_later(void **state)
{
  (void)state;
  on_each_layout(close_and_open);
  assert_true(opens_failed > 0);
}

static void closes_are_finished_by_checkpoints(void **state)
{
  (void)state;
  on_each_layout(close_and_wait);
}

static void tables_that_were_not_closed_can_be_dropped(void **state)
{
  (void)state;
  on_each_layout(close_and_drop);
}

static void starts_fail_and_work(void **state)
{
  (void)state;
  on_each_layout(kill_and_start);
  assert_true(starts_failed > 0);
}

/* What a test that failed has left. */
static int clean(void **state)
{
  (void)state;
  blitz_stop();
  unmount_devices();
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(inserts_stop, clean),
      cmocka_unit_test_teardown(updates_go_on, clean),
      cmocka_unit_test_teardown(loads_leave_nothing, clean),
      cmocka_unit_test_teardown(closes_lose_nothing, clean),
      cmocka_unit_test_teardown(closes_are_finished_later, clean),
      cmocka_unit_test_teardown(closes_are_finished_by_checkpoints, clean),
      cmocka_unit_test_teardown(tables_that_were_not_closed_can_be_dropped, clean),
      cmocka_unit_test_teardown(starts_fail_and_work, clean),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
