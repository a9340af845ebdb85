/* SPDX-License-Identifier: GPL-2.0-only
 *
 * recover.c: makes a file that was not closed, or that is to be repaired, whole again from its
 * rows alone: whatever the buckets, the trees, the free list and the row count say is
 * made anew.
 *
 * A row is believed if its checksum holds. Of those,
 *  R1. one with a number up to the header's last commit is there,
 *  R2. one with a later number belongs to a commit that was not finished, and is
 *      not there,
 *  R3. a removed one is there if the commit that removed it was not finished,
 *  R4. of two with one key, which a move leaves behind, the later one is there.
 * Every 16th byte is looked at, so a damaged length hides nothing. A free block's
 * rest cannot be taken for a row: a row's place is stamped when its block is freed, where no
 * value that ends in its first two words makes it one again (bz_space_stamp_out()).
 *
 *  R10. A killed process leaves blocks that tile the file, of which each row is whole. What
 *      is neither has been damaged, and stays where it is, an error for whoever meets it,
 *      until a repair is asked for. If its key cannot be told, a look-up that finds nothing
 *      is an error as well.
 *  R11. A commit or a load numbers its rows one beyond the header. A row beyond that means
 *      that the header's number is damaged, and nothing is changed but by a repair, which
 *      then takes all commits for finished.
 *  R12. Recovery and repair may be killed after any store, and are begun again: each store
 *      leaves blocks that tile the file, and a row that is to be kept is either as it was or
 *      live.
 */
#include "base/counters.h"
#include "rows/hash.h"
#include "rows/space.h"

#include <inttypes.h>

#define REPORT_STEP (UINT64_C(1) << 24) /* bytes between reports of progress */

struct recovery
{
  struct blitz_table *table;
  const struct blitz_open_options *options;
  bool drops_damage;    /* R10: it is to go */
  bool changes;         /* the second walk, in which the file is changed */
  uint64_t committed;   /* the header's number; UINT64_MAX: all commits are finished */
  uint64_t seq_max;     /* highest number seen */
  uint64_t row_seq_max; /* of rows that are not removed */
  uint64_t row_id_max;
  uint64_t rows;
  uint64_t undone;   /* changes of the unfinished commit */
  uint64_t damaged;  /* places where that is a row less, or more than one */
  uint64_t gap_off;  /* where the free space before the next row begins */
  uint64_t tile_end; /* where the next block must begin, if nothing is damaged */
  uint64_t end;      /* of the blocks, says the header */
  bool in_damage;    /* what is before the next row is to stay as it is */
  bool met_damage;   /* since the last row: with a length, where blocks begin is lost too */
};

enum verdict
{
  VERDICT_NOTHING, /* no row starts here */
  VERDICT_LIVE,
  VERDICT_UNDO,   /* a row of the unfinished commit */
  VERDICT_REVIVE, /* removed by the unfinished commit */
  VERDICT_DAMAGED,
};

static void note_seq(struct recovery *r, uint64_t seq, bool removed, uint64_t removed_seq)
{
  if (seq > r->seq_max)
    r->seq_max = seq;
  if (!removed && seq > r->row_seq_max)
    r->row_seq_max = seq;
  /* A removal is believed to have been the next commit's, but hardly what is far beyond. */
  if (removed_seq == r->committed + 1 && removed_seq > r->seq_max)
    r->seq_max = removed_seq;
}

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
    return VERDICT_DAMAGED;
  note_seq(r, seq, removed, removed_seq);
  if (seq > r->committed)
    return removed ? VERDICT_NOTHING : VERDICT_UNDO;
  return removed ? VERDICT_REVIVE : VERDICT_LIVE;
}

/* Makes sure that nothing takes the bytes of a row for one again. */
static void stamp_out(struct recovery *r, const struct bz_row *row)
{
  if (!r->changes)
    return;
  bz_put_word(r->table, row->off, bz_free_word(row->len, BZ_STATE_DROPPED));
  bz_space_stamp_out(r->table, row->off, row->len);
}

/* The same of what is left of a row that went, which is in no block or in a free one. */
static void stamp_out_rest(struct recovery *r, uint64_t off, uint64_t end)
{
  struct bz_row row;

  if (r->changes && bz_word_magic(bz_word_load(bz_base(r->table), off)) == BZ_FREE_MAGIC &&
      bz_row_parse(bz_base(r->table), off, end, &row) && bz_row_intact(r->table->salt, &row))
    bz_space_stamp_out(r->table, off, row.len);
}

/* Lets nobody believe the index file, even if this is not finished: it may have entries of
 * rows that will not be there.
 */
static void forget_indexes(const struct recovery *r)
{
  bz_set_index_seq(r->table, 0);
}

