/* SPDX-License-Identifier: GPL-2.0-only
 *
 * blitz.h: the BlitzDB storage engine, bytes in, bytes out.
 *
 * A table is one file, `PATH.bzd`, in Tokyo Cabinet's hash format: row key ->
 * value. Every change goes through a transaction; nothing of it is seen by
 * anyone else, or survives a crash, before blitz_txn_commit(). Ordered indexes
 * are in a second file, `PATH.bzx`, which can always be made anew from the rows.
 *
 * What to know before calling:
 *
 *  1. A transaction that has changed a table is that table's only writer until
 *     it ends; others wait, at most the transaction's lock timeout, and then
 *     get BLITZ_BUSY. Readers wait for nobody and hold nobody up.
 *  2. A scan sees the table as it was when the scan began, with what its own
 *     transaction had changed until then: a statement never meets its own rows.
 *     A look-up by key sees what is committed, or its own transaction has
 *     changed, at that moment.
 *  3. A commit is all or nothing, of several tables too, also when the process is killed or
 *     the machine dies in it. What is committed survives the process; it survives the machine
 *     a second later, or at once in a table that is opened as crash-safe. See blitz_start().
 *  4. An open scan keeps the rows that it sees, also those removed meanwhile, and
 *     nothing else.
 *  5. A struct blitz_table may be used by any number of threads at a time, a
 *     struct blitz_cursor or struct blitz_txn by one.
 *  6. Damaged bytes give BLITZ_CORRUPT, never a wrong row.
 *  7. Nothing here calls exit() or abort() for a reason outside the program.
 *
 * Functions that can fail return an enum blitz_rc, BLITZ_OK being 0, set their
 * outputs to nothing on failure, and describe the failure in *ERR if ERR is not
 * NULL. No function keeps a pointer to its slices after it has returned.
 */
#ifndef BLITZ_H
#define BLITZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BLITZ_MUST_CHECK __attribute__((warn_unused_result))

/* Limits, in bytes. */
#define BLITZ_KEY_MAX 8192          /* a row key */
#define BLITZ_VALUE_MAX 2147418112U /* a value: 2 GiB less 64 KiB */
#define BLITZ_FILE_EXT ".bzd"
#define BLITZ_INDEX_FILE_EXT ".bzx"
#define BLITZ_INDEXES_MAX 64      /* a table */
#define BLITZ_INDEX_KEY_MAX 32768 /* a key in an index, in bytes */

/* The numbers are never used again for something else. */
enum blitz_rc
{
  BLITZ_OK = 0,
  BLITZ_NOT_FOUND = 1,    /* no row with that key, or no such file */
  BLITZ_END = 2,          /* a scan has no further row */
  BLITZ_DUPLICATE = 3,    /* a row with that key is there already */
  BLITZ_CHANGED = 4,      /* a compare callback said no; or a moment cannot be seen any more */
  BLITZ_NOMEM = 5,        /* out of memory */
  BLITZ_IO = 6,           /* the operating system refused; see sys_errno */
  BLITZ_FULL = 7,         /* no space left on the device, or over quota */
  BLITZ_BUSY = 8,         /* another transaction or process holds the table */
  BLITZ_TOO_BIG = 9,      /* key or value over its limit */
  BLITZ_CORRUPT = 10,     /* bytes of the file are damaged */
  BLITZ_BAD_VERSION = 11, /* written by a later version of BlitzDB */
  BLITZ_NOT_BLITZ = 12,   /* not a BlitzDB file at all */
  BLITZ_EXISTS = 13,      /* the file to create is there already */
  BLITZ_INVALID = 14,     /* a mistake of the caller */
  BLITZ_READONLY = 15,    /* the table was opened for reading only */
  BLITZ_STOPPED = 16,     /* a progress callback said so */
  BLITZ_FOREIGN = 17,     /* the rows of the file have another layout */
};

struct blitz_slice
{
  const void *data;
  size_t len;
};

/* What went wrong, for a person. Owned by the caller. */
struct blitz_error
{
  enum blitz_rc rc;
  int sys_errno;     /* 0: not the operating system's doing */
  unsigned index_no; /* BLITZ_DUPLICATE: of which index; BLITZ_ROW_KEY: of the row key */
  char text[640];    /* one sentence or two: file, reason, remedy */
};

