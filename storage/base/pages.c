/* SPDX-License-Identifier: GPL-2.0-only
 *
 * pages.c: see pages.h.
 */
#include "base/pages.h"

#include "base/numbers.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define COPY_CHAINS 1024

/* What a wanted page held before it was changed again. */
struct copy
{
  uint64_t page;
  struct copy *next;
  uint8_t data[BZ_PAGE_LEN];
};

struct bz_page_set
{
  struct bz_numbers changed; /* the changing thread's; it may have grown too small */
  bool changed_lost;         /* there was no memory for it: the states tell instead */
  atomic_ullong changed_count;

  struct bz_numbers wanted; /* the taking thread's */
  size_t taken;

  pthread_mutex_t lock; /* of the copies */
  struct copy *chains[COPY_CHAINS];
};

/* ---- opening and closing ----------------------------------------------------------------- */

static void *reserve(uint64_t len, int fd)
{
  int flags = MAP_PRIVATE | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0);
  void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, fd, 0);

  return at == MAP_FAILED ? NULL : at;
}

enum blitz_rc bz_pages_open(struct bz_pages *pages, int fd, uint64_t reserved)
{
  reserved = (reserved + BZ_PAGE_LEN - 1) / BZ_PAGE_LEN * BZ_PAGE_LEN;
  *pages = (struct bz_pages){.reserved = reserved};
  pages->set = calloc(1, sizeof *pages->set);
  if (pages->set == NULL)
    return BLITZ_NOMEM;
  pthread_mutex_init(&pages->set->lock, NULL);
  pages->states = reserve(reserved / BZ_PAGE_LEN, -1);
  pages->base = reserve(reserved, fd);
  if (pages->states != NULL && pages->base != NULL)
    return BLITZ_OK;
  bz_pages_close(pages);
  return BLITZ_NOMEM;
}

void bz_pages_close(struct bz_pages *pages)
{
  struct bz_page_set *set = pages->set;

  if (pages->base != NULL)
    munmap(pages->base, pages->reserved);
  if (pages->states != NULL)
    munmap(pages->states, pages->reserved / BZ_PAGE_LEN);
  if (set != NULL)
  {
    for (unsigned i = 0; i < COPY_CHAINS; i++)
      while (set->chains[i] != NULL)
      {
        struct copy *copy = set->chains[i];
        set->chains[i] = copy->next;
        free(copy);
      }
    free(set->changed.items);
    free(set->wanted.items);
    pthread_mutex_destroy(&set->lock);
    free(set);
  }
  *pages = (struct bz_pages){0};
}

/* ---- changing ------------------------------------------------------------------------------ */

static void add_copy(struct bz_page_set *set, struct copy *copy)
{
  struct copy **chain = &set->chains[copy->page % COPY_CHAINS];

  pthread_mutex_lock(&set->lock);
  copy->next = *chain;
  *chain = copy;
  pthread_mutex_unlock(&set->lock);
}

/* Takes the copy of a page out; there is one. */
static struct copy *take_copy(struct bz_page_set *set, uint64_t page)
{
  struct copy **link = &set->chains[page % COPY_CHAINS], *copy;

  pthread_mutex_lock(&set->lock);
  while ((*link)->page != page)
    link = &(*link)->next;
  copy = *link;
  *link = copy->next;
  pthread_mutex_unlock(&set->lock);
  return copy;
}

/* Keeps what a wanted page holds (P2). False: it is not wanted any more, or there is no memory. */
static bool keep_page(struct bz_pages *pages, uint64_t page)
{
  struct copy *copy = malloc(sizeof *copy);
  unsigned char state = BZ_PAGE_WANTED;

  if (copy == NULL)
  {
    /* Soon it is taken. */
    sched_yield();
    return false;
  }
  if (!atomic_compare_exchange_strong(&pages->states[page], &state, BZ_PAGE_BUSY))
  {
    free(copy);
    return false;
  }
  copy->page = page;
  memcpy(copy->data, pages->base + page * BZ_PAGE_LEN, BZ_PAGE_LEN);
  add_copy(pages->set, copy);
  return true;
}

