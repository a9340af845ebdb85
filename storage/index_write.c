/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_write.c: write transactions of the index file, and room for what they write.
 *
 * LMDB writes to its pages through the map, so they must be allocated on the device
 * before. How many it is going to take it does not say; provide() knows an upper bound.
 */
#include "index_lmdb.h"

#include "seqlock.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define WAIT_FOR_READERS_MS 2000
#define CREDIT_MAX 64 /* puts that room is made for at a time */

/* More than this in a transaction, and LMDB lets go of pages in the middle of it. How many it
 * takes then is not known as well; so the file is as long as the map for that while, that a
 * wrong guess be a hole in it and not a fault.
 */
#define SPILL_PAGES 65536

/* ---- room --------------------------------------------------------------------------- */

/* Pages of the indexes, but for those of long values, and the depth of the deepest tree. */
static uint64_t tree_pages(struct bz_index_file *file, MDB_txn *txn, unsigned *depth)
{
  uint64_t pages = 0;
  MDB_stat stat;

  for (unsigned i = 0; i < file->count + file->write_more_count; i++)
    if (mdb_stat(txn, i < file->count ? file->dbis[i] : file->write_more[i - file->count], &stat) ==
        0)
    {
      pages += stat.ms_branch_pages + stat.ms_leaf_pages;
      if (stat.ms_depth > *depth)
        *depth = stat.ms_depth;
    }
  return pages;
}

/* Length that the map should have for LEN more bytes; 0: it is long enough. */
static uint64_t longer_map(const struct bz_index_file *file, uint64_t len)
{
  MDB_envinfo info;
  uint64_t wanted, map_len;

  if (mdb_env_info(file->env, &info) != 0)
    return 0;
  wanted = (info.me_last_pgno + 1) * file->page_len * 2 + len * 4;
  if (wanted < info.me_mapsize && !file->map_was_full)
    return 0;
  map_len = info.me_mapsize * 2;
  while (map_len < wanted)
    map_len *= 2;
  return map_len;
}

/* Will LMDB get a map of LEN bytes? It gives the old one up first, and has none if it fails. */
static bool can_map(const struct bz_index_file *file, uint64_t len)
{
  mdb_filehandle_t fd;
  void *map = MAP_FAILED;

  if (mdb_env_get_fd(file->env, &fd) == 0 && ftruncate(fd, (off_t)len) == 0)
    map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map != MAP_FAILED)
    munmap(map, len);
  bz_index_cut(file);
  return map != MAP_FAILED;
}

/* Makes the map long enough for LEN more bytes, and half empty, unless somebody reads all
 * the time.
 */
static void grow_map(struct blitz_table *table, uint64_t len)
{
  struct bz_index_file *file = table->index;
  uint64_t map_len = longer_map(file, len);
  unsigned tries = len > 0 || file->map_was_full ? WAIT_FOR_READERS_MS : 1;
  bool done = map_len == 0;

  for (; !done && tries > 0; tries--)
  {
    pthread_mutex_lock(&table->snapshot_lock);
    if (file->readers == 0)
    {
      done = true;
      if (can_map(file, map_len) && mdb_env_set_mapsize(file->env, map_len) == 0)
      {
        file->map_was_full = false;
        bz_index_cut(file);
      }
      else
        bz_log(BLITZ_LOG_WARNING, "%s: its map cannot be made longer", file->name);
    }
    pthread_mutex_unlock(&table->snapshot_lock);
    if (!done && tries > 1)
      usleep(1000);
  }
}

/* Makes the file as long as the map, until the transaction is over. */
static void uncut(struct bz_index_file *file)
{
  mdb_filehandle_t fd;
  MDB_envinfo info;

  if (!file->write_uncut && mdb_env_get_fd(file->env, &fd) == 0 &&
      mdb_env_info(file->env, &info) == 0 && ftruncate(fd, (off_t)info.me_mapsize) == 0)
    file->write_uncut = true;
}

