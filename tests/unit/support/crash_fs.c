/* SPDX-License-Identifier: GPL-2.0-only
 *
 * crash_fs.c: see crash_fs.h.
 */
#include "crash_fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define SECTOR 512
#define SECTORS_PER_PAGE 8
#define FDS_MAX 256
#define NAME_LEN_MAX 64
#define NAMES_MAX 256

enum call_kind
{
  CALL_CREATE, /* name, file */
  CALL_WRITE,  /* file, off, data, len; dsync */
  CALL_LENGTH, /* file, len */
  CALL_SYNC,   /* file */
  CALL_SYNC_DIR,
  CALL_RENAME, /* name, to */
  CALL_UNLINK, /* name */
  CALL_NOTE,   /* note_kind, number */
};

struct call
{
  enum call_kind kind;
  unsigned file; /* files are numbered in the order in which they were made */
  char name[NAME_LEN_MAX], to[NAME_LEN_MAX];
  uint64_t off, len;
  uint8_t *data;
  bool dsync;
  unsigned note_kind;
  uint64_t number;
};

/* What is under which name. */
struct names
{
  struct
  {
    char name[NAME_LEN_MAX];
    unsigned file;
  } list[NAMES_MAX];
  unsigned count;
};

struct crash_record
{
  struct call *calls;
  size_t count, room;
  size_t adopted; /* of the calls, those that made what was there before */
  unsigned file_count;
};

/* A sector as it was after a write that has not been synced. */
struct pending
{
  uint64_t sector;
  uint8_t data[SECTOR];
};

struct played_file
{
  uint8_t *now, *durable;
  uint64_t len, durable_len, room;
  struct pending *pending;
  size_t pending_count, pending_room;
};

struct crash_player
{
  const struct crash_record *record;
  enum crash_fault fault;
  size_t at;
  struct played_file *files;
  struct names now, durable;
  size_t dir_calls[NAMES_MAX]; /* changes of names since the directory was synced */
  unsigned dir_call_count;
  uint64_t noted[CRASH_KINDS];
};

static struct crash_record *recording;
static char recorded_dir[4096];
static struct names recorded_names;
static int file_of_fd[FDS_MAX]; /* number + 1; 0: none that is recorded */

/* ---- names ---- */

static int find_name(const struct names *names, const char *name)
{
  for (unsigned i = 0; i < names->count; i++)
    if (strcmp(names->list[i].name, name) == 0)
      return (int)i;
  return -1;
}

static void remove_name(struct names *names, const char *name)
{
  int i = find_name(names, name);
  if (i >= 0)
    names->list[i] = names->list[--names->count];
}

static void set_name(struct names *names, const char *name, unsigned file)
{
  remove_name(names, name);
  require(names->count < NAMES_MAX);
  snprintf(names->list[names->count].name, NAME_LEN_MAX, "%s", name);
  names->list[names->count++].file = file;
}

static void change_names(struct names *names, const struct call *call)
{
  int i;
  switch (call->kind)
  {
  case CALL_CREATE: set_name(names, call->name, call->file); break;
  case CALL_UNLINK: remove_name(names, call->name); break;
  case CALL_RENAME:
    i = find_name(names, call->name);
    require(i >= 0);
    unsigned file = names->list[i].file;
    remove_name(names, call->name);
    set_name(names, call->to, file);
    break;
  default: break;
  }
}

/* ---- recording ---- */

static struct call *add_call(enum call_kind kind);

static void begin(const char *dir)
{
  require(recording == NULL);
  recording = calloc(1, sizeof *recording);
  require(recording != NULL);
  snprintf(recorded_dir, sizeof recorded_dir, "%s/", dir);
  recorded_names.count = 0;
  memset(file_of_fd, 0, sizeof file_of_fd);
}

struct crash_record *crash_end(void)
{
  struct crash_record *record = recording;
  recording = NULL;
  return record;
}

