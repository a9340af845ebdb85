/* SPDX-License-Identifier: GPL-2.0-only
 *
 * write.c: write transactions of the index file, and its databases as a whole.
 *
 * LMDB writes changed pages where no committed page is, at the commit or before if they are
 * many, and then the page that says where the trees begin. So a failure at any of these
 * leaves the file as it was. Only after one of the last write LMDB knows no more than that
 * the file must be closed; then it is void.
 */
#include "index/lmdb.h"
#include "index/undo.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROBE_LEN (16 << 20)

/* ---- the end of transactions ------------------------------------------------------------ */

/* LMDB takes a write that the system did in part for an I/O error. What is wrong then shows
 * if somebody asks for more.
 */
static int cause_of(const struct bz_index_file *file, int rc)
{
  mdb_filehandle_t fd;
  struct stat st;
  int probe;

  if (rc != EIO || mdb_env_get_fd(file->env, &fd) != 0 || fstat(fd, &st) != 0)
    return rc;
  do
    probe = posix_fallocate(fd, st.st_size, PROBE_LEN);
  while (probe == EINTR);
  (void)!ftruncate(fd, st.st_size);
  return bz_rc_of_errno(probe) == BLITZ_FULL ? probe : rc;
}

enum blitz_rc bz_index_write_fail(const struct blitz_table *table, int rc, struct blitz_error *err)
{
  return bz_index_fail(table, cause_of(table->index, rc), err);
}

void bz_index_end_writing(struct blitz_table *table, bool failed)
{
  struct bz_index_file *file = table->index;
  uint64_t len;

  assert(bz_holds(&table->snapshot_lock));
  assert(file->writing);
  file->writing = false;
  if (failed)
    (void)!bz_env_cut(file, &len);
  pthread_cond_broadcast(&file->changed);
}

/* After LMDB has failed at its last write, nothing can be begun any more. */
static bool is_usable(struct bz_index_file *file)
{
  MDB_txn *txn;
  int rc = mdb_txn_begin(file->env, NULL, MDB_RDONLY, &txn);

  if (rc == 0)
    mdb_txn_abort(txn);
  return rc != MDB_PANIC;
}

/* ---- transactions ---------------------------------------------------------------------- */

/* From the begin of a transaction to its end the map stays as it is. */
static void set_in_txn(struct blitz_table *table, bool in_txn)
{
  pthread_mutex_lock(&table->snapshot_lock);
  table->index->in_txn = in_txn;
  pthread_mutex_unlock(&table->snapshot_lock);
}

/* Readers that come from now on read LMDB's commit NUMBER. */
static void end_committed(struct blitz_table *table, uint64_t number)
{
  pthread_mutex_lock(&table->snapshot_lock);
  table->index->in_txn = false;
  table->index->commit_number = number;
  pthread_mutex_unlock(&table->snapshot_lock);
}

enum blitz_rc bz_index_file_begin(struct blitz_table *table, MDB_txn **txnp,
                                  struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  int rc;

  assert(file->writing);
  if (!bz_index_verify_rest(file))
  {
    bz_index_set_broken(table);
    return bz_index_fail(table, MDB_CORRUPTED, err);
  }
  set_in_txn(table, true);
  rc = mdb_txn_begin(file->env, NULL, 0, txnp);
  if (rc != 0)
  {
    set_in_txn(table, false);
    return bz_index_fail(table, rc, err);
  }
  atomic_store(&file->write_number, mdb_txn_id(*txnp));
  memcpy(file->write_sums, file->sums, sizeof file->sums);
  return BLITZ_OK;
}

void bz_index_file_abort(struct blitz_table *table, MDB_txn *txn)
{
  mdb_txn_abort(txn);
  set_in_txn(table, false);
}

enum blitz_rc bz_index_file_commit(struct blitz_table *table, MDB_txn *txn, uint64_t number,
                                   struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  uint8_t record[RECORD_LEN_MAX];
  MDB_val key = bz_index_record_key();
  MDB_val value = {bz_index_make_record(table, number, record), record};
  uint64_t lmdb_number = mdb_txn_id(txn);
  int rc = atomic_load(&file->broken) ? MDB_PANIC : mdb_put(txn, MAIN_DBI, &key, &value, 0);

  assert(file->writing);
  if (rc == 0)
    rc = mdb_txn_commit(txn);
  else
    mdb_txn_abort(txn);
  if (rc == 0)
  {
    end_committed(table, lmdb_number);
    memcpy(file->sums, file->write_sums, sizeof file->sums);
    file->record_number = number;
    return BLITZ_OK;
  }
  set_in_txn(table, false);
  if (!is_usable(file))
    bz_index_set_broken(table);
  return bz_index_write_fail(table, rc, err);
}

enum blitz_rc bz_index_out_of_date(const struct blitz_table *table, struct blitz_error *err)
{
  return bz_fail(err, BLITZ_CORRUPT, 0,
                 "%s is out of date. Repair the table, or close it (FLUSH TABLES): it is made anew "
                 "when the table is opened",
                 table->index->name);
}

/* Waits for who writes, and is the next one. */
static void begin_writing(struct blitz_table *table)
{
  struct bz_index_file *file = table->index;

  pthread_mutex_lock(&table->snapshot_lock);
  while (file->writing)
    pthread_cond_wait(&file->changed, &table->snapshot_lock);
  file->writing = true;
  pthread_mutex_unlock(&table->snapshot_lock);
}

