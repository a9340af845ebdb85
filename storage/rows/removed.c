/* SPDX-License-Identifier: GPL-2.0-only
 *
 * removed.c: removed rows whose bytes are still wanted: by snapshots that see them, and, until
 * the commit that removes them is done, by look-ups.
 *
 * A row was there from the commit `born` up to the one before `died`. It is wanted while
 * somebody looks at a commit of these, and by nobody else: what came and went after the
 * oldest snapshot and before the next one goes at once. Each commit looks at some of the rows
 * here, in turn, and frees what nobody wants any more; so does who ends a view while nobody
 * writes, and who would make the file longer otherwise. So what a long reader has left behind
 * goes in slices.
 *
 *  V1. Nothing is allocated when a row is added: bz_removed_prepare() has done it.
 *  V2. Readers look at the chains of a part, under its lock. All else is the writer's.
 *  V3. A row is here before it leaves its tree, and its block is freed after it has left here.
 */
#include "rows/space.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SLAB_BYTES 4096     /* memory that is taken at once, at a multiple of that */
#define SWEEP_LEAST 64      /* rows that a commit looks at */
#define SWEEP_PER_REMOVAL 4 /* and for each row that it has removed */
#define FREED_AT_ONCE 256   /* blocks, under snapshot_lock */
#define TIDY_LOOKS 4096     /* rows that the end of a view looks at */
#define PREFETCH_AHEAD 16   /* rows whose places in the hash are asked for before */

struct bz_removed
{
  uint64_t off; /* 0: this one is free */
  uint64_t born, died;
  uint64_t hash; /* of the row's key */
  struct bz_removed *next;
};

#define SLAB_LEN ((SLAB_BYTES - 2 * sizeof(void *)) / sizeof(struct bz_removed))

struct bz_removed_slab
{
  struct bz_removed_slab *next;
  size_t used; /* of its rows */
  struct bz_removed rows[SLAB_LEN];
};

_Static_assert(sizeof(struct bz_removed_slab) <= SLAB_BYTES, "a slab is found by its address");

static struct bz_removed_slab *slab_of(struct bz_removed *row)
{
  return (struct bz_removed_slab *)((uintptr_t)row & ~(uintptr_t)(SLAB_BYTES - 1));
}

/* ---- memory ------------------------------------------------------------------------ */

static bool add_slab(struct bz_removed_rows *removed)
{
  struct bz_removed_slab *slab = aligned_alloc(SLAB_BYTES, SLAB_BYTES);

  if (slab == NULL)
    return false;
  for (size_t i = SLAB_LEN; i-- > 0;)
  {
    slab->rows[i].off = 0;
    slab->rows[i].next = removed->free;
    removed->free = &slab->rows[i];
  }
  slab->used = 0;
  removed->free_count += SLAB_LEN;
  slab->next = removed->slabs;
  removed->slabs = slab;
  return true;
}

enum blitz_rc bz_removed_prepare(struct blitz_table *table, size_t count, struct blitz_error *err)
{
  bool ok = true;

  bz_assert_writer(table);
  if (table->removed.free_count >= count)
    return BLITZ_OK;
  while (ok && table->removed.free_count < count)
    ok = add_slab(&table->removed);
  return ok ? BLITZ_OK : bz_fail(err, BLITZ_NOMEM, 0, "out of memory changing %s", table->file);
}

static void free_slabs(struct bz_removed_rows *removed)
{
  while (removed->slabs != NULL)
  {
    struct bz_removed_slab *slab = removed->slabs;
    removed->slabs = slab->next;
    free(slab);
  }
  removed->free = NULL;
  removed->free_count = 0;
  removed->swept = NULL;
}

void bz_removed_init(struct blitz_table *table)
{
  for (unsigned i = 0; i < BZ_REMOVED_PARTS; i++)
    pthread_mutex_init(&table->removed.parts[i].lock, NULL);
}

void bz_removed_clear(struct blitz_table *table)
{
  struct bz_removed_rows *removed = &table->removed;

  free_slabs(removed);
  for (unsigned i = 0; i < BZ_REMOVED_PARTS; i++)
  {
    free(removed->parts[i].heads);
    pthread_mutex_destroy(&removed->parts[i].lock);
  }
  free(removed->wanted);
  memset(removed, 0, sizeof *removed);
  bz_removed_init(table);
}

/* ---- by key -------------------------------------------------------------------------- */

static uint64_t mixed(uint64_t hash)
{
  return hash * UINT64_C(0x9E3779B97F4A7C15);
}

static struct bz_removed_part *part_of(struct bz_removed_rows *removed, uint64_t hash)
{
  return &removed->parts[mixed(hash) >> 58];
}

/* Where the rows of a hash are linked from. A part without memory has one such place. */
static struct bz_removed **head_of(const struct bz_removed_part *part, uint64_t hash)
{
  return part->heads == NULL ? (struct bz_removed **)(uintptr_t)&part->only
                             : &part->heads[mixed(hash) >> 24 & (part->head_count - 1)];
}

void bz_removed_prefetch(const struct blitz_table *table, uint64_t hash)
{
  const struct bz_removed_part *part = &table->removed.parts[mixed(hash) >> 58];

  bz_prefetch(part);
  bz_prefetch(head_of(part, hash));
}

