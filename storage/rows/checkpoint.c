/* SPDX-License-Identifier: GPL-2.0-only
 *
 * checkpoint.c: tables and the log: from which of its records on the log has what a file lacks,
 * and how pages come from memory into files.
 *
 *  C1. A file is brought from one image (image.c) to the next, all of its pages or none: by the
 *      journal (log/journal.h). Pages behind the blocks of the image that the file has are not
 *      looked at by anyone, and so are written to their places at once, before the journal is
 *      believed; those of a large load even before there is an image of them, but they are synced
 *      with it, and are changed pages again if it fails.
 *  C2. Nothing of an image is written before the log is on the device up to its moment: else a
 *      commit of several tables could be there in one of them alone.
 *  C3. The log keeps, for each table that is open and has changed, a record that says so, and all
 *      behind it (needs_from): it precedes all commits that are not in the file. That of a table
 *      that could not be closed before the stop stays for the next start.
 *  C4. A table's pages are written by one at a time, who has claimed it. Claims come before
 *      change_lock.
 *  C5. A journal is emptied, on the device, when all that it has is at its places and before the
 *      tables may be claimed again. So a start finds one whole only if it was not done with, no
 *      table is in both, and what was done to a file later is never undone. A start places its
 *      pages, and leaves the rest to who is the first to write to a file (bz_checkpoints_settle()).
 */
#include "base/counters.h"
#include "log/current.h"
#include "log/journal.h"
#include "log/record.h"
#include "rows/space.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_PAGES 256       /* that are written with one call */
#define NAMES_FILE UINT64_C(0) /* its pages in a journal say which files the others are of */
#define NAME_HEAD_LEN 28
#define PATH_MAX_LEN 2048
#define RETRY_SECONDS 1
#define TELL_EVERY 60     /* tries */
#define TRIES_OF_CLOSE 30 /* by who closes a table */

struct target;

/* Two, so that who closes a table need not wait for a checkpoint of all. */
static const char *const suffixes[BZ_JOURNALS] = {"pages", "close"};

static struct
{
  struct bz_journal *journal;
  pthread_mutex_t lock;
  bool stuck; /* it is whole, and cannot be brought to its places before the next start */
  struct target *targets; /* it was placed by the start, in these, which are not synced yet */
} journals[BZ_JOURNALS] = {{.lock = PTHREAD_MUTEX_INITIALIZER},
                           {.lock = PTHREAD_MUTEX_INITIALIZER}};

static atomic_bool stopping;

static pthread_mutex_t settle_lock = PTHREAD_MUTEX_INITIALIZER; /* of the journals' targets */
static atomic_bool unsettled;

/* ---- claims ---------------------------------------------------------------------- */

static pthread_mutex_t claims_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t claims_changed = PTHREAD_COND_INITIALIZER;

void bz_table_claim(struct blitz_table *table)
{
  pthread_mutex_lock(&claims_lock);
  while (table->claimed)
    pthread_cond_wait(&claims_changed, &claims_lock);
  table->claimed = true;
  pthread_mutex_unlock(&claims_lock);
}

bool bz_table_try_claim(struct blitz_table *table)
{
  bool done;

  pthread_mutex_lock(&claims_lock);
  done = !table->claimed;
  table->claimed = true;
  pthread_mutex_unlock(&claims_lock);
  return done;
}

void bz_table_unclaim(struct blitz_table *table)
{
  pthread_mutex_lock(&claims_lock);
  table->claimed = false;
  pthread_cond_broadcast(&claims_changed);
  pthread_mutex_unlock(&claims_lock);
}

/* ---- what the log knows of a table ----------------------------------------------- */

enum blitz_rc bz_log_table(struct blitz_table *table, struct blitz_error *err)
{
  struct bz_redo *redo = bz_current_log();
  struct bz_open_record record = {.number = table->log_number,
                                  .secret = table->secret.key[0],
                                  .commit = atomic_load(&table->committed)};
  uint8_t head[BZ_OPEN_RECORD_LEN];
  struct blitz_slice parts[] = {{head, sizeof head}, {table->path, strlen(table->path)}};
  uint64_t from = bz_redo_end(redo), end;
  enum blitz_rc rc = bz_checkpoints_settle(err);

