/* SPDX-License-Identifier: GPL-2.0-only
 *
 * walked.h: rows for tests of walks over index files. A row's value is two numbers, from which
 * its entries are made: keys of a few bytes, or that begin alike, or that are about as long as
 * LMDB's may be, or longer; and small and large payloads.
 */
#ifndef BLITZ_TEST_WALKED_H
#define BLITZ_TEST_WALKED_H

#include "support.h"

enum
{
  WALKED_KEY_MAX = 4000,
  WALKED_ROW_KEY_LEN = 2
};

extern const struct blitz_indexes walked_ids; /* of the two; entries of the second are unique */

/* Any key; equal ones are common. */
size_t any_walked_key(struct rnd *rnd, uint8_t to[WALKED_KEY_MAX]);

/* The entry of row N; good until the next call. */
struct blitz_index_entry walked_entry(unsigned index_no, uint64_t n, uint64_t version);
struct blitz_slice walked_row_key(uint64_t n);

struct blitz_table *new_walked_table(const char *name); /* in the place of an older one */

/* Rows FROM..TO-1: new ones of version 0, or others get VERSION; or they go. */
void put_walked_rows(struct blitz_table *table, uint64_t from, uint64_t to, uint64_t version);
void remove_walked_rows(struct blitz_table *table, uint64_t from, uint64_t to);

int open_walked_file(const char *name, int flags); /* DIR/NAME.bzx */

#endif
