/* SPDX-License-Identifier: GPL-2.0-only
 *
 * private_dir.c: a directory of our own, for a moment; see private_dir.h.
 *
 * A process that is killed in that moment leaves it. Whoever has one holds a lock on it, which
 * ends with the process, however it does. So the first call in a process removes what it finds
 * by our name, of our user, and without a lock. One that has just been made has no lock for a
 * moment either: its maker sees that it is gone, and makes another.
 */
#include "base/private_dir.h"
#include "base/temporary.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define IN_MEMORY "/dev/shm"
#define PREFIX "blitzdb-"
#define SUFFIX "XXXXXX"
#define NAME_LEN (sizeof PREFIX SUFFIX - 1)
#define TRIES 3 /* in each of the places */

/* Is FD open for a directory that is ours alone? *LEFT: it is still somewhere. */
static bool is_ours(int fd, bool *left)
{
  struct stat st;

  if (fstat(fd, &st) != 0)
    return false;
  *left = st.st_nlink > 0;
  return st.st_uid == geteuid() && (st.st_mode & 077) == 0;
}

static int open_dir(int in, const char *name)
{
  return openat(in, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void remove_entries(int fd)
{
  (void)unlinkat(fd, BZ_PRIVATE_FILE, 0);
  (void)unlinkat(fd, BZ_PRIVATE_LOCK, 0);
}

/* ---- what was left ------------------------------------------------------------------ */

/* Removes the directory NAME in the directory IN, unless somebody has it, or it has something
 * else in it.
 */
static void remove_if_left(int in, const char *name)
{
  int fd = open_dir(in, name);
  bool left;

  if (fd < 0)
    return;
  if (is_ours(fd, &left) && flock(fd, LOCK_EX | LOCK_NB) == 0)
  {
    remove_entries(fd);
    (void)unlinkat(in, name, AT_REMOVEDIR);
  }
  close(fd);
}

static void remove_left_in(const char *place)
{
  DIR *dir = opendir(place);
  const struct dirent *entry;

  if (dir == NULL)
    return;
  while ((entry = readdir(dir)) != NULL)
    if (strncmp(entry->d_name, PREFIX, sizeof PREFIX - 1) == 0 && strlen(entry->d_name) == NAME_LEN)
      remove_if_left(dirfd(dir), entry->d_name);
  closedir(dir);
}

static void remove_left(void)
{
  char place[BZ_PRIVATE_DIR_MAX];

  remove_left_in(IN_MEMORY);
  bz_temporary_path(place, sizeof place, "");
  remove_left_in(place);
}

/* ---- a new one ---------------------------------------------------------------------- */

/* Locks the directory FD. False: errno says why; ENOENT: another process took it for one that
 * was left, EPERM: somebody has put another one there.
 */
static bool lock(int fd)
{
  bool left;
  int rc;

  do
    rc = flock(fd, LOCK_EX);
  while (rc != 0 && errno == EINTR);
  if (rc != 0)
    return false;
  if (!is_ours(fd, &left))
    errno = EPERM;
  else if (!left)
    errno = ENOENT;
  else
    return true;
  return false;
}

static int make(char *name)
{
  int fd, sys_errno;

  if (mkdtemp(name) == NULL)
    return -1;
  fd = open_dir(AT_FDCWD, name);
  if (fd >= 0 && lock(fd))
    return fd;
  sys_errno = errno;
  if (fd >= 0)
    close(fd);
  if (sys_errno != EPERM)
    rmdir(name);
  errno = sys_errno;
  return -1;
}

int bz_private_dir_make(char name[BZ_PRIVATE_DIR_MAX])
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  int fd = -1;

  pthread_once(&once, remove_left);
  for (int tries = 0; fd < 0 && tries < 2 * TRIES; tries++)
  {
    if (tries < TRIES)
      snprintf(name, BZ_PRIVATE_DIR_MAX, "%s", IN_MEMORY "/" PREFIX SUFFIX);
    else
      bz_temporary_path(name, BZ_PRIVATE_DIR_MAX, PREFIX SUFFIX);
    fd = make(name);
  }
  return fd;
}

void bz_private_dir_remove(int fd, const char *name)
{
  remove_entries(fd);
  rmdir(name);
  close(fd);
}
