/* SPDX-License-Identifier: GPL-2.0-only
 *
 * indexed.h: rows for tests of ordered indexes. A row's value is that of row_fill(), so
 * that number and version tell all; the version's upper half, its generation, makes the
 * keys, and the lower half nothing but the value:
 *
 *   index 0  one of some groups, not unique; some keys are long
 *   index 1  of number and generation, unique but for some rows
 *   index 2  the number; the payload is the version
 */
#ifndef BLITZ_TEST_INDEXED_H
#define BLITZ_TEST_INDEXED_H

#include "support.h"

#if defined(__SANITIZE_THREAD__)
#define INDEXED_SLOWER 10
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define INDEXED_SLOWER 10
#endif
#endif
#ifndef INDEXED_SLOWER
#define INDEXED_SLOWER 1
#endif

enum
{
  INDEXED_COUNT = 3,
  INDEXED_KEY_MAX = 1024
};

extern const struct blitz_indexer indexed_indexer;
extern const struct blitz_indexer *indexed_maker; /* of the next changes: that one at first */
extern const struct blitz_indexes indexed_ids;    /* of the three */

static inline uint64_t indexed_version(uint32_t generation, uint32_t n)
{
  return (uint64_t)generation << 32 | n;
}

/* The key of the row's entry; its length. */
size_t indexed_key(unsigned index_no, uint64_t n, uint64_t version, uint8_t *to);

struct blitz_table *open_indexed_table(const char *name);
struct blitz_table *new_indexed_table(const char *name); /* in the place of an older one */
struct blitz_txn *new_indexed_txn(void);
const char *index_file_of(const char *name); /* DIR/NAME.bzx */

/* The row N of LEN bytes: inserts it, or gives it VERSION. */
enum blitz_rc indexed_insert(struct blitz_txn *txn, struct blitz_table *table, uint64_t n,
                             uint64_t version, size_t len);
enum blitz_rc indexed_update(struct blitz_txn *txn, struct blitz_table *table, uint64_t n,
                             uint64_t version, size_t len);

/* Rows FROM..TO-1 of LEN bytes, each with VERSION, in one transaction. */
void put_indexed_rows(struct blitz_table *table, uint64_t from, uint64_t to, uint64_t version,
                      size_t len);

/* The number that is the key of a row. */
uint64_t number_of_key(struct blitz_slice key);

/* Are the entry and the row at the cursor of each other? Then they are *NP and *VERSIONP. */
bool entry_is_right(struct blitz_cursor *cursor, unsigned index_no, uint64_t *np,
                    uint64_t *versionp);

/* A walk over an index that is asked for each entry whether it stands behind the last. */
struct indexed_order
{
  uint8_t key[INDEXED_KEY_MAX + 16];
  size_t len;
};
bool entry_is_behind(const struct blitz_cursor *cursor, bool forward, struct indexed_order *last);

/* All indexes agree with the rows, and each can be walked both ways. */
void assert_indexes_right(struct blitz_table *table);

#endif
