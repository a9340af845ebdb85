/* SPDX-License-Identifier: GPL-2.0-only
 *
 * load.c: rows for an empty table go straight to their places, so that a load
 * needs neither memory for each row nor a second look at it.
 *
 * The rows carry the number of the commit that is to come. So readers and scans
 * do not see them, and recovery after a crash drops them, all by the rules there
 * are. To undo a load is to empty the table.
 *
 * Rows that come in ascending order of their keys, as most do, cannot be there
 * already. They are hung into their trees a queue at a time, so that the memory of
 * all their buckets is fetched at once instead of one after the other. Whoever
 * looks at the trees empties the queue first (bz_load_flush()).
 */
#include "log/current.h"
#include "txn/load.h"
#include "txn/writes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_LEN 32

struct queued
{
  uint64_t off; /* of a block BZ_STATE_INFLIGHT */
  struct bz_hash hash;
};

struct bz_load
{
  struct queued queue[QUEUE_LEN];
  unsigned count;
  size_t key_max_len; /* the highest file key so far, by memcmp() and length */
  uint8_t key_max[BZ_FILE_KEY_MAX];
};

/* The number of the commit to come. */
static uint64_t load_seq(const struct blitz_table *table)
{
  return atomic_load_explicit(&table->committed, memory_order_relaxed) + 1;
}

bool bz_load_possible(const struct blitz_table *table)
{
  return atomic_load(&table->row_count) == 0 && table->removed.count == 0;
}

struct bz_load *bz_load_begin(void)
{
  struct bz_load *load = malloc(sizeof *load);

  if (load == NULL)
    return NULL;
  load->count = 0;
  load->key_max_len = 0;
  return load;
}

void bz_load_end(struct bz_load *load)
{
  assert(load->count == 0);
  free(load);
}

/* A load of more than that goes into the file at once, and not into the log before. */
#define LOGGED_LOAD_MAX (UINT64_C(64) << 20)

bool bz_load_is_large(const struct bz_writes *writes)
{
  const struct blitz_table *table = writes->table;

  return writes->load != NULL && table->logged && bz_current_log() != NULL &&
         atomic_load(&table->end) - atomic_load(&table->first) > LOGGED_LOAD_MAX;
}

/* ---- rows ---------------------------------------------------------------- */

static void seal_row(struct blitz_table *table, uint64_t off)
{
  const uint8_t *base = bz_base(table);
  struct bz_row row;

  if (bz_row_parse(base, off, atomic_load_explicit(&table->end, memory_order_relaxed), &row))
    bz_seal(table, &row, load_seq(table));
}

/* Frees the block of a row that nobody but the load has seen. */
static void free_row(struct blitz_table *table, uint64_t off, uint64_t len)
{
  bz_put_word(table, off, bz_free_word(len, BZ_STATE_INFLIGHT));
  bz_space_free_later(table, off);
}

bool bz_load_is_new(struct bz_load *load, const struct bz_key *key)
{
  size_t len = key->len < load->key_max_len ? key->len : load->key_max_len;
  int order = memcmp(key->data, load->key_max, len);

  if (order < 0 || (order == 0 && key->len <= load->key_max_len))
    return false;
  memcpy(load->key_max, key->data, key->len);
  load->key_max_len = key->len;
  return true;
}

void bz_load_append(struct blitz_table *table, struct bz_load *load, const struct bz_key *key,
                    uint64_t off)
{
  uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_relaxed);

  bz_prefetch(bz_base(table) + bz_bucket_off_of(table, key->hash.bucket, count));
  assert(load->count < QUEUE_LEN);
  load->queue[load->count++] = (struct queued){off, key->hash};
  if (load->count == QUEUE_LEN)
    bz_load_flush(table, load);
}

void bz_load_flush(struct blitz_table *table, struct bz_load *load)
{
  uint8_t *base = bz_base(table);
  uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_relaxed);
  uint64_t end = atomic_load_explicit(&table->end, memory_order_relaxed);

  for (unsigned i = 0; i < load->count; i++)
    bz_prefetch_row(base,
                    bz_link(base, bz_bucket_off_of(table, load->queue[i].hash.bucket, count)));
  for (unsigned i = 0; i < load->count; i++)
  {
    struct bz_row row;
    struct bz_place place;
    struct bz_key key = {.hash = load->queue[i].hash};

    if (!bz_row_parse(base, load->queue[i].off, end, &row))
      continue;
    bz_seal(table, &row, load_seq(table));
    key.data = row.key;
    key.len = row.key_len;
    if (bz_hash_find(table, &key, &place) == BLITZ_NOT_FOUND)
      bz_hash_link(table, &key, &place, row.off);
    else
      bz_set_broken(table);
  }
  load->count = 0;
}

void bz_load_put(struct blitz_table *table, const struct bz_key *key, struct bz_place *place,
                 uint64_t off)
{
  seal_row(table, off);
  bz_hash_link(table, key, place, off);
}

void bz_load_replace(struct blitz_table *table, const struct bz_key *key,
                     const struct bz_place *old, uint64_t off)
{
  seal_row(table, off);
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
  bz_buckets_clear(table, count);
  for (unsigned i = 0; i < BZ_STRIPES; i++)
    bz_stripe_end(&table->stripes[i]);
}

/* Makes blocks of all rows that nobody takes for rows again: their number will be another
 * commit's. Snapshots may walk over them.
 */
static void hide_rows(struct blitz_table *table)
{
  uint8_t *base = bz_base(table);
  uint64_t off = atomic_load_explicit(&table->first, memory_order_relaxed);
  uint64_t end = atomic_load_explicit(&table->end, memory_order_relaxed);

  while (off < end)
  {
    uint64_t word = bz_word_load(base, off);
    struct bz_row row;

    if (bz_word_magic(word) == BZ_ROW_MAGIC)
    {
      if (!bz_row_parse(base, off, end, &row))
        return;
      word = bz_free_word(row.len, BZ_STATE_INFLIGHT);
      bz_put_word(table, off, word);
      bz_put_byte(table, off + BZ_ROW_SIZES_OFF, 0);
    }
    if (bz_word_magic(word) != BZ_FREE_MAGIC || bz_free_word_len(word) == 0)
      return;
    off += bz_free_word_len(word);
  }
}

/* Frees these blocks. */
static void free_rows(struct blitz_table *table)
{
  uint64_t off = atomic_load_explicit(&table->first, memory_order_relaxed);

  while (off < atomic_load_explicit(&table->end, memory_order_relaxed))
  {
    uint64_t word = bz_word_load(bz_base(table), off);

    if (bz_word_magic(word) != BZ_FREE_MAGIC || bz_free_word_len(word) == 0)
      return;
    off = bz_free_word_state(word) == BZ_STATE_INFLIGHT ? bz_space_free(table, off)
                                                        : off + bz_free_word_len(word);
  }
}

void bz_load_rollback(struct blitz_table *table, struct bz_load *load)
{
  assert(atomic_load(&table->row_count) == 0);
  bz_load_flush(table, load);
  free(load);
  clear_buckets(table);
  hide_rows(table);
  bz_reuse_begin(table);
  free_rows(table);
  bz_reuse_end(table);
}
