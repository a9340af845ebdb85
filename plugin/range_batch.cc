/* SPDX-License-Identifier: GPL-2.0-only
 *
 * range_batch.cc: see range_batch.h.
 */
#include "range_batch.h"

/* Room for encoded keys beside that for the longest one. */
static const size_t ROW_KEYS_SIZE = 4096;

Range_batch::Range_batch(Key_codec *codec, uint key_length)
    : m_codec(codec), m_key_length(key_length), m_keys(new uchar[2 * MAX * key_length]),
      m_row_keys_size(codec->buffer_size() + ROW_KEYS_SIZE)
{
  m_row_keys.reset(new uchar[m_row_keys_size]);
}

void Range_batch::begin(struct blitz_cursor *cursor, Next *next_range, range_seq_t seq)
{
  m_cursor = cursor;
  m_next = next_range;
  m_seq = seq;
  m_want = FIRST;
  m_count = m_pos = 0;
}

/* Copies the keys of RANGE to TO. */
void Range_batch::keep(KEY_MULTI_RANGE *range, uchar *to) const
{
  for (key_range *key : {&range->start_key, &range->end_key})
  {
    if (key->keypart_map && key->length <= m_key_length)
    {
      memcpy(to, key->key, key->length);
      key->key = to;
    }
    to += m_key_length;
  }
}

void Range_batch::fill()
{
  struct blitz_slice row_keys[MAX];
  uint row_key_count = 0;
  size_t used = 0;
  m_count = m_pos = 0;
  while (m_count < m_want && !m_next(m_seq, &m_ranges[m_count]))
  {
    KEY_MULTI_RANGE *range = &m_ranges[m_count];
    keep(range, m_keys.get() + (size_t) m_count * 2 * m_key_length);
    m_count++;
    if (!(range->range_flag & EQ_RANGE) || range->start_key.length != m_key_length ||
        m_row_keys_size - used < m_codec->buffer_size())
      continue;
    uchar *to = m_row_keys.get() + used;
    size_t len = m_codec->encode_search(range->start_key.key, m_codec->part_count(), to);
    if (len == Key_codec::TOO_LONG)
      continue;
    row_keys[row_key_count++] = {to, len};
    used += len;
  }
  if (row_key_count > 1)
    blitz_prefetch(m_cursor, row_keys, row_key_count);
  if (m_want < MAX)
    m_want *= 2;
}

bool Range_batch::next(range_seq_t seq, KEY_MULTI_RANGE *range)
{
  Range_batch *batch = static_cast<Range_batch *>(seq);
  if (batch->m_pos == batch->m_count)
    batch->fill();
  if (batch->m_pos == batch->m_count)
    return true;
  *range = batch->m_ranges[batch->m_pos++];
  return false;
}
