/* SPDX-License-Identifier: GPL-2.0-only
 *
 * redo_read.c: what an earlier run has logged. Each file but the last two was synced before they
 * were used (D4), so records end, or are damaged, in these alone.
 */
#include "log/redo_file.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct reading
{
  const char *dir;
  const struct bz_redo_control *control;
  struct bz_redo_found *found;
  struct bz_redo_head beyond; /* of a file that the control file does not know of; number 0: none */
  uint8_t *data;              /* of a file, behind its head */
  size_t data_len;
};

static enum blitz_rc no_memory(const struct reading *reading, struct blitz_error *err)
{
  return bz_fail(err, BLITZ_NOMEM, 0, "out of memory reading the log in %s", reading->dir);
}

/* ---- which files there are ---------------------------------------------------------------- */

bool bz_redo_reserve_heads(struct bz_redo_found *found)
{
  size_t room = found->room > 0 ? 2 * found->room : 16;
  struct bz_redo_head *heads;

  if (found->count < found->room)
    return true;
  heads = realloc(found->heads, room * sizeof *heads);
  if (heads == NULL)
    return false;
  found->heads = heads;
  found->room = room;
  return true;
}

/* Adds the file if it has a head of this log. */
static enum blitz_rc add_file(struct reading *reading, uint64_t number, struct blitz_error *err)
{
  struct bz_redo_file file;
  struct bz_redo_head head;
  enum blitz_rc rc;

  if (number > reading->found->number_max)
    reading->found->number_max = number;
  rc = bz_redo_file_open(reading->dir, number, &file, err);
  if (rc != BLITZ_OK)
    return rc;
  if (bz_redo_head_read(&file, reading->control, &head))
  {
    if (number > reading->control->last_number)
      reading->beyond = head;
    else if (bz_redo_reserve_heads(reading->found))
      reading->found->heads[reading->found->count++] = head;
    else
      rc = no_memory(reading, err);
  }
  bz_redo_file_close(&file);
  return rc;
}

static int compare_heads(const void *a, const void *b)
{
  uint64_t x = ((const struct bz_redo_head *)a)->number;
  uint64_t y = ((const struct bz_redo_head *)b)->number;

  return x < y ? -1 : x > y;
}

static enum blitz_rc list_files(struct reading *reading, struct blitz_error *err)
{
  DIR *dir = opendir(reading->dir);
  struct dirent *entry;
  enum blitz_rc rc = BLITZ_OK;

  if (dir == NULL)
    return bz_redo_fail("read the directory", reading->dir, err);
  while (rc == BLITZ_OK && (entry = readdir(dir)) != NULL)
  {
    uint64_t number = bz_redo_number_of(entry->d_name);
    if (number != 0)
      rc = add_file(reading, number, err);
  }
  closedir(dir);
  if (reading->found->count > 1)
    qsort(reading->found->heads, reading->found->count, sizeof *reading->found->heads,
          compare_heads);
  return rc;
}

/* ---- what is in them ------------------------------------------------------------------------- */

static enum blitz_rc damaged(const struct reading *reading, uint64_t number, uint64_t at,
                             struct blitz_error *err)
{
  char *name = bz_redo_number_name(reading->dir, number);

  (void)bz_fail(err, BLITZ_CORRUPT, 0,
                "the log is damaged or incomplete at position %" PRIu64
                " in %s. Restore all files of the log from the backup that the tables are from",
                at, name != NULL ? name : reading->dir);
  free(name);
  return BLITZ_CORRUPT;
}

/* Reads the bytes of a file. It was as long as it is to be before it was used. What is read is on
 * the device, also if it was only the process that died: who reads it may write it elsewhere.
 */
static enum blitz_rc load(struct reading *reading, const struct bz_redo_head *head,
                          struct blitz_error *err)
{
  struct bz_redo_file file;
  enum blitz_rc rc = bz_redo_file_open(reading->dir, head->number, &file, err);

  if (rc != BLITZ_OK)
    return rc;
  errno = 0;
  if (fdatasync(file.fd) != 0)
    rc = bz_redo_fail("sync", file.name, err);
  else if (bz_redo_read_at(file.fd, reading->data, reading->data_len, BZ_REDO_PAGE) !=
           reading->data_len)
    rc = errno != 0 ? bz_redo_fail("read", file.name, err)
                    : damaged(reading, head->number, head->first, err);
  bz_redo_file_close(&file);
  return rc;
}

/* Gives the records of the loaded file from *ATP on to READ; *ATP is where they end. */
static enum blitz_rc read_records(const struct reading *reading, const struct bz_redo_head *head,
                                  bz_redo_read_fn *read, void *arg, uint64_t *atp,
                                  struct blitz_error *err)
{
  uint32_t salt = bz_redo_salt(reading->control);

  while (*atp - head->first < reading->data_len)
  {
    size_t off = (size_t)(*atp - head->first);
    struct bz_redo_record record;
    uint64_t synced;
    enum blitz_rc rc;

    if (!bz_redo_record_parse(reading->data + off, reading->data_len - off, salt, *atp, &record,
                              &synced))
      break;
    record.log_id = bz_redo_control_id(reading->control);
    rc = read(arg, &record, err);
    if (rc != BLITZ_OK)
      return rc;
    *atp = record.end;
  }
  return BLITZ_OK;
}

