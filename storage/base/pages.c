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
#define CHUNK_PAGES 512 /* that are looked at together when memory is given back */

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
  atomic_ullong changed_count, private_count;
  bool writable; /* all pages are: P1 is not watched over */

  struct bz_numbers wanted; /* the taking thread's */
  bool sorted;              /* those that are still to be taken */
  size_t taken;             /* of these; before a begin, those that were written ahead */

  pthread_mutex_t map_lock; /* held to take a page or give it back, and to map the file anew */
  pthread_mutex_t lock;     /* of the copies */
  struct copy *chains[COPY_CHAINS];
};

static atomic_ullong all_changed, all_private;

static void count_pages(atomic_ullong *one, atomic_ullong *all, int64_t by)
{
  atomic_fetch_add_explicit(one, (uint64_t)by, memory_order_relaxed);
  atomic_fetch_add_explicit(all, (uint64_t)by, memory_order_relaxed);
}

static uint64_t page_count(const struct bz_pages *pages)
{
  return pages->reserved / BZ_PAGE_LEN;
}

static uint8_t *page_at(const struct bz_pages *pages, uint64_t page)
{
  return pages->base + page * BZ_PAGE_LEN;
}

/* ---- opening and closing ----------------------------------------------------------------- */

static void *reserve(uint64_t len, int fd, int protection)
{
  int flags = MAP_PRIVATE | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0);
  void *at = mmap(NULL, len, protection, flags, fd, 0);

  return at == MAP_FAILED ? NULL : at;
}

#ifdef NDEBUG
#define MAP_PROTECTION (PROT_READ | PROT_WRITE)
static void set_writable(struct bz_pages *pages, uint64_t page, bool writable)
{
  (void)pages;
  (void)page;
  (void)writable;
}
#else
/* P1. The kernel has so many pieces of a map and no more; then all is let go. */
#define MAP_PROTECTION PROT_READ
static void set_writable(struct bz_pages *pages, uint64_t page, bool writable)
{
  if (pages->set->writable ||
      mprotect(page_at(pages, page), BZ_PAGE_LEN, PROT_READ | (writable ? PROT_WRITE : 0)) == 0)
    return;
  pages->set->writable = mprotect(pages->base, pages->reserved, PROT_READ | PROT_WRITE) == 0;
}
#endif

enum blitz_rc bz_pages_open(struct bz_pages *pages, int fd, uint64_t reserved)
{
  reserved = (reserved + BZ_PAGE_LEN - 1) / BZ_PAGE_LEN * BZ_PAGE_LEN;
  *pages = (struct bz_pages){.reserved = reserved};
  pages->set = calloc(1, sizeof *pages->set);
  if (pages->set == NULL)
    return BLITZ_NOMEM;
  pthread_mutex_init(&pages->set->map_lock, NULL);
  pthread_mutex_init(&pages->set->lock, NULL);
  pages->states = reserve(page_count(pages), -1, PROT_READ | PROT_WRITE);
  pages->base = reserve(reserved, fd, MAP_PROTECTION);
  if (pages->states != NULL && pages->base != NULL)
    return BLITZ_OK;
  bz_pages_close(pages);
  return BLITZ_NOMEM;
}

static void free_copies(struct bz_page_set *set)
{
  for (unsigned i = 0; i < COPY_CHAINS; i++)
    while (set->chains[i] != NULL)
    {
      struct copy *copy = set->chains[i];
      set->chains[i] = copy->next;
      free(copy);
    }
}

void bz_pages_close(struct bz_pages *pages)
{
  struct bz_page_set *set = pages->set;

  if (pages->base != NULL)
    munmap(pages->base, pages->reserved);
  if (pages->states != NULL)
    munmap(pages->states, page_count(pages));
  if (set != NULL)
  {
    count_pages(&set->changed_count, &all_changed, -(int64_t)bz_pages_changed(pages));
    count_pages(&set->private_count, &all_private, -(int64_t)bz_pages_private(pages));
    free_copies(set);
    free(set->changed.items);
    free(set->wanted.items);
    pthread_mutex_destroy(&set->map_lock);
    pthread_mutex_destroy(&set->lock);
    free(set);
  }
  *pages = (struct bz_pages){0};
}

