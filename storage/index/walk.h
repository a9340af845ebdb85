/* SPDX-License-Identifier: GPL-2.0-only
 *
 * walk.h: reading what is committed of an index file without LMDB, which believes what it
 * reads. A walk goes through LMDB's pages by itself, in a map of its own, and looks at each
 * number before it follows it: a damaged file is BLITZ_CORRUPT, not the end of the process.
 *
 * What is not found is damage that leaves the pages as LMDB might have written them: a changed
 * byte of a key or a value. Of that, answers may be wrong.
 *
 * A commit of the file is looked at first. It and its walks can be used by any thread, and
 * copied; they own nothing. Pages of a commit that is not kept any more may be written to
 * meanwhile: then what a walk finds is wrong, BLITZ_CORRUPT or an entry that never was, and who
 * walks has to ask (X9), but there is nothing worse.
 */
#ifndef BZ_INDEX_WALK_H
#define BZ_INDEX_WALK_H

#include "rows/rows.h"

struct bz_entry;

/* A commit of an index file: where its pages are, and where its tree of databases begins. */
struct bz_walk_commit
{
  const uint8_t *base; /* of the map; NULL: this is none */
  size_t page_len;
  uint64_t page_count; /* that may be read: the file has them */
  uint64_t number;     /* LMDB's, of the commit */
  uint64_t root;
  unsigned depth;
};

/* The maps of a file. When it has outgrown the last one, that is made longer where it is, or
 * a new one comes beside it: commits that are looked at keep theirs. All are empty at first.
 */
#define BZ_WALK_MAPS_MAX 32
struct bz_walk_maps
{
  size_t page_len; /* 0: not looked at yet */
  unsigned count;
  struct
  {
    uint8_t *base;
    size_t len;
  } maps[BZ_WALK_MAPS_MAX];
  struct bz_walk_commit last; /* that was looked at last */
};

/* Looks at commit NUMBER, or at the last one, of the file that FD is open for. One caller at a
 * time, and no commit but the one after NUMBER meanwhile.
 */
#define BZ_WALK_LAST UINT64_MAX
enum blitz_rc bz_walk_look(struct bz_walk_maps *maps, int fd, uint64_t number,
                           struct bz_walk_commit *commit) BLITZ_MUST_CHECK;

void bz_walk_unmap(struct bz_walk_maps *maps);

/* The file's own record, in the map. BLITZ_NOT_FOUND: it has none. */
enum blitz_rc bz_walk_record(const struct bz_walk_commit *commit,
                             struct blitz_slice *record) BLITZ_MUST_CHECK;

/* A place in the tree of an index: one among the nodes of a page for each level. */
#define BZ_TREE_DEPTH_MAX 32
struct bz_walk_step
{
  const uint8_t *page;
  uint32_t slot; /* in a leaf also: before the first, UINT32_MAX, or behind the last one */
  uint16_t slots;
  uint16_t upper; /* the nodes begin there */
};

struct bz_walk
{
  const uint8_t *base;
  uint64_t page_count;
  uint64_t root;
  uint32_t page_len;
  uint16_t depth;
  uint16_t flags;                            /* that nodes of leaves have */
  uint64_t entries, branches, leaves, longs; /* as the tree's record says */
  bool placed;                               /* the steps are somewhere */
  struct bz_walk_step steps[BZ_TREE_DEPTH_MAX];
};

/* A walk over index ID, which is nowhere at first. BLITZ_NOT_FOUND: there is no such index. */
enum blitz_rc bz_walk_open(const struct bz_walk_commit *commit, uint64_t id,
                           struct bz_walk *walk) BLITZ_MUST_CHECK;

/* Like bz_tree_seek() and bz_tree_step(), the entry being good as long as the commit is.
 * BLITZ_END: a step leaves the walk where it was; a seek, before the first entry or behind the
 * last one. From nowhere, and that is after BLITZ_CORRUPT too, a step finds the first or the
 * last entry.
 */
enum blitz_rc bz_walk_seek(struct bz_walk *walk, struct blitz_slice key, enum blitz_seek where,
                           struct bz_entry *found) BLITZ_MUST_CHECK;
enum blitz_rc bz_walk_step(struct bz_walk *walk, bool forward,
                           struct bz_entry *found) BLITZ_MUST_CHECK;

/* The entry with just that sort key; the walk's place is void then. */
enum blitz_rc bz_walk_get(struct bz_walk *walk, struct blitz_slice sort_key,
                          struct bz_entry *found) BLITZ_MUST_CHECK;

/* Copies a walk as it is, but no more of its steps than it has. */
static inline void bz_walk_copy(struct bz_walk *to, const struct bz_walk *from)
{
  memcpy(to, from, offsetof(struct bz_walk, steps) + from->depth * sizeof *from->steps);
}

#endif /* BZ_INDEX_WALK_H */
