/* SPDX-License-Identifier: GPL-2.0-only
 *
 * delta.h: entries of one index in memory, in order, that were committed since it was written last:
 * a list with shortcuts (a skip list, after W. Pugh) in which nothing is ever moved or removed. One
 * thread at a time adds; others read meanwhile, without a lock.
 *
 * An entry has a sort key, bytes that are the caller's, and the number of the commit that has made
 * or removed it. The same entry may have several, of different commits: its versions.
 *
 * Invariants:
 *  E1. Versions stand in the order of their sort keys, and those of one entry from the newest to
 *      the oldest.
 *  E2. A version is whole before it is linked, and stays as it is. So a reader meets all that was
 *      there when it began, in order.
 *  E3. Memory is given back with the whole delta, for which nobody may read it any more.
 */
#ifndef BZ_INDEX_DELTA_H
#define BZ_INDEX_DELTA_H

#include "base/bytes.h"
#include "base/error.h"

struct bz_delta;

/* A version of an entry. Its slices are good as long as the delta. */
struct bz_delta_version
{
  struct blitz_slice sort_key;
  struct blitz_slice value;
  uint64_t number; /* of its commit */
  bool removed;    /* the entry is not there from that commit on; the value says nothing */
};

struct bz_delta *bz_delta_new(void); /* NULL: out of memory */
void bz_delta_free(struct bz_delta *delta);

/* Bytes of memory; anyone may ask. */
uint64_t bz_delta_len(const struct bz_delta *delta);

/* Is there no version? Anyone may ask. */
bool bz_delta_is_empty(const struct bz_delta *delta);

/* Forgets all versions, and keeps some memory for those to come. Nobody reads. */
void bz_delta_reset(struct bz_delta *delta);

/* Makes a copy of VERSION that nobody finds yet; NULL: out of memory. The bytes of a slice without
 * data are the caller's to fill (bz_delta_bytes()). What is not put into its place then stays as
 * memory that is lost until the end. For the thread that adds.
 */
struct bz_delta_node;
struct bz_delta_node *bz_delta_make(struct bz_delta *delta, const struct bz_delta_version *version);

/* The bytes of a node that is in no place yet: its sort key, behind which its value is. */
uint8_t *bz_delta_bytes(struct bz_delta_node *node);

/* Makes a list of nodes, in the order of their places: NODE comes behind LAST, NULL: it is the
 * first one. Then all of a list are put into their places, which does not fail.
 */
void bz_delta_chain(struct bz_delta_node *last, struct bz_delta_node *node);
void bz_delta_link(struct bz_delta *delta, struct bz_delta_node *list);

/* The other way, for what only the thread that adds will read: nodes in any order, which are put
 * into their places, sorted, when that is asked for. False: out of memory, and NODE is lost.
 * bz_delta_settle() must come before anything else is asked of the delta but whether it is empty.
 */
bool bz_delta_add(struct bz_delta *delta, struct bz_delta_node *node);
void bz_delta_settle(struct bz_delta *delta);

/* A place in a delta, as of a commit: of each entry that was changed up to commit NUMBER it finds
 * the last version up to that.
 */
struct bz_delta_place
{
  const struct bz_delta *delta;
  uint64_t number;
  const struct bz_delta_node *at; /* NULL: at none */
};

/* Puts PLACE, of which delta and number are set, at a version as blitz_index_seek() does for a key.
 * False: there is none.
 */
bool bz_delta_seek(struct bz_delta_place *place, struct blitz_slice key, enum blitz_seek where);

/* Puts PLACE, of which delta and number are set, at the version of the entry of that very sort key.
 * False: there is none, and PLACE is anywhere.
 */
bool bz_delta_find(struct bz_delta_place *place, struct blitz_slice sort_key);

/* Goes from the version at PLACE to that of the next entry, or of the one before. False: there is
 * none, and PLACE is at none.
 */
bool bz_delta_step(struct bz_delta_place *place, bool forward);

/* Goes to the version before that at PLACE, of the same entry. False: there is none, and PLACE is
 * where it was.
 */
bool bz_delta_older(struct bz_delta_place *place);

/* The version at PLACE. */
struct bz_delta_version bz_delta_at(const struct bz_delta_place *place);

#endif /* BZ_INDEX_DELTA_H */
