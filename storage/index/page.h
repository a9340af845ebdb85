/* SPDX-License-Identifier: GPL-2.0-only
 *
 * page.h: the bytes of LMDB's pages, data version 1 (mdb.c: MDB_page, MDB_node, MDB_db,
 * MDB_meta), in the machine's byte order. For count.c and verify.c.
 */
#ifndef BZ_INDEX_PAGE_H
#define BZ_INDEX_PAGE_H

#include <stdint.h>
#include <string.h>

#define PAGE_NUMBER_OFF 0 /* 8 */
#define PAGE_FLAGS_OFF 10 /* 2 */
#define PAGE_LOWER_OFF 12 /* 2: end of the slots */
#define PAGE_UPPER_OFF 14 /* 2: where the nodes begin */
#define PAGE_RUN_OFF 12   /* 4: pages of a long value, this one included */
#define PAGE_SLOTS_OFF 16 /* 2 each: where the nodes are; or a long value */
#define PAGE_BRANCH 1
#define PAGE_LEAF 2
#define PAGE_OVERFLOW 4 /* the first of a long value */
#define PAGE_META 8

#define NODE_LOW_OFF 0   /* 2: a child's number, or a value's length, lower bits */
#define NODE_HIGH_OFF 2  /* 2: middle bits */
#define NODE_FLAGS_OFF 4 /* 2: a child's number, upper bits */
#define NODE_KEY_LEN_OFF 6
#define NODE_KEY_OFF 8
#define NODE_BIG 1 /* the value is the number of the page where it begins */
#define NODE_DB 2  /* the value is a database's record */

#define DB_PAD_OFF 0      /* 4: of the list of free pages, the length of a page */
#define DB_FLAGS_OFF 4    /* 2 */
#define DB_DEPTH_OFF 6    /* 2 */
#define DB_BRANCHES_OFF 8 /* 8: pages */
#define DB_LEAVES_OFF 16  /* 8: pages */
#define DB_LONG_OFF 24    /* 8: pages of long values */
#define DB_ENTRIES_OFF 32 /* 8 */
#define DB_ROOT_OFF 40    /* 8 */
#define DB_LEN 48
#define DB_NO_ROOT UINT64_MAX

#define META_OFF 16         /* in pages 0 and 1 */
#define META_MAGIC_OFF 0    /* 4 */
#define META_VERSION_OFF 4  /* 4 */
#define META_FREE_OFF 24    /* the record of the list of free pages */
#define META_MAIN_OFF 72    /* that of the unnamed database */
#define META_LAST_OFF 120   /* 8: the last page in use */
#define META_NUMBER_OFF 128 /* 8: of the commit */
#define META_LEN 136
#define META_MAGIC 0xBEEFC0DEu
#define META_VERSION 1

static inline uint16_t page_load16(const uint8_t *from)
{
  uint16_t n;

  memcpy(&n, from, sizeof n);
  return n;
}

static inline uint32_t page_load32(const uint8_t *from)
{
  uint32_t n;

  memcpy(&n, from, sizeof n);
  return n;
}

static inline uint64_t page_load64(const uint8_t *from)
{
  uint64_t n;

  memcpy(&n, from, sizeof n);
  return n;
}

/* The page that a branch's node leads to. */
static inline uint64_t node_child(const uint8_t *at)
{
  return page_load16(at + NODE_LOW_OFF) | (uint64_t)page_load16(at + NODE_HIGH_OFF) << 16 |
         (uint64_t)page_load16(at + NODE_FLAGS_OFF) << 32;
}

/* The length of a leaf's value. */
static inline uint32_t node_value_len(const uint8_t *at)
{
  return page_load16(at + NODE_LOW_OFF) | (uint32_t)page_load16(at + NODE_HIGH_OFF) << 16;
}

#endif /* BZ_INDEX_PAGE_H */
