/* SPDX-License-Identifier: GPL-2.0-only
 *
 * format.h: every constant of the data file, and the shape of its blocks.
 *
 * docs/FORMAT.md tells the same to a person, with examples. The file is a Tokyo
 * Cabinet hash database (1.4.48, big-endian build, option LARGE): a header, a
 * bucket array, and from the first-record offset on blocks that tile the file.
 * A block is a live row or free space; each starts at a multiple of 16.
 *
 * Invariants:
 *  F1. The first 8 bytes of a block ("word 0") are stored as one word, last. Who
 *      reads word 0 finds everything that it promises.
 *  F2. A block's size never changes but by cutting it in two at a multiple of
 *      16, the rear part being written first; only space.c joins blocks.
 *  F3. Key, sequence number, checksum and value of a live row never change.
 *  F4. Bytes from a file are never trusted: bz_row_parse() checks every length.
 */
#ifndef BZ_FORMAT_H
#define BZ_FORMAT_H

#include "blitz.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- header: Tokyo Cabinet's part, big-endian ---------------------------- */

#define BZ_TC_MAGIC "ToKyO CaBiNeT\n1.0:911\n"
#define BZ_TC_MAGIC_LEN 32
#define BZ_TC_TYPE_OFF 32
#define BZ_TC_FLAGS_OFF 33
#define BZ_TC_ALIGN_POWER_OFF 34
#define BZ_TC_POOL_POWER_OFF 35
#define BZ_TC_OPTIONS_OFF 36
#define BZ_TC_BUCKET_COUNT_OFF 40
#define BZ_TC_ROW_COUNT_OFF 48
#define BZ_TC_END_OFF 56
#define BZ_TC_FIRST_OFF 64

/* In room that the library does not use, little-endian: see rows/image.c. */
#define BZ_IMAGE_OFF 72     /* 8: the image's number */
#define BZ_IMAGE_CRC_OFF 80 /* 4: CRC-32C of the header of a file of version BZ_VERSION_LOGGED */

#define BZ_TC_TYPE_HASH 0
#define BZ_TC_FLAG_OPEN 1
#define BZ_TC_FLAG_REPAIRING 0x80 /* ours: a repair of a closed file is under way */
#define BZ_TC_OPTION_LARGE 1
#define BZ_TC_POOL_POWER 10

/* ---- header: our part, in the opaque area, little-endian ----------------- */

#define BZ_MAGIC "BlitzDB\n"
#define BZ_MAGIC_LEN 8
#define BZ_MAGIC_OFF 128
#define BZ_VERSION_OFF 136     /* 2: format version of the writer */
#define BZ_MIN_READER_OFF 138  /* 2: oldest version that can read the file */
#define BZ_FLAGS_OFF 140       /* 4 */
#define BZ_SALT_OFF 144        /* 4: where the checksums of rows begin */
#define BZ_HEADER_CRC_OFF 148  /* 4: CRC-32C of bytes 128 to 147 and 240 to 255 */
#define BZ_COMMITTED_OFF 152   /* 8: sequence number of the last commit */
#define BZ_NEXT_ROW_ID_OFF 160 /* 8 */
#define BZ_COUNTER_OFF 168     /* 8: the caller's number */
#define BZ_FREE_LIST_OFF 176   /* 8: where the list of free blocks is, 0: none */
#define BZ_FREE_COUNT_OFF 184  /* 8: offsets in it */
#define BZ_FREE_CRC_OFF 192    /* 4: CRC-32C of the list */
#define BZ_CLOSED_CRC_OFF 196  /* 4: CRC-32C of header and buckets of a closed file */
#define BZ_INDEX_SEQ_OFF 200   /* 8: 1 + the last commit of index entries; 0: there is none */
#define BZ_INDEX_LEN_OFF 208   /* 8: of the index file when the table was closed */
#define BZ_INDEX_CRC_OFF 216   /* 4: CRC-32C of those bytes */
#define BZ_BOOT_ID_OFF 224     /* 8: of the machine's run in which the file was opened last */
#define BZ_STATE_OFF 232       /* 8: enum bz_file_state */
#define BZ_SECRET_OFF 240      /* 8: decides, with the salt, where a key's hash falls */
#define BZ_LAYOUT_OFF 248      /* 8: the caller's number for the layout of its rows */

#define BZ_BOOT_ID_LEN 8
#define BZ_IDENTITY_2_OFF BZ_SECRET_OFF /* what does not change, second part */

