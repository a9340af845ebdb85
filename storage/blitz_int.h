/* SPDX-License-Identifier: GPL-2.0-only
 *
 * blitz_int.h: the open table, and what the engine's files call of each other.
 *
 * Who may touch what of struct blitz_table is said by the groups below; the
 * rules L1 to L8 are in docs/LOCKING.md. "The writer" is the transaction that
 * holds the table's writer slot (slot.c); there is one at most, and whoever
 * opens, closes or repairs the table counts as it.
 */
#ifndef BLITZ_INT_H
#define BLITZ_INT_H

#include "blitz.h"
#include "error.h"
#include "format.h"
#include "index.h"

#include <pthread.h>
#include <stdatomic.h>

#define BZ_STRIPES BZ_BUCKETS_MIN

/* One view of the file. Older ones stay mapped until the table is closed, since
 * a reader may still be in one.
 */
struct bz_map
{
  uint8_t *base;
  size_t len;
  struct bz_map *older;
};

/* Offsets of blocks, in the order in which they came. */
struct bz_offsets
{
  uint64_t *items;
  size_t count;
  size_t room;
};

#define BZ_SMALL_BINS 64 /* blocks of 16, 32, ... 1,024 bytes */
#define BZ_LARGE_BINS 32 /* larger ones by the power of two below their length */

/* The free blocks of a file. */
struct bz_space
{
  struct bz_offsets small[BZ_SMALL_BINS];
  struct bz_offsets large[BZ_LARGE_BINS];
  uint64_t small_mask; /* bit n: small[n] is not empty */
  uint32_t large_mask;
  atomic_ullong free_len; /* bytes in blocks of state BZ_STATE_FREE; anyone may read it */
};

/* A removed row whose space waits for snapshots to end. */
struct bz_removed
{
  uint64_t off;
  uint64_t seq;
  uint64_t hash; /* of the row's key */
};

struct bz_removed_list
{
  struct bz_removed *items;
  size_t first; /* those before it are done with */
  size_t count;
  size_t room;
  uint32_t *slots; /* positions + 1 by hash, 0: none */
  size_t slot_count;
  size_t hashed; /* items in it: those before this one */
};

/* A point in time that a scan reads at. */
struct bz_snapshot
{
  uint64_t seq;
  uint64_t first; /* where blocks began ... */
  uint64_t end;   /* ... and ended, then */
  uint64_t row_count;
  const struct bz_map *map; /* covers all of that */
  struct bz_snapshot *prev, *next;
};

/* A sequence lock: odd while a writer changes the buckets of its stripe. */
struct bz_stripe
{
  _Alignas(64) atomic_uint version;
};

/* What the commit under way does to look-ups: it may add a row that is not to be
 * seen yet, and take one away that still is.
 */
enum bz_committing
{
  BZ_COMMITTING_NOTHING,
  BZ_COMMITTING_ADDS,
  BZ_COMMITTING_REMOVES,
};

struct blitz_txn;

struct blitz_table
{
  /* Set at open. */
  char *path; /* without extension */
  char *file; /* with it: for messages */
  int fd;
  unsigned flags; /* enum blitz_open_flags */
  uint32_t salt;
  bool row_ids;
  struct bz_index_file *index; /* NULL: the table has no ordered indexes */

  /* Written by the writer, read by anyone. */
  _Atomic(struct bz_map *) map;
  atomic_ullong end;          /* of the blocks */
  atomic_ullong first;        /* of the blocks */
  atomic_ullong bucket_count; /* in use: see hash.c */
  atomic_ullong row_count;    /* committed rows */
  atomic_ullong committed;    /* number of the last commit */
  atomic_int committing;      /* enum bz_committing */
  atomic_bool loading;        /* rows numbered beyond `committed` are a load's */
  atomic_bool broken;         /* a change could not be finished: no more of them */
  struct bz_stripe stripes[BZ_STRIPES];

  /* Only the writer. */
  struct bz_space space;
  struct bz_removed_list removed;
  atomic_ullong allocated; /* length of the file; anyone may read it */
  bool dirty;              /* the file is marked open */

  /* Under slot_lock. */
  pthread_mutex_t slot_lock;
  pthread_cond_t slot_free;
  const struct blitz_txn *writer;

