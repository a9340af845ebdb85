/* SPDX-License-Identifier: GPL-2.0-only
 *
 * prefetch.h: asking for memory before it is needed.
 */
#ifndef BZ_PREFETCH_H
#define BZ_PREFETCH_H

/* Asks for the line of the cache that has the address AT, which may be any. gcc takes a function
 * that does nothing but that for one without an effect, and leaves out its calls; the empty
 * statement keeps them.
 */
static inline void bz_prefetch(const void *at)
{
  __builtin_prefetch(at);
  __asm__ volatile("");
}

#endif /* BZ_PREFETCH_H */
