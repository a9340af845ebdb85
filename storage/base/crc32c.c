/* SPDX-License-Identifier: GPL-2.0-only
 *
 * crc32c.c: the checksum of rows and headers: by the processor's instruction
 * where it has one, and by a table elsewhere. Both give the same numbers.
 */
#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc_by_instruction(uint32_t crc, const uint8_t *p,
                                                                     size_t len)
{
  uint64_t sum = ~crc;

  for (; len >= 8; len -= 8, p += 8)
  {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    sum = _mm_crc32_u64(sum, word);
  }
  for (; len > 0; len--, p++)
    sum = _mm_crc32_u8((uint32_t)sum, *p);
  return ~(uint32_t)sum;
}
#endif

static uint32_t table[256];

static void fill_table(void)
{
  for (uint32_t byte = 0; byte < 256; byte++)
  {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++)
      crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0);
    table[byte] = crc;
  }
}

static uint32_t crc_by_table(uint32_t crc, const uint8_t *p, size_t len)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;

  pthread_once(&once, fill_table);
  crc = ~crc;
  for (; len > 0; len--, p++)
    crc = (crc >> 8) ^ table[(crc ^ *p) & 0xff];
  return ~crc;
}

uint32_t bz_crc32c(uint32_t crc, const void *data, size_t len)
{
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2"))
    return crc_by_instruction(crc, data, len);
#endif
  return crc_by_table(crc, data, len);
}
