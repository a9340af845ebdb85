/* SPDX-License-Identifier: GPL-2.0-only
 *
 * rows.h: the data file of an open table: its rows by key and in the order of their places,
 * its free space, the versions that snapshots still see. A room that knows of bytes and of
 * commits' numbers, of no transaction and of no index.
 *
 * Who may call what is said by each function, and by the groups of struct blitz_table for
 * what they change:
 *   - "For the writer": whoever has the table's writer slot (txn/slot.c), of which there is
 *     one at most; whoever opens, closes or repairs the table counts as it. That is all that
 *     has no other word.
 *   - "Needs snapshot_lock": the caller holds it.
 *     Both are asserted where they matter most.
 *   - Look-ups (hash_read.c), and what a snapshot finds (snapshot.c): anyone, without a lock.
 *
 * Invariants stand where they are kept:
 *   F1-F4   the bytes of blocks              format.h
 *   H1-H5   buckets and trees                hash.c
 *   G1-G3   more buckets                     grow.c
 *   V1-V3   removed rows                     removed.c
 *   R1-R12  recovery                         recover.c
 *   B1-B4   the file and its map             file.c
 *   C1-C5   images, the log, checkpoints     checkpoint.c
 * those of space in space.c; the rules L1 to L19 of locks in docs/LOCKING.md.
 *
 * Private to the room: hash.h, space.h.
 */
#ifndef BZ_ROWS_H
#define BZ_ROWS_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/held.h"
#include "base/numbers.h"
#include "base/pages.h"
#include "base/prefetch.h"
#include "base/seqlock.h"
#include "rows/format.h"

#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

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

#define BZ_SMALL_BINS 64 /* blocks of 16, 32, ... 1,024 bytes */
#define BZ_LARGE_BINS 32 /* larger ones by the power of two below their length */

/* The free blocks of a file. */
struct bz_space
{
  struct bz_numbers small[BZ_SMALL_BINS]; /* their offsets, in the order in which they came */
  struct bz_numbers large[BZ_LARGE_BINS];
  uint64_t small_mask; /* bit n: small[n] is not empty */
  uint32_t large_mask;
  atomic_ullong free_len; /* bytes in blocks of state BZ_STATE_FREE; anyone may read it */
};

struct bz_removed; /* a removed row whose bytes are still wanted */
struct bz_removed_slab;

#define BZ_REMOVED_PARTS 64

/* Those of a part of all hashes, by hash. */
struct bz_removed_part
{
  pthread_mutex_t lock;
  struct bz_removed **heads;
  struct bz_removed *only; /* while there are no heads */
  size_t head_count;       /* a power of two, or 0 */
  size_t count;
};

struct bz_removed_rows
{
  struct bz_removed_part parts[BZ_REMOVED_PARTS];
  atomic_size_t count; /* anyone may read it */
  struct bz_removed_slab *slabs;
  struct bz_removed *free;
  size_t free_count;
  struct bz_removed_slab *swept; /* where the last commit has stopped looking */
  size_t swept_count;
  uint64_t ends;     /* of snapshots, when room was wanted last */
  size_t vain_looks; /* for room, since then */
  uint64_t *wanted;  /* commits that snapshots look at, ascending */
  size_t wanted_count, wanted_room;
};

/* A point in time that a scan reads at. */
struct bz_snapshot
{
  uint64_t seq;
  uint64_t first; /* where blocks began ... */
  uint64_t end;   /* ... and ended, then */
  uint64_t row_count;
  const struct bz_map *map; /* covers all of that */
  LIST_ENTRY(bz_snapshot) link;
};

/* A scan on its way: the places between LOW and HIGH at which blocks begin or end stay such
 * places, so it finds its next block. Under snapshot_lock.
 */
struct bz_scan
{
  uint64_t low, high;
  LIST_ENTRY(bz_scan) link;
};

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
  unsigned depth;    /* rows above it */
};

struct bz_buffer
{
  uint8_t *data;
  size_t room;
};

