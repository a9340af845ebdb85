/* SPDX-License-Identifier: GPL-2.0-only
 *
 * pages_test.c: pages that change in memory while they are taken as of one moment. What is
 * written to the file is what all of them held then, and memory that is given back loses
 * nothing.
 */
#include "base/pages.h"
#include "support/support.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

enum
{
  PAGES = 600,
  LEN = PAGES * 4096,
  STORES = 400, /* between two looks at whether to pause */
  EXTENSIONS = 8,
};

struct work
{
  struct bz_pages pages;
  pthread_mutex_t lock;     /* held while pages are changed */
  atomic_bool stop, wanted; /* the lock is, by another thread */
  uint64_t seed, stores;
  int fd;
  unsigned extended; /* times */
  uint8_t *model;    /* what the pages must hold */
};

static int new_file(void)
{
  int fd = open(path_of("file"), O_RDWR | O_CREAT | O_TRUNC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(posix_fallocate(fd, 0, LEN), 0);
  return fd;
}

static void begin(struct work *work, int fd, uint64_t seed)
{
  *work = (struct work){.seed = seed, .lock = PTHREAD_MUTEX_INITIALIZER, .fd = fd};
  assert_ok(bz_pages_open(&work->pages, fd, (uint64_t)LEN * 4));
  work->model = calloc(1, LEN);
  assert_non_null(work->model);
}

/* Stores some bytes, as often as not near the last ones. */
static void store_some(struct work *work, struct rnd *rnd)
{
  static _Thread_local uint64_t near;
  size_t len = 1 + rnd_below(rnd, rnd_below(rnd, 50) ? 60 : 9000);
  uint64_t off = rnd_below(rnd, 3) ? near + rnd_below(rnd, 5000) : rnd_below(rnd, LEN);
  if (off + len > LEN)
    off = LEN - len;
  near = off;
  bz_pages_note(&work->pages, off, len);
  memset(work->pages.base + off, (int)rnd_below(rnd, 256), len);
  memcpy(work->model + off, work->pages.base + off, len);
  work->stores++;
}

static void *change(void *arg)
{
  struct work *work = arg;
  struct rnd rnd = {work->seed};
  while (!atomic_load(&work->stop))
  {
    pthread_mutex_lock(&work->lock);
    for (unsigned i = 0; i < STORES; i++)
      store_some(work, &rnd);
    if (work->extended < EXTENSIONS && rnd_below(&rnd, 20) == 0)
    {
      require_ok(bz_pages_extend(&work->pages, work->fd, work->pages.reserved + LEN));
      work->extended++;
    }
    pthread_mutex_unlock(&work->lock);
    do
      sched_yield();
    while (atomic_load(&work->wanted));
  }
  return NULL;
}

/* Takes pages and writes them, but no more than MOST; how many. */
static uint64_t write_some(struct work *work, int fd, uint64_t most)
{
  uint8_t data[4096];
  uint64_t page, last = 0, count = 0;
  while (count < most && bz_pages_take(&work->pages, &page, data))
  {
    assert_true(page < PAGES && (count == 0 || page > last));
    assert_int_equal(pwrite(fd, data, sizeof data, (off_t)(page * 4096)), sizeof data);
    last = page;
    count++;
  }
  return count;
}

/* Takes all pages and writes them; how many. */
static uint64_t write_all(struct work *work, int fd, struct rnd *rnd)
{
  uint64_t count = write_some(work, fd, UINT64_MAX);
  bz_pages_placed(&work->pages);
  /* All that has not changed since is in the file. */
  if (rnd_below(rnd, 2))
    bz_pages_drop(&work->pages);
  return count;
}

static void lock(struct work *work)
{
  atomic_store(&work->wanted, true);
  pthread_mutex_lock(&work->lock);
  atomic_store(&work->wanted, false);
}

struct writing
{
  int fd;
  bool lost; /* the device loses it, and says so only when the moment's pages are synced */
  uint64_t count, most;
};

static bool write_pages(void *arg, uint64_t page, uint64_t count, const uint8_t *data)
{
  static const uint8_t zeros[8 * 4096];
  struct writing *writing = arg;
  assert_true(count > 0 && count <= 8);
  if (writing->count >= writing->most)
    return false;
  writing->count += count;
  return pwrite(writing->fd, writing->lost ? zeros : data, count * 4096, (off_t)(page * 4096)) ==
         (ssize_t)(count * 4096);
}

/* Pages are written before there is a moment, and may change again until then; how many. Needs the
 * lock.
 */
static uint64_t write_ahead(struct work *work, int fd, bool lost, struct rnd *rnd)
{
  struct writing writing = {.fd = fd, .lost = lost, .most = 1 + rnd_below(rnd, PAGES)};
  uint64_t changed = bz_pages_changed(&work->pages);
  bz_pages_write_ahead(&work->pages, rnd_below(rnd, PAGES), 1 + rnd_below(rnd, 8), write_pages,
                       &writing);
  assert_int_equal(bz_pages_changed(&work->pages), changed - writing.count);
  assert_true(writing.count == 0 || bz_pages_are_ahead(&work->pages));
  return writing.count;
}

/* Takes some pages and writes them, and then that comes to nothing. */
static void take_in_vain(struct work *work, int fd, struct rnd *rnd)
{
  uint64_t count;
  lock(work);
  if (rnd_below(rnd, 2))
    (void)write_ahead(work, fd, true, rnd);
  assert_ok(bz_pages_begin(&work->pages, &count));
  pthread_mutex_unlock(&work->lock);
  (void)write_some(work, fd, rnd_below(rnd, (uint32_t)count + 1));
  lock(work);
  bz_pages_failed(&work->pages);
  assert_false(bz_pages_are_ahead(&work->pages));
  assert_true(bz_pages_changed(&work->pages) >= count);
  pthread_mutex_unlock(&work->lock);
}

static void assert_file_is(int fd, const uint8_t *expected, const char *when)
{
  uint8_t *data = malloc(LEN);
  assert_non_null(data);
  assert_int_equal(pread(fd, data, LEN, 0), LEN);
  for (unsigned page = 0; page < PAGES; page++)
    if (memcmp(data + page * 4096, expected + page * 4096, 4096) != 0)
      fail_msg("%s: page %u is not what it was", when, page);
  free(data);
}

static void pages_are_taken_as_of_one_moment(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  static uint8_t then[LEN];
  int fd = new_file();
  struct work work;
  pthread_t thread;
  uint64_t taken = 0, ahead = 0;
  begin(&work, fd, rnd_next(&rnd));
  require(pthread_create(&thread, NULL, change, &work) == 0);
  for (unsigned round = run_rounds(150); round > 0; round--)
  {
    uint64_t changed, begun;
    if (round % 4 == 0)
      take_in_vain(&work, fd, &rnd);
    if (round % 3 == 0)
    {
      lock(&work);
      ahead += write_ahead(&work, fd, false, &rnd);
      pthread_mutex_unlock(&work.lock);
    }
    lock(&work);
    changed = bz_pages_changed(&work.pages);
    assert_ok(bz_pages_begin(&work.pages, &begun));
    memcpy(then, work.model, LEN);
    pthread_mutex_unlock(&work.lock);
    uint64_t count = write_all(&work, fd, &rnd);
    assert_int_equal(count, changed);
    assert_int_equal(count, begun);
    taken += count;
    assert_file_is(fd, then, "written");
  }
  atomic_store(&work.stop, true);
  require(pthread_join(thread, NULL) == 0);
  print_message("# %llu stores, %llu pages taken, and %llu ahead\n",
                (unsigned long long)work.stores, (unsigned long long)taken,
                (unsigned long long)ahead);
  assert_true(ahead > 0);
  assert_memory_equal(work.pages.base, work.model, LEN);
  assert_true(work.extended > 0);
  assert_ok(bz_pages_begin(&work.pages, &taken));
  (void)write_all(&work, fd, &rnd);
  assert_file_is(fd, work.model, "at last");
  bz_pages_drop(&work.pages);
  assert_int_equal(bz_pages_private(&work.pages), 0);
  assert_memory_equal(work.pages.base, work.model, LEN);
  free(work.model);
  bz_pages_close(&work.pages);
  close(fd);
}

/* Nothing reaches the file before it is written. */
static void the_file_stays_as_it_was(void **state)
{
  (void)state;
  static const uint8_t zeros[LEN];
  struct rnd rnd = {run_seed()};
  int fd = new_file();
  struct work work;
  begin(&work, fd, 1);
  for (unsigned i = 0; i < 20000; i++)
    store_some(&work, &rnd);
  assert_file_is(fd, zeros, "not written");
  bz_pages_close(&work.pages);
  assert_file_is(fd, zeros, "closed");
  free(work.model);
  close(fd);
}

/* The file may grow below the addresses that were reserved. */
static void a_file_grows(void **state)
{
  (void)state;
  int fd = new_file();
  struct work work;
  uint8_t data[4096];
  uint64_t page;
  begin(&work, fd, 1);
  assert_int_equal(posix_fallocate(fd, LEN, LEN), 0);
  bz_pages_note(&work.pages, LEN + 5000, 10);
  memset(work.pages.base + LEN + 5000, 7, 10);
  assert_ok(bz_pages_begin(&work.pages, &page));
  assert_int_equal(page, 1);
  assert_true(bz_pages_take(&work.pages, &page, data));
  assert_int_equal(page, PAGES + 1);
  assert_int_equal(data[5000 - 4096], 7);
  assert_false(bz_pages_take(&work.pages, &page, data));
  free(work.model);
  bz_pages_close(&work.pages);
  close(fd);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pages_are_taken_as_of_one_moment),
      cmocka_unit_test(the_file_stays_as_it_was),
      cmocka_unit_test(a_file_grows),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
