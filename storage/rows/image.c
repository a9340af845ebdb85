/* SPDX-License-Identifier: GPL-2.0-only
 *
 * image.c: the file of a logged table as of one moment: what a checkpoint writes, and what an
 * open after a crash takes up. It has all commits up to its number whole, none beyond it, and
 * trees, buckets and blocks as they were between two changes. So only free space is not known:
 * blocks that say that they are free are found by and by (bz_space_walk()), and so is what a
 * transaction had written that was not committed, and what was removed. Images of a file are
 * numbered without a gap, the one of a closed file too.
 */
#include "rows/hash.h"
#include "rows/space.h"

#include <errno.h>
#include <unistd.h>

/* ---- taking up -------------------------------------------------------------------- */

/* How many buckets the segment at OFF has; 0: there is none. */
static uint64_t segment_count(const struct blitz_table *table, uint64_t off)
{
  uint64_t first = atomic_load(&table->first), end = atomic_load(&table->end), word, count;

  if (off % BZ_ALIGN != 0 || off < first || off >= end)
    return 0;
  word = bz_word_load(bz_base(table), off);
  if (bz_word_magic(word) != BZ_FREE_MAGIC || bz_free_word_state(word) != BZ_STATE_BUCKETS ||
      bz_free_word_len(word) <= BZ_SEGMENT_HEAD_LEN || bz_free_word_len(word) > end - off)
    return 0;
  count = (bz_free_word_len(word) - BZ_SEGMENT_HEAD_LEN) / BZ_BUCKET_LEN;
  return (count & (count - 1)) == 0 ? count : 0;
}

/* Finds the segments, from the last one on; each says where the one before it is. */
static bool find_segments(struct blitz_table *table, const struct bz_header *header)
{
  uint64_t off = header->segment, count, before = 0;

  if (header->buckets_used < header->bucket_count)
    return false;
  for (; off != 0; off = le64toh(bz_word_load(bz_base(table), off + 8)))
  {
    count = segment_count(table, off);
    if (count < header->bucket_count || (before != 0 && count != before / 2))
      return false;
    atomic_store(&table->segments[bz_log2(count)], off + BZ_SEGMENT_HEAD_LEN);
    before = count;
  }
  /* All of them are there, and there are no fewer than are in use. */
  if (before != 0 && before != header->bucket_count)
    return false;
  count = before == 0 ? header->bucket_count : 2 * segment_count(table, header->segment);
  return header->buckets_used <= count;
}

/* A file without rows may have some of a load that was not committed, in its trees too. */
static void make_empty(struct blitz_table *table)
{
  uint64_t front = atomic_load(&table->front_buckets);

  for (unsigned n = 0; n < sizeof table->segments / sizeof *table->segments; n++)
    atomic_store(&table->segments[n], 0);
  atomic_store(&table->bucket_count, front);
  bz_buckets_clear(table, front);
  bz_file_set_end(table, atomic_load(&table->first));
}

enum blitz_rc bz_image_open(struct blitz_table *table, const struct bz_header *header,
                            struct blitz_error *err)
{
  bz_assert_writer(table);
  assert(table->dirty);
  if (!find_segments(table, header))
    return bz_damaged(table, header->segment, err);
  atomic_store(&table->bucket_count, header->buckets_used);
  if (header->row_count == 0)
  {
    pthread_mutex_lock(&table->change_lock);
    make_empty(table);
    pthread_mutex_unlock(&table->change_lock);
  }
  table->taken_up = true;
  table->walk_off = atomic_load(&table->first);
  table->walk_end = atomic_load(&table->end);
  table->walk_commit = header->committed;
  return BLITZ_OK;
}

/* ---- writing ----------------------------------------------------------------------- */

static enum blitz_rc take(struct blitz_table *table, uint64_t *countp, struct blitz_error *err)
{
  if (bz_pages_begin(&table->pages, countp) == BLITZ_OK)
    return BLITZ_OK;
  return bz_fail(err, BLITZ_NOMEM, 0, "out of memory writing %s", table->file);
}

enum blitz_rc bz_image_begin(struct blitz_table *table, uint64_t position, uint64_t *countp,
                             struct blitz_error *err)
{
  uint64_t segment = 0;

  assert(bz_holds(&table->change_lock) && table->logged);
  if (!table->dirty) /* it is being closed */
    return take(table, countp, err);
  bz_file_put_numbers(table);
  for (unsigned n = 0; n < sizeof table->segments / sizeof *table->segments; n++)
    if (atomic_load(&table->segments[n]) != 0)
      segment = atomic_load(&table->segments[n]) - BZ_SEGMENT_HEAD_LEN;
  bz_put_le64(table, BZ_SEGMENT_OFF, segment);
  bz_put_le64(table, BZ_BUCKETS_USED_OFF, atomic_load(&table->bucket_count));
  bz_put_le64(table, BZ_LOG_POSITION_OFF, position);
  bz_put_le64(table, BZ_LOG_ID_OFF, table->log_id);
  bz_put_le32(table, BZ_IMAGE_CRC_OFF, bz_header_image_crc(bz_base(table)));
  return take(table, countp, err);
}

/* A closed file is an image too, once its header says so: one store, of less than a sector. */
enum blitz_rc bz_image_mark(struct blitz_table *table, uint64_t position, struct blitz_error *err)
{
  uint8_t header[BZ_HEADER_LEN];

  if (pread(table->fd, header, sizeof header, 0) != sizeof header)
    return bz_fail(err, BLITZ_IO, errno, "cannot read %s", table->file);
  if (bz_load_le16(header + BZ_VERSION_OFF) != BZ_VERSION_LOGGED)
  {
    bz_header_set_version(header, BZ_VERSION_LOGGED);
    header[BZ_TC_FLAGS_OFF] |= BZ_TC_FLAG_OPEN;
    bz_store_le64(header + BZ_SEGMENT_OFF, 0);
    bz_store_le64(header + BZ_BUCKETS_USED_OFF, bz_load_be64(header + BZ_TC_BUCKET_COUNT_OFF));
  }
  bz_store_le64(header + BZ_LOG_POSITION_OFF, position);
  bz_store_le64(header + BZ_LOG_ID_OFF, table->log_id);
  bz_file_boot_id(table, true, header + BZ_BOOT_ID_OFF);
  bz_store_le32(header + BZ_IMAGE_CRC_OFF, bz_header_image_crc(header));
  if (pwrite(table->fd, header, sizeof header, 0) != sizeof header)
    return bz_fail(err, bz_rc_of_errno(errno), errno,
                   "cannot write %s. If its device is full, free some space", table->file);
  return BLITZ_OK;
}
