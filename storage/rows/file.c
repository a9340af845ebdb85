/* SPDX-License-Identifier: GPL-2.0-only
 *
 * file.c: the data file as a whole: its name, creation, lock, map and length.
 *
 * Invariants:
 *  B1. Every byte that is read or written through the map is allocated on the
 *      device: the file grows by posix_fallocate() ahead of use, so that a full
 *      disk is an error of bz_file_reserve() and never a SIGBUS.
 *  B2. The map covers the file. A longer file gets a new map, and the old one
 *      stays for readers that are in it.
 *  B3. A file appears under its name whole, by rename.
 *  B4. The map of a logged table is private (base/pages.h), that of another one is shared.
 */
#include "base/counters.h"
#include "base/crc32c.h"
#include "base/sync_dir.h"
#include "log/current.h"
#include "rows/space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096
#define MAP_MIN ((size_t)1 << 20)
#define GROW_MAX ((uint64_t)16 << 20)
#define PRIVATE_MAP_MIN ((size_t)1 << 30)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum blitz_rc bz_damaged(const struct blitz_table *table, uint64_t off, struct blitz_error *err)
{
  return bz_fail(err, BLITZ_CORRUPT, 0,
                 "%s is damaged at or near byte %llu. Restore it from a backup, or repair it, "
                 "which keeps all rows but the damaged ones",
                 table->file, (unsigned long long)off);
}

char *bz_file_name(const char *path)
{
  char *name;

  if (asprintf(&name, "%s%s", path, BLITZ_FILE_EXT) < 0)
    return NULL;
  return name;
}

/* ---- creating ------------------------------------------------------------ */

static uint64_t bucket_count_for(uint64_t rows)
{
  uint64_t count = BZ_BUCKETS_MIN;

  while (count < rows && count < BZ_BUCKETS_MAX)
    count *= 2;
  return count;
}

/* 0, or the system's number. */
static int make_secret(struct bz_header *header)
{
  if (getrandom(&header->salt, sizeof header->salt, 0) != sizeof header->salt ||
      getrandom(&header->secret.key[0], sizeof header->secret.key[0], 0) !=
          sizeof header->secret.key[0])
    return errno;
  return 0;
}

/* Checksum of a closed file with no rows. */
static uint32_t empty_crc(const uint8_t *header_bytes, const struct bz_header *header)
{
  static const uint8_t zeros[BZ_BUCKETS_MIN * BZ_BUCKET_LEN];
  uint32_t crc = bz_header_closed_crc(header_bytes, header->salt);

  for (uint64_t i = 0; i < header->bucket_count; i += BZ_BUCKETS_MIN)
    crc = bz_crc32c(crc, zeros, sizeof zeros);
  return crc;
}

uint32_t bz_file_closed_crc(const struct blitz_table *table)
{
  const uint8_t *base = bz_base(table);

  return bz_crc32c(bz_header_closed_crc(base, table->salt), base + BZ_HEADER_LEN,
                   atomic_load(&table->bucket_count) * BZ_BUCKET_LEN);
}

static bool is_to_sync(const struct blitz_create_options *options)
{
  return bz_current_log() != NULL && !options->temporary;
}

static int write_new_file(int fd, const struct blitz_create_options *options)
{
  uint8_t bytes[BZ_HEADER_LEN];
  struct bz_header header = {.row_ids = options->row_ids, .layout = options->layout};
  int sys_errno = make_secret(&header);

  if (sys_errno != 0)
    return sys_errno;
  header.bucket_count = bucket_count_for(options->expected_rows);
  header.first = BZ_HEADER_LEN + header.bucket_count * BZ_BUCKET_LEN + BZ_POOL_LEN;
  header.end = header.first;
  bz_header_make(bytes, &header);
  bz_store_le64(bytes + BZ_FREE_LIST_OFF, header.end);
  bz_store_le32(bytes + BZ_CLOSED_CRC_OFF, empty_crc(bytes, &header));
  sys_errno = posix_fallocate(fd, 0, (off_t)((header.end + PAGE - 1) / PAGE * PAGE));
  if (sys_errno != 0)
    return sys_errno;
  if (pwrite(fd, bytes, sizeof bytes, 0) != sizeof bytes ||
      (is_to_sync(options) && fdatasync(fd) != 0))
    return errno != 0 ? errno : EIO;
  return 0;
}

