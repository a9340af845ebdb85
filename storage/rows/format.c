/* SPDX-License-Identifier: GPL-2.0-only
 *
 * format.c: making and checking headers, rows and free blocks, as format.h and
 * docs/FORMAT.md describe them. It knows bytes, not files.
 */
#include "rows/format.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/siphash.h"

#include <string.h>

_Static_assert(BZ_LAYOUT_OFF + 8 <= BZ_HEADER_LEN, "our header fits into the opaque area");
_Static_assert(BZ_ALIGN == 1 << BZ_ALIGN_POWER, "one alignment");

/* ---- rows ---------------------------------------------------------------- */

struct blitz_slice bz_row_value(const struct bz_row *row)
{
  return (struct blitz_slice){row->value + BZ_VALUE_HEADER_LEN,
                              row->value_len - BZ_VALUE_HEADER_LEN};
}

uint64_t bz_row_seq(const struct bz_row *row)
{
  return bz_load_le64(row->value + BZ_VALUE_SEQ_OFF);
}

static uint64_t row_len(size_t key_len, size_t value_len)
{
  return (uint64_t)BZ_ROW_SIZES_OFF + bz_varint_len((uint32_t)key_len) +
         bz_varint_len((uint32_t)value_len) + key_len + value_len;
}

uint64_t bz_row_block_len(size_t key_len, size_t value_len)
{
  return (row_len(key_len, value_len) + BZ_ALIGN - 1) & ~(uint64_t)(BZ_ALIGN - 1);
}

bool bz_row_parse(const uint8_t *base, uint64_t off, uint64_t limit, struct bz_row *row)
{
  const uint8_t *end = base + limit;
  const uint8_t *p;

  if (off % BZ_ALIGN != 0 || off >= limit || limit - off < BZ_ROW_SIZES_OFF + 2)
    return false;
  p = bz_varint_load(base + off + BZ_ROW_SIZES_OFF, end, &row->key_len);
  if (p == NULL)
    return false;
  p = bz_varint_load(p, end, &row->value_len);
  if (p == NULL || row->key_len < BZ_KEY_SPREAD_LEN_2 || row->value_len < BZ_VALUE_HEADER_LEN)
    return false;
  row->off = off;
  row->key = p;
  /* The padding follows from the alignment; what the row says of it is for Tokyo
   * Cabinet, and under no checksum.
   */
  row->len = (uint64_t)(p - (base + off)) + row->key_len + row->value_len;
  row->len = (row->len + BZ_ALIGN - 1) & ~(uint64_t)(BZ_ALIGN - 1);
  if (row->len > limit - off)
    return false;
  row->value = p + row->key_len;
  return true;
}

/* Number and place belong to the row too: one that was written to a wrong place, or is
 * an older copy, is damaged. They are mixed in last, so that giving them is cheap.
 */
static uint32_t crc_of_place(uint64_t seq, uint64_t off)
{
  return (uint32_t)(((seq ^ off) * UINT64_C(0x9E3779B97F4A7C15)) >> 32);
}

uint32_t bz_row_crc_of(uint32_t salt, const uint8_t *key, size_t key_len, struct blitz_slice value)
{
  return bz_crc32c(bz_crc32c(salt, key, key_len), value.data, value.len);
}

/* Commits have numbers from 1 on. */
uint32_t bz_row_crc(const struct bz_row *row)
{
  uint32_t crc = bz_load_le32(row->value + BZ_VALUE_CRC_OFF);

  return bz_row_seq(row) == 0 ? crc : crc ^ crc_of_place(bz_row_seq(row), row->off);
}

void bz_row_fill(uint8_t *block, uint32_t salt, const uint8_t *key, size_t key_len,
                 struct blitz_slice value)
{
  size_t value_len = value.len + BZ_VALUE_HEADER_LEN;
  uint64_t block_len = bz_row_block_len(key_len, value_len);
  size_t padding = (size_t)(block_len - row_len(key_len, value_len));
  uint8_t *p = block + BZ_ROW_SIZES_OFF;

  bz_store_be16(block + BZ_ROW_PADDING_OFF, (uint16_t)padding);
  p = bz_varint_store(p, (uint32_t)key_len);
  p = bz_varint_store(p, (uint32_t)value_len);
  memcpy(p, key, key_len);
  p += key_len;
  bz_store_le64(p + BZ_VALUE_SEQ_OFF, 0);
  bz_store_le32(p + BZ_VALUE_CRC_OFF, bz_row_crc_of(salt, key, key_len, value));
  p += BZ_VALUE_HEADER_LEN;
  if (value.len > 0)
    memcpy(p, value.data, value.len);
  memset(p + value.len, 0, padding);
}

