/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_cursor.c: reading in the order of an index.
 *
 * A cursor reads its view, whose rows stay where they are. Entries may go with any merge (X9), so
 * it copies them; and when the commit that it reads is not kept any more it goes on with a later
 * one, at the place that its entry's sort key says. While it goes forward it reads some entries
 * ahead, and if somebody wants the rows it has all of them fetched at once.
 *
 * Or it reads what its own transaction has made of the index, where entries move with each
 * change. Then it finds its place again in the same way.
 */
#include "base/counters.h"
#include "read/cursor.h"

#include <stdlib.h>
#include <string.h>

#define AHEAD_FIRST 4
#define ROW_KEY_LINE 64 /* a row's key and value mostly begin in its first lines of memory */

/* ---- places ---------------------------------------------------------------------- */

static struct bz_index_file *file_of(const struct blitz_cursor *cursor)
{
  return cursor->table->index;
}

static void forget_ahead(struct bz_index_position *index)
{
  index->ahead.pos = index->ahead.count = index->ahead.window = 0;
  index->ahead.ended = BLITZ_OK;
}

void bz_index_position_reset(struct blitz_cursor *cursor)
{
  struct bz_index_position *index = &cursor->index;

  if (index->mode == BZ_INDEX_OWN)
    bz_reader_close(cursor->table, &index->reader);
  index->mode = BZ_INDEX_NONE;
  index->at_entry = false;
  index->resting = false;
  index->reads_rows = false;
  forget_ahead(index);
}

void bz_index_position_free(struct blitz_cursor *cursor)
{
  bz_reader_close(cursor->table, &cursor->index.reader);
  free(cursor->index.copies.data);
  free(cursor->index.made.data);
  cursor->index.copies = cursor->index.made = (struct bz_buffer){NULL, 0};
}

/* Has the cursor's transaction changed the table? */
static bool has_changes(const struct blitz_cursor *cursor)
{
  return bz_txn_changes(cursor->txn, cursor->table);
}

static uint64_t own_changes(const struct blitz_cursor *cursor)
{
  return bz_txn_entry_changes(cursor->txn, cursor->table);
}

/* What the cursor's view has, of a commit that is kept. */
static enum blitz_rc view_source(struct blitz_cursor *cursor, unsigned index_no,
                                 struct bz_source *source, struct blitz_error *err)
{
  enum blitz_rc rc = bz_view_take(cursor, true, err);

  if (rc != BLITZ_OK)
    return rc;
  *source = bz_view_source(cursor->view);
  if (!bz_source_is_kept(cursor->table, source))
  {
    rc = bz_view_refresh(cursor);
    *source = bz_view_source(cursor->view);
  }
  if (rc != BLITZ_OK)
    return bz_fail(err, rc, 0, "the indexes of %s cannot be read", cursor->table->file);
  if (source->seq < atomic_load(&file_of(cursor)->built[index_no]))
    return bz_fail(err, BLITZ_CHANGED, 0, "index %u of %s was made after what is to be read",
                   index_no, cursor->table->file);
  return BLITZ_OK;
}

/* What the cursor reads of its index. */
static enum blitz_rc source_of(struct blitz_cursor *cursor, struct bz_source *source,
                               struct blitz_error *err)
{
  if (cursor->index.mode == BZ_INDEX_NONE)
    return bz_fail(err, BLITZ_INVALID, 0, "no index of %s is being read", cursor->table->file);
  if (cursor->index.mode == BZ_INDEX_VIEW)
    return view_source(cursor, cursor->index.index_no, source, err);
  if (!has_changes(cursor))
    return bz_fail(err, BLITZ_INVALID, 0, "the transaction that changed %s has ended",
                   cursor->table->file);
  return bz_txn_source(cursor->txn, cursor->table, cursor->index.index_no, source, err);
}

static bool is_prepared(const struct blitz_cursor *cursor)
{
  const struct bz_index_position *index = &cursor->index;

  return index->mode == BZ_INDEX_VIEW && cursor->view != NULL && cursor->view->has_index &&
         index->reader.serial == cursor->view->serial &&
         index->reader.index_no == index->index_no && bz_reader_is_kept(&index->reader);
}

/* Makes sure that there is something to read with. *ANEWP: it is nowhere. */
static enum blitz_rc prepare(struct blitz_cursor *cursor, bool *anewp, struct blitz_error *err)
{
  struct bz_index_position *index = &cursor->index;
  struct bz_source source;
  enum blitz_rc rc;

