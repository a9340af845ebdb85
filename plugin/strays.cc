/* SPDX-License-Identifier: GPL-2.0-only
 *
 * strays.cc: removing what a crash left; see strays.h.
 *
 * 1. *.bzd.new is a file of rows in the making, or a copy that was to take the place of
 *    one. Whatever was going to use it begins anew.
 * 2. #sql-backup-*.bzx is the index file of a table that ALTER TABLE was about to drop. The
 *    server drops such tables itself when it finds them; without the rows it does not.
 *
 * Nothing else is touched, and nothing but regular files. No link is followed.
 */
#include "strays.h"
#include "server.h"

#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

extern void sql_print_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void sql_print_information(const char *format, ...) __attribute__((format(printf, 1, 2)));

static bool begins_with(const std::string &name, const char *start)
{
  return name.compare(0, strlen(start), start) == 0;
}

static bool ends_with(const std::string &name, const char *end)
{
  size_t len = strlen(end);
  return name.size() > len && name.compare(name.size() - len, len, end) == 0;
}

static bool is_regular(int dir_fd, const std::string &name)
{
  struct stat file;
  return fstatat(dir_fd, name.c_str(), &file, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(file.st_mode);
}

static bool is_missing(int dir_fd, const std::string &name)
{
  struct stat file;
  return fstatat(dir_fd, name.c_str(), &file, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT;
}

static bool is_stray(int dir_fd, const std::string &name)
{
  if (ends_with(name, BLITZ_FILE_EXT ".new"))
    return is_regular(dir_fd, name);
  if (!begins_with(name, "#sql-backup-") || !ends_with(name, BLITZ_INDEX_FILE_EXT))
    return false;
  std::string table = name.substr(0, name.size() - strlen(BLITZ_INDEX_FILE_EXT));
  return is_missing(dir_fd, table + BLITZ_FILE_EXT) && is_regular(dir_fd, name);
}

static void remove_from(DIR *dir, const char *database)
{
  while (const struct dirent *entry = readdir(dir))
  {
    if (!is_stray(dirfd(dir), entry->d_name))
      continue;
    if (unlinkat(dirfd(dir), entry->d_name, 0) == 0)
      sql_print_information("BlitzDB: removed %s/%s, which a crash had left", database,
                            entry->d_name);
    else
      sql_print_warning("BlitzDB: cannot remove %s/%s, which a crash has left: %s", database,
                        entry->d_name, strerror(errno));
  }
}

void blitz_remove_strays(const char *data_home)
try
{
  DIR *home = opendir(data_home);
  if (home == NULL)
    return;
  const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  while (const struct dirent *entry = readdir(home))
  {
    if (entry->d_name[0] == '.')
      continue;
    int fd = openat(dirfd(home), entry->d_name, flags);
    if (fd < 0)
      continue;
    if (DIR *database = fdopendir(fd))
    {
      remove_from(database, entry->d_name);
      closedir(database);
    }
    else
      close(fd);
  }
  closedir(home);
}
catch (const std::bad_alloc &)
{
  /* They stay until the next start. */
}