bool bz_row_intact(uint32_t salt, const struct bz_row *row)
{
  uint32_t crc = bz_row_crc_of(salt, row->key, row->key_len, bz_row_value(row));

  return bz_load_le32(row->value + BZ_VALUE_CRC_OFF) ==
         (crc ^ crc_of_place(bz_row_seq(row), row->off));
}

void bz_row_seal(uint8_t *base, const struct bz_row *row, uint64_t seq)
{
  uint8_t *value = base + (row->value - base);
  uint32_t crc = bz_load_le32(value + BZ_VALUE_CRC_OFF);

  bz_store_le64(value + BZ_VALUE_SEQ_OFF, seq);
  bz_store_le32(value + BZ_VALUE_CRC_OFF, crc ^ crc_of_place(seq, row->off));
}

void bz_row_moved(uint8_t *base, const struct bz_row *row, uint64_t from)
{
  uint8_t *crc = base + (row->value - base) + BZ_VALUE_CRC_OFF;
  uint64_t seq = bz_row_seq(row);

  bz_store_le32(crc, bz_load_le32(crc) ^ crc_of_place(seq, from) ^ crc_of_place(seq, row->off));
}

/* ---- words --------------------------------------------------------------- */

uint64_t bz_free_word(uint64_t len, enum bz_block_state state)
{
  uint8_t bytes[8] = {BZ_FREE_MAGIC,
                      (uint8_t)(len >> 24),
                      (uint8_t)(len >> 16),
                      (uint8_t)(len >> 8),
                      (uint8_t)len,
                      (uint8_t)state,
                      0,
                      0};
  uint64_t word;

  memcpy(&word, bytes, sizeof word);
  return word;
}

uint64_t bz_free_word_len(uint64_t word)
{
  uint8_t bytes[8];

  memcpy(bytes, &word, sizeof bytes);
  return (uint64_t)bytes[1] << 24 | (uint64_t)bytes[2] << 16 | (uint64_t)bytes[3] << 8 | bytes[4];
}

enum bz_block_state bz_free_word_state(uint64_t word)
{
  uint8_t bytes[8];

  memcpy(bytes, &word, sizeof bytes);
  return (enum bz_block_state)bytes[5];
}

/* ---- hashes -------------------------------------------------------------- */

struct bz_hash bz_hash(const uint8_t *key, size_t key_len)
{
  uint64_t bucket = 19780211;
  uint32_t second = 751;

  for (size_t i = 0; i < key_len; i++)
  {
    bucket = bucket * 37 + key[i];
    second = (second * 31) ^ key[key_len - 1 - i];
  }
  return (struct bz_hash){bucket, (uint8_t)second};
}

/* The bucket hash gives 9,690 values for all two-byte keys and 30,000 for the first million
 * big-endian integers, and who chooses keys can choose its values. The bytes behind the key
 * spread them over some 2^34 values, by a hash that cannot be computed without the file's
 * secret.
 */
size_t bz_key_spread(const struct bz_secret *secret, uint8_t *to, struct blitz_slice key)
{
  uint8_t spread[8];

  if (key.len > 0)
    memcpy(to, key.data, key.len);
  bz_store_le64(spread, bz_siphash(secret->key, key.data, key.len, 1, 3));
  memcpy(to + key.len, spread, BZ_KEY_SPREAD_LEN);
  return key.len + BZ_KEY_SPREAD_LEN;
}

/* ---- headers ------------------------------------------------------------- */

/* CRC-32C of what never changes in a file. */
static uint32_t identity_crc(const uint8_t *from, unsigned version)
{
  uint32_t crc = bz_crc32c(0, from + BZ_MAGIC_OFF, BZ_HEADER_CRC_OFF - BZ_MAGIC_OFF);

  return version == 2 ? crc
                      : bz_crc32c(crc, from + BZ_IDENTITY_2_OFF, BZ_HEADER_LEN - BZ_IDENTITY_2_OFF);
}

/* A secret of 64 bits, and the salt. */
static void read_secret(const uint8_t *from, struct bz_secret *secret)
{
  secret->key[0] = bz_load_le64(from + BZ_SECRET_OFF);
  secret->key[1] = bz_load_le32(from + BZ_SALT_OFF) * UINT64_C(0x9E3779B97F4A7C15);
}