/* Ends that, after making sure that what was written is below the cut. */
static int cut_again(struct bz_index_file *file, uint64_t used)
{
  int rc;

  assert(file->write_uncut || used <= file->allocated);
  if (!file->write_uncut && used <= file->allocated)
    return 0;
  rc = bz_index_allocate(file, used);
  if (rc == 0)
    bz_index_cut(file);
  file->write_uncut = rc != 0;
  return rc;
}

/* LMDB takes new pages from the end when it has no free ones: one for each that a change
 * touches the first time, one for each by which a tree grows, those of long values, which
 * do not serve again before the end of the transaction, and some for its list of free pages.
 */
static enum blitz_rc provide(struct blitz_table *table, struct MDB_txn *txn,
                             struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  uint64_t pages = tree_pages(file, txn, &file->write_depth);
  uint64_t puts = file->write_puts + file->write_credit;
  uint64_t touched = puts * (2 * file->write_depth + 2);
  int rc;

  if (touched > file->write_pages)
    touched = file->write_pages;
  pages = pages > file->write_pages ? pages - file->write_pages : 0;
  if (touched + pages + file->write_overflow > SPILL_PAGES)
    uncut(file);
  pages += file->write_next_page + touched + file->write_overflow + file->write_credit * 4;
  pages +=
      file->write_free + 32 +
      (touched + file->write_long + file->write_overflow + file->write_cleared) / FREED_PER_PAGE;
  if (pages * file->page_len <= file->allocated)
    return BLITZ_OK;
  rc = bz_index_allocate(file, pages * file->page_len);
  if (rc != 0)
    return bz_fail(err, bz_rc_of_errno(rc), rc,
                   "%s cannot grow; the change is undone. Free some space on its device",
                   file->name);
  return BLITZ_OK;
}

/* ---- transactions ---------------------------------------------------------------------- */

enum blitz_rc bz_index_write_begin(struct blitz_table *table, uint64_t len, struct MDB_txn **txnp,
                                   struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  enum blitz_rc code;
  MDB_envinfo info;
  int rc;

  *txnp = NULL;
  if (atomic_load_explicit(&file->broken, memory_order_relaxed))
    return bz_fail(err, BLITZ_CORRUPT, 0,
                   "%s is out of date. Repair the table, or close it (FLUSH TABLES): it is made "
                   "anew when the table is opened",
                   file->name);
  (void)mdb_env_info(file->env, &info);
  rc = cut_again(file, (info.me_last_pgno + 1) * file->page_len);
  if (rc == 0)
  {
    grow_map(table, len);
    rc = mdb_txn_begin(file->env, NULL, 0, txnp);
  }
  if (rc != 0)
    return bz_index_fail(table, rc, err);
  file->write_next_page = info.me_last_pgno + 1;
  atomic_store_explicit(&file->pages, file->write_next_page, memory_order_relaxed);
  file->write_depth = 0;
  file->write_more_count = 0;
  file->write_pages = tree_pages(file, *txnp, &file->write_depth);
  file->write_long = 0;
  for (unsigned i = 0; i < file->count; i++)
    file->write_long += bz_index_pages(*txnp, file->dbis[i]);
  file->write_long -= file->write_pages;
  file->write_free = bz_index_pages(*txnp, FREE_DBI);
  file->write_overflow = file->write_cleared = 0;
  file->write_puts = 0;
  file->write_credit = 0;
  file->write_tight = false;
  code = provide(table, *txnp, err);
  if (code != BLITZ_OK)
  {
    mdb_txn_abort(*txnp);
    *txnp = NULL;
  }
  return code;
}

void bz_index_set_broken(struct blitz_table *table)
{
  if (atomic_exchange(&table->index->broken, true))
    return;
  bz_word_store(bz_base(table), BZ_INDEX_SEQ_OFF, 0);
  bz_log(BLITZ_LOG_ERROR,
         "%s could not be brought up to date. It is made anew from the rows when the table is "
         "opened again",
         table->index->name);
}

