/* SPDX-License-Identifier: GPL-2.0-only
 *
 * key_statistics.h: how many rows have the same values in the first columns of a key.
 *
 * The figures of a table come from samples of its indexes. They are taken when the
 * table is opened, when it has since grown or shrunk by half, and more thoroughly by
 * ANALYZE TABLE, and kept for all who have it open.
 */
#ifndef BLITZ_KEY_STATISTICS_H
#define BLITZ_KEY_STATISTICS_H

#include <atomic>
#include <mutex>
#include <vector>

#include "key_codec.h"
#include "server.h"

/* Counts in a sample of an index's keys where the values of parts change. */
class Key_sampler
{
public:
  explicit Key_sampler(const Key_codec *codec);

  /* For blitz_index_sample(); ARG is a Key_sampler. */
  static void visit(void *arg, struct blitz_slice key, bool first);

  /* Rows with the same values in the parts up to PART_NO, of ENTRY_COUNT rows. */
  ulong rows_per_value(uint part_no, uint64_t entry_count) const;

private:
  void visit_key(struct blitz_slice key, bool first);

  const Key_codec *m_codec;
  std::vector<uchar> m_last;         /* the key before */
  std::vector<uint32> m_last_ends;   /* of its parts */
  std::vector<uint32> m_ends;
  std::vector<uint64_t> m_changes;   /* by part: from a key to the next one */
  std::vector<uint64_t> m_jumps;     /* from a group of keys to the next one */
  uint64_t m_pairs = 0;              /* neighbours compared */
  uint64_t m_visited = 0;
};

class Key_statistics
{
public:
  /* Were they never taken, or of another table by now, which has ROWS rows? Every
     statement asks. */
  bool are_outdated(ha_rows rows) const;

  /* ROWS_PER_VALUE: by key and part. */
  void store(ha_rows rows, std::vector<std::vector<ulong>> rows_per_value);

  /* Fills in what the server has of each key. */
  void show(TABLE *table);

private:
  std::atomic<ha_rows> m_rows{HA_POS_ERROR}; /* of the table then; HA_POS_ERROR: never taken */
  std::mutex m_lock;                         /* protects the rest */
  std::vector<std::vector<ulong>> m_rows_per_value;
};

#endif /* BLITZ_KEY_STATISTICS_H */