void crash_record_free(struct crash_record *record)
{
  for (size_t i = 0; i < record->count; i++)
    free(record->calls[i].data);
  free(record->calls);
  free(record);
}

static struct call *add_call(enum call_kind kind)
{
  if (recording->count == recording->room)
  {
    recording->room = recording->room > 0 ? 2 * recording->room : 256;
    recording->calls = realloc(recording->calls, recording->room * sizeof *recording->calls);
    require(recording->calls != NULL);
  }
  struct call *call = &recording->calls[recording->count++];
  *call = (struct call){.kind = kind};
  return call;
}

void crash_note(unsigned kind, uint64_t number)
{
  if (recording == NULL)
    return;
  struct call *call = add_call(CALL_NOTE);
  call->note_kind = kind;
  call->number = number;
}

/* ---- what was there before ---- */

static void adopt_name(const char *name, unsigned file)
{
  struct call *call = add_call(CALL_CREATE);
  require(strlen(name) < sizeof call->name);
  strcpy(call->name, name);
  call->file = file;
}

/* DATA, which is to be freed later, is at OFF, on the device if DSYNC. */
static void adopt_bytes(unsigned file, void *data, uint64_t off, uint64_t len, bool dsync)
{
  struct call *call = add_call(CALL_WRITE);
  call->file = file;
  call->data = data;
  call->off = off;
  call->len = len;
  call->dsync = dsync;
}

static void *copy_of(const void *data, size_t len)
{
  void *copy = malloc(len + 1);
  require(copy != NULL);
  return memcpy(copy, data, len);
}

void crash_begin(const char *dir)
{
  DIR *open_dir = opendir(dir);
  struct dirent *entry;
  require(open_dir != NULL);
  begin(dir);
  while ((entry = readdir(open_dir)) != NULL)
  {
    char path[sizeof recorded_dir + sizeof entry->d_name];
    size_t len;
    if (entry->d_name[0] == '.')
      continue;
    snprintf(path, sizeof path, "%s%s", recorded_dir, entry->d_name);
    adopt_name(entry->d_name, recording->file_count);
    set_name(&recorded_names, entry->d_name, recording->file_count);
    char *data = read_whole(path, &len);
    adopt_bytes(recording->file_count++, data, 0, len, true);
  }
  closedir(open_dir);
  add_call(CALL_SYNC_DIR);
  recording->adopted = recording->count;
}

/* Adds what a kill has left of a write that was under way. */
static void adopt_torn(const struct played_file *file, unsigned number, const char *name)
{
  char path[sizeof recorded_dir + NAME_LEN_MAX];
  size_t len;
  snprintf(path, sizeof path, "%s%s", recorded_dir, name);
  char *data = read_whole(path, &len);
  for (uint64_t off = 0; off < len; off += SECTOR)
  {
    uint64_t part = len - off < SECTOR ? len - off : SECTOR;
    if (off + part > file->len || memcmp(data + off, file->now + off, part) != 0)
      adopt_bytes(number, copy_of(data + off, part), off, part, false);
  }
  free(data);
}

static void begin_killed(const char *dir, const struct crash_player *player)
{
  begin(dir);
  recording->file_count = player->record->file_count;
  for (unsigned i = 0; i < player->durable.count; i++)
    adopt_name(player->durable.list[i].name, player->durable.list[i].file);
  for (unsigned n = 0; n < recording->file_count; n++)
  {
    const struct played_file *file = &player->files[n];
    if (file->durable_len > 0)
      adopt_bytes(n, copy_of(file->durable, file->durable_len), 0, file->durable_len, true);
  }
  add_call(CALL_SYNC_DIR);
  for (unsigned i = 0; i < player->dir_call_count; i++)
  {
    struct call *call = add_call(CALL_NOTE);
    *call = player->record->calls[player->dir_calls[i]];
  }
  for (unsigned n = 0; n < recording->file_count; n++)
  {
    const struct played_file *file = &player->files[n];
    for (size_t i = 0; i < file->pending_count; i++)
    {
      uint64_t off = file->pending[i].sector * SECTOR;
      uint64_t len = file->len - off < SECTOR ? file->len - off : SECTOR;
      adopt_bytes(n, copy_of(file->pending[i].data, len), off, len, false);
    }
  }
  recorded_names = player->now;
  for (unsigned i = 0; i < player->now.count; i++)
    adopt_torn(&player->files[player->now.list[i].file], player->now.list[i].file,
               player->now.list[i].name);
  recording->adopted = recording->count;
}

