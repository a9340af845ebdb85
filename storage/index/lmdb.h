/* SPDX-License-Identifier: GPL-2.0-only
 *
 * lmdb.h: what the files here share of LMDB.
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

#include "index/index.h"
#include "index/page.h"

#include <lmdb.h>
#include <string.h>

#define LONG_HEAD 503
#define LABEL_LEN 8
#define LMDB_KEY_MAX (LONG_HEAD + LABEL_LEN)
#define WORD_LEN 8
#define LONG_LEN_LEN 4
#define WORD_UNIQUE 1u
#define WORD_LONG 2u
#define WORD_ROW_KEY_SHIFT 2
#define WORD_ROW_KEY_MASK 0x3fffu
#define WORD_OFF_SHIFT 16

#define DB_NAME_LEN 18 /* `i`, an id in hexadecimal, and a zero */

void bz_index_db_name(uint64_t id, char name[DB_NAME_LEN]);
bool bz_index_db_id(const MDB_val *name, uint64_t *idp); /* false: it is no such name */

/* ---- file.c --------------------------------------------------------------------------- */

/* The file's own record: its key in the unnamed database, and its bytes for commit SEQ. */
#define RECORD_LEN_MAX (36 + 8 * BLITZ_INDEXES_MAX + 16 * BZ_DBIS_MAX)
MDB_val bz_index_record_key(void);
size_t bz_index_make_record(const struct blitz_table *table, uint64_t seq, uint8_t *to);

/* What the record says of the sum of index ID's entries. False: nothing, or it is damaged. */
bool bz_index_record_sum(const MDB_val *record, uint64_t id, uint64_t *sump);

/* Looks over what was not yet of a file that is open (X6). False: it is damaged. */
bool bz_index_verify_rest(struct bz_index_file *file) BLITZ_MUST_CHECK;

/* An error for LMDB's or the system's number. */
enum blitz_rc bz_index_fail(const struct blitz_table *table, int mdb_rc, struct blitz_error *err);

/* The same, of a write transaction; for its writer. */
enum blitz_rc bz_index_write_fail(const struct blitz_table *table, int mdb_rc,
                                  struct blitz_error *err);

/* ---- env.c ---------------------------------------------------------------------------- */

/* Opens the environment in the file that FD is open for. 0, or LMDB's or the system's number. */
int bz_env_open(struct bz_index_file *file, int fd, bool readonly);
void bz_env_close(struct bz_index_file *file);

/* Length of what LMDB uses of the file. */
uint64_t bz_env_used(const struct bz_index_file *file);

/* Cuts off what no committed page is in. *LENP: the file's length. False: errno. */
bool bz_env_cut(const struct bz_index_file *file, uint64_t *lenp);

/* Makes the map longer, if more than half of it would be in use once LEN more bytes are stored. For
 * who is `writing`, before it begins a transaction; needs snapshot_lock.
 */
void bz_env_make_room(struct blitz_table *table, uint64_t len);

/* Keeps the last commit for who reads what was before commit UNTIL (X9), until bz_index_trim();
 * needs snapshot_lock.
 */
enum blitz_rc bz_env_keep(struct blitz_table *table, uint64_t until) BLITZ_MUST_CHECK;

/* ---- write.c ---------------------------------------------------------------------------- */

/* For who is `writing`: a transaction; its commit, as that of all up to commit NUMBER, which ends
 * it, also if it fails; or its end without one.
 */
