/* SPDX-License-Identifier: GPL-2.0-only
 *
 * env.c: LMDB's environment of an index file: opening it, its map and how it grows; views,
 * and the commits that are kept for them.
 *
 * LMDB opens files by name, and follows links. So what it gets is a name in a directory that
 * is made for that moment and that nobody else may write to (base/private_dir.c): a link to a
 * descriptor of ours.
 *
 * LMDB can exchange its map for a longer one only while nothing of it is used. Write
 * transactions use it, and who begins one does it before, if half of the map would be in use.
 * Read transactions here do not: they only keep pages from being written to (X9), and what is
 * read is read in maps of our own (walk.c).
 */
#include "index/deltas.h"
#include "index/lmdb.h"
#include "base/private_dir.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Of address space: what is not read costs nothing. In debug builds it is little, so that the
 * tests make it grow.
 */
#ifdef NDEBUG
#define MAP_MIN (UINT64_C(4) << 30)
#else
#define MAP_MIN (UINT64_C(64) << 20)
#endif
#define MAP_AHEAD 8 /* times the file's length, at open */
#define READERS_MAX 8192

/* A commit of the file that is kept for readers (X9). */
struct bz_index_epoch
{
  struct bz_index_epoch *earlier;
  MDB_txn *txn;
  struct bz_walk_commit commit;
  uint64_t file_number; /* the file's, of that commit */
  uint64_t until;       /* for who reads what was before this commit of the rows */
};

static void end_epoch(struct bz_index_epoch *epoch)
{
  mdb_txn_abort(epoch->txn);
  free(epoch);
}

/* ---- opening --------------------------------------------------------------------- */

/* Makes the link NAME in the directory DIR_FD to what FD is open for. */
static bool link_to(int dir_fd, const char *name, int fd)
{
  char target[40];

  snprintf(target, sizeof target, "/proc/self/fd/%d", fd);
  return symlinkat(target, dir_fd, name) == 0;
}

/* Opens by links in a directory of our own, where what is not there is /proc; LMDB counts its
 * readers in memory. */
static int open_by_links(struct bz_index_file *file, int fd, unsigned flags)
{
  char dir[BZ_PRIVATE_DIR_MAX], path[40];
  int dir_fd = bz_private_dir_make(dir);
  int readers_fd = memfd_create("blitz_readers", MFD_CLOEXEC);
  int rc = 0;

  if (dir_fd < 0 || readers_fd < 0 || !link_to(dir_fd, BZ_PRIVATE_FILE, fd) ||
      !link_to(dir_fd, BZ_PRIVATE_LOCK, readers_fd))
    rc = errno;
  snprintf(path, sizeof path, "/proc/self/fd/%d/" BZ_PRIVATE_FILE, dir_fd);
  if (rc == 0 && (rc = mdb_env_open(file->env, path, flags, 0660)) == ENOENT)
    rc = ENOSYS;
  if (dir_fd >= 0)
    bz_private_dir_remove(dir_fd, dir);
  if (readers_fd >= 0)
    close(readers_fd);
  return rc;
}

int bz_env_open(struct bz_index_file *file, int fd, bool readonly)
{
  uint64_t map_len = MAP_MIN;
  char path[40];
  struct stat st;
  int rc = fstat(fd, &st) == 0 ? mdb_env_create(&file->env) : errno;

  while (rc == 0 && map_len < (uint64_t)st.st_size * MAP_AHEAD)
    map_len *= 2;
  if (rc == 0)
    rc = mdb_env_set_maxdbs(file->env, 2 * BLITZ_INDEXES_MAX + 2);
  if (rc == 0)
    rc = mdb_env_set_maxreaders(file->env, READERS_MAX);
  if (rc == 0)
    rc = mdb_env_set_mapsize(file->env, map_len);
  if (rc != 0)
    return rc;
  if (!readonly)
    return open_by_links(file, fd, MDB_NOSUBDIR | MDB_NOTLS | MDB_NOSYNC);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return mdb_env_open(file->env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_RDONLY | MDB_NOLOCK, 0);
}

void bz_env_close(struct bz_index_file *file)
{
  while (file->epochs != NULL)
  {
    struct bz_index_epoch *epoch = file->epochs;
    file->epochs = epoch->earlier;
    end_epoch(epoch);
  }
  if (file->env != NULL)
    mdb_env_close(file->env);
  file->env = NULL;
  bz_walk_unmap(&file->maps);
}

/* ---- length ------------------------------------------------------------------------- */

uint64_t bz_env_used(const struct bz_index_file *file)
{
  MDB_envinfo info;

  if (mdb_env_info(file->env, &info) != 0)
    return 0;
  return (info.me_last_pgno + 1) * file->page_len;
}

bool bz_env_cut(const struct bz_index_file *file, uint64_t *lenp)
{
  uint64_t used = bz_env_used(file);
  mdb_filehandle_t fd;
  struct stat st;

  *lenp = 0;
  if (mdb_env_get_fd(file->env, &fd) != 0 || fstat(fd, &st) != 0)
    return false;
  /* It may be shorter: the last pages may be free ones, which LMDB does not write. */
  *lenp = (uint64_t)st.st_size;
  if (*lenp <= used)
    return true;
  *lenp = used;
  return ftruncate(fd, (off_t)used) == 0;
}

uint64_t blitz_index_file_len(struct blitz_table *table)
{
  uint64_t len = 0;

  /* A map that grows is nowhere for a moment. */
  pthread_mutex_lock(&table->snapshot_lock);
  if (table->index != NULL)
    len = bz_env_used(table->index);
  pthread_mutex_unlock(&table->snapshot_lock);
  return len;
}

/* ---- the map ------------------------------------------------------------------------ */