/* ---- the calls ---- */

/* The name in the directory that is recorded; NULL: it is elsewhere. */
static const char *recorded_name(const char *path)
{
  size_t len = strlen(recorded_dir);
  if (recording == NULL || strncmp(path, recorded_dir, len) != 0)
    return NULL;
  require(strlen(path + len) < NAME_LEN_MAX && strchr(path + len, '/') == NULL);
  return path + len;
}

static bool is_recorded_fd(int fd)
{
  return recording != NULL && fd >= 0 && fd < FDS_MAX && file_of_fd[fd] > 0;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
  va_list args;
  va_start(args, flags);
  int mode = flags & O_CREAT ? va_arg(args, int) : 0;
  va_end(args);
  const char *name = recorded_name(path);
  bool was_there = name != NULL && access(path, F_OK) == 0;
  int fd = __real_open(path, flags, mode);
  if (name == NULL || fd < 0)
    return fd;
  require(fd < FDS_MAX && !(flags & O_TRUNC));
  int at = find_name(&recorded_names, name);
  unsigned file;
  if (!was_there)
  {
    struct call *call = add_call(CALL_CREATE);
    snprintf(call->name, sizeof call->name, "%s", name);
    file = call->file = recording->file_count++;
    set_name(&recorded_names, name, file);
  }
  else
  {
    require(at >= 0);
    file = recorded_names.list[at].file;
  }
  file_of_fd[fd] = (int)file + 1;
  return fd;
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
  if (is_recorded_fd(fd))
    file_of_fd[fd] = 0;
  return __real_close(fd);
}

static void note_write(int fd, const void *data, size_t len, uint64_t off, bool dsync)
{
  struct call *call = add_call(CALL_WRITE);
  call->file = (unsigned)file_of_fd[fd] - 1;
  call->off = off;
  call->len = len;
  call->dsync = dsync;
  call->data = malloc(len > 0 ? len : 1);
  require(call->data != NULL);
  memcpy(call->data, data, len);
}

ssize_t __real_pwritev2(int fd, const struct iovec *iov, int count, off_t off, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t off, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t off, int flags)
{
  ssize_t n = __real_pwritev2(fd, iov, count, off, flags & ~RWF_DSYNC);
  require(count == 1);
  if (is_recorded_fd(fd) && n >= 0)
    note_write(fd, iov->iov_base, (size_t)n, (uint64_t)off, flags & RWF_DSYNC);
  return n;
}

ssize_t __real_pwrite(int fd, const void *data, size_t len, off_t off);
ssize_t __wrap_pwrite(int fd, const void *data, size_t len, off_t off);
ssize_t __wrap_pwrite(int fd, const void *data, size_t len, off_t off)
{
  ssize_t n = __real_pwrite(fd, data, len, off);
  if (is_recorded_fd(fd) && n >= 0)
    note_write(fd, data, (size_t)n, (uint64_t)off, false);
  return n;
}

static void note_length(int fd, uint64_t len)
{
  struct call *call = add_call(CALL_LENGTH);
  call->file = (unsigned)file_of_fd[fd] - 1;
  call->len = len;
}

int __real_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len);
int __wrap_ftruncate(int fd, off_t len)
{
  int rc = __real_ftruncate(fd, len);
  if (is_recorded_fd(fd) && rc == 0)
    note_length(fd, (uint64_t)len);
  return rc;
}

