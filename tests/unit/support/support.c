/* SPDX-License-Identifier: GPL-2.0-only
 *
 * support.c: failures, files, slices and random numbers; see support.h.
 */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

_Thread_local struct blitz_error last_error;

/* ---- failures ---- */

void check_rc(enum blitz_rc want, enum blitz_rc got, const char *what, const char *file, int line)
{
  if (want == got)
    return;
  print_error(
      "%s\n  gave %s, not %s%s%s\n", what, blitz_rc_name(got), blitz_rc_name(want),
      got == BLITZ_OK ? "" : "; the last error is: ", got == BLITZ_OK ? "" : last_error.text);
  _fail(file, line);
}

void assert_error_names(const char *path)
{
  assert_int_not_equal(last_error.rc, BLITZ_OK);
  if (!strstr(last_error.text, path))
    fail_msg("the error does not name %s: %s", path, last_error.text);
}

_Noreturn void die(const char *what, const char *file, int line)
{
  fprintf(stderr, "%s:%d: not so: %s (last error: %s)\n", file, line, what, last_error.text);
  fflush(stderr);
  abort();
}

static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static char log_buf[16384];

static void keep_log(enum blitz_log_level level, const char *message)
{
  (void)level;
  pthread_mutex_lock(&log_mutex);
  size_t len = strlen(log_buf);
  /* Full: what came first is what a test asks for. */
  if (len + strlen(message) + 2 < sizeof log_buf)
    sprintf(log_buf + len, "%s\n", message);
  pthread_mutex_unlock(&log_mutex);
}

void catch_log(void)
{
  log_buf[0] = 0;
  blitz_set_log(keep_log);
}

const char *log_text(void)
{
  return log_buf;
}

#ifdef __SANITIZE_THREAD__
/* LMDB's lock of writers is taken under a table's change_lock and kept beyond it, so that either
 * may be the first. Both are so only for who has the writer slot; who writes checkpoints takes
 * change_lock alone.
 */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
  return "deadlock:liblmdb";
}
#endif

/* ---- files ---- */

static char dir_name[4000];