enum blitz_rc bz_pages_extend(struct bz_pages *pages, int fd, uint64_t reserved)
{
  struct bz_pages old = *pages, new = {.reserved = reserved, .set = pages->set};

  assert(reserved % BZ_PAGE_LEN == 0 && reserved > old.reserved);
  new.states = reserve(page_count(&new), -1, PROT_READ | PROT_WRITE);
  new.base = reserve(reserved, fd, MAP_PROTECTION);
  if (new.states == NULL || new.base == NULL)
  {
    if (new.states != NULL)
      munmap(new.states, page_count(&new));
    if (new.base != NULL)
      munmap(new.base, reserved);
    return BLITZ_NOMEM;
  }
  pthread_mutex_lock(&old.set->map_lock);
  new.set->writable = false;
  for (uint64_t page = 0; page < page_count(&old); page++)
  {
    unsigned char state = atomic_load_explicit(&old.states[page], memory_order_relaxed);

    assert(state != BZ_PAGE_BUSY); /* that is so under map_lock alone */
    if (state == BZ_PAGE_CLEAN)
      continue;
    set_writable(&new, page, true);
    memcpy(page_at(&new, page), page_at(&old, page), BZ_PAGE_LEN);
    set_writable(&new, page, state == BZ_PAGE_CHANGED);
    atomic_store_explicit(&new.states[page], state, memory_order_relaxed);
  }
  /* Not the set: the taking thread reads that without a lock. */
  pages->base = new.base;
  pages->states = new.states;
  pages->reserved = new.reserved;
  munmap(old.states, page_count(&old));
  pthread_mutex_unlock(&old.set->map_lock);
  return BLITZ_OK;
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

static bool change_state(struct bz_pages *pages, uint64_t page, enum bz_page_state from,
                         enum bz_page_state to)
{
  unsigned char state = (unsigned char)from;