int __real_posix_fallocate(int fd, off_t off, off_t len);
int __wrap_posix_fallocate(int fd, off_t off, off_t len);
int __wrap_posix_fallocate(int fd, off_t off, off_t len)
{
  struct stat st;
  int rc = __real_posix_fallocate(fd, off, len);
  if (is_recorded_fd(fd) && rc == 0 && fstat(fd, &st) == 0)
    note_length(fd, (uint64_t)st.st_size);
  return rc;
}

static void note_sync(int fd)
{
  struct stat st, dir;
  if (is_recorded_fd(fd))
    add_call(CALL_SYNC)->file = (unsigned)file_of_fd[fd] - 1;
  else if (recording != NULL && fstat(fd, &st) == 0 && stat(recorded_dir, &dir) == 0 &&
           st.st_ino == dir.st_ino && st.st_dev == dir.st_dev)
    add_call(CALL_SYNC_DIR);
}

/* As with RWF_DSYNC, nothing is lost here if it is not really done. */
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
  note_sync(fd);
  return 0;
}

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
  note_sync(fd);
  return 0;
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
  const char *name = recorded_name(from), *to_name = recorded_name(to);
  int rc = __real_rename(from, to);
  if (name == NULL || rc != 0)
    return rc;
  struct call *call = add_call(CALL_RENAME);
  require(to_name != NULL);
  snprintf(call->name, sizeof call->name, "%s", name);
  snprintf(call->to, sizeof call->to, "%s", to_name);
  change_names(&recorded_names, call);
  return rc;
}

static void note_unlink(const char *name)
{
  struct call *call = add_call(CALL_UNLINK);
  require(find_name(&recorded_names, name) >= 0);
  snprintf(call->name, sizeof call->name, "%s", name);
  change_names(&recorded_names, call);
}

int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path)
{
  const char *name = recorded_name(path);
  int rc = __real_unlink(path);
  if (name != NULL && rc == 0)
    note_unlink(name);
  return rc;
}

int __real_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags)
{
  int rc = __real_unlinkat(dir, name, flags);
  if (recording != NULL && rc == 0)
    note_unlink(name);
  return rc;
}

static struct rnd program_rnd;

void crash_seed(uint64_t seed)
{
  program_rnd.state = seed;
}

ssize_t __wrap_getrandom(void *to, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *to, size_t len, unsigned flags)
{
  uint8_t *bytes = to;
  (void)flags;
  for (size_t i = 0; i < len; i++)
    bytes[i] = (uint8_t)rnd_next(&program_rnd);
  return (ssize_t)len;
}

/* ---- playing ---- */

struct crash_player *crash_play(const struct crash_record *record, enum crash_fault fault)
{
  struct crash_player *player = calloc(1, sizeof *player);
  require(player != NULL);
  player->record = record;
  player->files = calloc(record->file_count + 1, sizeof *player->files);
  require(player->files != NULL);
  while (player->at < record->adopted)
    (void)crash_step(player);
  player->fault = fault;
  return player;
}

void crash_player_free(struct crash_player *player)
{
  for (unsigned i = 0; i < player->record->file_count; i++)
  {
    free(player->files[i].now);
    free(player->files[i].durable);
    free(player->files[i].pending);
  }
  free(player->files);
  free(player);
}

uint64_t crash_noted(const struct crash_player *player, unsigned kind)
{
  return player->noted[kind];
}

static void make_room(struct played_file *file, uint64_t len)
{
  uint64_t room = file->room > 0 ? file->room : 4096;
  if (len <= file->room)
    return;
  while (room < len)
    room *= 2;
  file->now = realloc(file->now, room);
  file->durable = realloc(file->durable, room);
  require(file->now != NULL && file->durable != NULL);
  memset(file->now + file->room, 0, room - file->room);
  memset(file->durable + file->room, 0, room - file->room);
  file->room = room;
}