int bz_index_write_commit(struct blitz_table *table, struct MDB_txn *txn, uint64_t seq)
{
  struct bz_index_file *file = table->index;
  uint8_t record[RECORD_LEN_MAX];
  MDB_val key = bz_index_record_key();
  MDB_val value = {bz_index_make_record(table, seq, record), record};
  int rc = atomic_load(&file->broken) ? MDB_PANIC : mdb_put(txn, MAIN_DBI, &key, &value, 0);

  BZ_HAPPENS_AFTER(file);
  atomic_fetch_add(&file->write_serial, 1);
  if (rc == 0)
    rc = mdb_txn_commit(txn);
  else
    mdb_txn_abort(txn);
  if (rc == 0)
    bz_word_store(bz_base(table), BZ_INDEX_SEQ_OFF, htole64(seq + 1));
  return rc;
}

void bz_index_write_abort(struct blitz_table *table, struct MDB_txn *txn)
{
  atomic_fetch_add(&table->index->write_serial, 1);
  mdb_txn_abort(txn);
}

enum blitz_rc bz_index_reserve(struct blitz_table *table, struct MDB_txn *txn, size_t len,
                               struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  enum blitz_rc rc;

  BZ_HAPPENS_AFTER(file);
  file->write_puts++;
  if (len > file->page_len / 4)
    file->write_overflow += len / file->page_len + 2;
  else if (file->write_credit > 0)
  {
    file->write_credit--;
    return BLITZ_OK;
  }
  file->write_credit = file->write_puts < CREDIT_MAX ? file->write_puts : CREDIT_MAX;
  rc = file->write_tight ? BLITZ_FULL : provide(table, txn, err);
  if (rc != BLITZ_FULL)
    return rc;
  /* What is wanted just now may fit where more ahead does not. */
  file->write_tight = true;
  file->write_credit = 1;
  rc = provide(table, txn, err);
  file->write_credit = 0;
  return rc;
}

/* The same for the end of all entries of a database. */
static enum blitz_rc reserve_clear(struct blitz_table *table, struct MDB_txn *txn, MDB_dbi dbi,
                                   struct blitz_error *err)
{
  table->index->write_cleared += bz_index_pages(txn, dbi);
  return provide(table, txn, err);
}

/* ---- databases --------------------------------------------------------------------------- */

enum blitz_rc bz_index_db_create(struct blitz_table *table, struct MDB_txn *txn, uint64_t id,
                                 unsigned *dbip, struct blitz_error *err)
{
  struct bz_index_file *file = table->index;
  char name[DB_NAME_LEN];
  enum blitz_rc code = provide(table, txn, err);
  int rc;

  if (code != BLITZ_OK)
    return code;
  bz_index_db_name(id, name);
  rc = mdb_dbi_open(txn, name, MDB_CREATE, dbip);
  if (rc != 0)
    return bz_index_fail(table, rc, err);
  file->write_more[file->write_more_count++] = *dbip;
  return BLITZ_OK;
}

enum blitz_rc bz_index_db_drop(struct blitz_table *table, struct MDB_txn *txn, uint64_t id,
                               struct blitz_error *err)
{
  char name[DB_NAME_LEN];
  enum blitz_rc code;
  MDB_dbi dbi;
  int rc;

  bz_index_db_name(id, name);
  rc = mdb_dbi_open(txn, name, 0, &dbi);
  code = rc == 0 ? reserve_clear(table, txn, dbi, err) : BLITZ_OK;
  if (code != BLITZ_OK)
    return code;
  if (rc == 0)
    rc = mdb_drop(txn, dbi, 1);
  return rc == 0 || rc == MDB_NOTFOUND ? BLITZ_OK : bz_index_fail(table, rc, err);
}

enum blitz_rc bz_index_db_clear(struct blitz_table *table, struct MDB_txn *txn, unsigned dbi,
                                struct blitz_error *err)
{
  enum blitz_rc code = reserve_clear(table, txn, dbi, err);
  int rc = code == BLITZ_OK ? mdb_drop(txn, dbi, 0) : 0;

  return rc == 0 ? code : bz_index_fail(table, rc, err);
}
