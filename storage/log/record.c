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
  return change < BZ_LOGGED_INDEX ? BLITZ_KEY_MAX : BLITZ_INDEX_KEY_MAX + BLITZ_KEY_MAX;
}

size_t bz_change_get(const uint8_t *from, size_t len, enum bz_logged_change *change,
                     struct blitz_slice *key, struct blitz_slice *value, bool *damaged)
{
  const uint8_t *end = from + len, *p;
  uint32_t key_len, value_len;

  *damaged = len > 0 && (from[0] < BZ_LOGGED_INSERT || from[0] > BZ_LOGGED_ENTRY_REMOVE);
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
