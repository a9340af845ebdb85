/* SPDX-License-Identifier: GPL-2.0-only
 *
 * seqlock.h: sequence locks. A reader notes the version, reads what it likes,
 * bounds-checked, and believes it only if the version is the same afterwards.
 * The writer makes the version odd before a change and even after it. There is
 * one writer at a time (the table's writer slot), so it needs no lock.
 */
#ifndef BZ_SEQLOCK_H
#define BZ_SEQLOCK_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Between these, reads that race with the writer are meant to. Only ThreadSanitizer
 * wants to know.
 */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BZ_THREAD_SANITIZER 1
#endif
#endif
#if defined(BZ_THREAD_SANITIZER) || defined(__SANITIZE_THREAD__)
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateHappensBefore(const char *file, int line, const volatile void *address);
void AnnotateHappensAfter(const char *file, int line, const volatile void *address);
#define BZ_RACY_READS_BEGIN() AnnotateIgnoreReadsBegin(__FILE__, __LINE__)
#define BZ_RACY_READS_END() AnnotateIgnoreReadsEnd(__FILE__, __LINE__)
#define BZ_HAPPENS_BEFORE(address) AnnotateHappensBefore(__FILE__, __LINE__, address)
#define BZ_HAPPENS_AFTER(address) AnnotateHappensAfter(__FILE__, __LINE__, address)
#else
#define BZ_RACY_READS_BEGIN() ((void)0)
#define BZ_RACY_READS_END() ((void)0)
#define BZ_HAPPENS_BEFORE(address) ((void)0)
#define BZ_HAPPENS_AFTER(address) ((void)0)
#endif

/* Odd while a writer changes the buckets of its stripe. */
struct bz_stripe
{
  _Alignas(64) atomic_uint version;
};

static inline void bz_stripe_begin(struct bz_stripe *stripe)
{
  unsigned version = atomic_load_explicit(&stripe->version, memory_order_relaxed);

  assert((version & 1) == 0);
  atomic_store_explicit(&stripe->version, version + 1, memory_order_relaxed);
  atomic_thread_fence(memory_order_release);
}

static inline void bz_stripe_end(struct bz_stripe *stripe)
{
  unsigned version = atomic_load_explicit(&stripe->version, memory_order_relaxed);

  assert((version & 1) != 0);
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
