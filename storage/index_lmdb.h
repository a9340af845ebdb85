/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_lmdb.h: what the files index_*.c share of LMDB.
 *
 * Bytes of a database's pair. Numbers are little-endian unless said otherwise.
 *
 *   key    the sort key, if it has up to LONG_HEAD bytes
 *          else its first LONG_HEAD bytes and a label, 8 bytes, big-endian
 *   value  word (8): offset of the row / 16 << 16 | length of the row key << 2 |
 *                    WORD_LONG | WORD_UNIQUE
 *          of a long one: length of the sort key (4), the sort key
 *          of a unique one: the row key
 *          the payload
 *
 * The sort key is the entry's key, and behind it the row key unless the entry is
 * unique. Labels order long sort keys that begin with the same LONG_HEAD bytes. LMDB's
 * limit of 511 bytes is met exactly by a long one, so the two kinds do not mix.
 */
#ifndef BZ_INDEX_LMDB_H
#define BZ_INDEX_LMDB_H

#include "blitz_int.h"
#include "bytes.h"
#include "index.h"

#include <lmdb.h>

#define LONG_HEAD 503
#define LABEL_LEN 8
#define WORD_LEN 8
#define LONG_LEN_LEN 4
#define WORD_UNIQUE 1u
#define WORD_LONG 2u
#define WORD_ROW_KEY_SHIFT 2
#define WORD_ROW_KEY_MASK 0x3fffu
#define WORD_OFF_SHIFT 16

#define DB_NAME_LEN 18 /* `i`, an id in hexadecimal, and a zero */

void bz_index_db_name(uint64_t id, char name[DB_NAME_LEN]);

/* ---- index_file.c, for index_write.c ------------------------------------------------- */

#define FREE_DBI 0         /* LMDB's list of free pages */
#define FREED_PER_PAGE 256 /* pages, of which that list has one page at most */

/* The file's own record: its key in the unnamed database, and its bytes for commit SEQ. */
#define RECORD_LEN_MAX (32 + 8 * BLITZ_INDEXES_MAX)
MDB_val bz_index_record_key(void);
size_t bz_index_make_record(const struct blitz_table *table, uint64_t seq, uint8_t *to);

/* Pages of a database. */
uint64_t bz_index_pages(MDB_txn *txn, MDB_dbi dbi);

/* Allocates the file's first LEN bytes on the device, and some more if they fit. 0, or the
 * system's number.
 */
int bz_index_allocate(struct bz_index_file *file, uint64_t len);

/* Cuts the file to what is allocated: LMDB has made it as long as its map. */
void bz_index_cut(const struct bz_index_file *file);

/* ---- index_tree.c ---------------------------------------------------------------------- */

/* Takes a pair apart. False: it is damaged. */
bool bz_entry_parse(const MDB_val *key, const MDB_val *value, struct bz_entry *entry);

/* The unnamed database, in which the others are by their names. */
#define MAIN_DBI 1

#endif /* BZ_INDEX_LMDB_H */
