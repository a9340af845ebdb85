/* SPDX-License-Identifier: GPL-2.0-only
 *
 * redo.c: appending to the log, and the groups in which it is written and synced.
 *
 * Records are copied into a buffer under the lock. Whoever wants one of them written and finds
 * that nobody writes takes the buffer, lets the others fill the second one meanwhile, and
 * works for all that are in it. So there is no timer, and a group is as large as the device is
 * slow, or the processors are busy. Whoever waits is woken when its own record is where it wants
 * it; one of those whose record is not is woken as well, to go on, and is not overtaken.
 */
#include "base/counters.h"
#include "log/redo_file.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_LEN ((size_t)2 << 20)
#define PIECE_LEN_MAX ((size_t)512 << 10)
#define SPARES_MAX 64
#define EARLY_LEN ((size_t)256 << 10) /* bytes that begin to be synced when they are written */
#define SYNC_SECONDS 1

struct buffer
{
  uint8_t *data;
  size_t len;
  uint64_t at; /* position of its first byte */
};

struct waiter
{
  uint64_t end;
  bool sync;
  bool is_there;  /* what it waits for is there: it is out of the list, and has nothing to do */
  bool is_called; /* it is to write */
  sem_t woken;
  struct waiter *next;
};

struct bz_redo
{
  char *dir;
  uint32_t salt;
  int control_fd;

  pthread_mutex_t lock; /* of all that follows */
  struct bz_redo_control control;
  struct bz_redo_found old;               /* files before the current one that are still wanted */
  struct bz_redo_file file;               /* the current one */
  struct bz_redo_file before;             /* the one before it, until that is synced (D4) */
  struct bz_redo_file spares[SPARES_MAX]; /* for later use, ascending */
  unsigned spare_count, spares_kept;
  uint64_t number_max; /* of all files */
  struct buffer buffers[2], *filling;
  uint64_t end, written, synced;
  uint64_t kept;         /* bytes in the current file that records have been promised */
  bool writing, syncing; /* somebody does, without the lock */
  bool writer_called;    /* somebody is to write, and is on the way */
  bool shared;           /* when the last write with a sync was done, others waited */
  bool making;           /* a spare file */
  int failed;            /* the system's number for a write that failed; 0: none has */
  struct waiter *waiters;
  pthread_cond_t changed; /* one of the flags went, or `start` was raised */
  uint64_t writes, syncs;
  atomic_ullong backlog; /* anyone may read it */

  bool has_thread, stop;
  pthread_t thread;
  bool woken;          /* the thread has something to do */
  pthread_cond_t wake; /* of the thread */
};

static enum blitz_rc failure(const struct bz_redo *redo, struct blitz_error *err)
{
  return bz_fail(err, BLITZ_IO, redo->failed,
                 "the log in %s could not be written, and nothing is changed any more until the "
                 "server is started again",
                 redo->dir);
}

static void note_backlog(struct bz_redo *redo)
{
  atomic_store_explicit(&redo->backlog, redo->end - redo->control.start, memory_order_relaxed);
}

/* ---- waiting --------------------------------------------------------------------------- */

static bool is_there(const struct bz_redo *redo, uint64_t end, bool sync)
{
  return (sync ? redo->synced : redo->written) >= end;
}

/* Takes those out of the list who are to be woken: who has what it waits for, and of the others
 * one to write and one to sync, if nobody does. After a failure, all.
 */
static struct waiter *take_woken(struct bz_redo *redo)
{
  bool has_writer = redo->writing || redo->writer_called, has_syncer = redo->syncing;
  struct waiter *woken = NULL, **last = &woken, **link = &redo->waiters, *waiter;

  while ((waiter = *link) != NULL)
  {
    bool is_writer = redo->written < waiter->end;
    bool *has_worker = is_writer ? &has_writer : &has_syncer;

    waiter->is_there = is_there(redo, waiter->end, waiter->sync);
    if (!waiter->is_there && *has_worker && redo->failed == 0)
    {
      link = &waiter->next;
      continue;
    }
    if (!waiter->is_there)
    {
      waiter->is_called = is_writer && !has_writer;
      redo->writer_called |= waiter->is_called;
      *has_worker = true;
    }
    *link = waiter->next;
    waiter->next = NULL;
    *last = waiter;
    last = &waiter->next;
  }
  return woken;
}

/* Lets go of the lock meanwhile: on a busy machine who is woken runs at once, and would only come
 * as far as that.
 */