/* Opens a new file NAME for writing, in the place of one that a killed process may have left
 * there. It follows nothing that others have put there. -1: errno says why.
 */
static int open_new(const char *name)
{
  const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  int fd = open(name, flags, 0660);

  if (fd < 0 && errno == EEXIST && unlink(name) == 0)
    fd = open(name, flags, 0660);
  return fd;
}

enum blitz_rc bz_file_create_at(const char *name, const struct blitz_create_options *options,
                                struct blitz_error *err)
{
  int fd = open_new(name), sys_errno = 0;

  if (fd < 0)
    sys_errno = errno;
  else
  {
    sys_errno = write_new_file(fd, options);
    if (close(fd) != 0 && sys_errno == 0)
      sys_errno = errno;
    if (sys_errno != 0)
      unlink(name);
  }
  if (sys_errno == 0)
    return BLITZ_OK;
  return bz_fail(err, bz_rc_of_errno(sys_errno), sys_errno, "cannot create %s", name);
}

enum blitz_rc bz_file_create(const char *name, const struct blitz_create_options *options,
                             bool replace, struct blitz_error *err)
{
  char *new_name;
  enum blitz_rc rc;

  if (!replace && access(name, F_OK) == 0)
    return bz_fail(err, BLITZ_EXISTS, 0, "%s is there already. Remove it or use another name",
                   name);
  if (asprintf(&new_name, "%s.new", name) < 0)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory creating %s", name);
  rc = bz_file_create_at(new_name, options, err);
  if (rc == BLITZ_OK && rename(new_name, name) != 0)
  {
    rc = bz_fail(err, bz_rc_of_errno(errno), errno, "cannot create %s", name);
    unlink(new_name);
  }
  else if (rc == BLITZ_OK && is_to_sync(options) && !bz_sync_dir_of(name))
  {
    rc = bz_fail(err, bz_rc_of_errno(errno), errno, "cannot sync the directory of %s", name);
    if (!replace)
      unlink(name);
  }
  free(new_name);
  return rc;
}

/* ---- mapping ------------------------------------------------------------- */

static size_t map_len(size_t len, uint64_t file_len)
{
  while (len < file_len * 2)
    len *= 2;
  return len;
}

/* 0, or the system's number. */
static int map_shared(struct blitz_table *table, uint64_t file_len, struct bz_map *map)
{
  int protection = PROT_READ | (table->flags & BLITZ_OPEN_READONLY ? 0 : PROT_WRITE);

  map->len = map_len(MAP_MIN, file_len);
  map->base = mmap(NULL, map->len, protection, MAP_SHARED, table->fd, 0);
  return map->base == MAP_FAILED ? errno : 0;
}

/* Addresses cost nothing, but some systems have few of them. */
static int map_private(struct blitz_table *table, uint64_t file_len, struct bz_map *map)
{
  size_t least = map_len(MAP_MIN, file_len);
  bool first = table->pages.states == NULL;

  for (size_t len = map_len(PRIVATE_MAP_MIN, file_len); len >= least; len /= 2)
    if ((first ? bz_pages_open(&table->pages, table->fd, len)
               : bz_pages_extend(&table->pages, table->fd, len)) == BLITZ_OK)
    {
      map->base = table->pages.base;
      map->len = len;
      return 0;
    }
  return ENOMEM;
}

static int map_file(struct blitz_table *table, uint64_t file_len)
{
  struct bz_map *map = malloc(sizeof *map);
  int sys_errno;

  if (map == NULL)
    return ENOMEM;
  sys_errno = table->logged ? map_private(table, file_len, map) : map_shared(table, file_len, map);
  if (sys_errno != 0)
  {
    free(map);
    return sys_errno;
  }
  map->older = atomic_load_explicit(&table->map, memory_order_relaxed);
  atomic_store_explicit(&table->map, map, memory_order_release);
  return 0;
}

