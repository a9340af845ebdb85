/* SPDX-License-Identifier: GPL-2.0-only
 *
 * deltas.c: see deltas.h.
 */
#include "index/deltas.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct bz_deltas *bz_deltas_new(unsigned count, const uint64_t *ids)
{
  struct bz_deltas *deltas = calloc(1, sizeof *deltas);

  assert(count <= BLITZ_INDEXES_MAX);
  if (deltas == NULL)
    return NULL;
  deltas->refs = 1;
  deltas->count = count;
  if (count > 0)
    memcpy(deltas->ids, ids, count * sizeof *ids);
  return deltas;
}

static struct bz_delta *delta_of(const struct bz_deltas *deltas, unsigned index_no)
{
  return atomic_load_explicit(&deltas->of[index_no], memory_order_acquire);
}

void bz_deltas_free(struct bz_deltas *deltas)
{
  for (unsigned i = 0; i < deltas->count; i++)
    bz_delta_free(delta_of(deltas, i));
  free(deltas);
}

void bz_deltas_leave(struct bz_deltas *deltas)
{
  if (deltas != NULL && --deltas->refs == 0)
    bz_deltas_free(deltas);
}

struct bz_delta *bz_deltas_get(struct bz_deltas *deltas, unsigned index_no)
{
  struct bz_delta *delta = delta_of(deltas, index_no);

  if (delta == NULL)
  {
    delta = bz_delta_new();
    atomic_store_explicit(&deltas->of[index_no], delta, memory_order_release);
  }
  return delta;
}

unsigned bz_deltas_index(struct bz_deltas *deltas, uint64_t id)
{
  unsigned i = 0;

  while (i < deltas->count && deltas->ids[i] != id)
    i++;
  if (i == deltas->count && i < BLITZ_INDEXES_MAX)
    deltas->ids[deltas->count++] = id;
  return i;
}

bool bz_deltas_are_empty(const struct bz_deltas *deltas)
{
  for (unsigned i = 0; i < deltas->count; i++)
    if (delta_of(deltas, i) != NULL && !bz_delta_is_empty(delta_of(deltas, i)))
      return false;
  return true;
}

uint64_t bz_deltas_len(const struct bz_deltas *deltas)
{
  uint64_t len = 0;

  for (unsigned i = 0; i < deltas->count; i++)
    if (delta_of(deltas, i) != NULL)
      len += bz_delta_len(delta_of(deltas, i));
  return len;
}

void bz_deltas_reset(struct bz_deltas *deltas)
{
  for (unsigned i = 0; i < deltas->count; i++)
    if (delta_of(deltas, i) != NULL)
      bz_delta_reset(delta_of(deltas, i));
}

void bz_deltas_settle(struct bz_deltas *deltas)
{
  for (unsigned i = 0; i < deltas->count; i++)
    if (delta_of(deltas, i) != NULL)
      bz_delta_settle(delta_of(deltas, i));
}

enum blitz_rc bz_delta_copy(struct bz_delta *delta, const struct bz_delta *from, uint64_t number,
                            bz_delta_change_fn *change, void *arg, struct bz_delta_node **listp)
{
  struct bz_delta_node *last = NULL;
  struct bz_delta_place place;

  *listp = NULL;
  for (bool found = bz_delta_first(&place, from); found; found = bz_delta_step(&place, true))
  {
    struct bz_delta_version version = bz_delta_at(&place);
    struct bz_delta_node *node;

    version.number = number;
    node = bz_delta_make(delta, &version);
    if (node == NULL)
      return BLITZ_NOMEM;
    if (change != NULL && !version.removed)
      change(arg, &version, bz_delta_bytes(node) + version.sort_key.len);
    bz_delta_chain(last, node);
    if (last == NULL)
      *listp = node;
    last = node;
  }
  return BLITZ_OK;
}
