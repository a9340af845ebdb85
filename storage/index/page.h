/* SPDX-License-Identifier: GPL-2.0-only
 *
 * page.h: the bytes of LMDB's pages, data version 1 (mdb.c: MDB_page, MDB_node, MDB_db,
 * MDB_meta), in the machine's byte order. For verify.c and walk.c.
 */
#ifndef BZ_INDEX_PAGE_H
#define BZ_INDEX_PAGE_H

#include <stdbool.h>
#include <stddef.h>
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
#define PAGE_LEN_MIN 512
#define PAGE_LEN_MAX 32768
#define PAGE_FIRST 2 /* before that are the two that say where the trees begin */

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
#define DB_INTEGER_KEYS 8 /* of DB_FLAGS */

#define META_OFF 16         /* in pages 0 and 1 */
#define META_MAGIC_OFF 0    /* 4 */
#define META_VERSION_OFF 4  /* 4 */
#define META_FREE_OFF 24    /* the record of the list of free pages */
#define META_MAIN_OFF 72    /* that of the unnamed database */
#define META_LAST_OFF 120   /* 8: the last page in use */
#define META_NUMBER_OFF 128 /* 8: of the commit */
#define META_LEN 136
#define META_NUMBER_MAX (UINT64_MAX / 2)
#define META_MAGIC 0xBEEFC0DEu
#define META_VERSION 1
#define META_PAGE_LEN (META_OFF + META_LEN) /* what is read of pages 0 and 1 */

/* Numbers of a page are loaded as they are asked for, once each: the page may change meanwhile. */
struct page_number16
{
  uint16_t n;
} __attribute__((packed, may_alias));
struct page_number32
{
  uint32_t n;
} __attribute__((packed, may_alias));
struct page_number64
{
  uint64_t n;
} __attribute__((packed, may_alias));

static inline uint16_t page_load16(const uint8_t *from)
{
  return ((const volatile struct page_number16 *)(const void *)from)->n;
}

static inline uint32_t page_load32(const uint8_t *from)
{
  return ((const volatile struct page_number32 *)(const void *)from)->n;
}

static inline uint64_t page_load64(const uint8_t *from)
{
  return ((const volatile struct page_number64 *)(const void *)from)->n;
}

/* What page 0 says of the length of pages; 0: that cannot be. */
static inline size_t page_len_of(const uint8_t *meta_page)
{
  uint32_t len = page_load32(meta_page + META_OFF + META_FREE_OFF + DB_PAD_OFF);

  return len >= PAGE_LEN_MIN && len <= PAGE_LEN_MAX && (len & (len - 1)) == 0 ? len : 0;
}

/* The number of the commit that page 0 or 1 is of. */
static inline uint64_t meta_number(const uint8_t *meta_page)
{
  return page_load64(meta_page + META_OFF + META_NUMBER_OFF);
}

/* Is this page WHICH, 0 or 1, which says where the trees begin? Commits take turns. */
static inline bool page_is_meta(const uint8_t *page, unsigned which, size_t page_len)
{
  const uint8_t *meta = page + META_OFF;
  uint64_t number = meta_number(page);

  return page_load64(page + PAGE_NUMBER_OFF) == which &&
         page_load16(page + PAGE_FLAGS_OFF) == PAGE_META &&
         page_load32(meta + META_MAGIC_OFF) == META_MAGIC &&
         page_load32(meta + META_VERSION_OFF) == META_VERSION &&
         page_load32(meta + META_FREE_OFF + DB_PAD_OFF) == page_len &&
         (page_load16(meta + META_FREE_OFF + DB_FLAGS_OFF) & 0x3fff) == DB_INTEGER_KEYS &&
         number <= META_NUMBER_MAX && (number == 0 || number % 2 == which);
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
