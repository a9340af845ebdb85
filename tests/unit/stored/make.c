/* SPDX-License-Identifier: GPL-2.0-only
 *
 * make.c: fills tables for stored_test.c, with the core of the version that it is built with, in
 * the current directory; see `make` beside it. What it puts there, the test repeats.
 */
#include "blitz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef LOGGED
#include "log/journal.h"
#include "table/table.h"
#endif

#define DO(call)                                           \
  do                                                       \
  {                                                        \
    if ((call) != BLITZ_OK)                                \
    {                                                      \
      fprintf(stderr, "%s failed: %s\n", #call, err.text); \
      exit(1);                                             \
    }                                                      \
  } while (0)

static struct blitz_error err;

static struct blitz_slice text(const char *s)
{
  return (struct blitz_slice){s, strlen(s)};
}

static void commit(struct blitz_txn *txn)
{
#ifdef COMMIT_IS_VOID
  blitz_txn_commit(txn);
#else
  DO(blitz_txn_commit(txn, &err));
#endif
}

static struct blitz_table *make_table(const char *path)
{
  struct blitz_create_options options = {0};
  struct blitz_table *table;
  DO(blitz_table_create(path, &options, false, &err));
  DO(blitz_table_open(path, 0, &table, &err));
  return table;
}

static void insert(struct blitz_txn *txn, struct blitz_table *table, unsigned n)
{
  char key[16], value[40];
  snprintf(key, sizeof key, "key%u", n);
  snprintf(value, sizeof value, "value of %u", n);
  DO(blitz_insert(txn, table, text(key), text(value), &err));
}

/* 200 rows; in a file that is closed, without row 7. */
static void fill(const char *path, bool close)
{
  struct blitz_table *table = make_table(path);
  struct blitz_txn *txn;
  DO(blitz_txn_create(&txn));
  for (unsigned n = 0; n < 200; n++)
  {
    insert(txn, table, n);
    commit(txn);
  }
  DO(blitz_table_counter_set(table, 1234, &err));
  if (close)
  {
    DO(blitz_remove(txn, table, text("key7"), &err));
    commit(txn);
  }
  blitz_txn_free(txn);
  if (close)
    blitz_table_close(table);
}

#ifdef LOGGED

static void start(void)
{
  struct blitz_start_options options = {.dir = ".", .log_limit = 1 << 20, .memory = 1 << 20};
  DO(bz_start(&options, false, &err));
}

static struct blitz_table *t, *u;
static struct blitz_txn *txn;

/* Two tables, and 40 rows of one, not committed. */
static void begin(void)
{
  start();
  t = make_table("./t");
  u = make_table("./u");
  DO(blitz_txn_create(&txn));
  for (unsigned n = 0; n < 40; n++)
    insert(txn, t, n);
}

/* What comes behind the checkpoint is in the log alone. */
static void leave_log(void)
{
  begin();
  commit(txn);
  DO(blitz_checkpoint(&err));
  for (unsigned n = 40; n < 60; n++)
  {
    insert(txn, t, n);
    insert(txn, u, n);
    commit(txn);
  }
  DO(blitz_update(txn, t, text("key3"), text("key3"), text("another value of 3"), &err));
  DO(blitz_remove(txn, t, text("key7"), &err));
  DO(blitz_remove(txn, u, text("key47"), &err));
  commit(txn);
  DO(blitz_table_counter_set(t, 1234, &err));
  DO(blitz_sync(&err));
  insert(txn, t, 99); /* not committed */
}

/* It dies when the journal is whole. */
enum blitz_rc __wrap_bz_journal_place(struct bz_journal *journal, bz_journal_place_fn *place,
                                      void *arg, struct blitz_error *error);
enum blitz_rc __wrap_bz_journal_place(struct bz_journal *journal, bz_journal_place_fn *place,
                                      void *arg, struct blitz_error *error)
{
  enum blitz_rc __real_bz_journal_place(struct bz_journal *, bz_journal_place_fn *, void *,
                                        struct blitz_error *);
  static unsigned times;
  if (++times == 2)
    _exit(0);
  return __real_bz_journal_place(journal, place, arg, error);
}

static void leave_journal(void)
{
  begin();
  insert(txn, u, 40);
  commit(txn);
  DO(blitz_checkpoint(&err));
  DO(blitz_update(txn, t, text("key3"), text("key3"), text("another value of 3"), &err));
  DO(blitz_remove(txn, t, text("key7"), &err));
  DO(blitz_remove(txn, u, text("key40"), &err));
  insert(txn, u, 41);
  commit(txn);
  DO(blitz_checkpoint(&err));
}

#endif

int main(int argc, char **argv)
{
  const char *what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "closed") == 0)
    fill("./t", true);
  else if (strcmp(what, "open") == 0)
    fill("./t", false);
#ifdef LOGGED
  else if (strcmp(what, "log") == 0)
    leave_log();
  else if (strcmp(what, "journal") == 0)
    leave_journal();
#endif
  else
    return 2;
  fflush(stdout);
  _exit(0);
}
