/* SPDX-License-Identifier: GPL-2.0-only
 *
 * held.h: whether this thread holds a mutex, for assertions.
 */
#ifndef BZ_HELD_H
#define BZ_HELD_H

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

/* Says true where the C library does not tell. */
static inline bool bz_holds(const pthread_mutex_t *mutex)
{
#ifdef __GLIBC__
  return mutex->__data.__owner == gettid();
#else
  (void)mutex;
  return true;
#endif
}

#endif /* BZ_HELD_H */
