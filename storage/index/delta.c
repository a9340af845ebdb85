/* SPDX-License-Identifier: GPL-2.0-only
 *
 * delta.c: see delta.h.
 */
#include "index/delta.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS 12
#define LEVEL_ODDS 4 /* one of so many nodes of a level is in the next one, too */
#define CHUNK_LEN_MIN ((size_t)1 << 10) /* each one is as long as all before it, up to ... */
#define CHUNK_LEN_MAX ((size_t)256 << 10)
#define NODE_ALIGN 8
#define ADDED_KEPT 1024 /* nodes to come that memory is kept for */

typedef _Atomic(struct bz_delta_node *) link;

struct bz_delta_node
{
  uint64_t number;
  uint32_t key_len, value_len;
  uint8_t levels;
  bool removed;
  link next[]; /* of each of its levels; behind them the sort key and the value */
};

struct chunk
{
  struct chunk *next;
  size_t len, used; /* bytes behind this head */
};

/* A node that is not in its place yet. */
struct added
{
  uint64_t head; /* of its sort key, big-endian */
  struct bz_delta_node *node;
};

struct bz_delta
{
  struct chunk *chunks; /* the first one is being filled */
  atomic_ullong len;
  uint64_t dice;
  struct added *added;
  size_t added_count, added_room;
  link first[LEVELS];
};

/* ---- memory -------------------------------------------------------------------------- */

struct bz_delta *bz_delta_new(void)
{
  struct bz_delta *delta = calloc(1, sizeof *delta);

  if (delta != NULL)
    delta->dice = UINT64_C(0x9E3779B97F4A7C15);
  return delta;
}

static void count_len(struct bz_delta *delta, uint64_t by)
{
  atomic_fetch_add_explicit(&delta->len, by, memory_order_relaxed);
}

static size_t chunk_len(const struct chunk *chunk)
{
  return sizeof *chunk + chunk->len;
}

static void drop_chunk(struct bz_delta *delta)
{
  struct chunk *chunk = delta->chunks;

  delta->chunks = chunk->next;
  count_len(delta, -(uint64_t)chunk_len(chunk));
  free(chunk);
}

void bz_delta_free(struct bz_delta *delta)
{
  if (delta == NULL)
    return;
  while (delta->chunks != NULL)
    drop_chunk(delta);
  free(delta->added);
  free(delta);
}

void bz_delta_reset(struct bz_delta *delta)
{
  /* The last one is the first that was made, and the smallest. */
  while (delta->chunks != NULL && delta->chunks->next != NULL)
    drop_chunk(delta);
  if (delta->chunks != NULL)
    delta->chunks->used = 0;
  if (delta->added_room > ADDED_KEPT)
  {
    free(delta->added);
    delta->added = NULL;
    delta->added_room = 0;
  }
  delta->added_count = 0;
  for (unsigned level = 0; level < LEVELS; level++)
    atomic_init(&delta->first[level], NULL);
}

uint64_t bz_delta_len(const struct bz_delta *delta)
{
  return atomic_load_explicit(&delta->len, memory_order_relaxed);
}

bool bz_delta_is_empty(const struct bz_delta *delta)
{
  return delta->added_count == 0 &&
         atomic_load_explicit(&delta->first[0], memory_order_relaxed) == NULL;
}

static struct chunk *add_chunk(struct bz_delta *delta, size_t len)
{
  size_t room = bz_delta_len(delta);
  struct chunk *chunk;

  if (room < CHUNK_LEN_MIN)
    room = CHUNK_LEN_MIN;
  if (room > CHUNK_LEN_MAX)
    room = CHUNK_LEN_MAX;
  room -= sizeof *chunk;
  if (room < len)
    room = len;
  chunk = malloc(sizeof *chunk + room);
  if (chunk == NULL)
    return NULL;
  *chunk = (struct chunk){.next = delta->chunks, .len = room};
  delta->chunks = chunk;
  count_len(delta, chunk_len(chunk));
  return chunk;
}

static void *take(struct bz_delta *delta, size_t len)
{
  struct chunk *chunk = delta->chunks;
  uint8_t *at;

  len = (len + NODE_ALIGN - 1) / NODE_ALIGN * NODE_ALIGN;
  if (chunk == NULL || chunk->len - chunk->used < len)
    chunk = add_chunk(delta, len);
  if (chunk == NULL)
    return NULL;
  at = (uint8_t *)(chunk + 1) + chunk->used;
  chunk->used += len;
  return at;
}

/* ---- nodes ----------------------------------------------------------------------------- */

static uint8_t *key_of(const struct bz_delta_node *node)
{
  return (uint8_t *)(uintptr_t)(node->next + node->levels);
}

static uint8_t roll_levels(struct bz_delta *delta)
{
  uint8_t levels = 1;

  /* Xorshift (G. Marsaglia). */
  delta->dice ^= delta->dice << 13;
  delta->dice ^= delta->dice >> 7;
  delta->dice ^= delta->dice << 17;
  for (uint64_t dice = delta->dice; levels < LEVELS && dice % LEVEL_ODDS == 0; dice /= LEVEL_ODDS)
    levels++;
  return levels;
}