/* While a file is open and its changes are in a log, some of that says something else. */
#define BZ_SEGMENT_OFF BZ_FREE_LIST_OFF       /* 8: the last segment of buckets (grow.c), 0: none */
#define BZ_BUCKETS_USED_OFF BZ_FREE_COUNT_OFF /* 8: buckets in use */
#define BZ_LOG_POSITION_OFF \
  BZ_FREE_CRC_OFF                      /* 8: the log has all that the file has not from there */
#define BZ_LOG_ID_OFF BZ_INDEX_LEN_OFF /* 8: which log that is */

#define BZ_VERSION 3
#define BZ_VERSION_LOGGED 4 /* as long as a log is needed to know what is in the file */
#define BZ_VERSION_OLDEST 2 /* that this version can convert */
#define BZ_FLAG_ROW_IDS 1

/* Bits of the word at BZ_STATE_OFF. */
enum bz_file_state
{
  BZ_FILE_DAMAGED = 1, /* there are damaged rows of which nobody knows the keys */
};

#define BZ_HEADER_LEN 256
#define BZ_BUCKET_LEN 8
#define BZ_BUCKETS_MIN 64 /* also the number of stripes: see hash.c */
#define BZ_BUCKETS_MAX (UINT64_C(1) << 40)
#define BZ_POOL_LEN 64 /* room that Tokyo Cabinet wants after the buckets */
#define BZ_FIRST_MIN (BZ_HEADER_LEN + BZ_BUCKETS_MIN * BZ_BUCKET_LEN + BZ_POOL_LEN)

/* ---- blocks -------------------------------------------------------------- */

#define BZ_ALIGN 16
#define BZ_ALIGN_POWER 4
#define BZ_BLOCK_LEN_MAX (UINT64_C(0xfffffff0))

/* A live row: magic, second hash, left and right child (offset / 16), padding
 * length, key and value length as variable-length numbers, key, value, padding.
 */
#define BZ_ROW_MAGIC 0xC8
#define BZ_ROW_HASH_OFF 1
#define BZ_ROW_LEFT_OFF 2
#define BZ_ROW_RIGHT_OFF 10
#define BZ_ROW_PADDING_OFF 18
#define BZ_ROW_SIZES_OFF 20

/* A free block: magic, length (4, big-endian), state (1), 2 zero bytes; word 1
 * of a removed row is the number of the commit that removed it. A removed row
 * is otherwise whole from BZ_ROW_PADDING_OFF on.
 */
#define BZ_FREE_MAGIC 0xB0

enum bz_block_state
{
  BZ_STATE_FREE = 1,     /* for anyone */
  BZ_STATE_INFLIGHT = 2, /* holds a row that is not committed */
  BZ_STATE_REMOVED = 3,  /* a removed row; earlier snapshots may read it */
  BZ_STATE_DROPPED = 4,  /* a row that was not committed and will not be */
  BZ_STATE_BUCKETS = 5,  /* a part of the bucket array (grow.c) */
};

/* The file's value: sequence number (8), checksum (4), the caller's value. */
#define BZ_VALUE_SEQ_OFF 0
#define BZ_VALUE_CRC_OFF 8
#define BZ_VALUE_HEADER_LEN 12

/* The file's key: the caller's key and bytes that spread the hash, two of them in a file of
 * version 2.
 */
#define BZ_KEY_SPREAD_LEN 6
#define BZ_KEY_SPREAD_LEN_2 2
#define BZ_FILE_KEY_MAX (BLITZ_KEY_MAX + BZ_KEY_SPREAD_LEN)

/* A row found in a file. The pointers go into the file's map. */
struct bz_row
{
  uint64_t off;
  uint64_t len;       /* of the block */
  const uint8_t *key; /* the file's key */
  uint32_t key_len;
  const uint8_t *value; /* the file's value */
  uint32_t value_len;
};

/* The caller's part of the value, and the number of the commit it came with. */
struct blitz_slice bz_row_value(const struct bz_row *row);
uint64_t bz_row_seq(const struct bz_row *row);

/* Length of the block for a row. Lengths are those of the file's key and value. */
uint64_t bz_row_block_len(size_t key_len, size_t value_len);

/* Takes the row at OFF apart, whatever its word 0 says. False: it does not fit
 * between OFF and LIMIT or is no row, so the bytes are damaged or something else.
 */
bool bz_row_parse(const uint8_t *base, uint64_t off, uint64_t limit, struct bz_row *row);

