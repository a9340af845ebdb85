/* SPDX-License-Identifier: GPL-2.0-only
 *
 * redo_test.c: the log by itself. What was appended comes back, in order and whole; groups,
 * files that are used again, waiting for space; damage of each byte is noticed.
 */
#include "log/redo_file.h"
#include "support/support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

enum
{
  FILE_LEN = 64 << 10,
  THREADS = 8,
};

static char dir[4200];
static unsigned dir_count;

/* A directory of its own for each test. */
static int begin(void **state)
{
  (void)state;
  alarm(280);
  snprintf(dir, sizeof dir, "%s/log%u", test_dir(), dir_count++);
  return mkdir(dir, 0700);
}

static struct bz_redo_options options(void)
{
  return (struct bz_redo_options){.dir = dir, .file_len = FILE_LEN, .limit = 64 << 20};
}

/* ---- records that prove themselves ---- */

struct read_back
{
  uint64_t first, count; /* numbers of the records */
};

static enum blitz_rc read_one(void *arg, const struct bz_redo_record *record,
                              struct blitz_error *err)
{
  struct read_back *back = arg;
  uint64_t version;
  (void)err;
  assert_true(record->payload.len >= 24);
  uint64_t number;
  memcpy(&number, record->payload.data, 8);
  if (back->count == 0)
    back->first = number;
  assert_int_equal(number, back->first + back->count);
  assert_int_equal(record->type, number % 200);
  assert_true(row_proves(bytes((const uint8_t *)record->payload.data + 8, record->payload.len - 8),
                         number, &version));
  back->count++;
  return BLITZ_OK;
}

static enum blitz_rc open_rc(struct bz_redo **redop, struct read_back *back)
{
  struct bz_redo_options how = options();
  *back = (struct read_back){0};
  return bz_redo_open(&how, read_one, back, redop, ERR);
}

static struct bz_redo *open_log(struct read_back *back)
{
  struct bz_redo *redo;
  assert_ok(open_rc(&redo, back));
  return redo;
}

/* Appends record NUMBER, with LEN bytes behind its number; returns where it ends. */
static uint64_t append(struct bz_redo *redo, uint64_t number, size_t len)
{
  static _Thread_local char value[70000];
  uint64_t end;
  row_fill(value, len, number, len);
  struct blitz_slice parts[] = {bytes(&number, 8), bytes(value, len / 2),
                                bytes(value + len / 2, len - len / 2)};
  require_ok(bz_redo_append(redo, (uint8_t)(number % 200), parts, 3, &end, ERR));
  return end;
}

/* ---- tests ---- */

static void records_come_back(void **state)
{
  (void)state;
  struct read_back back;
  struct bz_redo *redo = open_log(&back);
  struct rnd rnd = {run_seed()};
  uint64_t count = 0;
  assert_int_equal(back.count, 0);
  for (unsigned run = 0; run < 6; run++)
  {
    for (unsigned i = rnd_below(&rnd, 200); i > 0; i--)
    {
      uint64_t end = append(redo, count++, 16 + rnd_below(&rnd, rnd_below(&rnd, 10) ? 300 : 60000));
      if (rnd_below(&rnd, 3) == 0)
        assert_ok(bz_redo_write(redo, end, ERR));
      if (rnd_below(&rnd, 20) == 0)
        assert_ok(bz_redo_sync(redo, end, ERR));
    }
    bz_redo_close(redo);
    redo = open_log(&back);
    assert_int_equal(back.count, count);
  }
  bz_redo_close(redo);
}

static void a_record_may_be_as_long_as_a_file(void **state)
{
  (void)state;
  struct read_back back;
  struct bz_redo *redo = open_log(&back);
  uint64_t end;
  size_t longest = FILE_LEN - BZ_REDO_PAGE - BZ_REDO_HEAD_LEN - 8;
  for (uint64_t number = 0; number < 5; number++)
    append(redo, number, longest);
  static const char data[FILE_LEN];
  struct blitz_slice part = bytes(data, FILE_LEN - BZ_REDO_PAGE - BZ_REDO_HEAD_LEN + 1);
  assert_rc(BLITZ_TOO_BIG, bz_redo_append(redo, 1, &part, 1, &end, ERR));
  bz_redo_close(redo);
  bz_redo_close(open_log(&back));
  assert_int_equal(back.count, 5);
}

struct worker
{
  struct bz_redo *redo;
  pthread_mutex_t *order;
  uint64_t *number;
  unsigned records;
};

