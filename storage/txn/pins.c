/* SPDX-License-Identifier: GPL-2.0-only
 *
 * pins.c: the order of commits and moments. A moment is a snapshot of all tables, though it costs
 * nothing for those that do not change: a table gets a snapshot for a moment, a pin, when the first
 * commit after it is about to be seen.
 *
 *  M1. Commits that are seen, and moments, have one order. A commit is seen in all of its tables
 *      at once, between the same two moments: under moments_lock.
 *  M2. Before a table's commit is seen, each open moment that has no pin of the table gets one. So
 *      a moment without one sees the table as it is.
 *  M3. Who closes a table takes its pins away, and the moments that lose one know it.
 */
#include "txn/txn.h"

#include <stdlib.h>
#include <string.h>

/* The rows of a table as a moment sees them. */
struct bz_pin
{
  struct blitz_moment *moment;
  struct blitz_table *table;
  struct bz_snapshot snapshot;
  LIST_ENTRY(bz_pin) of_moment, of_table;
};

/* The name of a table that a moment has lost. */
struct lost
{
  struct lost *next;
  char path[];
};

struct blitz_moment
{
  uint64_t number;
  bool incomplete; /* there was no memory for a pin */
  struct lost *lost;
  LIST_HEAD(, bz_pin) pins;
  LIST_ENTRY(blitz_moment) link;
};

static pthread_mutex_t moments_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, blitz_moment) moments = LIST_HEAD_INITIALIZER(moments); /* the newest first */
static uint64_t last_number;

/* ---- commits ------------------------------------------------------------------------- */

void bz_moments_begin(void)
{
  pthread_mutex_lock(&moments_lock);
}

void bz_moments_end(void)
{
  pthread_mutex_unlock(&moments_lock);
}

static void add_pin(struct blitz_moment *moment, struct blitz_table *table)
{
  struct bz_pin *pin = calloc(1, sizeof *pin);

  if (pin == NULL)
  {
    moment->incomplete = true;
    return;
  }
  pin->moment = moment;
  pin->table = table;
  bz_snapshot_take(table, &pin->snapshot);
  LIST_INSERT_HEAD(&moment->pins, pin, of_moment);
  LIST_INSERT_HEAD(&table->pins, pin, of_table);
}

void bz_moments_pin(struct blitz_table *table)
{
  struct blitz_moment *moment;

  assert(bz_holds(&moments_lock));
  if (atomic_load_explicit(&table->pinned_for, memory_order_relaxed) == last_number)
    return;
  pthread_mutex_lock(&table->snapshot_lock);
  LIST_FOREACH (moment, &moments, link)
  {
    if (moment->number <= atomic_load_explicit(&table->pinned_for, memory_order_relaxed))
      break;
    add_pin(moment, table);
  }
  pthread_mutex_unlock(&table->snapshot_lock);
  atomic_store_explicit(&table->pinned_for, last_number, memory_order_release);
}

/* Needs moments_lock. */
static void remove_pin(struct bz_pin *pin)
{
  LIST_REMOVE(pin, of_moment);
  LIST_REMOVE(pin, of_table);
  pthread_mutex_lock(&pin->table->snapshot_lock);
  bz_snapshot_end(pin->table, &pin->snapshot);
  pthread_mutex_unlock(&pin->table->snapshot_lock);
  free(pin);
}

static void note_lost(struct blitz_moment *moment, const char *path)
{
  struct lost *lost = malloc(sizeof *lost + strlen(path) + 1);

  if (lost == NULL)
  {
    moment->incomplete = true;
    return;
  }
  strcpy(lost->path, path);
  lost->next = moment->lost;
  moment->lost = lost;
}

void bz_moments_forget(struct blitz_table *table)
{
  struct bz_pin *pin;

  pthread_mutex_lock(&moments_lock);
  while ((pin = LIST_FIRST(&table->pins)) != NULL)
  {
    note_lost(pin->moment, table->path);
    remove_pin(pin);
  }
  pthread_mutex_unlock(&moments_lock);
}

/* ---- moments --------------------------------------------------------------------------- */

struct blitz_moment *bz_moment_new(void)
{
  struct blitz_moment *moment = calloc(1, sizeof *moment);

  if (moment == NULL)
    return NULL;
  LIST_INIT(&moment->pins);
  pthread_mutex_lock(&moments_lock);
  moment->number = ++last_number;
  LIST_INSERT_HEAD(&moments, moment, link);
  pthread_mutex_unlock(&moments_lock);
  return moment;
}

void blitz_moment_end(struct blitz_moment *moment)
{
  struct bz_pin *pin;

  if (moment == NULL)
    return;
  pthread_mutex_lock(&moments_lock);
  while ((pin = LIST_FIRST(&moment->pins)) != NULL)
    remove_pin(pin);
  LIST_REMOVE(moment, link);
  pthread_mutex_unlock(&moments_lock);
  while (moment->lost != NULL)
  {
    struct lost *lost = moment->lost;
    moment->lost = lost->next;
    free(lost);
  }
  free(moment);
}

bool bz_moment_is_now(const struct blitz_moment *moment, const struct blitz_table *table)
{
  return atomic_load_explicit(&table->pinned_for, memory_order_acquire) < moment->number;
}

/* What MOMENT has of TABLE, for which it has a pin or should have. */
static enum blitz_rc pinned(const struct blitz_moment *moment, struct blitz_table *table,
                            const struct bz_snapshot **fromp)
{
  const struct lost *lost = moment->lost;
  struct bz_pin *pin;

  *fromp = NULL;
  while (lost != NULL && strcmp(lost->path, table->path) != 0)
    lost = lost->next;
  if (lost != NULL || moment->incomplete)
    return lost != NULL ? BLITZ_CHANGED : BLITZ_NOMEM;
  LIST_FOREACH (pin, &moment->pins, of_moment)
    if (pin->table == table)
      *fromp = &pin->snapshot;
  return BLITZ_OK;
}

enum blitz_rc bz_moment_snapshot(const struct blitz_moment *moment, struct blitz_table *table,
                                 struct bz_snapshot *snapshot)
{
  const struct bz_snapshot *from;
  enum blitz_rc rc;

  pthread_mutex_lock(&moments_lock);
  rc = pinned(moment, table, &from);
  if (rc == BLITZ_OK)
  {
    pthread_mutex_lock(&table->snapshot_lock);
    if (from != NULL)
      bz_snapshot_copy(table, from, snapshot);
    else
      bz_snapshot_take(table, snapshot);
    pthread_mutex_unlock(&table->snapshot_lock);
  }
  pthread_mutex_unlock(&moments_lock);
  return rc;
}