/* Doubles the places of a part: a small piece of all there are, so it takes no long time. If
 * there is no memory the chains grow longer.
 */
static void grow_part(struct bz_removed_part *part)
{
  struct bz_removed_part grown = {.head_count = part->head_count == 0 ? 8 : part->head_count * 2};

  grown.heads = calloc(grown.head_count, sizeof(struct bz_removed *));
  if (grown.heads == NULL)
    return;
  for (size_t i = 0; i < (part->heads == NULL ? 1 : part->head_count); i++)
  {
    struct bz_removed *row = part->heads == NULL ? part->only : part->heads[i];
    while (row != NULL)
    {
      struct bz_removed *next = row->next, **head = head_of(&grown, row->hash);
      row->next = *head;
      *head = row;
      row = next;
    }
  }
  free(part->heads);
  part->heads = grown.heads;
  part->head_count = grown.head_count;
}

void bz_removed_add(struct blitz_table *table, uint64_t off, uint64_t born, uint64_t died,
                    uint64_t hash)
{
  struct bz_removed_rows *removed = &table->removed;
  struct bz_removed_part *part = part_of(removed, hash);
  struct bz_removed *row = removed->free, **head;

  bz_assert_writer(table);
  assert(row != NULL && row->off == 0);
  removed->free = row->next;
  removed->free_count--;
  removed->count++;
  slab_of(row)->used++;
  pthread_mutex_lock(&part->lock);
  if (part->count >= part->head_count)
    grow_part(part);
  head = head_of(part, hash);
  *row = (struct bz_removed){off, born, died, hash, *head};
  *head = row;
  part->count++;
  pthread_mutex_unlock(&part->lock);
}

static void take_out(struct bz_removed_rows *removed, struct bz_removed *row)
{
  struct bz_removed_part *part = part_of(removed, row->hash);
  struct bz_removed **link;

  pthread_mutex_lock(&part->lock);
  for (link = head_of(part, row->hash); *link != row; link = &(*link)->next)
    ;
  *link = row->next;
  part->count--;
  pthread_mutex_unlock(&part->lock);
  slab_of(row)->used--;
  row->off = 0;
  row->next = removed->free;
  removed->free = row;
  removed->free_count++;
  removed->count--;
}

/* The version of KEY that a snapshot sees. Needs the part's lock. */
static bool find(struct blitz_table *table, const struct bz_removed_part *part,
                 const struct bz_snapshot *snapshot, const struct bz_key *key, struct bz_row *found)
{
  assert(bz_holds(&part->lock));
  for (struct bz_removed *row = *head_of(part, key->hash.bucket); row != NULL; row = row->next)
    if (row->hash == key->hash.bucket && row->born <= snapshot->seq && row->died > snapshot->seq &&
        bz_snapshot_has_row(table, snapshot, row->off, key, found))
      return true;
  return false;
}

enum blitz_rc bz_removed_find(struct blitz_table *table, const struct bz_snapshot *snapshot,
                              const struct bz_key *key, struct bz_row *row)
{
  struct bz_removed_part *part = part_of(&table->removed, key->hash.bucket);
  bool found;

  pthread_mutex_lock(&part->lock);
  found = find(table, part, snapshot, key, row);
  pthread_mutex_unlock(&part->lock);
  return found ? BLITZ_OK : BLITZ_NOT_FOUND;
}

enum blitz_rc bz_removed_read(struct blitz_table *table, uint64_t seq, const struct bz_key *key,
                              struct bz_buffer *buf, struct bz_row *row)
{
  struct bz_removed_part *part = part_of(&table->removed, key->hash.bucket);
  struct bz_snapshot snapshot = {.seq = seq};
  enum blitz_rc rc = BLITZ_NOT_FOUND;

  snapshot.first = atomic_load_explicit(&table->first, memory_order_acquire);
  snapshot.end = atomic_load_explicit(&table->end, memory_order_acquire);
  snapshot.map = atomic_load_explicit(&table->map, memory_order_acquire);
  /* No snapshot keeps the row, but it does not go while it is here (V3). */
  pthread_mutex_lock(&part->lock);
  if (find(table, part, &snapshot, key, row))
    rc = bz_row_copy(row, buf);
  pthread_mutex_unlock(&part->lock);
  return rc;
}

/* ---- what nobody wants any more ---------------------------------------------------------- */

/* Notes the commits that snapshots look at, in order. One that begins later sees the last
 * commit, and so none of the rows here. False: out of memory.
 */
static bool note_wanted(struct blitz_table *table)
{
  struct bz_removed_rows *removed = &table->removed;
  const struct bz_snapshot *snapshot;
  size_t count = 0;

  pthread_mutex_lock(&table->snapshot_lock);
  LIST_FOREACH (snapshot, &table->snapshots, link)
    count++;
  if (count > removed->wanted_room)
  {
    uint64_t *wanted = realloc(removed->wanted, count * 2 * sizeof *wanted);
    if (wanted == NULL)
    {
      pthread_mutex_unlock(&table->snapshot_lock);
      return false;
    }
    removed->wanted = wanted;
    removed->wanted_room = count * 2;
  }
  count = 0;
  LIST_FOREACH (snapshot, &table->snapshots, link)
    removed->wanted[count++] = snapshot->seq;
  pthread_mutex_unlock(&table->snapshot_lock);
  removed->wanted_count = count;
  bz_numbers_sort(removed->wanted, count);
  return true;
}