#define BLITZ_ROW_KEY (~0U)

struct blitz_table;  /* an open table, shared by all who opened it */
struct blitz_cursor; /* a position in a table, and the buffers for it */
struct blitz_txn;    /* changes that are not committed yet */

/* Name of a code, "BLITZ_FULL" for example; never NULL. */
const char *blitz_rc_name(enum blitz_rc rc);

/* Messages about what the engine did by itself, such as recovery. */
enum blitz_log_level
{
  BLITZ_LOG_NOTE,
  BLITZ_LOG_WARNING,
  BLITZ_LOG_ERROR,
};

typedef void blitz_log_fn(enum blitz_log_level level, const char *text);

/* Sends messages to FN, NULL for stderr. Call it before the first table opens. */
void blitz_set_log(blitz_log_fn *fn);

/* ---- the engine as a whole ---------------------------------------------- */

struct blitz_start_options
{
  const char *dir;    /* where the log is; no other process has it */
  uint64_t log_limit; /* bytes of the log, at which changes wait for a checkpoint; 1 MiB at least */
  uint64_t memory;    /* bytes of changed pages that are kept in memory; 1 MiB at least */
};

/* Opens the log in a directory, or makes one, and brings all tables that a crash has left open to
 * their last commit, which takes a time that depends on the length of the log alone. Before it and
 * without it tables are not logged: then a file that was not closed is recovered when it is
 * opened, in time that grows with its size, and is lost in part if the machine dies.
 * No table may be open. BLITZ_CORRUPT: the log is damaged or incomplete; nothing was changed.
 * BLITZ_FULL: there is no space; try again.
 */
enum blitz_rc blitz_start(const struct blitz_start_options *options,
                          struct blitz_error *err) BLITZ_MUST_CHECK;

/* Ends what blitz_start() has begun. No table may be open. */
void blitz_stop(void);

void blitz_set_memory(uint64_t bytes);

/* Between them there are no checkpoints, and no file of the log goes, so that a copy of all files
 * that is taken while nobody changes or repairs a table is one that blitz_start() brings to the
 * last commit. Tables that are closed meanwhile are closed afterwards. Memory and log grow by what
 * is changed.
 */
void blitz_backup_begin(void);
void blitz_backup_end(void);

/* Writes all that has changed to the tables' files, on the device, so that the log is short. */
enum blitz_rc blitz_checkpoint(struct blitz_error *err) BLITZ_MUST_CHECK;

/* Waits until all that is committed is on the device. */
enum blitz_rc blitz_sync(struct blitz_error *err) BLITZ_MUST_CHECK;

/* ---- tables ------------------------------------------------------------ */

struct blitz_create_options
{
  uint64_t expected_rows; /* sizes the bucket array; 0: start small and grow */
  uint64_t layout;        /* stands for how the caller packs keys and values; 0: unknown */
  bool row_ids;           /* the engine makes the keys: ascending row ids */
  bool temporary;         /* not to outlive the process: nothing of it is synced */
};

enum blitz_open_flags
{
  BLITZ_OPEN_READONLY = 1,    /* no change is allowed, the file included */
  BLITZ_OPEN_TEMPORARY = 2,   /* never synced: not to outlive the process */
  BLITZ_OPEN_REPAIR = 4,      /* make all but the rows anew, and drop damaged rows */
  BLITZ_OPEN_NO_CONVERT = 8,  /* BLITZ_FOREIGN for an earlier version: it had other keys */
  BLITZ_OPEN_CRASH_SAFE = 16, /* commits wait until they are on the device */
};

/* Creates PATH.bzd with no rows. A file already there is replaced, at once and
 * whole, if REPLACE, and otherwise gives BLITZ_EXISTS. It is on the device when this returns, if
 * the engine was started.
 */
