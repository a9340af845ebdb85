/* SPDX-License-Identifier: GPL-2.0-only
 *
 * load.c: statements by many connections at once, and how long each of them took.
 *
 * Usage: load SOCKET CONNECTIONS SECONDS ROWS FIRST STATEMENT...
 *
 * Each connection sends the statements in turn, as fast as they are answered. In them, %r is a
 * random number from 1 to ROWS, the same ones in each run, and %n is FIRST, and one more each
 * time. Prints how many statements ended. The first tenth of the time is not counted in what
 * follows: how many ended, in how many seconds, and microseconds, the median, the 99th and the
 * 99.9th percentile, and the longest.
 */
#include <inttypes.h>
#include <mysql.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX 4096
#define CONNECTIONS_MAX 1000
#define ANSWER_SECONDS 60 /* an answer that takes longer is an error */

static const char *socket_path;
static char **statements;
static unsigned statement_count;
static uint64_t rows;
static uint64_t seconds;
static _Atomic uint64_t next_number;
static pthread_barrier_t all_connected;

struct connection
{
  pthread_t thread;
  MYSQL *mysql;
  uint64_t random;
  uint32_t *times; /* nanoseconds */
  size_t count, room;
  size_t ended; /* statements, also such as are not counted */
};

static void fail(const char *text)
{
  fprintf(stderr, "load: %s\n", text);
  exit(1);
}

static uint64_t now(void)
{
  struct timespec time;

  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static uint64_t draw(struct connection *connection)
{
  uint64_t x = connection->random;

  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  connection->random = x;
  return x % rows + 1;
}

static unsigned long fill_in(struct connection *connection, const char *from, char *text)
{
  size_t len = 0;

  for (; *from != 0; from++)
  {
    if (len > TEXT_MAX - 32)
      fail("a statement is too long");
    if (from[0] != '%' || (from[1] != 'r' && from[1] != 'n'))
      text[len++] = *from;
    else
      len += (size_t)sprintf(text + len, "%" PRIu64,
                             *++from == 'r' ? draw(connection) : atomic_fetch_add(&next_number, 1));
  }
  return len;
}

static void run(struct connection *connection, const char *statement)
{
  char text[TEXT_MAX];
  unsigned long len = fill_in(connection, statement, text);
  MYSQL_RES *result;

  if (mysql_real_query(connection->mysql, text, len) != 0)
    fail(mysql_error(connection->mysql));
  result = mysql_store_result(connection->mysql);
  if (result != NULL)
    mysql_free_result(result);
  else if (mysql_errno(connection->mysql) != 0)
    fail(mysql_error(connection->mysql));
}

static void note_time(struct connection *connection, uint64_t time)
{
  if (connection->count == connection->room)
  {
    connection->room = connection->room * 2 + 4096;
    connection->times = realloc(connection->times, connection->room * sizeof connection->times[0]);
    if (connection->times == NULL)
      fail("out of memory");
  }
  connection->times[connection->count++] = time > UINT32_MAX ? UINT32_MAX : (uint32_t)time;
}

static void *work(void *arg)
{
  struct connection *connection = arg;
  uint64_t begin, counted, end, time;

  pthread_barrier_wait(&all_connected);
  begin = now();
  end = begin + seconds * 1000000000;
  counted = begin + seconds * 100000000;
  for (unsigned i = 0; (time = now()) < end; i++)
  {
    run(connection, statements[i % statement_count]);
    connection->ended++;
    if (time >= counted)
      note_time(connection, now() - time);
  }
  return NULL;
}

static void connect_to_server(struct connection *connection)
{
  unsigned timeout = ANSWER_SECONDS;

  connection->mysql = mysql_init(NULL);
  if (connection->mysql == NULL)
    fail("out of memory");
  mysql_options(connection->mysql, MYSQL_OPT_CONNECT_TIMEOUT, &timeout);
  mysql_options(connection->mysql, MYSQL_OPT_READ_TIMEOUT, &timeout);
  if (mysql_real_connect(connection->mysql, NULL, "root", NULL, "test", 0, socket_path, 0) == NULL)
    fail(mysql_error(connection->mysql));
}

static int compare(const void *a, const void *b)
{
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

  return (x > y) - (x < y);
}

static void print(struct connection *connections, unsigned count)
{
  struct connection all = {0};
  double microseconds[4], parts[] = {0.5, 0.99, 0.999, 1};

  for (unsigned i = 0; i < count; i++)
  {
    all.ended += connections[i].ended;
    for (size_t k = 0; k < connections[i].count; k++)
      note_time(&all, connections[i].times[k]);
  }
  if (all.count == 0)
    fail("no statement ended in time");
  qsort(all.times, all.count, sizeof all.times[0], compare);
  for (unsigned i = 0; i < 4; i++)
    microseconds[i] = all.times[(size_t)(parts[i] * (double)(all.count - 1))] / 1e3;
  printf("%zu %zu %.3f %.1f %.1f %.1f %.1f\n", all.ended, all.count, (double)seconds * 0.9,
         microseconds[0], microseconds[1], microseconds[2], microseconds[3]);
  free(all.times);
}

int main(int argc, char **argv)
{
  static struct connection connections[CONNECTIONS_MAX];
  unsigned count = argc > 6 ? (unsigned)atoi(argv[2]) : 0;

  if (count == 0 || count > CONNECTIONS_MAX || atoi(argv[3]) <= 0 || atoll(argv[4]) <= 0)
    fail("usage: load SOCKET CONNECTIONS SECONDS ROWS FIRST STATEMENT...");
  socket_path = argv[1];
  seconds = (uint64_t)atoi(argv[3]);
  rows = (uint64_t)atoll(argv[4]);
  statements = argv + 6;
  statement_count = (unsigned)argc - 6;
  atomic_store(&next_number, (uint64_t)atoll(argv[5]));
  alarm((unsigned)seconds + 2 * ANSWER_SECONDS);
  if (mysql_library_init(0, NULL, NULL) != 0 || pthread_barrier_init(&all_connected, NULL, count))
    fail("out of memory");
  for (unsigned i = 0; i < count; i++)
  {
    connections[i].random = UINT64_C(0x9e3779b97f4a7c15) * (i + 1);
    connect_to_server(&connections[i]);
  }
  for (unsigned i = 0; i < count; i++)
    if (pthread_create(&connections[i].thread, NULL, work, &connections[i]) != 0)
      fail("cannot begin a thread");
  for (unsigned i = 0; i < count; i++)
    pthread_join(connections[i].thread, NULL);
  print(connections, count);
  return 0;
}
