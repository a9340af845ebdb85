/* SPDX-License-Identifier: GPL-2.0-only
 *
 * snapshot.c: what a scan sees: the rows of all commits up to its snapshot's
 * number and of none after.
 *
 * A scan reads beside the writer without a lock. It may, because a block's word 0
 * is stored last (F1), rows do not change (F3), blocks are only cut in two (F2),
 * and what a commit removes stays readable while an older snapshot is open. See
 * docs/LOCKING.md for the argument, case by case.
 */
#include "rows/space.h"

#include <assert.h>
#include <string.h>

void bz_snapshot_take(struct blitz_table *table, struct bz_snapshot *snapshot)
{
  assert(bz_holds(&table->snapshot_lock));
  snapshot->seq = atomic_load_explicit(&table->committed, memory_order_acquire);
  snapshot->first = atomic_load_explicit(&table->first, memory_order_acquire);
  snapshot->end = atomic_load_explicit(&table->end, memory_order_acquire);
  snapshot->map = atomic_load_explicit(&table->map, memory_order_acquire);
  snapshot->row_count = atomic_load_explicit(&table->row_count, memory_order_relaxed);
  LIST_INSERT_HEAD(&table->snapshots, snapshot, link);
}

void bz_snapshot_publish(struct blitz_table *table, uint64_t seq, uint64_t row_count)
{
  bz_assert_writer(table);
  pthread_mutex_lock(&table->snapshot_lock);
  bz_put_be64(table, BZ_TC_ROW_COUNT_OFF, row_count);
  bz_put_word(table, BZ_COMMITTED_OFF, htole64(seq));
  assert(seq == atomic_load_explicit(&table->committed, memory_order_relaxed) + 1);
  atomic_store_explicit(&table->row_count, row_count, memory_order_release);
  atomic_store_explicit(&table->committed, seq, memory_order_release);
  pthread_mutex_unlock(&table->snapshot_lock);
}

void bz_snapshot_end(struct blitz_table *table, struct bz_snapshot *snapshot)
{
  assert(bz_holds(&table->snapshot_lock));
  LIST_REMOVE(snapshot, link);
  atomic_fetch_add_explicit(&table->snapshot_ends, 1, memory_order_relaxed);
}

void bz_snapshot_copy(struct blitz_table *table, const struct bz_snapshot *from,
                      struct bz_snapshot *to)
{
  bz_snapshot_take(table, to);
  to->seq = from->seq;
  to->first = from->first;
  to->end = from->end;
  to->row_count = from->row_count;
  to->map = from->map;
}

/* ---- the way of a scan ----------------------------------------------------------- */

#define WATCHED_LEN (UINT64_C(256) << 10) /* bytes that a scan keeps as they are before it */

void bz_scan_begin(struct blitz_table *table, struct bz_scan *scan, uint64_t off)
{
  pthread_mutex_lock(&table->snapshot_lock);
  *scan = (struct bz_scan){.low = off, .high = off + WATCHED_LEN};
  LIST_INSERT_HEAD(&table->scans, scan, link);
  pthread_mutex_unlock(&table->snapshot_lock);
}

void bz_scan_watch(struct blitz_table *table, struct bz_scan *scan, uint64_t off, uint64_t next)
{
  assert(scan->low <= off && off <= scan->high);
  pthread_mutex_lock(&table->snapshot_lock);
  scan->low = off;
  scan->high = next + WATCHED_LEN;
  pthread_mutex_unlock(&table->snapshot_lock);
}

void bz_scan_end(struct blitz_table *table, struct bz_scan *scan)
{
  pthread_mutex_lock(&table->snapshot_lock);
  LIST_REMOVE(scan, link);
  pthread_mutex_unlock(&table->snapshot_lock);
}

bool bz_scan_watches(const struct blitz_table *table, uint64_t off)
{
  const struct bz_scan *scan;

  assert(bz_holds(&table->snapshot_lock));
  LIST_FOREACH (scan, &table->scans, link)
    if (scan->low <= off && off <= scan->high)
      return true;
  return false;
}

/* ---- what is at a place ------------------------------------------------------------ */

/* What of a file is looked at, and which rows are seen. */
struct view
{
  const uint8_t *base;
  uint64_t end; /* of the blocks now: one may have come to reach beyond the snapshot's end */
  uint64_t written_max;   /* rows with a number up to this one ... */
  uint64_t removed_after; /* ... that were not removed by a commit up to this one */
};

/* A row is damaged, or it is seen or not. */
static enum blitz_rc judge_row(const struct blitz_table *table, const struct view *view,
                               const struct bz_row *row)
{
  if (!bz_row_intact(table->salt, row))
    return BLITZ_CORRUPT;
  return bz_row_seq(row) <= view->written_max ? BLITZ_OK : BLITZ_NOT_FOUND;
}

