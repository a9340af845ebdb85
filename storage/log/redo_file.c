/* SPDX-License-Identifier: GPL-2.0-only
 *
 * redo_file.c: the files of the log as bytes: names, control file, heads, records. See
 * redo_file.h for the format.
 */
#include "log/redo_file.h"

#include "base/bytes.h"
#include "base/crc32c.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

#define PREFIX "blitz_log."
#define NUMBER_DIGITS 8
#define FORMAT_VERSION 1
#define CONTROL_MAGIC UINT64_C(0x6c72746e436f6f4c) /* "LooCntrl" */
#define HEAD_MAGIC UINT64_C(0x656c69466f6f4c42)    /* "BLooFile" */

/* Of both kinds of heads: magic, version, checksum of what follows, id. */
#define CRC_OFF 12
#define ID_OFF 16
#define FIELDS_OFF 32 /* of 8 bytes each */
#define HEAD_LEN 64
#define CONTROL_SLOTS 2

/* Bytes of a new file that are written at once. The kernel keeps the file in pieces of that length,
 * and a small write to it later costs the more the longer they are.
 */
#define FILL_LEN ((size_t)4096)

/* ---- names --------------------------------------------------------------------------- */

char *bz_redo_name(const char *dir, const char *suffix)
{
  char *name;

  return asprintf(&name, "%s/" PREFIX "%s", dir, suffix) < 0 ? NULL : name;
}

char *bz_redo_number_name(const char *dir, uint64_t number)
{
  char suffix[24];

  snprintf(suffix, sizeof suffix, "%0*llu", NUMBER_DIGITS, (unsigned long long)number);
  return bz_redo_name(dir, suffix);
}

uint64_t bz_redo_number_of(const char *name)
{
  const size_t prefix_len = sizeof PREFIX - 1;
  uint64_t number = 0;

  if (strncmp(name, PREFIX, prefix_len) != 0 || strlen(name) < prefix_len + NUMBER_DIGITS ||
      strlen(name) > prefix_len + 18)
    return 0;
  for (const char *c = name + prefix_len; *c != 0; c++)
  {
    if (*c < '0' || *c > '9')
      return 0;
    number = number * 10 + (uint64_t)(*c - '0');
  }
  return number;
}

enum blitz_rc bz_redo_fail(const char *what, const char *name, struct blitz_error *err)
{
  int sys_errno = errno;
  enum blitz_rc rc = bz_rc_of_errno(sys_errno);

  return bz_fail(err, rc, sys_errno, "cannot %s %s%s", what, name,
                 rc == BLITZ_FULL ? ". Free some space on its device" : "");
}

/* ---- bytes --------------------------------------------------------------------------- */

bool bz_redo_write_at(int fd, const void *data, size_t len, uint64_t off, bool sync)
{
  const uint8_t *from = data;

  while (len > 0)
  {
    struct iovec part = {(void *)(uintptr_t)from, len};
    ssize_t n = pwritev2(fd, &part, 1, (off_t)off, sync ? RWF_DSYNC : 0);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return false;
    from += n;
    off += (uint64_t)n;
    len -= (size_t)n;
  }
  return true;
}

size_t bz_redo_read_at(int fd, void *to, size_t len, uint64_t off)
{
  size_t done = 0;

  while (done < len)
  {
    ssize_t n = pread(fd, (uint8_t *)to + done, len - done, (off_t)(off + done));
    if (n < 0 && errno == EINTR)
    {
      errno = 0;
      continue;
    }
    if (n <= 0)
      break;
    done += (size_t)n;
  }
  return done;
}

/* ---- heads of both kinds --------------------------------------------------------------- */

static void make_head(uint8_t *bytes, uint64_t magic, const uint8_t *id, const uint64_t *fields)
{
  memset(bytes, 0, HEAD_LEN);
  bz_store_le64(bytes, magic);
  bz_store_le32(bytes + 8, FORMAT_VERSION);
  memcpy(bytes + ID_OFF, id, BZ_REDO_ID_LEN);
  for (unsigned i = 0; i < (HEAD_LEN - FIELDS_OFF) / 8; i++)
    bz_store_le64(bytes + FIELDS_OFF + 8 * i, fields[i]);
  bz_store_le32(bytes + CRC_OFF, bz_crc32c(0, bytes + ID_OFF, HEAD_LEN - ID_OFF));
}

static bool parse_head(const uint8_t *bytes, uint64_t magic, uint64_t *fields)
{
  if (bz_load_le64(bytes) != magic || bz_load_le32(bytes + 8) != FORMAT_VERSION ||
      bz_load_le32(bytes + CRC_OFF) != bz_crc32c(0, bytes + ID_OFF, HEAD_LEN - ID_OFF))
    return false;
  for (unsigned i = 0; i < (HEAD_LEN - FIELDS_OFF) / 8; i++)
    fields[i] = bz_load_le64(bytes + FIELDS_OFF + 8 * i);
  return true;
}

/* ---- control ----------------------------------------------------------------------------- */