struct blitz_txn;
struct bz_index_file;
struct bz_deltas;

#define BZ_NEEDS_NOTHING UINT64_MAX /* of the log */

struct blitz_table
{
  /* Set at open. */
  char *path; /* without extension */
  char *file; /* with it: for messages */
  int fd;
  unsigned flags; /* enum blitz_open_flags */
  uint32_t salt;
  struct bz_secret secret;
  unsigned version;    /* of the file's format */
  unsigned spread_len; /* bytes that the file's keys have more than the caller's */
  bool row_ids;
  bool logged; /* its commits go to the log, and its pages to the file by checkpoints */
  struct bz_index_file *index; /* NULL: the table has no ordered indexes */
  struct bz_deltas *replayed;  /* entries that the log had, for who opens the indexes; or NULL */

  /* Written by the writer, read by anyone. */
  _Atomic(struct bz_map *) map;
  atomic_ullong end;           /* of the blocks */
  atomic_ullong first;         /* of the blocks */
  uint64_t rows_lost;          /* damaged ones that recovery or repair has dropped */
  atomic_ullong bucket_count;  /* in use: see hash.c */
  atomic_ullong front_buckets; /* those before the first block, a power of two; others: grow.c */
  atomic_ullong segments[64];  /* where the buckets from 1 << n to (2 << n) - 1 are */
  atomic_ullong row_count;     /* committed rows */
  atomic_ullong committed;     /* number of the last commit */
  atomic_ullong unpublished;   /* number of the last commit that was begun and removes rows */
  atomic_bool broken;          /* a change could not be finished: no more of them */
  atomic_bool damaged;         /* a row that is not found may be a damaged one (R10) */
  atomic_ullong snapshot_ends; /* counts them; stored under snapshot_lock */
  atomic_uint reuses;          /* odd while blocks of rows that were there are given back */
  atomic_ullong counter;       /* the caller's number; under counter_lock */
  atomic_ullong index_seq;     /* 1 + the last commit that the index file has; 0: there is none */
  struct bz_stripe stripes[BZ_STRIPES];

  /* Only the writer. */
  struct bz_space space;
  atomic_ullong allocated;     /* length of the file; anyone may read it */
  bool dirty;                  /* the file is marked open */
  bool taken_up;               /* it was when it was opened, and it is an image */
  uint64_t walk_off, walk_end; /* between them free blocks are not known yet (space.c) ... */
  uint64_t walk_commit;        /* ... and what was removed up to that commit is free */

  /* What the log and the file have of it (checkpoint.c). */
  atomic_ullong log_number; /* of this opening, in the log; 0: the log knows nothing of it */
  uint64_t log_id;          /* of the log that knows it */
  atomic_ullong needs_from; /* position in the log (C3) */
  bool crash_safe;          /* commits wait until the log is on the device */
  bool claimed;             /* C4; under a lock of checkpoint.c's */
  bool applying;            /* a commit is in the log and may be here in part; under change_lock */
  bool applied_in_part;     /* the same, when the last image was taken */
  bool has_indexes;         /* they are open as they are to be; for who has claimed it */
  bool merged;              /* the index file has all from before the checkpoint; the same */
  uint64_t placed_end;      /* of the blocks, in the file; for who has claimed it */
  uint64_t placed_image;    /* number of the one that the file is; the same */
  bool recovering;          /* the header's end stays as it is */

  /* Under slot_lock. */
  pthread_mutex_t slot_lock;
  pthread_cond_t slot_free;
  const struct blitz_txn *writer;

  /* Held while pages are changed, by the writer alone; who takes the pages of one moment holds
   * it for that moment. It comes before snapshot_lock.
   */
  pthread_mutex_t change_lock;
  struct bz_pages pages; /* without states: the map is shared, and the kernel writes it */

  /* Under snapshot_lock. The writer holds it to join blocks, to move `first`, and to
   * set `committed` and `row_count` together.
   */
  pthread_mutex_t snapshot_lock;
  LIST_HEAD(, bz_snapshot) snapshots;
  LIST_HEAD(, bz_scan) scans;