  *anewp = false;
  if (is_prepared(cursor))
    return BLITZ_OK;
  do
  {
    rc = source_of(cursor, &source, err);
    if (rc != BLITZ_OK ||
        (index->reader.serial == source.serial && index->reader.index_no == index->index_no))
      return rc;
    *anewp = true;
    rc = bz_reader_open(cursor->table, &source, index->index_no, &index->reader, err);
  } while (rc == BLITZ_CHANGED);
  return rc;
}

/* ---- copies ------------------------------------------------------------------------- */

/* Adds a copy of FOUND to those that are made, which are COUNT and *LENP bytes. */
static enum blitz_rc make_copy(struct bz_index_position *index, const struct bz_entry *found,
                               struct bz_entry *copies, unsigned count, size_t *lenp)
{
  size_t len = *lenp + bz_entry_len(found);

  if (len > index->made.room)
  {
    size_t off = 0;

    if (bz_buffer_reserve(&index->made, 2 * len) != BLITZ_OK)
      return BLITZ_NOMEM;
    for (unsigned i = 0; i < count; i++)
    {
      copies[i] = bz_entry_at(&copies[i], index->made.data + off);
      off += bz_entry_len(&copies[i]);
    }
  }
  copies[count] = bz_entry_copy(found, index->made.data + *lenp);
  *lenp = len;
  return BLITZ_OK;
}

/* What was made is used from now on; it has turned out that it is to be believed. */
static void use_copies(struct bz_index_position *index)
{
  struct bz_buffer before = index->copies;

  index->copies = index->made;
  index->made = before;
}

/* Makes FOUND, with which reading has ended, the cursor's entry. */
static enum blitz_rc take(struct blitz_cursor *cursor, enum blitz_rc rc,
                          const struct bz_entry *found)
{
  struct bz_index_position *index = &cursor->index;
  struct bz_entry entry;
  size_t len = 0;

  if (rc == BLITZ_OK)
    rc = make_copy(index, found, &entry, 0, &len);
  if (!bz_reader_is_kept(&index->reader))
    return BLITZ_CHANGED;
  if (rc == BLITZ_OK)
  {
    use_copies(index);
    index->entry = entry;
  }
  return rc;
}

/* ---- the public part ----------------------------------------------------------------- */

enum blitz_rc blitz_index_begin(struct blitz_cursor *cursor, unsigned index_no,
                                struct blitz_error *err)
{
  struct bz_index_position *index = &cursor->index;
  const struct bz_index_file *file = file_of(cursor);

  bz_index_position_reset(cursor);
  bz_cursor_stop_scan(cursor);
  cursor->row.off = 0;
  if (file == NULL || index_no >= file->count)
    return bz_fail(err, BLITZ_INVALID, 0, "%s has no index %u", cursor->table->file, index_no);
  if (atomic_load(&file->disabled) >> index_no & 1)
    return bz_fail(err, BLITZ_INVALID, 0, "index %u of %s is disabled", index_no,
                   cursor->table->file);
  if (atomic_load_explicit(&file->broken, memory_order_relaxed))
    return bz_fail(err, BLITZ_CORRUPT, 0, "%s is out of date. Repair the table", file->name);
  index->index_no = index_no;
  index->mode = has_changes(cursor) ? BZ_INDEX_OWN : BZ_INDEX_VIEW;
  return BLITZ_OK;
}

void blitz_cursor_rest(struct blitz_cursor *cursor)
{
  struct bz_index_position *index = &cursor->index;

  if (cursor->view == NULL || index->mode != BZ_INDEX_VIEW || cursor->keeps_view ||
      cursor->keeps_moment)
    return;
  index->resting = index->at_entry;
  cursor->row.off = 0;
  bz_view_leave(cursor);
}

void blitz_index_end(struct blitz_cursor *cursor)
{
  bz_index_position_reset(cursor);
  cursor->row.off = 0;
  bz_view_rest(cursor);
}

/* What reading an entry ended with, as the caller shall see it. */
static enum blitz_rc arrived(struct blitz_cursor *cursor, enum blitz_rc rc, struct blitz_error *err)
{
  struct bz_index_position *index = &cursor->index;

  index->at_entry = rc == BLITZ_OK;
  if (rc == BLITZ_OK)
    cursor->row.off = 0;
  if (rc == BLITZ_OK && index->mode == BZ_INDEX_OWN)
    index->own_changes = own_changes(cursor);
  if (rc == BLITZ_NOMEM)
    return bz_fail(err, rc, 0, "out of memory reading %s", cursor->table->file);
  if (rc != BLITZ_CORRUPT)
    return rc;
  return bz_fail(err, rc, 0, "%s is damaged. Repair the table, which makes it anew from the rows",
                 file_of(cursor)->name);
}