  if (rc != BLITZ_OK)
    return rc;
  while (record.number == 0)
    if (getrandom(&record.number, sizeof record.number, 0) != sizeof record.number)
      return bz_fail(err, BLITZ_IO, errno, "no random number for %s", table->file);
  if (parts[1].len > PATH_MAX_LEN)
    return bz_fail(err, BLITZ_TOO_BIG, 0, "the path of %s is too long", table->file);
  bz_file_boot_id(table, true, record.boot_id);
  bz_open_record_put(head, &record);
  if (table->log_number != 0)
    return bz_redo_append(redo, BZ_RECORD_OPEN, parts, 2, &end, err);
  /* Before the record is there, so that a checkpoint meanwhile does not let it go. */
  atomic_store(&table->needs_from, from);
  rc = bz_redo_append(redo, BZ_RECORD_OPEN, parts, 2, &end, err);
  /* Before the file says that it needs the log, which has to know of it. */
  if (rc == BLITZ_OK)
    rc = bz_redo_sync(redo, end, err);
  table->log_id = bz_redo_id(redo);
  if (rc == BLITZ_OK)
    rc = bz_image_mark(table, from, err);
  if (rc == BLITZ_OK)
    table->log_number = record.number;
  else
    atomic_store(&table->needs_from, BZ_NEEDS_NOTHING);
  return rc;
}

static atomic_ullong pinned = UINT64_MAX;

void bz_log_pin(struct blitz_table *table)
{
  unsigned long long needs = atomic_load(&table->needs_from), before = atomic_load(&pinned);

  while (needs < before && !atomic_compare_exchange_weak(&pinned, &before, needs))
    ;
}

uint64_t bz_log_pinned(void)
{
  return atomic_load(&pinned);
}

/* ---- writing pages --------------------------------------------------------------- */

struct pages_run
{
  uint8_t *data; /* room for BUFFER_PAGES */
  uint64_t first, count;
  int fd;
};

