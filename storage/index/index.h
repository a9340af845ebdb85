/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index.h: the index file PATH.bzx of an open table, an LMDB environment with one named
 * database for each index: entries that are stored and removed, read in their order, sorted,
 * counted, and whether a file is to be believed at all. This room alone includes lmdb.h. It
 * knows of rows what an entry says, of the data file its header, and of no transaction of
 * rows.
 *
 * Who may call what: a write transaction is the writer's, and so is all that takes its
 * struct MDB_txn. Opening and closing are for who opens and closes the table. "Needs
 * snapshot_lock": the caller holds it.
 *
 *   file.c    the file: open, trust, close
 *   verify.c  whether its bytes are an index file at all
 *   env.c     LMDB's environment: opening it by descriptors, its map; views
 *   write.c   write transactions, databases
 *   merge.c   entries that were committed in memory come into the file
 *   tree.c    entries of one index in the file: put, remove, seek, step
 *   delta.c, deltas.c  entries in memory
 *   undo.c    what entries of the file were before, for who reads an earlier commit
 *   source.c  what a reader or a transaction has of an index: file, undo and deltas as one
 *   label.c   the order of entries with long keys
 *   walk.c    the same to read what is committed, with no number believed; see walk.h
 *   count.c   how many entries lie between two keys; samples
 *   sort.c    entries in order, in bounded memory; append.c: into an empty database
 *
 * The entries of a logged table's commits are in memory first, and in the log with the rows'
 * changes (txn/logging.h). In the background they come into the file, sorted, as one commit that is
 * synced. What is too much for memory, and what makes an index anew, goes to the file at once: a
 * direct commit. So does all that is done to a table that is not logged.
 *
 * Invariants:
 *  X1. A commit of the file carries the number of the last commit of the rows of which it
 *      has all entries, and of those before; in the middle of a merge it has later ones, too. The
 * data file's header has that number too, or of a logged table that was not closed an earlier one:
 * the log has all since. An index file is believed only if its number is not less than the
 * header's, and not beyond the last commit. X2. An entry's row key is right. Its offset is where
 * the row was when the entry was stored: a hint, to be verified. X3. One at a time writes to the
 * file, `writing`: who has the table's writer slot, or who merges. It stays in one thread to the
 * end. X4. LMDB writes with the system's calls and reads through the map: a full disk is an error
 * of a change or of a commit, which leaves the file as it was. X5. LMDB gets a file that was opened
 * here, by its descriptor: no name is followed. X6. Of a file that may have been changed since it
 * was closed, LMDB, which believes what it reads, sees nothing that was not looked over: the names
 * of databases when it is opened, all before it is written to, or if the machine died at once. Who
 * reads believes nothing (walk.h). X7. What a reader sees of an index is: of each entry the newest
 * version up to its commit in the deltas that it has, else in the file's undo, if its commit is
 * earlier than the file's number, else what the file has. The deltas have all that was committed
 * since the file's number, and what they have besides is in the file too: so a merge may come
 *      between any two of their commits, and a reader may go on with a later commit of the
 *      file, and the deltas of then, at any time.
 *  X8. The delta of new commits gives way to a new one between commits alone, under
 *      change_lock or by who has the slot. One that is being merged is not changed.
 *  X9. Readers keep no page of the file. What they have read is to be believed if afterwards
 *      the commit is still kept: since then at most one transaction has begun to write, and
 *      LMDB puts nothing where one of the last two commits has something. What is read is
 *      copied before that is asked. When it is not kept any more, the reader goes on with a
 *      later one (X7). Only what a direct commit changes is not in the undo: the commit before
 *      it is kept, by a read transaction of LMDB's, while there is a snapshot before it.
 *
 * Private to the room: lmdb.h, page.h, undo.h.
 */
#ifndef BZ_INDEX_H
#define BZ_INDEX_H

#include "index/walk.h"
#include "rows/rows.h"

struct MDB_env;
struct MDB_txn;
struct MDB_cursor;
struct bz_deltas;
struct bz_index_epoch;

/* Databases of a file: those of the table's indexes, and as many that are added and dropped; and
 * the undo.
 */
#define BZ_DBIS_MAX (2 * BLITZ_INDEXES_MAX + 4)

/* A sum over all entries of a database, by which a change of any is known. */
struct bz_index_sum
{
  bool used;
  uint64_t id; /* of the index */
  uint64_t sum;
};