enum blitz_rc blitz_index_seek(struct blitz_cursor *cursor, struct blitz_slice key,
                               enum blitz_seek where, struct blitz_error *err)
{
  struct bz_index_position *index = &cursor->index;
  struct bz_entry found;
  bool anew;
  enum blitz_rc rc;

  cursor->row.off = 0;
  index->at_entry = false;
  index->resting = false;
  forget_ahead(index);
  do
  {
    rc = prepare(cursor, &anew, err);
    if (rc != BLITZ_OK)
      return rc;
    rc = take(cursor, bz_reader_seek(&index->reader, key, where, &found), &found);
  } while (rc == BLITZ_CHANGED);
  return arrived(cursor, rc, err);
}

/* ---- reading ahead --------------------------------------------------------------------- */

static void prefetch_row(const struct blitz_cursor *cursor, uint64_t off)
{
  const struct bz_snapshot *snapshot = &cursor->view->snapshot;

  if (off < snapshot->first || off >= snapshot->end)
    return;
  bz_prefetch(snapshot->map->base + off);
  bz_prefetch(snapshot->map->base + off + ROW_KEY_LINE);
  bz_prefetch(snapshot->map->base + off + 2 * ROW_KEY_LINE);
}

/* Reads the next entries, as many as the window says. */
static enum blitz_rc read_ahead(struct blitz_cursor *cursor)
{
  struct bz_index_position *index = &cursor->index;
  struct bz_ahead *ahead = &index->ahead;
  size_t len = 0;
  enum blitz_rc rc = BLITZ_OK;

  if (ahead->ended != BLITZ_OK)
    return ahead->ended;
  if (ahead->window == 0)
    ahead->window = index->reads_rows ? AHEAD_FIRST : 1;
  ahead->pos = ahead->count = 0;
  while (ahead->count < ahead->window)
  {
    struct bz_entry found;
    rc = bz_reader_step(&index->reader, true, &found);
    if (rc == BLITZ_OK)
      rc = make_copy(index, &found, ahead->entries, ahead->count, &len);
    if (rc != BLITZ_OK)
      break;
    if (index->reads_rows)
      prefetch_row(cursor, found.off);
    ahead->count++;
  }
  if (rc == BLITZ_CHANGED || !bz_reader_is_kept(&index->reader))
    return BLITZ_CHANGED;
  ahead->ended = rc;
  if (ahead->window < BZ_AHEAD_MAX)
    ahead->window *= 2;
  if (ahead->count == 0)
    return rc;
  use_copies(index);
  return BLITZ_OK;
}

/* The next one of those that were read ahead, or of those that then are. */
static enum blitz_rc step_ahead(struct blitz_cursor *cursor)
{
  struct bz_index_position *index = &cursor->index;
  enum blitz_rc rc = index->ahead.pos == index->ahead.count ? read_ahead(cursor) : BLITZ_OK;

  if (rc == BLITZ_OK)
    index->entry = index->ahead.entries[index->ahead.pos++];
  return rc;
}

/* ---- steps ---------------------------------------------------------------------------------- */

static bool is_at(const struct bz_entry *entry, struct blitz_slice sort_key)
{
  return entry->sort_key.len == sort_key.len &&
         memcmp(entry->sort_key.data, sort_key.data, sort_key.len) == 0;
}

/* Puts the cursor back to where it was by its entry's sort key, and then a step further. */
static enum blitz_rc step_from_key(struct blitz_cursor *cursor, bool forward)
{
  struct bz_index_position *index = &cursor->index;
  struct blitz_slice key = index->entry.sort_key;
  struct bz_entry found;
  enum blitz_rc rc;

  forget_ahead(index);
  /* Another sort key may begin with this one, since row keys may begin alike. */
  rc = bz_reader_seek(&index->reader, key, forward ? BLITZ_SEEK_FIRST : BLITZ_SEEK_BEFORE, &found);
  if (rc == BLITZ_OK && forward && is_at(&found, key))
    rc = bz_reader_step(&index->reader, true, &found);
  return take(cursor, rc, &found);
}

/* Is the reader at the cursor's entry, or behind those that were read ahead, and may go on there?
 */