static void wake_up(struct bz_redo *redo)
{
  struct waiter *woken = take_woken(redo);

  pthread_cond_broadcast(&redo->changed);
  if (woken == NULL)
    return;
  pthread_mutex_unlock(&redo->lock);
  while (woken != NULL)
  {
    struct waiter *next = woken->next; /* it is gone when it is woken */
    sem_post(&woken->woken);
    woken = next;
  }
  pthread_mutex_lock(&redo->lock);
}

/* Of who is to write what is before END. */
static void arrive(struct bz_redo *redo, uint64_t end)
{
  redo->writer_called = false;
  /* Somebody else has written that; but there may be more. */
  if (redo->written >= end)
    wake_up(redo);
}

/* True: what is waited for is there, and the lock is not held any more. */
static bool wait_turn(struct bz_redo *redo, uint64_t end, bool sync)
{
  struct waiter waiter = {.end = end, .sync = sync}, **link;

  sem_init(&waiter.woken, 0, 0);
  for (link = &redo->waiters; *link != NULL; link = &(*link)->next)
    ;
  *link = &waiter;
  pthread_mutex_unlock(&redo->lock);
  while (sem_wait(&waiter.woken) != 0)
    ;
  sem_destroy(&waiter.woken);
  if (waiter.is_there)
    return true;
  pthread_mutex_lock(&redo->lock);
  if (waiter.is_called)
    arrive(redo, end);
  return false;
}

/* ---- writing and syncing: the lock is held, and let go meanwhile ------------------------- */

/* Writes what is in the buffer; if SYNC, syncs it with the same call where that is enough. */
static void write_buffer(struct bz_redo *redo, bool sync)
{
  struct buffer *buffer = redo->filling;
  uint64_t end = buffer->at + buffer->len;
  bool with_sync = sync && redo->synced == buffer->at, done;
  int sys_errno;

  assert(!redo->writing && end == redo->end);
  redo->writing = true;
  redo->filling = buffer == redo->buffers ? redo->buffers + 1 : redo->buffers;
  assert(redo->filling->len == 0);
  redo->filling->at = end;
  pthread_mutex_unlock(&redo->lock);
  done = bz_redo_write_at(redo->file.fd, buffer->data, buffer->len,
                          bz_redo_off(&redo->file, buffer->at), with_sync);
  sys_errno = errno;
  if (done && !with_sync && buffer->len >= EARLY_LEN)
    (void)sync_file_range(redo->file.fd, (off_t)bz_redo_off(&redo->file, buffer->at),
                          (off_t)buffer->len, SYNC_FILE_RANGE_WRITE);
  pthread_mutex_lock(&redo->lock);
  redo->writing = false;
  redo->writes++;
  redo->syncs += with_sync;
  bz_count(&bz_counters.log_bytes_written, buffer->len);
  bz_count(&bz_counters.log_syncs, with_sync);
  buffer->len = 0;
  if (!done)
    redo->failed = sys_errno;
  else
    redo->written = end;
  if (done && with_sync && end > redo->synced)
    redo->synced = end;
  if (with_sync)
    redo->shared = redo->waiters != NULL;
  wake_up(redo);
}

/* Syncs the first file that is not synced; meanwhile another one may become the current one. */
static void sync_file(struct bz_redo *redo)
{
  bool is_before = redo->before.fd >= 0;
  int fd = is_before ? redo->before.fd : redo->file.fd, sys_errno;
  uint64_t target = is_before ? redo->file.head.first : redo->written;

  assert(!redo->syncing && (is_before || redo->synced >= redo->file.head.first));
  redo->syncing = true;
  pthread_mutex_unlock(&redo->lock);
  sys_errno = fdatasync(fd) == 0 ? 0 : errno;
  pthread_mutex_lock(&redo->lock);
  redo->syncing = false;
  redo->syncs++;
  bz_count(&bz_counters.log_syncs, 1);
  /* What could not be synced once may be lost, whatever a second try says. */
  if (sys_errno != 0)
    redo->failed = sys_errno;
  else if (target > redo->synced)
    redo->synced = target;
  if (redo->before.fd >= 0 && redo->synced >= redo->file.head.first)
    bz_redo_file_close(&redo->before);
  wake_up(redo);
}

/* Writes what is before END, unless somebody else does. If syncs are shared, those go first who are
 * ready to run: what they append comes with it. A processor that is free loses no time by that, and
 * one that is not is spared a sync.
 */
