/* SPDX-License-Identifier: GPL-2.0-only
 *
 * file.c: the index file as a whole: opening it, whether to believe it, closing it,
 * names; see index.h.
 */
#include "base/crc32c.h"
#include "index/deltas.h"
#include "index/lmdb.h"
#include "index/undo.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "BzIndex\n"
#define MAGIC_LEN 8
#define VERSION 2 /* 1 had no sums */

/* The file's own record, in the unnamed database; all little-endian. */
#define RECORD_VERSION_OFF 8     /* 2: of the writer */
#define RECORD_MIN_READER_OFF 10 /* 2: oldest version that can read the file */
#define RECORD_SALT_OFF 12       /* 4: the data file's */
#define RECORD_SEQ_OFF 16        /* 8: 1 + number of the commit of the rows that these are of */
#define RECORD_COUNT_OFF 24      /* 4: of indexes that are not kept */
#define RECORD_IDS_OFF 28        /* 8 each: their ids */
/* Behind that: number of databases (4); id and sum of each (8, 8); CRC-32C of all before (4). */

#define CHECKED_LEN_MAX (UINT64_C(4) << 30) /* longer files are not read whole at open */
#define CHECKED_AT_ONCE 65536

uint64_t bz_index_verified_later_min = (uint64_t)32 << 20;

static char *file_name(const char *path, const char *end)
{
  char *name;

  return asprintf(&name, "%s%s%s", path, BLITZ_INDEX_FILE_EXT, end) < 0 ? NULL : name;
}

void bz_index_db_name(uint64_t id, char name[DB_NAME_LEN])
{
  static const char digits[] = "0123456789abcdef";

  /* Each view of an index asks for one: by hand it is far quicker than by snprintf(). */
  name[0] = 'i';
  for (unsigned i = 0; i < 16; i++)
    name[1 + i] = digits[id >> (60 - 4 * i) & 15];
  name[17] = 0;
}

bool bz_index_db_id(const MDB_val *name, uint64_t *idp)
{
  char text[DB_NAME_LEN], again[DB_NAME_LEN];

  if (name->mv_size != DB_NAME_LEN - 1)
    return false;
  memcpy(text, name->mv_data, DB_NAME_LEN - 1);
  text[DB_NAME_LEN - 1] = 0;
  *idp = strtoull(text + 1, NULL, 16);
  bz_index_db_name(*idp, again);
  return memcmp(text, again, DB_NAME_LEN) == 0;
}

/* The next transaction finds a longer map. */
static enum blitz_rc fail_map_full(struct bz_index_file *file, struct blitz_error *err)
{
  MDB_envinfo info;

  if (mdb_env_info(file->env, &info) == 0)
    file->map_wanted = info.me_mapsize * 4;
  return bz_fail(err, BLITZ_FULL, 0,
                 "%s has no room left in its map, which cannot grow in the middle of a statement; "
                 "the change is undone. Try again",
                 file->name);
}

enum blitz_rc bz_index_fail(const struct blitz_table *table, int mdb_rc, struct blitz_error *err)
{
  const char *name = table->index != NULL ? table->index->name : table->path;