struct bz_delta_node *bz_delta_make(struct bz_delta *delta, const struct bz_delta_version *version)
{
  uint8_t levels = roll_levels(delta);
  struct bz_delta_node *node = take(delta, sizeof *node + levels * sizeof node->next[0] +
                                               version->sort_key.len + version->value.len);

  if (node == NULL)
    return NULL;
  node->number = version->number;
  node->key_len = (uint32_t)version->sort_key.len;
  node->value_len = (uint32_t)version->value.len;
  node->levels = levels;
  node->removed = version->removed;
  if (version->sort_key.data != NULL)
    memcpy(key_of(node), version->sort_key.data, version->sort_key.len);
  if (version->value.data != NULL)
    memcpy(key_of(node) + node->key_len, version->value.data, version->value.len);
  return node;
}

uint8_t *bz_delta_bytes(struct bz_delta_node *node)
{
  return key_of(node);
}

void bz_delta_chain(struct bz_delta_node *last, struct bz_delta_node *node)
{
  atomic_init(&node->next[0], NULL);
  if (last != NULL)
    atomic_init(&last->next[0], node);
}

/* ---- order ------------------------------------------------------------------------------- */

/* What is looked for: all nodes before some place are less than it. */
struct bound
{
  struct blitz_slice key;
  bool prefix;     /* sort keys that begin with it are equal to it */
  bool equal_less; /* and those that are equal are less */
  uint64_t number; /* of equal ones, not PREFIX, those with a higher one are less */
};

static bool is_less(const struct bz_delta_node *node, const struct bound *bound)
{
  size_t len = node->key_len < bound->key.len ? node->key_len : bound->key.len;
  int order = len == 0 ? 0 : memcmp(key_of(node), bound->key.data, len);

  if (order == 0 && (node->key_len < bound->key.len || !bound->prefix))
    order = (node->key_len > bound->key.len) - (node->key_len < bound->key.len);
  if (order != 0)
    return order < 0;
  return bound->equal_less || (!bound->prefix && node->number > bound->number);
}

/* The last node that is less than BOUND; NULL: none is. */
static const struct bz_delta_node *last_less(const struct bz_delta *delta,
                                             const struct bound *bound)
{
  const struct bz_delta_node *last = NULL;

  for (unsigned level = LEVELS; level-- > 0;)
  {
    const link *links = last != NULL ? last->next : delta->first;
    const struct bz_delta_node *next;

    while ((next = atomic_load_explicit(&links[level], memory_order_acquire)) != NULL &&
           is_less(next, bound))
    {
      last = next;
      links = last->next;
    }
  }
  return last;
}

static struct bound bound_of(const struct bz_delta_node *node)
{
  return (struct bound){.key = {key_of(node), node->key_len}, .number = node->number};
}

/* ---- linking ------------------------------------------------------------------------- */

/* Where the last of several nodes that are linked in order was put: the links of each level that go
 * beyond it. The next one is looked for from there.
 */
struct finger
{
  link *before[LEVELS];
};

static struct finger at_begin(struct bz_delta *delta)
{
  struct finger finger;

  for (unsigned level = 0; level < LEVELS; level++)
    finger.before[level] = &delta->first[level];
  return finger;
}

static struct bz_delta_node *less_behind(const link *before, const struct bound *bound)
{
  struct bz_delta_node *next = atomic_load_explicit(before, memory_order_relaxed);

  return next != NULL && is_less(next, bound) ? next : NULL;
}

/* Up as far as there is something to go over, then down. */
static void link_next(struct finger *finger, struct bz_delta_node *node)
{
  struct bound bound = bound_of(node);
  struct bz_delta_node *next;
  unsigned level = 0;

  while (level + 1 < LEVELS && less_behind(finger->before[level + 1], &bound) != NULL)
    level++;
  for (unsigned n = level + 1; n-- > 0;)
    while ((next = less_behind(finger->before[n], &bound)) != NULL)
      for (unsigned below = 0; below <= n; below++)
        finger->before[below] = &next->next[below];
  for (level = 0; level < node->levels; level++)
  {
    next = atomic_load_explicit(finger->before[level], memory_order_relaxed);
    atomic_init(&node->next[level], next);
  }
  /* From below, so that who comes to it from above finds the rest (E2). */
  for (level = 0; level < node->levels; level++)
  {
    atomic_store_explicit(finger->before[level], node, memory_order_release);
    finger->before[level] = &node->next[level];
  }
}

void bz_delta_link(struct bz_delta *delta, struct bz_delta_node *list)
{
  struct finger finger = at_begin(delta);

  while (list != NULL)
  {
    struct bz_delta_node *rest = atomic_load_explicit(&list->next[0], memory_order_relaxed);

    link_next(&finger, list);
    list = rest;
  }
}

bool bz_delta_add(struct bz_delta *delta, struct bz_delta_node *node)
{
  if (delta->added_count == delta->added_room)
  {
    size_t room = delta->added_room == 0 ? 16 : 2 * delta->added_room;
    struct added *added = realloc(delta->added, room * sizeof *added);

    if (added == NULL)
      return false;
    delta->added = added;
    delta->added_room = room;
  }
  delta->added[delta->added_count++] =
      (struct added){bz_load_head(key_of(node), node->key_len), node};
  return true;
}

