/* SPDX-License-Identifier: GPL-2.0-only
 *
 * key_sample.cc: see key_sample.h.
 */
#include "key_sample.h"

#include <algorithm>

/* A table may get quite other keys while it stays as large. A sample takes less than a
   millisecond. */
static const ulonglong AGE_MAX_US = 10 * 1000 * 1000;

bool Key_sample::is_outdated(ha_rows rows)
{
  std::lock_guard<std::mutex> guard(m_lock);
  return m_taken == 0 || my_interval_timer() / 1000 - m_taken > AGE_MAX_US ||
         rows > m_rows + m_rows / 2 || rows < m_rows / 2;
}

void Key_sample::store(ha_rows rows, std::vector<std::string> keys)
{
  std::sort(keys.begin(), keys.end());
  std::lock_guard<std::mutex> guard(m_lock);
  m_rows = rows;
  m_taken = my_interval_timer() / 1000;
  m_keys.swap(keys);
}

/* How many keys come before the place where a seek would put a cursor. */
size_t Key_sample::keys_before(const Range_edge &edge) const
{
  std::string key(static_cast<const char *>(edge.key.data), edge.key.len);
  auto place = edge.where == BLITZ_SEEK_FIRST
                   ? std::lower_bound(m_keys.begin(), m_keys.end(), key)
                   : std::upper_bound(m_keys.begin(), m_keys.end(), key,
                                      [](const std::string &bound, const std::string &other)
                                      { return other.compare(0, bound.size(), bound) > 0; });
  return place - m_keys.begin();
}

/* That none of the sample is in the range makes half a row of it. */
ha_rows Key_sample::estimate(const Range_edge &from, const Range_edge &to, ha_rows rows)
{
  std::lock_guard<std::mutex> guard(m_lock);
  size_t begin = from.key.len ? keys_before(from) : 0;
  size_t end = to.key.len ? keys_before(to) : m_keys.size();
  double in_range = end > begin ? (double) (end - begin) : 0.5;
  double estimate = m_keys.empty() ? rows : in_range / m_keys.size() * rows;
  return std::max((ha_rows) 1, (ha_rows) (estimate + 0.5));
}
