/* SPDX-License-Identifier: GPL-2.0-only
 *
 * sample.c: some rows of a table, for estimates.
 *
 * The hash spreads rows over the buckets whatever their keys are, so those that hang
 * in some buckets are a fair sample. A look at a bucket races with the writer, and gives
 * a key to look up properly, or nothing.
 */
#include "bytes.h"
#include "cursor.h"
#include "seqlock.h"

#include <string.h>

/* How many buckets are looked at for a row that is wanted: there may be few rows in many. */
#define BUCKETS_PER_ROW 8

/* Copies the file's key of the row that a bucket begins with. False: there is none, or it
 * is being changed.
 */
static bool guess_key(struct blitz_table *table, uint64_t bucket, uint64_t count, uint8_t *to,
                      struct bz_key *key)
{
  /* In the order in which hash_read.c reads them. */
  uint64_t end = atomic_load_explicit(&table->end, memory_order_acquire);
  const uint8_t *base = atomic_load_explicit(&table->map, memory_order_acquire)->base;
  struct bz_row row;
  uint64_t off;
  bool ok;

  BZ_RACY_READS_BEGIN();
  off = bz_load_be64(base + bz_bucket_off(bucket, count)) << BZ_ALIGN_POWER;
  ok = off != 0 && bz_row_parse(base, off, end, &row) && row.key_len <= BZ_FILE_KEY_MAX;
  if (ok)
  {
    memcpy(to, row.key, row.key_len);
    *key = (struct bz_key){to, row.key_len, bz_hash(to, row.key_len)};
  }
  BZ_RACY_READS_END();
  return ok;
}

enum blitz_rc blitz_sample(struct blitz_cursor *cursor, uint64_t max, blitz_sample_fn *visit,
                           void *arg, struct blitz_error *err)
{
  struct blitz_table *table = cursor->table;
  uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_acquire);
  uint64_t tries = count < max * BUCKETS_PER_ROW ? count : max * BUCKETS_PER_ROW;
  uint64_t found = 0;

  cursor->row.off = 0;
  for (uint64_t i = 0; i < tries && found < max; i++)
  {
    uint8_t buf[BZ_FILE_KEY_MAX];
    struct bz_key key;
    struct bz_row row;
    enum blitz_rc rc;

    if (!guess_key(table, i * (count / tries), count, buf, &key))
      continue;
    rc = bz_hash_read(table, &key, &cursor->buf, &row);
    if (rc == BLITZ_NOMEM)
      return bz_fail(err, rc, 0, "out of memory reading %s", table->file);
    if (rc != BLITZ_OK)
      continue; /* it has gone, or is damaged, of which whoever reads the row will tell */
    found++;
    visit(arg, bz_row_value(&row));
  }
  return BLITZ_OK;
}