static bool is_wanted(const struct bz_removed_rows *removed, const struct bz_removed *row)
{
  size_t low = 0, high = removed->wanted_count;

  while (low < high)
  {
    size_t middle = low + (high - low) / 2;
    if (removed->wanted[middle] < row->born)
      low = middle + 1;
    else
      high = middle;
  }
  return low < removed->wanted_count && removed->wanted[low] < row->died;
}

/* Asks for what take_out() needs of the row, which is free or not: for its place in the hash, and
 * when that is there, for the row that it would pass.
 */
static void prefetch_head(const struct blitz_table *table, const struct bz_removed *row)
{
  if (row->off != 0)
    bz_removed_prefetch(table, row->hash);
}

static void prefetch_chain(struct bz_removed_rows *removed, const struct bz_removed *row)
{
  if (row->off != 0)
    bz_prefetch(*head_of(part_of(removed, row->hash), row->hash));
}

/* The next row to be looked at, in turn. One look is enough for a slab in which there is nothing.
 */
static struct bz_removed *next_row(struct blitz_table *table)
{
  struct bz_removed_rows *removed = &table->removed;
  struct bz_removed_slab *slab = removed->swept;
  struct bz_removed *row;

  if (slab == NULL || removed->swept_count == SLAB_LEN || slab->used == 0)
  {
    slab = slab == NULL || slab->next == NULL ? removed->slabs : slab->next;
    removed->swept = slab;
    removed->swept_count = 0;
    for (size_t i = 0; i < PREFETCH_AHEAD; i++)
      prefetch_head(table, &slab->rows[i]);
  }
  row = &slab->rows[removed->swept_count++];
  if (removed->swept_count + PREFETCH_AHEAD <= SLAB_LEN)
    prefetch_head(table, row + PREFETCH_AHEAD);
  if (removed->swept_count + PREFETCH_AHEAD / 2 <= SLAB_LEN)
    prefetch_chain(removed, row + PREFETCH_AHEAD / 2);
  return row;
}

/* Takes out the unwanted ones of the next LOOKS rows, FREED_AT_ONCE at most, and frees their
 * blocks; how many.
 */
static size_t sweep_rows(struct blitz_table *table, size_t looks)
{
  struct bz_removed_rows *removed = &table->removed;
  uint64_t offs[FREED_AT_ONCE];
  size_t count = 0;

  for (; looks > 0 && removed->count > 0; looks--)
  {
    struct bz_removed *row = next_row(table);

    if (row->off == 0 || is_wanted(removed, row))
      continue;
    offs[count++] = row->off;
    take_out(removed, row);
  }
  bz_space_free_all(table, offs, count);
  return count;
}

/* May anything be freed, as far as that is known without looking at rows? */
static bool may_sweep(struct blitz_table *table)
{
  return table->removed.count > 0 && !atomic_load_explicit(&table->broken, memory_order_relaxed) &&
         note_wanted(table);
}

static void sweep(struct blitz_table *table, size_t looks)
{
  struct bz_removed_rows *removed = &table->removed;

  bz_assert_writer(table);
  if (!may_sweep(table))
    return;
  while (looks > 0 && removed->count > 0)
  {
    size_t part = looks < FREED_AT_ONCE ? looks : FREED_AT_ONCE;
    (void)sweep_rows(table, part);
    looks -= part;
  }
  if (removed->count == 0 && removed->slabs->next != NULL)
    free_slabs(removed);
}

void bz_removed_sweep(struct blitz_table *table, size_t removals)
{
  sweep(table, SWEEP_LEAST + SWEEP_PER_REMOVAL * removals);
}

void bz_removed_tidy(struct blitz_table *table)
{
  sweep(table, TIDY_LOOKS);
}

bool bz_removed_make_room(struct blitz_table *table)
{
  struct bz_removed_rows *removed = &table->removed;
  uint64_t ends = atomic_load_explicit(&table->snapshot_ends, memory_order_relaxed);
  size_t freed;

  bz_assert_writer(table);
  if (ends != removed->ends)
    removed->vain_looks = 0;
  removed->ends = ends;
  /* All have been looked at since a snapshot has ended last. */
  if (removed->vain_looks >= removed->count + removed->free_count || !may_sweep(table))
    return false;
  freed = sweep_rows(table, FREED_AT_ONCE);
  removed->vain_looks = freed > 0 ? 0 : removed->vain_looks + FREED_AT_ONCE;
  return freed > 0;
}

void bz_removed_sweep_all(struct blitz_table *table)
{
  /* Each round goes once through all there are. */
  while (table->removed.count > 0)
  {
    size_t before = table->removed.count;
    sweep(table, table->removed.count + table->removed.free_count);
    if (table->removed.count == before)
      return;
  }
}
