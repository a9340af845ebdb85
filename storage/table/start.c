/* SPDX-License-Identifier: GPL-2.0-only
 *
 * start.c: starting and stopping the engine, and the thread that writes checkpoints.
 *
 * A start first finishes a checkpoint that was interrupted, so that each file is of one moment,
 * then reads the log and makes the commits again that the files lack (replay.c). The first
 * checkpoint, which is begun at once, writes them to the files and lets the log go.
 */
#include "base/counters.h"
#include "log/current.h"
#include "table/table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOG_FILES 16 /* that make up the limit */
#define LOG_FILE_LEN_MAX (UINT64_C(16) << 20)
#define CHECKPOINT_SECONDS 60 /* at least so often, if something has changed */

static pthread_mutex_t checkpoint_lock = PTHREAD_MUTEX_INITIALIZER;
static bool held;                  /* under checkpoint_lock */
static uint64_t kept = UINT64_MAX; /* bytes of the log that a checkpoint leaves at least, if the
                                    * last one has left no more; the same
                                    */
static pthread_t thread;
static bool has_thread;

/* ---- checkpoints ---------------------------------------------------------------------- */

/* Logs that the tables are open, on the device, so that what the log has before it is not wanted
 * (C3).
 */
static enum blitz_rc log_again(struct blitz_table **tables, size_t count, struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  for (size_t i = 0; i < count && rc == BLITZ_OK; i++)
    rc = bz_log_table(tables[i], err);
  return rc == BLITZ_OK ? blitz_sync(err) : rc;
}

/* Brings the entries of indexes that are in memory into the index files. That of one table may have
 * to wait: the log keeps what it needs.
 */
static enum blitz_rc merge_indexes(struct blitz_table **tables, size_t count,
                                   struct blitz_error *err)
{
  enum blitz_rc first = BLITZ_OK;

  for (size_t i = 0; i < count; i++)
  {
    struct blitz_error why;
    enum blitz_rc rc;

    if (!tables[i]->has_indexes)
      continue;
    rc = bz_index_merge(tables[i], false, &why);
    tables[i]->merged = rc == BLITZ_OK;
    if (rc == BLITZ_OK || rc == BLITZ_BUSY || first != BLITZ_OK)
      continue;
    first = rc;
    if (err != NULL)
      *err = why;
  }
  return first;
}

static enum blitz_rc checkpoint(struct blitz_error *err)
{
  struct bz_redo *redo = bz_current_log();
  struct blitz_table **tables;
  uint64_t from = bz_redo_end(redo), needed = 0;
  size_t count;
  struct blitz_error why;
  enum blitz_rc rc, merged = BLITZ_OK;

  tables = bz_registry_claim(&count);
  if (tables == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory writing a checkpoint");
  rc = log_again(tables, count, err);
  if (rc == BLITZ_OK)
    merged = merge_indexes(tables, count, &why);
  if (rc == BLITZ_OK)
    rc = bz_checkpoint(tables, count, BZ_JOURNAL_ALL, false, err);
  if (rc == BLITZ_OK)
  {
    needed = bz_registry_written(tables, count, from);
    rc = bz_redo_release(redo, needed, err);
  }
  if (rc == BLITZ_OK && bz_pages_all_private() * BZ_PAGE_LEN > bz_current_memory())
    for (size_t i = 0; i < count; i++)
      bz_pages_drop(&tables[i]->pages);
  for (size_t i = 0; i < count; i++)
    bz_table_unclaim(tables[i]);
  free(tables);
  bz_count(&bz_counters.checkpoints, 1);
  if (rc == BLITZ_OK && merged != BLITZ_OK)
  {
    rc = merged;
    if (err != NULL)
      *err = why;
  }
  kept = rc == BLITZ_OK && needed == from ? bz_redo_backlog(redo) : UINT64_MAX;
  return rc;
}

enum blitz_rc blitz_checkpoint(struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  pthread_mutex_lock(&checkpoint_lock);
  if (bz_current_log() != NULL && !held)
  {
    rc = checkpoint(err);
    if (rc == BLITZ_OK)
      rc = bz_registry_finish(err);
  }
  pthread_mutex_unlock(&checkpoint_lock);
  return rc;
}

void bz_checkpoints_hold(bool hold)
{
  pthread_mutex_lock(&checkpoint_lock);
  held = hold;
  bz_current_hold(hold);
  pthread_mutex_unlock(&checkpoint_lock);
}

enum blitz_rc blitz_sync(struct blitz_error *err)
{
  struct bz_redo *redo = bz_current_log();

