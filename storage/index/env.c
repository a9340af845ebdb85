/* SPDX-License-Identifier: GPL-2.0-only
 *
 * env.c: LMDB's environment of an index file: opening it, its map and how it grows,
 * read transactions.
 *
 * LMDB opens files by name, and follows links. So what it gets is a name in a directory that
 * is made for that moment and that nobody else may write to (base/private_dir.c): a link to a
 * descriptor of ours.
 *
 * LMDB can exchange its map for a longer one only while no transaction is open. That is
 * asked for when half of it is used. From then on whoever ends the last transaction does it;
 * cursors begin anew where they can (read/view.c); and now and then a writer holds new readers
 * back until the old ones have gone, or a moment has passed.
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
#define HOLD_MS 200      /* how long new readers are held back */
#define HOLD_LAST_MS 800 /* if there is no room without that */
#define HOLD_PAUSE 10    /* times that, before it is done again */

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
    rc = mdb_env_set_maxdbs(file->env, 2 * BLITZ_INDEXES_MAX + 1);
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

static int64_t clock_ms(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void bz_env_want_map(struct bz_index_file *file, uint64_t len)
{
  if (len > atomic_load(&file->map_wanted))
    atomic_store(&file->map_wanted, len);
}

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

void bz_env_grow_map(struct bz_index_file *file)
{
  uint64_t len = atomic_load(&file->map_wanted);

  if (len == 0 || file->readers > 0 || file->in_txn)
    return;
  if (!can_map(file, len) || mdb_env_set_mapsize(file->env, len) != 0)
  {
    bz_log(BLITZ_LOG_WARNING, "%s: its map cannot be made longer: there is no address space",
           file->name);
    file->map_refused = len;
  }
  atomic_store(&file->map_wanted, 0);
  pthread_cond_broadcast(&file->changed);
}

/* Asks for a longer map if LEN more bytes would leave less than half of it free. Returns how
 * long it is.
 */
static uint64_t want_half_free(struct bz_index_file *file, uint64_t len)
{
  MDB_envinfo info;
  uint64_t needed, map_len;

  if (mdb_env_info(file->env, &info) != 0)
    return 0;
  needed = (info.me_last_pgno + 1) * file->page_len * 2 + len * 4;
  map_len = info.me_mapsize;
  while (map_len < needed)
    map_len *= 2;
  if (map_len > info.me_mapsize && (file->map_refused == 0 || map_len < file->map_refused))
    bz_env_want_map(file, map_len);
  return info.me_mapsize;
}

/* Holds new readers back until the map has grown, or for a moment; a longer one if there is
 * hardly any room left (LAST).
 */
static void hold_readers(struct blitz_table *table, bool last)
{
  struct bz_index_file *file = table->index;
  int64_t ms = last ? HOLD_LAST_MS : HOLD_MS, end = clock_ms() + ms;
  struct timespec until = {end / 1000, end % 1000 * 1000000};

  file->holding = true;
  while (bz_index_wants_map(file) && clock_ms() < end)
    (void)pthread_cond_timedwait(&file->changed, &table->snapshot_lock, &until);
  file->holding = false;
  if (bz_index_wants_map(file))
    file->hold_after_ms[last] = end + HOLD_PAUSE * ms;
  pthread_cond_broadcast(&file->changed);
}

void bz_env_make_room(struct blitz_table *table, uint64_t len)
{
  struct bz_index_file *file = table->index;
  uint64_t map_len = want_half_free(file, len), used = bz_env_used(file);
  bool last;

  assert(bz_holds(&table->snapshot_lock));
  bz_env_grow_map(file);
  last = used + used / 8 + len * 2 > map_len;
  if (bz_index_wants_map(file) && clock_ms() >= file->hold_after_ms[last])
    hold_readers(table, last);
}

/* ---- read transactions --------------------------------------------------------------- */

static struct bz_deltas *use(struct bz_deltas *deltas)
{
  if (deltas != NULL)
    deltas->refs++;
  return deltas;
}

enum blitz_rc bz_index_read_begin(struct blitz_table *table, struct bz_index_view *view)
{
  struct bz_index_file *file = table->index;
  MDB_txn **txnp = &view->txn;
  enum blitz_rc rc;

  assert(bz_holds(&table->snapshot_lock));
  for (;;)
  {
    int mdb_rc;

    while (file->holding)
      pthread_cond_wait(&file->changed, &table->snapshot_lock);
    mdb_rc =
        *txnp != NULL ? mdb_txn_renew(*txnp) : mdb_txn_begin(file->env, NULL, MDB_RDONLY, txnp);
    if (mdb_rc != 0)
      return mdb_rc == ENOMEM ? BLITZ_NOMEM : mdb_rc == MDB_PANIC ? BLITZ_CORRUPT : BLITZ_BUSY;
    if (file->committing == 0 || mdb_txn_id(*txnp) != file->committing)
      break;
    /* The rows that belong to these entries come in a moment. */
    mdb_txn_reset(*txnp);
    pthread_cond_wait(&file->changed, &table->snapshot_lock);
  }
  rc = bz_walk_look_txn(file, *txnp, &view->commit);
  if (rc != BLITZ_OK)
  {
    mdb_txn_reset(*txnp);
    return rc;
  }
  file->readers++;
  view->deltas[0] = use(file->active);
  view->deltas[1] = use(file->merged);
  return BLITZ_OK;
}

void bz_index_read_end(struct blitz_table *table, struct bz_index_view *view)
{
  struct bz_index_file *file = table->index;

  assert(bz_holds(&table->snapshot_lock));
  assert(file->readers > 0);
  file->readers--;
  mdb_txn_reset(view->txn);
  for (unsigned i = 0; i < 2; i++)
  {
    bz_deltas_leave(view->deltas[i]);
    view->deltas[i] = NULL;
  }
  bz_env_grow_map(file);
}

void bz_index_read_free(struct MDB_txn *txn)
{
  if (txn != NULL)
    mdb_txn_abort(txn);
}