/* Was the log once synced beyond END, says a record of the loaded file behind it (D2)? */
static bool was_longer(const struct reading *reading, const struct bz_redo_head *head, uint64_t end)
{
  uint32_t salt = bz_redo_salt(reading->control);

  for (uint64_t at = end < head->first ? head->first : end; at - head->first < reading->data_len;
       at += 8)
  {
    size_t off = (size_t)(at - head->first);
    struct bz_redo_record record;
    uint64_t synced;

    if (bz_redo_record_parse(reading->data + off, reading->data_len - off, salt, at, &record,
                             &synced) &&
        synced > end)
      return true;
  }
  return false;
}

/* Is there a record in the file beyond the last one? It was not used before the control file
 * named it (D5), so then that is the one of an earlier moment.
 */
static enum blitz_rc check_beyond(struct reading *reading, struct blitz_error *err)
{
  const struct bz_redo_head *head = &reading->beyond;
  struct bz_redo_record record;
  uint64_t synced;
  enum blitz_rc rc = load(reading, head, err);

  if (rc == BLITZ_OK &&
      bz_redo_record_parse(reading->data, reading->data_len, bz_redo_salt(reading->control),
                           head->first, &record, &synced))
    rc = bz_fail(err, BLITZ_CORRUPT, 0,
                 "blitz_log.control in %s is damaged, or of an earlier moment than the files "
                 "beside it. Restore all files of the log from one backup",
                 reading->dir);
  return rc;
}

/* Leaves the files with records that are wanted, of which each names the one before it. */
static enum blitz_rc find_chain(const struct reading *reading, struct blitz_error *err)
{
  struct bz_redo_found *found = reading->found;
  uint64_t number = reading->control->last_number, first = UINT64_MAX;
  size_t low = found->count;

  for (size_t i = found->count; i-- > 0 && first > found->end;)
    if (found->heads[i].number == number)
    {
      number = found->heads[i].before;
      first = found->heads[i].first;
      found->heads[--low] = found->heads[i];
    }
  if (first > found->end)
    return damaged(reading, number != 0 ? number : reading->control->last_number, found->end, err);
  found->count -= low;
  memmove(found->heads, found->heads + low, found->count * sizeof *found->heads);
  return BLITZ_OK;
}

/* Records end at END in file I, and not as the next one says. May the log end there (D4)? */
static enum blitz_rc check_end(struct reading *reading, size_t i, uint64_t end,
                               struct blitz_error *err)
{
  const struct bz_redo_head *head = &reading->found->heads[i];
  size_t left = reading->found->count - 1 - i;
  enum blitz_rc rc = BLITZ_OK;

  if (left > 1 || was_longer(reading, head, end))
    return damaged(reading, head->number, end, err);
  if (left == 1)
    rc = load(reading, head + 1, err);
  if (rc == BLITZ_OK && left == 1 && was_longer(reading, head + 1, end))
    rc = damaged(reading, head->number, end, err);
  return rc;
}

static enum blitz_rc read_all(struct reading *reading, bz_redo_read_fn *read, void *arg,
                              struct blitz_error *err)
{
  struct bz_redo_found *found = reading->found;
  enum blitz_rc rc = find_chain(reading, err);
  bool goes_on = true;

  for (size_t i = 0; rc == BLITZ_OK && goes_on; i++)
  {
    const struct bz_redo_head *head = &found->heads[i];

    rc = load(reading, head, err);
    if (rc == BLITZ_OK)
      rc = read_records(reading, head, read, arg, &found->end, err);
    goes_on = i + 1 < found->count && head[1].first == found->end;
    if (rc == BLITZ_OK && !goes_on)
      rc = check_end(reading, i, found->end, err);
    found->end_number = head->number;
  }
  return rc;
}

enum blitz_rc bz_redo_replay(const char *dir, const struct bz_redo_control *control,
                             bz_redo_read_fn *read, void *arg, struct bz_redo_found *found,
                             struct blitz_error *err)
{
  struct reading reading = {.dir = dir, .control = control, .found = found};
  enum blitz_rc rc;

  *found = (struct bz_redo_found){.number_max = control->last_number, .end = control->start};
  rc = list_files(&reading, err);
  if (rc != BLITZ_OK || (control->last_number == 0 && reading.beyond.number == 0))
    return rc;
  reading.data_len = (size_t)(control->file_len - BZ_REDO_PAGE);
  reading.data = malloc(reading.data_len);
  if (reading.data == NULL)
    return no_memory(&reading, err);
  if (reading.beyond.number != 0)
    rc = check_beyond(&reading, err);
  if (rc == BLITZ_OK && control->last_number != 0)
    rc = read_all(&reading, read, arg, err);
  free(reading.data);
  return rc;
}

static bool has_head(const struct bz_redo_found *found, uint64_t number)
{
  for (size_t i = 0; i < found->count; i++)
    if (found->heads[i].number == number)
      return true;
  return false;
}

enum blitz_rc bz_redo_remove_others(const char *dir_name, const struct bz_redo_found *found,
                                    struct blitz_error *err)
{
  DIR *dir = opendir(dir_name);
  struct dirent *entry;
  bool done = dir != NULL;

  while (done && (entry = readdir(dir)) != NULL)
  {
    uint64_t number = bz_redo_number_of(entry->d_name);
    if (number != 0 && !has_head(found, number))
      done = unlinkat(dirfd(dir), entry->d_name, 0) == 0;
  }
  done = done && fsync(dirfd(dir)) == 0;
  if (!done)
    (void)bz_redo_fail("clean up the log in", dir_name, err);
  if (dir != NULL)
    closedir(dir);
  return done ? BLITZ_OK : BLITZ_IO;
}