static void *work(void *arg)
{
  struct worker *worker = arg;
  for (unsigned i = 0; i < worker->records; i++)
  {
    pthread_mutex_lock(worker->order);
    uint64_t end = append(worker->redo, (*worker->number)++, 100);
    pthread_mutex_unlock(worker->order);
    require_ok(i % 4 == 0 ? bz_redo_sync(worker->redo, end, ERR)
                          : bz_redo_write(worker->redo, end, ERR));
    struct bz_redo_figures figures;
    bz_redo_figures(worker->redo, &figures);
    require((i % 4 == 0 ? figures.synced : figures.written) >= end);
  }
  return NULL;
}

static void threads_share_groups(void **state)
{
  (void)state;
  struct read_back back;
  struct bz_redo *redo = open_log(&back);
  pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
  uint64_t number = 0;
  struct worker worker = {redo, &order, &number, 600};
  struct bz_redo_figures figures;
  pthread_t threads[THREADS];
  for (unsigned i = 0; i < THREADS; i++)
    require(pthread_create(&threads[i], NULL, work, &worker) == 0);
  for (unsigned i = 0; i < THREADS; i++)
    require(pthread_join(threads[i], NULL) == 0);
  bz_redo_figures(redo, &figures);
  print_message("# %u records, %u of them synced: %llu writes, %llu syncs\n", THREADS * 600,
                THREADS * 150, (unsigned long long)figures.writes,
                (unsigned long long)figures.syncs);
  bz_redo_close(redo);
  bz_redo_close(open_log(&back));
  assert_int_equal(back.count, THREADS * 600);
}

static void the_background_syncs(void **state)
{
  (void)state;
  struct bz_redo_options how = options();
  struct read_back back = {0};
  struct bz_redo *redo;
  struct bz_redo_figures figures;
  how.background = true;
  assert_ok(bz_redo_open(&how, read_one, &back, &redo, ERR));
  uint64_t end = append(redo, 0, 100);
  assert_ok(bz_redo_write(redo, end, ERR));
  for (unsigned tries = 0;; tries++)
  {
    bz_redo_figures(redo, &figures);
    if (figures.synced >= end)
      break;
    assert_true(tries < 1000);
    usleep(10000);
  }
  bz_redo_close(redo);
}

static void files_are_used_again(void **state)
{
  (void)state;
  struct read_back back;
  struct bz_redo *redo = open_log(&back);
  struct bz_redo_figures figures;
  uint64_t ends[3000];
  for (uint64_t number = 0; number < 3000; number++)
  {
    ends[number] = append(redo, number, 2000);
    if (number % 100 != 99)
      continue;
    assert_ok(bz_redo_sync(redo, ends[number], ERR));
    assert_ok(bz_redo_release(redo, ends[number - 50], ERR));
    bz_redo_figures(redo, &figures);
    assert_in_range(figures.files, 1, 6);
  }
  bz_redo_close(redo);
  redo = open_log(&back);
  assert_int_equal(back.first, 2950);
  assert_int_equal(back.count, 50);
  bz_redo_close(redo);
}

static void the_backlog_is_what_is_wanted(void **state)
{
  (void)state;
  struct read_back back;
  struct bz_redo *redo = open_log(&back);
  uint64_t end = 0;
  assert_int_equal(bz_redo_backlog(redo), 0);
  for (uint64_t number = 0; number < 20; number++)
    end = append(redo, number, 2000);
  assert_int_equal(bz_redo_end(redo), end);
  assert_int_equal(bz_redo_backlog(redo), end);
  assert_ok(bz_redo_sync(redo, end, ERR));
  assert_ok(bz_redo_release(redo, end, ERR));
  assert_int_equal(bz_redo_backlog(redo), 0);
  bz_redo_close(redo);
}

/* ---- damage ---- */

enum
{
  RECORDS = 12
};

/* Where each of RECORDS records ends; all are synced one by one, in the file NAME. */
static void make_log(uint64_t *ends, char *name, size_t name_size)
{
  struct read_back back;
  struct bz_redo *redo = open_log(&back);
  for (uint64_t number = 0; number < RECORDS; number++)
  {
    ends[number] = append(redo, number, 40);
    assert_ok(bz_redo_sync(redo, ends[number], ERR));
  }
  bz_redo_close(redo);
  snprintf(name, name_size, "%s/blitz_log.00000001", dir);
}

/* A log that is opened has made itself another file; this takes it back. */
static void restore(const char *control, size_t control_len, const char *name, const char *data,
                    size_t len)
{
  char other[4300];
  snprintf(other, sizeof other, "%s/blitz_log.control", dir);
  write_whole(other, control, control_len);
  snprintf(other, sizeof other, "%s/blitz_log.00000002", dir);
  (void)unlink(other);
  write_whole(name, data, len);
}