void bz_pages_note_page(struct bz_pages *pages, uint64_t page)
{
  struct bz_page_set *set = pages->set;
  bool done = false;

  assert(page < pages->reserved / BZ_PAGE_LEN);
  while (!done)
  {
    unsigned char state = atomic_load_explicit(&pages->states[page], memory_order_acquire);

    if (state == BZ_PAGE_CHANGED)
      return;
    if (state == BZ_PAGE_BUSY)
      sched_yield();
    else if (state == BZ_PAGE_WANTED)
    {
      done = keep_page(pages, page);
      if (done)
        atomic_store_explicit(&pages->states[page], BZ_PAGE_CHANGED, memory_order_release);
    }
    else
      done = atomic_compare_exchange_strong(&pages->states[page], &state, BZ_PAGE_CHANGED);
  }
  if (!bz_numbers_push(&set->changed, page))
    set->changed_lost = true;
  atomic_fetch_add_explicit(&set->changed_count, 1, memory_order_relaxed);
}

uint64_t bz_pages_changed(const struct bz_pages *pages)
{
  return atomic_load_explicit(&pages->set->changed_count, memory_order_relaxed);
}

/* ---- taking --------------------------------------------------------------------------------- */

/* Lists the changed pages anew. */
static bool list_changed(struct bz_pages *pages)
{
  struct bz_numbers *list = &pages->set->changed;

  list->count = 0;
  for (uint64_t page = 0; page < pages->reserved / BZ_PAGE_LEN; page++)
    if (atomic_load_explicit(&pages->states[page], memory_order_relaxed) == BZ_PAGE_CHANGED &&
        !bz_numbers_push(list, page))
      return false;
  pages->set->changed_lost = false;
  return true;
}

enum blitz_rc bz_pages_begin(struct bz_pages *pages)
{
  struct bz_page_set *set = pages->set;
  struct bz_numbers spare = set->wanted;

  assert(set->taken == set->wanted.count);
  if (set->changed_lost && !list_changed(pages))
    return BLITZ_NOMEM;
  set->wanted = set->changed;
  set->taken = 0;
  spare.count = 0;
  set->changed = spare;
  for (size_t i = 0; i < set->wanted.count; i++)
    atomic_store_explicit(&pages->states[set->wanted.items[i]], BZ_PAGE_WANTED,
                          memory_order_release);
  atomic_store_explicit(&set->changed_count, 0, memory_order_relaxed);
  return BLITZ_OK;
}

bool bz_pages_take(struct bz_pages *pages, uint64_t *page, uint8_t *to)
{
  struct bz_page_set *set = pages->set;
  unsigned char state = BZ_PAGE_WANTED;

  if (set->taken == set->wanted.count)
    return false;
  if (set->taken == 0)
    bz_numbers_sort(set->wanted.items, set->wanted.count);
  *page = set->wanted.items[set->taken++];
  if (atomic_compare_exchange_strong(&pages->states[*page], &state, BZ_PAGE_BUSY))
  {
    memcpy(to, pages->base + *page * BZ_PAGE_LEN, BZ_PAGE_LEN);
    atomic_store_explicit(&pages->states[*page], 0, memory_order_release);
    return true;
  }
  /* It has been changed since, or is just being copied for that. */
  while (atomic_load_explicit(&pages->states[*page], memory_order_acquire) == BZ_PAGE_BUSY)
    sched_yield();
  struct copy *copy = take_copy(set, *page);
  memcpy(to, copy->data, BZ_PAGE_LEN);
  free(copy);
  return true;
}

void bz_pages_drop(struct bz_pages *pages, uint64_t first, uint64_t count)
{
  for (uint64_t page = first; page < first + count; page++)
  {
    unsigned char state = 0;
    if (!atomic_compare_exchange_strong(&pages->states[page], &state, BZ_PAGE_BUSY))
      continue;
    (void)madvise(pages->base + page * BZ_PAGE_LEN, BZ_PAGE_LEN, MADV_DONTNEED);
    atomic_store_explicit(&pages->states[page], 0, memory_order_release);
  }
}
