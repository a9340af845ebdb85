/* SPDX-License-Identifier: GPL-2.0-only
 *
 * slot.c: the writer slot, which makes a transaction a table's only writer. It is
 * held from the first change to the end of the transaction, possibly across calls
 * from different threads, so it is a condition and not a mutex.
 */
#include "base/counters.h"
#include "txn/txn.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

enum blitz_rc bz_slot_take(struct blitz_table *table, const struct blitz_txn *txn,
                           unsigned timeout_seconds, struct blitz_error *err)
{
  struct timespec until;
  int sys_errno = 0;
  bool taken;

  pthread_mutex_lock(&table->slot_lock);
  if (table->writer != NULL)
  {
    bz_count(&bz_counters.write_waits, 1);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_seconds;
    while (table->writer != NULL && sys_errno != ETIMEDOUT)
      sys_errno = pthread_cond_timedwait(&table->slot_free, &table->slot_lock, &until);
  }
  taken = table->writer == NULL;
  if (taken)
    table->writer = txn;
  pthread_mutex_unlock(&table->slot_lock);
  if (taken)
    return BLITZ_OK;
  return bz_fail(err, BLITZ_BUSY, 0,
                 "another transaction has been changing %s for more than %u seconds. "
                 "Try again, or wait longer",
                 table->file, timeout_seconds);
}

bool bz_slot_try(struct blitz_table *table)
{
  static const struct blitz_txn *const nobody = (const struct blitz_txn *)&bz_counters;
  bool taken;

  pthread_mutex_lock(&table->slot_lock);
  taken = table->writer == NULL;
  if (taken)
    table->writer = nobody;
  pthread_mutex_unlock(&table->slot_lock);
  return taken;
}

void bz_slot_release(struct blitz_table *table)
{
  pthread_mutex_lock(&table->slot_lock);
  assert(table->writer != NULL);
  table->writer = NULL;
  pthread_cond_signal(&table->slot_free);
  pthread_mutex_unlock(&table->slot_lock);
}