  return atomic_compare_exchange_strong(&pages->states[page], &state, (unsigned char)to);
}

/* Keeps what a wanted page holds (P2). False: it is not wanted any more, or there is no memory. */
static bool keep_page(struct bz_pages *pages, uint64_t page)
{
  struct copy *copy = malloc(sizeof *copy);

  if (copy == NULL)
  {
    /* Soon it is taken. */
    sched_yield();
    return false;
  }
  if (!change_state(pages, page, BZ_PAGE_WANTED, BZ_PAGE_BUSY))
  {
    free(copy);
    return false;
  }
  copy->page = page;
  memcpy(copy->data, page_at(pages, page), BZ_PAGE_LEN);
  add_copy(pages->set, copy);
  atomic_store_explicit(&pages->states[page], BZ_PAGE_CHANGED, memory_order_release);
  return true;
}

/* Makes a page, which is of that state, a changed one. False: it is not of that state. */
static bool make_changed(struct bz_pages *pages, uint64_t page, enum bz_page_state state)
{
  switch (state)
  {
  case BZ_PAGE_CLEAN:
    if (!change_state(pages, page, state, BZ_PAGE_CHANGED))
      return false;
    count_pages(&pages->set->private_count, &all_private, 1);
    return true;
  case BZ_PAGE_KEPT:
  case BZ_PAGE_TAKEN: return change_state(pages, page, state, BZ_PAGE_CHANGED);
  case BZ_PAGE_WANTED: return keep_page(pages, page);
  case BZ_PAGE_BUSY: sched_yield(); return false;
  case BZ_PAGE_CHANGED: break;
  }
  return false;
}

static void add_changed(struct bz_page_set *set, uint64_t page)
{
  if (!bz_numbers_push(&set->changed, page))
    set->changed_lost = true;
  count_pages(&set->changed_count, &all_changed, 1);
}

void bz_pages_note_page(struct bz_pages *pages, uint64_t page)
{
  enum bz_page_state state;

  assert(page < page_count(pages));
  do
  {
    state = atomic_load_explicit(&pages->states[page], memory_order_acquire);
    if (state == BZ_PAGE_CHANGED)
      return;
  } while (!make_changed(pages, page, state));
  set_writable(pages, page, true);
  add_changed(pages->set, page);
}

uint64_t bz_pages_changed(const struct bz_pages *pages)
{
  return atomic_load_explicit(&pages->set->changed_count, memory_order_relaxed);
}

uint64_t bz_pages_private(const struct bz_pages *pages)
{
  return atomic_load_explicit(&pages->set->private_count, memory_order_relaxed);
}

uint64_t bz_pages_all_changed(void)
{
  return atomic_load_explicit(&all_changed, memory_order_relaxed);
}

uint64_t bz_pages_all_private(void)
{
  return atomic_load_explicit(&all_private, memory_order_relaxed);
}

/* ---- taking --------------------------------------------------------------------------------- */

/* Lists the changed pages anew. */
static bool list_changed(struct bz_pages *pages)
{
  struct bz_numbers *list = &pages->set->changed;

  list->count = 0;
  for (uint64_t page = 0; page < page_count(pages); page++)
    if (atomic_load_explicit(&pages->states[page], memory_order_relaxed) == BZ_PAGE_CHANGED &&
        !bz_numbers_push(list, page))
      return false;
  pages->set->changed_lost = false;
  return true;
}

/* How many pages of the list, from the one at I on, are one behind the other; MOST at most. */
static size_t run_len(const struct bz_numbers *list, size_t i, uint64_t most)
{
  size_t len = 1;

  while (i + len < list->count && len < most && list->items[i + len] == list->items[i] + len)
    len++;
  return len;
}

static bool take_run(struct bz_pages *pages, uint64_t page, size_t len, bz_pages_write_fn *write,
                     void *arg)
{
  struct bz_page_set *set = pages->set;
  bool ok = true;

  for (size_t i = 0; i < len && ok; i++)
    ok = bz_numbers_push(&set->wanted, page + i);
  if (!ok || !write(arg, page, len, page_at(pages, page)))
  {
    set->wanted.count = set->taken;
    return false;
  }
  for (size_t i = 0; i < len; i++)
  {
    set_writable(pages, page + i, false);
    atomic_store_explicit(&pages->states[page + i], BZ_PAGE_TAKEN, memory_order_release);
  }
  set->taken = set->wanted.count;
  return true;
}

void bz_pages_write_ahead(struct bz_pages *pages, uint64_t from, uint64_t most,
                          bz_pages_write_fn *write, void *arg)
{
  struct bz_page_set *set = pages->set;
  struct bz_numbers *changed = &set->changed;
  size_t first = 0, end, len;

  assert(set->wanted.count == set->taken);
  if (set->changed_lost && !list_changed(pages))
    return;
  bz_numbers_sort(changed->items, changed->count);
  while (first < changed->count && changed->items[first] < from)
    first++;
  for (end = first; end < changed->count; end += len)
  {
    len = run_len(changed, end, most);
    if (!take_run(pages, changed->items[end], len, write, arg))
      break;
  }
  if (end == first)
    return;
  memmove(changed->items + first, changed->items + end,
          (changed->count - end) * sizeof *changed->items);
  changed->count -= end - first;
  count_pages(&set->changed_count, &all_changed, -(int64_t)(end - first));
}

bool bz_pages_are_ahead(const struct bz_pages *pages)
{
  return pages->set->taken > 0;
}

/* Makes the changed pages the wanted ones, behind those that were taken already. */
static bool want_changed(struct bz_page_set *set)
{
  size_t ahead = set->wanted.count;

  if (ahead == 0)
  {
    struct bz_numbers spare = set->wanted;
    set->wanted = set->changed;
    set->changed = spare;
    return true;
  }
  for (size_t i = 0; i < set->changed.count; i++)
    if (!bz_numbers_push(&set->wanted, set->changed.items[i]))
    {
      set->wanted.count = ahead;
      return false;
    }
  set->changed.count = 0;
  return true;
}

enum blitz_rc bz_pages_begin(struct bz_pages *pages, uint64_t *countp)
{
  struct bz_page_set *set = pages->set;