static bool is_in_place(const struct blitz_cursor *cursor, bool forward)
{
  const struct bz_index_position *index = &cursor->index;

  if (!bz_reader_is_plain(&index->reader) && forward != index->reader.forward)
    return false;
  if (index->mode == BZ_INDEX_OWN)
    return index->own_changes == own_changes(cursor);
  return !index->resting && (index->ahead.count == 0 || forward);
}

static enum blitz_rc step(struct blitz_cursor *cursor, bool forward, struct blitz_error *err)
{
  struct bz_index_position *index = &cursor->index;
  bool ahead = forward && index->mode == BZ_INDEX_VIEW;
  bool anew = false, lost = false;
  struct bz_entry found;
  enum blitz_rc rc;

  if (ahead && !index->resting && index->ahead.pos < index->ahead.count)
    return step_ahead(cursor);
  do
  {
    rc = prepare(cursor, &anew, err);
    if (rc != BLITZ_OK)
      return rc;
    lost |= anew || !is_in_place(cursor, forward);
    if (lost)
      rc = step_from_key(cursor, forward);
    else if (ahead)
      rc = step_ahead(cursor);
    else
    {
      index->ahead.ended = BLITZ_OK; /* there is, after a step back */
      rc = take(cursor, bz_reader_step(&index->reader, forward, &found), &found);
    }
    lost |= rc == BLITZ_CHANGED;
  } while (rc == BLITZ_CHANGED);
  if (rc == BLITZ_OK)
    index->resting = false;
  return rc;
}

enum blitz_rc blitz_index_step(struct blitz_cursor *cursor, bool forward, struct blitz_error *err)
{
  enum blitz_rc rc;

  if (cursor->index.mode != BZ_INDEX_NONE && !cursor->index.at_entry)
    return BLITZ_END;
  if (cursor->index.resting)
    cursor->row.off = 0;
  rc = step(cursor, forward, err);
  return rc == BLITZ_END ? rc : arrived(cursor, rc, err);
}

struct blitz_slice blitz_index_key(const struct blitz_cursor *cursor)
{
  return cursor->index.entry.key;
}

struct blitz_slice blitz_index_payload(const struct blitz_cursor *cursor)
{
  return cursor->index.entry.payload;
}

struct blitz_slice blitz_index_row_key(const struct blitz_cursor *cursor)
{
  return cursor->index.entry.row_key;
}

/* Looks for the entry that the cursor was at before its transaction changed something. */
static enum blitz_rc find_own_entry(struct blitz_cursor *cursor, struct blitz_error *err)
{
  struct bz_index_position *index = &cursor->index;
  struct blitz_slice key = index->entry.sort_key;
  struct bz_entry found;
  bool anew;
  enum blitz_rc rc;

  if (index->own_changes == own_changes(cursor))
    return BLITZ_OK;
  do
  {
    rc = prepare(cursor, &anew, err);
    if (rc != BLITZ_OK)
      return rc;
    rc = bz_reader_seek(&index->reader, key, BLITZ_SEEK_FIRST, &found);
    if (rc == BLITZ_OK && !is_at(&found, key))
      rc = BLITZ_END;
    rc = take(cursor, rc, &found);
  } while (rc == BLITZ_CHANGED);
  index->own_changes = UINT64_MAX; /* it may stand elsewhere now */
  if (rc == BLITZ_END)
    return bz_fail(err, BLITZ_NOT_FOUND, 0, "the row of %s is not there any more",
                   cursor->table->file);
  return arrived(cursor, rc, err);
}

enum blitz_rc blitz_index_row(struct blitz_cursor *cursor, struct blitz_slice *value,
                              struct blitz_error *err)
{
  struct bz_index_position *index = &cursor->index;
  enum blitz_rc rc;

  *value = (struct blitz_slice){NULL, 0};
  if (!index->at_entry || index->resting)
    return bz_fail(err, BLITZ_INVALID, 0, "the cursor is at no entry of %s", cursor->table->file);
  index->reads_rows = true;
  if (cursor->row.off == 0 && index->mode == BZ_INDEX_OWN)
  {
    rc = find_own_entry(cursor, err);
    if (rc != BLITZ_OK)
      return rc;
  }
  if (cursor->row.off == 0)
  {
    rc = index->mode == BZ_INDEX_OWN
             ? bz_cursor_read_key(cursor, index->entry.row_key, err)
             : bz_view_row(cursor, index->entry.row_key, index->entry.off, &cursor->row);
    if (rc == BLITZ_NOT_FOUND || rc == BLITZ_CORRUPT)
    {
      cursor->row.off = 0;
      return bz_fail(err, BLITZ_CORRUPT, 0,
                     "an entry of %s leads to no row. Repair the table, which makes it anew",
                     file_of(cursor)->name);
    }
    if (rc != BLITZ_OK)
      return rc;
  }
  *value = bz_row_value(&cursor->row);
  return BLITZ_OK;
}

