/* SPDX-License-Identifier: GPL-2.0-only
 *
 * recover.c: repairs a file that was not closed, or that is damaged, from its rows
 * alone: whatever the buckets, the trees, the free list and the row count say is
 * made anew.
 *
 * A row is believed if its checksum holds. Of those,
 *  R1. one with a number up to the header's last commit is there,
 *  R2. one with a later number belongs to a commit that was not finished, and is
 *      not there,
 *  R3. a removed one is there if the commit that removed it was not finished,
 *  R4. of two with one key, which a move leaves behind, the later one is there.
 * Every 16th byte is looked at, so a damaged length hides nothing. A free block's
 * rest cannot be taken for a row: a row's place is stamped when it goes.
 *
 * It may be killed and begun again at any point: it makes rows live before it
 * counts on that, and frees only what would be freed again.
 */
#include "blitz_int.h"
#include "bytes.h"

#include <inttypes.h>
#include <string.h>

struct recovery
{
  struct blitz_table *table;
  uint64_t committed; /* the header's number */
  uint64_t seq_max;   /* highest number seen */
  uint64_t row_id_max;
  uint64_t rows;
  uint64_t undone;   /* changes of the unfinished commit */
  uint64_t damaged;  /* rows of which the checksum does not hold */
  uint64_t gap_off;  /* where the free space before the next row begins */
  uint64_t tile_end; /* where the next block must begin, if nothing is damaged */
  uint64_t end;      /* of the blocks, says the header */
};

enum verdict
{
  VERDICT_NOTHING, /* no row starts here */
  VERDICT_LIVE,
  VERDICT_UNDO,   /* a row of the unfinished commit */
  VERDICT_REVIVE, /* removed by the unfinished commit */
  VERDICT_DAMAGED,
};

static enum verdict judge(struct recovery *r, uint64_t off, uint64_t end, struct bz_row *row)
{
  const uint8_t *base = bz_base(r->table);
  uint64_t word = bz_word_load(base, off), seq;
  uint64_t removed_seq = 0;
  bool removed = false;

  if (bz_word_magic(word) == BZ_FREE_MAGIC)
  {
    removed_seq = le64toh(bz_word_load(base, off + 8));
    if (bz_free_word_state(word) != BZ_STATE_REMOVED || removed_seq <= r->committed)
      return VERDICT_NOTHING;
    removed = true;
  }
  else if (bz_word_magic(word) != BZ_ROW_MAGIC)
    return VERDICT_NOTHING;
  if (!bz_row_parse(base, off, end, row))
    return VERDICT_NOTHING;
  seq = bz_row_seq(row);
  if (!bz_row_intact(r->table->salt, row))
    return removed ? VERDICT_NOTHING : VERDICT_DAMAGED;
  if (seq > r->seq_max)
    r->seq_max = seq;
  /* A removal is believed to have been the next commit's, but hardly what is far beyond. */
  if (removed_seq == r->committed + 1 && removed_seq > r->seq_max)
    r->seq_max = removed_seq;
  if (seq > r->committed)
    return removed ? VERDICT_NOTHING : VERDICT_UNDO;
  return removed ? VERDICT_REVIVE : VERDICT_LIVE;
}

/* Makes sure that nothing takes the bytes at OFF for a row again. */
static void stamp_out(struct recovery *r, uint64_t off)
{
  bz_word_store(bz_base(r->table), off, 0);
}

/* Lets nobody believe the index file, even if this is not finished: it may have entries of
 * rows that will not be there.
 */
static void forget_indexes(const struct recovery *r)
{
  bz_word_store(bz_base(r->table), BZ_INDEX_SEQ_OFF, 0);
}

/* Hangs the row into its tree. False: a copy of it, as late or later, is there. */
static bool link_row(struct recovery *r, const struct bz_row *row)
{
  struct bz_key key = bz_key_of_row(row);
  struct bz_place place;
  enum blitz_rc rc = bz_hash_find(r->table, &key, &place);

  if (rc == BLITZ_NOT_FOUND)
    bz_hash_link(r->table, key.hash, place.link_off, row->off);
  else if (rc == BLITZ_OK && bz_row_seq(&place.row) < bz_row_seq(row))
  {
    bz_hash_replace(r->table, key.hash, &place, row->off);
    stamp_out(r, place.row.off);
    bz_space_free_gap(r->table, place.row.off, place.row.off + place.row.len);
    r->rows--;
  }
  else
    return false;
  return true;
}

static void note_row_id(struct recovery *r, const struct bz_row *row)
{
  if (r->table->row_ids && row->key_len == 8 + BZ_KEY_SPREAD_LEN &&
      bz_load_be64(row->key) > r->row_id_max)
    r->row_id_max = bz_load_be64(row->key);
}

/* Keeps the row and makes what is before it free. */
static void keep_row(struct recovery *r, const struct bz_row *row)
{
  bz_space_free_gap(r->table, r->gap_off, row->off);
  r->gap_off = row->off + row->len;
  r->rows++;
  note_row_id(r, row);
}

/* Length of the free block at OFF, 0 if there is none. */
static uint64_t free_len(const struct recovery *r, uint64_t off, uint64_t end)
{
  uint64_t word = bz_word_load(bz_base(r->table), off);
  uint64_t len = bz_free_word_len(word);

  return bz_word_magic(word) == BZ_FREE_MAGIC && len % BZ_ALIGN == 0 && len <= end - off ? len : 0;
}

