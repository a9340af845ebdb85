/* SPDX-License-Identifier: GPL-2.0-only
 *
 * pages.h: a file in memory, of which pages change there alone until they are taken to be
 * written. The map is private: the kernel writes nothing by itself, so what the file holds is
 * what was written to it, when it was.
 *
 * One thread at a time changes pages, under a lock of the caller's, and says so before each
 * store (bz_pages_note()). Another one takes the pages that have changed, as they all were at
 * one moment, while the first goes on; and says when they are in the file. Who only reads needs
 * to say nothing.
 *
 * Invariants:
 *  P1. A page is stored into only after it was noted since the last bz_pages_begin(). While
 *      assertions are on, the others cannot be stored into.
 *  P2. What is taken of a page is what it held when bz_pages_begin() was called: whoever is
 *      about to change a page that was not taken yet keeps a copy of it first.
 *  P3. A page whose memory is given back (bz_pages_drop()) holds what the file does.
 */
#ifndef BZ_PAGES_H
#define BZ_PAGES_H

#include "blitz.h"

#include <stdatomic.h>

#define BZ_PAGE_LEN ((uint64_t)4096)

/* What the memory of a page is. */
enum bz_page_state
{
  BZ_PAGE_CLEAN = 0,   /* the file's */
  BZ_PAGE_KEPT = 1,    /* its own, and holds what the file does */
  BZ_PAGE_CHANGED = 2, /* its own; changed since the last bz_pages_begin() */
  BZ_PAGE_WANTED = 3,  /* its own; it is to be taken */
  BZ_PAGE_TAKEN = 4,   /* its own; it was taken, and is not in the file yet */
  BZ_PAGE_BUSY = 5,    /* somebody copies it or gives it back, for a moment */
};

struct bz_pages
{
  uint8_t *base;
  uint64_t reserved;    /* bytes of addresses at base */
  atomic_uchar *states; /* of each page of these */
  struct bz_page_set *set;
};

/* Maps the file FD, which stays the caller's, with RESERVED bytes of addresses, at least its
 * length. Bytes beyond the file's end may not be touched. BLITZ_NOMEM.
 */
enum blitz_rc bz_pages_open(struct bz_pages *pages, int fd, uint64_t reserved) BLITZ_MUST_CHECK;
void bz_pages_close(struct bz_pages *pages);

/* Maps it anew, with RESERVED bytes of addresses, more than before. Readers may go on in the
 * memory at the old base, which does not change any more; it is the caller's to unmap. For the
 * thread that changes pages. BLITZ_NOMEM: nothing has changed.
 */
enum blitz_rc bz_pages_extend(struct bz_pages *pages, int fd, uint64_t reserved) BLITZ_MUST_CHECK;

/* Slow part of bz_pages_note(). */
void bz_pages_note_page(struct bz_pages *pages, uint64_t page);

/* Must come before the LEN bytes at OFF, at least one, are stored into. For the thread that
 * changes pages. It may wait for a copy of a page, if there is no memory for one.
 */
static inline void bz_pages_note(struct bz_pages *pages, uint64_t off, uint64_t len)
{
  for (uint64_t page = off / BZ_PAGE_LEN; page <= (off + len - 1) / BZ_PAGE_LEN; page++)
    if (atomic_load_explicit(&pages->states[page], memory_order_acquire) != BZ_PAGE_CHANGED)
      bz_pages_note_page(pages, page);
}

/* How many pages have changed since the last bz_pages_begin(), and how many have memory of their
 * own. Anyone may ask.
 */
uint64_t bz_pages_changed(const struct bz_pages *pages);
uint64_t bz_pages_private(const struct bz_pages *pages);

/* The same of all pages of the process. */
uint64_t bz_pages_all_changed(void);
uint64_t bz_pages_all_private(void);

/* Writes COUNT pages from PAGE on, which are at DATA. */
typedef bool bz_pages_write_fn(void *arg, uint64_t page, uint64_t count, const uint8_t *data);

/* Takes changed pages from FROM on before there is a moment, and lets WRITE write them, MOST at a
 * time: they are part of what is begun next, unless they change again. What WRITE says no to stays
 * a changed page. For the thread that changes pages, while none are taken.
 */
void bz_pages_write_ahead(struct bz_pages *pages, uint64_t from, uint64_t most,
                          bz_pages_write_fn *write, void *arg);
/* Were there any, since the last begin has ended? */
bool bz_pages_are_ahead(const struct bz_pages *pages);

/* The moment as of which pages are taken is now; *COUNTP is how many. Needs the lock under which
 * pages are changed; what was begun last has ended. BLITZ_NOMEM: nothing has changed.
 */
enum blitz_rc bz_pages_begin(struct bz_pages *pages, uint64_t *countp) BLITZ_MUST_CHECK;

/* Takes the next page, in ascending order: its number, and its bytes into TO. False: there is
 * none any more.
 */
bool bz_pages_take(struct bz_pages *pages, uint64_t *page, uint8_t *to);

/* Ends what was begun: all pages were taken, and are in the file; or they are not, and are
 * changed ones again, for which the lock under which pages are changed is needed.
 */
void bz_pages_placed(struct bz_pages *pages);
void bz_pages_failed(struct bz_pages *pages);

/* Gives back the memory of all pages that hold what the file does (P3). For the thread that
 * takes pages.
 */
void bz_pages_drop(struct bz_pages *pages);

#endif /* BZ_PAGES_H */