  switch (mdb_rc)
  {
  case MDB_MAP_FULL: return fail_map_full(table->index, err);
  case MDB_TXN_FULL: mdb_rc = ENOMEM; break;
  case MDB_BAD_TXN:
    return bz_fail(err, BLITZ_INVALID, 0, "%s: a change failed, and must be rolled back first",
                   name);
  case MDB_CORRUPTED:
  case MDB_PAGE_NOTFOUND:
  case MDB_PANIC:
  case MDB_INVALID:
    return bz_fail(err, BLITZ_CORRUPT, 0,
                   "%s is damaged (%s). Repair the table, which makes it anew from the rows", name,
                   mdb_strerror(mdb_rc));
  default: break;
  }
  if (mdb_rc == ELOOP || mdb_rc == BZ_ENOTREG)
    return bz_fail(err, BLITZ_IO, mdb_rc,
                   "%s cannot be used. Remove it, and it is made anew from the rows", name);
  if (bz_rc_of_errno(mdb_rc) == BLITZ_FULL)
    return bz_fail(err, BLITZ_FULL, mdb_rc,
                   "%s cannot grow; the change is undone. Free some space on its device", name);
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

/* Writes the sums of all databases to the record; how many bytes that were. */
static size_t put_sums(const struct bz_index_file *file, uint8_t *to)
{
  uint32_t count = 0;

  for (unsigned dbi = 0; dbi < BZ_DBIS_MAX; dbi++)
    if (file->write_sums[dbi].used)
    {
      bz_store_le64(to + 4 + 16 * count, file->write_sums[dbi].id);
      bz_store_le64(to + 12 + 16 * count++, file->write_sums[dbi].sum);
    }
  bz_store_le32(to, count);
  return 4 + 16 * (size_t)count;
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
  len += put_sums(file, to + len);
  bz_store_le32(to + len, bz_crc32c(0, to, len));
  return len + 4;
}

/* Is the record whole? *SUMSP: where the number of databases is. */
static bool record_is_whole(const MDB_val *record, const uint8_t **sumsp)
{
  const uint8_t *from = record->mv_data;
  size_t len = record->mv_size;
  uint32_t count;

  if (len < RECORD_IDS_OFF + 8 || memcmp(from, MAGIC, MAGIC_LEN) != 0 ||
      bz_load_le32(from + len - 4) != bz_crc32c(0, from, len - 4))
    return false;
  count = bz_load_le32(from + RECORD_COUNT_OFF);
  if (count > BLITZ_INDEXES_MAX || len < RECORD_IDS_OFF + 8 * (size_t)count + 8)
    return false;
  *sumsp = from + RECORD_IDS_OFF + 8 * (size_t)count;
  count = bz_load_le32(*sumsp);
  return count <= BZ_DBIS_MAX && *sumsp + 4 + 16 * (size_t)count + 4 == from + len;
}

bool bz_index_record_sum(const MDB_val *record, uint64_t id, uint64_t *sump)
{
  const uint8_t *sums;

  if (record->mv_size == 0 || !record_is_whole(record, &sums))
    return false;
  for (uint32_t i = 0; i < bz_load_le32(sums); i++)
    if (bz_load_le64(sums + 4 + 16 * i) == id)
    {
      *sump = bz_load_le64(sums + 12 + 16 * i);
      return true;
    }
  return false;
}

/* Why the record does not fit TABLE; NULL: it does. */
static const char *judge_record(struct blitz_table *table, MDB_val record,
                                const struct bz_index_trust *trust, uint64_t header_seq)
{
  const uint8_t *from = record.mv_data;
  struct bz_index_file *file = table->index;
  uint64_t seq, disabled = 0;
  const uint8_t *sums;
  uint32_t count;

  if (record.mv_size < RECORD_IDS_OFF + 4 || memcmp(from, MAGIC, MAGIC_LEN) != 0)
    return "damaged";
  if (bz_load_le16(from + RECORD_VERSION_OFF) < VERSION)
    return "of an earlier version";
  if (bz_load_le16(from + RECORD_MIN_READER_OFF) > VERSION)
    return "of a later version";
  if (!record_is_whole(&record, &sums))
    return "damaged";
  count = bz_load_le32(from + RECORD_COUNT_OFF);
  if (bz_load_le32(from + RECORD_SALT_OFF) != table->salt)
    return "another table's";
  seq = bz_load_le64(from + RECORD_SEQ_OFF);
  if (seq < header_seq || (seq > header_seq && !trust->may_be_later) || seq - 1 > trust->committed)
    return "out of date";
  file->file_number = file->record_number = seq - 1;
  for (uint32_t n = 0; n < count; n++)
    for (unsigned i = 0; i < file->count; i++)
      if (file->ids[i] == bz_load_le64(from + RECORD_IDS_OFF + 8 * n))
        disabled |= UINT64_C(1) << i;
  atomic_store(&file->disabled, disabled);
  return NULL;
}

/* ---- its bytes ------------------------------------------------------------------ */

/* Checksum of the file's first LEN bytes. False: they cannot be read, which through a map
 * would be a signal.
 */
static bool checksum(int fd, uint64_t len, uint32_t *crcp)
{
  uint8_t buf[CHECKED_AT_ONCE];
  uint64_t off = 0;

  *crcp = 0;
  while (off < len)
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
  return len > 0 && off == len;
}

/* Why the bytes of the file that FD is open for are not to be believed; NULL: they are. One
 * that was closed, and is not too long for that, has a checksum.
 */
static const char *judge_bytes(struct blitz_table *table, const struct bz_index_trust *trust,
                               int fd)
{
  uint64_t len;
  uint32_t crc;
  struct stat st;

  /* The header of an open file says other things there. */
  len = trust->check_bytes ? bz_load_le64(bz_base(table) + BZ_INDEX_LEN_OFF) : UINT64_MAX;
  if (len > CHECKED_LEN_MAX)
  {
    table->index->unverified = !trust->check_bytes && trust->was_killed && fstat(fd, &st) == 0 &&
                               (uint64_t)st.st_size >= bz_index_verified_later_min;
    return bz_index_verify(fd, table->index->unverified) ? NULL : "damaged";
  }
  if (!checksum(fd, len, &crc) || crc != bz_load_le32(bz_base(table) + BZ_INDEX_CRC_OFF))
    return "damaged or of another time";
  return NULL;
}

bool bz_index_verify_rest(struct bz_index_file *file)
{
  mdb_filehandle_t fd;

  if (!file->unverified)
    return true;
  file->unverified = mdb_env_get_fd(file->env, &fd) != 0 || !bz_index_verify(fd, false);
  return !file->unverified;
}

/* ---- opening --------------------------------------------------------------------- */

/* Nobody reads earlier commits yet: what is there is void, and the next merge removes it (U3). */
static int open_undo(struct bz_index_file *file, MDB_txn *txn, const MDB_val *record)
{
  char name[DB_NAME_LEN];
  uint64_t sum;
  MDB_dbi dbi;
  int rc;

  bz_index_db_name(BZ_UNDO_ID, name);
  rc = mdb_dbi_open(txn, name, 0, &dbi);
  if (rc == MDB_NOTFOUND)
    return 0;
  if (rc == 0 && !bz_index_record_sum(record, BZ_UNDO_ID, &sum))
    return MDB_CORRUPTED;
  if (rc == 0)
    file->sums[dbi] = (struct bz_index_sum){true, BZ_UNDO_ID, sum};
  return rc;
}

/* Opens the databases of the indexes, and makes those that are not there: *MISSINGP. */
static int open_dbs(struct bz_index_file *file, MDB_txn *txn, bool readonly, uint64_t *missingp)
{
  MDB_val key = bz_index_record_key(), record = {0, NULL};
  char name[DB_NAME_LEN];
  int rc = 0;

  (void)mdb_get(txn, MAIN_DBI, &key, &record);
  for (unsigned i = 0; i < file->count && rc == 0; i++)
  {
    uint64_t sum = 0;
    bz_index_db_name(file->ids[i], name);
    rc = mdb_dbi_open(txn, name, 0, &file->dbis[i]);
    if (rc == 0 && !bz_index_record_sum(&record, file->ids[i], &sum))
      rc = MDB_CORRUPTED;
    if (rc == MDB_NOTFOUND && !readonly)
    {
      rc = bz_index_verify_rest(file) ? mdb_dbi_open(txn, name, MDB_CREATE, &file->dbis[i])
                                      : MDB_CORRUPTED;
      *missingp |= UINT64_C(1) << i;
    }
    if (rc == 0)
      file->sums[file->dbis[i]] = (struct bz_index_sum){true, file->ids[i], sum};
  }
  return rc == 0 ? open_undo(file, txn, &record) : rc;
}

static bool is_wanted(const struct bz_index_file *file, const MDB_val *key)
{
  char name[DB_NAME_LEN];

  if (key->mv_size != DB_NAME_LEN - 1)
    return true; /* the file's own record */
  bz_index_db_name(BZ_UNDO_ID, name);
  if (memcmp(name, key->mv_data, DB_NAME_LEN - 1) == 0)
    return true;
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
  char name[DB_NAME_LEN];
  MDB_dbi dbi;
  int rc;

  while ((rc = find_other(file, txn, name)) == 0)
  {
    rc = bz_index_verify_rest(file) ? mdb_dbi_open(txn, name, 0, &dbi) : MDB_CORRUPTED;
    if (rc == 0)
      rc = mdb_drop(txn, dbi, 1);
    if (rc != 0)
      return rc;
    *changed = true;
  }
  return rc == MDB_NOTFOUND ? 0 : rc;
}

/* An index file that is being opened. */
struct opening
{
  struct blitz_table *table;
  const struct bz_index_trust *trust;
  bool readonly;
  bool fresh;          /* it is a new one */
  uint64_t header_seq; /* what the header says of the number that it should have */
  uint64_t missing;    /* indexes that are not in it */
  const char *reason;  /* why it is not to be believed; NULL: it is */
};

/* Looks whether the record is that of this table and this moment. */
static int open_record(struct opening *opening, MDB_txn *txn)
{
  MDB_val key = bz_index_record_key(), record;
  int rc = mdb_get(txn, MAIN_DBI, &key, &record);

  if (rc == 0)
    opening->reason = judge_record(opening->table, record, opening->trust, opening->header_seq);
  else
    opening->reason = rc == MDB_NOTFOUND ? "not complete" : "damaged";
  return 0;
}

/* Opens the databases, and makes those of the table's indexes all that there are. */
static int open_indexes(struct opening *opening, MDB_txn *txn)
{
  struct bz_index_file *file = opening->table->index;
  MDB_val key = bz_index_record_key();
  bool changed = false;
  int rc = open_dbs(file, txn, opening->readonly, &opening->missing);

  if (rc == 0 && !opening->readonly)
    rc = drop_others(file, txn, &changed);
  /* One that is made, but empty yet, must not be believed if we get no further. */
  if (rc == 0 && opening->missing != 0 && !opening->fresh)
    rc = mdb_del(txn, MAIN_DBI, &key, NULL);
  if (rc == 0 && (opening->missing != 0 || changed) && !opening->fresh)
    bz_file_mark_dirty(opening->table);
  return rc;
}

/* Opens everything in the environment. */
static int open_content(struct opening *opening)
{
  struct bz_index_file *file = opening->table->index;
  MDB_envinfo info;
  MDB_dbi main_dbi;
  MDB_stat stat;
  MDB_txn *txn;
  int rc = mdb_env_stat(file->env, &stat);

  if (rc != 0)
    return rc;
  file->page_len = stat.ms_psize;
  rc = mdb_txn_begin(file->env, NULL, opening->readonly ? MDB_RDONLY : 0, &txn);
  if (rc != 0)
    return rc;
  /* LMDB knows no order of keys before. */
  rc = mdb_dbi_open(txn, NULL, 0, &main_dbi);
  if (rc == 0 && !opening->fresh)
    rc = open_record(opening, txn);
  if (rc == 0 && opening->reason == NULL)
    rc = open_indexes(opening, txn);
  if (rc != 0 || opening->reason != NULL)
  {
    mdb_txn_abort(txn);
    return rc;
  }
  rc = mdb_txn_commit(txn);
  if (rc == 0)
    rc = mdb_env_info(file->env, &info);
  if (rc == 0)
  {
    file->commit_number = info.me_last_txnid;
    atomic_store(&file->write_number, info.me_last_txnid);
  }
  return rc;
}

/* Opens what there is under the file's name, which is not to be a link or a device. FRESH:
 * makes it, in the place of an older one. -1: errno says why, 0: it is no file.
 */
static int open_descriptor(const struct opening *opening)
{
  const char *name = opening->table->index->name;
  struct stat st;
  int fd;

  if (opening->fresh)
  {
    if (unlink(name) != 0 && errno != ENOENT)
      return -1;
    return open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0660);
  }
  fd = open(name, (opening->readonly ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
    return fd;
  if (fd >= 0)
  {
    close(fd);
    errno = BZ_ENOTREG;
  }
  return -1;
}

static int open_file(struct opening *opening)
{
  struct bz_index_file *file = opening->table->index;
  int fd = open_descriptor(opening), rc;

  if (fd < 0)
    return errno;
  file->unverified = false;
  if (!opening->fresh)
    opening->reason = judge_bytes(opening->table, opening->trust, fd);
  rc = opening->reason == NULL ? bz_env_open(file, fd, opening->readonly) : 0;
  if (rc == 0 && opening->reason == NULL)
    rc = open_content(opening);
  if (rc != 0 || opening->reason != NULL)
    bz_env_close(file);
  close(fd);
  return rc;
}

/* Opens the file that is there, if it is to be believed. Were it to kill the process, which
 * nothing is known to cause, it would not be opened again: the header does not know its number
 * meanwhile.
 */
static int open_old(struct opening *opening)
{
  bool guarded = !opening->trust->check_bytes && !opening->readonly;
  int rc;

  if (opening->trust->never)
    opening->reason = "not to be believed after a repair or a crash of the machine";
  else if (opening->header_seq == 0)
    opening->reason = "out of date";
  if (opening->reason != NULL)
    return 0;
  if (guarded)
    bz_set_index_seq(opening->table, 0);
  rc = open_file(opening);
  if (rc == ENOENT)
    opening->reason = "missing";
  else if (rc == MDB_INVALID || rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND ||
           rc == MDB_VERSION_MISMATCH || rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE)
    opening->reason = "damaged or of another version";
  else if (rc != 0 || opening->reason == NULL)
  {
    /* It is believed, or may be another time, when there are more descriptors or memory. */
    if (guarded)
      bz_set_index_seq(opening->table, opening->header_seq);
    return rc;
  }
  return 0;
}

static struct bz_index_file *new_index_file(const struct blitz_table *table,
                                            const struct blitz_indexes *indexes)
{
  struct bz_index_file *file = calloc(1, sizeof *file);
  pthread_condattr_t attr;

  if (file == NULL)
    return NULL;
  file->name = file_name(table->path, "");
  if (file->name == NULL)
  {
    free(file);
    return NULL;
  }
  file->count = indexes->count;
  memcpy(file->ids, indexes->ids, sizeof file->ids);
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(&file->changed, &attr);
  pthread_condattr_destroy(&attr);
  return file;
}

enum blitz_rc bz_index_open(struct blitz_table *table, const struct blitz_indexes *indexes,
                            const struct bz_index_trust *trust, uint64_t *buildp,
                            const char **reasonp, struct blitz_error *err)
{
  struct opening opening = {.table = table, .trust = trust};
  int mdb_rc;

  *buildp = 0;
  *reasonp = NULL;
  table->index = new_index_file(table, indexes);
  if (table->index == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory opening %s", table->file);
  opening.readonly = (table->flags & BLITZ_OPEN_READONLY) != 0;
  opening.header_seq = atomic_load(&table->index_seq);
  mdb_rc = open_old(&opening);
  *reasonp = opening.reason;
  if (mdb_rc == 0 && opening.reason != NULL)
  {
    if (opening.readonly)
      return bz_fail(err, BLITZ_READONLY, 0,
                     "%s is %s and must be made anew, but the table is open for reading only. "
                     "Open it for writing once",
                     table->index->name, opening.reason);
    opening.reason = NULL;
    opening.missing = 0;
    opening.fresh = true;
    mdb_rc = open_file(&opening);
  }
  *buildp = opening.missing;
  return mdb_rc == 0 ? BLITZ_OK : bz_index_fail(table, mdb_rc, err);
}

/* The indexes that have sums in a record. */
static enum blitz_rc take_ids(const uint8_t *sums, struct blitz_indexes *indexes)
{
  for (uint32_t i = 0; i < bz_load_le32(sums); i++)
  {
    uint64_t id = bz_load_le64(sums + 4 + 16 * i);
    if (id == BZ_UNDO_ID)
      continue;
    if (indexes->count == BLITZ_INDEXES_MAX)
      return BLITZ_CORRUPT;
    indexes->ids[indexes->count++] = id;
  }
  return BLITZ_OK;
}

/* The indexes that the file NAME has, all of them: what is committed to it says what they are. */
static enum blitz_rc list_indexes(const char *name, struct blitz_indexes *indexes)
{
  struct bz_walk_maps maps = {0};
  struct bz_walk_commit commit;
  struct blitz_slice slice;
  int fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  enum blitz_rc rc = fd >= 0 ? bz_walk_look(&maps, fd, BZ_WALK_LAST, &commit) : BLITZ_CORRUPT;

  if (rc == BLITZ_OK)
    rc = bz_walk_record(&commit, &slice);
  if (rc == BLITZ_OK)
  {
    MDB_val record = {slice.len, (void *)(uintptr_t)slice.data};
    const uint8_t *sums;

    rc = record_is_whole(&record, &sums) ? take_ids(sums, indexes) : BLITZ_CORRUPT;
  }
  bz_walk_unmap(&maps);
  if (fd >= 0)
    close(fd);
  return rc;
}

/* The file as it is, with all indexes that it has, or an error. */
static enum blitz_rc open_for_replayed(struct blitz_table *table, struct blitz_error *err)
{
  struct bz_index_trust trust = {.may_be_later = true, .committed = atomic_load(&table->committed)};
  struct blitz_indexes indexes = {0};
  struct opening opening = {.table = table, .trust = &trust};
  char *name = file_name(table->path, "");
  enum blitz_rc rc = name != NULL ? list_indexes(name, &indexes) : BLITZ_NOMEM;
  int mdb_rc;

  free(name);
  if (rc == BLITZ_OK)
    table->index = new_index_file(table, &indexes);
  if (rc == BLITZ_NOMEM || (rc == BLITZ_OK && table->index == NULL))
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory closing %s", table->file);
  if (rc != BLITZ_OK)
    return bz_fail(err, rc, 0, "%s" BLITZ_INDEX_FILE_EXT " is damaged", table->path);
  opening.header_seq = atomic_load(&table->index_seq);
  mdb_rc = open_old(&opening);
  if (mdb_rc != 0)
    return bz_index_fail(table, mdb_rc, err);
  return opening.reason == NULL && opening.missing == 0
             ? BLITZ_OK
             : bz_fail(err, BLITZ_CORRUPT, 0, "%s is %s", table->index->name,
                       opening.reason != NULL ? opening.reason : "not complete");
}

void bz_index_finish_replayed(struct blitz_table *table)
{
  struct bz_deltas *replayed = table->replayed;
  struct blitz_error why;
  enum blitz_rc rc;

  if (replayed == NULL)
    return;
  rc = open_for_replayed(table, &why);
  if (rc == BLITZ_OK)
    rc = bz_index_take_over(table, replayed, 0);
  if (rc != BLITZ_OK)
    bz_deltas_leave(replayed);
  table->replayed = NULL;
  if (rc != BLITZ_OK)
  {
    bz_log(BLITZ_LOG_WARNING, "%s. It is made anew from the rows when the table is opened",
           why.text);
    bz_set_index_seq(table, 0);
  }
  if (table->index == NULL)
    return;
  bz_change_begin(table);
  bz_index_close(table, false);
  bz_change_end(table);
}

/* ---- closing ---------------------------------------------------------------------- */

/* Gives the file its final length, and if SYNC has it written to the device. */
static bool finish_file(const struct bz_index_file *file, bool sync, uint64_t *lenp, uint32_t *crcp)
{
  mdb_filehandle_t fd;

  *crcp = 0;
  if (!bz_env_cut(file, lenp) || mdb_env_get_fd(file->env, &fd) != 0)
    return false;
  if (sync && mdb_env_sync(file->env, 1) != 0)
    return false;
  return *lenp > CHECKED_LEN_MAX || checksum(fd, *lenp, crcp);
}

/* Brings all that is committed into the file. False: it cannot be, and the file is out of date. */
static bool merge_last(struct blitz_table *table)
{
  struct blitz_error why = {0};

  if (bz_index_merge(table, true, &why) == BLITZ_OK)
    return !atomic_load(&table->index->broken);
  bz_log(BLITZ_LOG_ERROR, "%s. It is made anew from the rows when the table is opened again",
         why.text);
  return false;
}

void bz_index_close(struct blitz_table *table, bool clean)
{
  struct bz_index_file *file = table->index;
  bool believable = file->env != NULL && !atomic_load(&file->broken);
  uint32_t crc = 0;
  uint64_t len = 0;

  if (table->dirty)
  {
    /* Nobody looks it over any more once it has a checksum (X6). */
    if (believable)
      believable = merge_last(table) && bz_index_verify_rest(file);
    /* If it is only the rows that were not closed, it is as after a kill. */
    if (believable && clean)
      believable = finish_file(file, !(table->flags & BLITZ_OPEN_TEMPORARY), &len, &crc);
    bz_put_le64(table, BZ_INDEX_LEN_OFF, len);
    bz_put_le32(table, BZ_INDEX_CRC_OFF, crc);
    if (!believable)
      bz_set_index_seq(table, 0);
  }
  bz_deltas_leave(file->writer_own);
  bz_index_forget(table);
  bz_env_close(file);
  pthread_cond_destroy(&file->changed);
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
