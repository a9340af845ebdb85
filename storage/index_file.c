/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_file.c: the index file as a whole: opening it, whether to believe it, its length,
 * closing it, and read transactions; see index.h.
 */
#include "crc32c.h"
#include "index_lmdb.h"
#include "seqlock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "BzIndex\n"
#define MAGIC_LEN 8
#define VERSION 1

/* The file's own record, in the unnamed database; all little-endian. */
#define RECORD_VERSION_OFF 8     /* 2: of the writer */
#define RECORD_MIN_READER_OFF 10 /* 2: oldest version that can read the file */
#define RECORD_SALT_OFF 12       /* 4: the data file's */
#define RECORD_SEQ_OFF 16        /* 8: 1 + number of the commit of the rows that these are of */
#define RECORD_COUNT_OFF 24      /* 4: of indexes that are not kept */
#define RECORD_IDS_OFF 28        /* 8 each: their ids; then CRC-32C of all before, 4 */

/* Of address space: what is not written to costs nothing. In debug builds it is little, so
 * that the tests make it grow.
 */
#ifdef NDEBUG
#define MAP_MIN (UINT64_C(16) << 30)
#else
#define MAP_MIN (UINT64_C(64) << 20)
#endif
#define READERS_MAX 8192
#define READER_LEN_MAX 128 /* what one takes in the file where LMDB counts them, and more */
#define GROW_MIN (UINT64_C(64) << 10)
#define GROW_MAX (UINT64_C(16) << 20)
#define ROOM_TO_OPEN (UINT64_C(256) << 10)  /* more than making some databases takes */
#define CHECKED_LEN_MAX (UINT64_C(4) << 30) /* longer files are not read whole at open */
#define CHECKED_AT_ONCE 65536

static char *file_name(const char *path, const char *end)
{
  char *name;

  return asprintf(&name, "%s%s%s", path, BLITZ_INDEX_FILE_EXT, end) < 0 ? NULL : name;
}

void bz_index_db_name(uint64_t id, char name[DB_NAME_LEN])
{
  snprintf(name, DB_NAME_LEN, "i%016" PRIx64, id);
}

enum blitz_rc bz_index_fail(const struct blitz_table *table, int mdb_rc, struct blitz_error *err)
{
  const char *name = table->index != NULL ? table->index->name : table->path;

  switch (mdb_rc)
  {
  case MDB_MAP_FULL:
    table->index->map_was_full = true; /* so the next transaction makes it longer first */
    return bz_fail(err, BLITZ_FULL, 0,
                   "%s has no room left in its map; the change is undone. Try again: it grows as "
                   "soon as nobody reads",
                   name);
  case MDB_TXN_FULL: mdb_rc = ENOMEM; break;
  case MDB_CORRUPTED:
  case MDB_PAGE_NOTFOUND:
  case MDB_PANIC:
  case MDB_INVALID:
  case MDB_BAD_TXN:
    return bz_fail(err, BLITZ_CORRUPT, 0,
                   "%s is damaged (%s). Repair the table, which makes it anew from the rows", name,
                   mdb_strerror(mdb_rc));
  default: break;
  }
  if (mdb_rc > 0)
    return bz_fail(err, bz_rc_of_errno(mdb_rc), mdb_rc, "%s cannot be read or written", name);
  return bz_fail(err, BLITZ_IO, 0, "%s cannot be read or written: %s", name, mdb_strerror(mdb_rc));
}

/* ---- the file's own record ------------------------------------------------------ */

MDB_val bz_index_record_key(void)
{
  static char name[] = "blitz";

  return (MDB_val){sizeof name - 1, name};
}