int make_dir(void **state)
{
  static bool again;
  if (!again && getenv("BLITZ_LOGGED") != NULL)
  {
    again = true;
    return make_logged_dir(state);
  }
  const char *tmp = getenv("TMPDIR");
  snprintf(dir_name, sizeof dir_name, "%s/blitz-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  return mkdtemp(dir_name) ? 0 : -1;
}

/* In a folder of its own: some tests count what there is beside a table. */
int make_logged_dir(void **state)
{
  const char *how = getenv("BLITZ_LOGGED");
  char log_dir[sizeof dir_name + 8];
  struct blitz_start_options options = {.dir = log_dir, .log_limit = 32 << 20, .memory = 16 << 20};
  if (how != NULL && strcmp(how, "small") == 0)
    options.log_limit = options.memory = 1 << 20;
  if (make_dir(state) != 0)
    return -1;
  snprintf(log_dir, sizeof log_dir, "%s/log", dir_name);
  if (mkdir(log_dir, 0700) != 0)
    return -1;
  return blitz_start(&options, ERR) == BLITZ_OK ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
  (void)st;
  (void)type;
  (void)ftw;
  return remove(path);
}

int remove_dir(void **state)
{
  (void)state;
  blitz_stop();
  return nftw(dir_name, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void use_dir(const char *dir)
{
  snprintf(dir_name, sizeof dir_name, "%s", dir);
}

const char *test_dir(void)
{
  return dir_name;
}

/* Buffers taken in turn, so that one call may have several of them. */
static char *next_name(void)
{
  static _Thread_local char names[8][4200];
  static _Thread_local unsigned next;
  return names[next++ % 8];
}

const char *path_of(const char *name)
{
  char *buf = next_name();
  snprintf(buf, 4200, "%s/%s", dir_name, name);
  return buf;
}

const char *file_of(const char *name)
{
  char *buf = next_name();
  snprintf(buf, 4200, "%s/%s%s", dir_name, name, BLITZ_FILE_EXT);
  return buf;
}

uint64_t file_len(const char *file)
{
  struct stat st;
  return stat(file, &st) ? UINT64_MAX : (uint64_t)st.st_size;
}

char *read_whole(const char *file, size_t *lenp)
{
  FILE *f = fopen(file, "rb");
  require(f);
  *lenp = (size_t)file_len(file);
  char *data = malloc(*lenp + 1);
  require(data);
  require(fread(data, 1, *lenp, f) == *lenp);
  fclose(f);
  return data;
}

void write_whole(const char *file, const char *data, size_t len)
{
  FILE *f = fopen(file, "wb");
  require(f);
  require(fwrite(data, 1, len, f) == len);
  require(fclose(f) == 0);
}

void mark_other_boot(char *header)
{
  header[224] ^= 1;
}

void copy_file(const char *from, const char *to)
{
  size_t len;
  char *data = read_whole(from, &len);
  write_whole(to, data, len);
  free(data);
}

uint64_t file_sum(const char *file)
{
  size_t len;
  char *data = read_whole(file, &len);
  uint64_t sum = 14695981039346656037U ^ len;
  for (size_t i = 0; i < len; i++)
    sum = (sum ^ (unsigned char)data[i]) * 1099511628211U;
  free(data);
  return sum;
}

/* ---- slices ---- */

struct blitz_slice bytes(const void *data, size_t len)
{
  return (struct blitz_slice){.data = data, .len = len};
}

struct blitz_slice text(const char *s)
{
  return bytes(s, strlen(s));
}

struct blitz_slice number_key(uint64_t n)
{
  static _Thread_local unsigned char keys[16][8];
  static _Thread_local unsigned next;
  unsigned char *key = keys[next++ % 16];
  for (int i = 0; i < 8; i++)
    key[i] = (unsigned char)(n >> (56 - 8 * i));
  return bytes(key, 8);
}

bool slice_is(struct blitz_slice slice, const void *data, size_t len)
{
  return slice.len == len && (len == 0 || memcmp(slice.data, data, len) == 0);
}

/* ---- random numbers ---- */

uint64_t run_seed(void)
{
  static uint64_t seed;
  static bool known;
  if (!known)
  {
    const char *env = getenv("BLITZ_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    seed = env && *env
               ? strtoull(env, NULL, 0)
               : ((uint64_t)now.tv_nsec << 20 ^ (uint64_t)now.tv_sec ^ (uint64_t)getpid() << 32) %
                     1000000007U;
    known = true;
    printf("# BLITZ_SEED=%llu repeats this run\n", (unsigned long long)seed);
    fflush(stdout);
  }
  return seed;
}

unsigned run_rounds(unsigned usual)
{
  const char *env = getenv("BLITZ_ROUNDS");
  unsigned long rounds = env && *env ? strtoul(env, NULL, 10) : usual;
  return rounds > 0 ? (unsigned)rounds : 1;
}

uint64_t rnd_next(struct rnd *rnd)
{
  uint64_t z = rnd->state += 0x9e3779b97f4a7c15U;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
  z = (z ^ z >> 27) * 0x94d049bb133111ebU;
  return z ^ z >> 31;
}

uint32_t rnd_below(struct rnd *rnd, uint32_t n)
{
  return (uint32_t)(rnd_next(rnd) % n);
}

/* ---- rows that prove themselves ---- */

static unsigned char row_byte(uint64_t n, uint64_t version, size_t at)
{
  return (unsigned char)(n * 31 + version * 17 + at * 7 + (at >> 8));
}

void row_fill(char *buf, size_t len, uint64_t n, uint64_t version)
{
  require(len >= 16);
  memcpy(buf, &n, 8);
  memcpy(buf + 8, &version, 8);
  for (size_t i = 16; i < len; i++)
    buf[i] = (char)row_byte(n, version, i);
}

bool row_proves(struct blitz_slice slice, uint64_t n, uint64_t *versionp)
{
  const char *data = slice.data;
  uint64_t has_n;
  if (slice.len < 16)
    return false;
  memcpy(&has_n, data, 8);
  memcpy(versionp, data + 8, 8);
  if (has_n != n)
    return false;
  for (size_t i = 16; i < slice.len; i++)
    if ((unsigned char)data[i] != row_byte(n, *versionp, i))
      return false;
  return true;
}

/* ---- processes ---- */

void in_killed_process(void (*work)(void))
{
  pid_t pid = fork();
  int status;
  require(pid >= 0);
  if (pid == 0)
  {
    work();
    _exit(0);
  }
  require(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void kill_after(pid_t pid, unsigned microseconds)
{
  int status;
  usleep(microseconds);
  kill(pid, SIGKILL);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  /* It ends by the kill, or an opener by itself; not by a failure of its own. */
  if (!(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) &&
      !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
    fail_msg("the child ended with status %d", status);
}