  return redo != NULL ? bz_redo_sync(redo, bz_redo_end(redo), err) : BLITZ_OK;
}

/* Is there anything that the last checkpoint has not done? */
static bool has_changed(void)
{
  bool changed;

  pthread_mutex_lock(&checkpoint_lock);
  changed = bz_redo_backlog(bz_current_log()) != kept || bz_pages_all_changed() > 0;
  pthread_mutex_unlock(&checkpoint_lock);
  return changed;
}

static void *write_checkpoints(void *arg)
{
  enum blitz_rc last = BLITZ_OK;
  bool asked;

  (void)arg;
  while (bz_current_sleep(last == BLITZ_OK ? CHECKPOINT_SECONDS : 1, &asked))
  {
    struct blitz_error err = {0};
    enum blitz_rc rc = asked || has_changed() ? blitz_checkpoint(&err) : BLITZ_OK;

    /* The first one of a row of failures tells enough. */
    if (rc != BLITZ_OK && last == BLITZ_OK)
      bz_log(BLITZ_LOG_ERROR, "%s", err.text);
    last = rc;
    bz_current_checkpointed(rc, &err);
  }
  return NULL;
}

/* ---- start and stop ---------------------------------------------------------------------- */

static uint64_t log_file_len(uint64_t limit)
{
  uint64_t len = limit / LOG_FILES / BZ_PAGE_LEN * BZ_PAGE_LEN;

  return len > LOG_FILE_LEN_MAX       ? LOG_FILE_LEN_MAX
         : len < BZ_REDO_FILE_LEN_MIN ? BZ_REDO_FILE_LEN_MIN
                                      : len;
}

/* Writes all to the files, and closes the log. */
static void stop(void)
{
  struct bz_redo *redo = bz_current_log();
  struct blitz_error err;

  bz_registry_give_up();
  if (checkpoint(&err) != BLITZ_OK)
    bz_log(BLITZ_LOG_WARNING, "%s", err.text);
  bz_current_set(NULL, 0);
  bz_redo_close(redo);
}

static enum blitz_rc start(const struct blitz_start_options *options, bool background,
                           struct bz_replay *replay, struct blitz_error *err)
{
  struct bz_redo_options redo_options = {.dir = options->dir,
                                         .file_len = log_file_len(options->log_limit),
                                         .limit = options->log_limit,
                                         .background = background};
  struct bz_redo *redo;
  enum blitz_rc rc = bz_redo_open(&redo_options, bz_replay_record, replay, &redo, err);

  if (rc != BLITZ_OK)
    return rc;
  bz_current_set(redo, options->log_limit);
  kept = UINT64_MAX;
  if (bz_replay_finish(replay) > 0)
    bz_current_ask();
  has_thread = background && pthread_create(&thread, NULL, write_checkpoints, NULL) == 0;
  if (has_thread || !background)
    return BLITZ_OK;
  stop();
  return bz_fail(err, BLITZ_NOMEM, 0, "cannot begin the thread that writes checkpoints");
}

enum blitz_rc bz_start(const struct blitz_start_options *options, bool background,
                       struct blitz_error *err)
{
  struct bz_replay *replay;
  enum blitz_rc rc;

  bz_current_set_memory(options->memory);
  rc = bz_checkpoints_start(options->dir, err);
  if (rc == BLITZ_OK)
  {
    replay = bz_replay_begin();
    rc = replay != NULL ? start(options, background, replay, err)
                        : bz_fail(err, BLITZ_NOMEM, 0, "out of memory reading the log");
    bz_replay_free(replay);
  }
  if (rc != BLITZ_OK)
    bz_checkpoints_stop();
  return rc;
}

enum blitz_rc blitz_start(const struct blitz_start_options *options, struct blitz_error *err)
{
  return bz_start(options, true, err);
}

void blitz_stop(void)
{
  if (bz_current_log() == NULL)
    return;
  bz_checkpoints_give_up();
  bz_current_stop();
  if (has_thread)
    pthread_join(thread, NULL);
  has_thread = false;
  stop();
  bz_checkpoints_stop();
}

void blitz_set_memory(uint64_t bytes)
{
  bz_current_set_memory(bytes);
}
