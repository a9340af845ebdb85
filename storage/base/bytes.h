/* SPDX-License-Identifier: GPL-2.0-only
 *
 * bytes.h: numbers in files, byte by byte.
 *
 * What Tokyo Cabinet owns of a file is big-endian, what we own little-endian.
 * Pointers need no alignment. Tokyo Cabinet's variable-length numbers: seven
 * bits a byte, lowest first; every byte but the last is inverted, so it is
 * negative as a signed char.
 */
#ifndef BZ_BYTES_H
#define BZ_BYTES_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void bz_store_be16(void *p, uint16_t n)
{
  n = htobe16(n);
  memcpy(p, &n, sizeof n);
}

static inline uint64_t bz_load_be64(const void *p)
{
  uint64_t n;
  memcpy(&n, p, sizeof n);
  return be64toh(n);
}

static inline void bz_store_be64(void *p, uint64_t n)
{
  n = htobe64(n);
  memcpy(p, &n, sizeof n);
}

/* The first bytes of LEN at P, with zeros behind if they are fewer, so that heads are in the order
 * of what they are of.
 */
static inline uint64_t bz_load_head(const void *p, size_t len)
{
  uint8_t head[sizeof(uint64_t)] = {0};

  if (len >= sizeof head)
    return bz_load_be64(p);
  if (len > 0)
    memcpy(head, p, len);
  return bz_load_be64(head);
}

static inline uint32_t bz_load_le32(const void *p)
{
  uint32_t n;
  memcpy(&n, p, sizeof n);
  return le32toh(n);
}

static inline void bz_store_le32(void *p, uint32_t n)
{
  n = htole32(n);
  memcpy(p, &n, sizeof n);
}

static inline uint16_t bz_load_le16(const void *p)
{
  uint16_t n;
  memcpy(&n, p, sizeof n);
  return le16toh(n);
}

static inline void bz_store_le16(void *p, uint16_t n)
{
  n = htole16(n);
  memcpy(p, &n, sizeof n);
}

static inline uint64_t bz_load_le64(const void *p)
{
  uint64_t n;
  memcpy(&n, p, sizeof n);
  return le64toh(n);
}

static inline void bz_store_le64(void *p, uint64_t n)
{
  n = htole64(n);
  memcpy(p, &n, sizeof n);
}

/* Bytes that N takes as a variable-length number: 1 to 5. */
static inline size_t bz_varint_len(uint32_t n)
{
  size_t len = 1;

  while (n >= 0x80)
  {
    n >>= 7;
    len++;
  }
  return len;
}

/* Writes N at P, returns the byte after it. */
static inline uint8_t *bz_varint_store(uint8_t *p, uint32_t n)
{
  while (n >= 0x80)
  {
    *p++ = (uint8_t) ~(n & 0x7f);
    n >>= 7;
  }
  *p++ = (uint8_t)n;
  return p;
}

/* Reads a number at P into *N and returns the byte after it, or NULL if it does
 * not end before END or does not fit into 32 bits.
 */
static inline const uint8_t *bz_varint_load(const uint8_t *p, const uint8_t *end, uint32_t *n)
{
  uint64_t sum = 0;
  unsigned shift = 0;

  for (; p < end && shift <= 28; shift += 7)
  {
    uint8_t byte = *p++;
    if (byte < 0x80)
    {
      sum += (uint64_t)byte << shift;
      *n = (uint32_t)sum;
      return sum <= UINT32_MAX ? p : NULL;
    }
    sum += (uint64_t)(~byte & 0x7f) << shift;
  }
  return NULL;
}

#endif /* BZ_BYTES_H */
