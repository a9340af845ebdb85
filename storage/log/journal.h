/* SPDX-License-Identifier: GPL-2.0-only
 *
 * journal.h: pages of several files that are to replace older ones all or none. They are
 * written here and synced; then they are written to their places, and if that is interrupted,
 * once more from here. A journal has one moment at a time.
 *
 * Invariants:
 *  J1. A journal is believed if the checksums of its head, of its list and of each page hold:
 *      one that was not finished is none.
 *  J2. Nothing of a moment is written to its place before the journal of that moment is on the
 *      device, and the log up to that moment; and no journal is begun before all that the last
 *      one had is at its place, on the device. A log that is read from a position, and not by
 *      what the places themselves say, must be released up to the moment before that too.
 *      Recovery keeps this as well: it places a journal that is whole.
 *
 * One thread at a time may use a journal.
 */
#ifndef BZ_JOURNAL_H
#define BZ_JOURNAL_H

#include "base/error.h"

struct bz_journal;

/* Opens the journal blitz_log.SUFFIX in DIR, or makes an empty one, and locks it, so that nobody
 * else has it, or the log beside it (BLITZ_BUSY). *POSITIONP is what bz_journal_begin() was told of
 * the one that is there, if it is whole; UINT64_MAX: it is not, or empty.
 */
enum blitz_rc bz_journal_open(const char *dir, const char *suffix, struct bz_journal **journalp,
                              uint64_t *positionp, struct blitz_error *err) BLITZ_MUST_CHECK;
void bz_journal_close(struct bz_journal *journal); /* NULL is allowed */

/* Makes it an empty one, on the device: nobody will place it again. */
enum blitz_rc bz_journal_clear(struct bz_journal *journal,
                               struct blitz_error *err) BLITZ_MUST_CHECK;

/* Begins the journal of at most MOST pages as of POSITION, which is the caller's. */
enum blitz_rc bz_journal_begin(struct bz_journal *journal, uint64_t position, uint64_t most,
                               struct blitz_error *err) BLITZ_MUST_CHECK;

/* Adds page PAGE, 4096 bytes, of the file that the caller calls FILE. BLITZ_FULL: no space. */
enum blitz_rc bz_journal_add(struct bz_journal *journal, uint64_t file, uint64_t page,
                             const uint8_t *data, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Ends it, after one page at least: all is on the device (J2). */
enum blitz_rc bz_journal_finish(struct bz_journal *journal,
                                struct blitz_error *err) BLITZ_MUST_CHECK;

/* Gets COUNT pages of one file that follow one another, from PAGE on. */
typedef enum blitz_rc bz_journal_place_fn(void *arg, uint64_t file, uint64_t page, uint64_t count,
                                          const uint8_t *data, struct blitz_error *err);

/* Gives all pages of the journal that was finished, or opened whole, to PLACE, in the order in
 * which they were added.
 */
enum blitz_rc bz_journal_place(struct bz_journal *journal, bz_journal_place_fn *place, void *arg,
                               struct blitz_error *err) BLITZ_MUST_CHECK;

#endif /* BZ_JOURNAL_H */