size_t bz_index_make_record(const struct blitz_table *table, uint64_t seq, uint8_t *to)
{
  const struct bz_index_file *file = table->index;
  uint64_t disabled = atomic_load(&file->disabled);
  uint32_t count = 0;
  size_t len;

  memcpy(to, MAGIC, MAGIC_LEN);
  bz_store_le16(to + RECORD_VERSION_OFF, VERSION);
  bz_store_le16(to + RECORD_MIN_READER_OFF, VERSION);
  bz_store_le32(to + RECORD_SALT_OFF, table->salt);
  bz_store_le64(to + RECORD_SEQ_OFF, seq + 1);
  for (unsigned i = 0; i < file->count; i++)
    if (disabled >> i & 1)
      bz_store_le64(to + RECORD_IDS_OFF + 8 * count++, file->ids[i]);
  bz_store_le32(to + RECORD_COUNT_OFF, count);
  len = RECORD_IDS_OFF + 8 * count;
  bz_store_le32(to + len, bz_crc32c(0, to, len));
  return len + 4;
}

/* Why the record does not fit TABLE; NULL: it does. */
static const char *judge_record(struct blitz_table *table, MDB_val record,
                                const struct bz_index_trust *trust)
{
  const uint8_t *from = record.mv_data;
  struct bz_index_file *file = table->index;
  uint64_t seq, disabled = 0;
  uint32_t count;

  if (record.mv_size < RECORD_IDS_OFF + 4 || memcmp(from, MAGIC, MAGIC_LEN) != 0)
    return "damaged";
  if (bz_load_le16(from + RECORD_MIN_READER_OFF) > VERSION)
    return "of a later version";
  count = bz_load_le32(from + RECORD_COUNT_OFF);
  if (count > BLITZ_INDEXES_MAX || record.mv_size != RECORD_IDS_OFF + 8 * (size_t)count + 4 ||
      bz_load_le32(from + record.mv_size - 4) != bz_crc32c(0, from, record.mv_size - 4))
    return "damaged";
  if (bz_load_le32(from + RECORD_SALT_OFF) != table->salt)
    return "another table's";
  seq = bz_load_le64(from + RECORD_SEQ_OFF);
  if (seq == 0 || seq != bz_load_le64(bz_base(table) + BZ_INDEX_SEQ_OFF) ||
      seq - 1 > trust->committed)
    return "out of date";
  for (uint32_t n = 0; n < count; n++)
    for (unsigned i = 0; i < file->count; i++)
      if (file->ids[i] == bz_load_le64(from + RECORD_IDS_OFF + 8 * n))
        disabled |= UINT64_C(1) << i;
  atomic_store(&file->disabled, disabled);
  return NULL;
}

/* ---- its checksum -------------------------------------------------------------- */

/* Checksum of the file's first LEN bytes. False: they cannot be read, which through a map
 * would be a signal.
 */
static bool checksum(const char *name, uint64_t len, uint32_t *crcp)
{
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  uint8_t buf[CHECKED_AT_ONCE];
  uint64_t off = 0;

  *crcp = 0;
  while (fd >= 0 && off < len)
  {
    size_t wanted = len - off < sizeof buf ? (size_t)(len - off) : sizeof buf;
    ssize_t n = pread(fd, buf, wanted, (off_t)off);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      break;
    *crcp = bz_crc32c(*crcp, buf, (size_t)n);
    off += (uint64_t)n;
  }
  if (fd >= 0)
    close(fd);
  return len > 0 && off == len;
}

/* Why the bytes of the file are not to be believed; NULL: they are. */
static const char *judge_bytes(const struct blitz_table *table, const struct bz_index_trust *trust)
{
  uint64_t len = bz_load_le64(bz_base(table) + BZ_INDEX_LEN_OFF);
  uint32_t crc;

  if (access(table->index->name, F_OK) != 0)
    return "missing";
  if (trust->never)
    return "not to be believed after a repair or a crash of the machine";
  if (bz_load_le64(bz_base(table) + BZ_INDEX_SEQ_OFF) == 0)
    return "out of date";
  if (!trust->check_bytes || len > CHECKED_LEN_MAX)
    return NULL;
  if (!checksum(table->index->name, len, &crc) ||
      crc != bz_load_le32(bz_base(table) + BZ_INDEX_CRC_OFF))
    return "damaged or of another time";
  return NULL;
}