enum blitz_rc blitz_table_create(const char *path, const struct blitz_create_options *options,
                                 bool replace, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Opens PATH.bzd, or adds a reference if this process has it open under the
 * same path. A file that was not closed and is not logged is recovered first, in time that
 * grows with its size, and a message says so; one of an earlier format version is converted.
 * Damaged rows stay, and stay errors, until BLITZ_OPEN_REPAIR asks for their end.
 */
enum blitz_rc blitz_table_open(const char *path, unsigned flags, struct blitz_table **tablep,
                               struct blitz_error *err) BLITZ_MUST_CHECK;

/* ---- ordered indexes of a table ------------------------------------------ */

/* A row's entry in an index. */
struct blitz_index_entry
{
  struct blitz_slice key;     /* memcmp() orders; no key is the beginning of another one */
  struct blitz_slice payload; /* what a read of the index alone gets beside the keys */
  bool unique;                /* no other row may have this key */
  bool by_row_key;            /* nor has one, as the row's own key is that key in other bytes */
};

/* Makes the entry of index INDEX_NO for a row with the value VALUE: the same for the
 * same bytes whenever it is called. The entry's slices are good until the next call.
 */
typedef enum blitz_rc blitz_make_entry_fn(void *arg, unsigned index_no, struct blitz_slice value,
                                          struct blitz_index_entry *entry, struct blitz_error *err);

/* Hears of a long work that DONE of TOTAL steps are done; false stops it, with
 * BLITZ_STOPPED.
 */
typedef bool blitz_progress_fn(void *arg, uint64_t done, uint64_t total);

/* The indexes (bit n: index n) in which the entries of two rows with one key may differ; in
 * others they do not. It saves making them.
 */
typedef uint64_t blitz_differ_fn(void *arg, struct blitz_slice value, struct blitz_slice new_value);

struct blitz_indexer
{
  blitz_make_entry_fn *make_entry;
  blitz_differ_fn *differ;     /* NULL is allowed */
  blitz_progress_fn *progress; /* NULL is allowed */
  void *arg;
};

/* The indexes that a table has. An index is known in the file by its id, which stands
 * for all that decides about its entries: one with another id is another index.
 */
struct blitz_indexes
{
  unsigned count;
  uint64_t ids[BLITZ_INDEXES_MAX];
};

struct blitz_open_options
{
  unsigned flags;                      /* enum blitz_open_flags */
  uint64_t layout;                     /* BLITZ_FOREIGN if the file has another one; 0: any */
  const struct blitz_indexes *indexes; /* NULL: none */
  const struct blitz_indexer *indexer;
  blitz_progress_fn *progress; /* of recovery and repair; NULL is allowed */
  void *progress_arg;
};

/* Opens a table as blitz_table_open() does, and its ordered indexes. What is missing,
 * damaged, of another version or out of date of them is made anew, and the log says so;
 * those that options->indexes does not name go. The indexer is used for that alone. All who
 * have the table open at a time must name the same ones, or get BLITZ_INVALID.
 * BLITZ_STOPPED: the progress callback said so; the next open goes on with the recovery, a
 * repair must be asked for again.
 */
enum blitz_rc blitz_table_open_with(const char *path, const struct blitz_open_options *options,
                                    struct blitz_table **tablep,
                                    struct blitz_error *err) BLITZ_MUST_CHECK;

/* Is shown the value of a row that another one is equal to, for the error message. */
typedef void blitz_duplicate_fn(void *arg, struct blitz_slice value);

/* Makes indexes that the table does not have, for whoever opens it next and names them;
 * nobody may change the table until then. blitz_table_drop_indexes() undoes it.
 * BLITZ_DUPLICATE: err->index_no is the position in MORE, and DUPLICATE, if not NULL, was
 * called with INDEXER's argument.
 */
enum blitz_rc blitz_table_add_indexes(struct blitz_table *table, const struct blitz_indexes *more,
                                      const struct blitz_indexer *indexer,
                                      blitz_duplicate_fn *duplicate,
                                      struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc blitz_table_drop_indexes(struct blitz_table *table, const struct blitz_indexes *which,
                                       struct blitz_error *err) BLITZ_MUST_CHECK;

/* Empties the indexes of which the bit is set in WHICH and keeps them no more, until
 * they are enabled, which makes them anew. The file remembers it. Indexes with unique
 * entries must not be disabled. blitz_table_disabled_indexes(): which ones are.
 */
enum blitz_rc blitz_table_disable_indexes(struct blitz_table *table, uint64_t which,
                                          struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc blitz_table_enable_indexes(struct blitz_table *table,
                                         const struct blitz_indexer *indexer,
                                         struct blitz_error *err) BLITZ_MUST_CHECK;
uint64_t blitz_table_disabled_indexes(struct blitz_table *table);

/* Makes all indexes anew. Nobody else may have the table open. */
enum blitz_rc blitz_table_rebuild_indexes(struct blitz_table *table,
                                          const struct blitz_indexer *indexer,
                                          struct blitz_error *err) BLITZ_MUST_CHECK;

/* Compares rows and indexes, both ways. BLITZ_CORRUPT: they differ; *ERR says in what. */
enum blitz_rc blitz_table_check_indexes(struct blitz_table *table,
                                        const struct blitz_indexer *indexer,
                                        struct blitz_error *err) BLITZ_MUST_CHECK;

struct blitz_index_stats
{
  uint64_t entry_count;
  uint64_t page_count;
  uint64_t page_len; /* bytes */
  unsigned depth;    /* pages from the root to an entry */
};

void blitz_index_stats(struct blitz_table *table, unsigned index_no,
                       struct blitz_index_stats *stats);

/* Bytes of the index file that are in use. */
uint64_t blitz_index_file_len(struct blitz_table *table);

/* Where sorting puts what does not fit into BYTES of memory, per index: into files
 * without a name in the directory DIR.
 */
enum blitz_rc blitz_set_sort(const char *dir, size_t bytes) BLITZ_MUST_CHECK;

/* Drops a reference; the last one syncs and closes the file. No cursor and no
 * transaction of the caller's may still use the table.
 */
void blitz_table_close(struct blitz_table *table);

/* Removes PATH.bzd, which nobody may have open. BLITZ_NOT_FOUND: there is none. */
enum blitz_rc blitz_table_drop(const char *path, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Renames FROM.bzd, which nobody may have open, to TO.bzd. */
enum blitz_rc blitz_table_rename(const char *from, const char *to,
                                 struct blitz_error *err) BLITZ_MUST_CHECK;

/* Writes the rows committed at this moment to TO.bzd, compact and synced, while
 * others go on reading and writing. TO.bzd must not exist; on failure it does
 * not exist afterwards.
 */
enum blitz_rc blitz_table_copy(struct blitz_table *table, const char *to,
                               struct blitz_error *err) BLITZ_MUST_CHECK;

/* Waits until all that is committed is on the device. */
enum blitz_rc blitz_table_sync(struct blitz_table *table, struct blitz_error *err) BLITZ_MUST_CHECK;

struct blitz_table_stats
{
  uint64_t row_count; /* committed rows, exact */
  uint64_t file_len;  /* bytes of the file, allocated ahead included */
  uint64_t data_len;  /* bytes in use, rows and bucket array */
  uint64_t free_len;  /* bytes inside the file that no row uses */
  uint64_t bucket_count;
  uint64_t rows_lost; /* damaged rows that were dropped when the table was opened */
};

void blitz_table_stats(struct blitz_table *table, struct blitz_table_stats *stats);

/* A number that the caller keeps with the table, such as the next
 * AUTO_INCREMENT value; 0 in a new table. raise() stores N if it is larger than
 * what is there; it is kept at once, whatever becomes of any transaction.
 */
uint64_t blitz_table_counter(struct blitz_table *table);
enum blitz_rc blitz_table_counter_raise(struct blitz_table *table, uint64_t n,
                                        struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc blitz_table_counter_set(struct blitz_table *table, uint64_t n,
                                      struct blitz_error *err) BLITZ_MUST_CHECK;

/* ---- transactions ------------------------------------------------------ */

/* A transaction object, to be used again and again. Unchanged between commit or
 * rollback and the next change; beginning one costs nothing.
 */
enum blitz_rc blitz_txn_create(struct blitz_txn **txnp) BLITZ_MUST_CHECK;

/* Rolls back what is not committed, and frees the object. NULL is allowed. */
void blitz_txn_free(struct blitz_txn *txn);

/* How long a change waits for another writer of the table: seconds, 50 at first. */
void blitz_txn_lock_timeout(struct blitz_txn *txn, unsigned seconds);

/* Is there something to commit or to roll back? */
bool blitz_txn_changed(const struct blitz_txn *txn);

/* Rows that TXN has added to TABLE so far, less those that it has removed. */
int64_t blitz_txn_row_delta(const struct blitz_txn *txn, const struct blitz_table *table);

/* Makes all changes permanent and visible. If that fails, all of them are undone: what the
 * rows need they got when they were changed, but the entries of indexes and the log are written
 * here, for which there may be no space (BLITZ_FULL).
 */
enum blitz_rc blitz_txn_commit(struct blitz_txn *txn, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Commits COUNT transactions as one, or undoes them all. */
enum blitz_rc blitz_txns_commit(struct blitz_txn *const *txns, unsigned count,
                                struct blitz_error *err) BLITZ_MUST_CHECK;

/* The same in two steps, so that others need not wait for the device as well: they may go on, and
 * see what was committed, between them. Who gets *POSITIONP must wait for it before the commit is
 * acknowledged. A failure of that leaves open whether a crash will undo it; there are no more
 * changes then.
 */
enum blitz_rc blitz_txns_commit_early(struct blitz_txn *const *txns, unsigned count,
                                      uint64_t *positionp,
                                      struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc blitz_commit_wait(uint64_t position, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Undoes all changes. */
void blitz_txn_rollback(struct blitz_txn *txn);

/* Says that about ROW_COUNT rows (0: unknown) are going to be inserted into
 * TABLE. If it is empty and TXN has not changed it, the rows go straight to
 * their places, without costing memory, the bucket array is sized at once, and
 * the entries of indexes are sorted before they are stored. If LATE_DUPLICATES
 * the latter goes for unique ones too: then a row that is equal to another one by
 * such an index is not refused at once but by blitz_txn_finish_load().
 */
enum blitz_rc blitz_txn_expect_rows(struct blitz_txn *txn, struct blitz_table *table,
                                    uint64_t row_count, bool late_duplicates,
                                    struct blitz_error *err) BLITZ_MUST_CHECK;

/* Ends what blitz_txn_expect_rows() began, if anything: the rows are all there. After
 * a failure TXN can only be rolled back. BLITZ_DUPLICATE: err->index_no is the index,
 * and DUPLICATE, if not NULL, was called with ARG.
 */
enum blitz_rc blitz_txn_finish_load(struct blitz_txn *txn, struct blitz_table *table,
                                    blitz_duplicate_fn *duplicate, void *arg,
                                    struct blitz_error *err) BLITZ_MUST_CHECK;

/* What the following changes of a table with indexes ask for the entries. To be called before
 * the first change, and whenever INDEXER, which must live until the last one, is another.
 */
void blitz_txn_set_indexer(struct blitz_txn *txn, const struct blitz_indexer *indexer);

/* ---- changes ----------------------------------------------------------- */

/* Adds a row. BLITZ_DUPLICATE: its key, or a unique entry of an index (err->index_no),
 * is there, and nothing has changed. If this or another change of a table with indexes
 * fails for want of memory or space, TXN can only be rolled back.
 */
enum blitz_rc blitz_insert(struct blitz_txn *txn, struct blitz_table *table, struct blitz_slice key,
                           struct blitz_slice value, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Adds a row to a table with row ids, and says which id it got. An id is not given twice,
 * whatever becomes of the transaction.
 */
enum blitz_rc blitz_insert_row_id(struct blitz_txn *txn, struct blitz_table *table,
                                  struct blitz_slice value, uint64_t *row_idp,
                                  struct blitz_error *err) BLITZ_MUST_CHECK;

/* Gives the row KEY the value VALUE and the key NEW_KEY, which may be the same.
 * BLITZ_NOT_FOUND, BLITZ_DUPLICATE (NEW_KEY is another row's): nothing changed.
 */
enum blitz_rc blitz_update(struct blitz_txn *txn, struct blitz_table *table, struct blitz_slice key,
                           struct blitz_slice new_key, struct blitz_slice value,
                           struct blitz_error *err) BLITZ_MUST_CHECK;

enum blitz_rc blitz_remove(struct blitz_txn *txn, struct blitz_table *table, struct blitz_slice key,
                           struct blitz_error *err) BLITZ_MUST_CHECK;

/* Removes all rows. GO_ON is asked now and then; false: BLITZ_STOPPED, and TXN can only be
 * rolled back.
 */
typedef bool blitz_go_on_fn(void *arg);
enum blitz_rc blitz_remove_all(struct blitz_txn *txn, struct blitz_table *table,
                               blitz_go_on_fn *go_on, void *arg,
                               struct blitz_error *err) BLITZ_MUST_CHECK;

/* Answers whether a change shall be made to a row with the value CURRENT. It is
 * called with the table's writer slot held and must not call the engine.
 */
typedef bool blitz_compare_fn(void *arg, struct blitz_slice current);

/* Update and remove of one row if COMPARE says yes to its value; no other change
 * comes between. BLITZ_CHANGED: it said no.
 */
enum blitz_rc blitz_update_if(struct blitz_txn *txn, struct blitz_table *table,
                              struct blitz_slice key, struct blitz_slice value,
                              blitz_compare_fn *compare, void *arg,
                              struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc blitz_remove_if(struct blitz_txn *txn, struct blitz_table *table,
                              struct blitz_slice key, blitz_compare_fn *compare, void *arg,
                              struct blitz_error *err) BLITZ_MUST_CHECK;

/* ---- reading ----------------------------------------------------------- */

/* A cursor on TABLE, which must stay open meanwhile. TXN, if not NULL, is the
 * transaction whose changes it sees; blitz_cursor_set_txn() changes that.
 */
enum blitz_rc blitz_cursor_open(struct blitz_table *table, struct blitz_txn *txn,
                                struct blitz_cursor **cursorp) BLITZ_MUST_CHECK;
void blitz_cursor_close(struct blitz_cursor *cursor); /* NULL is allowed */
void blitz_cursor_set_txn(struct blitz_cursor *cursor, struct blitz_txn *txn);

/* The row KEY. *VALUE is valid until the next call with this cursor. */
enum blitz_rc blitz_get(struct blitz_cursor *cursor, struct blitz_slice key,
                        struct blitz_slice *value, struct blitz_error *err) BLITZ_MUST_CHECK;

/* The first PREFIX_LEN bytes of the row's value, or all of it if it is shorter. */
enum blitz_rc blitz_get_prefix(struct blitz_cursor *cursor, struct blitz_slice key,
                               size_t prefix_len, struct blitz_slice *value,
                               struct blitz_error *err) BLITZ_MUST_CHECK;

/* Begins a scan, in no order that means anything, of the rows that are committed now
 * and what the cursor's transaction has changed so far. While the cursor has positions
 * that blitz_cursor_reset() has not forgotten, "now" is when the first was taken; a scan
 * that is running begins again at its own moment.
 */
enum blitz_rc blitz_scan_begin(struct blitz_cursor *cursor) BLITZ_MUST_CHECK;

/* The next row of the scan, or BLITZ_END. *VALUE is valid until the next call
 * with this cursor.
 */
enum blitz_rc blitz_scan_next(struct blitz_cursor *cursor, struct blitz_slice *value,
                              struct blitz_error *err) BLITZ_MUST_CHECK;

/* Removes the row that blitz_scan_next() gave last, in the cursor's transaction.
 * BLITZ_CHANGED: it has another value by now. BLITZ_NOT_FOUND: it is gone.
 */
enum blitz_rc blitz_scan_remove(struct blitz_cursor *cursor,
                                struct blitz_error *err) BLITZ_MUST_CHECK;

/* Change the row that the cursor read last, in its transaction, as blitz_update() and
 * blitz_remove() do, without looking for it again. The row stays the cursor's.
 */
enum blitz_rc blitz_cursor_update(struct blitz_cursor *cursor, struct blitz_slice new_key,
                                  struct blitz_slice value,
                                  struct blitz_error *err) BLITZ_MUST_CHECK;
enum blitz_rc blitz_cursor_remove(struct blitz_cursor *cursor,
                                  struct blitz_error *err) BLITZ_MUST_CHECK;

/* Ends the scan. Positions taken with blitz_cursor_position() stay good. */
void blitz_scan_end(struct blitz_cursor *cursor);

/* Key of the row read last; empty if there is none. Valid until the next read. */
struct blitz_slice blitz_cursor_key(const struct blitz_cursor *cursor);

/* A number for the row read last. blitz_get_at() reads that row again, as it was
 * or as the cursor's transaction has changed it since. Good until
 * blitz_cursor_reset().
 */
enum blitz_rc blitz_cursor_position(struct blitz_cursor *cursor,
                                    uint64_t *positionp) BLITZ_MUST_CHECK;
enum blitz_rc blitz_get_at(struct blitz_cursor *cursor, uint64_t position,
                           struct blitz_slice *value, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Ends the scan and forgets all positions. */
void blitz_cursor_reset(struct blitz_cursor *cursor);

/* ---- reading in the order of an index ------------------------------------------ */

/* Where to put a cursor, relative to the entries of which the keys begin with KEY. */
enum blitz_seek
{
  BLITZ_SEEK_FIRST,  /* at the first of them, or of those after them */
  BLITZ_SEEK_AFTER,  /* at the first one after them */
  BLITZ_SEEK_LAST,   /* at the last of them, or of those before them */
  BLITZ_SEEK_BEFORE, /* at the last one before them */
};

/* Chooses the index to read, and what is going to be seen: the rows that are committed
 * when the first entry is read, or, if the cursor's transaction has changed the table by
 * now, those rows as it has them at each moment. It stays so until blitz_cursor_reset()
 * or blitz_index_end(), but see blitz_index_step().
 */
enum blitz_rc blitz_index_begin(struct blitz_cursor *cursor, unsigned index_no,
                                struct blitz_error *err) BLITZ_MUST_CHECK;

/* To be called when the next step may be long in coming: gives up what the cursor keeps of
 * the rows and the index, but not its place, from which the next step goes on with what is
 * committed then. The entry's slices are good no more. Does nothing if there are positions
 * to keep.
 */
void blitz_cursor_rest(struct blitz_cursor *cursor);

/* Positions taken stay good. */
void blitz_index_end(struct blitz_cursor *cursor);

/* Puts the cursor at an entry. BLITZ_END: there is none. An empty KEY is the beginning of
 * all of them.
 */
enum blitz_rc blitz_index_seek(struct blitz_cursor *cursor, struct blitz_slice key,
                               enum blitz_seek where, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Goes to the next entry (FORWARD) or to the one before. BLITZ_END: there is none, and the
 * cursor stays where it was; or a seek had found none. After some seconds or many changes of
 * the index, and if there are no positions to keep, the cursor goes on with what is committed
 * then, so that it does not keep the space of removed rows for as long as a slow reader takes.
 */
enum blitz_rc blitz_index_step(struct blitz_cursor *cursor, bool forward,
                               struct blitz_error *err) BLITZ_MUST_CHECK;

/* Key and payload of the entry at the cursor, and the key of its row. Valid until the
 * cursor moves or its transaction changes something.
 */
struct blitz_slice blitz_index_key(const struct blitz_cursor *cursor);
struct blitz_slice blitz_index_payload(const struct blitz_cursor *cursor);
struct blitz_slice blitz_index_row_key(const struct blitz_cursor *cursor);

/* The row of the entry at the cursor, which is then the row that the cursor has read last.
 * *VALUE is valid until the next call with this cursor.
 */
enum blitz_rc blitz_index_row(struct blitz_cursor *cursor, struct blitz_slice *value,
                              struct blitz_error *err) BLITZ_MUST_CHECK;

/* About how many entries there are from the one that a seek to FROM would find up to, and
 * without, the one that a seek to TO would find: BLITZ_SEEK_FIRST or BLITZ_SEEK_AFTER.
 * Exact if they are few.
 */
enum blitz_rc blitz_index_estimate(struct blitz_cursor *cursor, unsigned index_no,
                                   struct blitz_slice from, enum blitz_seek from_where,
                                   struct blitz_slice to, enum blitz_seek to_where,
                                   uint64_t *countp, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Calls VISIT with the keys of about MAX committed entries, which stand together in
 * groups spread over the index; FIRST: the group's first. All of them in order, as one
 * group, if there are no more than MAX.
 */
typedef void blitz_visit_fn(void *arg, struct blitz_slice key, bool first);
enum blitz_rc blitz_index_sample(struct blitz_cursor *cursor, unsigned index_no, uint64_t max,
                                 blitz_visit_fn *visit, void *arg,
                                 struct blitz_error *err) BLITZ_MUST_CHECK;

/* Calls VISIT with about MAX committed rows, or fewer, chosen whatever their keys are. What
 * the cursor has read before is forgotten; it must not be in a scan.
 */
typedef void blitz_sample_fn(void *arg, struct blitz_slice value);
enum blitz_rc blitz_sample(struct blitz_cursor *cursor, uint64_t max, blitz_sample_fn *visit,
                           void *arg, struct blitz_error *err) BLITZ_MUST_CHECK;

/* Lets CURSOR see the rows of the same moment as LEADER, a cursor on the same table that
 * is closed after it. Both must belong to one thread.
 */
void blitz_cursor_follow(struct blitz_cursor *cursor, struct blitz_cursor *leader);

/* ---- one moment of all tables --------------------------------------------------- */

/* A moment between commits: of each commit before it all tables are seen, and of none after it
 * any. It may be used by one thread at a time.
 */
struct blitz_moment;

/* Takes a moment, and a view of it with the indexes for each of COUNT cursors, which see it until
 * they are reset; their transactions' changes are seen as ever.
 */
enum blitz_rc blitz_moment_take(struct blitz_cursor *const *cursors, unsigned count,
                                struct blitz_moment **momentp,
                                struct blitz_error *err) BLITZ_MUST_CHECK;

/* Lets CURSOR, of any table, opened then or since, see MOMENT until it is reset. BLITZ_CHANGED is
 * what all reading gives of a table that was changed and then closed by all, and of an index that
 * was not kept then.
 */
void blitz_cursor_set_moment(struct blitz_cursor *cursor, const struct blitz_moment *moment);

/* Cursors that blitz_moment_take() got go on, others must be reset. NULL is allowed. */
void blitz_moment_end(struct blitz_moment *moment);

/* Begins to fetch the rows KEYS into the processor's caches. It changes nothing. */
void blitz_prefetch(struct blitz_cursor *cursor, const struct blitz_slice *keys, unsigned count);

/* ---- what the engine did so far, in this process ------------------------- */

struct blitz_counters
{
  uint64_t commits; /* transactions committed that had changed something */
  uint64_t rollbacks;
  uint64_t rows_inserted; /* by committed transactions */
  uint64_t rows_updated;
  uint64_t rows_removed;
  uint64_t read_retries;    /* look-ups repeated for a writer in their way */
  uint64_t write_waits;     /* changes that waited for another writer */
  uint64_t bucket_splits;   /* steps of growing bucket arrays */
  uint64_t rows_moved;      /* rows that made room for a bucket array */
  uint64_t bytes_allocated; /* by which files were made longer */
  uint64_t recoveries;      /* tables repaired at open */
  uint64_t index_rebuilds;  /* indexes made anew at open */
  uint64_t index_merges;    /* times that entries in memory were brought into an index file */
  uint64_t index_lookups;   /* rows found by the place that an index has for them */
  uint64_t index_misses;    /* rows that were not there any more, and found by their keys */
  uint64_t checkpoints;
  uint64_t checkpoint_waits; /* of changes, for a checkpoint */
  uint64_t pages_written;    /* of tables, by checkpoints */
  uint64_t log_bytes_written;
  uint64_t log_syncs;
};

void blitz_counters_get(struct blitz_counters *counters);

#ifdef __cplusplus
}
#endif

#endif /* BLITZ_H */
