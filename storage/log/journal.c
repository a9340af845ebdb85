/* SPDX-License-Identifier: GPL-2.0-only
 *
 * journal.c: blitz_log.SUFFIX. A page with the head, the pages, then the list of where they
 * belong: for each 8 bytes the file, 8 its page, 4 a checksum of it, 4 zeros. The head has, from
 * byte 0 on: magic (8), position (8), pages (8), checksum of the list (4), checksum of all
 * that (4). Numbers are little-endian; checksums are CRC-32C.
 */
#include "log/journal.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/pages.h"
#include "log/redo_file.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x73656761506f6f4c) /* "LooPages" */
#define PAGE BZ_PAGE_LEN
#define ENTRY_LEN 24
#define HEAD_LEN 32
#define BUFFER_PAGES 256 /* that are written, or read, at once */

struct bz_journal
{
  char *name;
  int fd;
  uint64_t position, count; /* of the journal that is there or is made */
  uint64_t added;
  uint8_t *list;
  uint8_t *buffer; /* of the last pages that were added */
  uint64_t buffered;
};

static uint64_t list_off(const struct bz_journal *journal)
{
  return (1 + journal->count) * PAGE;
}

static void forget(struct bz_journal *journal)
{
  free(journal->list);
  journal->list = NULL;
  journal->count = journal->added = journal->buffered = 0;
  journal->position = UINT64_MAX;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Reads the pages from FIRST on into the buffer; how many. 0: one of them is not what it was. */
static uint64_t read_pages(struct bz_journal *journal, uint64_t first)
{
  uint64_t count = journal->count - first < BUFFER_PAGES ? journal->count - first : BUFFER_PAGES;
  size_t len = (size_t)count * PAGE;

  if (bz_redo_read_at(journal->fd, journal->buffer, len, (1 + first) * PAGE) != len)
    return 0;
  for (uint64_t i = 0; i < count; i++)
    if (bz_load_le32(journal->list + (first + i) * ENTRY_LEN + 16) !=
        bz_crc32c(0, journal->buffer + i * PAGE, PAGE))
      return 0;
  return count;
}

/* Is there a whole journal (J1)? Then its list is read. False with errno: who knows. */
static bool load(struct bz_journal *journal)
{
  uint8_t head[HEAD_LEN];
  off_t len = lseek(journal->fd, 0, SEEK_END);
  size_t list_len;

  errno = 0;
  if (bz_redo_read_at(journal->fd, head, sizeof head, 0) != sizeof head ||
      bz_load_le64(head) != MAGIC || bz_load_le32(head + 28) != bz_crc32c(0, head, 28))
    return false;
  journal->position = bz_load_le64(head + 8);
  journal->count = bz_load_le64(head + 16);
  if (len < 0 || journal->count == 0 || journal->count > (uint64_t)len / PAGE)
    return false;
  list_len = (size_t)journal->count * ENTRY_LEN;
  journal->list = malloc(list_len);
  if (journal->list == NULL ||
      bz_redo_read_at(journal->fd, journal->list, list_len, list_off(journal)) != list_len ||
      bz_load_le32(head + 24) != bz_crc32c(0, journal->list, list_len))
    return false;
  for (uint64_t first = 0, count; first < journal->count; first += count)
    if ((count = read_pages(journal, first)) == 0)
      return false;
  journal->added = journal->count;
  return true;
}

enum blitz_rc bz_journal_open(const char *dir, const char *suffix, struct bz_journal **journalp,
                              uint64_t *positionp, struct blitz_error *err)
{
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  struct bz_journal *journal = calloc(1, sizeof *journal);
  enum blitz_rc rc = BLITZ_OK;

  *journalp = NULL;
  *positionp = UINT64_MAX;
  if (journal != NULL)
  {
    journal->fd = -1;
    journal->name = bz_redo_name(dir, suffix);
    journal->buffer = malloc(BUFFER_PAGES * PAGE);
  }
  if (journal == NULL || journal->name == NULL || journal->buffer == NULL)
    rc = bz_fail(err, BLITZ_NOMEM, 0, "out of memory opening the log in %s", dir);
  if (rc == BLITZ_OK)
  {
    journal->fd = open(journal->name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0660);
    if (journal->fd < 0 || !bz_sync_dir(dir))
      rc = bz_redo_fail("open", journal->name, err);
    else if (fcntl(journal->fd, F_OFD_SETLK, &lock) != 0)
      rc = bz_fail(err, BLITZ_BUSY, 0,
                   "%s is in use by another process. Stop that one first: two servers must not "
                   "share a data directory",
                   journal->name);
  }
  if (rc != BLITZ_OK)
  {
    bz_journal_close(journal);
    return rc;
  }
  if (!load(journal) && errno != 0)
    rc = bz_redo_fail("read", journal->name, err);
  else if (journal->added == 0)
    forget(journal);
  /* If only the process died, what was read need not be on the device (J2). */
  else if (fdatasync(journal->fd) != 0)
    rc = bz_redo_fail("sync", journal->name, err);
  if (rc != BLITZ_OK)
  {
    bz_journal_close(journal);
    return rc;
  }
  *positionp = journal->position;
  *journalp = journal;
  return BLITZ_OK;
}

void bz_journal_close(struct bz_journal *journal)
{
  if (journal == NULL)
    return;
  if (journal->fd >= 0)
    close(journal->fd);
  free(journal->list);
  free(journal->buffer);
  free(journal->name);
  free(journal);
}

enum blitz_rc bz_journal_clear(struct bz_journal *journal, struct blitz_error *err)
{
  static const uint8_t zeros[HEAD_LEN];

  forget(journal);
  if (!bz_redo_write_at(journal->fd, zeros, sizeof zeros, 0, false) || fdatasync(journal->fd) != 0)
    return bz_redo_fail("write", journal->name, err);
  return BLITZ_OK;
}

/* ---- writing ------------------------------------------------------------------------------- */

enum blitz_rc bz_journal_begin(struct bz_journal *journal, uint64_t position, uint64_t most,
                               struct blitz_error *err)
{
  forget(journal);
  journal->list = malloc((size_t)most * ENTRY_LEN + 1);
  if (journal->list == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory writing %s", journal->name);
  journal->position = position;
  journal->count = most;
  return BLITZ_OK;
}

static enum blitz_rc flush(struct bz_journal *journal, struct blitz_error *err)
{
  uint64_t first = journal->added - journal->buffered;
  bool done = bz_redo_write_at(journal->fd, journal->buffer, (size_t)journal->buffered * PAGE,
                               (1 + first) * PAGE, false);

  journal->buffered = 0;
  return done ? BLITZ_OK : bz_redo_fail("write", journal->name, err);
}

enum blitz_rc bz_journal_add(struct bz_journal *journal, uint64_t file, uint64_t page,
                             const uint8_t *data, struct blitz_error *err)
{
  uint8_t *entry = journal->list + journal->added * ENTRY_LEN;

  assert(journal->added < journal->count);
  bz_store_le64(entry, file);
  bz_store_le64(entry + 8, page);
  bz_store_le32(entry + 16, bz_crc32c(0, data, PAGE));
  bz_store_le32(entry + 20, 0);
  memcpy(journal->buffer + journal->buffered * PAGE, data, PAGE);
  journal->added++;
  journal->buffered++;
  return journal->buffered == BUFFER_PAGES ? flush(journal, err) : BLITZ_OK;
}

enum blitz_rc bz_journal_finish(struct bz_journal *journal, struct blitz_error *err)
{
  uint8_t head[HEAD_LEN];
  size_t list_len = (size_t)journal->added * ENTRY_LEN;
  enum blitz_rc rc = flush(journal, err);

  journal->count = journal->added;
  if (rc != BLITZ_OK)
    return rc;
  bz_store_le64(head, MAGIC);
  bz_store_le64(head + 8, journal->position);
  bz_store_le64(head + 16, journal->count);
  bz_store_le32(head + 24, bz_crc32c(0, journal->list, list_len));
  bz_store_le32(head + 28, bz_crc32c(0, head, 28));
  if (!bz_redo_write_at(journal->fd, journal->list, list_len, list_off(journal), false) ||
      !bz_redo_write_at(journal->fd, head, sizeof head, 0, false) || fdatasync(journal->fd) != 0)
    return bz_redo_fail("write", journal->name, err);
  return BLITZ_OK;
}

/* ---- placing ------------------------------------------------------------------------------- */

/* How many of the COUNT pages from entry AT on are of one file and follow one another. */
static uint64_t run_len(const struct bz_journal *journal, uint64_t at, uint64_t count)
{
  const uint8_t *entry = journal->list + at * ENTRY_LEN;
  uint64_t len = 1;

  while (len < count && bz_load_le64(entry + len * ENTRY_LEN) == bz_load_le64(entry) &&
         bz_load_le64(entry + len * ENTRY_LEN + 8) == bz_load_le64(entry + 8) + len)
    len++;
  return len;
}

enum blitz_rc bz_journal_place(struct bz_journal *journal, bz_journal_place_fn *place, void *arg,
                               struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  assert(journal->added == journal->count);
  for (uint64_t first = 0, count; first < journal->count && rc == BLITZ_OK; first += count)
  {
    count = read_pages(journal, first);
    if (count == 0)
      return bz_fail(err, BLITZ_CORRUPT, 0, "%s cannot be read back", journal->name);
    for (uint64_t i = 0, len; i < count && rc == BLITZ_OK; i += len)
    {
      const uint8_t *entry = journal->list + (first + i) * ENTRY_LEN;
      len = run_len(journal, first + i, count - i);
      rc = place(arg, bz_load_le64(entry), bz_load_le64(entry + 8), len, journal->buffer + i * PAGE,
                 err);
    }
  }
  return rc;
}