/* ---- opening --------------------------------------------------------------------- */

/* LMDB counts its readers in a file beside its own, of which it writes to pages that need
 * not be on the device. So what it finds under that name is memory, or else a file that is
 * allocated whole. A descriptor to be closed when LMDB has opened it; -1: errno says why.
 */
static int make_lock_file(const char *name)
{
  char target[40];
  int fd = memfd_create("blitz_readers", MFD_CLOEXEC), sys_errno;

  unlink(name);
  if (fd >= 0)
  {
    snprintf(target, sizeof target, "/proc/self/fd/%d", fd);
    if (symlink(target, name) == 0 && access(name, R_OK | W_OK) == 0)
      return fd;
    close(fd);
    unlink(name);
  }
  fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0660);
  if (fd < 0)
    return -1;
  sys_errno = posix_fallocate(fd, 0, READERS_MAX * READER_LEN_MAX);
  if (sys_errno == 0)
    return fd;
  close(fd);
  unlink(name);
  errno = sys_errno;
  return -1;
}

/* Opens LMDB's environment, there being a file or not. */
static int open_env(const struct blitz_table *table, struct bz_index_file *file)
{
  bool readonly = (table->flags & BLITZ_OPEN_READONLY) != 0;
  unsigned flags =
      MDB_NOSUBDIR | MDB_NOTLS | (readonly ? MDB_RDONLY | MDB_NOLOCK : MDB_WRITEMAP | MDB_NOSYNC);
  char *lock = file_name(table->path, "-lock");
  int lock_fd = -1, rc;

  if (lock == NULL)
    return ENOMEM;
  if (!readonly)
    lock_fd = make_lock_file(lock);
  rc = readonly || lock_fd >= 0 ? mdb_env_create(&file->env) : errno;
  if (rc == 0)
    rc = mdb_env_set_maxdbs(file->env, 2 * BLITZ_INDEXES_MAX + 1);
  if (rc == 0)
    rc = mdb_env_set_maxreaders(file->env, READERS_MAX);
  if (rc == 0)
    rc = mdb_env_set_mapsize(file->env, MAP_MIN); /* or what the file says that it uses */
  if (rc == 0)
    rc = mdb_env_open(file->env, file->name, flags, 0660);
  if (lock_fd >= 0)
  {
    unlink(lock);
    close(lock_fd);
  }
  free(lock);
  return rc;
}

static void close_env(struct bz_index_file *file)
{
  if (file->env != NULL)
    mdb_env_close(file->env);
  file->env = NULL;
}

/* Lest a copy of the file be as long as the map. All that LMDB writes to is allocated before,
 * by which the file grows.
 */
void bz_index_cut(const struct bz_index_file *file)
{
  mdb_filehandle_t fd;

  if (mdb_env_get_fd(file->env, &fd) != 0 || ftruncate(fd, (off_t)file->allocated) != 0)
    bz_log(BLITZ_LOG_WARNING, "%s seems longer than it is while it is open", file->name);
}

/* Length of what LMDB uses of the file. */
static uint64_t used_len(const struct bz_index_file *file)
{
  MDB_envinfo info;

  if (mdb_env_info(file->env, &info) != 0)
    return 0;
  return (info.me_last_pgno + 1) * file->page_len;
}

/* Allocates the file's bytes up to LEN on the device, and some more if they fit. */
int bz_index_allocate(struct bz_index_file *file, uint64_t len)
{
  mdb_filehandle_t fd;
  uint64_t ahead = file->allocated / 8;
  int rc = mdb_env_get_fd(file->env, &fd);

  if (ahead < GROW_MIN)
    ahead = GROW_MIN;
  if (ahead > GROW_MAX)
    ahead = GROW_MAX;
  if (file->write_tight)
    ahead = 0;
  if (rc != 0)
    return rc;
  if (len <= file->allocated)
    return 0;
  for (uint64_t wanted = len + ahead;; wanted = len)
  {
    do
      rc = posix_fallocate(fd, (off_t)file->allocated, (off_t)(wanted - file->allocated));
    while (rc == EINTR);
    if (rc == 0)
      file->allocated = wanted;
    if (rc == 0 || wanted == len)
      return rc;
  }
}

