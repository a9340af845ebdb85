/* SPDX-License-Identifier: GPL-2.0-only
 *
 * removed.c: the list of removed rows whose bytes snapshots may still read, in the order
 * in which they were removed.
 *
 * The writer adds to it and space.c takes from its front. Readers of an index look into
 * it, seldom: for the version of a row that their snapshot sees, if its entry does not
 * lead to it and the row has been changed since. So in a table with indexes the list has
 * a lock, and a hash over it is made when it is first asked for.
 */
#include "blitz_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 64
#define KEEP_ROOM_MAX 65536 /* rows whose memory is kept when all are gone */

static void lock(struct blitz_table *table)
{
  if (table->index != NULL)
    pthread_mutex_lock(&table->removed_lock);
}

static void unlock(struct blitz_table *table)
{
  if (table->index != NULL)
    pthread_mutex_unlock(&table->removed_lock);
}

static void forget_slots(struct bz_removed_list *list)
{
  free(list->slots);
  list->slots = NULL;
  list->slot_count = 0;
  list->hashed = 0;
}

enum blitz_rc bz_removed_prepare(struct blitz_table *table, size_t count, struct blitz_error *err)
{
  struct bz_removed_list *list = &table->removed;
  enum blitz_rc rc = BLITZ_OK;

  if (list->count + count <= list->room)
    return BLITZ_OK;
  lock(table);
  /* A quarter at least, or it would be moved again and again for little. */
  if (list->first > list->count / 4)
  {
    memmove(list->items, list->items + list->first,
            (list->count - list->first) * sizeof *list->items);
    list->count -= list->first;
    list->first = 0;
    forget_slots(list);
  }
  if (list->count + count > list->room)
  {
    size_t room = list->room * 2 > list->count + count ? list->room * 2 : list->count + count + 16;
    struct bz_removed *items = realloc(list->items, room * sizeof *items);
    if (items != NULL)
    {
      list->items = items;
      list->room = room;
    }
    else
      rc = bz_fail(err, BLITZ_NOMEM, 0, "out of memory changing %s", table->file);
  }
  unlock(table);
  return rc;
}

void bz_removed_add(struct blitz_table *table, uint64_t off, uint64_t seq, uint64_t hash)
{
  struct bz_removed_list *list = &table->removed;

  lock(table);
  assert(list->count < list->room);
  list->items[list->count++] = (struct bz_removed){off, seq, hash};
  unlock(table);
}

void bz_removed_drop(struct blitz_table *table, size_t first)
{
  struct bz_removed_list *list = &table->removed;

  lock(table);
  list->first = first;
  if (list->first == list->count)
  {
    list->first = list->count = 0;
    forget_slots(list);
    if (list->room > KEEP_ROOM_MAX)
    {
      free(list->items);
      list->items = NULL;
      list->room = 0;
    }
  }
  unlock(table);
}

void bz_removed_clear(struct blitz_table *table)
{
  forget_slots(&table->removed);
  free(table->removed.items);
  memset(&table->removed, 0, sizeof table->removed);
}

/* ---- by key ------------------------------------------------------------------- */

static size_t slot_of(const struct bz_removed_list *list, uint64_t hash)
{
  return (hash * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (list->slot_count - 1);
}

/* Puts all of the list into the hash. False: out of memory. */
static bool hash_all(struct bz_removed_list *list)
{
  if (list->slot_count < list->count * 2)
  {
    size_t slot_count = SLOTS_MIN;
    uint32_t *slots;
    while (slot_count < list->count * 4)
      slot_count *= 2;
    slots = calloc(slot_count, sizeof *slots);
    if (slots == NULL)
      return false;
    forget_slots(list);
    list->slots = slots;
    list->slot_count = slot_count;
    list->hashed = list->first;
  }
  for (; list->hashed < list->count; list->hashed++)
  {
    size_t slot = slot_of(list, list->items[list->hashed].hash);
    while (list->slots[slot] != 0)
      slot = (slot + 1) & (list->slot_count - 1);
    list->slots[slot] = (uint32_t)list->hashed + 1;
  }
  return true;
}

enum blitz_rc bz_removed_find(struct blitz_table *table, const struct bz_snapshot *snapshot,
                              const struct bz_key *key, struct bz_row *row)
{
  struct bz_removed_list *list = &table->removed;
  enum blitz_rc rc = BLITZ_NOT_FOUND;

  lock(table);
  if (list->count > 0 && !hash_all(list))
    rc = BLITZ_NOMEM;
  for (size_t slot = list->count > 0 ? slot_of(list, key->hash.bucket) : 0;
       rc == BLITZ_NOT_FOUND && list->count > 0 && list->slots[slot] != 0;
       slot = (slot + 1) & (list->slot_count - 1))
  {
    const struct bz_removed *item = &list->items[list->slots[slot] - 1];
    if (item->hash == key->hash.bucket && item->seq > snapshot->seq &&
        bz_snapshot_has_row(table, snapshot, item->off, key, row))
      rc = BLITZ_OK;
  }
  unlock(table);
  return rc;
}