/* An open index file. */
struct bz_index_file
{
  struct MDB_env *env;
  struct bz_walk_maps maps; /* of walks; under the table's snapshot_lock */
  char *name;
  unsigned count; /* of indexes */
  uint64_t ids[BLITZ_INDEXES_MAX];
  unsigned dbis[BLITZ_INDEXES_MAX];
  unsigned page_len;
  atomic_ullong disabled; /* bit n: index n is not kept */
  atomic_bool broken;     /* entries were lost: the file must be made anew */
  bool unverified;        /* X6: not all was looked over yet; for who is `writing` */

  /* Of who is `writing`: what is committed, and with the changes of the write transaction. */
  struct bz_index_sum sums[BZ_DBIS_MAX];
  struct bz_index_sum write_sums[BZ_DBIS_MAX];
  uint64_t record_number; /* what the file's own record says: it has all up to that commit */
  uint64_t last_label;    /* that a long key got last, and where */
  unsigned last_label_dbi;
  uint64_t map_wanted; /* length that the map is to get */

  atomic_ullong write_serial; /* counts ends of write transactions, whose cursors are no more */
  atomic_ullong write_number; /* LMDB's, of the transaction that has begun to write last (X9) */

  struct bz_deltas *writer_own; /* the writer's, empty, kept from one use to the next */

  /* Changed under the table's snapshot_lock. */
  struct bz_deltas *active;      /* of new commits, X8; NULL: there are none */
  struct bz_deltas *merged;      /* that are just being merged, or could not be; NULL: none */
  uint64_t merged_number;        /* of the last commit in these */
  uint64_t file_number;          /* of the last commit that the file may have entries of */
  uint64_t direct_number;        /* of the last direct commit */
  uint64_t commit_number;        /* LMDB's, of the last commit */
  struct bz_index_epoch *epochs; /* commits that are kept, X9, the newest first */
  atomic_ullong built[BLITZ_INDEXES_MAX]; /* number of the commit that made it anew; 0: none */
  bool writing;                           /* X3 */
  bool in_txn;            /* there is a write transaction, in which the map stays as it is */
  uint64_t map_refused;   /* the system did not give that much */
  pthread_cond_t changed; /* any of these has */
};

/* An entry as it is found. It points into a map of the file: until that is written over (X9), or
 * the write transaction that it was found in changes something.
 */
struct bz_entry
{
  struct blitz_slice sort_key; /* orders entries: the key, and the row key unless unique */
  struct blitz_slice key;
  struct blitz_slice row_key;
  struct blitz_slice payload;
  uint64_t off; /* of the row, a hint */
  bool unique;
};

/* Bytes of a copy of an entry; what a copy AT somewhere is; and makes one, at TO. */
static inline size_t bz_entry_len(const struct bz_entry *entry)
{
  return entry->sort_key.len + (entry->unique ? entry->row_key.len : 0) + entry->payload.len;
}

static inline struct bz_entry bz_entry_at(const struct bz_entry *from, const uint8_t *at)
{
  size_t row_key_len = from->unique ? from->row_key.len : 0;

  return (struct bz_entry){.sort_key = {at, from->sort_key.len},
                           .key = {at, from->key.len},
                           .row_key = {at + from->key.len, from->row_key.len},
                           .payload = {at + from->sort_key.len + row_key_len, from->payload.len},
                           .off = from->off,
                           .unique = from->unique};
}

static inline struct bz_entry bz_entry_copy(const struct bz_entry *from, uint8_t *to)
{
  uint8_t *at = (uint8_t *)memcpy(to, from->sort_key.data, from->sort_key.len);

  at += from->sort_key.len;
  if (from->unique && from->row_key.len > 0)
    memcpy(at, from->row_key.data, from->row_key.len);
  if (from->unique)
    at += from->row_key.len;
  if (from->payload.len > 0)
    memcpy(at, from->payload.data, from->payload.len);
  return bz_entry_at(from, to);
}

/* ---- file.c -------------------------------------------------------------------------- */

/* Index files of so many bytes and more are looked over when they are written to first (X6),
 * shorter ones when they are opened in any case: so a damaged one is made anew before anybody reads
 * it. A test that is to meet damage sets it to 0.
 */
extern uint64_t bz_index_verified_later_min;