static void add_pending(struct played_file *file, uint64_t sector)
{
  if (file->pending_count == file->pending_room)
  {
    file->pending_room = file->pending_room > 0 ? 2 * file->pending_room : 64;
    file->pending = realloc(file->pending, file->pending_room * sizeof *file->pending);
    require(file->pending != NULL);
  }
  struct pending *pending = &file->pending[file->pending_count++];
  pending->sector = sector;
  memcpy(pending->data, file->now + sector * SECTOR, SECTOR);
}

/* All of the file, or the sectors from FIRST to LAST, are durable as they are now. */
static void make_durable(struct played_file *file, uint64_t first, uint64_t last)
{
  size_t kept = 0;
  for (size_t i = 0; i < file->pending_count; i++)
    if (file->pending[i].sector < first || file->pending[i].sector > last)
      file->pending[kept++] = file->pending[i];
  file->pending_count = kept;
  uint64_t end =
      last == UINT64_MAX || (last + 1) * SECTOR > file->len ? file->len : (last + 1) * SECTOR;
  if (first * SECTOR < end)
    memcpy(file->durable + first * SECTOR, file->now + first * SECTOR, end - first * SECTOR);
  if (end > file->durable_len || last == UINT64_MAX)
    file->durable_len = end;
}

static void play_write(struct played_file *file, const struct call *call, uint64_t len, bool dsync)
{
  uint64_t first = call->off / SECTOR, last;
  if (len == 0)
    return;
  last = (call->off + len - 1) / SECTOR;
  make_room(file, (last + 1) * SECTOR);
  memcpy(file->now + call->off, call->data, len);
  if (call->off + len > file->len)
    file->len = call->off + len;
  if (dsync)
    make_durable(file, first, last);
  else
    for (uint64_t sector = first; sector <= last; sector++)
      add_pending(file, sector);
}

/* What is cut off comes back as zeros, if the file grows again; a loss of power may undo both. */
static void play_length(struct played_file *file, uint64_t len)
{
  size_t kept = 0;
  make_room(file, (len + SECTOR - 1) / SECTOR * SECTOR + SECTOR);
  if (len < file->len)
    memset(file->now + len, 0, file->len - len);
  for (size_t i = 0; i < file->pending_count; i++)
    if (file->pending[i].sector * SECTOR < len)
      file->pending[kept++] = file->pending[i];
  file->pending_count = kept;
  file->len = len;
}

bool crash_step(struct crash_player *player)
{
  if (player->at == player->record->count)
    return false;
  const struct call *call = &player->record->calls[player->at++];
  switch (call->kind)
  {
  case CALL_CREATE:
  case CALL_RENAME:
  case CALL_UNLINK:
    change_names(&player->now, call);
    require(player->dir_call_count < NAMES_MAX);
    player->dir_calls[player->dir_call_count++] = player->at - 1;
    break;
  case CALL_WRITE:
    play_write(&player->files[call->file], call, call->len,
               call->dsync && player->fault != CRASH_NO_DSYNC);
    break;
  case CALL_LENGTH: play_length(&player->files[call->file], call->len); break;
  case CALL_SYNC:
    if (player->fault != CRASH_NO_FSYNC)
      make_durable(&player->files[call->file], 0, UINT64_MAX);
    break;
  case CALL_SYNC_DIR:
    if (player->fault == CRASH_NO_DIR_SYNC)
      break;
    player->durable = player->now;
    player->dir_call_count = 0;
    break;
  case CALL_NOTE: player->noted[call->note_kind] = call->number; break;
  }
  return true;
}

/* ---- images ---- */

static void put_file(const char *dir, const char *name, const uint8_t *data, uint64_t len)
{
  char path[4200];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  write_whole(path, (const char *)data, len);
}

/* The kernel copies that in one go. */
static bool is_in_one_sector(const struct call *call)
{
  return call->off / SECTOR == (call->off + call->len - 1) / SECTOR;
}

