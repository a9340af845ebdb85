/* SPDX-License-Identifier: GPL-2.0-only
 *
 * redo_fuzz.c: files of the log with any records, of which the checksums hold or not, and any
 * bytes between them. Opening gives back records that were put there, in order, or says that
 * the log is damaged; and what is opened can be used.
 */
#include "log/redo_file.h"
#include "support/support.h"

#include <sys/stat.h>
#include <unistd.h>

enum
{
  FILE_LEN = 64 << 10
};

static char dir[4200], control_name[4300], file_name[4300];
static char *control_bytes, *file_bytes;
static size_t control_len, file_bytes_len;
static struct bz_redo_control control;

static enum blitz_rc read_one(void *arg, const struct bz_redo_record *record,
                              struct blitz_error *err)
{
  uint64_t *at = arg;
  (void)err;
  require(record->at == *at && record->end > record->at && record->payload.len < FILE_LEN);
  for (size_t i = 0; i < record->payload.len; i++)
    require(((const uint8_t *)record->payload.data)[i] == record->type);
  *at = record->end;
  return BLITZ_OK;
}

static enum blitz_rc open_log(struct bz_redo **redop)
{
  struct bz_redo_options options = {.dir = dir, .file_len = FILE_LEN, .limit = 1 << 20};
  uint64_t at = 0;
  return bz_redo_open(&options, read_one, &at, redop, ERR);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  struct bz_redo *redo;
  int fd;
  (void)argc;
  (void)argv;
  require(make_dir(NULL) == 0);
  snprintf(dir, sizeof dir, "%s", test_dir());
  snprintf(control_name, sizeof control_name, "%s/blitz_log.control", dir);
  snprintf(file_name, sizeof file_name, "%s/blitz_log.00000001", dir);
  require_ok(open_log(&redo));
  bz_redo_close(redo);
  control_bytes = read_whole(control_name, &control_len);
  file_bytes = read_whole(file_name, &file_bytes_len);
  require_ok(bz_redo_control_read(dir, &control, &fd, ERR));
  close(fd);
  return 0;
}

/* Each piece begins with a byte: even: so many bytes as they are; odd: a record of that type,
 * at its place less some, with so many bytes of payload.
 */
static void fill(uint8_t *to, size_t room, const uint8_t *data, size_t len)
{
  uint64_t at = 0;
  uint32_t salt = bz_redo_salt(&control);
  static uint8_t payload[1 << 16];
  while (len >= 4)
  {
    uint8_t type = data[0];
    size_t part = data[1] | (size_t)(data[3] & 7) << 8;
    uint64_t unsynced = data[2] * 8;
    data += 4, len -= 4;
    if (type % 2 == 0)
    {
      if (part > len)
        part = len;
      if (at + part > room)
        return;
      memcpy(to + at, data, part);
      data += part, len -= part;
      at += part / 8 * 8;
      continue;
    }
    if (at + bz_redo_record_len(part) > room)
      return;
    memset(payload, type, part);
    struct blitz_slice slice = bytes(payload, part);
    at +=
        bz_redo_record_make(to + at, salt, at, unsynced < at ? at - unsynced : 0, type, &slice, 1);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
  struct bz_redo *redo = NULL;
  uint8_t *image = malloc(file_bytes_len);
  char name[4300];
  require(image != NULL);
  memcpy(image, file_bytes, file_bytes_len);
  fill(image + BZ_REDO_PAGE, file_bytes_len - BZ_REDO_PAGE, data, len);
  write_whole(control_name, control_bytes, control_len);
  write_whole(file_name, (char *)image, file_bytes_len);
  free(image);
  for (unsigned number = 2; number < 6; number++)
  {
    snprintf(name, sizeof name, "%s/blitz_log.%08u", dir, number);
    (void)unlink(name);
  }
  enum blitz_rc rc = open_log(&redo);
  require(rc == BLITZ_OK || rc == BLITZ_CORRUPT);
  if (rc != BLITZ_OK)
    return 0;
  uint64_t end;
  struct blitz_slice slice = text("");
  require_ok(bz_redo_append(redo, 0, &slice, 1, &end, ERR));
  require_ok(bz_redo_sync(redo, end, ERR));
  bz_redo_close(redo);
  require_ok(open_log(&redo));
  bz_redo_close(redo);
  return 0;
}
