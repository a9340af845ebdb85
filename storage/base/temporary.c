/* SPDX-License-Identifier: GPL-2.0-only
 *
 * temporary.c: see temporary.h.
 */
#include "base/temporary.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_LEN_MAX 4096

static pthread_mutex_t dir_lock = PTHREAD_MUTEX_INITIALIZER;
static char *temporary_dir;

enum blitz_rc bz_temporary_set_dir(const char *dir)
{
  char *copy = strdup(dir);

  if (copy == NULL)
    return BLITZ_NOMEM;
  pthread_mutex_lock(&dir_lock);
  free(temporary_dir);
  temporary_dir = copy;
  pthread_mutex_unlock(&dir_lock);
  return BLITZ_OK;
}

void bz_temporary_path(char *to, size_t len, const char *name)
{
  pthread_mutex_lock(&dir_lock);
  snprintf(to, len, "%s/%s", temporary_dir != NULL ? temporary_dir : "/tmp", name);
  pthread_mutex_unlock(&dir_lock);
}

int bz_temporary_open(const char *name)
{
  char path[PATH_LEN_MAX];
  int fd;

  bz_temporary_path(path, sizeof path, name);
  fd = mkostemp(path, O_CLOEXEC);
  if (fd >= 0)
    unlink(path);
  return fd;
}
