/* SPDX-License-Identifier: GPL-2.0-only
 *
 * sample.c: some rows of a table, for estimates.
 *
 * The hash spreads rows over the buckets whatever their keys are, so those that hang
 * in some buckets are a fair sample. A walk of a bucket's tree races with the writer, and
 * gives keys to look up properly, or nothing.
 */
#include "read/cursor.h"

#include <string.h>

/* How many buckets are looked at for a row that is wanted: there may be few rows in many. */
#define BUCKETS_PER_ROW 128

/* Rows of a tree that are still to be looked at; those of a tree that is higher are left out. */
#define WAITING_MAX 32

struct sample
{
  struct blitz_cursor *cursor;
  blitz_sample_fn *visit;
  void *arg;
  uint64_t found;
};

/* The rows of one bucket that are to be looked at. */
struct waiting
{
  uint64_t offs[WAITING_MAX];
  unsigned count;
};

static void add_link(struct waiting *waiting, const uint8_t *base, uint64_t link_off)
{
  uint64_t off = bz_link(base, link_off);

  if (off != 0 && waiting->count < WAITING_MAX)
    waiting->offs[waiting->count++] = off;
}

/* Takes the next row of WAITING, puts those below it there, and copies its key to TO. False:
 * it is being changed.
 */
static bool guess_key(struct blitz_table *table, struct waiting *waiting, uint8_t *to,
                      struct bz_key *key)
{
  /* In the order in which hash_read.c reads them. */
  uint64_t end = atomic_load_explicit(&table->end, memory_order_acquire);
  const uint8_t *base = atomic_load_explicit(&table->map, memory_order_acquire)->base;
  uint64_t off = waiting->offs[--waiting->count];
  struct bz_row row;
  bool ok;

  BZ_RACY_READS_BEGIN();
  ok = bz_row_parse(base, off, end, &row) && row.key_len <= BZ_FILE_KEY_MAX;
  if (ok)
  {
    memcpy(to, row.key, row.key_len);
    *key = (struct bz_key){to, row.key_len, bz_hash(to, row.key_len)};
    add_link(waiting, base, off + BZ_ROW_LEFT_OFF);
    add_link(waiting, base, off + BZ_ROW_RIGHT_OFF);
  }
  BZ_RACY_READS_END();
  return ok;
}

/* All rows of a bucket: those that hang deeper have come later. */
static enum blitz_rc sample_bucket(struct sample *sample, uint64_t bucket_off,
                                   struct blitz_error *err)
{
  struct blitz_table *table = sample->cursor->table;
  struct waiting waiting = {.count = 0};

  BZ_RACY_READS_BEGIN();
  add_link(&waiting, atomic_load_explicit(&table->map, memory_order_acquire)->base, bucket_off);
  BZ_RACY_READS_END();
  while (waiting.count > 0)
  {
    uint8_t buf[BZ_FILE_KEY_MAX];
    struct bz_key key;
    struct bz_row row;
    enum blitz_rc rc;

    if (!guess_key(table, &waiting, buf, &key))
      continue;
    rc = bz_hash_read(table, &key, &sample->cursor->buf, &row);
    if (rc == BLITZ_NOMEM)
      return bz_fail(err, rc, 0, "out of memory reading %s", table->file);
    if (rc != BLITZ_OK)
      continue; /* it has gone, or is damaged, of which whoever reads the row will tell */
    sample->found++;
    sample->visit(sample->arg, bz_row_value(&row));
  }
  return BLITZ_OK;
}

enum blitz_rc blitz_sample(struct blitz_cursor *cursor, uint64_t max, blitz_sample_fn *visit,
                           void *arg, struct blitz_error *err)
{
  struct sample sample = {cursor, visit, arg, 0};
  uint64_t count = atomic_load_explicit(&cursor->table->bucket_count, memory_order_acquire);
  uint64_t tries = count < max * BUCKETS_PER_ROW ? count : max * BUCKETS_PER_ROW;
  enum blitz_rc rc = BLITZ_OK;

  cursor->row.off = 0;
  for (uint64_t i = 0; i < tries && sample.found < max && rc == BLITZ_OK; i++)
    rc = sample_bucket(&sample, bz_bucket_off(cursor->table, i * (count / tries)), err);
  return rc;
}