void bz_header_make(uint8_t *to, const struct bz_header *header)
{
  memset(to, 0, BZ_HEADER_LEN);
  memcpy(to, BZ_TC_MAGIC, sizeof BZ_TC_MAGIC);
  to[BZ_TC_TYPE_OFF] = BZ_TC_TYPE_HASH;
  to[BZ_TC_ALIGN_POWER_OFF] = BZ_ALIGN_POWER;
  to[BZ_TC_POOL_POWER_OFF] = BZ_TC_POOL_POWER;
  to[BZ_TC_OPTIONS_OFF] = BZ_TC_OPTION_LARGE;
  bz_store_be64(to + BZ_TC_BUCKET_COUNT_OFF, header->bucket_count);
  bz_store_be64(to + BZ_TC_ROW_COUNT_OFF, header->row_count);
  bz_store_be64(to + BZ_TC_END_OFF, header->end);
  bz_store_be64(to + BZ_TC_FIRST_OFF, header->first);
  memcpy(to + BZ_MAGIC_OFF, BZ_MAGIC, BZ_MAGIC_LEN);
  bz_store_le16(to + BZ_VERSION_OFF, BZ_VERSION);
  bz_store_le16(to + BZ_MIN_READER_OFF, BZ_VERSION);
  bz_store_le32(to + BZ_FLAGS_OFF, header->row_ids ? BZ_FLAG_ROW_IDS : 0);
  bz_store_le32(to + BZ_SALT_OFF, header->salt);
  bz_store_le64(to + BZ_SECRET_OFF, header->secret.key[0]);
  bz_store_le64(to + BZ_LAYOUT_OFF, header->layout);
  bz_store_le32(to + BZ_HEADER_CRC_OFF, identity_crc(to, BZ_VERSION));
  bz_store_le64(to + BZ_COMMITTED_OFF, header->committed);
  bz_store_le64(to + BZ_NEXT_ROW_ID_OFF, 1);
}

void bz_header_set_version(uint8_t *to, unsigned version)
{
  bz_store_le16(to + BZ_VERSION_OFF, (uint16_t)version);
  bz_store_le16(to + BZ_MIN_READER_OFF, (uint16_t)version);
  bz_store_le32(to + BZ_HEADER_CRC_OFF, identity_crc(to, version));
}

uint32_t bz_header_image_crc(const uint8_t *from)
{
  uint32_t crc = bz_crc32c(bz_load_le32(from + BZ_SALT_OFF), from, BZ_IMAGE_CRC_OFF);

  crc = bz_crc32c(crc, from + BZ_IMAGE_CRC_OFF + 4, BZ_INDEX_SEQ_OFF - BZ_IMAGE_CRC_OFF - 4);
  return bz_crc32c(crc, from + BZ_INDEX_SEQ_OFF + 8, BZ_HEADER_LEN - BZ_INDEX_SEQ_OFF - 8);
}

uint32_t bz_header_closed_crc(const uint8_t *from, uint32_t salt)
{
  uint32_t crc =
      bz_crc32c(salt, from + BZ_TC_ALIGN_POWER_OFF, BZ_COUNTER_OFF - BZ_TC_ALIGN_POWER_OFF);

  crc = bz_crc32c(crc, from + BZ_FREE_LIST_OFF, BZ_CLOSED_CRC_OFF - BZ_FREE_LIST_OFF);
  crc = bz_crc32c(crc, from + BZ_INDEX_SEQ_OFF, BZ_INDEX_CRC_OFF + 4 - BZ_INDEX_SEQ_OFF);
  return bz_load_le16(from + BZ_VERSION_OFF) == 2 ? crc : bz_crc32c(crc, from + BZ_STATE_OFF, 8);
}

static bool geometry_sane(const struct bz_header *header, uint64_t file_len)
{
  return header->bucket_count >= BZ_BUCKETS_MIN && header->bucket_count <= BZ_BUCKETS_MAX &&
         (header->bucket_count & (header->bucket_count - 1)) == 0 &&
         header->first % BZ_ALIGN == 0 && header->end % BZ_ALIGN == 0 &&
         header->first <= header->end && header->end <= file_len && header->first >= BZ_FIRST_MIN &&
         (header->open ||
          header->first >= BZ_HEADER_LEN + header->bucket_count * BZ_BUCKET_LEN + BZ_POOL_LEN);
}

