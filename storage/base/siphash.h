/* SPDX-License-Identifier: GPL-2.0-only
 *
 * siphash.h: a hash of which nobody can tell anything without the key: J.-P. Aumasson and
 * D. J. Bernstein, "SipHash: a fast short-input PRF", 2012.
 */
#ifndef BZ_SIPHASH_H
#define BZ_SIPHASH_H

#include "base/bytes.h"

static inline uint64_t bz_rotate_left(uint64_t n, unsigned bits)
{
  return n << bits | n >> (64 - bits);
}

static inline void bz_sip_rounds(uint64_t v[4], unsigned rounds)
{
  for (; rounds > 0; rounds--)
  {
    v[0] += v[1];
    v[2] += v[3];
    v[1] = bz_rotate_left(v[1], 13) ^ v[0];
    v[3] = bz_rotate_left(v[3], 16) ^ v[2];
    v[0] = bz_rotate_left(v[0], 32) + v[3];
    v[2] += v[1];
    v[3] = bz_rotate_left(v[3], 21) ^ v[0];
    v[1] = bz_rotate_left(v[1], 17) ^ v[2];
    v[2] = bz_rotate_left(v[2], 32);
  }
}

/* SipHash-PER_WORD-AT_END of LEN bytes at DATA. With the key 00 01 ... 0f, SipHash-2-4 of
 * 00 01 ... 0e is 0xa129ca6149be45e5.
 */
static inline uint64_t bz_siphash(const uint64_t key[2], const void *data, size_t len,
                                  unsigned per_word, unsigned at_end)
{
  uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
                   key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
  const uint8_t *from = data;
  uint8_t last[8] = {0};
  uint64_t word;

  for (size_t left = len; left >= 8; left -= 8, from += 8)
  {
    word = bz_load_le64(from);
    v[3] ^= word;
    bz_sip_rounds(v, per_word);
    v[0] ^= word;
  }
  if (len % 8 > 0)
    memcpy(last, from, len % 8);
  last[7] = (uint8_t)len;
  word = bz_load_le64(last);
  v[3] ^= word;
  bz_sip_rounds(v, per_word);
  v[0] ^= word;
  v[2] ^= 0xff;
  bz_sip_rounds(v, at_end);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif /* BZ_SIPHASH_H */