/* Hangs the row into its tree. False: a copy of it, as late or later, is there. */
static bool link_row(struct recovery *r, const struct bz_row *row)
{
  struct bz_key key = bz_key_of_row(row);
  struct bz_place place;
  enum blitz_rc rc = bz_hash_find(r->table, &key, &place);

  if (rc == BLITZ_NOT_FOUND)
    bz_hash_link(r->table, &key, &place, row->off);
  else if (rc == BLITZ_OK && bz_row_seq(&place.row) < bz_row_seq(row))
  {
    bz_hash_replace(r->table, key.hash, &place, row->off);
    stamp_out(r, &place.row);
    bz_space_free_gap(r->table, place.row.off, place.row.off + place.row.len);
    r->rows--;
  }
  else
    return false;
  return true;
}

static void note_row_id(struct recovery *r, const struct bz_row *row)
{
  if (r->table->row_ids && row->key_len == 8 + r->table->spread_len &&
      bz_load_be64(row->key) > r->row_id_max)
    r->row_id_max = bz_load_be64(row->key);
}

/* ---- what a walk comes to ------------------------------------------------------------- */

/* Makes what is before OFF free, if it is not damage that is to stay. */
static void free_before(struct recovery *r, uint64_t off)
{
  if (r->changes && !r->in_damage && r->gap_off < off)
    bz_space_free_gap(r->table, r->gap_off, off);
  r->in_damage = false;
}

/* Keeps the row. */
static bool keep_row(struct recovery *r, const struct bz_row *row)
{
  if (r->changes && !link_row(r, row))
  {
    stamp_out(r, row);
    return false;
  }
  free_before(r, row->off);
  r->met_damage = false;
  r->gap_off = row->off + row->len;
  r->rows++;
  note_row_id(r, row);
  return true;
}

/* Is the key of a damaged row what it was? */
static bool key_is_intact(const struct blitz_table *table, const struct bz_row *row)
{
  uint8_t buf[BZ_FILE_KEY_MAX];

  return table->version >= BZ_VERSION && row->key_len <= sizeof buf &&
         row->key_len > table->spread_len &&
         bz_file_key(table, buf, bz_callers_key(table, row)) == row->key_len &&
         memcmp(buf, row->key, row->key_len) == 0;
}

/* Notes in the file that a look-up may not find a row because it is damaged. */
static void set_damaged(const struct recovery *r)
{
  uint64_t state = le64toh(bz_word_load(bz_base(r->table), BZ_STATE_OFF));

  bz_put_word(r->table, BZ_STATE_OFF, htole64(state | BZ_FILE_DAMAGED));
}

/* A row, ROW not being NULL, or something else at OFF, where a block must begin, is damaged. */
static void meet_damage(struct recovery *r, uint64_t off, const struct bz_row *row)
{
  r->damaged += !r->met_damage;
  r->met_damage = true;
  if (!r->changes)
    return;
  if (r->drops_damage)
  {
    forget_indexes(r);
    if (row != NULL)
      stamp_out(r, row);
    return;
  }
  free_before(r, off);
  if (row == NULL || !key_is_intact(r->table, row) || !link_row(r, row))
    set_damaged(r);
  else
    r->rows++;
  r->gap_off = row != NULL ? off + row->len : off;
  r->in_damage = row == NULL;
}

/* Length of the free block at OFF, 0 if there is none. */
static uint64_t free_len(const struct recovery *r, uint64_t off, uint64_t end)
{
  uint64_t word = bz_word_load(bz_base(r->table), off);
  uint64_t len = bz_free_word_len(word);

  return bz_word_magic(word) == BZ_FREE_MAGIC && len % BZ_ALIGN == 0 && len <= end - off ? len : 0;
}

/* Looks at one place; returns where the next one is. */
static uint64_t visit(struct recovery *r, uint64_t off, uint64_t end)
{
  struct bz_row row;
  enum verdict verdict = judge(r, off, end, &row);
  bool at_block = off == r->tile_end;

  if (at_block || verdict == VERDICT_LIVE)
    r->tile_end = off + (verdict != VERDICT_NOTHING ? row.len : free_len(r, off, end));
  switch (verdict)
  {
  case VERDICT_LIVE:
  case VERDICT_REVIVE:
    r->undone += verdict == VERDICT_REVIVE;
    if (keep_row(r, &row))
      return off + row.len;
    break;
  case VERDICT_UNDO:
    note_row_id(r, &row);
    stamp_out(r, &row);
    r->undone++;
    break;
  case VERDICT_DAMAGED:
    /* Elsewhere it is something that looks like a row. */
    if (at_block && off < r->end)
      meet_damage(r, off, &row);
    break;
  case VERDICT_NOTHING:
    if (at_block && off < r->end && r->tile_end == off)
      meet_damage(r, off, NULL);
    stamp_out_rest(r, off, end);
    break;
  }
  return off + BZ_ALIGN;
}