  *countp = 0;
  assert(set->wanted.count == set->taken);
  if ((set->changed_lost && !list_changed(pages)) || !want_changed(set))
    return BLITZ_NOMEM;
  for (size_t i = set->taken; i < set->wanted.count; i++)
  {
    set_writable(pages, set->wanted.items[i], false);
    atomic_store_explicit(&pages->states[set->wanted.items[i]], BZ_PAGE_WANTED,
                          memory_order_release);
  }
  count_pages(&set->changed_count, &all_changed, -(int64_t)bz_pages_changed(pages));
  *countp = set->wanted.count - set->taken;
  set->sorted = false;
  return BLITZ_OK;
}

bool bz_pages_take(struct bz_pages *pages, uint64_t *page, uint8_t *to)
{
  struct bz_page_set *set = pages->set;
  bool is_there;

  if (set->taken == set->wanted.count)
    return false;
  if (!set->sorted)
    bz_numbers_sort(set->wanted.items + set->taken, set->wanted.count - set->taken);
  set->sorted = true;
  *page = set->wanted.items[set->taken++];
  pthread_mutex_lock(&set->map_lock);
  is_there = change_state(pages, *page, BZ_PAGE_WANTED, BZ_PAGE_BUSY);
  if (is_there)
  {
    memcpy(to, page_at(pages, *page), BZ_PAGE_LEN);
    atomic_store_explicit(&pages->states[*page], BZ_PAGE_TAKEN, memory_order_release);
  }
  else
    /* It has been changed since, or is just being copied for that. */
    while (atomic_load_explicit(&pages->states[*page], memory_order_acquire) == BZ_PAGE_BUSY)
      sched_yield();
  pthread_mutex_unlock(&set->map_lock);
  if (!is_there)
  {
    struct copy *copy = take_copy(set, *page);
    memcpy(to, copy->data, BZ_PAGE_LEN);
    free(copy);
  }
  return true;
}

void bz_pages_placed(struct bz_pages *pages)
{
  struct bz_page_set *set = pages->set;

  assert(set->taken == set->wanted.count);
  pthread_mutex_lock(&set->map_lock);
  for (size_t i = 0; i < set->wanted.count; i++)
    (void)change_state(pages, set->wanted.items[i], BZ_PAGE_TAKEN, BZ_PAGE_KEPT);
  pthread_mutex_unlock(&set->map_lock);
  set->wanted.count = set->taken = 0;
}

void bz_pages_failed(struct bz_pages *pages)
{
  struct bz_page_set *set = pages->set;

  for (size_t i = 0; i < set->wanted.count; i++)
  {
    uint64_t page = set->wanted.items[i];
    if (!change_state(pages, page, BZ_PAGE_TAKEN, BZ_PAGE_CHANGED) &&
        !change_state(pages, page, BZ_PAGE_WANTED, BZ_PAGE_CHANGED))
      continue; /* it has been changed since */
    set_writable(pages, page, true);
    add_changed(set, page);
  }
  free_copies(set);
  set->wanted.count = set->taken = 0;
}

/* ---- giving back ------------------------------------------------------------------- */

/* Gives back the memory of the busy pages from FIRST on. */
static void drop_run(struct bz_pages *pages, uint64_t first, uint64_t count)
{
  (void)madvise(page_at(pages, first), count * BZ_PAGE_LEN, MADV_DONTNEED);
  for (uint64_t page = first; page < first + count; page++)
    atomic_store_explicit(&pages->states[page], BZ_PAGE_CLEAN, memory_order_release);
  count_pages(&pages->set->private_count, &all_private, -(int64_t)count);
}

static void drop_chunk(struct bz_pages *pages, uint64_t first)
{
  uint64_t end = first + CHUNK_PAGES < page_count(pages) ? first + CHUNK_PAGES : page_count(pages);

  for (uint64_t page = first, run; page < end; page += run + 1)
  {
    for (run = 0; page + run < end && change_state(pages, page + run, BZ_PAGE_KEPT, BZ_PAGE_BUSY);
         run++)
      ;
    if (run > 0)
      drop_run(pages, page, run);
  }
}

void bz_pages_drop(struct bz_pages *pages)
{
  bool more = true;

  for (uint64_t first = 0; more; first += CHUNK_PAGES)
  {
    pthread_mutex_lock(&pages->set->map_lock);
    more = first < page_count(pages) && bz_pages_private(pages) > 0;
    if (more)
      drop_chunk(pages, first);
    pthread_mutex_unlock(&pages->set->map_lock);
  }
}
