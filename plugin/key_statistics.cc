/* SPDX-License-Identifier: GPL-2.0-only
 *
 * key_statistics.cc: see key_statistics.h.
 */
#include "key_statistics.h"

#include <algorithm>

/* ---- samples ---------------------------------------------------------------------- */

Key_sampler::Key_sampler(const Key_codec *codec)
    : m_codec(codec), m_last_ends(codec->part_count()), m_ends(codec->part_count()),
      m_changes(codec->part_count()), m_jumps(codec->part_count())
{
  m_last.reserve(BLITZ_INDEX_KEY_MAX); /* the core, plain C, must see no bad_alloc */
}

void Key_sampler::visit(void *arg, struct blitz_slice key, bool first)
{
  static_cast<Key_sampler *>(arg)->visit_key(key, first);
}

void Key_sampler::visit_key(struct blitz_slice key, bool first)
{
  const uchar *data = static_cast<const uchar *>(key.data);
  uint part_count = m_codec->part_ends(key, m_ends.data());
  if (part_count == 0) /* damaged: CHECK TABLE tells */
    return;
  if (m_visited > 0)
  {
    size_t common = std::mismatch(data, data + std::min(key.len, m_last.size()),
                                  m_last.begin()).first - data;
    std::vector<uint64_t> &counts = first ? m_jumps : m_changes;
    for (uint part_no = 0; part_no < part_count; part_no++)
      counts[part_no] += m_ends[part_no] > common || m_ends[part_no] != m_last_ends[part_no];
    m_pairs += !first;
  }
  m_visited++;
  m_last.assign(data, data + key.len);
  m_last_ends = m_ends;
}

/*
  The chance that a key differs from the one before it is the number of different
  values by that of the keys. There are at least those that were seen.
*/
ulong Key_sampler::rows_per_value(uint part_no, uint64_t entry_count) const
{
  if (m_visited == 0 || entry_count == 0)
    return 0;
  double values = 1.0 + m_changes[part_no] + m_jumps[part_no];
  if (m_visited < entry_count && m_pairs > 0)
    values = std::max(values, (double) m_changes[part_no] / m_pairs * entry_count);
  double rows = entry_count / std::min(values, (double) entry_count);
  return (ulong) (rows + 0.5);
}

/* ---- what is known of a table ------------------------------------------------------ */

bool Key_statistics::are_outdated(ha_rows rows) const
{
  ha_rows then = m_rows.load(std::memory_order_relaxed);
  return then == HA_POS_ERROR || rows > then + then / 2 || rows < then / 2;
}

void Key_statistics::store(ha_rows rows, std::vector<std::vector<ulong>> rows_per_value)
{
  std::lock_guard<std::mutex> guard(m_lock);
  m_rows = rows;
  m_rows_per_value.swap(rows_per_value);
}

void Key_statistics::show(TABLE *table)
{
  std::lock_guard<std::mutex> guard(m_lock);
  for (size_t key_no = 0; key_no < m_rows_per_value.size(); key_no++)
  {
    const std::vector<ulong> &rows = m_rows_per_value[key_no];
    ulong *to = table->key_info[key_no].rec_per_key;
    if (to)
      std::copy(rows.begin(), rows.end(), to);
  }
}
