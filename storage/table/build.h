/* SPDX-License-Identifier: GPL-2.0-only
 *
 * build.h: making indexes from the rows.
 */
#ifndef BZ_BUILD_H
#define BZ_BUILD_H

#include "blitz_int.h"

/* Makes the indexes of which the bit is set in WHICH, and which are empty, from the rows.
 * REASON, if not NULL, says that the table is being opened and why; if there are rows it goes
 * to the log as a message of that LEVEL.
 */
enum blitz_rc bz_build(struct blitz_table *table, uint64_t which,
                       const struct blitz_indexer *indexer, const char *reason,
                       enum blitz_log_level level, struct blitz_error *err) BLITZ_MUST_CHECK;

#endif /* BZ_BUILD_H */