enum blitz_rc bz_index_write_begin(struct blitz_table *table, uint64_t len, struct MDB_txn **txnp,
                                   struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  enum blitz_rc rc;

  bz_assert_writer(table);
  *txnp = NULL;
  if (atomic_load_explicit(&file->broken, memory_order_relaxed))
    return bz_index_out_of_date(table, err);
  begin_writing(table);
  /* A transaction that is long keeps no entries from the file, and so none of the log. */
  rc = bz_index_merge_all(table, err);
  pthread_mutex_lock(&table->snapshot_lock);
  if (rc == BLITZ_OK)
    bz_env_make_room(table, len);
  pthread_mutex_unlock(&table->snapshot_lock);
  if (rc == BLITZ_OK)
    rc = bz_index_file_begin(table, txnp, err);
  if (rc == BLITZ_OK)
  {
    rc = bz_undo_clear(table, *txnp, err);
    if (rc == BLITZ_OK)
      return BLITZ_OK;
    bz_index_file_abort(table, *txnp);
    *txnp = NULL;
  }
  pthread_mutex_lock(&table->snapshot_lock);
  bz_index_end_writing(table, true);
  pthread_mutex_unlock(&table->snapshot_lock);
  return rc;
}

void bz_index_set_broken(struct blitz_table *table)
{
  if (atomic_exchange(&table->index->broken, true))
    return;
  bz_set_index_seq(table, 0);
  bz_log(BLITZ_LOG_ERROR,
         "%s could not be brought up to date. It is made anew from the rows when the table is "
         "opened again",
         table->index->name);
}

/* Who reads what was before commit SEQ goes on with the file as it is (X9). */
static enum blitz_rc begin_commit(struct blitz_table *table, uint64_t seq, struct blitz_error *err)
{
  enum blitz_rc rc;

  pthread_mutex_lock(&table->snapshot_lock);
  bz_index_trim(table);
  rc = bz_env_keep(table, seq);
  if (rc == BLITZ_OK)
    table->index->file_number = seq;
  pthread_mutex_unlock(&table->snapshot_lock);
  return rc == BLITZ_OK ? rc : bz_fail(err, rc, 0, "out of memory committing to %s", table->file);
}

enum blitz_rc bz_index_write_commit(struct blitz_table *table, struct MDB_txn *txn, uint64_t seq,
                                    struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  enum blitz_rc rc;

  bz_assert_writer(table);
  assert(seq == atomic_load(&table->committed) + 1);
  assert(file->active == NULL && file->merged == NULL);
  atomic_fetch_add(&file->write_serial, 1);
  rc = begin_commit(table, seq, err);
  if (rc == BLITZ_OK)
    rc = bz_index_file_commit(table, txn, seq, err);
  else
    bz_index_file_abort(table, txn);
  if (rc == BLITZ_OK)
    bz_set_index_seq(table, seq + 1);
  pthread_mutex_lock(&table->snapshot_lock);
  if (rc == BLITZ_OK)
    file->direct_number = seq;
  bz_index_end_writing(table, rc != BLITZ_OK);
  pthread_mutex_unlock(&table->snapshot_lock);
  return rc;
}

void bz_index_write_abort(struct blitz_table *table, struct MDB_txn *txn)
{
  bz_assert_writer(table);
  atomic_fetch_add(&table->index->write_serial, 1);
  bz_index_file_abort(table, txn);
  pthread_mutex_lock(&table->snapshot_lock);
  bz_index_end_writing(table, true);
  pthread_mutex_unlock(&table->snapshot_lock);
}

/* ---- databases --------------------------------------------------------------------------- */

enum blitz_rc bz_index_db_create(struct blitz_table *table, struct MDB_txn *txn, uint64_t id,
                                 unsigned *dbip, struct blitz_error *err)
{
  char name[DB_NAME_LEN];
  int rc;

  assert(table->index->writing);
  bz_index_db_name(id, name);
  rc = mdb_dbi_open(txn, name, MDB_CREATE, dbip);
  if (rc == 0)
  {
    table->index->write_sums[*dbip].used = true;
    table->index->write_sums[*dbip].id = id;
  }
  return rc == 0 ? BLITZ_OK : bz_index_write_fail(table, rc, err);
}

enum blitz_rc bz_index_db_drop(struct blitz_table *table, struct MDB_txn *txn, uint64_t id,
                               struct blitz_error *err)
{
  char name[DB_NAME_LEN];
  MDB_dbi dbi;
  int rc;

  assert(table->index->writing);
  bz_index_db_name(id, name);
  rc = mdb_dbi_open(txn, name, 0, &dbi);
  if (rc == 0)
    rc = mdb_drop(txn, dbi, 1);
  if (rc == 0)
    table->index->write_sums[dbi] = (struct bz_index_sum){false, 0, 0};
  return rc == 0 || rc == MDB_NOTFOUND ? BLITZ_OK : bz_index_write_fail(table, rc, err);
}

enum blitz_rc bz_index_db_clear(struct blitz_table *table, struct MDB_txn *txn, unsigned dbi,
                                struct blitz_error *err)
{
  int rc = mdb_drop(txn, dbi, 0);

  assert(table->index->writing);
  if (rc == 0)
    table->index->write_sums[dbi].sum = 0;
  return rc == 0 ? BLITZ_OK : bz_index_write_fail(table, rc, err);
}
