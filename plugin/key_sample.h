/* SPDX-License-Identifier: GPL-2.0-only
 *
 * key_sample.h: how many rows a range of a primary key has that is a hash, so that the
 * optimizer can tell in which order to join tables. It cannot be read by the key.
 */
#ifndef BLITZ_KEY_SAMPLE_H
#define BLITZ_KEY_SAMPLE_H

#include <mutex>
#include <string>
#include <vector>

#include "server.h"

/* Where a range begins or ends, as a seek in an index of the keys would. */
struct Range_edge
{
  struct blitz_slice key; /* encoded as for an index */
  enum blitz_seek where;  /* BLITZ_SEEK_FIRST or BLITZ_SEEK_AFTER */
};

/* The keys of some rows of a table, in order, for all who have it open. */
class Key_sample
{
public:
  static constexpr uint64_t SIZE = 1000;

  /* Was it never taken, or some seconds ago, or of another table by now, which has ROWS rows? */
  bool is_outdated(ha_rows rows);
  void store(ha_rows rows, std::vector<std::string> keys);

  /* About how many of ROWS rows are in the range. */
  ha_rows estimate(const Range_edge &from, const Range_edge &to, ha_rows rows);

private:
  size_t keys_before(const Range_edge &edge) const;

  std::mutex m_lock; /* protects the rest */
  std::vector<std::string> m_keys;
  ha_rows m_rows = 0; /* of the table when it was taken */
  ulonglong m_taken = 0; /* when, in microseconds; 0: never */
};

#endif /* BLITZ_KEY_SAMPLE_H */
