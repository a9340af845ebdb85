/* SPDX-License-Identifier: GPL-2.0-only
 *
 * counters.h: what blitz_counters_get() tells. Anyone counts, without a lock.
 */
#ifndef BZ_COUNTERS_H
#define BZ_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

extern struct bz_counters
{
  atomic_ullong commits, rollbacks, rows_inserted, rows_updated, rows_removed, read_retries,
      write_waits, bucket_splits, rows_moved, bytes_allocated, recoveries, index_rebuilds,
      index_merges, index_lookups, index_misses, labels_moved, checkpoints, checkpoint_waits,
      pages_written, log_bytes_written, log_syncs;
} bz_counters;

static inline void bz_count(atomic_ullong *counter, uint64_t n)
{
  atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#endif /* BZ_COUNTERS_H */
