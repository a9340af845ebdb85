/* SPDX-License-Identifier: GPL-2.0-only
 *
 * deltas.h: what was done to the indexes of a table and is not in its index file yet: a delta
 * (delta.h) for each. There are those of the commits that come in now, those that are just being
 * written to the file (merge.c), those of a transaction, and those that the log has left for who
 * opens the table. The sort key of a version is that of an entry, and the value what the file would
 * have (lmdb.h), without a label.
 *
 * One thread at a time puts something in; what readers may do is said there.
 */
#ifndef BZ_INDEX_DELTAS_H
#define BZ_INDEX_DELTAS_H

#include "index/delta.h"
#include "index/index.h"

struct bz_deltas
{
  unsigned refs;  /* who uses them; under the table's snapshot_lock if they are shared */
  unsigned count; /* of indexes */
  uint64_t ids[BLITZ_INDEXES_MAX];
  _Atomic(struct bz_delta *) of[BLITZ_INDEXES_MAX]; /* NULL: nothing */
};

/* With one reference; NULL: out of memory. IDS may be NULL if COUNT is 0. */
struct bz_deltas *bz_deltas_new(unsigned count, const uint64_t *ids);
void bz_deltas_leave(struct bz_deltas *deltas); /* NULL is allowed */
void bz_deltas_free(struct bz_deltas *deltas);  /* nobody uses them any more */

/* That of index INDEX_NO, made if there was none; NULL: out of memory. */
struct bz_delta *bz_deltas_get(struct bz_deltas *deltas, unsigned index_no);

/* The number of index ID in DELTAS, which get it if they have not; BLITZ_INDEXES_MAX: they have as
 * many as can be.
 */
unsigned bz_deltas_index(struct bz_deltas *deltas, uint64_t id);

bool bz_deltas_are_empty(const struct bz_deltas *deltas);
uint64_t bz_deltas_len(const struct bz_deltas *deltas); /* bytes of memory */
void bz_deltas_reset(struct bz_deltas *deltas);         /* nobody reads them */

/* Puts what was added (bz_delta_add()) into place. */
void bz_deltas_settle(struct bz_deltas *deltas);

/* The newest version of the first entry of DELTA, for bz_delta_step(). False: there is none. */
static inline bool bz_delta_first(struct bz_delta_place *place, const struct bz_delta *delta)
{
  *place = (struct bz_delta_place){.delta = delta, .number = UINT64_MAX};
  return delta != NULL && bz_delta_seek(place, (struct blitz_slice){NULL, 0}, BLITZ_SEEK_FIRST);
}

/* May change the VALUE of a copy, which is as long as that of VERSION. */
typedef void bz_delta_change_fn(void *arg, const struct bz_delta_version *version, uint8_t *value);

/* Makes copies of the newest versions in FROM, as commit NUMBER's in DELTA, that nobody finds yet:
 * a list for bz_delta_link(). CHANGE, if not NULL, gets those that are not removed. BLITZ_NOMEM.
 */
enum blitz_rc bz_delta_copy(struct bz_delta *delta, const struct bz_delta *from, uint64_t number,
                            bz_delta_change_fn *change, void *arg,
                            struct bz_delta_node **listp) BLITZ_MUST_CHECK;

#endif /* BZ_INDEX_DELTAS_H */
