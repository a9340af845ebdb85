/* SPDX-License-Identifier: GPL-2.0-only
 *
 * private_dir_test.c: directories that a process left which was killed while it opened an index
 * file. The next process removes them, and nothing else.
 *
 * Opening is LMDB's, which finds the function of this program.
 */
#include "support/indexed.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACE "/dev/shm/"
#define NAME_MAX_LEN 100

static int told = -1; /* where the name of the directory goes, and then the process dies */

int mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode)
{
  int (*real)(MDB_env *, const char *, unsigned, mdb_mode_t);
  char link[NAME_MAX_LEN], name[NAME_MAX_LEN] = "";

  if (told >= 0)
  {
    snprintf(link, sizeof link, "%.*s", (int)(strrchr(path, '/') - path), path);
    require(readlink(link, name, sizeof name - 1) > 0);
    require(write(told, name, sizeof name) == sizeof name);
    raise(SIGKILL);
  }
  *(void **)&real = dlsym(RTLD_NEXT, "mdb_env_open");
  return real(env, path, flags, mode);
}

/* Opens a table in a process of its own; one that is killed in the middle puts the name of its
 * directory into NAME, unless that is NULL.
 */
static void open_in_child(char *name)
{
  int ends[2], status;
  pid_t pid;

  require(pipe(ends) == 0);
  pid = fork();
  require(pid >= 0);
  if (pid == 0)
  {
    told = name != NULL ? ends[1] : -1;
    blitz_table_close(new_indexed_table(name != NULL ? "killed" : "other"));
    _exit(0);
  }
  if (name != NULL)
    require(read(ends[0], name, NAME_MAX_LEN) == NAME_MAX_LEN);
  require(waitpid(pid, &status, 0) == pid);
  require(name != NULL ? WIFSIGNALED(status) : status == 0);
  close(ends[0]);
  close(ends[1]);
}

static bool is_there(const char *name)
{
  struct stat st;

  return lstat(name, &st) == 0;
}

static void test_killed_while_opening(void **state)
{
  char name[NAME_MAX_LEN];

  (void)state;
  open_in_child(name);
  open_in_child(NULL);
  assert_false(is_there(name));
}

/* ---- what is not ours to remove -------------------------------------------------------- */

/* A name like those of the directories, the N-th of this process. */
static char *like_ours(char n)
{
  static char names[8][NAME_MAX_LEN];

  snprintf(names[n - 'a'], NAME_MAX_LEN, PLACE "blitzdb-%c%05d", n, (int)getpid() % 100000);
  return names[n - 'a'];
}

static int make_dir_with(const char *name, const char *entry, mode_t mode)
{
  char file[2 * NAME_MAX_LEN];

  assert_int_equal(0, mkdir(name, mode));
  assert_int_equal(0, chmod(name, mode));
  snprintf(file, sizeof file, "%s/%s", name, entry);
  assert_int_equal(0, symlink("/proc/self/fd/99", file));
  return open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void remove_dir_with(const char *name, const char *entry, int fd)
{
  unlinkat(fd, entry, 0);
  close(fd);
  assert_int_equal(0, rmdir(name));
}

static void test_what_stays(void **state)
{
  char *left = like_ours('a'), *locked = like_ours('b'), *other = like_ours('c');
  char *open_to_all = like_ours('d'), *link = like_ours('e'), *longer;
  int locked_fd, other_fd, open_to_all_fd, longer_fd;

  (void)state;
  close(make_dir_with(left, "x", 0700));
  locked_fd = make_dir_with(locked, "x", 0700);
  assert_int_equal(0, flock(locked_fd, LOCK_EX));
  other_fd = make_dir_with(other, "y", 0700);
  open_to_all_fd = make_dir_with(open_to_all, "x", 0755);
  assert_true(asprintf(&longer, "%s-more", left) > 0);
  longer_fd = make_dir_with(longer, "x", 0700);
  assert_int_equal(0, symlink(longer, link));
  open_in_child(NULL);
  assert_false(is_there(left));
  assert_true(is_there(link));
  assert_int_equal(0, unlink(link));
  remove_dir_with(locked, "x", locked_fd);
  remove_dir_with(other, "y", other_fd);
  remove_dir_with(open_to_all, "x", open_to_all_fd);
  remove_dir_with(longer, "x", longer_fd);
  free(longer);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_killed_while_opening),
      cmocka_unit_test(test_what_stays),
  };

  if (access(PLACE, W_OK) != 0)
  {
    printf("there is no " PLACE " here\n");
    return 0;
  }
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
