/* SPDX-License-Identifier: GPL-2.0-only
 *
 * difference.c: what a logged update has made of a row, if the log has only what it changed.
 *
 * The row is there: as it was, or, if its pages were taken in the middle of the commit (T6), as the
 * commit has made it. The difference makes the same value of both, since what it leaves as it is
 * is the same in both. The checksum tells whether it was one of them.
 */
#include "log/record.h"
#include "table/table.h"

enum blitz_rc bz_difference_value(struct blitz_table *table, struct blitz_slice key,
                                  struct blitz_slice *value, struct bz_buffer *buf,
                                  struct blitz_error *err)
{
  struct bz_difference difference;
  uint8_t key_buf[BZ_FILE_KEY_MAX];
  struct bz_key file_key = {.data = key_buf};
  struct bz_place place;
  size_t len = SIZE_MAX;

  if (!bz_difference_get(*value, &difference))
    return bz_fail(err, BLITZ_CORRUPT, 0, "a record of the log is none");
  file_key.len = bz_file_key(table, key_buf, key);
  file_key.hash = bz_hash(key_buf, file_key.len);
  if (bz_hash_find(table, &file_key, &place) == BLITZ_OK)
    len = bz_difference_len(&difference, bz_row_value(&place.row));
  if (len > BLITZ_VALUE_MAX)
    return bz_damaged(table, place.row.off, err);
  if (bz_buffer_reserve(buf, len + 1) != BLITZ_OK)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory making the log's changes again");
  bz_difference_make(&difference, bz_row_value(&place.row), buf->data);
  *value = (struct blitz_slice){buf->data, len};
  if (bz_row_crc_of(table->salt, key_buf, file_key.len, *value) != difference.crc)
    return bz_damaged(table, place.row.off, err);
  return BLITZ_OK;
}