/* Will LMDB get a map of LEN bytes? It gives the old one up first, and has none if it fails. */
static bool can_map(const struct bz_index_file *file, uint64_t len)
{
  mdb_filehandle_t fd;
  void *map = MAP_FAILED;

  if (mdb_env_get_fd(file->env, &fd) == 0)
    map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
  if (map != MAP_FAILED)
    munmap(map, len);
  return map != MAP_FAILED;
}

void bz_env_make_room(struct blitz_table *table, uint64_t len)
{
  struct bz_index_file *file = table->index;
  MDB_envinfo info;
  uint64_t needed, map_len;

  assert(bz_holds(&table->snapshot_lock));
  assert(file->writing && !file->in_txn);
  if (mdb_env_info(file->env, &info) != 0)
    return;
  needed = (info.me_last_pgno + 1) * file->page_len * 2 + len * 4;
  if (needed < file->map_wanted)
    needed = file->map_wanted;
  map_len = info.me_mapsize;
  while (map_len < needed)
    map_len *= 2;
  if (map_len == info.me_mapsize || (file->map_refused != 0 && map_len >= file->map_refused))
    return;
  file->map_wanted = 0;
  if (can_map(file, map_len) && mdb_env_set_mapsize(file->env, map_len) == 0)
    return;
  bz_log(BLITZ_LOG_WARNING, "%s: its map cannot be made longer: there is no address space",
         file->name);
  file->map_refused = map_len;
}

/* ---- commits that are kept ------------------------------------------------------------ */

static enum blitz_rc last_commit(struct bz_index_file *file, struct bz_walk_commit *commit)
{
  mdb_filehandle_t fd;

  *commit = (struct bz_walk_commit){.base = NULL};
  if (mdb_env_get_fd(file->env, &fd) != 0)
    return BLITZ_IO;
  return bz_walk_look(&file->maps, fd, file->commit_number, commit);
}

enum blitz_rc bz_env_keep(struct blitz_table *table, uint64_t until)
{
  struct bz_index_file *file = table->index;
  struct bz_index_epoch *epoch = calloc(1, sizeof *epoch);
  enum blitz_rc rc = epoch != NULL ? last_commit(file, &epoch->commit) : BLITZ_NOMEM;

  assert(bz_holds(&table->snapshot_lock));
  if (rc == BLITZ_OK && mdb_txn_begin(file->env, NULL, MDB_RDONLY, &epoch->txn) != 0)
    rc = BLITZ_NOMEM;
  if (rc != BLITZ_OK)
  {
    free(epoch);
    return rc;
  }
  assert(mdb_txn_id(epoch->txn) == file->commit_number);
  epoch->file_number = file->file_number;
  epoch->until = until;
  epoch->earlier = file->epochs;
  file->epochs = epoch;
  return BLITZ_OK;
}

/* Is there a snapshot from number FROM on that is before UNTIL? Needs snapshot_lock. */
static bool is_wanted(const struct blitz_table *table, uint64_t from, uint64_t until)
{
  const struct bz_snapshot *snapshot;

  LIST_FOREACH (snapshot, &table->snapshots, link)
    if (snapshot->seq >= from && snapshot->seq < until)
      return true;
  return false;
}

void bz_index_trim(struct blitz_table *table)
{
  struct bz_index_file *file = table->index;

  assert(bz_holds(&table->snapshot_lock));
  for (struct bz_index_epoch **at = &file->epochs, *epoch; (epoch = *at) != NULL;)
  {
    uint64_t from = epoch->earlier != NULL ? epoch->earlier->until : 0;
    /* That of a commit to come is for who reads from now on, too. */
    if (epoch->until > atomic_load(&table->committed) || is_wanted(table, from, epoch->until))
    {
      at = &epoch->earlier;
      continue;
    }
    *at = epoch->earlier;
    end_epoch(epoch);
  }
}

/* The commit that is kept for who reads commit SEQ; NULL: it is the last one. */
static const struct bz_index_epoch *epoch_for(const struct bz_index_file *file, uint64_t seq)
{
  const struct bz_index_epoch *found = NULL;

  for (const struct bz_index_epoch *epoch = file->epochs; epoch != NULL && epoch->until > seq;
       epoch = epoch->earlier)
    found = epoch;
  return found;
}

/* ---- views ---------------------------------------------------------------------------- */

static struct bz_deltas *use(struct bz_deltas *deltas)
{
  if (deltas != NULL)
    deltas->refs++;
  return deltas;
}

enum blitz_rc bz_index_view_begin(struct blitz_table *table, struct bz_index_view *view,
                                  uint64_t seq)
{
  struct bz_index_file *file = table->index;
  const struct bz_index_epoch *epoch = epoch_for(file, seq);
  enum blitz_rc rc = BLITZ_OK;

  assert(bz_holds(&table->snapshot_lock));
  *view = (struct bz_index_view){.seq = seq, .kept = epoch != NULL};
  if (epoch != NULL)
  {
    view->commit = epoch->commit;
    view->is_earlier = seq < epoch->file_number;
    return BLITZ_OK;
  }
  rc = last_commit(file, &view->commit);
  if (rc != BLITZ_OK)
    return rc;
  view->is_earlier = seq < file->file_number;
  view->deltas[0] = use(file->active);
  view->deltas[1] = use(file->merged);
  return BLITZ_OK;
}

void bz_index_view_end(struct blitz_table *table, struct bz_index_view *view)
{
  (void)table;
  assert(bz_holds(&table->snapshot_lock));
  for (unsigned i = 0; i < 2; i++)
  {
    bz_deltas_leave(view->deltas[i]);
    view->deltas[i] = NULL;
  }
}
