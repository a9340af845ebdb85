/* SPDX-License-Identifier: GPL-2.0-only
 *
 * hash_read.c: look-ups by key beside the writer, without a lock and without
 * writing to shared memory.
 *
 * A look-up races with the writer on purpose. What it reads may be torn, so it
 * checks every offset and believes nothing before the stripe's version has shown
 * that no change came between (seqlock.h).
 */
#include "base/counters.h"
#include "rows/hash.h"
#include "rows/space.h"

#include <sched.h>
#include <stdlib.h>

#define SPINS_MAX 1000 /* then a waiting reader lets others run */

enum blitz_rc bz_buffer_reserve(struct bz_buffer *buf, size_t len)
{
  uint8_t *data;
  size_t room = buf->room * 2 > len ? buf->room * 2 : len;

  if (len <= buf->room)
    return BLITZ_OK;
  data = realloc(buf->data, room);
  if (data == NULL)
    return BLITZ_NOMEM;
  buf->data = data;
  buf->room = room;
  return BLITZ_OK;
}

/* The key, and the value behind it. */
enum blitz_rc bz_row_copy(struct bz_row *row, struct bz_buffer *buf)
{
  size_t len = row->key_len + (size_t)row->value_len;

  if (bz_buffer_reserve(buf, len) != BLITZ_OK)
    return BLITZ_NOMEM;
  memcpy(buf->data, row->key, len);
  row->key = buf->data;
  row->value = buf->data + row->key_len;
  return BLITZ_OK;
}

/* One look-up, of which nothing is to be believed before bz_stripe_valid(). */
static enum blitz_rc read_once(struct blitz_table *table, const struct bz_key *key,
                               struct bz_buffer *buf, struct bz_row *row)
{
  /* In this order: the writer publishes map, end and count in the opposite one, so
   * the map covers the end and the array.
   */
  uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_acquire);
  uint64_t end = atomic_load_explicit(&table->end, memory_order_acquire);
  const uint8_t *base = atomic_load_explicit(&table->map, memory_order_acquire)->base;
  uint64_t bucket = bz_bucket(key->hash.bucket, count);
  uint64_t link_off = bz_bucket_off(table, bucket);

  for (unsigned depth = 0; depth <= BZ_DEPTH_MAX; depth++)
  {
    uint64_t off = bz_link(base, link_off);
    enum bz_step step;

    if (off == 0)
      return BLITZ_NOT_FOUND;
    if (!bz_row_parse(base, off, end, row) || base[off] != BZ_ROW_MAGIC)
      return BLITZ_CORRUPT;
    step = bz_step(key, row, base[off + BZ_ROW_HASH_OFF]);
    if (step == BZ_STEP_FOUND)
      return bz_row_copy(row, buf);
    if (!bz_row_belongs(row, base[off + BZ_ROW_HASH_OFF], count, bucket))
      return BLITZ_CORRUPT;
    link_off = off + (step == BZ_STEP_LEFT ? BZ_ROW_LEFT_OFF : BZ_ROW_RIGHT_OFF);
  }
  return BLITZ_CORRUPT;
}

/* Called in a loop that waits for a writer to have changed a tree: a microsecond at most. */
static void wait_a_little(unsigned *spins)
{
  bz_count(&bz_counters.read_retries, 1);
  if (++*spins >= SPINS_MAX)
    sched_yield();
#if defined(__x86_64__)
  else
    __builtin_ia32_pause();
#endif
}

/* What was committed when the look-up began, of a key that a commit under way may have
 * changed; *AGAINP: that commit has ended meanwhile. The old version is kept from before it
 * leaves its tree until after the commit (V3), so nobody waits for the end.
 */
static enum blitz_rc read_before(struct blitz_table *table, uint64_t committed,
                                 const struct bz_key *key, struct bz_buffer *buf,
                                 struct bz_row *row, bool *againp)
{
  enum blitz_rc rc = bz_removed_read(table, committed, key, buf, row);

  *againp = rc == BLITZ_NOT_FOUND &&
            atomic_load_explicit(&table->committed, memory_order_acquire) != committed;
  return rc;
}

enum blitz_rc bz_hash_read(struct blitz_table *table, const struct bz_key *key,
                           struct bz_buffer *buf, struct bz_row *row)
{
  struct bz_stripe *stripe = bz_stripe_of(table, key->hash);
  unsigned version, spins = 0;

  for (;; wait_a_little(&spins))
  {
    uint64_t committed = atomic_load_explicit(&table->committed, memory_order_acquire);
    bool again = false;
    enum blitz_rc rc;

    if (!bz_stripe_read(stripe, &version))
      continue;
    BZ_RACY_READS_BEGIN();
    rc = read_once(table, key, buf, row);
    BZ_RACY_READS_END();
    if (!bz_stripe_valid(stripe, version))
      continue;
    if (rc == BLITZ_OK && !bz_row_intact(table->salt, row))
      return BLITZ_CORRUPT;
    /* Written by a commit or a load under way, or removed by one. */
    if ((rc == BLITZ_OK && bz_row_seq(row) > committed) ||
        (rc == BLITZ_NOT_FOUND &&
         atomic_load_explicit(&table->unpublished, memory_order_acquire) > committed))
      rc = read_before(table, committed, key, buf, row, &again);
    if (again)
      continue;
    if (rc == BLITZ_NOT_FOUND && atomic_load_explicit(&table->damaged, memory_order_relaxed))
      return BLITZ_CORRUPT;
    return rc;
  }
}