uint64_t bz_index_pages(MDB_txn *txn, MDB_dbi dbi)
{
  MDB_stat stat;

  return mdb_stat(txn, dbi, &stat) != 0
             ? 0
             : stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
}

/* Allocates what making some databases takes, and setting FREED pages of others free. */
static int allocate_to_open(struct bz_index_file *file, MDB_txn *txn, uint64_t freed)
{
  uint64_t pages = bz_index_pages(txn, FREE_DBI) + freed / FREED_PER_PAGE;

  return bz_index_allocate(file, used_len(file) + ROOM_TO_OPEN + pages * file->page_len);
}

/* Opens the databases of the indexes, and makes those that are not there: *MISSINGP. */
static int open_dbs(struct bz_index_file *file, MDB_txn *txn, bool readonly, uint64_t *missingp)
{
  char name[DB_NAME_LEN];
  int rc = 0;

  for (unsigned i = 0; i < file->count && rc == 0; i++)
  {
    bz_index_db_name(file->ids[i], name);
    rc = mdb_dbi_open(txn, name, 0, &file->dbis[i]);
    if (rc != MDB_NOTFOUND || readonly)
      continue;
    rc = allocate_to_open(file, txn, 0);
    if (rc == 0)
      rc = mdb_dbi_open(txn, name, MDB_CREATE, &file->dbis[i]);
    *missingp |= UINT64_C(1) << i;
  }
  return rc;
}

static bool is_wanted(const struct bz_index_file *file, const MDB_val *key)
{
  char name[DB_NAME_LEN];

  if (key->mv_size != DB_NAME_LEN - 1)
    return true; /* the file's own record */
  for (unsigned i = 0; i < file->count; i++)
  {
    bz_index_db_name(file->ids[i], name);
    if (memcmp(name, key->mv_data, DB_NAME_LEN - 1) == 0)
      return true;
  }
  return false;
}

/* The name of a database of no index that the table has now. MDB_NOTFOUND: there is none. */
static int find_other(const struct bz_index_file *file, MDB_txn *txn, char name[DB_NAME_LEN])
{
  MDB_cursor *mc;
  MDB_val key, value;
  int rc = mdb_cursor_open(txn, MAIN_DBI, &mc);

  if (rc != 0)
    return rc;
  rc = mdb_cursor_get(mc, &key, &value, MDB_FIRST);
  while (rc == 0 && is_wanted(file, &key))
    rc = mdb_cursor_get(mc, &key, &value, MDB_NEXT);
  if (rc == 0)
  {
    memcpy(name, key.mv_data, DB_NAME_LEN - 1);
    name[DB_NAME_LEN - 1] = 0;
  }
  mdb_cursor_close(mc);
  return rc;
}