static void walk(struct recovery *r, uint64_t end)
{
  uint64_t off = r->gap_off;

  while (off < end)
  {
    struct bz_row row;
    enum verdict verdict = judge(r, off, end, &row);
    bool kept = false;
    bool at_block = off == r->tile_end;

    if (at_block || verdict == VERDICT_LIVE)
      r->tile_end = off + (verdict != VERDICT_NOTHING ? row.len : free_len(r, off, end));
    switch (verdict)
    {
    case VERDICT_LIVE:
    case VERDICT_REVIVE:
      kept = link_row(r, &row);
      if (kept)
        keep_row(r, &row);
      else
        stamp_out(r, off);
      r->undone += verdict == VERDICT_REVIVE;
      break;
    case VERDICT_UNDO:
      note_row_id(r, &row);
      stamp_out(r, off);
      r->undone++;
      break;
    case VERDICT_DAMAGED:
      /* Elsewhere it is something that looks like a row. */
      if (at_block && off < r->end)
      {
        r->damaged++;
        forget_indexes(r);
      }
      stamp_out(r, off);
      break;
    case VERDICT_NOTHING: break;
    }
    off += kept ? row.len : BZ_ALIGN;
  }
  bz_file_set_end(r->table, r->gap_off);
}

/* Where the first row of a closed file is, whatever its header says. Before it there is
 * nothing that could be taken for one: the file was closed so.
 */
static uint64_t find_first(struct recovery *r, uint64_t end)
{
  struct bz_row row;

  for (uint64_t off = BZ_FIRST_MIN; off < end; off += BZ_ALIGN)
    if (judge(r, off, end, &row) == VERDICT_LIVE)
      return off;
  return BZ_FIRST_MIN;
}

/* As many buckets as fit before the first block, a power of two, all empty. */
static void clear_buckets(struct blitz_table *table)
{
  uint8_t *base = bz_base(table);
  uint64_t first = atomic_load(&table->first);
  uint64_t room = (first - BZ_HEADER_LEN - BZ_POOL_LEN) / BZ_BUCKET_LEN;
  uint64_t count = BZ_BUCKETS_MIN;

  while (count * 2 <= room)
    count *= 2;
  memset(base + BZ_HEADER_LEN, 0, first - BZ_HEADER_LEN);
  bz_store_be64(base + BZ_TC_BUCKET_COUNT_OFF, count);
  atomic_store(&table->bucket_count, count);
}

static void save_results(struct recovery *r)
{
  struct blitz_table *table = r->table;
  uint8_t *base = bz_base(table);

  /* Numbers of what was undone are not given again. */
  bz_store_le64(base + BZ_COMMITTED_OFF, r->seq_max);
  atomic_store(&table->committed, r->seq_max);
  if (r->row_id_max >= bz_load_le64(base + BZ_NEXT_ROW_ID_OFF))
    bz_store_le64(base + BZ_NEXT_ROW_ID_OFF, r->row_id_max + 1);
  bz_store_be64(base + BZ_TC_ROW_COUNT_OFF, r->rows);
  atomic_store(&table->row_count, r->rows);
  bz_grow(table, NULL, r->rows, UINT64_MAX);
}

enum blitz_rc bz_recover(struct blitz_table *table, bool closed, bool *lost_rowsp,
                         struct blitz_error *err)
{
  struct recovery r = {.table = table, .committed = atomic_load(&table->committed)};
  uint64_t end = table->allocated / BZ_ALIGN * BZ_ALIGN;
  const char *reason = closed ? "is to be repaired" : "was not closed";

  if (table->flags & BLITZ_OPEN_READONLY)
    return bz_fail(err, BLITZ_READONLY, 0,
                   "%s %s and must be repaired, but is open for reading only. "
                   "Open it for writing once",
                   table->file, reason);
  bz_log(closed ? BLITZ_LOG_NOTE : BLITZ_LOG_WARNING, "%s %s: repairing it from its rows",
         table->file, reason);
  bz_file_mark_dirty(table);
  if (closed)
  {
    /* No commit was under way. */
    r.committed = UINT64_MAX;
    atomic_store(&table->first, find_first(&r, end));
    bz_store_be64(bz_base(table) + BZ_TC_FIRST_OFF, atomic_load(&table->first));
  }
  else
    r.seq_max = r.committed;
  /* Entries of a commit that was not finished; and who repairs has seen damage. */
  if (closed || (table->flags & BLITZ_OPEN_REPAIR) ||
      bz_load_le64(bz_base(table) + BZ_INDEX_SEQ_OFF) > r.committed + 1)
    forget_indexes(&r);
  r.gap_off = atomic_load(&table->first);
  r.tile_end = r.gap_off;
  r.end = atomic_load(&table->end);
  bz_space_clear(table);
  clear_buckets(table);
  /* Only for the walk. The header's end stays, lest whoever repairs the file after us, if we
   * are killed, takes what is behind it for damage.
   */
  atomic_store(&table->end, end);
  walk(&r, end);
  save_results(&r);
  bz_count(&bz_counters.recoveries, 1);
  bz_log(BLITZ_LOG_NOTE,
         "%s is repaired: %" PRIu64 " rows; %" PRIu64 " changes of an unfinished statement undone",
         table->file, r.rows, r.undone);
  *lost_rowsp = r.damaged > 0;
  if (r.damaged > 0)
    bz_log(BLITZ_LOG_ERROR,
           "%s: %" PRIu64 " rows were damaged and are lost. Restore them from a backup",
           table->file, r.damaged);
  return BLITZ_OK;
}