static bool parse_control(const uint8_t *bytes, struct bz_redo_control *control)
{
  uint64_t fields[4];

  if (!parse_head(bytes, CONTROL_MAGIC, fields))
    return false;
  memcpy(control->id, bytes + ID_OFF, sizeof control->id);
  control->generation = fields[0];
  control->start = fields[1];
  control->last_number = fields[2];
  control->file_len = fields[3];
  return control->file_len >= BZ_REDO_FILE_LEN_MIN;
}

enum blitz_rc bz_redo_control_read(const char *dir, struct bz_redo_control *control, int *fdp,
                                   struct blitz_error *err)
{
  char *name = bz_redo_name(dir, "control");
  enum blitz_rc rc = BLITZ_OK;
  bool found = false;

  *fdp = -1;
  if (name == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory opening the log in %s", dir);
  *fdp = open(name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (*fdp < 0)
    rc = errno == ENOENT ? BLITZ_NOT_FOUND : bz_redo_fail("open", name, err);
  for (uint64_t slot = 0; rc == BLITZ_OK && slot < CONTROL_SLOTS; slot++)
  {
    struct bz_redo_control one;
    uint8_t bytes[HEAD_LEN] = {0};
    (void)bz_redo_read_at(*fdp, bytes, sizeof bytes, slot * BZ_REDO_PAGE);
    if (!parse_control(bytes, &one) || (found && one.generation < control->generation))
      continue;
    *control = one;
    found = true;
  }
  if (rc == BLITZ_OK && !found)
    rc = bz_fail(err, BLITZ_CORRUPT, 0, "%s is damaged. Restore it from a backup", name);
  free(name);
  if (rc != BLITZ_OK && *fdp >= 0)
  {
    close(*fdp);
    *fdp = -1;
  }
  return rc;
}

bool bz_redo_control_store(int fd, struct bz_redo_control *control)
{
  uint8_t bytes[HEAD_LEN];

  control->generation++;
  make_head(
      bytes, CONTROL_MAGIC, control->id,
      (uint64_t[]){control->generation, control->start, control->last_number, control->file_len});
  return bz_redo_write_at(fd, bytes, sizeof bytes,
                          control->generation % CONTROL_SLOTS * BZ_REDO_PAGE, true);
}

/* Makes the control file under another name. */
static bool write_control(const char *new_name, struct bz_redo_control *control, int *fdp)
{
  static const uint8_t zeros[CONTROL_SLOTS * BZ_REDO_PAGE];

  (void)unlink(new_name);
  *fdp = open(new_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0660);
  return *fdp >= 0 && bz_redo_write_at(*fdp, zeros, sizeof zeros, 0, false) &&
         bz_redo_control_store(*fdp, control) && fsync(*fdp) == 0;
}

enum blitz_rc bz_redo_control_make(const char *dir, uint64_t file_len,
                                   struct bz_redo_control *control, int *fdp,
                                   struct blitz_error *err)
{
  char *name = bz_redo_name(dir, "control"), *new_name = bz_redo_name(dir, "control.new");
  enum blitz_rc rc = BLITZ_OK;

  *fdp = -1;
  *control = (struct bz_redo_control){.file_len = file_len};
  if (name == NULL || new_name == NULL)
    rc = bz_fail(err, BLITZ_NOMEM, 0, "out of memory making the log in %s", dir);
  else if (getrandom(control->id, sizeof control->id, 0) != sizeof control->id ||
           !write_control(new_name, control, fdp) || rename(new_name, name) != 0 ||
           !bz_sync_dir(dir))
    rc = bz_redo_fail("make", name, err);
  if (rc != BLITZ_OK && *fdp >= 0)
  {
    close(*fdp);
    *fdp = -1;
  }
  free(new_name);
  free(name);
  return rc;
}

/* ---- files of records ------------------------------------------------------------------- */

static enum blitz_rc open_number(const char *dir, uint64_t number, int flags,
                                 struct bz_redo_file *file, struct blitz_error *err)
{
  enum blitz_rc rc;

  *file = (struct bz_redo_file){.head = {.number = number}, .fd = -1};
  file->name = bz_redo_number_name(dir, number);
  if (file->name == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory opening the log in %s", dir);
  file->fd = open(file->name, flags | O_NOFOLLOW | O_CLOEXEC, 0660);
  if (file->fd >= 0)
    return BLITZ_OK;
  rc = errno != ENOENT
           ? bz_redo_fail(flags & O_CREAT ? "make" : "open", file->name, err)
           : bz_fail(err, BLITZ_CORRUPT, 0,
                     "%s, which the log in %s wants, is missing. Restore it from a backup",
                     file->name, dir);
  bz_redo_file_close(file);
  return rc;
}

enum blitz_rc bz_redo_file_open(const char *dir, uint64_t number, struct bz_redo_file *file,
                                struct blitz_error *err)
{
  return open_number(dir, number, O_RDWR, file, err);
}

/* What is written is not metadata later, so a sync of it costs a write. */
static bool fill_file(int fd, uint64_t len)
{
  uint8_t *zeros = calloc(1, FILL_LEN);
  bool done = zeros != NULL;

  if (!done)
    errno = ENOMEM;
  for (uint64_t off = 0; done && off < len; off += FILL_LEN)
    done = bz_redo_write_at(fd, zeros, len - off < FILL_LEN ? (size_t)(len - off) : FILL_LEN, off,
                            false);
  free(zeros);
  return done && fsync(fd) == 0;
}

enum blitz_rc bz_redo_file_make(const char *dir, const struct bz_redo_control *control,
                                uint64_t number, struct bz_redo_file *file, struct blitz_error *err)
{
  enum blitz_rc rc = open_number(dir, number, O_RDWR | O_CREAT | O_EXCL, file, err);

  if (rc != BLITZ_OK || (fill_file(file->fd, control->file_len) && bz_sync_dir(dir)))
    return rc;
  rc = bz_redo_fail("make", file->name, err);
  (void)unlink(file->name);
  bz_redo_file_close(file);
  return rc;
}

bool bz_redo_file_recycle(const char *dir, struct bz_redo_file *file, uint64_t number)
{
  char *name = bz_redo_number_name(dir, number);

  if (name == NULL || rename(file->name, name) != 0)
  {
    free(name);
    return false;
  }
  free(file->name);
  file->name = name;
  /* Its old head names another number, so it is as good as none. */
  file->head = (struct bz_redo_head){.number = number};
  return bz_sync_dir(dir);
}

void bz_redo_file_close(struct bz_redo_file *file)
{
  if (file->fd >= 0)
    close(file->fd);
  free(file->name);
  *file = (struct bz_redo_file){.fd = -1};
}

bool bz_redo_head_read(const struct bz_redo_file *file, const struct bz_redo_control *control,
                       struct bz_redo_head *head)
{
  uint8_t bytes[HEAD_LEN];
  uint64_t fields[4];

  if (bz_redo_read_at(file->fd, bytes, sizeof bytes, 0) != sizeof bytes ||
      !parse_head(bytes, HEAD_MAGIC, fields) ||
      memcmp(bytes + ID_OFF, control->id, BZ_REDO_ID_LEN) != 0 || fields[0] != file->head.number)
    return false;
  *head = (struct bz_redo_head){.number = fields[0], .first = fields[1], .before = fields[2]};
  return true;
}

bool bz_redo_head_store(const struct bz_redo_file *file, const struct bz_redo_control *control)
{
  uint8_t bytes[HEAD_LEN];

  make_head(bytes, HEAD_MAGIC, control->id,
            (uint64_t[]){file->head.number, file->head.first, file->head.before, 0});
  return bz_redo_write_at(file->fd, bytes, sizeof bytes, 0, true);
}

/* ---- records ----------------------------------------------------------------------------- */

uint32_t bz_redo_salt(const struct bz_redo_control *control)
{
  return bz_crc32c(0, control->id, sizeof control->id);
}

uint64_t bz_redo_record_make(uint8_t *to, uint32_t salt, uint64_t at, uint64_t synced, uint8_t type,
                             const struct blitz_slice *parts, size_t count)
{
  uint8_t *payload = to + BZ_REDO_HEAD_LEN;
  size_t payload_len = 0;
  uint64_t len;

  for (size_t i = 0; i < count; i++)
  {
    if (parts[i].len > 0)
      memcpy(payload + payload_len, parts[i].data, parts[i].len);
    payload_len += parts[i].len;
  }
  len = bz_redo_record_len(payload_len);
  memset(payload + payload_len, 0, (size_t)(len - BZ_REDO_HEAD_LEN - payload_len));
  bz_store_le32(to + 4, (uint32_t)payload_len);
  bz_store_le64(to + 8, at);
  bz_store_le32(to + 16, at - synced < UINT32_MAX ? (uint32_t)(at - synced) : UINT32_MAX);
  bz_store_le32(to + 20, type);
  bz_store_le32(to, bz_crc32c(salt, to + 4, (size_t)(len - 4)));
  return len;
}

bool bz_redo_record_parse(const uint8_t *data, size_t len, uint32_t salt, uint64_t at,
                          struct bz_redo_record *record, uint64_t *syncedp)
{
  uint64_t payload_len, record_len, unsynced;

  if (len < BZ_REDO_HEAD_LEN || bz_load_le64(data + 8) != at)
    return false;
  payload_len = bz_load_le32(data + 4);
  record_len = bz_redo_record_len((size_t)payload_len);
  if (payload_len > BZ_REDO_PAYLOAD_MAX || record_len > len ||
      bz_load_le32(data) != bz_crc32c(salt, data + 4, (size_t)(record_len - 4)))
    return false;
  unsynced = bz_load_le32(data + 16);
  *syncedp = unsynced == UINT32_MAX || unsynced > at ? 0 : at - unsynced;
  *record = (struct bz_redo_record){
      .at = at,
      .end = at + record_len,
      .type = data[20],
      .payload = {data + BZ_REDO_HEAD_LEN, (size_t)payload_len},
  };
  return true;
}
