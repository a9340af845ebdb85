/* SPDX-License-Identifier: GPL-2.0-only
 *
 * snapshot.c: what a scan sees: the rows of all commits up to its snapshot's
 * number and of none after.
 *
 * A scan reads beside the writer without a lock. It may, because a block's word 0
 * is stored last (F1), rows do not change (F3), blocks are only cut in two (F2),
 * and what a commit removes stays readable while an older snapshot is open. See
 * docs/LOCKING.md for the argument, case by case.
 */
#include "blitz_int.h"
#include "bytes.h"
#include "seqlock.h"

void bz_snapshot_take(struct blitz_table *table, struct bz_snapshot *snapshot)
{
  pthread_mutex_lock(&table->snapshot_lock);
  snapshot->seq = atomic_load_explicit(&table->committed, memory_order_acquire);
  snapshot->first = atomic_load_explicit(&table->first, memory_order_acquire);
  snapshot->end = atomic_load_explicit(&table->end, memory_order_acquire);
  snapshot->map = atomic_load_explicit(&table->map, memory_order_acquire);
  snapshot->row_count = atomic_load_explicit(&table->row_count, memory_order_relaxed);
  snapshot->prev = NULL;
  snapshot->next = table->snapshots;
  if (snapshot->next != NULL)
    snapshot->next->prev = snapshot;
  table->snapshots = snapshot;
  pthread_mutex_unlock(&table->snapshot_lock);
}

void bz_snapshot_publish(struct blitz_table *table, uint64_t seq, uint64_t row_count)
{
  uint8_t *base = bz_base(table);

  bz_store_be64(base + BZ_TC_ROW_COUNT_OFF, row_count);
  /* All that the commit did is in the file before its number is. */
  bz_word_store(base, BZ_COMMITTED_OFF, htole64(seq));
  pthread_mutex_lock(&table->snapshot_lock);
  atomic_store_explicit(&table->row_count, row_count, memory_order_release);
  atomic_store_explicit(&table->committed, seq, memory_order_release);
  pthread_mutex_unlock(&table->snapshot_lock);
}

void bz_snapshot_end(struct blitz_table *table, struct bz_snapshot *snapshot)
{
  pthread_mutex_lock(&table->snapshot_lock);
  if (snapshot->prev != NULL)
    snapshot->prev->next = snapshot->next;
  else
    table->snapshots = snapshot->next;
  if (snapshot->next != NULL)
    snapshot->next->prev = snapshot->prev;
  pthread_mutex_unlock(&table->snapshot_lock);
}

uint64_t bz_snapshot_oldest(const struct blitz_table *table)
{
  uint64_t oldest = UINT64_MAX;

  for (const struct bz_snapshot *s = table->snapshots; s != NULL; s = s->next)
    if (s->seq < oldest)
      oldest = s->seq;
  return oldest;
}

/* A row is damaged, or the snapshot sees it or not. */
static enum blitz_rc judge_row(const struct blitz_table *table,
                               const struct bz_snapshot *snapshot, const struct bz_row *row)
{
  if (!bz_row_intact(table->salt, row))
    return BLITZ_CORRUPT;
  return bz_row_seq(row) <= snapshot->seq ? BLITZ_OK : BLITZ_NOT_FOUND;
}

static enum blitz_rc judge_block(const struct blitz_table *table,
                                 const struct bz_snapshot *snapshot, uint64_t off,
                                 struct bz_row *row)
{
  const uint8_t *base = snapshot->map->base;
  uint64_t word = bz_word_load(base, off);
  uint64_t free_len;

  if (bz_word_magic(word) == BZ_ROW_MAGIC)
  {
    if (!bz_row_parse(base, off, snapshot->end, row))
      return BLITZ_CORRUPT;
    return judge_row(table, snapshot, row);
  }
  free_len = bz_free_word_len(word);
  if (bz_word_magic(word) != BZ_FREE_MAGIC || free_len == 0 || free_len % BZ_ALIGN != 0 ||
      free_len > snapshot->end - off)
    return BLITZ_CORRUPT;
  row->off = off;
  row->len = free_len;
  if (bz_free_word_state(word) != BZ_STATE_REMOVED ||
      le64toh(bz_word_load(base, off + 8)) <= snapshot->seq)
    return BLITZ_NOT_FOUND;
  if (!bz_row_parse(base, off, snapshot->end, row) || row->len != free_len)
    return BLITZ_CORRUPT;
  return judge_row(table, snapshot, row);
}

enum blitz_rc bz_snapshot_block(const struct blitz_table *table,
                                const struct bz_snapshot *snapshot, uint64_t off,
                                struct bz_row *row)
{
  enum blitz_rc rc;

  /* A link that is being set shares word 0, but not the byte that is looked at. */
  BZ_RACY_READS_BEGIN();
  rc = judge_block(table, snapshot, off, row);
  BZ_RACY_READS_END();
  return rc;
}
