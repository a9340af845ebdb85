/* SPDX-License-Identifier: GPL-2.0-only
 *
 * range_batch.h: keys to be looked up one after the other, some ahead of time.
 *
 * It stands between the server's list of ranges and the handler that reads them:
 * it takes some ranges at a time, has their rows fetched into the processor's
 * caches all at once, and hands the ranges out in the order in which they came.
 */
#ifndef BLITZ_RANGE_BATCH_H
#define BLITZ_RANGE_BATCH_H

#include <memory>

#include "key_codec.h"
#include "server.h"

class Range_batch
{
public:
  /* For keys of KEY_LENGTH bytes, as the server has them, and CODEC; throws bad_alloc. */
  Range_batch(Key_codec *codec, uint key_length);

  /* The next range of SEQ, as RANGE_SEQ_IF has it; true: there is none. */
  typedef bool Next(range_seq_t seq, KEY_MULTI_RANGE *range);

  /* Begins with the ranges of SEQ, which NEXT gives. */
  void begin(struct blitz_cursor *cursor, Next *next_range, range_seq_t seq);

  static Next next;

private:
  static constexpr uint MAX = 64;
  static constexpr uint FIRST = 4; /* the first batch is small, lest few rows are wanted */

  void fill();
  void keep(KEY_MULTI_RANGE *range, uchar *to) const;

  Key_codec *m_codec;
  uint m_key_length;
  std::unique_ptr<uchar[]> m_keys; /* as the server has them; it may use its own again */
  std::unique_ptr<uchar[]> m_row_keys;
  size_t m_row_keys_size;

  struct blitz_cursor *m_cursor = NULL;
  Next *m_next = NULL;
  range_seq_t m_seq = NULL;
  uint m_want = 0;
  uint m_count = 0, m_pos = 0;
  KEY_MULTI_RANGE m_ranges[MAX];
};

#endif /* BLITZ_RANGE_BATCH_H */