/* False: the caller's progress callback says to stop. */
static bool walk(struct recovery *r, uint64_t end, bool changes)
{
  const struct blitz_open_options *options = r->options;
  uint64_t off = atomic_load(&r->table->first), report_off = off;

  r->changes = changes;
  r->rows = r->undone = r->damaged = 0;
  r->gap_off = r->tile_end = off;
  r->in_damage = r->met_damage = false;
  while (off < end)
  {
    off = visit(r, off, end);
    if (off < report_off || options->progress == NULL)
      continue;
    report_off = off + REPORT_STEP;
    if (!options->progress(options->progress_arg, (changes ? end : 0) + off, 2 * end))
      return false;
  }
  return true;
}

/* ---- before and after the walk ---------------------------------------------------------- */

/* Where the blocks of a closed file begin. Before the first row there is nothing that could be
 * taken for one: the file was closed so. The header is believed if it names what may be a block
 * before that.
 */
static uint64_t find_first(struct recovery *r, uint64_t end)
{
  uint64_t said = atomic_load(&r->table->first), off = BZ_FIRST_MIN;
  uint8_t magic = said < end ? bz_word_magic(bz_word_load(bz_base(r->table), said)) : 0;
  struct bz_row row;

  while (off < end && judge(r, off, end, &row) != VERDICT_LIVE)
    off += BZ_ALIGN;
  if (said < off && (magic == BZ_ROW_MAGIC || magic == BZ_FREE_MAGIC))
    return said;
  return off < end ? off : BZ_FIRST_MIN;
}

/* As many buckets as fit before the first block, a power of two, all empty; and as many as
 * that many rows want, if there is space.
 */
static void make_buckets(struct blitz_table *table, uint64_t rows)
{
  uint64_t first = atomic_load(&table->first);
  uint64_t room = (first - BZ_HEADER_LEN - BZ_POOL_LEN) / BZ_BUCKET_LEN;
  uint64_t count = BZ_BUCKETS_MIN;

  while (count * 2 <= room)
    count *= 2;
  bz_put_zeros(table, BZ_HEADER_LEN, first - BZ_HEADER_LEN);
  bz_put_be64(table, BZ_TC_BUCKET_COUNT_OFF, count);
  for (unsigned n = 0; n < sizeof table->segments / sizeof *table->segments; n++)
    atomic_store(&table->segments[n], 0);
  atomic_store(&table->front_buckets, count);
  atomic_store(&table->bucket_count, count);
  bz_grow_empty(table, rows);
}

/* What is stored in the header says what the blocks are only after they are so (R12). */
static void save_results(struct recovery *r)
{
  struct blitz_table *table = r->table;
  uint8_t *base = bz_base(table);
  uint64_t state = le64toh(bz_word_load(base, BZ_STATE_OFF));

  /* Numbers of what was undone are not given again. */
  bz_put_word(table, BZ_COMMITTED_OFF, htole64(r->seq_max));
  atomic_store(&table->committed, r->seq_max);
  if (r->row_id_max >= bz_load_le64(base + BZ_NEXT_ROW_ID_OFF))
    bz_put_word(table, BZ_NEXT_ROW_ID_OFF, htole64(r->row_id_max + 1));
  bz_put_be64(table, BZ_TC_ROW_COUNT_OFF, r->rows);
  atomic_store(&table->row_count, r->rows);
  if (r->drops_damage)
    state &= ~(uint64_t)BZ_FILE_DAMAGED;
  bz_put_word(table, BZ_STATE_OFF, htole64(state));
  bz_put_byte(table, BZ_TC_FLAGS_OFF, base[BZ_TC_FLAGS_OFF] & (uint8_t)~BZ_TC_FLAG_REPAIRING);
}

/* Closes the gap between the last row, END of the file, and the segments behind it. */
static void set_end(struct recovery *r, uint64_t end)
{
  uint64_t used_end = atomic_load(&r->table->end);

  if (r->in_damage)
    r->gap_off = r->end;
  if (used_end > end)
    bz_space_free_gap(r->table, r->gap_off, end);
  else
    used_end = r->gap_off;
  r->table->recovering = false;
  bz_file_set_end(r->table, used_end);
}