/* Drops databases of indexes that the table does not have any more. *CHANGED: there were some. */
static int drop_others(struct bz_index_file *file, MDB_txn *txn, bool *changed)
{
  uint64_t freed = 0;
  char name[DB_NAME_LEN];
  MDB_dbi dbi;
  int rc;

  while ((rc = find_other(file, txn, name)) == 0)
  {
    rc = mdb_dbi_open(txn, name, 0, &dbi);
    if (rc != 0)
      return rc;
    freed += bz_index_pages(txn, dbi);
    rc = allocate_to_open(file, txn, freed);
    if (rc == 0)
      rc = mdb_drop(txn, dbi, 1);
    if (rc != 0)
      return rc;
    *changed = true;
  }
  return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Opens everything in the environment. *REASONP: why it is not to be believed. */
static int open_content(struct blitz_table *table, const struct bz_index_trust *trust, bool fresh,
                        uint64_t *missingp, const char **reasonp)
{
  struct bz_index_file *file = table->index;
  bool readonly = (table->flags & BLITZ_OPEN_READONLY) != 0;
  MDB_val key = bz_index_record_key(), record;
  bool changed = false;
  MDB_stat stat;
  MDB_txn *txn;
  MDB_dbi main_dbi;
  int rc = mdb_env_stat(file->env, &stat);

  if (rc != 0)
    return rc;
  file->page_len = stat.ms_psize;
  file->allocated = used_len(file);
  if (!readonly)
    bz_index_cut(file);
  rc = mdb_txn_begin(file->env, NULL, readonly ? MDB_RDONLY : 0, &txn);
  if (rc != 0)
    return rc;
  /* LMDB knows no order of keys before. */
  rc = mdb_dbi_open(txn, NULL, 0, &main_dbi);
  if (rc == 0 && !fresh)
  {
    rc = mdb_get(txn, MAIN_DBI, &key, &record);
    *reasonp = rc == 0              ? judge_record(table, record, trust)
               : rc == MDB_NOTFOUND ? "not complete"
                                    : "damaged";
    rc = 0;
  }
  if (rc == 0 && *reasonp == NULL)
  {
    rc = open_dbs(file, txn, readonly, missingp);
    if (rc == 0 && !readonly)
      rc = drop_others(file, txn, &changed);
    /* One that is made, but empty yet, must not be believed if we get no further. */
    if (rc == 0 && *missingp != 0 && !fresh)
      rc = mdb_del(txn, MAIN_DBI, &key, NULL);
  }
  if (rc == 0 && *reasonp == NULL)
  {
    if (*missingp != 0 || changed)
      bz_file_mark_dirty(table);
    return mdb_txn_commit(txn);
  }
  mdb_txn_abort(txn);
  return rc;
}

/* Opens a file that is believed (FRESH: makes a new one). */
static int open_file(struct blitz_table *table, const struct bz_index_trust *trust, bool fresh,
                     uint64_t *missingp, const char **reasonp)
{
  int rc;

  if (fresh)
    unlink(table->index->name);
  rc = open_env(table, table->index);
  if (rc == 0)
    rc = open_content(table, trust, fresh, missingp, reasonp);
  if (rc != 0 || *reasonp != NULL)
    close_env(table->index);
  return rc;
}

static enum blitz_rc new_index_file(struct blitz_table *table, const struct blitz_indexes *indexes,
                                    struct blitz_error *err)
{
  struct bz_index_file *file = calloc(1, sizeof *file);

  if (file == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory opening %s", table->file);
  file->name = file_name(table->path, "");
  if (file->name == NULL)
  {
    free(file);
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory opening %s", table->file);
  }
  file->count = indexes->count;
  memcpy(file->ids, indexes->ids, sizeof file->ids);
  table->index = file;
  return BLITZ_OK;
}

enum blitz_rc bz_index_open(struct blitz_table *table, const struct blitz_indexes *indexes,
                            const struct bz_index_trust *trust, uint64_t *buildp,
                            const char **reasonp, struct blitz_error *err)
{
  enum blitz_rc rc = new_index_file(table, indexes, err);
  const char *reason = NULL;
  int mdb_rc = 0;

  *buildp = 0;
  *reasonp = NULL;
  if (rc != BLITZ_OK)
    return rc;
  reason = judge_bytes(table, trust);
  if (reason == NULL)
  {
    mdb_rc = open_file(table, trust, false, buildp, &reason);
    if (mdb_rc == MDB_INVALID || mdb_rc == MDB_CORRUPTED || mdb_rc == MDB_PAGE_NOTFOUND ||
        mdb_rc == MDB_VERSION_MISMATCH || mdb_rc == MDB_NOTFOUND || mdb_rc == MDB_INCOMPATIBLE)
    {
      mdb_rc = 0;
      reason = "damaged or of another version";
    }
  }
  *reasonp = reason;
  if (mdb_rc == 0 && reason != NULL)
  {
    if (table->flags & BLITZ_OPEN_READONLY)
      return bz_fail(err, BLITZ_READONLY, 0,
                     "%s is %s and must be made anew, but the table is open for reading only. "
                     "Open it for writing once",
                     table->index->name, reason);
    reason = NULL;
    *buildp = 0;
    mdb_rc = open_file(table, trust, true, buildp, &reason);
  }
  return mdb_rc == 0 ? BLITZ_OK : bz_index_fail(table, mdb_rc, err);
}

/* ---- closing ---------------------------------------------------------------------- */

void bz_index_close(struct blitz_table *table, bool clean)
{
  struct bz_index_file *file = table->index;
  uint8_t *base = bz_base(table);
  uint64_t len = file->env != NULL ? used_len(file) : 0;
  bool sync = !(table->flags & BLITZ_OPEN_TEMPORARY);
  /* If it is only the rows that were not closed, it is as after a kill. */
  bool believable = file->env != NULL && !atomic_load(&file->broken);
  uint32_t crc = 0;

  clean = clean && believable;
  if (clean && table->dirty && sync)
    believable = clean = mdb_env_sync(file->env, 1) == 0;
  close_env(file);
  /* LMDB made it as long as its map. */
  if (len > 0 && !(table->flags & BLITZ_OPEN_READONLY) && truncate(file->name, (off_t)len) != 0)
    believable = clean = false;
  if (table->dirty)
  {
    if (clean && len <= CHECKED_LEN_MAX)
      believable = checksum(file->name, len, &crc);
    bz_store_le64(base + BZ_INDEX_LEN_OFF, len);
    bz_store_le32(base + BZ_INDEX_CRC_OFF, crc);
    if (!believable)
      bz_store_le64(base + BZ_INDEX_SEQ_OFF, 0);
  }
  free(file->name);
  free(file);
  table->index = NULL;
}

void bz_index_unlink(const char *path)
{
  static const char *const ends[] = {"", "-lock"};

  for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++)
  {
    char *name = file_name(path, ends[i]);
    if (name != NULL)
      unlink(name);
    free(name);
  }
}

enum blitz_rc bz_index_rename(const char *from, const char *to, struct blitz_error *err)
{
  char *from_name = file_name(from, ""), *to_name = file_name(to, "");
  enum blitz_rc rc = BLITZ_OK;

  if (from_name == NULL || to_name == NULL)
    rc = bz_fail(err, BLITZ_NOMEM, 0, "out of memory renaming %s", from);
  else
  {
    bz_index_unlink(to);
    if (rename(from_name, to_name) != 0 && errno != ENOENT)
      rc = bz_fail(err, bz_rc_of_errno(errno), errno, "cannot rename %s to %s", from_name, to_name);
  }
  free(from_name);
  free(to_name);
  return rc;
}

/* ---- read transactions --------------------------------------------------------------- */

enum blitz_rc bz_index_read_begin(struct bz_index_file *file, struct MDB_txn **txnp)
{
  int rc = *txnp != NULL ? mdb_txn_renew(*txnp) : mdb_txn_begin(file->env, NULL, MDB_RDONLY, txnp);

  if (rc == 0)
    file->readers++;
  return rc == 0 ? BLITZ_OK : rc == ENOMEM ? BLITZ_NOMEM : BLITZ_BUSY;
}

void bz_index_read_end(struct bz_index_file *file, struct MDB_txn *txn)
{
  assert(file->readers > 0);
  file->readers--;
  /* LMDB gives a reader's pages to the writer, which it does in a way of its own. */
  BZ_HAPPENS_BEFORE(file);
  mdb_txn_reset(txn);
}

void bz_index_read_free(struct MDB_txn *txn)
{
  mdb_txn_abort(txn);
}

uint64_t blitz_index_file_len(struct blitz_table *table)
{
  uint64_t len = 0;

  /* A map that grows is nowhere for a moment. */
  pthread_mutex_lock(&table->snapshot_lock);
  if (table->index != NULL)
    len = used_len(table->index);
  pthread_mutex_unlock(&table->snapshot_lock);
  return len;
}