static void kill_image(const struct crash_player *player, struct rnd *rnd, const char *dir)
{
  const struct call *next =
      player->at < player->record->count ? &player->record->calls[player->at] : NULL;
  for (unsigned i = 0; i < player->now.count; i++)
  {
    unsigned number = player->now.list[i].file;
    struct played_file *file = &player->files[number], copy = {0};
    make_room(&copy, file->len > 0 ? file->len : 1);
    if (file->len > 0)
      memcpy(copy.now, file->now, file->len);
    copy.len = file->len;
    if (next != NULL && next->kind == CALL_WRITE && next->file == number && next->len > 0 &&
        !is_in_one_sector(next))
      play_write(&copy, next, rnd_next(rnd) % (next->len + 1), true);
    put_file(dir, player->now.list[i].name, copy.now, copy.len);
    free(copy.now);
    free(copy.durable);
  }
}

/* How likely it is, in percent, that a sector has a later state than the one before. */
static unsigned some_chance(struct rnd *rnd)
{
  static const unsigned chances[] = {0, 100, 50, 10, 90};
  return chances[rnd_below(rnd, sizeof chances / sizeof *chances)];
}

static void put_power_file(const struct played_file *file, struct rnd *rnd, const char *dir,
                           const char *name)
{
  uint64_t len = file->durable_len, pages = file->room / SECTOR / SECTORS_PER_PAGE + 1;
  uint8_t *data = malloc(file->room + 1);
  uint8_t *kept = calloc(pages, 1); /* by page: 1 it keeps what is pending, 2 it does not */
  unsigned chance = some_chance(rnd), torn = rnd_below(rnd, 3) == 0 ? 30 : 0;
  require(data != NULL && kept != NULL);
  if (file->room > 0)
    memcpy(data, file->durable, file->room);
  for (size_t i = 0; i < file->pending_count; i++)
  {
    const struct pending *pending = &file->pending[i];
    uint8_t *page = &kept[pending->sector / SECTORS_PER_PAGE];
    if (*page == 0)
      *page = rnd_below(rnd, 100) < chance ? 1 : 2;
    bool keep = *page == 1;
    if (rnd_below(rnd, 100) < torn)
      keep = !keep;
    /* An earlier state of the page than the last is as good. */
    if (*page == 1 && rnd_below(rnd, 20) == 0)
      *page = 2;
    if (!keep)
      continue;
    memcpy(data + pending->sector * SECTOR, pending->data, SECTOR);
    uint64_t end = (pending->sector + 1) * SECTOR;
    if (end > file->len)
      end = file->len;
    if (end > len)
      len = end;
  }
  put_file(dir, name, data, len);
  free(kept);
  free(data);
}

static void power_image(const struct crash_player *player, struct rnd *rnd, const char *dir)
{
  struct names names = player->durable;
  unsigned calls = rnd_below(rnd, player->dir_call_count + 1);
  for (unsigned i = 0; i < calls; i++)
    change_names(&names, &player->record->calls[player->dir_calls[i]]);
  for (unsigned i = 0; i < names.count; i++)
    put_power_file(&player->files[names.list[i].file], rnd, dir, names.list[i].name);
}

void crash_empty_dir(const char *dir)
{
  DIR *open_dir = opendir(dir);
  struct dirent *entry;
  require(open_dir != NULL);
  while ((entry = readdir(open_dir)) != NULL)
    if (entry->d_name[0] != '.')
      require(__real_unlinkat(dirfd(open_dir), entry->d_name, 0) == 0);
  closedir(open_dir);
}

void crash_image(const struct crash_player *player, bool killed, uint64_t seed, const char *dir)
{
  crash_empty_dir(dir);
  (killed ? kill_image : power_image)(player, &(struct rnd){seed}, dir);
}

void crash_begin_image(const struct crash_player *player, bool killed, const char *dir)
{
  if (killed)
    begin_killed(dir, player);
  else
    crash_begin(dir);
}