/* How far an index file may be believed. */
struct bz_index_trust
{
  bool check_bytes;   /* the table was closed: the file's checksum must hold */
  bool may_be_later;  /* it may have commits that the header does not know of */
  bool was_killed;    /* the process died, and not the machine: LMDB's last commit is whole */
  uint64_t committed; /* last commit in the data file's header, before any repair */
  bool never;         /* not at all */
};

/* Opens table->path's index file, or makes a new one. Sets *BUILDP to the indexes that
 * must be made anew, and *REASONP to why, NULL if all of them simply are not there yet.
 */
enum blitz_rc bz_index_open(struct blitz_table *table, const struct blitz_indexes *indexes,
                            const struct bz_index_trust *trust, uint64_t *buildp,
                            const char **reasonp, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Closes it, with all that was committed in it. CLEAN: syncs it first, and stores its checksum in
 * the data file's header.
 */
void bz_index_close(struct blitz_table *table, bool clean);

/* Brings what the log has left of a table's entries, table->replayed, into its index file, of which
 * nothing is open; for who closes a table that nobody has opened since the start. If that cannot
 * be, the header says that the file is out of date.
 */
void bz_index_finish_replayed(struct blitz_table *table);

/* Removes or renames the files of a table that nobody has open; fine if there are none. */
void bz_index_unlink(const char *path);
enum blitz_rc bz_index_rename(const char *from, const char *to,
                              struct blitz_error *err) BLITZ_MUST_CHECK;

/* ---- verify.c ----------------------------------------------------------------------- */

/* Has the file that FD is open for the structure of an index file, from one end to the other? Then
 * LMDB may write to it. NAMES_ALONE: the part that says which databases there are, which takes no
 * time; then it may open them.
 */
bool bz_index_verify(int fd, bool names_alone) BLITZ_MUST_CHECK;

/* ---- env.c -------------------------------------------------------------------------- */

/* The indexes as of a commit of the rows. */
struct bz_index_view
{
  uint64_t seq;                 /* that commit */
  struct bz_walk_commit commit; /* of the file */
  bool kept;                    /* for as long as there is a snapshot of SEQ (X9) */
  bool is_earlier;              /* than some of what the file has: the undo is laid over it */
  struct bz_deltas *deltas[2];  /* the newer ones first; NULL: none */
};

/* Begins a view as of commit SEQ, of which there is a snapshot, or the writer's slot is held and it
 * is the last one; and ends it. Both need snapshot_lock.
 */
enum blitz_rc bz_index_view_begin(struct blitz_table *table, struct bz_index_view *view,
                                  uint64_t seq) BLITZ_MUST_CHECK;
void bz_index_view_end(struct blitz_table *table, struct bz_index_view *view);

/* Was what has been read of LMDB's commit NUMBER there (X9)? */
static inline bool bz_index_is_kept(const struct bz_index_file *file, uint64_t number)
{
  atomic_thread_fence(memory_order_acquire);
  return atomic_load_explicit(&file->write_number, memory_order_relaxed) <= number + 1;
}

/* Lets commits go that were kept for snapshots that have ended; needs snapshot_lock. */
void bz_index_trim(struct blitz_table *table);

/* ---- write.c ------------------------------------------------------------------------ */

/* Begins a direct change, with all in the file that was committed before. LEN: bytes of entries
 * that are known to come.
 */
enum blitz_rc bz_index_write_begin(struct blitz_table *table, uint64_t len, struct MDB_txn **txnp,
                                   struct blitz_error *err) BLITZ_MUST_CHECK;

/* Commits entries for commit SEQ of the rows. After a failure the file is as it was before. Else
 * the commit before is kept (X9), until bz_index_trim() finds after the rows' commit that nobody
 * wants it.
 */
enum blitz_rc bz_index_write_commit(struct blitz_table *table, struct MDB_txn *txn, uint64_t seq,
                                    struct blitz_error *err) BLITZ_MUST_CHECK;
void bz_index_write_abort(struct blitz_table *table, struct MDB_txn *txn);

/* An error that says that it is broken. */
enum blitz_rc bz_index_out_of_date(const struct blitz_table *table, struct blitz_error *err);

/* Says that the file must be made anew when it is opened next. */
void bz_index_set_broken(struct blitz_table *table);

/* The databases of indexes that a table is not open with; see blitz_table_add_indexes(). */
enum blitz_rc bz_index_db_create(struct blitz_table *table, struct MDB_txn *txn, uint64_t id,
                                 unsigned *dbip, struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc bz_index_db_drop(struct blitz_table *table, struct MDB_txn *txn, uint64_t id,
                               struct blitz_error *err) BLITZ_MUST_CHECK;

/* Removes all entries of a database. */
enum blitz_rc bz_index_db_clear(struct blitz_table *table, struct MDB_txn *txn, unsigned dbi,
                                struct blitz_error *err) BLITZ_MUST_CHECK;

/* ---- merge.c ------------------------------------------------------------------------- */

/* Brings all entries that are committed into the file, on the device, after the log. For who has
 * claimed the table, or has it alone; takes change_lock for a moment unless LOCKED, when nobody
 * commits. BLITZ_BUSY: not all could be taken just now. After a failure it may be tried again, but
 * not if the file has turned out to be void (bz_index_set_broken()), which is none.
 */
enum blitz_rc bz_index_merge(struct blitz_table *table, bool locked,
                             struct blitz_error *err) BLITZ_MUST_CHECK;

/* For a commit, which has change_lock: copies the entries of OWN to where those of new commits are,
 * as commit SEQ's, but nobody finds them (BLITZ_NOMEM: nothing has changed); then they are found by
 * who reads that commit.
 */
struct bz_index_copies
{
  struct bz_delta_node *lists[BLITZ_INDEXES_MAX];
};
enum blitz_rc bz_index_copy(struct blitz_table *table, const struct bz_deltas *own, uint64_t seq,
                            struct bz_index_copies *copies) BLITZ_MUST_CHECK;
void bz_index_link(struct blitz_table *table, struct bz_index_copies *copies);

/* Brings what DELTAS has, which are of this table's indexes, into a transaction. */
enum blitz_rc bz_index_apply(struct blitz_table *table, struct MDB_txn *txn,
                             const struct bz_deltas *deltas,
                             struct blitz_error *err) BLITZ_MUST_CHECK;

/* Takes over what the log has left, FROM, which goes; but for the indexes in EXCEPT. For who opens
 * the table.
 */
enum blitz_rc bz_index_take_over(struct blitz_table *table, struct bz_deltas *from,
                                 uint64_t except) BLITZ_MUST_CHECK;

/* ---- tree.c ------------------------------------------------------------ */

/* Stores an entry in the place of one with its sort key, or removes that; with a cursor of a write
 * transaction. BLITZ_NOT_FOUND: there is none.
 */
enum blitz_rc bz_tree_put(struct blitz_table *table, struct MDB_cursor *mc,
                          const struct bz_entry *entry, struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc bz_tree_remove(struct blitz_table *table, struct MDB_cursor *mc,
                             struct blitz_slice sort_key, struct blitz_error *err) BLITZ_MUST_CHECK;

/* What bz_tree_append() keeps from one call to the next; empty at first. KEY is to be freed. */
struct bz_tree_tail
{
  uint8_t *key; /* the last long one */
  size_t len;
  uint64_t label;
};

/* Stores ENTRY behind all that there are, at a cursor of a write transaction.
 * BLITZ_DUPLICATE: the last one has the same sort key.
 */
enum blitz_rc bz_tree_append(struct blitz_table *table, struct MDB_cursor *mc,
                             struct bz_tree_tail *tail, const struct bz_entry *entry,
                             struct blitz_error *err) BLITZ_MUST_CHECK;

/* A sort key as it is put together. */
struct bz_sort_key
{
  size_t len;
  uint8_t bytes[BLITZ_INDEX_KEY_MAX + BLITZ_KEY_MAX];
};

enum blitz_rc bz_sort_key_make(const struct blitz_table *table,
                               const struct blitz_index_entry *entry, struct blitz_slice row_key,
                               struct bz_sort_key *to, struct blitz_error *err) BLITZ_MUST_CHECK;

/* The entry of a sort key. BLITZ_NOT_FOUND: there is none. */
enum blitz_rc bz_tree_get(const struct blitz_table *table, struct MDB_txn *txn, unsigned dbi,
                          struct blitz_slice sort_key, struct bz_entry *found,
                          struct blitz_error *err) BLITZ_MUST_CHECK;

/* Adds the entry of a row, or its removal, as version NUMBER to the delta of index INDEX_NO, which
 * is a transaction's own (bz_delta_add()).
 */
enum blitz_rc bz_delta_put_entry(struct blitz_table *table, struct bz_deltas *deltas,
                                 unsigned index_no, const struct blitz_index_entry *entry,
                                 struct blitz_slice row_key, uint64_t off, uint64_t number,
                                 struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc bz_delta_remove_entry(struct blitz_table *table, struct bz_deltas *deltas,
                                    unsigned index_no, const struct blitz_index_entry *entry,
                                    struct blitz_slice row_key, uint64_t number,
                                    struct blitz_error *err) BLITZ_MUST_CHECK;

/* The value of an entry, as a delta has it. */
size_t bz_entry_value_len(const struct bz_entry *entry);
void bz_entry_fill_value(uint8_t *to, const struct bz_entry *entry);

/* The entry that a version has; false: it is damaged. And the value of one whose row is at OFF. */
struct bz_delta_version;
bool bz_delta_entry(const struct bz_delta_version *version, struct bz_entry *entry);
void bz_delta_set_off(uint8_t *value, uint64_t off);

/* A cursor on a database; closing NULL is allowed. That of a write transaction must be
 * closed before the transaction ends.
 */
enum blitz_rc bz_tree_open_cursor(const struct blitz_table *table, struct MDB_txn *txn,
                                  unsigned dbi, struct MDB_cursor **mcp,
                                  struct blitz_error *err) BLITZ_MUST_CHECK;
void bz_tree_close_cursor(struct MDB_cursor *mc);

/* Seek and step with a cursor, which finds itself at *FOUND then. BLITZ_END: nowhere. */
enum blitz_rc bz_tree_seek(struct MDB_cursor *mc, struct blitz_slice key, enum blitz_seek where,
                           struct bz_entry *found) BLITZ_MUST_CHECK;
enum blitz_rc bz_tree_step(struct MDB_cursor *mc, bool forward,
                           struct bz_entry *found) BLITZ_MUST_CHECK;

/* ---- sort.c: entries in order, in bounded memory ------------------------------ */

/* What does not fit goes to a temporary file in sorted runs, which are merged at the end. */
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

/* ---- append.c: sorted entries into an empty database ----------------------------- */

/* Who hears of a long work, and what of. */
struct bz_work
{
  blitz_progress_fn *progress;   /* NULL is allowed */
  blitz_duplicate_fn *duplicate; /* NULL is allowed */
  void *arg;                     /* for both */
  uint64_t before, total;        /* steps done before this part of the work; all of them */
};

#define BZ_WORK_STEP 4096 /* reports come after so many steps */

/* False: stop. */
static inline bool bz_work_report(const struct bz_work *work, uint64_t done)
{
  return work->progress == NULL || work->progress(work->arg, work->before + done, work->total);
}

/* Stores all that SORT has in the empty database DBI. */
enum blitz_rc bz_index_append(struct blitz_table *table, struct MDB_txn *txn, unsigned dbi,
                              struct bz_sort *sort, const struct bz_work *work,
                              struct blitz_error *err) BLITZ_MUST_CHECK;

/* ---- count.c ----------------------------------------------------------- */

struct bz_tree_shape
{
  uint64_t entry_count, page_count;
  unsigned depth;
};

void bz_walk_shape(const struct bz_walk *walk, struct bz_tree_shape *shape);

/* The way down a committed tree to where a seek would end. */
struct bz_tree_path
{
  unsigned depth;
  struct
  {
    const uint8_t *page;
    unsigned slot, slots;
  } steps[BZ_TREE_DEPTH_MAX];
  double weights[BZ_TREE_DEPTH_MAX]; /* entries below a node, on average */
};
enum blitz_rc bz_walk_find_path(struct bz_walk *walk, struct blitz_slice key, bool beyond,
                                struct bz_tree_path *path) BLITZ_MUST_CHECK;

/* About how many entries are between the ends of two paths in one transaction. */
double bz_tree_between(const struct bz_tree_path *low, const struct bz_tree_path *high);

/* Calls VISIT for the entries of about MAX / 64 places. */
enum blitz_rc bz_walk_sample(struct bz_walk *walk, uint64_t max, blitz_visit_fn *visit,
                             void *arg) BLITZ_MUST_CHECK;

#endif /* BZ_INDEX_H */