enum blitz_rc bz_index_file_begin(struct blitz_table *table, MDB_txn **txnp,
                                  struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc bz_index_file_commit(struct blitz_table *table, MDB_txn *txn, uint64_t number,
                                   struct blitz_error *err) BLITZ_MUST_CHECK;

void bz_index_file_abort(struct blitz_table *table, MDB_txn *txn);

/* Nobody writes any more. Gives back what was taken of the device if FAILED; needs snapshot_lock.
 */
void bz_index_end_writing(struct blitz_table *table, bool failed);

/* ---- merge.c ---------------------------------------------------------------------------- */

/* Nobody will merge what is in memory. Needs snapshot_lock, unless nobody has the table. */
void bz_index_forget(struct blitz_table *table);

/* bz_index_merge() for the writer, while it is `writing`. */
enum blitz_rc bz_index_merge_all(struct blitz_table *table,
                                 struct blitz_error *err) BLITZ_MUST_CHECK;

/* ---- tree.c ---------------------------------------------------------------------- */

/* What a pair adds to the sum of its database; its label does not count. */
uint64_t bz_pair_sum(const MDB_val *key, const MDB_val *value);

/* Takes a pair apart, which each step does. False: it is damaged. */
static inline bool bz_entry_parse(const MDB_val *key, const MDB_val *value, struct bz_entry *entry)
{
  const uint8_t *from = value->mv_data, *end = from + value->mv_size;
  /* Not in the entry until it is known: a part of it that is read again has to be awaited. */
  const uint8_t *sort_key = key->mv_data;
  size_t sort_key_len = key->mv_size, row_key_len;
  uint64_t word;

  if (value->mv_size < WORD_LEN)
    return false;
  word = le64toh(page_load64(from));
  from += WORD_LEN;
  row_key_len = word >> WORD_ROW_KEY_SHIFT & WORD_ROW_KEY_MASK;
  entry->off = word >> WORD_OFF_SHIFT << BZ_ALIGN_POWER;
  entry->unique = (word & WORD_UNIQUE) != 0;
  if (word & WORD_LONG)
  {
    if (end - from < LONG_LEN_LEN)
      return false;
    sort_key_len = le32toh(page_load32(from));
    sort_key = from + LONG_LEN_LEN;
    if ((size_t)(end - sort_key) < sort_key_len)
      return false;
    from = sort_key + sort_key_len;
  }
  entry->sort_key = (struct blitz_slice){sort_key, sort_key_len};
  if (entry->unique)
  {
    if ((size_t)(end - from) < row_key_len)
      return false;
    entry->key = (struct blitz_slice){sort_key, sort_key_len};
    entry->row_key = (struct blitz_slice){from, row_key_len};
    from += row_key_len;
  }
  else
  {
    if (sort_key_len < row_key_len)
      return false;
    entry->key = (struct blitz_slice){sort_key, sort_key_len - row_key_len};
    entry->row_key = (struct blitz_slice){sort_key + sort_key_len - row_key_len, row_key_len};
  }
  entry->payload = (struct blitz_slice){from, (size_t)(end - from)};
  return true;
}

/* ---- label.c --------------------------------------------------------------------- */

#define LABEL_FIRST (UINT64_C(1) << 63)
#define LABEL_STEP (UINT64_C(1) << 32)

/* What a bisection among long keys found. */
struct bz_gap
{
  bool exact; /* the entry is there, with the label `after` */
  bool has_before, has_after;
  uint64_t before, after; /* labels of the neighbours */
};

/* A key of LMDB's for a long sort key. */
static inline MDB_val bz_labelled(const uint8_t *head, uint64_t label, uint8_t to[LMDB_KEY_MAX])
{
  memcpy(to, head, LONG_HEAD);
  bz_store_be64(to + LONG_HEAD, label);
  return (MDB_val){LMDB_KEY_MAX, to};
}

static inline bool bz_in_group(const MDB_val *key, const uint8_t *head)
{
  return key->mv_size == LMDB_KEY_MAX && memcmp(key->mv_data, head, LONG_HEAD) == 0;
}

static inline uint64_t bz_label_of(const MDB_val *key)
{
  return bz_load_be64((const uint8_t *)key->mv_data + LONG_HEAD);
}

static inline int bz_compare_keys(struct blitz_slice a, struct blitz_slice b)
{
  size_t len = a.len < b.len ? a.len : b.len;
  int order = len == 0 ? 0 : memcmp(a.data, b.data, len);

  return order != 0 ? order : a.len < b.len ? -1 : a.len > b.len;
}

/* Finds the first pair from *AT on: 0, MDB_NOTFOUND or an error. */
typedef int bz_seek_pair_fn(void *arg, MDB_val *at, MDB_val *value);

/* Where among the entries with KEY's head the long KEY stands: behind those that are less,
 * and, if BEYOND, behind those that begin with it too.
 */
int bz_find_gap(bz_seek_pair_fn *seek, void *arg, struct blitz_slice key, bool beyond,
                struct bz_gap *gap);

/* The key of LMDB's, *AT, from which on are the pairs from KEY on, or if BEYOND from the first
 * one on that does not begin with it; an empty one: all. MDB_NOTFOUND: none are. *AT may be in
 * BUF.
 */
int bz_find_place(bz_seek_pair_fn *seek, void *arg, struct blitz_slice key, bool beyond,
                  uint8_t buf[LMDB_KEY_MAX], MDB_val *at);

/* A label for a new key; false: there is none left between its neighbours. */
bool bz_label_between(struct bz_index_file *file, unsigned dbi, const struct bz_gap *gap,
                      uint64_t *label);

/* Spreads the labels with HEAD around one anew, so that there is room. */
enum blitz_rc bz_label_spread(struct blitz_table *table, MDB_txn *txn, unsigned dbi,
                              const uint8_t *head, uint64_t around, struct blitz_error *err);

/* ---- walk.c ---------------------------------------------------------------------- */

/* A walk over the tree of a database's record. */
enum blitz_rc bz_walk_open_record(const struct bz_walk_commit *commit, const uint8_t *record,
                                  struct bz_walk *walk);

/* Goes to where KEY would be, or if BEYOND, what is behind all that begin with it: to the first
 * entry from there on, or behind the last one of the leaf before. BLITZ_END: the tree is empty.
 */
enum blitz_rc bz_walk_place(struct bz_walk *walk, struct blitz_slice key, bool beyond);

/* Finds an entry with about PART of all entries before it, if pages of a level are alike. */
enum blitz_rc bz_walk_seek_part(struct bz_walk *walk, double part, struct bz_entry *found);

/* The unnamed database, in which the others are by their names. */
#define MAIN_DBI 1

#endif /* BZ_INDEX_LMDB_H */
