/* SPDX-License-Identifier: GPL-2.0-only
 *
 * sort.h: puts index entries in order, in bounded memory: what does not fit goes to a
 * temporary file in sorted runs, which are merged at the end.
 */
#ifndef BZ_SORT_H
#define BZ_SORT_H

#include "index/index.h"

struct bz_sort;

/* NULL: out of memory. */
struct bz_sort *bz_sort_create(void);
void bz_sort_free(struct bz_sort *sort); /* NULL is allowed */

/* Adds the entry of row ROW_KEY at OFF. */
enum blitz_rc bz_sort_add(struct bz_sort *sort, const struct blitz_index_entry *entry,
                          struct blitz_slice row_key, uint64_t off,
                          struct blitz_error *err) BLITZ_MUST_CHECK;

/* Bytes of what was added. */
uint64_t bz_sort_len(const struct bz_sort *sort);

/* After the last one; then bz_sort_next() gives them one by one. */
enum blitz_rc bz_sort_finish(struct bz_sort *sort, struct blitz_error *err) BLITZ_MUST_CHECK;

/* The next entry in the order of sort keys, good until the next call. BLITZ_END: no more. */
enum blitz_rc bz_sort_next(struct bz_sort *sort, struct bz_entry *entry,
                           struct blitz_error *err) BLITZ_MUST_CHECK;

/* The path of NAME in the directory of blitz_set_sort(). */
void bz_sort_path(char *to, size_t len, const char *name);

#endif /* BZ_SORT_H */