/* The state that the file is in; sets what the walk must know, and marks it (R12). */
static void begin(struct recovery *r, uint64_t end)
{
  uint8_t *base = bz_base(r->table);
  bool repair = (r->options->flags & BLITZ_OPEN_REPAIR) != 0;

  if (r->committed == UINT64_MAX)
    bz_put_byte(r->table, BZ_TC_FLAGS_OFF,
                base[BZ_TC_FLAGS_OFF] | BZ_TC_FLAG_OPEN | BZ_TC_FLAG_REPAIRING);
  bz_file_mark_dirty(r->table);
  if (r->committed == UINT64_MAX)
  {
    atomic_store(&r->table->first, find_first(r, end));
    bz_put_be64(r->table, BZ_TC_FIRST_OFF, atomic_load(&r->table->first));
  }
  /* Entries of a commit that was not finished; and who repairs has seen damage. */
  if (repair || r->committed == UINT64_MAX || atomic_load(&r->table->index_seq) > r->committed + 1)
    forget_indexes(r);
}

static enum blitz_rc stopped(const struct recovery *r, struct blitz_error *err)
{
  return bz_fail(err, BLITZ_STOPPED, 0,
                 "the recovery of %s was stopped; it begins again when the table is opened",
                 r->table->file);
}

/* Looks at all of the file before anything is changed. */
static enum blitz_rc survey(struct recovery *r, const struct bz_header *header, uint64_t end,
                            struct blitz_error *err)
{
  bool repair = (r->options->flags & BLITZ_OPEN_REPAIR) != 0;

  /* In a closed file, and while one is repaired that was, no commit was under way. */
  if (!header->open || header->repairing)
    r->committed = UINT64_MAX;
  else
    r->seq_max = r->committed;
  if (!walk(r, end, false))
    return stopped(r, err);
  if (r->committed == UINT64_MAX || r->row_seq_max <= r->committed + 1 ||
      !bz_file_is_of_this_boot(r->table, header))
    return BLITZ_OK;
  if (!repair)
    return bz_fail(err, BLITZ_CORRUPT, 0,
                   "the number of the last commit in the header of %s is damaged. Restore it from "
                   "a backup, or repair it, which keeps all rows",
                   r->table->file);
  r->committed = UINT64_MAX;
  return BLITZ_OK;
}

static void tell(const struct recovery *r)
{
  const struct blitz_table *table = r->table;

  bz_log(BLITZ_LOG_NOTE,
         "%s is repaired: %" PRIu64 " rows; %" PRIu64 " changes of an unfinished statement undone",
         table->file, r->rows, r->undone);
  if (r->damaged > 0 && r->drops_damage)
    bz_log(BLITZ_LOG_ERROR,
           "%s: %" PRIu64 " rows were damaged and are lost. Restore them from a backup",
           table->file, r->damaged);
  else if (r->damaged > 0)
    bz_log(BLITZ_LOG_ERROR,
           "%s: %" PRIu64 " rows are damaged. Restore the table from a backup, or repair it, which "
           "keeps all rows but these",
           table->file, r->damaged);
}

enum blitz_rc bz_recover(struct blitz_table *table, const struct bz_header *header,
                         const struct blitz_open_options *options, struct blitz_error *err)
{
  struct recovery r = {
      .table = table, .options = options, .committed = header->committed, .end = header->end};
  uint64_t end = table->allocated / BZ_ALIGN * BZ_ALIGN;
  const char *reason = header->open ? "was not closed" : "is to be repaired";
  enum blitz_rc rc;

  bz_assert_writer(table);
  if (options->flags & BLITZ_OPEN_READONLY)
    return bz_fail(err, BLITZ_READONLY, 0,
                   "%s %s and must be repaired, but is open for reading only. "
                   "Open it for writing once",
                   table->file, reason);
  bz_log(header->open ? BLITZ_LOG_WARNING : BLITZ_LOG_NOTE, "%s %s: repairing it from its rows",
         table->file, reason);
  /* What the machine wrote of the file before it died, nobody knows. */
  r.drops_damage = (options->flags & BLITZ_OPEN_REPAIR) ||
                   (header->open && !bz_file_is_of_this_boot(table, header));
  rc = survey(&r, header, end, err);
  if (rc != BLITZ_OK)
    return rc;
  begin(&r, end);
  bz_space_clear(table);
  /* Only for the walk. The header's end stays, lest whoever repairs the file after us, if we
   * are killed, takes what is behind it for damage.
   */
  table->recovering = true;
  atomic_store(&table->end, end);
  make_buckets(table, r.rows);
  if (!walk(&r, end, true))
    return stopped(&r, err);
  set_end(&r, end);
  save_results(&r);
  table->rows_lost = r.drops_damage ? r.damaged : 0;
  bz_count(&bz_counters.recoveries, 1);
  tell(&r);
  bz_file_stamp(table);
  return BLITZ_OK;
}