  /* Under snapshot_lock. The writer holds it to join blocks, to move `first`, and to
   * set `committed` and `row_count` together.
   */
  pthread_mutex_t snapshot_lock;
  struct bz_snapshot *snapshots;

  /* Protects `removed` where readers look into it: in a table with indexes. */
  pthread_mutex_t removed_lock;

  /* Under counter_lock. */
  pthread_mutex_t counter_lock;

  /* Under the registry's lock (registry.c). */
  unsigned refs;
  bool opening;
  struct blitz_table *next;
};

extern struct bz_counters
{
  atomic_ullong commits, rollbacks, rows_inserted, rows_updated, rows_removed, read_retries,
      write_waits, bucket_splits, rows_moved, bytes_allocated, recoveries, index_rebuilds,
      index_lookups, index_misses, view_renewals;
} bz_counters;

static inline void bz_count(atomic_ullong *counter, uint64_t n)
{
  atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* The map for the writer. */
static inline uint8_t *bz_base(const struct blitz_table *table)
{
  return atomic_load_explicit(&table->map, memory_order_relaxed)->base;
}

/* An error that says that TABLE's file is damaged at OFF. */
enum blitz_rc bz_damaged(const struct blitz_table *table, uint64_t off, struct blitz_error *err);

/* ---- file.c: the file as a whole ------------------------------------------ */

/* PATH with the extension, to be freed; NULL: out of memory. */
char *bz_file_name(const char *path);

/* Creates NAME with the header and empty bucket array for OPTIONS. */
enum blitz_rc bz_file_create(const char *name, const struct blitz_create_options *options,
                             bool replace, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Opens, locks and maps table->file; fills in all that is set at open. */
enum blitz_rc bz_file_open(struct blitz_table *table, struct bz_header *header,
                           struct blitz_error *err) BLITZ_MUST_CHECK;

/* Unmaps and closes; nothing is written. */
void bz_file_close(struct blitz_table *table);

/* Makes the file at least LEN bytes long, allocated on the device and mapped. */
enum blitz_rc bz_file_reserve(struct blitz_table *table, uint64_t len,
                              struct blitz_error *err) BLITZ_MUST_CHECK;

/* Marks the file as open for writing: whoever takes the writer slot does, so that a
 * file without the mark has not changed since its checksum was made.
 */
void bz_file_mark_dirty(struct blitz_table *table);

/* Says in which run of the machine the file is open. */
void bz_file_stamp(struct blitz_table *table);

/* Was the file opened last in this run of the machine, so that the page cache has all of it? */
bool bz_file_is_of_this_boot(const struct bz_header *header);

/* Checksum of a closed file's header and bucket array, but for the caller's number. */
uint32_t bz_file_closed_crc(const struct blitz_table *table);

/* Moves the end of the blocks, in memory and in the header. */
void bz_file_set_end(struct blitz_table *table, uint64_t end);

/* ---- space.c: free space -------------------------------------------------- */

/* Takes a block of LEN bytes, a multiple of 16, of state BZ_STATE_INFLIGHT. */
enum blitz_rc bz_space_alloc(struct blitz_table *table, uint64_t len, uint64_t *offp,
                             struct blitz_error *err) BLITZ_MUST_CHECK;

/* The same, at the end of the file. */
enum blitz_rc bz_space_alloc_at_end(struct blitz_table *table, uint64_t len, uint64_t *offp,
                                    struct blitz_error *err) BLITZ_MUST_CHECK;

/* Makes a block of state BZ_STATE_INFLIGHT free for anyone. */
void bz_space_free(struct blitz_table *table, uint64_t off);

/* The same, but not while a snapshot is open: a cursor may know the row in it. Uses
 * room from bz_removed_prepare().
 */
void bz_space_free_later(struct blitz_table *table, uint64_t off);

/* Makes the first LEN bytes of the free block at OFF no block any more. False: it is
 * damaged.
 */
bool bz_space_forget(struct blitz_table *table, uint64_t off, uint64_t len) BLITZ_MUST_CHECK;

/* Makes OFF to END, in which there is no row, free blocks. */
void bz_space_free_gap(struct blitz_table *table, uint64_t off, uint64_t end);

/* Stamps the row at OFF as removed by commit SEQ and remembers it. Its space
 * becomes free in a bz_space_reclaim() when no snapshot needs it.
 */
void bz_space_remove_row(struct blitz_table *table, uint64_t off, uint64_t len, uint64_t hash,
                         uint64_t seq);

void bz_space_reclaim(struct blitz_table *table);

/* Writes the list of free blocks behind the end of the blocks, at close. */
void bz_space_save(struct blitz_table *table);

/* Reads that list, or finds the free blocks by a walk through the file. */
enum blitz_rc bz_space_load(struct blitz_table *table, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Forgets all free blocks and removed rows. */
void bz_space_clear(struct blitz_table *table);

/* ---- removed.c: removed rows that snapshots still read ---------------------- */

/* Makes room to remember COUNT more of them. */
enum blitz_rc bz_removed_prepare(struct blitz_table *table, size_t count,
                                 struct blitz_error *err) BLITZ_MUST_CHECK;

/* Adds the row at OFF, of which HASH is the key's bucket hash, removed by commit SEQ. */
void bz_removed_add(struct blitz_table *table, uint64_t off, uint64_t seq, uint64_t hash);

/* Forgets those before the one in place FIRST; or all of them. */
void bz_removed_drop(struct blitz_table *table, size_t first);
void bz_removed_clear(struct blitz_table *table);

struct bz_key;

/* The version of the row KEY that SNAPSHOT sees, if it was removed since. */
enum blitz_rc bz_removed_find(struct blitz_table *table, const struct bz_snapshot *snapshot,
                              const struct bz_key *key, struct bz_row *row) BLITZ_MUST_CHECK;

/* ---- hash.c: buckets and their trees -------------------------------------- */

struct bz_key
{
  const uint8_t *data; /* the file's key */
  size_t len;
  struct bz_hash hash;
};

/* Where a row hangs, or would hang. */
struct bz_place
{
  struct bz_row row;
  uint64_t link_off; /* of the 8 bytes that point to it */
};

static inline struct bz_key bz_key_of_row(const struct bz_row *row)
{
  return (struct bz_key){row->key, row->key_len, bz_hash(row->key, row->key_len)};
}

/* Offset of the bucket for a bucket hash among COUNT buckets. */
static inline uint64_t bz_bucket_off(uint64_t hash, uint64_t count)
{
  uint64_t round = UINT64_C(1) << (63 - __builtin_clzll(count)); /* buckets at its begin */
  uint64_t bucket = hash & (round * 2 - 1);

  if (bucket >= count)
    bucket -= round;
  return BZ_HEADER_LEN + bucket * BZ_BUCKET_LEN;
}

/* Finds a row, for the writer. BLITZ_NOT_FOUND: place->link_off is where a row of
 * that key would hang.
 */
enum blitz_rc bz_hash_find(const struct blitz_table *table, const struct bz_key *key,
                           struct bz_place *place) BLITZ_MUST_CHECK;

/* Makes the block at OFF, which bz_row_fill() filled, the live row at the free
 * place LINK_OFF, or in the place of another row.
 */
void bz_hash_link(struct blitz_table *table, struct bz_hash hash, uint64_t link_off, uint64_t off);
void bz_hash_replace(struct blitz_table *table, struct bz_hash hash, const struct bz_place *old,
                     uint64_t off);

/* Takes the row out of its tree; its block stays as it is. BLITZ_CORRUPT: the tree is
 * damaged, and nothing was changed.
 */
enum blitz_rc bz_hash_unlink(struct blitz_table *table, struct bz_hash hash,
                             const struct bz_place *place) BLITZ_MUST_CHECK;

/* Splits the next bucket in two. */
void bz_hash_split(struct blitz_table *table);

/* ---- hash_read.c: look-ups beside the writer ------------------------------- */

struct bz_buffer
{
  uint8_t *data;
  size_t room;
};

enum blitz_rc bz_buffer_reserve(struct bz_buffer *buf, size_t len) BLITZ_MUST_CHECK;

/* The committed row KEY, copied into *BUF, which ROW then points into. */
enum blitz_rc bz_hash_read(struct blitz_table *table, const struct bz_key *key,
                           struct bz_buffer *buf, struct bz_row *row) BLITZ_MUST_CHECK;

/* ---- grow.c: more buckets -------------------------------------------------- */

/* Splits up to BUDGET buckets while there are fewer than ROWS of them. TXN, if not
 * NULL, is the writer, whose blocks may be moved. Stops early if there is a
 * snapshot or no space: a smaller array is slower, not wrong.
 */
void bz_grow(struct blitz_table *table, struct blitz_txn *txn, uint64_t rows, uint64_t budget);

/* Goes on to a power of two, so that Tokyo Cabinet can read the file. False: it
 * could not, and the file must be repaired at the next open.
 */
bool bz_grow_finish(struct blitz_table *table) BLITZ_MUST_CHECK;

/* ---- snapshot.c ------------------------------------------------------------ */

/* Takes a snapshot of now, or of the moment of another one that is open, and ends it. All
 * need snapshot_lock.
 */
void bz_snapshot_take(struct blitz_table *table, struct bz_snapshot *snapshot);
void bz_snapshot_copy(struct blitz_table *table, const struct bz_snapshot *from,
                      struct bz_snapshot *to);
void bz_snapshot_end(struct blitz_table *table, struct bz_snapshot *snapshot);

/* Ends commit number SEQ: it is in the file, and ROW_COUNT rows are there now. INDEX_TXN,
 * which may be NULL, are its entries in the indexes: whoever takes a snapshot sees both or
 * none. A failure is one of the entries: they are given up, and nothing is published.
 */
enum blitz_rc bz_snapshot_publish(struct blitz_table *table, uint64_t seq, uint64_t row_count,
                                  struct MDB_txn *index_txn,
                                  struct blitz_error *err) BLITZ_MUST_CHECK;

/* The earliest commit that a snapshot reads at, UINT64_MAX if there is none.
 * Needs snapshot_lock.
 */
uint64_t bz_snapshot_oldest(const struct blitz_table *table);

/* What a snapshot finds at an offset: a row that it sees (BLITZ_OK), something
 * that it does not see (BLITZ_NOT_FOUND), or damage. row->len is set unless it is
 * damage.
 */
enum blitz_rc bz_snapshot_block(const struct blitz_table *table, const struct bz_snapshot *snapshot,
                                uint64_t off, struct bz_row *row) BLITZ_MUST_CHECK;

/* Does SNAPSHOT see a row KEY at OFF? There may be anything there. */
bool bz_snapshot_has_row(const struct blitz_table *table, const struct bz_snapshot *snapshot,
                         uint64_t off, const struct bz_key *key, struct bz_row *row);

/* The row at OFF that was read while SNAPSHOT was open, by a scan or otherwise: its
 * bytes have stayed, whatever became of it. BLITZ_NOT_FOUND: there is none.
 */
enum blitz_rc bz_snapshot_kept(const struct blitz_table *table, const struct bz_snapshot *snapshot,
                               uint64_t off, struct bz_row *row) BLITZ_MUST_CHECK;

/* ---- slot.c: one writer a table -------------------------------------------- */

enum blitz_rc bz_slot_take(struct blitz_table *table, const struct blitz_txn *txn,
                           unsigned timeout_seconds, struct blitz_error *err) BLITZ_MUST_CHECK;
void bz_slot_release(struct blitz_table *table);

/* ---- recover.c -------------------------------------------------------------- */

/* Repairs a file that was not closed, or was CLOSED but is damaged. */
enum blitz_rc bz_recover(struct blitz_table *table, bool closed, bool *lost_rowsp,
                         struct blitz_error *err) BLITZ_MUST_CHECK;

/* ---- txn.c, change.c: what others need of a transaction's changes --------------------- */

enum bz_own
{
  BZ_OWN_NONE,    /* the transaction has not changed that key */
  BZ_OWN_ROW,     /* it made a row, the block at *OFFP */
  BZ_OWN_REMOVED, /* it removed the row */
};

/* What TXN, which may be NULL, did to a key of TABLE in the first LIMIT of its
 * changes. While it loads the table, that is all that is there: BZ_OWN_ROW or
 * BZ_OWN_REMOVED.
 */
enum bz_own bz_txn_own(const struct blitz_txn *txn, const struct blitz_table *table,
                       const struct bz_key *key, uint32_t limit, uint64_t *offp);

/* How many keys of TABLE it has changed; and the block with the row of change I, 0
 * if that change did not add a row.
 */
uint32_t bz_txn_change_count(const struct blitz_txn *txn, const struct blitz_table *table);
uint64_t bz_txn_added_row(const struct blitz_txn *txn, const struct blitz_table *table, uint32_t i);

/* Has TXN, which may be NULL, changed TABLE? */
bool bz_txn_changes(const struct blitz_txn *txn, const struct blitz_table *table);

/* Puts all that it has loaded into its place, so that a scan finds it. */
void bz_txn_settle(struct blitz_txn *txn, const struct blitz_table *table);

/* Is it loading TABLE (load.c)? */
bool bz_txn_loads(const struct blitz_txn *txn, const struct blitz_table *table);

/* The block at FROM with the row KEY has moved. TXN, if not NULL, is the writer. */
void bz_txn_moved(struct blitz_txn *txn, const struct blitz_table *table, const struct bz_key *key,
                  uint64_t from, uint64_t to);

/* Inserts a row of which the caller made the key, in a table with row ids too. */
enum blitz_rc bz_insert(struct blitz_txn *txn, struct blitz_table *table, struct blitz_slice key,
                        struct blitz_slice value, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Changes of a row that was read at HINT_OFF (0: unknown), which saves looking for it. */
enum blitz_rc bz_update(struct blitz_txn *txn, struct blitz_table *table, const struct bz_key *key,
                        uint64_t hint_off, struct blitz_slice new_key, struct blitz_slice value,
                        struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc bz_remove(struct blitz_txn *txn, struct blitz_table *table, const struct bz_key *key,
                        uint64_t hint_off, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Removes all entries, and a row without its entries; for blitz_remove_all(). */
enum blitz_rc bz_remove_entries(struct blitz_txn *txn, struct blitz_table *table,
                                struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc bz_remove_alone(struct blitz_txn *txn, struct blitz_table *table,
                              const struct bz_key *key, uint64_t hint_off,
                              struct blitz_error *err) BLITZ_MUST_CHECK;

/* After a change that could not be finished: no more of them. */
void bz_set_broken(struct blitz_table *table);

/* ---- load.c: rows for an empty table, straight to their places --------------- */

struct bz_load;

/* May TABLE be loaded by its writer? */
bool bz_load_possible(const struct blitz_table *table);

/* NULL: out of memory. Commit and rollback free LOAD; a commit that fails is a rollback. */
struct bz_load *bz_load_begin(struct blitz_table *table);
enum blitz_rc bz_load_commit(struct blitz_table *table, struct bz_load *load, uint64_t rows,
                             struct MDB_txn *index_txn, struct blitz_error *err) BLITZ_MUST_CHECK;
void bz_load_rollback(struct blitz_table *table, struct bz_load *load);

/* Is KEY certainly not there, since it is beyond all before it? Remembers it if so. */
bool bz_load_is_new(struct bz_load *load, const struct bz_key *key);

/* Makes the block at OFF, which bz_row_fill() filled, the row of such a KEY. */
void bz_load_append(struct blitz_table *table, struct bz_load *load, const struct bz_key *key,
                    uint64_t off);

/* Brings the trees up to date; to be called before anyone looks at them. */
void bz_load_flush(struct blitz_table *table, struct bz_load *load);

/* The block at FROM has moved. */
void bz_load_moved(struct bz_load *load, uint64_t from, uint64_t to);

/* Makes the block at OFF, which bz_row_fill() filled, the row KEY: at the free place
 * LINK_OFF, or in the place of another row, which goes.
 */
void bz_load_put(struct blitz_table *table, const struct bz_key *key, uint64_t link_off,
                 uint64_t off);
void bz_load_replace(struct blitz_table *table, const struct bz_key *key,
                     const struct bz_place *old, uint64_t off);
enum blitz_rc bz_load_remove(struct blitz_table *table, const struct bz_key *key,
                             const struct bz_place *old) BLITZ_MUST_CHECK;

#endif /* BLITZ_INT_H */