static int compare_added(const void *a_arg, const void *b_arg)
{
  const struct added *a = a_arg, *b = b_arg;
  struct bound bound;

  if (a->head != b->head)
    return a->head < b->head ? -1 : 1;
  bound = bound_of(b->node);
  return a->node == b->node ? 0 : is_less(a->node, &bound) ? -1 : 1;
}

void bz_delta_settle(struct bz_delta *delta)
{
  struct finger finger = at_begin(delta);

  if (delta->added_count > 1)
    qsort(delta->added, delta->added_count, sizeof *delta->added, compare_added);
  for (size_t i = 0; i < delta->added_count; i++)
    link_next(&finger, delta->added[i].node);
  delta->added_count = 0;
}

/* ---- reading ----------------------------------------------------------------------------- */

static const struct bz_delta_node *next_of(const struct bz_delta *delta,
                                           const struct bz_delta_node *node)
{
  return atomic_load_explicit(node != NULL ? &node->next[0] : &delta->first[0],
                              memory_order_acquire);
}

/* The first node that is not less than BOUND. What is linked just behind the last one that is less,
 * while this looks, may be less too.
 */
static const struct bz_delta_node *first_from(const struct bz_delta *delta,
                                              const struct bound *bound)
{
  const struct bz_delta_node *node = next_of(delta, last_less(delta, bound));

  while (node != NULL && is_less(node, bound))
    node = next_of(delta, node);
  return node;
}

/* The first node of NODE's entry, or behind it, that has not a higher number than the place's:
 * there may be many that have.
 */
static const struct bz_delta_node *skip_newer(const struct bz_delta_place *place,
                                              const struct bz_delta_node *node)
{
  struct bound bound = {.key = {key_of(node), node->key_len}, .number = place->number};

  return first_from(place->delta, &bound);
}

/* The newest version up to the place's number of the first entry from NODE on that has one. */
static bool arrive_forward(struct bz_delta_place *place, const struct bz_delta_node *node)
{
  while (node != NULL && node->number > place->number)
    node = skip_newer(place, node);
  place->at = node;
  return node != NULL;
}

static bool is_same_entry(const struct bz_delta_node *a, const struct bz_delta_node *b)
{
  return a->key_len == b->key_len && memcmp(key_of(a), key_of(b), a->key_len) == 0;
}

/* The same from NODE back. */
static bool arrive_backward(struct bz_delta_place *place, const struct bz_delta_node *node)
{
  while (node != NULL)
  {
    struct bound bound = {.key = {key_of(node), node->key_len}, .number = UINT64_MAX};
    const struct bz_delta_node *version = skip_newer(place, node);

    if (version != NULL && is_same_entry(version, node))
    {
      place->at = version;
      return true;
    }
    node = last_less(place->delta, &bound);
  }
  place->at = NULL;
  return false;
}

bool bz_delta_seek(struct bz_delta_place *place, struct blitz_slice key, enum blitz_seek where)
{
  struct bound bound = {.key = key,
                        .prefix = true,
                        .equal_less = where == BLITZ_SEEK_AFTER || where == BLITZ_SEEK_LAST};
  const struct bz_delta_node *last = last_less(place->delta, &bound);

  if (where == BLITZ_SEEK_FIRST || where == BLITZ_SEEK_AFTER)
    return arrive_forward(place, next_of(place->delta, last));
  return arrive_backward(place, last);
}

bool bz_delta_find(struct bz_delta_place *place, struct blitz_slice sort_key)
{
  /* The place before the first version that is looked at. */
  struct bound bound = {.key = sort_key, .number = place->number};
  const struct bz_delta_node *node = first_from(place->delta, &bound);

  place->at = node;
  return node != NULL && node->key_len == sort_key.len &&
         memcmp(key_of(node), sort_key.data, sort_key.len) == 0;
}

bool bz_delta_step(struct bz_delta_place *place, bool forward)
{
  const struct bz_delta_node *at = place->at, *next;
  struct bound bound = {.key = {key_of(at), at->key_len}, .number = UINT64_MAX};

  if (!forward)
    return arrive_backward(place, last_less(place->delta, &bound));
  next = next_of(place->delta, at);
  if (next != NULL && is_same_entry(at, next))
  {
    bound.equal_less = true;
    next = next_of(place->delta, last_less(place->delta, &bound));
  }
  return arrive_forward(place, next);
}

bool bz_delta_older(struct bz_delta_place *place)
{
  const struct bz_delta_node *next = next_of(place->delta, place->at);

  if (next == NULL || !is_same_entry(place->at, next))
    return false;
  place->at = next;
  return true;
}

struct bz_delta_version bz_delta_at(const struct bz_delta_place *place)
{
  const struct bz_delta_node *node = place->at;

  return (struct bz_delta_version){.sort_key = {key_of(node), node->key_len},
                                   .value = {key_of(node) + node->key_len, node->value_len},
                                   .number = node->number,
                                   .removed = node->removed};
}