  /* Under moments_lock (txn/pins.c). */
  LIST_HEAD(, bz_pin) pins;
  atomic_ullong
      pinned_for; /* number of the last moment before the last commit; anyone may read it */

  /* The writer's, but for what its parts have locks for. */
  struct bz_removed_rows removed;

  /* Under counter_lock. */
  pthread_mutex_t counter_lock;

  /* Under the registry's lock (table.c). */
  unsigned refs;
  bool opening;    /* or closing: somebody has the table alone */
  bool unfinished; /* nobody uses it, but its file could not be written */
  bool left;       /* nobody uses it, but it has commits of the log that its file lacks ... */
  bool left_long;  /* ... and that is so since before the last checkpoint */
  struct blitz_table *next;
};

/* Around giving back blocks that a reader may take for rows: it looks again. */
static inline void bz_reuse_begin(struct blitz_table *table)
{
  atomic_fetch_add_explicit(&table->reuses, 1, memory_order_acq_rel);
}

static inline void bz_reuse_end(struct blitz_table *table)
{
  atomic_fetch_add_explicit(&table->reuses, 1, memory_order_acq_rel);
}

/* What is for the writer asserts that there is one: who has the slot, or opens or closes. */
static inline void bz_assert_writer(const struct blitz_table *table)
{
  (void)table;
  assert(table->writer != NULL || table->opening);
}

/* The map for the writer. */
static inline uint8_t *bz_base(const struct blitz_table *table)
{
  return atomic_load_explicit(&table->map, memory_order_relaxed)->base;
}

/* Must come before the LEN bytes at OFF are stored into, in memory that bz_file_reserve() has
 * given (B1). Whoever changes pages holds change_lock.
 */
static inline void bz_note(struct blitz_table *table, uint64_t off, uint64_t len)
{
  if (table->pages.states == NULL)
    return;
  assert(bz_holds(&table->change_lock));
  bz_pages_note(&table->pages, off, len);
}

static inline void bz_put_word(struct blitz_table *table, uint64_t off, uint64_t word)
{
  bz_note(table, off, sizeof word);
  bz_word_store(bz_base(table), off, word);
}

static inline void bz_put_be64(struct blitz_table *table, uint64_t off, uint64_t n)
{
  bz_note(table, off, sizeof n);
  bz_store_be64(bz_base(table) + off, n);
}

static inline void bz_put_le64(struct blitz_table *table, uint64_t off, uint64_t n)
{
  bz_note(table, off, sizeof n);
  bz_store_le64(bz_base(table) + off, n);
}

static inline void bz_put_le32(struct blitz_table *table, uint64_t off, uint32_t n)
{
  bz_note(table, off, sizeof n);
  bz_store_le32(bz_base(table) + off, n);
}

static inline void bz_put_byte(struct blitz_table *table, uint64_t off, uint8_t n)
{
  bz_note(table, off, 1);
  bz_base(table)[off] = n;
}

static inline void bz_put_zeros(struct blitz_table *table, uint64_t off, uint64_t len)
{
  if (len == 0)
    return;
  bz_note(table, off, len);
  memset(bz_base(table) + off, 0, len);
}

/* Numbers a row that bz_row_fill() made. */
static inline void bz_seal(struct blitz_table *table, const struct bz_row *row, uint64_t seq)
{
  bz_note(table, (uint64_t)(row->value - bz_base(table)), BZ_VALUE_HEADER_LEN);
  bz_row_seal(bz_base(table), row, seq);
}

/* Around changes of a table, for its writer: before bz_note() and the like. */
static inline void bz_change_begin(struct blitz_table *table)
{
  if (table->logged)
    pthread_mutex_lock(&table->change_lock);
}

static inline void bz_change_end(struct blitz_table *table)
{
  if (table->logged)
    pthread_mutex_unlock(&table->change_lock);
}