enum blitz_rc bz_index_need_row(struct blitz_cursor *cursor, struct blitz_error *err)
{
  struct blitz_slice value;

  if (cursor->index.mode == BZ_INDEX_NONE || !cursor->index.at_entry || cursor->index.resting ||
      cursor->row.off != 0)
    return BLITZ_OK;
  return blitz_index_row(cursor, &value, err);
}

/* ---- figures ------------------------------------------------------------------------------ */

/* Counts the entries from where the cursor is up to the place of TO, up to MAX. */
static enum blitz_rc count_few(struct bz_reader *reader, struct bz_entry *entry,
                               struct blitz_slice to, bool beyond, uint64_t max, uint64_t *countp)
{
  enum blitz_rc rc = BLITZ_OK;
  uint64_t count = 0;

  while (rc == BLITZ_OK && count < max)
  {
    size_t len = entry->key.len < to.len ? entry->key.len : to.len;
    int order = len > 0 ? memcmp(entry->key.data, to.data, len) : 0;
    if (order > 0 || (order == 0 && !beyond))
      break;
    count++;
    rc = bz_reader_step(reader, true, entry);
  }
  *countp = count;
  return rc == BLITZ_END ? BLITZ_OK : rc;
}

#define FEW 64
#define FEW_IN_MEMORY 4096 /* if the file has less than half of the entries */

/* Are so few of the entries in the file that it says little about them? */
static bool is_mostly_new(const struct bz_view *view, const struct bz_walk *walk)
{
  return (view->index.deltas[0] != NULL || view->index.deltas[1] != NULL) &&
         walk->entries < view->snapshot.row_count / 2;
}

/* Counts what is too much for count_few(), by the ways down the tree of the file; as if what is in
 * memory were spread as that.
 */
static enum blitz_rc count_many(const struct blitz_cursor *cursor, unsigned index_no,
                                struct blitz_slice from, bool from_beyond, struct blitz_slice to,
                                bool to_beyond, uint64_t *countp)
{
  double rows = (double)cursor->view->snapshot.row_count;
  struct bz_tree_path low, high;
  struct bz_walk walk;
  enum blitz_rc rc =
      bz_walk_open(&cursor->view->index.commit, file_of(cursor)->ids[index_no], &walk);
  double count;

  if (rc != BLITZ_OK || walk.entries == 0)
    return rc;
  rc = bz_walk_find_path(&walk, from, from_beyond, &low);
  if (rc == BLITZ_OK)
    rc = bz_walk_find_path(&walk, to, to_beyond, &high);
  if (rc != BLITZ_OK)
    return rc;
  count = bz_tree_between(&low, &high) * rows / (double)walk.entries;
  if (count > rows)
    count = rows;
  if (count > (double)*countp)
    *countp = (uint64_t)count;
  return BLITZ_OK;
}

/* The part of an index that is to be counted. */
struct range
{
  struct blitz_slice from, to;
  enum blitz_seek from_where;
  bool to_beyond;
};

static enum blitz_rc count_range(struct blitz_cursor *cursor, unsigned index_no,
                                 const struct range *range, struct bz_reader *reader,
                                 uint64_t *countp)
{
  struct bz_entry entry;
  uint64_t few = bz_reader_is_plain(reader) || !is_mostly_new(cursor->view, &reader->walk)
                     ? FEW
                     : FEW_IN_MEMORY;
  enum blitz_rc rc = bz_reader_seek(reader, range->from, range->from_where, &entry);

  *countp = 0;
  if (rc == BLITZ_OK)
    rc = count_few(reader, &entry, range->to, range->to_beyond, few, countp);
  if (rc == BLITZ_OK && *countp == few)
    rc = count_many(cursor, index_no, range->from, range->from_where == BLITZ_SEEK_AFTER, range->to,
                    range->to_beyond, countp);
  return rc == BLITZ_END ? BLITZ_OK : rc;
}