static bool write_run(struct pages_run *run)
{
  uint64_t len = run->count * BZ_PAGE_LEN, done = 0;

  while (done < len)
  {
    ssize_t n =
        pwrite(run->fd, run->data + done, len - done, (off_t)(run->first * BZ_PAGE_LEN + done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
    {
      errno = n == 0 ? EIO : errno;
      return false;
    }
    done += (uint64_t)n;
  }
  run->count = 0;
  return true;
}

/* Where the next page of the run is to be put; NULL: writing the last ones has failed. */
static uint8_t *next_of_run(struct pages_run *run, uint64_t page)
{
  if (run->count > 0 && (run->count == BUFFER_PAGES || run->first + run->count != page) &&
      !write_run(run))
    return NULL;
  if (run->count == 0)
    run->first = page;
  return run->data + run->count++ * BZ_PAGE_LEN;
}

static enum blitz_rc cannot_write(const char *name, struct blitz_error *err)
{
  int sys_errno = errno;

  return bz_fail(err, bz_rc_of_errno(sys_errno), sys_errno,
                 "%s cannot be written; it is tried again. If its device is full, free some space",
                 name);
}

/* A table that is to be written, if it has changed. */
struct image
{
  struct blitz_table *table;
  uint64_t end; /* of the blocks, in the image */
  uint64_t len; /* what is behind it in memory is nothing */
  uint64_t page_count;
  bool is_new; /* it has changed */
  bool placed_some;
};

static uint64_t pages_for(uint64_t len)
{
  return (len + BZ_PAGE_LEN - 1) / BZ_PAGE_LEN;
}

/* Writes the pages of an image: into the journal, but those behind what the file has (C1). */
static enum blitz_rc write_image(struct bz_journal *journal, struct image *image,
                                 struct pages_run *run, struct blitz_error *err)
{
  struct blitz_table *table = image->table;
  uint8_t data[BZ_PAGE_LEN];
  uint64_t page;
  enum blitz_rc rc = BLITZ_OK;

  if (!image->is_new)
    return BLITZ_OK;
  run->fd = table->fd;
  run->count = 0;
  while (rc == BLITZ_OK && bz_pages_take(&table->pages, &page, data))
  {
    if (page >= pages_for(image->len))
      continue;
    if (page >= pages_for(table->placed_end))
    {
      uint8_t *to = next_of_run(run, page);
      if (to == NULL)
        rc = cannot_write(table->file, err);
      else
        memcpy(to, data, sizeof data);
      image->placed_some = true;
    }
    else
      rc = bz_journal_add(journal, table->log_number, page, data, err);
    bz_count(&bz_counters.pages_written, 1);
  }
  if (rc == BLITZ_OK && run->count > 0 && !write_run(run))
    rc = cannot_write(table->file, err);
  return rc;
}

/* ---- names in a journal ---------------------------------------------------------- */

/* Which file a number stands for, and from which image: another file, of another time, that was put
 * there after a crash is not touched.
 */
static size_t put_name(uint8_t *to, const struct image *image)
{
  const struct blitz_table *table = image->table;
  size_t len = strlen(table->path);

  bz_store_le64(to, table->log_number);
  bz_store_le64(to + 8, table->secret.key[0]);
  bz_store_le64(to + 16, table->placed_image);
  bz_store_le32(to + 24, (uint32_t)len);
  memcpy(to + NAME_HEAD_LEN, table->path, len);
  return NAME_HEAD_LEN + len;
}

static enum blitz_rc add_names(struct bz_journal *journal, const struct image *images, size_t count,
                               struct blitz_error *err)
{
  uint8_t page[BZ_PAGE_LEN];
  uint64_t number = 0;
  size_t len = 0;
  enum blitz_rc rc = BLITZ_OK;

  memset(page, 0, sizeof page);
  for (size_t i = 0; i < count && rc == BLITZ_OK; i++)
  {
    if (!images[i].is_new)
      continue;
    if (len + NAME_HEAD_LEN + strlen(images[i].table->path) > sizeof page)
    {
      rc = bz_journal_add(journal, NAMES_FILE, number++, page, err);
      memset(page, 0, sizeof page);
      len = 0;
    }
    len += put_name(page + len, &images[i]);
  }
  return rc == BLITZ_OK ? bz_journal_add(journal, NAMES_FILE, number, page, err) : rc;
}

/* ---- placing --------------------------------------------------------------------- */

/* The pages come in the order of the images: *NEXT is the one of the last pages. */
static enum blitz_rc place_pages(void *arg, uint64_t file, uint64_t page, uint64_t count,
                                 const uint8_t *data, struct blitz_error *err)
{
  struct image **next = arg;
  struct pages_run run = {.data = (uint8_t *)(uintptr_t)data, .first = page, .count = count};

  if (file == NAMES_FILE)
    return BLITZ_OK;
  while ((*next)->table->log_number != file)
    ++*next;
  run.fd = (*next)->table->fd;
  (*next)->placed_some = true;
  return write_run(&run) ? BLITZ_OK : cannot_write((*next)->table->file, err);
}

static enum blitz_rc sync_images(struct image *images, size_t count, struct blitz_error *err)
{
  for (size_t i = 0; i < count; i++)
    if (images[i].placed_some && fdatasync(images[i].table->fd) != 0)
      return cannot_write(images[i].table->file, err);
  return BLITZ_OK;
}

/* Once the journal is whole, there is no way back: it is tried again until it is done, here or when
 * the engine is started next. Only who closes a table may leave it to that: nobody writes the
 * table's pages then.
 */
static enum blitz_rc place(enum bz_journal_use use, struct image *images, size_t count,
                           bool is_close, struct blitz_error *err)
{
  for (unsigned tries = 0;; tries++)
  {
    struct image *next = images;
    enum blitz_rc rc = bz_journal_place(journals[use].journal, place_pages, &next, err);

    if (rc == BLITZ_OK)
      rc = sync_images(images, count, err);
    if (rc == BLITZ_OK)
      return BLITZ_OK;
    journals[use].stuck = atomic_load(&stopping) || (is_close && tries == TRIES_OF_CLOSE);
    if (journals[use].stuck)
      return rc;
    if (tries % TELL_EVERY == 0 && err != NULL)
      bz_log(BLITZ_LOG_ERROR, "%s", err->text);
    if (use == BZ_JOURNAL_ALL && err != NULL)
      bz_current_checkpointed(rc, err);
    sleep(RETRY_SECONDS);
  }
}

/* ---- a checkpoint ---------------------------------------------------------------- */

/* The moment of an image. A table that has not changed since the last one needs none, unless its
 * file is to be COMPLETE. Needs change_lock.
 */
static enum blitz_rc begin(struct image *image, bool complete, struct blitz_error *err)
{
  struct blitz_table *table = image->table;
  uint64_t position = complete ? BZ_COMPLETE : atomic_load(&table->needs_from);
  enum blitz_rc rc;

  assert(table->claimed && table->log_number != 0);
  table->applied_in_part = table->applying;
  if (!complete && !table->applying && bz_pages_changed(&table->pages) == 0)
    return BLITZ_OK;
  image->placed_some = bz_pages_are_ahead(&table->pages);
  image->end = atomic_load(&table->end);
  image->len = table->dirty ? image->end : table->allocated; /* or the file is being closed */
  rc = bz_image_begin(table, position, &image->page_count, err);
  image->is_new = rc == BLITZ_OK;
  return rc;
}

static enum blitz_rc write_all(struct bz_journal *journal, struct image *images, size_t count,
                               struct bz_redo *redo, uint64_t position, struct blitz_error *err)
{
  struct pages_run run = {.data = malloc(BUFFER_PAGES * BZ_PAGE_LEN)};
  uint64_t most = count + 1;
  enum blitz_rc rc;

  if (run.data == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory writing a checkpoint");
  for (size_t i = 0; i < count; i++)
    most += images[i].page_count;
  rc = redo != NULL ? bz_redo_sync(redo, position, err) : BLITZ_OK; /* C2 */
  if (rc == BLITZ_OK)
    rc = bz_journal_begin(journal, position, most, err);
  if (rc == BLITZ_OK)
    rc = add_names(journal, images, count, err);
  for (size_t i = 0; i < count && rc == BLITZ_OK; i++)
    rc = write_image(journal, &images[i], &run, err);
  free(run.data);
  if (rc == BLITZ_OK)
    rc = sync_images(images, count, err);
  return rc == BLITZ_OK ? bz_journal_finish(journal, err) : rc;
}

static void end(struct image *image, bool done, bool locked)
{
  struct blitz_table *table = image->table;

  if (!image->is_new)
    return;
  if (done)
  {
    bz_pages_placed(&table->pages);
    table->placed_end = image->end;
    table->placed_image++;
    return;
  }
  if (!locked)
    pthread_mutex_lock(&table->change_lock);
  bz_pages_failed(&table->pages);
  if (!locked)
    pthread_mutex_unlock(&table->change_lock);
}

/* LOCKED: change_lock of the tables is held. */
static enum blitz_rc checkpoint(struct image *images, size_t count, enum bz_journal_use use,
                                bool locked, bool complete, struct blitz_error *err)
{
  struct bz_redo *redo = bz_current_log();
  uint64_t position;
  bool any = false, placed;
  enum blitz_rc rc = bz_checkpoints_settle(err);

  pthread_mutex_lock(&journals[use].lock);
  if (journals[use].stuck)
    rc = bz_fail(err, BLITZ_IO, 0, "a checkpoint could not be written, and waits for a restart");
  for (size_t i = 0; i < count && rc == BLITZ_OK; i++)
  {
    if (!locked)
      pthread_mutex_lock(&images[i].table->change_lock);
    rc = begin(&images[i], complete, err);
    any |= images[i].is_new;
    if (!locked)
      pthread_mutex_unlock(&images[i].table->change_lock);
  }
  position = redo != NULL ? bz_redo_end(redo) : 0;
  if (rc == BLITZ_OK && any)
    rc = write_all(journals[use].journal, images, count, redo, position, err);
  if (rc == BLITZ_OK && any)
    rc = place(use, images, count, complete, err);
  placed = rc == BLITZ_OK;
  /* One that cannot be emptied is not used again before the next start (C5). */
  if (placed && any)
    rc = bz_journal_clear(journals[use].journal, err);
  journals[use].stuck |= placed && rc != BLITZ_OK;
  for (size_t i = 0; i < count; i++)
    end(&images[i], placed, locked);
  pthread_mutex_unlock(&journals[use].lock);
  return rc;
}

enum blitz_rc bz_checkpoint(struct blitz_table *const *tables, size_t count,
                            enum bz_journal_use use, bool complete, struct blitz_error *err)
{
  struct image *images;
  enum blitz_rc rc;

  if (count == 0)
    return BLITZ_OK;
  images = calloc(count, sizeof *images);
  if (images == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory writing a checkpoint");
  for (size_t i = 0; i < count; i++)
    images[i].table = tables[i];
  rc = checkpoint(images, count, use, false, complete, err);
  free(images);
  return rc;
}

enum blitz_rc bz_checkpoint_locked(struct blitz_table *table, struct blitz_error *err)
{
  struct image image = {.table = table};

  assert(bz_holds(&table->change_lock));
  return checkpoint(&image, 1, BZ_JOURNAL_ONE, true, false, err);
}

static bool write_pages(void *arg, uint64_t page, uint64_t count, const uint8_t *data)
{
  const struct blitz_table *table = arg;
  struct pages_run run = {
      .data = (uint8_t *)(uintptr_t)data, .first = page, .count = count, .fd = table->fd};

  if (!write_run(&run))
    return false;
  /* Only a wish: whoever writes the image syncs the file. */
  (void)sync_file_range(table->fd, (off_t)(page * BZ_PAGE_LEN), (off_t)(count * BZ_PAGE_LEN),
                        SYNC_FILE_RANGE_WRITE);
  bz_count(&bz_counters.pages_written, count);
  return true;
}

void bz_checkpoint_ahead(struct blitz_table *table)
{
  bz_assert_writer(table);
  if (!bz_table_try_claim(table))
    return;
  pthread_mutex_lock(&table->change_lock);
  if (table->log_number != 0 && !bz_pages_are_ahead(&table->pages))
    bz_pages_write_ahead(&table->pages, pages_for(table->placed_end), BUFFER_PAGES, write_pages,
                         table);
  pthread_mutex_unlock(&table->change_lock);
  bz_table_unclaim(table);
}

enum blitz_rc bz_log_closed(struct blitz_table *table, struct blitz_error *err)
{
  uint8_t number[8];
  struct blitz_slice part = {number, sizeof number};
  uint64_t end;
  enum blitz_rc rc;

  bz_store_le64(number, table->log_number);
  rc = bz_redo_append(bz_current_log(), BZ_RECORD_CLOSE, &part, 1, &end, err);
  if (rc == BLITZ_OK)
    rc = bz_redo_write(bz_current_log(), end, err);
  return rc;
}

/* ---- after a crash --------------------------------------------------------------- */

/* A file that a journal has pages of. */
struct target
{
  uint64_t number;
  uint64_t secret;
  uint64_t from; /* number of the image that is replaced, by the next one */
  int fd;        /* -1: there is no such file any more */
  struct target *next;
  char path[PATH_MAX_LEN + 1];
};

static void free_targets(struct target *targets)
{
  while (targets != NULL)
  {
    struct target *target = targets;
    targets = target->next;
    if (target->fd >= 0)
      close(target->fd);
    free(target);
  }
}

static bool is_meant(const struct target *target, const uint8_t *header)
{
  return memcmp(header + BZ_MAGIC_OFF, BZ_MAGIC, BZ_MAGIC_LEN) == 0 &&
         bz_load_le64(header + BZ_SECRET_OFF) == target->secret &&
         bz_load_le64(header + BZ_IMAGE_OFF) - target->from <= 1;
}

/* Opens the file of that name, if there is one and it is what the journal is for. What cannot be
 * told is an error: the journal is the only way to make that file whole.
 */
static enum blitz_rc open_target(struct target *target, struct blitz_error *err)
{
  uint8_t header[BZ_HEADER_LEN];
  char *file = bz_file_name(target->path);
  enum blitz_rc rc = BLITZ_OK;
  ssize_t n = 0;

  if (file == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory finishing a checkpoint");
  target->fd = open(file, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (target->fd >= 0)
    n = pread(target->fd, header, sizeof header, 0);
  if (n < 0 || (target->fd < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP))
    rc = bz_fail(err, bz_rc_of_errno(errno), errno,
                 "cannot open %s, of which a checkpoint is to be finished", file);
  else if (target->fd >= 0 && (n != sizeof header || !is_meant(target, header)))
  {
    close(target->fd);
    target->fd = -1;
  }
  free(file);
  return rc;
}

static enum blitz_rc add_targets(struct target **targets, const uint8_t *page,
                                 struct blitz_error *err)
{
  size_t off = 0;
  enum blitz_rc rc = BLITZ_OK;

  while (rc == BLITZ_OK && off + NAME_HEAD_LEN < BZ_PAGE_LEN && bz_load_le64(page + off) != 0)
  {
    struct target *target;
    uint32_t len = bz_load_le32(page + off + 24);

    if (len > PATH_MAX_LEN || len > BZ_PAGE_LEN - off - NAME_HEAD_LEN)
      return bz_fail(err, BLITZ_CORRUPT, 0,
                     "a checkpoint that is to be finished does not say of which files it is. "
                     "Restore all tables and all files of the log from one backup");
    target = calloc(1, sizeof *target);
    if (target == NULL)
      return bz_fail(err, BLITZ_NOMEM, 0, "out of memory finishing a checkpoint");
    target->number = bz_load_le64(page + off);
    target->secret = bz_load_le64(page + off + 8);
    target->from = bz_load_le64(page + off + 16);
    memcpy(target->path, page + off + NAME_HEAD_LEN, len);
    target->next = *targets;
    *targets = target;
    rc = open_target(target, err);
    off += NAME_HEAD_LEN + len;
  }
  return rc;
}

static enum blitz_rc place_again(void *arg, uint64_t file, uint64_t page, uint64_t count,
                                 const uint8_t *data, struct blitz_error *err)
{
  struct target **targets = arg, *target = *targets;
  struct pages_run run = {.data = (uint8_t *)(uintptr_t)data, .first = page, .count = count};
  enum blitz_rc rc = BLITZ_OK;

  if (file == NAMES_FILE)
  {
    for (uint64_t i = 0; i < count && rc == BLITZ_OK; i++)
      rc = add_targets(targets, data + i * BZ_PAGE_LEN, err);
    return rc;
  }
  while (target != NULL && target->number != file)
    target = target->next;
  if (target == NULL || target->fd < 0)
    return BLITZ_OK;
  run.fd = target->fd;
  return write_run(&run) ? BLITZ_OK : cannot_write(target->path, err);
}

static enum blitz_rc settle_journal(enum bz_journal_use use, struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  if (journals[use].targets == NULL)
    return BLITZ_OK;
  for (struct target *target = journals[use].targets; target != NULL && rc == BLITZ_OK;
       target = target->next)
    if (target->fd >= 0 && fdatasync(target->fd) != 0)
      rc = cannot_write(target->path, err);
  if (rc == BLITZ_OK)
    rc = bz_journal_clear(journals[use].journal, err);
  if (rc != BLITZ_OK)
    return rc;
  free_targets(journals[use].targets);
  journals[use].targets = NULL;
  return BLITZ_OK;
}

enum blitz_rc bz_checkpoints_settle(struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  if (!atomic_load(&unsettled))
    return BLITZ_OK;
  pthread_mutex_lock(&settle_lock);
  for (unsigned use = 0; use < BZ_JOURNALS && rc == BLITZ_OK; use++)
    rc = settle_journal(use, err);
  atomic_store(&unsettled, rc != BLITZ_OK);
  pthread_mutex_unlock(&settle_lock);
  return rc;
}

enum blitz_rc bz_checkpoints_start(const char *dir, struct blitz_error *err)
{
  uint64_t position;
  enum blitz_rc rc = BLITZ_OK;

  atomic_store(&stopping, false);
  atomic_store(&pinned, UINT64_MAX);
  for (unsigned i = 0; i < BZ_JOURNALS && rc == BLITZ_OK; i++)
  {
    journals[i].stuck = false;
    rc = bz_journal_open(dir, suffixes[i], &journals[i].journal, &position, err);
    if (rc != BLITZ_OK || position == UINT64_MAX)
      continue;
    atomic_store(&unsettled, true);
    rc = bz_journal_place(journals[i].journal, place_again, &journals[i].targets, err);
    if (rc == BLITZ_OK)
      continue;
    /* It stays whole. */
    free_targets(journals[i].targets);
    journals[i].targets = NULL;
  }
  return rc;
}

void bz_checkpoints_give_up(void)
{
  atomic_store(&stopping, true);
}

void bz_checkpoints_stop(void)
{
  /* If it fails the next start places them again. */
  (void)!bz_checkpoints_settle(NULL);
  atomic_store(&unsettled, false);
  for (unsigned i = 0; i < BZ_JOURNALS; i++)
  {
    free_targets(journals[i].targets);
    journals[i].targets = NULL;
    bz_journal_close(journals[i].journal);
    journals[i].journal = NULL;
  }
}
