/* SPDX-License-Identifier: GPL-2.0-only
 *
 * redo.h: the contract of the log: records in files, in the order in which they were
 * appended, that survive the process once they are written and the machine once they are
 * synced. What a record says is the caller's business.
 *
 * A position is the number of bytes that were logged before it, ever. Functions that take
 * a struct bz_redo may be called by several threads at once, but for open and close.
 *
 * Invariants:
 *  D1. What is read back is a prefix of what was appended: all that was synced, or, if only
 *      the process died, all that was written; perhaps more, but nothing behind a gap.
 *  D2. A record says how far the log was synced when it was written. One behind a gap that
 *      was synced before it proves that bytes were damaged or are missing, and the log is
 *      not opened.
 *  D3. A run of the engine begins a new file, which says where the one before it ended. What
 *      an earlier run has left behind that place is never read as a record.
 *  D4. Only the last two files have bytes that are not synced. If the machine dies, the log may
 *      end in the last but one. Each names the one before it; so the last one is void then, once
 *      there is a next one.
 *  D5. The control file names the last file and the position from which records are wanted.
 *      It is synced before a file is used that it must name, and before one goes.
 */
#ifndef BZ_REDO_H
#define BZ_REDO_H

#include "blitz.h"
#include "base/error.h"

#define BZ_REDO_PAYLOAD_MAX ((size_t)1 << 20) /* bytes of a record, if a file has room for it */
#define BZ_REDO_FILE_LEN_MIN ((uint64_t)64 << 10)

struct bz_redo;

struct bz_redo_options
{
  const char *dir;   /* where the files are; there is such a directory */
  uint64_t file_len; /* bytes of one file, a multiple of 4096 */
  uint64_t limit;    /* bytes of files that are kept for later use when they are not wanted */
  bool background;   /* a thread syncs once a second and makes files ahead of use */
};

struct bz_redo_record
{
  uint64_t log_id;  /* bz_redo_id() */
  uint64_t at, end; /* positions of its first byte and of the next record */
  uint8_t type;     /* the caller's */
  struct blitz_slice payload;
};

/* Gets each record that is wanted, in order. Another result than BLITZ_OK ends the opening. */
typedef enum blitz_rc bz_redo_read_fn(void *arg, const struct bz_redo_record *record,
                                      struct blitz_error *err);

/* Opens the log in a directory, makes it if there is none, and gives all records that are
 * wanted to READ. BLITZ_CORRUPT: damaged, or a file is missing; nothing was changed.
 */
enum blitz_rc bz_redo_open(const struct bz_redo_options *options, bz_redo_read_fn *read, void *arg,
                           struct bz_redo **redop, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Writes and syncs all, and frees REDO, which may be NULL. Nobody else may use it. */
void bz_redo_close(struct bz_redo *redo);

/* Appends a record made of COUNT parts; *ENDP is where it ends. It is in memory alone until
 * bz_redo_write() or bz_redo_sync(). BLITZ_FULL: there is no space for another file, and
 * nothing was appended. BLITZ_IO: writing has failed once, and there is no more of it.
 */
enum blitz_rc bz_redo_append(struct bz_redo *redo, uint8_t type, const struct blitz_slice *parts,
                             size_t count, uint64_t *endp,
                             struct blitz_error *err) BLITZ_MUST_CHECK;

/* Keeps room for a record with a payload of LEN bytes; then bz_redo_append_kept() of one that is
 * no longer than that does not fail for want of space. It must follow, or bz_redo_let_go().
 * BLITZ_FULL and BLITZ_IO as above.
 */
enum blitz_rc bz_redo_keep(struct bz_redo *redo, size_t len,
                           struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc bz_redo_append_kept(struct bz_redo *redo, size_t len, uint8_t type,
                                  const struct blitz_slice *parts, size_t count, uint64_t *endp,
                                  struct blitz_error *err) BLITZ_MUST_CHECK;
void bz_redo_let_go(struct bz_redo *redo, size_t len);

/* What is longer had better be logged as several records: bytes of payload. */
size_t bz_redo_piece_len(const struct bz_redo *redo);

/* Where the log ends now. */
uint64_t bz_redo_end(struct bz_redo *redo);

/* How many bytes of records are wanted. */
uint64_t bz_redo_backlog(const struct bz_redo *redo);

/* What tells this log from all others. */
uint64_t bz_redo_id(const struct bz_redo *redo);

/* Returns when all before END is written, or on the device. Whoever finds the file idle
 * works for all who wait.
 */
enum blitz_rc bz_redo_write(struct bz_redo *redo, uint64_t end,
                            struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc bz_redo_sync(struct bz_redo *redo, uint64_t end,
                           struct blitz_error *err) BLITZ_MUST_CHECK;

/* Nothing before START is wanted any more. */
enum blitz_rc bz_redo_release(struct bz_redo *redo, uint64_t start,
                              struct blitz_error *err) BLITZ_MUST_CHECK;

struct bz_redo_figures
{
  uint64_t start, synced, written, end; /* positions, ascending */
  uint64_t writes, syncs;               /* calls of the system */
  unsigned files;
};

void bz_redo_figures(struct bz_redo *redo, struct bz_redo_figures *figures);

#endif /* BZ_REDO_H */
