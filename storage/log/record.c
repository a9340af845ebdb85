/* SPDX-License-Identifier: GPL-2.0-only
 *
 * record.c: see record.h.
 */
#include "log/record.h"

#include "base/bytes.h"

void bz_open_record_put(uint8_t *to, const struct bz_open_record *record)
{
  bz_store_le64(to, record->number);
  bz_store_le64(to + 8, record->secret);
  bz_store_le64(to + 16, record->commit);
  memcpy(to + 24, record->boot_id, BZ_RECORD_BOOT_ID_LEN);
}

bool bz_open_record_get(struct blitz_slice from, struct bz_open_record *record)
{
  const uint8_t *bytes = from.data;

  if (from.len <= BZ_OPEN_RECORD_LEN)
    return false;
  record->number = bz_load_le64(bytes);
  record->secret = bz_load_le64(bytes + 8);
  record->commit = bz_load_le64(bytes + 16);
  memcpy(record->boot_id, bytes + 24, BZ_RECORD_BOOT_ID_LEN);
  record->path = (struct blitz_slice){bytes + BZ_OPEN_RECORD_LEN, from.len - BZ_OPEN_RECORD_LEN};
  return record->number != 0;
}

void bz_commit_head_put(uint8_t *to, uint64_t tag, uint32_t count)
{
  bz_store_le64(to, tag);
  bz_store_le32(to + 8, count);
  bz_store_le32(to + 12, 0);
}

bool bz_commit_head_get(struct blitz_slice from, uint64_t *tag, uint32_t *count)
{
  const uint8_t *bytes = from.data;

  if (from.len < BZ_COMMIT_HEAD_LEN)
    return false;
  *tag = bz_load_le64(bytes);
  *count = bz_load_le32(bytes + 8);
  return *count <= (from.len - BZ_COMMIT_HEAD_LEN) / BZ_COMMIT_TABLE_LEN;
}

void bz_commit_record_put(uint8_t *to, const struct bz_commit_record *record)
{
  bz_store_le64(to, record->number);
  bz_store_le64(to + 8, record->commit);
  bz_store_le64(to + 16, record->index_seq);
  bz_store_le64(to + 24, record->counter);
  bz_store_le64(to + 32, record->next_row_id);
  bz_store_le64(to + 40, record->row_count);
}

void bz_commit_record_get(const uint8_t *from, struct bz_commit_record *record)
{
  record->number = bz_load_le64(from);
  record->commit = bz_load_le64(from + 8);
  record->index_seq = bz_load_le64(from + 16);
  record->counter = bz_load_le64(from + 24);
  record->next_row_id = bz_load_le64(from + 32);
  record->row_count = bz_load_le64(from + 40);
}

size_t bz_change_head_put(uint8_t *to, enum bz_logged_change change, uint32_t key_len,
                          uint32_t value_len)
{
  uint8_t *p = to;

  *p++ = (uint8_t)change;
  p = bz_varint_store(p, key_len);
  p = bz_varint_store(p, value_len);
  return (size_t)(p - to);
}

/* Bytes that the key of a change may have. */
static uint32_t key_max(uint8_t change)
{
  return change < BZ_LOGGED_INDEX || change == BZ_LOGGED_DIFFERENCE
             ? BLITZ_KEY_MAX
             : BLITZ_INDEX_KEY_MAX + BLITZ_KEY_MAX;
}

size_t bz_change_get(const uint8_t *from, size_t len, enum bz_logged_change *change,
                     struct blitz_slice *key, struct blitz_slice *value, bool *damaged)
{
  const uint8_t *end = from + len, *p;
  uint32_t key_len, value_len;

  *damaged = len > 0 && (from[0] < BZ_LOGGED_INSERT || from[0] > BZ_LOGGED_DIFFERENCE);
  if (len == 0 || *damaged)
    return 0;
  p = bz_varint_load(from + 1, end, &key_len);
  if (p != NULL)
    p = bz_varint_load(p, end, &value_len);
  /* A number that is not whole here is damaged if it has all the bytes that it may have. */
  *damaged = p == NULL && len >= BZ_CHANGE_HEAD_MAX;
  if (p == NULL)
    return 0;
  *damaged = key_len > key_max(from[0]) || value_len > BLITZ_VALUE_MAX;
  if (*damaged || (size_t)(end - p) < (size_t)key_len + value_len)
    return 0;
  *change = (enum bz_logged_change)from[0];
  *key = (struct blitz_slice){p, key_len};
  *value = (struct blitz_slice){p + key_len, value_len};
  return (size_t)(p - from) + key_len + value_len;
}

/* ---- differences --------------------------------------------------------------------- */

/* How many of the LEN bytes at A and B are the same, from the front, and from the end. */
static size_t same_at_begin(const uint8_t *a, const uint8_t *b, size_t len)
{
  size_t same = 0;

  while (len - same >= 8)
  {
    uint64_t differ = bz_load_le64(a + same) ^ bz_load_le64(b + same);
    if (differ != 0)
      return same + (size_t)__builtin_ctzll(differ) / 8;
    same += 8;
  }
  while (same < len && a[same] == b[same])
    same++;
  return same;
}

static size_t same_at_end(const uint8_t *a_end, const uint8_t *b_end, size_t len)
{
  size_t same = 0;

  while (len - same >= 8)
  {
    uint64_t differ = bz_load_le64(a_end - same - 8) ^ bz_load_le64(b_end - same - 8);
    if (differ != 0)
      return same + (size_t)__builtin_clzll(differ) / 8;
    same += 8;
  }
  while (same < len && a_end[-1 - (ptrdiff_t)same] == b_end[-1 - (ptrdiff_t)same])
    same++;
  return same;
}

void bz_difference_find(struct blitz_slice before, struct blitz_slice after,
                        struct bz_difference *difference)
{
  const uint8_t *a = before.data, *b = after.data;
  size_t len = before.len < after.len ? before.len : after.len;
  size_t begin = same_at_begin(a, b, len);
  size_t end = same_at_end(a + before.len, b + after.len, len - begin);

  difference->begin = (uint32_t)begin;
  difference->end = (uint32_t)end;
  difference->middle = (struct blitz_slice){b + begin, after.len - begin - end};
}

size_t bz_difference_head_put(uint8_t *to, const struct bz_difference *difference)
{
  uint8_t *p = bz_varint_store(to, difference->begin);

  p = bz_varint_store(p, difference->end);
  bz_store_le32(p, difference->crc);
  return (size_t)(p + 4 - to);
}

bool bz_difference_get(struct blitz_slice from, struct bz_difference *difference)
{
  const uint8_t *p = from.data, *end = p + from.len;

  p = bz_varint_load(p, end, &difference->begin);
  if (p != NULL)
    p = bz_varint_load(p, end, &difference->end);
  if (p == NULL || end - p < 4)
    return false;
  difference->crc = bz_load_le32(p);
  difference->middle = (struct blitz_slice){p + 4, (size_t)(end - p) - 4};
  return true;
}

size_t bz_difference_len(const struct bz_difference *difference, struct blitz_slice before)
{
  size_t same = (size_t)difference->begin + difference->end;

  return same <= before.len ? same + difference->middle.len : SIZE_MAX;
}

void bz_difference_make(const struct bz_difference *difference, struct blitz_slice before,
                        uint8_t *to)
{
  const uint8_t *from = before.data;

  memcpy(to, from, difference->begin);
  memcpy(to + difference->begin, difference->middle.data, difference->middle.len);
  memcpy(to + difference->begin + difference->middle.len, from + before.len - difference->end,
         difference->end);
}