enum blitz_rc blitz_index_estimate(struct blitz_cursor *cursor, unsigned index_no,
                                   struct blitz_slice from, enum blitz_seek from_where,
                                   struct blitz_slice to, enum blitz_seek to_where,
                                   uint64_t *countp, struct blitz_error *err)
{
  const struct bz_index_file *file = file_of(cursor);
  struct range range = {from, to, from_where, to_where == BLITZ_SEEK_AFTER};
  bool had_view = cursor->view != NULL;
  struct bz_reader reader = {0};
  struct bz_source source;
  enum blitz_rc rc;

  *countp = 0;
  if (file == NULL || index_no >= file->count)
    return bz_fail(err, BLITZ_INVALID, 0, "%s has no index %u", cursor->table->file, index_no);
  do
  {
    rc = view_source(cursor, index_no, &source, err);
    if (rc != BLITZ_OK)
      break;
    rc = bz_reader_open(cursor->table, &source, index_no, &reader, err);
    if (rc == BLITZ_OK)
      rc = count_range(cursor, index_no, &range, &reader, countp);
    if (!bz_reader_is_kept(&reader))
      rc = BLITZ_CHANGED;
  } while (rc == BLITZ_CHANGED);
  bz_reader_close(cursor->table, &reader);
  if (!had_view)
    bz_view_rest(cursor);
  return rc;
}

/* Visits the first MAX entries one by one. */
static enum blitz_rc visit_first(const struct blitz_cursor *cursor, unsigned index_no, uint64_t max,
                                 blitz_visit_fn *visit, void *arg)
{
  struct bz_source source = bz_view_source(cursor->view);
  struct bz_reader reader = {0};
  struct bz_entry entry;
  enum blitz_rc rc = bz_reader_open(cursor->table, &source, index_no, &reader, NULL);

  if (rc == BLITZ_OK)
    rc = bz_reader_seek(&reader, (struct blitz_slice){NULL, 0}, BLITZ_SEEK_FIRST, &entry);
  for (uint64_t i = 0; i < max && rc == BLITZ_OK; i++)
  {
    visit(arg, entry.key, i == 0);
    rc = bz_reader_step(&reader, true, &entry);
  }
  bz_reader_close(cursor->table, &reader);
  return rc == BLITZ_END ? BLITZ_OK : rc;
}

/* What a merge writes over meanwhile makes a sample worse, and nothing else. */
enum blitz_rc blitz_index_sample(struct blitz_cursor *cursor, unsigned index_no, uint64_t max,
                                 blitz_visit_fn *visit, void *arg, struct blitz_error *err)
{
  const struct bz_index_file *file = file_of(cursor);
  bool had_view = cursor->view != NULL;
  struct bz_source source;
  struct bz_walk walk;
  enum blitz_rc rc;

  if (file == NULL || index_no >= file->count)
    return bz_fail(err, BLITZ_INVALID, 0, "%s has no index %u", cursor->table->file, index_no);
  rc = view_source(cursor, index_no, &source, err);
  if (rc != BLITZ_OK)
    return rc;
  rc = bz_walk_open(&source.commit, file->ids[index_no], &walk);
  if (rc == BLITZ_OK)
    rc = is_mostly_new(cursor->view, &walk) ? visit_first(cursor, index_no, max, visit, arg)
                                            : bz_walk_sample(&walk, max, visit, arg);
  if (!bz_source_is_kept(cursor->table, &source))
    rc = BLITZ_OK;
  if (!had_view)
    bz_view_rest(cursor);
  return rc == BLITZ_OK ? rc : bz_fail(err, rc, 0, "%s cannot be read", file->name);
}

void blitz_prefetch(struct blitz_cursor *cursor, const struct blitz_slice *keys, unsigned count)
{
  const uint8_t *base = atomic_load_explicit(&cursor->table->map, memory_order_acquire)->base;
  uint64_t buckets = atomic_load_explicit(&cursor->table->bucket_count, memory_order_acquire);

  /* Buckets first, all of them at once; then what they point to. */
  for (unsigned round = 0; round < 2; round++)
    for (unsigned i = 0; i < count; i++)
    {
      uint8_t buf[BZ_FILE_KEY_MAX];
      uint64_t bucket_off;
      if (keys[i].len > BLITZ_KEY_MAX)
        continue;
      bucket_off = bz_bucket_off_of(
          cursor->table, bz_hash(buf, bz_file_key(cursor->table, buf, keys[i])).bucket, buckets);
      if (round == 0)
        bz_prefetch(base + bucket_off);
      else
        bz_prefetch(base + (bz_word_load(base, bucket_off) == 0
                                ? 0
                                : be64toh(bz_word_load(base, bucket_off)) << BZ_ALIGN_POWER));
    }
}