static void write_group(struct bz_redo *redo, uint64_t end, bool sync)
{
  if (sync && redo->shared)
  {
    redo->writer_called = true;
    pthread_mutex_unlock(&redo->lock);
    sched_yield();
    pthread_mutex_lock(&redo->lock);
    arrive(redo, end);
  }
  if (redo->written < end && !redo->writing && redo->failed == 0)
    write_buffer(redo, sync);
}

static enum blitz_rc wait_for(struct bz_redo *redo, uint64_t end, bool sync,
                              struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  pthread_mutex_lock(&redo->lock);
  assert(end <= redo->end);
  while (redo->failed == 0 && !is_there(redo, end, sync))
    if (redo->written < end && !redo->writing && !redo->writer_called)
      write_group(redo, end, sync);
    else if (redo->written >= end && !redo->syncing)
      sync_file(redo);
    else if (wait_turn(redo, end, sync))
      return BLITZ_OK;
  if (!is_there(redo, end, sync))
    rc = failure(redo, err);
  pthread_mutex_unlock(&redo->lock);
  return rc;
}

enum blitz_rc bz_redo_write(struct bz_redo *redo, uint64_t end, struct blitz_error *err)
{
  return wait_for(redo, end, false, err);
}

enum blitz_rc bz_redo_sync(struct bz_redo *redo, uint64_t end, struct blitz_error *err)
{
  return wait_for(redo, end, true, err);
}

/* ---- files ---------------------------------------------------------------------------------- */

/* Makes a spare file. The lock is held, and let go meanwhile. */
static enum blitz_rc make_spare(struct bz_redo *redo, struct blitz_error *err)
{
  struct bz_redo_file file;
  uint64_t number = ++redo->number_max;
  enum blitz_rc rc;

  assert(!redo->making && redo->spare_count < SPARES_MAX);
  redo->making = true;
  pthread_mutex_unlock(&redo->lock);
  rc = bz_redo_file_make(redo->dir, &redo->control, number, &file, err);
  pthread_mutex_lock(&redo->lock);
  redo->making = false;
  if (rc == BLITZ_OK)
    redo->spares[redo->spare_count++] = file;
  pthread_cond_broadcast(&redo->changed);
  return rc;
}

/* Goes on in the first spare file. All is written, and what is before the current file is synced
 * (D4); the thread syncs that one.
 */
static enum blitz_rc use_spare(struct bz_redo *redo, struct blitz_error *err)
{
  struct bz_redo_file *spare = &redo->spares[0];

  assert(!redo->writing && redo->written == redo->end && redo->before.fd < 0);
  if (redo->file.fd >= 0 && !bz_redo_reserve_heads(&redo->old))
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory logging in %s", redo->dir);
  spare->head.first = redo->end;
  spare->head.before = redo->file.fd >= 0 ? redo->file.head.number : redo->old.end_number;
  redo->control.last_number = spare->head.number;
  /* The head first: what the control file names must have one (D5). */
  if (!bz_redo_head_store(spare, &redo->control) ||
      !bz_redo_control_store(redo->control_fd, &redo->control))
  {
    redo->failed = errno;
    return failure(redo, err);
  }
  if (redo->file.fd >= 0)
    redo->old.heads[redo->old.count++] = redo->file.head;
  if (redo->syncing || redo->synced < redo->end)
    redo->before = redo->file;
  else
    bz_redo_file_close(&redo->file);
  redo->file = *spare;
  memmove(spare, spare + 1, --redo->spare_count * sizeof *spare);
  redo->woken = true;
  pthread_cond_signal(&redo->wake);
  return BLITZ_OK;
}

/* A step on the way to the next file. */
static enum blitz_rc change_file(struct bz_redo *redo, struct blitz_error *err)
{
  if (redo->writing || (redo->before.fd >= 0 && redo->syncing))
    pthread_cond_wait(&redo->changed, &redo->lock);
  else if (redo->written < redo->end)
    write_buffer(redo, false);
  else if (redo->before.fd >= 0)
    sync_file(redo);
  else if (redo->spare_count > 0)
    return use_spare(redo, err);
  else if (redo->making)
    pthread_cond_wait(&redo->changed, &redo->lock);
  else
    return make_spare(redo, err);
  return BLITZ_OK;
}

/* ---- appending ------------------------------------------------------------------------------- */

