/* SPDX-License-Identifier: GPL-2.0-only
 *
 * record.h: what the records of the log say, as bytes. Numbers are little-endian unless said
 * otherwise; docs/FORMAT.md has the same with the reasons.
 */
#ifndef BZ_RECORD_H
#define BZ_RECORD_H

#include "blitz.h"

/* The types of records. The numbers are never used again for something else. */
enum bz_record_type
{
  BZ_RECORD_OPEN = 1,    /* a table's first change since it was opened is to come */
  BZ_RECORD_CLOSE = 2,   /* the table's file has all; 8: its number */
  BZ_RECORD_COUNTER = 3, /* 8: number of a table, 8: its counter was set to that */
  BZ_RECORD_CHANGES = 4, /* 8: tag, 8: number of a table, 8: commit; a piece of its changes */
  BZ_RECORD_COMMIT = 5,  /* all changes with a tag are committed */
};

#define BZ_RECORD_BOOT_ID_LEN 8

/* BZ_RECORD_OPEN: 8 bytes for each of the numbers, boot id, path. A table has another number
 * whenever it is opened, by which the other records call it.
 */
struct bz_open_record
{
  uint64_t number;
  uint64_t secret; /* of its file: see rows/format.h */
  uint64_t commit; /* the last one that the file may lack nothing of */
  uint8_t boot_id[BZ_RECORD_BOOT_ID_LEN];
  struct blitz_slice path; /* without extension */
};

#define BZ_OPEN_RECORD_LEN 32 /* without the path */
void bz_open_record_put(uint8_t *to, const struct bz_open_record *record);
bool bz_open_record_get(struct blitz_slice from, struct bz_open_record *record);

/* BZ_RECORD_COMMIT: 8: tag, 4: count of tables, 4: zeros, then for each table 8 bytes for each of
 * these; then, if there is one table, the rest of its changes.
 */
struct bz_commit_record
{
  uint64_t number;
  uint64_t commit;      /* the table's number of it */
  uint64_t index_seq;   /* what the table's header says of its index file after it */
  uint64_t counter;     /* the caller's number */
  uint64_t next_row_id; /* after it */
  uint64_t row_count;   /* after it */
};

#define BZ_CHANGES_HEAD_LEN 24
#define BZ_COMMIT_HEAD_LEN 16
#define BZ_COMMIT_TABLE_LEN 48
void bz_commit_head_put(uint8_t *to, uint64_t tag, uint32_t count);
bool bz_commit_head_get(struct blitz_slice from, uint64_t *tag, uint32_t *count);
void bz_commit_record_put(uint8_t *to, const struct bz_commit_record *record);
void bz_commit_record_get(const uint8_t *from, struct bz_commit_record *record);

/* Changes: for each 1: what, then as Tokyo Cabinet's variable-length numbers the lengths of key and
 * value, key, value. Keys are the caller's. A piece may end anywhere in that, and the next piece
 * goes on there.
 */
enum bz_logged_change
{
  BZ_LOGGED_INSERT = 1,
  BZ_LOGGED_UPDATE = 2,
  BZ_LOGGED_REMOVE = 3,
  /* What was done to indexes: */
  BZ_LOGGED_INDEX = 4,        /* key: id (8) of the one that the next ones are of */
  BZ_LOGGED_ENTRY = 5,        /* key: sort key, value: of an entry as it is in memory */
  BZ_LOGGED_ENTRY_REMOVE = 6, /* key: sort key */
  BZ_LOGGED_DIFFERENCE = 7,   /* an update; value: struct bz_difference */
};

#define BZ_CHANGE_HEAD_MAX 11
size_t bz_change_head_put(uint8_t *to, enum bz_logged_change change, uint32_t key_len,
                          uint32_t value_len);

/* What of a value has changed: the number of bytes at its begin and at its end that have not, as
 * such numbers, 4: the checksum of key and new value, salted, and what the new value has between
 * these bytes. Made on the new value it gives the new value.
 */
struct bz_difference
{
  uint32_t begin, end, crc;
  struct blitz_slice middle;
};

#define BZ_DIFFERENCE_HEAD_MAX 14

/* From BEFORE to AFTER; but for the checksum. */
void bz_difference_find(struct blitz_slice before, struct blitz_slice after,
                        struct bz_difference *difference);
/* All but the middle; how many bytes. */
size_t bz_difference_head_put(uint8_t *to, const struct bz_difference *difference);
bool bz_difference_get(struct blitz_slice from, struct bz_difference *difference);

/* Length of the value that the difference makes of BEFORE; SIZE_MAX: it is of another one. */
size_t bz_difference_len(const struct bz_difference *difference, struct blitz_slice before);
void bz_difference_make(const struct bz_difference *difference, struct blitz_slice before,
                        uint8_t *to);

/* Reads a change from the LEN bytes at FROM; how many of them it takes. 0: it does not end here;
 * *DAMAGED: it is none.
 */
size_t bz_change_get(const uint8_t *from, size_t len, enum bz_logged_change *change,
                     struct blitz_slice *key, struct blitz_slice *value, bool *damaged);

#endif /* BZ_RECORD_H */
