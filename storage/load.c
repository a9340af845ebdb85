/* SPDX-License-Identifier: GPL-2.0-only
 *
 * load.c: rows for an empty table go straight to their places, so that a load
 * needs neither memory nor a second look at each row.
 *
 * The rows carry the number of the commit that is to come. So readers and scans
 * do not see them, and recovery after a crash drops them, all by the rules there
 * are; `loading` tells readers not to wait for that commit. To undo a load is to
 * empty the table.
 */
#include "blitz_int.h"
#include "bytes.h"
#include "seqlock.h"

#include <string.h>

bool bz_load_possible(const struct blitz_table *table)
{
  return atomic_load(&table->row_count) == 0 && table->removed.first == table->removed.count;
}

void bz_load_begin(struct blitz_table *table)
{
  atomic_store_explicit(&table->loading, true, memory_order_release);
}

void bz_load_commit(struct blitz_table *table, uint64_t rows)
{
  uint64_t seq = atomic_load_explicit(&table->committed, memory_order_relaxed) + 1;

  bz_snapshot_publish(table, seq, rows);
  atomic_store_explicit(&table->loading, false, memory_order_release);
  bz_space_reclaim(table);
}

/* ---- rows ---------------------------------------------------------------- */

static void number_row(struct blitz_table *table, uint64_t off)
{
  uint8_t *base = bz_base(table);
  uint64_t seq = atomic_load_explicit(&table->committed, memory_order_relaxed) + 1;
  struct bz_row row;

  if (bz_row_parse(base, off, atomic_load_explicit(&table->end, memory_order_relaxed), &row))
    bz_row_set_seq(base, table->salt, &row, seq);
}

/* Frees the block of a row that nobody but the load has seen. */
static void free_row(struct blitz_table *table, uint64_t off, uint64_t len)
{
  bz_word_store(bz_base(table), off, bz_free_word(len, BZ_STATE_INFLIGHT));
  bz_space_free_later(table, off);
}

void bz_load_put(struct blitz_table *table, const struct bz_key *key, uint64_t link_off,
                 uint64_t off)
{
  number_row(table, off);
  bz_hash_link(table, key->hash, link_off, off);
}

void bz_load_replace(struct blitz_table *table, const struct bz_key *key,
                     const struct bz_place *old, uint64_t off)
{
  number_row(table, off);
  bz_hash_replace(table, key->hash, old, off);
  free_row(table, old->row.off, old->row.len);
}

enum blitz_rc bz_load_remove(struct blitz_table *table, const struct bz_key *key,
                             const struct bz_place *old)
{
  enum blitz_rc rc = bz_hash_unlink(table, key->hash, old);

  if (rc == BLITZ_OK)
    free_row(table, old->row.off, old->row.len);
  return rc;
}

/* ---- undoing ------------------------------------------------------------- */

static void clear_buckets(struct blitz_table *table)
{
  uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_relaxed);

  for (unsigned i = 0; i < BZ_STRIPES; i++)
    bz_stripe_begin(&table->stripes[i]);
  memset(bz_base(table) + BZ_HEADER_LEN, 0, count * BZ_BUCKET_LEN);
  for (unsigned i = 0; i < BZ_STRIPES; i++)
    bz_stripe_end(&table->stripes[i]);
}

/* Frees all rows one by one, for there are snapshots that walk over them. */
static void free_rows(struct blitz_table *table)
{
  uint64_t off = atomic_load_explicit(&table->first, memory_order_relaxed);

  while (off < atomic_load_explicit(&table->end, memory_order_relaxed))
  {
    uint64_t word = bz_word_load(bz_base(table), off), len;
    struct bz_row row;

    if (bz_word_magic(word) != BZ_ROW_MAGIC)
      len = bz_free_word_len(word);
    else if (bz_row_parse(bz_base(table), off, atomic_load(&table->end), &row))
    {
      len = row.len;
      bz_word_store(bz_base(table), off, bz_free_word(len, BZ_STATE_INFLIGHT));
      bz_space_free(table, off);
    }
    else
      return;
    off += len;
  }
}

void bz_load_rollback(struct blitz_table *table)
{
  bool alone;

  clear_buckets(table);
  pthread_mutex_lock(&table->snapshot_lock);
  alone = table->snapshots == NULL;
  if (alone)
  {
    bz_space_clear(table);
    bz_file_set_end(table, atomic_load_explicit(&table->first, memory_order_relaxed));
  }
  pthread_mutex_unlock(&table->snapshot_lock);
  if (!alone)
    free_rows(table);
  atomic_store_explicit(&table->loading, false, memory_order_release);
}