/* Writes all of a row but words 0 and 1 into BLOCK, which is bz_row_block_len() bytes.
 * It has no number yet, and its checksum is that of key and value alone.
 */
void bz_row_fill(uint8_t *block, uint32_t salt, const uint8_t *key, size_t key_len,
                 struct blitz_slice value);

/* Numbers such a row, and puts number and place under its checksum. */
void bz_row_seal(uint8_t *base, const struct bz_row *row, uint64_t seq);

/* Puts the new place of a sealed row that was at FROM under its checksum. A damaged row
 * stays one.
 */
void bz_row_moved(uint8_t *base, const struct bz_row *row, uint64_t from);

/* The checksum of key and value alone: as a row has it, sealed or not, and as it is to be. */
uint32_t bz_row_crc(const struct bz_row *row);
uint32_t bz_row_crc_of(uint32_t salt, const uint8_t *key, size_t key_len, struct blitz_slice value);

/* Is the checksum of a sealed row right? */
bool bz_row_intact(uint32_t salt, const struct bz_row *row);

/* ---- words --------------------------------------------------------------- */

static inline uint64_t bz_word_load(const uint8_t *base, uint64_t off)
{
  return __atomic_load_n((const uint64_t *)(const void *)(base + off), __ATOMIC_ACQUIRE);
}

static inline void bz_word_store(uint8_t *base, uint64_t off, uint64_t word)
{
  __atomic_store_n((uint64_t *)(void *)(base + off), word, __ATOMIC_RELEASE);
}

static inline uint8_t bz_word_magic(uint64_t word)
{
  uint8_t bytes[8];
  __builtin_memcpy(bytes, &word, 8);
  return bytes[0];
}

/* Word 0 of a free block, and back. */
uint64_t bz_free_word(uint64_t len, enum bz_block_state state);
uint64_t bz_free_word_len(uint64_t word);
enum bz_block_state bz_free_word_state(uint64_t word);

/* ---- hashes (Tokyo Cabinet, tchdb.c: tchdbbidx) --------------------------- */

struct bz_hash
{
  uint64_t bucket; /* the bucket is this modulo the number of buckets */
  uint8_t second;  /* orders the rows of a bucket */
};

struct bz_hash bz_hash(const uint8_t *key, size_t key_len);

/* What nobody knows who chooses keys: a file's own. */
struct bz_secret
{
  uint64_t key[2];
};

/* Copies the caller's key to TO and appends what makes it the file's key. */
size_t bz_key_spread(const struct bz_secret *secret, uint8_t *to, struct blitz_slice key);

/* ---- headers ------------------------------------------------------------- */

struct bz_header
{
  unsigned version;
  bool row_ids;
  bool open;      /* the writer did not close the file */
  bool repairing; /* a repair of it did not end; all commits did */
  uint32_t salt;
  struct bz_secret secret;
  uint64_t layout;
  uint64_t state; /* enum bz_file_state */
  uint64_t bucket_count;
  uint64_t row_count;
  uint64_t end;
  uint64_t first;
  uint64_t committed;
  uint8_t boot_id[BZ_BOOT_ID_LEN];

  /* Of a file of version BZ_VERSION_LOGGED. */
  uint64_t segment;
  uint64_t buckets_used;
  uint64_t log_position;
  uint64_t log_id;
};

/* Makes the header of an empty table in the BZ_HEADER_LEN bytes at TO. */
void bz_header_make(uint8_t *to, const struct bz_header *header);

/* Gives the header at TO, which is of BZ_VERSION or BZ_VERSION_LOGGED, the other version. */
void bz_header_set_version(uint8_t *to, unsigned version);

/* The checksum of the header of an image: of all of it but the checksum itself and what is said of
 * the index file, which may change by itself.
 */
uint32_t bz_header_image_crc(const uint8_t *from);

/* Where the checksum of a closed file begins: that of its header at FROM, from byte 34
 * on, without the caller's number, the checksum itself and the boot id.
 */
uint32_t bz_header_closed_crc(const uint8_t *from, uint32_t salt);

/* Reads and checks a header of a file of FILE_LEN bytes, which is NAME. To REPAIR a
 * file, the places of buckets and blocks may be wrong; they are then the widest ones.
 */
enum blitz_rc bz_header_read(const uint8_t *from, uint64_t file_len, const char *name, bool repair,
                             struct bz_header *header, struct blitz_error *err) BLITZ_MUST_CHECK;

#endif /* BZ_FORMAT_H */
