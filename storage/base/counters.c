/* SPDX-License-Identifier: GPL-2.0-only
 *
 * counters.c: see counters.h.
 */
#include "base/counters.h"

#include "blitz.h"

struct bz_counters bz_counters;

void blitz_counters_get(struct blitz_counters *counters)
{
  counters->commits = atomic_load(&bz_counters.commits);
  counters->rollbacks = atomic_load(&bz_counters.rollbacks);
  counters->rows_inserted = atomic_load(&bz_counters.rows_inserted);
  counters->rows_updated = atomic_load(&bz_counters.rows_updated);
  counters->rows_removed = atomic_load(&bz_counters.rows_removed);
  counters->read_retries = atomic_load(&bz_counters.read_retries);
  counters->write_waits = atomic_load(&bz_counters.write_waits);
  counters->bucket_splits = atomic_load(&bz_counters.bucket_splits);
  counters->rows_moved = atomic_load(&bz_counters.rows_moved);
  counters->bytes_allocated = atomic_load(&bz_counters.bytes_allocated);
  counters->recoveries = atomic_load(&bz_counters.recoveries);
  counters->index_rebuilds = atomic_load(&bz_counters.index_rebuilds);
  counters->index_merges = atomic_load(&bz_counters.index_merges);
  counters->index_lookups = atomic_load(&bz_counters.index_lookups);
  counters->index_misses = atomic_load(&bz_counters.index_misses);
  counters->checkpoints = atomic_load(&bz_counters.checkpoints);
  counters->checkpoint_waits = atomic_load(&bz_counters.checkpoint_waits);
  counters->log_bytes_written = atomic_load(&bz_counters.log_bytes_written);
  counters->log_syncs = atomic_load(&bz_counters.log_syncs);
  counters->pages_written = atomic_load(&bz_counters.pages_written);
}