/* Checks what never changes in a file. */
static enum blitz_rc check_identity(const uint8_t *from, uint64_t file_len, const char *name,
                                    struct blitz_error *err)
{
  if (file_len < BZ_HEADER_LEN)
    return bz_fail(err, file_len == 0 ? BLITZ_CORRUPT : BLITZ_NOT_BLITZ, 0,
                   "%s is no BlitzDB file, or was cut off: it has only %llu bytes. "
                   "Restore it from a backup",
                   name, (unsigned long long)file_len);
  if (memcmp(from, BZ_TC_MAGIC, sizeof BZ_TC_MAGIC) != 0 ||
      memcmp(from + BZ_MAGIC_OFF, BZ_MAGIC, BZ_MAGIC_LEN) != 0)
    return bz_fail(err, BLITZ_NOT_BLITZ, 0,
                   "%s is no BlitzDB file, or its header is damaged. "
                   "Restore it from a backup",
                   name);
  if (bz_load_le16(from + BZ_MIN_READER_OFF) > BZ_VERSION_LOGGED)
    return bz_fail(err, BLITZ_BAD_VERSION, 0,
                   "%s has format version %u, this BlitzDB reads up to %u. "
                   "Install the BlitzDB that wrote it, or a later one",
                   name, bz_load_le16(from + BZ_VERSION_OFF), BZ_VERSION_LOGGED);
  if (bz_load_le16(from + BZ_VERSION_OFF) < BZ_VERSION_OLDEST)
    return bz_fail(err, BLITZ_BAD_VERSION, 0,
                   "%s has format version %u, this BlitzDB reads %u and later. Copy the table with "
                   "the BlitzDB that wrote it (mariadb-dump), and load the copy",
                   name, bz_load_le16(from + BZ_VERSION_OFF), BZ_VERSION_OLDEST);
  if (bz_load_le32(from + BZ_HEADER_CRC_OFF) !=
      identity_crc(from, bz_load_le16(from + BZ_VERSION_OFF)))
    return bz_fail(err, BLITZ_CORRUPT, 0, "the header of %s is damaged. Restore it from a backup",
                   name);
  if (from[BZ_TC_TYPE_OFF] != BZ_TC_TYPE_HASH || from[BZ_TC_ALIGN_POWER_OFF] != BZ_ALIGN_POWER ||
      from[BZ_TC_OPTIONS_OFF] != BZ_TC_OPTION_LARGE)
    return bz_fail(err, BLITZ_CORRUPT, 0, "the header of %s is damaged. Restore it from a backup",
                   name);
  return BLITZ_OK;
}

enum blitz_rc bz_header_read(const uint8_t *from, uint64_t file_len, const char *name, bool repair,
                             struct bz_header *header, struct blitz_error *err)
{
  enum blitz_rc rc = check_identity(from, file_len, name, err);

  if (rc != BLITZ_OK)
    return rc;
  memset(header, 0, sizeof *header);
  header->version = bz_load_le16(from + BZ_VERSION_OFF);
  header->row_ids = (bz_load_le32(from + BZ_FLAGS_OFF) & BZ_FLAG_ROW_IDS) != 0;
  header->open = (from[BZ_TC_FLAGS_OFF] & BZ_TC_FLAG_OPEN) != 0;
  header->repairing = (from[BZ_TC_FLAGS_OFF] & BZ_TC_FLAG_REPAIRING) != 0;
  header->salt = bz_load_le32(from + BZ_SALT_OFF);
  header->bucket_count = bz_load_be64(from + BZ_TC_BUCKET_COUNT_OFF);
  header->row_count = bz_load_be64(from + BZ_TC_ROW_COUNT_OFF);
  header->end = bz_load_be64(from + BZ_TC_END_OFF);
  header->first = bz_load_be64(from + BZ_TC_FIRST_OFF);
  header->committed = bz_load_le64(from + BZ_COMMITTED_OFF);
  memcpy(header->boot_id, from + BZ_BOOT_ID_OFF, BZ_BOOT_ID_LEN);
  if (header->version > 2)
  {
    read_secret(from, &header->secret);
    header->layout = bz_load_le64(from + BZ_LAYOUT_OFF);
    header->state = bz_load_le64(from + BZ_STATE_OFF);
  }
  if (header->version == BZ_VERSION_LOGGED)
  {
    header->segment = bz_load_le64(from + BZ_SEGMENT_OFF);
    header->buckets_used = bz_load_le64(from + BZ_BUCKETS_USED_OFF);
    header->log_position = bz_load_le64(from + BZ_LOG_POSITION_OFF);
    header->log_id = bz_load_le64(from + BZ_LOG_ID_OFF);
  }
  if (header->version == BZ_VERSION_LOGGED && !repair &&
      bz_load_le32(from + BZ_IMAGE_CRC_OFF) != bz_header_image_crc(from))
    return bz_fail(
        err, BLITZ_CORRUPT, 0,
        "the header of %s is damaged. Restore it from a backup, or repair it, which keeps "
        "all rows that are intact",
        name);
  if (geometry_sane(header, file_len))
    return BLITZ_OK;
  if (!repair)
    return bz_fail(err, BLITZ_CORRUPT, 0,
                   "the header of %s does not fit the file (%llu bytes): it was cut off or "
                   "damaged. Restore it from a backup, or repair it, which keeps all rows "
                   "that are intact",
                   name, (unsigned long long)file_len);
  header->bucket_count = BZ_BUCKETS_MIN;
  header->first = BZ_FIRST_MIN;
  header->end = file_len / BZ_ALIGN * BZ_ALIGN;
  return header->end >= BZ_FIRST_MIN
             ? BLITZ_OK
             : bz_fail(err, BLITZ_CORRUPT, 0, "%s was cut off: there is nothing to repair", name);
}
