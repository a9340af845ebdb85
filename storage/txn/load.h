/* SPDX-License-Identifier: GPL-2.0-only
 *
 * load.h: rows for an empty table, straight to their places. For txn.c and change.c.
 */
#ifndef BZ_LOAD_H
#define BZ_LOAD_H

#include "txn/txn.h"

struct bz_load;

/* May TABLE be loaded by its writer? */
bool bz_load_possible(const struct blitz_table *table);

struct bz_writes;

/* Is it a load that is not to be logged, as it would only be written twice? */
bool bz_load_is_large(const struct bz_writes *writes);

/* NULL: out of memory. A rollback, or an end when the load is committed, frees LOAD. */
struct bz_load *bz_load_begin(void);
void bz_load_end(struct bz_load *load);
void bz_load_rollback(struct blitz_table *table, struct bz_load *load);

/* Is KEY certainly not there, since it is beyond all before it? Remembers it if so. */
bool bz_load_is_new(struct bz_load *load, const struct bz_key *key);

/* Makes the block at OFF, which bz_row_fill() filled, the row of such a KEY. */
void bz_load_append(struct blitz_table *table, struct bz_load *load, const struct bz_key *key,
                    uint64_t off);

/* Brings the trees up to date; to be called before anyone looks at them. */
void bz_load_flush(struct blitz_table *table, struct bz_load *load);

/* Makes the block at OFF, which bz_row_fill() filled, the row KEY: at the free place
 * PLACE, or in the place of another row, which goes.
 */
void bz_load_put(struct blitz_table *table, const struct bz_key *key, struct bz_place *place,
                 uint64_t off);
void bz_load_replace(struct blitz_table *table, const struct bz_key *key,
                     const struct bz_place *old, uint64_t off);
enum blitz_rc bz_load_remove(struct blitz_table *table, const struct bz_key *key,
                             const struct bz_place *old) BLITZ_MUST_CHECK;

#endif /* BZ_LOAD_H */
