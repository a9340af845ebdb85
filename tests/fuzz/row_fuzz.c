/* SPDX-License-Identifier: GPL-2.0-only
 *
 * row_fuzz.c: bytes that are taken for blocks of a data file. Whatever they are, a row that is
 * found lies within them.
 */
#include "rows/format.h"
#include "support/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
  /* At its exact length, so that a byte too far is seen. */
  uint8_t *bytes = aligned_alloc(16, (len + 15) / 16 * 16 + 16);
  require(bytes != NULL);
  uint8_t *base = bytes + ((len + 15) / 16 * 16 - len) / 8 * 8;
  if (len > 0)
    memcpy(base, data, len);
  for (uint64_t off = 0; off + 8 <= len; off += 16)
  {
    struct bz_row row;
    uint64_t word = bz_word_load(base, off);
    (void)bz_free_word_len(word);
    (void)bz_free_word_state(word);
    if (!bz_row_parse(base, off, len, &row))
      continue;
    require(row.off == off && row.len <= len - off && row.len % 16 == 0);
    require(row.key >= base + off && row.key + row.key_len <= base + off + row.len);
    (void)bz_row_intact(12345, &row);
    (void)bz_hash(row.key, row.key_len);
  }
  free(bytes);
  return 0;
}
