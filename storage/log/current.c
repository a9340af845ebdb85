/* SPDX-License-Identifier: GPL-2.0-only
 *
 * current.c: see current.h.
 */
#include "log/current.h"

#include "base/counters.h"
#include "base/pages.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

/* Of the limits. At the first a checkpoint is wanted, at the second changes wait. */
#define WANTED_PART 2
#define FAR_AHEAD 2

static struct bz_redo *current;
static uint64_t limit;
static atomic_ullong memory = (uint64_t)256 << 20;
static atomic_ullong counted; /* bytes besides pages */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;    /* of who writes checkpoints */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER; /* there was a checkpoint */
static bool stopping;
static atomic_bool asked; /* for a checkpoint */
static atomic_bool held;  /* there are none */
static uint64_t checkpoints;
static struct blitz_error failure; /* of the last checkpoint; rc BLITZ_OK: it was none */

struct bz_redo *bz_current_log(void)
{
  return current;
}

uint64_t bz_current_memory(void)
{
  return atomic_load_explicit(&memory, memory_order_relaxed);
}

uint64_t bz_current_memory_max(void)
{
  return bz_current_memory() * FAR_AHEAD;
}

void bz_current_set(struct bz_redo *redo, uint64_t log_limit)
{
  pthread_mutex_lock(&lock);
  current = redo;
  limit = log_limit;
  stopping = false;
  atomic_store(&asked, false);
  failure.rc = BLITZ_OK;
  pthread_mutex_unlock(&lock);
}

void bz_current_set_memory(uint64_t bytes)
{
  atomic_store(&memory, bytes);
}

/* ---- those who change tables -------------------------------------------------------- */

void bz_current_count(int64_t bytes)
{
  atomic_fetch_add_explicit(&counted, (uint64_t)bytes, memory_order_relaxed);
}

uint64_t bz_current_counted(void)
{
  return atomic_load_explicit(&counted, memory_order_relaxed);
}

static uint64_t memory_used(void)
{
  return bz_pages_all_changed() * BZ_PAGE_LEN + bz_current_counted();
}

static bool is_wanted(void)
{
  return bz_redo_backlog(current) > limit / WANTED_PART ||
         memory_used() > bz_current_memory() / WANTED_PART;
}

/* Of pages alone: other memory may have to wait for the end of the commit that asks. */
static bool is_full(void)
{
  return !atomic_load_explicit(&held, memory_order_relaxed) &&
         bz_pages_all_changed() * BZ_PAGE_LEN > bz_current_memory_max();
}

static bool is_far_ahead(void)
{
  return !atomic_load_explicit(&held, memory_order_relaxed) &&
         (memory_used() > bz_current_memory_max() || bz_redo_backlog(current) > limit);
}

/* Needs the lock. */
static void ask(void)
{
  atomic_store(&asked, true);
  pthread_cond_signal(&wake);
}

void bz_current_ask(void)
{
  pthread_mutex_lock(&lock);
  ask();
  pthread_mutex_unlock(&lock);
}

/* Waits until IS_AHEAD says no, or a checkpoint has failed. */
static enum blitz_rc wait_for_checkpoint(bool (*is_ahead)(void), struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;
  bool waited = false;

  pthread_mutex_lock(&lock);
  while (rc == BLITZ_OK && !stopping && is_ahead())
  {
    uint64_t before = checkpoints;

    if (!waited)
      bz_count(&bz_counters.checkpoint_waits, 1);
    waited = true;
    /* One that was under way may not have brought enough. */
    ask();
    while (checkpoints == before && !stopping)
      pthread_cond_wait(&changed, &lock);
    if (failure.rc != BLITZ_OK && is_ahead())
    {
      rc = failure.rc;
      if (err != NULL)
        *err = failure;
    }
  }
  pthread_mutex_unlock(&lock);
  return rc;
}

enum blitz_rc bz_current_wait(struct blitz_error *err)
{
  if (current == NULL)
    return BLITZ_OK;
  if (is_far_ahead())
    return wait_for_checkpoint(is_far_ahead, err);
  if (is_wanted() && !atomic_load_explicit(&asked, memory_order_relaxed))
    bz_current_ask();
  return BLITZ_OK;
}

void bz_current_wait_memory(void)
{
  if (current != NULL && is_full())
    (void)!wait_for_checkpoint(is_full, NULL);
}

/* ---- the one who writes checkpoints ---------------------------------------------------- */

bool bz_current_sleep(unsigned seconds, bool *askedp)
{
  struct timespec until;
  bool go_on;

  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += seconds;
  pthread_mutex_lock(&lock);
  while (!asked && !stopping && pthread_cond_clockwait(&wake, &lock, CLOCK_MONOTONIC, &until) == 0)
    ;
  *askedp = asked;
  go_on = !stopping;
  pthread_mutex_unlock(&lock);
  return go_on;
}

void bz_current_stop(void)
{
  pthread_mutex_lock(&lock);
  stopping = true;
  pthread_cond_broadcast(&wake);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

void bz_current_hold(bool hold)
{
  atomic_store(&held, hold);
  pthread_mutex_lock(&lock);
  checkpoints++; /* who waits looks again */
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

void bz_current_checkpointed(enum blitz_rc rc, const struct blitz_error *err)
{
  pthread_mutex_lock(&lock);
  checkpoints++;
  atomic_store(&asked, false);
  failure = *err;
  failure.rc = rc;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}
