/* SPDX-License-Identifier: GPL-2.0-only
 *
 * redo_file.h: the files of the log, as bytes. For the room's own files alone.
 *
 * blitz_log.control: two slots, 4096 bytes apart, of which the one with the higher generation
 * counts. blitz_log.NNNNNNNN: a page that says what the file is, then records. All numbers are
 * little-endian. A record is
 *
 *    0  4  CRC-32C of the rest of it, going on from the log's salt
 *    4  4  length of the payload, in bytes
 *    8  8  its position
 *   16  4  bytes between the position up to which the log was synced and this one; 2^32 - 1: more
 *   20  1  type
 *   21  3  zeros
 *   24     payload, and zeros up to a multiple of 8
 */
#ifndef BZ_REDO_FILE_H
#define BZ_REDO_FILE_H

#include "base/bytes.h"
#include "base/sync_dir.h"
#include "log/redo.h"

#define BZ_REDO_PAGE 4096
#define BZ_REDO_HEAD_LEN 24
#define BZ_REDO_ID_LEN 16

/* What the control file says. */
struct bz_redo_control
{
  uint8_t id[BZ_REDO_ID_LEN]; /* of this log, and no other */
  uint64_t generation;
  uint64_t start;       /* records before it are not wanted */
  uint64_t last_number; /* of the files; 0: there was none yet */
  uint64_t file_len;
};

static inline uint64_t bz_redo_control_id(const struct bz_redo_control *control)
{
  return bz_load_le64(control->id);
}

/* What a file of records says of itself. */
struct bz_redo_head
{
  uint64_t number;
  uint64_t first;  /* position of its first record: the one before it ends there ... */
  uint64_t before; /* ... and has this number; 0: there is none */
};

struct bz_redo_file
{
  struct bz_redo_head head;
  char *name;
  int fd;
};

/* DIR/blitz_log.SUFFIX, to be freed; NULL: out of memory. */
char *bz_redo_name(const char *dir, const char *suffix);
char *bz_redo_number_name(const char *dir, uint64_t number);

/* The number of the file of that name, without directory; 0: it is none of the log's. */
uint64_t bz_redo_number_of(const char *name);

/* An error of the system that is not one of the caller's making. */
enum blitz_rc bz_redo_fail(const char *what, const char *name, struct blitz_error *err);

/* Writes all of it at OFF; SYNC: it is on the device, but what was written before need not be. */
bool bz_redo_write_at(int fd, const void *data, size_t len, uint64_t off, bool sync);

/* Reads up to LEN bytes; how many. Fewer: errno says why if it was 0 before, 0 being the end. */
size_t bz_redo_read_at(int fd, void *to, size_t len, uint64_t off);

/* ---- control ---- */

/* BLITZ_NOT_FOUND: there is no such file. */
enum blitz_rc bz_redo_control_read(const char *dir, struct bz_redo_control *control, int *fdp,
                                   struct blitz_error *err) BLITZ_MUST_CHECK;
/* Makes the file, with a new id. */
enum blitz_rc bz_redo_control_make(const char *dir, uint64_t file_len,
                                   struct bz_redo_control *control, int *fdp,
                                   struct blitz_error *err) BLITZ_MUST_CHECK;
/* Stores it, with the next generation, on the device. */
bool bz_redo_control_store(int fd, struct bz_redo_control *control);

/* ---- files of records ---- */

/* Opens the file, or makes a new one, of file_len bytes that are written, without a head, for
 * later use. *FILE is to be closed.
 */
enum blitz_rc bz_redo_file_open(const char *dir, uint64_t number, struct bz_redo_file *file,
                                struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc bz_redo_file_make(const char *dir, const struct bz_redo_control *control,
                                uint64_t number, struct bz_redo_file *file,
                                struct blitz_error *err) BLITZ_MUST_CHECK;
/* Gives a file that is not wanted any more the number of a new one. */
bool bz_redo_file_recycle(const char *dir, struct bz_redo_file *file, uint64_t number);
void bz_redo_file_close(struct bz_redo_file *file);

/* Reads the head. False: it has none, or one of another log. */
bool bz_redo_head_read(const struct bz_redo_file *file, const struct bz_redo_control *control,
                       struct bz_redo_head *head);
/* Stores file->head, on the device. */
bool bz_redo_head_store(const struct bz_redo_file *file, const struct bz_redo_control *control);

/* ---- records ---- */

/* Bytes that a record takes. */
static inline uint64_t bz_redo_record_len(size_t payload_len)
{
  return (BZ_REDO_HEAD_LEN + (uint64_t)payload_len + 7) / 8 * 8;
}

/* Where a position is in a file. */
static inline uint64_t bz_redo_off(const struct bz_redo_file *file, uint64_t at)
{
  return BZ_REDO_PAGE + (at - file->head.first);
}

/* What the checksums of a log go on from. */
uint32_t bz_redo_salt(const struct bz_redo_control *control);

/* Writes a record at TO; its payload is the parts. Returns its length. */
uint64_t bz_redo_record_make(uint8_t *to, uint32_t salt, uint64_t at, uint64_t synced, uint8_t type,
                             const struct blitz_slice *parts, size_t count);

/* Reads the record at AT from LEN bytes. *SYNCEDP: up to where the log was synced. False: there
 * is none, or not wholly.
 */
bool bz_redo_record_parse(const uint8_t *data, size_t len, uint32_t salt, uint64_t at,
                          struct bz_redo_record *record, uint64_t *syncedp);

/* ---- redo_read.c ---- */

/* What there is of a log. */
struct bz_redo_found
{
  struct bz_redo_head *heads; /* of the files that are wanted, ascending */
  size_t count, room;
  uint64_t number_max; /* of all files, others too */
  uint64_t end;        /* of the records ... */
  uint64_t end_number; /* ... and the number of the file in which that is */
};

/* Makes room for one more head. False: out of memory. */
bool bz_redo_reserve_heads(struct bz_redo_found *found) BLITZ_MUST_CHECK;

/* Finds the files; gives what there is from control->start on to READ. FOUND->heads is to be
 * freed in any case. Changes nothing.
 */
enum blitz_rc bz_redo_replay(const char *dir, const struct bz_redo_control *control,
                             bz_redo_read_fn *read, void *arg, struct bz_redo_found *found,
                             struct blitz_error *err) BLITZ_MUST_CHECK;

/* Removes the files that FOUND has no heads of. */
enum blitz_rc bz_redo_remove_others(const char *dir, const struct bz_redo_found *found,
                                    struct blitz_error *err) BLITZ_MUST_CHECK;

#endif /* BZ_REDO_FILE_H */