/* Waits until a record of LEN bytes can go into the buffer, and KEEP more bytes into the file. */
static enum blitz_rc make_room(struct bz_redo *redo, uint64_t len, uint64_t keep,
                               struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  while (rc == BLITZ_OK)
  {
    uint64_t in_file = BZ_REDO_PAGE + redo->end - redo->file.head.first;

    if (redo->failed != 0)
      return failure(redo, err);
    if (in_file + len + keep > redo->control.file_len)
      rc = change_file(redo, err);
    else if (redo->filling->len + len <= BUFFER_LEN)
      return BLITZ_OK;
    else if (redo->writing)
      pthread_cond_wait(&redo->changed, &redo->lock);
    else
      write_buffer(redo, false);
  }
  return rc;
}

/* KEPT: of what was kept that is given up for it. */
static enum blitz_rc append(struct bz_redo *redo, uint64_t kept, uint8_t type,
                            const struct blitz_slice *parts, size_t count, uint64_t *endp,
                            struct blitz_error *err)
{
  uint64_t len;
  size_t payload_len = 0;
  enum blitz_rc rc;

  *endp = 0;
  for (size_t i = 0; i < count; i++)
    payload_len += parts[i].len;
  len = bz_redo_record_len(payload_len);
  if (payload_len > BZ_REDO_PAYLOAD_MAX || len > redo->control.file_len - BZ_REDO_PAGE)
    return bz_fail(err, BLITZ_TOO_BIG, 0, "a record of %zu bytes is too big for the log in %s",
                   payload_len, redo->dir);
  pthread_mutex_lock(&redo->lock);
  assert(kept <= redo->kept && (kept == 0 || len <= kept));
  redo->kept -= kept;
  rc = make_room(redo, len, redo->kept, err);
  if (rc == BLITZ_OK)
  {
    struct buffer *buffer = redo->filling;
    buffer->len += (size_t)bz_redo_record_make(buffer->data + buffer->len, redo->salt, redo->end,
                                               redo->synced, type, parts, count);
    redo->end += len;
    note_backlog(redo);
    *endp = redo->end;
    assert(buffer->at + buffer->len == redo->end);
  }
  pthread_mutex_unlock(&redo->lock);
  return rc;
}

enum blitz_rc bz_redo_append(struct bz_redo *redo, uint8_t type, const struct blitz_slice *parts,
                             size_t count, uint64_t *endp, struct blitz_error *err)
{
  return append(redo, 0, type, parts, count, endp, err);
}

enum blitz_rc bz_redo_append_kept(struct bz_redo *redo, size_t len, uint8_t type,
                                  const struct blitz_slice *parts, size_t count, uint64_t *endp,
                                  struct blitz_error *err)
{
  return append(redo, bz_redo_record_len(len), type, parts, count, endp, err);
}

enum blitz_rc bz_redo_keep(struct bz_redo *redo, size_t len, struct blitz_error *err)
{
  uint64_t keep = bz_redo_record_len(len);
  enum blitz_rc rc;

  pthread_mutex_lock(&redo->lock);
  if (redo->kept + keep > redo->control.file_len / 2)
    rc = bz_fail(err, BLITZ_TOO_BIG, 0, "too many changes at once for the log in %s", redo->dir);
  else
    rc = make_room(redo, 0, redo->kept + keep, err);
  if (rc == BLITZ_OK)
    redo->kept += keep;
  pthread_mutex_unlock(&redo->lock);
  return rc;
}

void bz_redo_let_go(struct bz_redo *redo, size_t len)
{
  pthread_mutex_lock(&redo->lock);
  assert(redo->kept >= bz_redo_record_len(len));
  redo->kept -= bz_redo_record_len(len);
  pthread_mutex_unlock(&redo->lock);
}

size_t bz_redo_piece_len(const struct bz_redo *redo)
{
  uint64_t len = redo->control.file_len / 4;

  return len < PIECE_LEN_MAX ? (size_t)len : PIECE_LEN_MAX;
}

uint64_t bz_redo_backlog(const struct bz_redo *redo)
{
  return atomic_load_explicit(&redo->backlog, memory_order_relaxed);
}

uint64_t bz_redo_id(const struct bz_redo *redo)
{
  return bz_redo_control_id(&redo->control); /* it does not change */
}

uint64_t bz_redo_end(struct bz_redo *redo)
{
  uint64_t end;

  pthread_mutex_lock(&redo->lock);
  end = redo->end;
  pthread_mutex_unlock(&redo->lock);
  return end;
}

/* ---- releasing ----------------------------------------------------------------------------- */