static enum blitz_rc open_and_lock(struct blitz_table *table, struct stat *st,
                                   struct blitz_error *err)
{
  bool readonly = (table->flags & BLITZ_OPEN_READONLY) != 0;
  struct flock lock = {.l_type = readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};

  /* Nothing that others may have put there is followed or waited for. */
  table->fd = open(table->file,
                   (readonly ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (table->fd < 0 && errno == ELOOP)
    return bz_fail(err, BLITZ_NOT_BLITZ, 0,
                   "%s is a symbolic link, which is not followed. Put the file itself there",
                   table->file);
  if (table->fd < 0)
    return bz_fail(err, bz_rc_of_errno(errno), errno, "cannot open %s", table->file);
  if (fstat(table->fd, st) != 0)
    return bz_fail(err, BLITZ_IO, errno, "cannot open %s", table->file);
  if (!S_ISREG(st->st_mode))
    return bz_fail(err, BLITZ_NOT_BLITZ, 0, "%s is no regular file. Restore it from a backup",
                   table->file);
  if (fcntl(table->fd, F_OFD_SETLK, &lock) != 0)
    return bz_fail(err, BLITZ_BUSY, 0,
                   "%s is in use by another process. Stop that one first: two servers "
                   "must not share a data directory",
                   table->file);
  return BLITZ_OK;
}

/* Allocates what a copy of the file has left out because it was zeros. */
static enum blitz_rc fill_holes(const struct blitz_table *table, const struct stat *st,
                                struct blitz_error *err)
{
  int sys_errno = 0;

  if (!(table->flags & BLITZ_OPEN_READONLY) && st->st_blocks < (st->st_size + 511) / 512)
    do
      sys_errno = posix_fallocate(table->fd, 0, st->st_size);
    while (sys_errno == EINTR);
  if (sys_errno == 0)
    return BLITZ_OK;
  return bz_fail(err, bz_rc_of_errno(sys_errno), sys_errno,
                 "%s has holes, as of a sparse copy, and there is no space to fill them. Free some "
                 "space on its device",
                 table->file);
}

enum blitz_rc bz_file_open(struct blitz_table *table, struct bz_header *header,
                           struct blitz_error *err)
{
  uint8_t bytes[BZ_HEADER_LEN] = {0};
  struct stat st;
  enum blitz_rc rc;
  int sys_errno;

  rc = open_and_lock(table, &st, err);
  if (rc != BLITZ_OK)
    return rc;
  if (pread(table->fd, bytes, sizeof bytes, 0) < 0)
    return bz_fail(err, BLITZ_IO, errno, "cannot read %s", table->file);
  rc = bz_header_read(bytes, (uint64_t)st.st_size, table->file,
                      (table->flags & BLITZ_OPEN_REPAIR) != 0, header, err);
  if (rc == BLITZ_OK)
    rc = fill_holes(table, &st, err);
  if (rc != BLITZ_OK)
    return rc;
  sys_errno = map_file(table, (uint64_t)st.st_size);
  if (sys_errno != 0)
    return bz_fail(err, BLITZ_NOMEM, sys_errno, "cannot map %s", table->file);
  table->allocated = (uint64_t)st.st_size;
  table->salt = header->salt;
  table->secret = header->secret;
  table->version = header->version;
  table->spread_len = header->version == 2 ? BZ_KEY_SPREAD_LEN_2 : BZ_KEY_SPREAD_LEN;
  table->row_ids = header->row_ids;
  table->dirty = header->open;
  atomic_store(&table->end, header->end);
  atomic_store(&table->first, header->first);
  atomic_store(&table->bucket_count, header->bucket_count);
  atomic_store(&table->front_buckets, header->bucket_count);
  atomic_store(&table->damaged, (header->state & BZ_FILE_DAMAGED) != 0);
  atomic_store(&table->row_count, header->row_count);
  atomic_store(&table->committed, header->committed);
  atomic_store(&table->counter, bz_load_le64(bytes + BZ_COUNTER_OFF));
  atomic_store(&table->index_seq, bz_load_le64(bytes + BZ_INDEX_SEQ_OFF));
  table->placed_end = header->end;
  table->placed_image = bz_load_le64(bytes + BZ_IMAGE_OFF);
  return BLITZ_OK;
}

void bz_file_close(struct blitz_table *table)
{
  struct bz_map *map = atomic_load(&table->map);

  while (map != NULL)
  {
    struct bz_map *older = map->older;
    if (map->base != table->pages.base)
      munmap(map->base, map->len);
    free(map);
    map = older;
  }
  bz_pages_close(&table->pages);
  atomic_store(&table->map, NULL);
  if (table->fd >= 0)
    close(table->fd);
  table->fd = -1;
}

/* ---- growing ------------------------------------------------------------- */

static int allocate_to(struct blitz_table *table, uint64_t len)
{
  int sys_errno;

  do
    sys_errno =
        posix_fallocate(table->fd, (off_t)table->allocated, (off_t)(len - table->allocated));
  while (sys_errno == EINTR);
  /* Some file systems keep what they could allocate. */
  if (sys_errno != 0)
    (void)!ftruncate(table->fd, (off_t)table->allocated);
  return sys_errno;
}

enum blitz_rc bz_file_reserve(struct blitz_table *table, uint64_t len, struct blitz_error *err)
{
  uint64_t ahead, wanted;
  int sys_errno;

  bz_assert_writer(table);
  if (len <= table->allocated)
    return BLITZ_OK;
  ahead = table->allocated / 4;
  if (ahead > GROW_MAX)
    ahead = GROW_MAX;
  len = (len + PAGE - 1) / PAGE * PAGE;
  wanted = (len + ahead + PAGE - 1) / PAGE * PAGE;
  sys_errno = allocate_to(table, wanted);
  if (sys_errno != 0 && wanted > len)
  {
    /* What is wanted just now may fit where more ahead does not. */
    wanted = len;
    sys_errno = allocate_to(table, wanted);
  }
  if (sys_errno == 0 && wanted > atomic_load_explicit(&table->map, memory_order_relaxed)->len)
    sys_errno = map_file(table, wanted);
  if (sys_errno != 0)
    return bz_fail(err, bz_rc_of_errno(sys_errno), sys_errno,
                   "%s cannot grow to %llu bytes; the change is undone. "
                   "Free some space on its device",
                   table->file, (unsigned long long)len);
  bz_count(&bz_counters.bytes_allocated, wanted - table->allocated);
  /* Many page faults at once cost less than one at a time. */
  if (!table->logged && ahead >= PAGE * 16 && wanted - table->allocated <= 2 * GROW_MAX)
    (void)!madvise(bz_base(table) + table->allocated / PAGE * PAGE,
                   wanted - table->allocated / PAGE * PAGE, MADV_POPULATE_WRITE);
  table->allocated = wanted;
  return BLITZ_OK;
}

static pthread_once_t boot_id_once = PTHREAD_ONCE_INIT;
static uint8_t boot_id[BZ_BOOT_ID_LEN];

/* The kernel's name for the machine's run; zeros if it has none. */
static void read_boot_id(void)
{
  char text[64] = "";
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  unsigned digits = 0;

  if (fd < 0)
    return;
  if (read(fd, text, sizeof text - 1) > 0)
    for (const char *c = text; *c != 0 && digits < 2 * BZ_BOOT_ID_LEN; c++)
    {
      unsigned value = *c >= '0' && *c <= '9'   ? (unsigned)(*c - '0')
                       : *c >= 'a' && *c <= 'f' ? (unsigned)(*c - 'a') + 10
                                                : 16;
      if (value == 16)
        continue;
      boot_id[digits / 2] = (uint8_t)(boot_id[digits / 2] << 4 | value);
      digits++;
    }
  close(fd);
}

bool bz_file_is_of_this_boot(const struct blitz_table *table, const struct bz_header *header)
{
  static const uint8_t none[BZ_BOOT_ID_LEN];
  uint8_t id[BZ_BOOT_ID_LEN];

  bz_file_boot_id(table, header->version == BZ_VERSION_LOGGED, id);
  return memcmp(boot_id, none, sizeof none) != 0 && memcmp(id, header->boot_id, sizeof id) == 0;
}

void bz_file_boot_id(const struct blitz_table *table, bool logged, uint8_t id[BZ_BOOT_ID_LEN])
{
  struct stat st;

  pthread_once(&boot_id_once, read_boot_id);
  memcpy(id, boot_id, BZ_BOOT_ID_LEN);
  if (logged && fstat(table->fd, &st) == 0)
    bz_store_le64(id, bz_load_le64(id) ^ st.st_ino);
}

void bz_file_mark_dirty(struct blitz_table *table)
{
  uint8_t *base = bz_base(table);

  bz_assert_writer(table);
  if (table->dirty)
    return;
  bz_change_begin(table);
  table->dirty = true;
  bz_put_byte(table, BZ_TC_FLAGS_OFF, base[BZ_TC_FLAGS_OFF] | BZ_TC_FLAG_OPEN);
  bz_put_le64(table, BZ_FREE_LIST_OFF, 0);
  bz_put_le64(table, BZ_FREE_COUNT_OFF, 0);
  if (table->logged)
  {
    bz_note(table, 0, BZ_HEADER_LEN);
    bz_header_set_version(base, BZ_VERSION_LOGGED);
    table->version = BZ_VERSION_LOGGED;
  }
  bz_change_end(table);
  bz_file_stamp(table);
}

void bz_file_stamp(struct blitz_table *table)
{
  uint8_t *base = bz_base(table);

  bz_change_begin(table);
  bz_note(table, BZ_BOOT_ID_OFF, BZ_BOOT_ID_LEN);
  bz_file_boot_id(table, table->logged, base + BZ_BOOT_ID_OFF);
  bz_change_end(table);
  /* The mark is on the device before anything of the indexes that it is to warn of. That of a
   * logged table is in the log.
   */
  if (table->index != NULL && !table->logged && !(table->flags & BLITZ_OPEN_TEMPORARY))
    (void)msync(base, PAGE, MS_SYNC);
}

void bz_file_set_end(struct blitz_table *table, uint64_t end)
{
  bz_assert_writer(table);
  assert(end >= atomic_load_explicit(&table->first, memory_order_relaxed));
  assert(end <= table->allocated);
  if (!table->recovering)
    bz_put_be64(table, BZ_TC_END_OFF, end);
  atomic_store_explicit(&table->end, end, memory_order_release);
}

/* ---- the header of a logged table ------------------------------------------------- */

void bz_set_index_seq(struct blitz_table *table, uint64_t n)
{
  atomic_store(&table->index_seq, n);
  if (!table->logged)
    bz_word_store(bz_base(table), BZ_INDEX_SEQ_OFF, htole64(n));
  else if (table->taken_up && table->log_number == 0)
  {
    /* Who opens the file after a crash in this moment is to know. */
    uint8_t bytes[8];
    bz_store_le64(bytes, n);
    (void)!pwrite(table->fd, bytes, sizeof bytes, BZ_INDEX_SEQ_OFF);
  }
}

void bz_file_put_numbers(struct blitz_table *table)
{
  bz_put_le64(table, BZ_IMAGE_OFF, table->placed_image + 1);
  bz_put_le64(table, BZ_COUNTER_OFF, atomic_load(&table->counter));
  bz_put_le64(table, BZ_INDEX_SEQ_OFF, atomic_load(&table->index_seq));
}

void bz_file_put_closed(struct blitz_table *table)
{
  uint8_t *base = bz_base(table);

  bz_note(table, 0, BZ_HEADER_LEN);
  base[BZ_TC_FLAGS_OFF] &= (uint8_t)~BZ_TC_FLAG_OPEN;
  bz_header_set_version(base, BZ_VERSION);
  bz_file_put_numbers(table);
  bz_store_le32(base + BZ_CLOSED_CRC_OFF, bz_file_closed_crc(table));
  table->version = BZ_VERSION;
  table->dirty = false;
}
