/* SPDX-License-Identifier: GPL-2.0-only
 *
 * sync_dir.c: see sync_dir.h.
 */
#include "base/sync_dir.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool bz_sync_dir(const char *dir)
{
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool done;

  if (fd < 0)
    return false;
  done = fsync(fd) == 0;
  close(fd);
  return done;
}

bool bz_sync_dir_of(const char *name)
{
  const char *slash = strrchr(name, '/');
  char *dir;
  bool done;

  if (slash == NULL)
    return bz_sync_dir(".");
  if (slash == name)
    return bz_sync_dir("/");
  dir = strndup(name, (size_t)(slash - name));
  if (dir == NULL)
    return false;
  done = bz_sync_dir(dir);
  free(dir);
  return done;
}
