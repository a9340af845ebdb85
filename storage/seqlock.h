/* SPDX-License-Identifier: GPL-2.0-only
 *
 * seqlock.h: sequence locks. A reader notes the version, reads what it likes,
 * bounds-checked, and believes it only if the version is the same afterwards.
 * The writer makes the version odd before a change and even after it. There is
 * one writer at a time (the table's writer slot), so it needs no lock.
 */
#ifndef BZ_SEQLOCK_H
#define BZ_SEQLOCK_H

#include "blitz_int.h"

static inline void bz_stripe_begin(struct bz_stripe *stripe)
{
  unsigned version = atomic_load_explicit(&stripe->version, memory_order_relaxed);

  atomic_store_explicit(&stripe->version, version + 1, memory_order_relaxed);
  atomic_thread_fence(memory_order_release);
}

static inline void bz_stripe_end(struct bz_stripe *stripe)
{
  unsigned version = atomic_load_explicit(&stripe->version, memory_order_relaxed);

  atomic_store_explicit(&stripe->version, version + 1, memory_order_release);
}

/* False: a writer is at it, wait. */
static inline bool bz_stripe_read(struct bz_stripe *stripe, unsigned *version)
{
  *version = atomic_load_explicit(&stripe->version, memory_order_acquire);
  return (*version & 1) == 0;
}

/* True: what was read since bz_stripe_read() hangs together. */
static inline bool bz_stripe_valid(struct bz_stripe *stripe, unsigned version)
{
  atomic_thread_fence(memory_order_acquire);
  return atomic_load_explicit(&stripe->version, memory_order_relaxed) == version;
}

#endif /* BZ_SEQLOCK_H */