/* Makes the oldest file that is not wanted a spare one, or removes it. The lock is held, and
 * let go meanwhile. False: there is none.
 */
static bool drop_oldest(struct bz_redo *redo)
{
  struct bz_redo_found *old = &redo->old;
  struct bz_redo_file file;
  uint64_t next_first, number, new_number = 0;
  bool kept = false;

  if (old->count == 0)
    return false;
  next_first = old->count > 1 ? old->heads[1].first : redo->file.head.first;
  if (next_first > redo->control.start)
    return false;
  number = old->heads[0].number;
  memmove(old->heads, old->heads + 1, --old->count * sizeof *old->heads);
  if (redo->spare_count < redo->spares_kept && !redo->making)
  {
    new_number = ++redo->number_max;
    redo->making = true;
  }
  pthread_mutex_unlock(&redo->lock);
  if (bz_redo_file_open(redo->dir, number, &file, NULL) == BLITZ_OK)
  {
    kept = new_number != 0 && bz_redo_file_recycle(redo->dir, &file, new_number);
    if (!kept)
    {
      (void)unlink(file.name);
      bz_redo_file_close(&file);
    }
  }
  pthread_mutex_lock(&redo->lock);
  if (kept)
    redo->spares[redo->spare_count++] = file;
  if (new_number != 0)
    redo->making = false;
  pthread_cond_broadcast(&redo->changed);
  return true;
}

enum blitz_rc bz_redo_release(struct bz_redo *redo, uint64_t start, struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  pthread_mutex_lock(&redo->lock);
  assert(start <= redo->synced);
  if (redo->failed != 0)
    rc = failure(redo, err);
  else if (start > redo->control.start)
  {
    redo->control.start = start;
    note_backlog(redo);
    if (!bz_redo_control_store(redo->control_fd, &redo->control))
    {
      redo->failed = errno;
      rc = failure(redo, err);
    }
    pthread_cond_broadcast(&redo->changed);
  }
  while (rc == BLITZ_OK && drop_oldest(redo))
    ;
  pthread_mutex_unlock(&redo->lock);
  return rc;
}

void bz_redo_figures(struct bz_redo *redo, struct bz_redo_figures *figures)
{
  pthread_mutex_lock(&redo->lock);
  *figures = (struct bz_redo_figures){
      .start = redo->control.start,
      .synced = redo->synced,
      .written = redo->written,
      .end = redo->end,
      .writes = redo->writes,
      .syncs = redo->syncs,
      .files = (unsigned)redo->old.count + 1 + redo->spare_count,
  };
  pthread_mutex_unlock(&redo->lock);
}

/* ---- in the background --------------------------------------------------------------------- */

static void *run(void *arg)
{
  struct bz_redo *redo = arg;

  pthread_mutex_lock(&redo->lock);
  while (!redo->stop)
  {
    struct timespec until;
    uint64_t end;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += SYNC_SECONDS;
    /* A spare file that cannot be made now is tried again a second later. */
    if (redo->spare_count == 0 && !redo->making && redo->failed == 0)
      (void)!make_spare(redo, NULL);
    while (!redo->stop && !redo->woken &&
           pthread_cond_timedwait(&redo->wake, &redo->lock, &until) == 0)
      ;
    redo->woken = false;
    end = redo->before.fd >= 0 ? redo->file.head.first : redo->end;
    pthread_mutex_unlock(&redo->lock);
    (void)!wait_for(redo, end, true, NULL);
    pthread_mutex_lock(&redo->lock);
  }
  pthread_mutex_unlock(&redo->lock);
  return NULL;
}

/* ---- opening and closing ------------------------------------------------------------------- */

static struct bz_redo *new_redo(const struct bz_redo_options *options)
{
  struct bz_redo *redo = calloc(1, sizeof *redo);
  pthread_condattr_t attr;

  if (redo == NULL)
    return NULL;
  redo->control_fd = redo->file.fd = redo->before.fd = -1;
  redo->spares_kept = options->limit < SPARES_MAX * options->file_len
                          ? (unsigned)(options->limit / (options->file_len + 1)) + 1
                          : SPARES_MAX;
  redo->dir = strdup(options->dir);
  redo->filling = redo->buffers;
  pthread_mutex_init(&redo->lock, NULL);
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(&redo->changed, NULL);
  pthread_cond_init(&redo->wake, &attr);
  pthread_condattr_destroy(&attr);
  for (unsigned i = 0; i < 2; i++)
    redo->buffers[i].data = malloc(BUFFER_LEN);
  return redo;
}

