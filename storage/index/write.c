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

/* There is no write transaction any more. Gives back what it took of the device if FAILED. */
static void end_writing(struct blitz_table *table, bool failed)
{
  struct bz_index_file *file = table->index;
  uint64_t len;

  assert(bz_holds(&table->snapshot_lock));
  assert(file->writing);
  file->writing = false;
  if (failed)
    (void)!bz_env_cut(file, &len);
  bz_env_grow_map(file);
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

enum blitz_rc bz_index_write_begin(struct blitz_table *table, uint64_t len, struct MDB_txn **txnp,
                                   struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  int rc;

  bz_assert_writer(table);
  *txnp = NULL;
  if (atomic_load_explicit(&file->broken, memory_order_relaxed))
    return bz_fail(err, BLITZ_CORRUPT, 0,
                   "%s is out of date. Repair the table, or close it (FLUSH TABLES): it is made "
                   "anew when the table is opened",
                   file->name);
  pthread_mutex_lock(&table->snapshot_lock);
  bz_env_make_room(table, len);
  assert(!file->writing);
  file->writing = true; /* the map stays from now on */
  pthread_mutex_unlock(&table->snapshot_lock);
  rc = mdb_txn_begin(file->env, NULL, 0, txnp);
  if (rc != 0)
  {
    pthread_mutex_lock(&table->snapshot_lock);
    file->writing = false;
    pthread_mutex_unlock(&table->snapshot_lock);
    return bz_index_fail(table, rc, err);
  }
  memcpy(file->write_sums, file->sums, sizeof file->sums);
  atomic_store_explicit(&file->pages, bz_env_used(file) / file->page_len, memory_order_relaxed);
  return BLITZ_OK;
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

static void begin_commit(struct blitz_table *table, MDB_txn *txn)
{
  pthread_mutex_lock(&table->snapshot_lock);
  table->index->committing = mdb_txn_id(txn);
  pthread_mutex_unlock(&table->snapshot_lock);
}

static void end_commit(struct blitz_table *table, bool failed)
{
  struct bz_index_file *file = table->index;

  assert(bz_holds(&table->snapshot_lock));
  if (!failed)
    return;
  file->committing = 0;
  pthread_cond_broadcast(&file->changed);
}

enum blitz_rc bz_index_write_commit(struct blitz_table *table, struct MDB_txn *txn, uint64_t seq,
                                    struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  uint8_t record[RECORD_LEN_MAX];
  MDB_val key = bz_index_record_key();
  MDB_val value = {bz_index_make_record(table, seq, record), record};
  int mdb_rc = atomic_load(&file->broken) ? MDB_PANIC : mdb_put(txn, MAIN_DBI, &key, &value, 0);
  enum blitz_rc rc = BLITZ_OK;

  bz_assert_writer(table);
  assert(file->writing && seq == atomic_load(&table->committed) + 1);
  atomic_fetch_add(&file->write_serial, 1);
  if (mdb_rc == 0)
  {
    begin_commit(table, txn);
    mdb_rc = mdb_txn_commit(txn);
  }
  else
    mdb_txn_abort(txn);
  if (mdb_rc == 0)
  {
    memcpy(file->sums, file->write_sums, sizeof file->sums);
    bz_set_index_seq(table, seq + 1);
  }
  else
    rc = bz_index_write_fail(table, mdb_rc, err);
  if (mdb_rc != 0 && !is_usable(file))
    bz_index_set_broken(table);
  pthread_mutex_lock(&table->snapshot_lock);
  end_commit(table, mdb_rc != 0);
  end_writing(table, mdb_rc != 0);
  pthread_mutex_unlock(&table->snapshot_lock);
  return rc;
}

void bz_index_published(struct blitz_table *table)
{
  assert(bz_holds(&table->snapshot_lock));
  assert(table->index->committing != 0);
  table->index->committing = 0;
  pthread_cond_broadcast(&table->index->changed);
}

void bz_index_write_abort(struct blitz_table *table, struct MDB_txn *txn)
{
  bz_assert_writer(table);
  atomic_fetch_add(&table->index->write_serial, 1);
  mdb_txn_abort(txn);
  pthread_mutex_lock(&table->snapshot_lock);
  end_writing(table, true);
  pthread_mutex_unlock(&table->snapshot_lock);
}

/* ---- databases --------------------------------------------------------------------------- */

enum blitz_rc bz_index_db_create(struct blitz_table *table, struct MDB_txn *txn, uint64_t id,
                                 unsigned *dbip, struct blitz_error *err)
{
  char name[DB_NAME_LEN];
  int rc;

  bz_assert_writer(table);
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

  bz_assert_writer(table);
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

  bz_assert_writer(table);
  if (rc == 0)
    table->index->write_sums[dbi].sum = 0;
  return rc == 0 ? BLITZ_OK : bz_index_write_fail(table, rc, err);
}