/* A row that the view does not see may go and its block be used again while it is looked at;
 * then what is found here is not to be believed, and the caller looks again.
 */
static enum blitz_rc judge_block(const struct blitz_table *table, const struct view *view,
                                 uint64_t off, struct bz_row *row)
{
  uint64_t word = bz_word_load(view->base, off);
  uint64_t free_len = bz_free_word_len(word), removed;

  if (bz_word_magic(word) == BZ_ROW_MAGIC)
    return bz_row_parse(view->base, off, view->end, row) ? judge_row(table, view, row)
                                                         : BLITZ_CORRUPT;
  if (bz_word_magic(word) != BZ_FREE_MAGIC || free_len == 0 || free_len % BZ_ALIGN != 0 ||
      free_len > view->end - off)
    return BLITZ_CORRUPT;
  row->off = off;
  row->len = free_len;
  if (bz_free_word_state(word) != BZ_STATE_REMOVED)
    return BLITZ_NOT_FOUND;
  removed = le64toh(bz_word_load(view->base, off + 8));
  if (removed <= view->removed_after)
    return BLITZ_NOT_FOUND;
  if (!bz_row_parse(view->base, off, view->end, row) || row->len != free_len)
    return BLITZ_CORRUPT;
  return judge_row(table, view, row);
}

/* Reads the end and the map: the one covers the other, since the writer publishes them in
 * the opposite order.
 */
static void look_now(const struct blitz_table *table, struct view *view)
{
  view->end = atomic_load_explicit(&table->end, memory_order_acquire);
  view->base = atomic_load_explicit(&table->map, memory_order_acquire)->base;
}

/* Is what was found at OFF, where WORD was first, to be believed? A row that the view sees has
 * its checksum, and the length of a block that is none is in one word.
 */
static bool stayed(const struct blitz_table *table, const struct view *view, uint64_t off,
                   uint64_t word, enum blitz_rc rc, unsigned reuses)
{
  if (rc == BLITZ_NOT_FOUND && bz_word_magic(word) == BZ_FREE_MAGIC)
    return true;
  atomic_thread_fence(memory_order_acquire);
  return reuses % 2 == 0 && atomic_load_explicit(&table->reuses, memory_order_relaxed) == reuses &&
         bz_word_magic(bz_word_load(view->base, off)) == bz_word_magic(word);
}

static enum blitz_rc look(const struct blitz_table *table, struct view *view, uint64_t off,
                          struct bz_row *row)
{
  enum blitz_rc rc;
  uint64_t word;
  unsigned reuses;

  /* A link that is being set shares word 0, but not the byte that is looked at. */
  BZ_RACY_READS_BEGIN();
  do
  {
    reuses = atomic_load_explicit(&table->reuses, memory_order_acquire);
    look_now(table, view);
    if (off >= view->end)
    {
      rc = BLITZ_CORRUPT;
      break;
    }
    word = bz_word_load(view->base, off);
    rc = judge_block(table, view, off, row);
  } while (rc != BLITZ_OK && !stayed(table, view, off, word, rc, reuses));
  BZ_RACY_READS_END();
  return rc;
}

enum blitz_rc bz_snapshot_block(const struct blitz_table *table, const struct bz_snapshot *snapshot,
                                uint64_t off, struct bz_row *row)
{
  struct view view = {.written_max = snapshot->seq, .removed_after = snapshot->seq};

  return look(table, &view, off, row);
}

bool bz_snapshot_has_row(const struct blitz_table *table, const struct bz_snapshot *snapshot,
                         uint64_t off, const struct bz_key *key, struct bz_row *row)
{
  const uint8_t *base = snapshot->map->base;
  bool same;

  if (off % BZ_ALIGN != 0 || off < snapshot->first || off >= snapshot->end)
    return false;
  /* What is there may be a row that is being written. */
  BZ_RACY_READS_BEGIN();
  same = bz_row_parse(base, off, snapshot->end, row) && row->key_len == key->len &&
         memcmp(row->key, key->data, key->len) == 0;
  BZ_RACY_READS_END();
  return same && bz_snapshot_block(table, snapshot, off, row) == BLITZ_OK;
}

enum blitz_rc bz_snapshot_kept(const struct blitz_table *table, const struct bz_snapshot *snapshot,
                               uint64_t off, struct bz_row *row)
{
  struct view view = {.removed_after = snapshot->seq};

  view.written_max = atomic_load_explicit(&table->committed, memory_order_acquire);
  look_now(table, &view);
  if (off % BZ_ALIGN != 0 || off < snapshot->first || off >= view.end)
    return BLITZ_NOT_FOUND;
  return look(table, &view, off, row);
}