static void free_redo(struct bz_redo *redo)
{
  if (redo->file.name != NULL)
    bz_redo_file_close(&redo->file);
  bz_redo_file_close(&redo->before);
  while (redo->spare_count > 0)
    bz_redo_file_close(&redo->spares[--redo->spare_count]);
  if (redo->control_fd >= 0)
    close(redo->control_fd);
  for (unsigned i = 0; i < 2; i++)
    free(redo->buffers[i].data);
  free(redo->old.heads);
  pthread_cond_destroy(&redo->wake);
  pthread_cond_destroy(&redo->changed);
  pthread_mutex_destroy(&redo->lock);
  free(redo->dir);
  free(redo);
}

static enum blitz_rc make_control(struct bz_redo *redo, uint64_t file_len, struct blitz_error *err)
{
  struct bz_redo_control none = {0};
  struct bz_redo_found found;
  enum blitz_rc rc = bz_redo_replay(redo->dir, &none, NULL, NULL, &found, err);

  free(found.heads);
  if (rc == BLITZ_OK && found.number_max > 0)
    rc =
        bz_fail(err, BLITZ_CORRUPT, 0,
                "there are files of a log in %s, but blitz_log.control is missing. Restore it from "
                "a backup; if all tables were closed, the files can be removed instead",
                redo->dir);
  if (rc == BLITZ_OK)
    rc = bz_redo_control_make(redo->dir, file_len, &redo->control, &redo->control_fd, err);
  return rc;
}

static enum blitz_rc open_files(struct bz_redo *redo, uint64_t file_len, bz_redo_read_fn *read,
                                void *arg, struct blitz_error *err)
{
  enum blitz_rc rc = bz_redo_control_read(redo->dir, &redo->control, &redo->control_fd, err);

  if (rc == BLITZ_NOT_FOUND)
    rc = make_control(redo, file_len, err);
  if (rc == BLITZ_OK)
    rc = bz_redo_replay(redo->dir, &redo->control, read, arg, &redo->old, err);
  if (rc == BLITZ_OK)
    rc = bz_redo_remove_others(redo->dir, &redo->old, err);
  if (rc != BLITZ_OK)
    return rc;
  redo->salt = bz_redo_salt(&redo->control);
  redo->number_max = redo->old.number_max;
  redo->end = redo->written = redo->synced = redo->filling->at = redo->old.end;
  note_backlog(redo);
  pthread_mutex_lock(&redo->lock);
  rc = make_spare(redo, err);
  if (rc == BLITZ_OK)
    rc = use_spare(redo, err);
  pthread_mutex_unlock(&redo->lock);
  return rc;
}

enum blitz_rc bz_redo_open(const struct bz_redo_options *options, bz_redo_read_fn *read, void *arg,
                           struct bz_redo **redop, struct blitz_error *err)
{
  struct bz_redo *redo = new_redo(options);
  enum blitz_rc rc;

  *redop = NULL;
  if (options->file_len < BZ_REDO_FILE_LEN_MIN || options->file_len % BZ_REDO_PAGE != 0)
    rc = bz_fail(err, BLITZ_INVALID, 0, "files of %llu bytes are no files of a log",
                 (unsigned long long)options->file_len);
  else if (redo == NULL || redo->dir == NULL || redo->buffers[0].data == NULL ||
           redo->buffers[1].data == NULL)
    rc = bz_fail(err, BLITZ_NOMEM, 0, "out of memory opening the log in %s", options->dir);
  else
    rc = open_files(redo, options->file_len, read, arg, err);
  if (rc == BLITZ_OK && options->background)
  {
    redo->has_thread = pthread_create(&redo->thread, NULL, run, redo) == 0;
    if (!redo->has_thread)
      rc = bz_fail(err, BLITZ_NOMEM, 0, "cannot begin a thread for the log in %s", options->dir);
  }
  if (rc == BLITZ_OK)
    *redop = redo;
  else if (redo != NULL)
    free_redo(redo);
  return rc;
}

void bz_redo_close(struct bz_redo *redo)
{
  if (redo == NULL)
    return;
  if (redo->has_thread)
  {
    pthread_mutex_lock(&redo->lock);
    redo->stop = true;
    pthread_cond_signal(&redo->wake);
    pthread_mutex_unlock(&redo->lock);
    pthread_join(redo->thread, NULL);
  }
  (void)!wait_for(redo, redo->end, true, NULL);
  free_redo(redo);
}