/* The row in the block at OFF, which is in the file now. For the writer. */
static inline bool bz_block_row(const struct blitz_table *table, uint64_t off, struct bz_row *row)
{
  return bz_row_parse(bz_base(table), off, atomic_load_explicit(&table->end, memory_order_relaxed),
                      row);
}

/* ---- file.c: the file as a whole ------------------------------------------ */

/* An error that says that TABLE's file is damaged at OFF. */
enum blitz_rc bz_damaged(const struct blitz_table *table, uint64_t off, struct blitz_error *err);

/* PATH with the extension, to be freed; NULL: out of memory. */
char *bz_file_name(const char *path);

/* Creates the file NAME with the header and empty bucket array for OPTIONS.
 * It is not whole before this returns.
 */
enum blitz_rc bz_file_create_at(const char *name, const struct blitz_create_options *options,
                                struct blitz_error *err) BLITZ_MUST_CHECK;

/* The same, but it appears whole, by a rename. */
enum blitz_rc bz_file_create(const char *name, const struct blitz_create_options *options,
                             bool replace, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Opens, locks and maps table->file; fills in all that is set at open. */
enum blitz_rc bz_file_open(struct blitz_table *table, struct bz_header *header,
                           struct blitz_error *err) BLITZ_MUST_CHECK;

/* Unmaps and closes; nothing is written. */
void bz_file_close(struct blitz_table *table);

/* Marks the file as open for writing: whoever takes the writer slot does, so that a
 * file without the mark has not changed since its checksum was made.
 */
void bz_file_mark_dirty(struct blitz_table *table);

/* Stores what the header is to say of the index file (index_seq), in a logged table when its
 * header is written next.
 */
void bz_set_index_seq(struct blitz_table *table, uint64_t n);

/* Puts into the header what a logged table has in memory alone: counter, index_seq and the number
 * of its next image.
 */
void bz_file_put_numbers(struct blitz_table *table);

/* The kernel's name for this run of the machine; zeros if it has none. For a logged table the
 * file's inode is mixed in: of a copy it is another one, since what LMDB has written last need not
 * be whole there.
 */
void bz_file_boot_id(const struct blitz_table *table, bool logged, uint8_t id[BZ_BOOT_ID_LEN]);

/* Says in which run of the machine the file is open. */
void bz_file_stamp(struct blitz_table *table);

/* Was the file opened last in this run of the machine, so that the page cache has all of it? */
bool bz_file_is_of_this_boot(const struct blitz_table *table, const struct bz_header *header);

/* Makes the header of a logged table that of a closed file. */
void bz_file_put_closed(struct blitz_table *table);

/* Checksum of a closed file's header and bucket array, but for the caller's number. */
uint32_t bz_file_closed_crc(const struct blitz_table *table);

/* ---- space.c: free space -------------------------------------------------- */

/* Takes a block of LEN bytes, a multiple of 16, of state BZ_STATE_INFLIGHT. */
enum blitz_rc bz_space_alloc(struct blitz_table *table, uint64_t len, uint64_t *offp,
                             struct blitz_error *err) BLITZ_MUST_CHECK;

/* Makes a block that nobody looks at free for anyone; joins it with its neighbours. Returns
 * where the block that it has become ends.
 */
uint64_t bz_space_free(struct blitz_table *table, uint64_t off);

/* The same, but not while a snapshot is open: a cursor may know the row in it. Uses
 * room from bz_removed_prepare().
 */
void bz_space_free_later(struct blitz_table *table, uint64_t off);

/* Stamps the row at OFF, which is in no tree any more, as removed by commit SEQ. */
void bz_space_stamp_removed(struct blitz_table *table, uint64_t off, uint64_t len, uint64_t seq);

/* Makes free what was found to be so in the file, a part of it. For a table that was opened
 * without a list of them. False: there was nothing more to be found.
 */
bool bz_space_walk(struct blitz_table *table);

/* Writes the list of free blocks behind the end of the blocks, at close. */
void bz_space_save(struct blitz_table *table);

/* Reads that list, or finds the free blocks by a walk through the file. */
enum blitz_rc bz_space_load(struct blitz_table *table, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Forgets all free blocks and removed rows. */
void bz_space_clear(struct blitz_table *table);

/* ---- removed.c: removed rows that somebody still reads ----------------------- */

/* Makes sure that COUNT of them can be added. */
enum blitz_rc bz_removed_prepare(struct blitz_table *table, size_t count,
                                 struct blitz_error *err) BLITZ_MUST_CHECK;

/* Adds the row at OFF, of which HASH is the key's bucket hash: it was there from commit BORN
 * until DIED. Its block is freed in a bz_removed_sweep() when no snapshot sees it.
 */
void bz_removed_add(struct blitz_table *table, uint64_t off, uint64_t born, uint64_t died,
                    uint64_t hash);

/* Asks for the memory that adding a row of that hash takes. For the writer. */
void bz_removed_prefetch(const struct blitz_table *table, uint64_t hash);

/* Frees some of the rows that nobody wants any more, at the end of a commit that has removed
 * REMOVALS rows; or all of them. For the writer, between commits.
 */
void bz_removed_sweep(struct blitz_table *table, size_t removals);
void bz_removed_sweep_all(struct blitz_table *table);

/* Frees some; for who has ended a view and has the writer slot for that. */
void bz_removed_tidy(struct blitz_table *table);

/* To be called once, for a new table. */
void bz_removed_init(struct blitz_table *table);

/* The version of the row KEY that SNAPSHOT sees, if it was removed since. */
enum blitz_rc bz_removed_find(struct blitz_table *table, const struct bz_snapshot *snapshot,
                              const struct bz_key *key, struct bz_row *row) BLITZ_MUST_CHECK;

/* ---- hash.c: buckets and their trees -------------------------------------- */

/* Copies the caller's key to TO, as the file has it; returns its length. */
static inline size_t bz_file_key(const struct blitz_table *table, uint8_t *to,
                                 struct blitz_slice key)
{
  return bz_key_spread(&table->secret, to, key);
}

/* The caller's part of a row's key. */
static inline struct blitz_slice bz_callers_key(const struct blitz_table *table,
                                                const struct bz_row *row)
{
  size_t len = row->key_len > table->spread_len ? row->key_len - table->spread_len : 0;

  return (struct blitz_slice){row->key, len};
}

static inline struct bz_key bz_key_of_row(const struct bz_row *row)
{
  return (struct bz_key){row->key, row->key_len, bz_hash(row->key, row->key_len)};
}

/* The number of the highest bit that is set in N, which is not 0. */
static inline unsigned bz_log2(uint64_t n)
{
  return 63 - (unsigned)__builtin_clzll(n);
}

/* The bucket for a bucket hash among COUNT buckets. */
static inline uint64_t bz_bucket(uint64_t hash, uint64_t count)
{
  uint64_t round = UINT64_C(1) << bz_log2(count); /* buckets at its begin */
  uint64_t bucket = hash & (round * 2 - 1);

  return bucket < count ? bucket : bucket - round;
}

/* Offset of a bucket. */
static inline uint64_t bz_bucket_off(const struct blitz_table *table, uint64_t bucket)
{
  unsigned power;

  if (bucket < atomic_load_explicit(&table->front_buckets, memory_order_relaxed))
    return BZ_HEADER_LEN + bucket * BZ_BUCKET_LEN;
  power = bz_log2(bucket);
  return atomic_load_explicit(&table->segments[power], memory_order_relaxed) +
         (bucket - (UINT64_C(1) << power)) * BZ_BUCKET_LEN;
}

/* Offset of the bucket for a bucket hash among COUNT buckets. */
static inline uint64_t bz_bucket_off_of(const struct blitz_table *table, uint64_t hash,
                                        uint64_t count)
{
  return bz_bucket_off(table, bz_bucket(hash, count));
}

/* A link, in a bucket or a row, as the offset of a row; 0: none. */
static inline uint64_t bz_link(const uint8_t *base, uint64_t link_off)
{
  return bz_load_be64(base + link_off) << BZ_ALIGN_POWER;
}

#define BZ_PREFETCH_KEY 40 /* bytes from a row's beginning into its key */

/* Asks for the head of the row at OFF and for its key, which may be in the next line of the
 * cache. OFF may be anything.
 */
static inline void bz_prefetch_row(const uint8_t *base, uint64_t off)
{
  bz_prefetch(base + off);
  bz_prefetch(base + off + BZ_PREFETCH_KEY);
}

/* Finds a row, for the writer. BLITZ_NOT_FOUND: place->link_off is where a row of
 * that key would hang.
 */
enum blitz_rc bz_hash_find(const struct blitz_table *table, const struct bz_key *key,
                           struct bz_place *place) BLITZ_MUST_CHECK;

/* Makes the block at OFF, which bz_row_fill() filled, the live row KEY at the free place
 * PLACE, or in the place of another row.
 */
void bz_hash_link(struct blitz_table *table, const struct bz_key *key, struct bz_place *place,
                  uint64_t off);
void bz_hash_replace(struct blitz_table *table, struct bz_hash hash, const struct bz_place *old,
                     uint64_t off);

/* Takes the row out of its tree; its block stays as it is. BLITZ_CORRUPT: the tree is
 * damaged, and nothing was changed.
 */
enum blitz_rc bz_hash_unlink(struct blitz_table *table, struct bz_hash hash,
                             const struct bz_place *place) BLITZ_MUST_CHECK;

/* ---- hash_read.c: look-ups beside the writer ------------------------------- */

enum blitz_rc bz_buffer_reserve(struct bz_buffer *buf, size_t len) BLITZ_MUST_CHECK;

/* Copies a row's file key and value into BUF and lets ROW point there. */
enum blitz_rc bz_row_copy(struct bz_row *row, struct bz_buffer *buf) BLITZ_MUST_CHECK;

/* The committed row KEY, copied into *BUF, which ROW then points into. */
enum blitz_rc bz_hash_read(struct blitz_table *table, const struct bz_key *key,
                           struct bz_buffer *buf, struct bz_row *row) BLITZ_MUST_CHECK;

/* ---- grow.c: more buckets -------------------------------------------------- */

/* Splits up to BUDGET buckets while there are fewer than ROWS of them. Stops early if
 * there is no space: a smaller array is slower, not wrong.
 */
void bz_grow(struct blitz_table *table, uint64_t rows, uint64_t budget);

/* Empties the first COUNT buckets. */
void bz_buckets_clear(struct blitz_table *table, uint64_t count);

/* Makes the bucket array long enough for ROWS rows, at once, if no row hangs in it yet. */
void bz_grow_empty(struct blitz_table *table, uint64_t rows);

/* Brings the array to a power of two and to its place before the rows, as Tokyo Cabinet
 * wants it in a closed file. False: it could not, and the file must be recovered at the next
 * open. Nobody may read the table.
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

/* Ends commit number SEQ: it is in the file, and ROW_COUNT rows are there now. Whoever takes a
 * snapshot from now on sees it. For the writer; takes snapshot_lock.
 */
void bz_snapshot_publish(struct blitz_table *table, uint64_t seq, uint64_t row_count);

/* Begins a scan at OFF, where a block begins; moves on to OFF, which is in what it watches,
 * with a block that ends at NEXT; ends it. All take snapshot_lock.
 */
void bz_scan_begin(struct blitz_table *table, struct bz_scan *scan, uint64_t off);
void bz_scan_watch(struct blitz_table *table, struct bz_scan *scan, uint64_t off, uint64_t next);
void bz_scan_end(struct blitz_table *table, struct bz_scan *scan);

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

/* ---- image.c: the file of a logged table as of one moment ------------------------ */

/* Takes up a file of version BZ_VERSION_LOGGED as it is, in a time that does not depend on how
 * many rows it has.
 */
enum blitz_rc bz_image_open(struct blitz_table *table, const struct bz_header *header,
                            struct blitz_error *err) BLITZ_MUST_CHECK;

/* A position in no log: the image has all commits. */
#define BZ_COMPLETE UINT64_MAX

/* The pages of TABLE are to be taken as of now; *COUNTP: how many. Commits that are not in them are
 * in the log from POSITION on. Needs change_lock.
 */
enum blitz_rc bz_image_begin(struct blitz_table *table, uint64_t position, uint64_t *countp,
                             struct blitz_error *err) BLITZ_MUST_CHECK;

/* Lets the file, which is an image or closed, say at once that the log has more from POSITION on.
 */
enum blitz_rc bz_image_mark(struct blitz_table *table, uint64_t position,
                            struct blitz_error *err) BLITZ_MUST_CHECK;

/* ---- checkpoint.c: tables, the log, and how pages come into files -------------------- */

/* Who writes pages of a table claims it before (C4), and nobody closes it meanwhile. */
void bz_table_claim(struct blitz_table *table);
bool bz_table_try_claim(struct blitz_table *table) BLITZ_MUST_CHECK;
void bz_table_unclaim(struct blitz_table *table);

/* Logs that the table is open: before its first change, and then its file says so too; or again
 * (C3). For the writer, or for who has claimed it.
 */
enum blitz_rc bz_log_table(struct blitz_table *table, struct blitz_error *err) BLITZ_MUST_CHECK;
/* Logs that it is closed: its file has all. */
enum blitz_rc bz_log_closed(struct blitz_table *table, struct blitz_error *err) BLITZ_MUST_CHECK;

enum bz_journal_use
{
  BZ_JOURNAL_ALL, /* for checkpoints of all tables */
  BZ_JOURNAL_ONE, /* of one, by who waits for it */
};

#define BZ_JOURNALS 2

/* Brings the files of COUNT tables, which are claimed and which the log knows, to what they are in
 * memory, on the device; that can take long. COMPLETE: there will be no more in the log. Takes
 * change_lock for a moment. A failure leaves files and memory as they are.
 */
enum blitz_rc bz_checkpoint(struct blitz_table *const *tables, size_t count,
                            enum bz_journal_use use, bool complete,
                            struct blitz_error *err) BLITZ_MUST_CHECK;
/* The same of one, of which the caller holds change_lock. */
enum blitz_rc bz_checkpoint_locked(struct blitz_table *table,
                                   struct blitz_error *err) BLITZ_MUST_CHECK;

/* Has the device begin with pages of the next image that go straight to their places (C1): a hint,
 * for when much has changed behind the blocks that the file has, and will hardly change again. For
 * the writer.
 */
void bz_checkpoint_ahead(struct blitz_table *table);

/* The log keeps from now on what TABLE needs of it, though it is not open any more; from where on
 * the log must be kept for such tables.
 */
void bz_log_pin(struct blitz_table *table);
uint64_t bz_log_pinned(void);

/* Finishes the checkpoints that a crash has interrupted, before any table is opened. */
enum blitz_rc bz_checkpoints_start(const char *dir, struct blitz_error *err) BLITZ_MUST_CHECK;
/* Brings what that has placed to the device, and empties the journals (C5). To be called before a
 * file is written to in another way than by checkpoints, or gets another name.
 */
enum blitz_rc bz_checkpoints_settle(struct blitz_error *err) BLITZ_MUST_CHECK;
/* Failures that would be tried again are failures from now on. */
void bz_checkpoints_give_up(void);
void bz_checkpoints_stop(void);

/* ---- recover.c -------------------------------------------------------------- */

/* Makes a file whole that was not closed, or is to be repaired; sets rows_lost. */
enum blitz_rc bz_recover(struct blitz_table *table, const struct bz_header *header,
                         const struct blitz_open_options *options,
                         struct blitz_error *err) BLITZ_MUST_CHECK;

#endif /* BZ_ROWS_H */
