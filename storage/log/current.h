/* SPDX-License-Identifier: GPL-2.0-only
 *
 * current.h: the log of the process, if it has one, and how those who change tables and the one
 * who writes checkpoints keep in step. Functions may be called by any thread.
 */
#ifndef BZ_CURRENT_H
#define BZ_CURRENT_H

#include "log/redo.h"

/* NULL: there is none. It stays as long as a table is open. */
struct bz_redo *bz_current_log(void);

/* Bytes of pages that may have changed before a checkpoint is wanted, and of pages with memory of
 * their own that are kept after one; and how many there may be at most before changes wait.
 */
uint64_t bz_current_memory(void);
uint64_t bz_current_memory_max(void);

/* Sets them; for who starts and stops the engine, while no table is open. */
void bz_current_set(struct bz_redo *redo, uint64_t log_limit);
void bz_current_set_memory(uint64_t bytes);

/* Waits while changes are far ahead of the checkpoints; to be called before a change, by who holds
 * no lock. BLITZ_FULL: there is no space for a checkpoint.
 */
enum blitz_rc bz_current_wait(struct blitz_error *err) BLITZ_MUST_CHECK;

/* The same, in the middle of a commit, which keeps the log as long as it is: for memory alone. It
 * does not fail.
 */
void bz_current_wait_memory(void);

/* So many bytes more, or less, of other memory than pages wait for the next checkpoint; and how
 * many there are.
 */
void bz_current_count(int64_t bytes);
uint64_t bz_current_counted(void);

/* Asks for a checkpoint, which nobody waits for. */
void bz_current_ask(void);

/* ---- for the one who writes checkpoints ---- */

/* Waits until somebody asks for a checkpoint, which *ASKEDP says, SECONDS have gone by, or
 * bz_current_stop(). False: stopped.
 */
bool bz_current_sleep(unsigned seconds, bool *askedp);
void bz_current_stop(void);

/* There are none for a while: nobody waits for them. */
void bz_current_hold(bool hold);

/* What became of the last one; a failure's text is for who waits. */
void bz_current_checkpointed(enum blitz_rc rc, const struct blitz_error *err);

#endif /* BZ_CURRENT_H */