static void damage_is_noticed(void **state)
{
  (void)state;
  uint64_t ends[RECORDS];
  char name[4300], control_name[4300];
  size_t len, control_len;
  unsigned opened = 0;
  make_log(ends, name, sizeof name);
  snprintf(control_name, sizeof control_name, "%s/blitz_log.control", dir);
  char *data = read_whole(name, &len), *control = read_whole(control_name, &control_len);
  for (size_t at = 0; at < BZ_REDO_PAGE + ends[RECORDS - 1]; at++)
  {
    if (at == 64)
      at = BZ_REDO_PAGE; /* behind the head there are zeros that nobody reads */
    struct read_back back;
    struct bz_redo *redo = NULL;
    data[at] ^= 0x10;
    restore(control, control_len, name, data, len);
    data[at] ^= 0x10;
    enum blitz_rc rc = open_rc(&redo, &back);
    bool in_last = at >= BZ_REDO_PAGE + ends[RECORDS - 2];
    if (rc != (in_last ? BLITZ_OK : BLITZ_CORRUPT))
      fail_msg("byte %zu changed: %s, %llu records", at, blitz_rc_name(rc),
               (unsigned long long)back.count);
    assert_true(rc != BLITZ_OK || back.count == RECORDS - 1);
    opened += rc == BLITZ_OK;
    bz_redo_close(redo);
  }
  assert_true(opened > 0);
  free(data);
  free(control);
}

static void damage_of_the_control_file_is_noticed(void **state)
{
  (void)state;
  uint64_t ends[RECORDS];
  char name[4300], control_name[4300];
  size_t len, control_len;
  make_log(ends, name, sizeof name);
  snprintf(control_name, sizeof control_name, "%s/blitz_log.control", dir);
  char *data = read_whole(name, &len), *control = read_whole(control_name, &control_len);
  for (size_t at = 0; at < control_len; at++)
  {
    struct read_back back;
    struct bz_redo *redo = NULL;
    if (at % BZ_REDO_PAGE == 64)
      at += BZ_REDO_PAGE - 65;
    if (at % BZ_REDO_PAGE >= 64)
      continue;
    control[at] ^= 0x10;
    restore(control, control_len, name, data, len);
    control[at] ^= 0x10;
    enum blitz_rc rc = open_rc(&redo, &back);
    /* The slot that does not count may be damaged; without the other one it is known. */
    if (rc == BLITZ_OK ? back.count != RECORDS : rc != BLITZ_CORRUPT)
      fail_msg("byte %zu changed: %s, %llu records", at, blitz_rc_name(rc),
               (unsigned long long)back.count);
    bz_redo_close(redo);
  }
  free(data);
  free(control);
}

static void missing_files_are_noticed(void **state)
{
  (void)state;
  struct read_back back;
  struct bz_redo *redo = open_log(&back);
  uint64_t end = 0;
  for (uint64_t number = 0; number < 100; number++)
    end = append(redo, number, 2000);
  assert_ok(bz_redo_sync(redo, end, ERR));
  bz_redo_close(redo);
  for (unsigned i = 0; i < 5; i++)
  {
    static const char *const names[] = {"control", "00000001", "00000002", "00000003", "00000004"};
    char name[4300], away[4300];
    snprintf(name, sizeof name, "%s/blitz_log.%s", dir, names[i]);
    snprintf(away, sizeof away, "%s/away", dir);
    assert_int_equal(rename(name, away), 0);
    assert_rc(BLITZ_CORRUPT, open_rc(&redo, &back));
    if (i > 0)
    {
      /* Nor may it have been cut. */
      copy_file(away, name);
      assert_int_equal(truncate(name, FILE_LEN / 2), 0);
      assert_rc(BLITZ_CORRUPT, open_rc(&redo, &back));
    }
    assert_int_equal(rename(away, name), 0);
  }
  redo = open_log(&back);
  assert_int_equal(back.count, 100);
  bz_redo_close(redo);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(records_come_back, begin),
      cmocka_unit_test_setup(a_record_may_be_as_long_as_a_file, begin),
      cmocka_unit_test_setup(threads_share_groups, begin),
      cmocka_unit_test_setup(the_background_syncs, begin),
      cmocka_unit_test_setup(files_are_used_again, begin),
      cmocka_unit_test_setup(the_backlog_is_what_is_wanted, begin),
      cmocka_unit_test_setup(damage_is_noticed, begin),
      cmocka_unit_test_setup(damage_of_the_control_file_is_noticed, begin),
      cmocka_unit_test_setup(missing_files_are_noticed, begin),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
