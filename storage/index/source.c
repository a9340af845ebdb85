/* SPDX-License-Identifier: GPL-2.0-only
 *
 * source.c: see source.h. A reader keeps a place in each layer, the file, its undo and the deltas,
 * each at its next entry in the direction in which it goes, and takes the nearest. Of an entry that
 * several have the upper one counts.
 */
#include "index/source.h"

#include "index/lmdb.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

uint64_t bz_source_serial(void)
{
  static atomic_ullong last;

  return atomic_fetch_add(&last, 1) + 1;
}

struct bz_source bz_source_of_view(const struct bz_index_view *view, uint64_t serial)
{
  return (struct bz_source){.commit = view->commit,
                            .kept = view->kept,
                            .is_earlier = view->is_earlier,
                            .seq = view->seq,
                            .deltas = {NULL, view->deltas[0], view->deltas[1]},
                            .numbers = {0, view->seq, view->seq},
                            .serial = serial};
}

/* What a source has of an index in its n-th delta. False: nothing. */
static bool place_of(const struct bz_source *source, unsigned n, unsigned index_no,
                     struct bz_delta_place *place)
{
  const struct bz_delta *delta = NULL;

  if (source->deltas[n] != NULL)
    delta = atomic_load_explicit(&source->deltas[n]->of[index_no], memory_order_acquire);
  *place = (struct bz_delta_place){.delta = delta, .number = source->numbers[n]};
  return delta != NULL && !bz_delta_is_empty(delta);
}

static enum blitz_rc damaged(const struct blitz_table *table, enum blitz_rc rc,
                             struct blitz_error *err)
{
  return bz_fail(err, rc, 0, "%s is damaged. Repair the table, which makes it anew from the rows",
                 table->index->name);
}

/* Opens the undo of an index. BLITZ_NOT_FOUND: there is none. */
static enum blitz_rc open_undo(const struct blitz_table *table, const struct bz_source *source,
                               unsigned index_no, struct bz_undo_place *place)
{
  place->id = table->index->ids[index_no];
  place->number = source->seq;
  return bz_undo_open(&source->commit, place);
}

/* A copy of FOUND in BUF. */
static enum blitz_rc copy_entry(struct bz_buffer *buf, const struct bz_entry *found,
                                struct bz_entry *copy)
{
  enum blitz_rc rc = bz_buffer_reserve(buf, bz_entry_len(found) + 1);

  if (rc == BLITZ_OK)
    *copy = bz_entry_copy(found, buf->data);
  return rc;
}

/* What the deltas have of a sort key. BLITZ_END: nothing. */
static enum blitz_rc get_of_deltas(const struct bz_source *source, unsigned index_no,
                                   struct blitz_slice sort_key, struct bz_buffer *buf,
                                   struct bz_entry *found)
{
  for (unsigned n = 0; n < BZ_SOURCE_DELTAS; n++)
  {
    struct bz_delta_place place;
    struct bz_delta_version version;

    if (!place_of(source, n, index_no, &place) || !bz_delta_find(&place, sort_key))
      continue;
    version = bz_delta_at(&place);
    if (version.removed)
      return BLITZ_NOT_FOUND;
    return bz_delta_entry(&version, found) ? copy_entry(buf, found, found) : BLITZ_CORRUPT;
  }
  return BLITZ_END;
}

/* The same of the undo, if it is needed. */
static enum blitz_rc get_of_undo(const struct blitz_table *table, const struct bz_source *source,
                                 unsigned index_no, struct blitz_slice sort_key,
                                 struct bz_buffer *buf, struct bz_entry *found)
{
  struct bz_undo_place place = {.id = 0};
  enum blitz_rc rc = open_undo(table, source, index_no, &place);

  if (rc == BLITZ_OK)
    rc = bz_undo_find(&place, sort_key);
  if (rc == BLITZ_OK)
    rc = place.removed ? BLITZ_NOT_FOUND : copy_entry(buf, &place.entry, found);
  else if (rc == BLITZ_NOT_FOUND)
    rc = BLITZ_END;
  bz_undo_close(&place);
  return rc;
}

static enum blitz_rc get_of_file(const struct blitz_table *table, const struct bz_source *source,
                                 unsigned index_no, struct blitz_slice sort_key,
                                 struct bz_buffer *buf, struct bz_entry *found,
                                 struct blitz_error *err)
{
  struct bz_walk walk;
  enum blitz_rc rc;

  if (source->txn != NULL)
    rc = bz_tree_get(table, source->txn, table->index->dbis[index_no], sort_key, found, err);
  else
  {
    rc = bz_walk_open(&source->commit, table->index->ids[index_no], &walk);
    rc = rc == BLITZ_NOT_FOUND ? BLITZ_CORRUPT : rc;
    if (rc == BLITZ_OK)
      rc = bz_walk_get(&walk, sort_key, found);
  }
  return rc == BLITZ_OK ? copy_entry(buf, found, found) : rc;
}

enum blitz_rc bz_source_get(const struct blitz_table *table, const struct bz_source *source,
                            unsigned index_no, struct blitz_slice sort_key, struct bz_buffer *buf,
                            struct bz_entry *found, struct blitz_error *err)
{
  enum blitz_rc rc = get_of_deltas(source, index_no, sort_key, buf, found);

  if (rc == BLITZ_END && source->is_earlier)
    rc = get_of_undo(table, source, index_no, sort_key, buf, found);
  if (rc == BLITZ_END)
    rc = get_of_file(table, source, index_no, sort_key, buf, found, err);
  if (!bz_source_is_kept(table, source))
    return BLITZ_CHANGED;
  return rc == BLITZ_OK || rc == BLITZ_NOT_FOUND || source->txn != NULL ? rc
                                                                        : damaged(table, rc, err);
}

/* ---- opening -------------------------------------------------------------------------- */

/* A cursor of a write transaction has gone with it. */
static void close_cursor(const struct blitz_table *table, struct bz_reader *reader)
{
  if (reader->mc != NULL && reader->write_serial == atomic_load(&table->index->write_serial))
    bz_tree_close_cursor(reader->mc);
  reader->mc = NULL;
}

void bz_reader_close(const struct blitz_table *table, struct bz_reader *reader)
{
  close_cursor(table, reader);
  bz_undo_close(&reader->undo);
  free(reader->file_buf.data);
  *reader = (struct bz_reader){0};
}

/* What is laid over the file. */
static enum blitz_rc open_layers(const struct blitz_table *table, const struct bz_source *source,
                                 unsigned index_no, struct bz_reader *reader)
{
  enum blitz_rc rc = BLITZ_NOT_FOUND;

  reader->count = 0;
  reader->file_there = reader->undo_there = false;
  for (unsigned n = 0; n < BZ_SOURCE_DELTAS; n++)
    if (place_of(source, n, index_no, &reader->places[reader->count]))
      reader->there[reader->count++] = false;
  if (source->is_earlier)
    rc = open_undo(table, source, index_no, &reader->undo);
  reader->has_undo = rc == BLITZ_OK && reader->undo.walk.depth > 0;
  return rc == BLITZ_NOT_FOUND ? BLITZ_OK : rc;
}

enum blitz_rc bz_reader_open(const struct blitz_table *table, const struct bz_source *source,
                             unsigned index_no, struct bz_reader *reader, struct blitz_error *err)
{
  const struct bz_index_file *file = table->index;
  enum blitz_rc rc;

  close_cursor(table, reader);
  reader->file = file;
  reader->serial = 0; /* no source has that */
  reader->write_serial = atomic_load(&file->write_serial);
  reader->index_no = index_no;
  reader->lmdb_number = source->commit.number;
  reader->kept = source->kept;
  rc = open_layers(table, source, index_no, reader);
  if (rc == BLITZ_OK && source->txn != NULL)
  {
    rc = bz_tree_open_cursor(table, source->txn, file->dbis[index_no], &reader->mc, err);
    reader->serial = rc == BLITZ_OK ? source->serial : 0;
    return rc;
  }
  if (rc == BLITZ_OK)
    rc = bz_walk_open(&source->commit, file->ids[index_no], &reader->walk);
  if (!bz_reader_is_kept(reader))
    return BLITZ_CHANGED;
  if (rc != BLITZ_OK)
    return damaged(table, rc == BLITZ_NOT_FOUND ? BLITZ_CORRUPT : rc, err);
  reader->serial = source->serial;
  return BLITZ_OK;
}

/* ---- places ------------------------------------------------------------------------------ */

/* Layers that lie one over the other: the deltas, the undo, the file. */
static unsigned layer_of_undo(const struct bz_reader *reader)
{
  return reader->count;
}

static unsigned layer_of_file(const struct bz_reader *reader)
{
  return reader->count + 1;
}

/* Is there an entry where layer N is, and which? */
static bool layer_is_there(const struct bz_reader *reader, unsigned n, struct blitz_slice *keyp)
{
  if (n < reader->count)
  {
    if (reader->there[n])
      *keyp = bz_delta_at(&reader->places[n]).sort_key;
    return reader->there[n];
  }
  if (n == layer_of_undo(reader))
  {
    *keyp = reader->undo.sort_key;
    return reader->undo_there;
  }
  *keyp = reader->of_file.sort_key;
  return reader->file_there;
}

static enum blitz_rc file_seek(struct bz_reader *reader, struct blitz_slice key,
                               enum blitz_seek where, struct bz_entry *found)
{
  return reader->mc != NULL ? bz_tree_seek(reader->mc, key, where, found)
                            : bz_walk_seek(&reader->walk, key, where, found);
}

static enum blitz_rc file_step(struct bz_reader *reader, bool forward, struct bz_entry *found)
{
  return reader->mc != NULL ? bz_tree_step(reader->mc, forward, found)
                            : bz_walk_step(&reader->walk, forward, found);
}

/* Keeps what was found in the file, while others are nearer. BLITZ_END is a place too. */
static enum blitz_rc file_arrived(struct bz_reader *reader, enum blitz_rc rc,
                                  const struct bz_entry *found)
{
  if (rc == BLITZ_OK)
    rc = copy_entry(&reader->file_buf, found, &reader->of_file);
  reader->file_there = rc == BLITZ_OK;
  if (!bz_reader_is_kept(reader))
    return BLITZ_CHANGED;
  return rc == BLITZ_END ? BLITZ_OK : rc;
}

static enum blitz_rc undo_arrived(struct bz_reader *reader, enum blitz_rc rc)
{
  reader->undo_there = rc == BLITZ_OK;
  if (!bz_reader_is_kept(reader))
    return BLITZ_CHANGED;
  return rc == BLITZ_END ? BLITZ_OK : rc;
}

static enum blitz_rc seek_all(struct bz_reader *reader, struct blitz_slice key,
                              enum blitz_seek where)
{
  struct bz_entry found;
  enum blitz_rc rc = BLITZ_OK;

  for (unsigned n = 0; n < reader->count; n++)
    reader->there[n] = bz_delta_seek(&reader->places[n], key, where);
  if (reader->has_undo)
    rc = undo_arrived(reader, bz_undo_seek(&reader->undo, key, where));
  return rc == BLITZ_OK ? file_arrived(reader, file_seek(reader, key, where, &found), &found) : rc;
}

/* Takes layer N a step further. */
static enum blitz_rc step_layer(struct bz_reader *reader, unsigned n)
{
  struct bz_entry found;

  if (n < reader->count)
  {
    reader->there[n] = bz_delta_step(&reader->places[n], reader->forward);
    return BLITZ_OK;
  }
  if (n == layer_of_undo(reader))
    return undo_arrived(reader, bz_undo_step(&reader->undo, reader->forward));
  return file_arrived(reader, file_step(reader, reader->forward, &found), &found);
}

/* Takes the layers that are at the entry that was found last a step further. */
static enum blitz_rc leave(struct bz_reader *reader)
{
  enum blitz_rc rc = BLITZ_OK;

  for (unsigned n = 0; n <= layer_of_file(reader) && rc == BLITZ_OK; n++)
    if (reader->at_layers >> n & 1)
      rc = step_layer(reader, n);
  return rc;
}

/* Finds the layers with the nearest entry. Returns the upper one; more than there are: nobody has
 * any.
 */
static unsigned nearest(struct bz_reader *reader)
{
  unsigned best = layer_of_file(reader) + 1;
  struct blitz_slice key = {NULL, 0}, at = {NULL, 0};

  reader->at_layers = 0;
  for (unsigned n = 0; n <= layer_of_file(reader); n++)
  {
    int order = -1;

    if (!layer_is_there(reader, n, &key))
      continue;
    if (reader->at_layers != 0)
      order = reader->forward ? bz_compare_keys(key, at) : bz_compare_keys(at, key);
    if (order < 0)
    {
      best = n;
      at = key;
      reader->at_layers = 0;
    }
    if (order <= 0)
      reader->at_layers |= 1u << n;
  }
  return best;
}

/* What layer N has where it is. BLITZ_NOT_FOUND: the entry is not there. */
static enum blitz_rc layer_entry(const struct bz_reader *reader, unsigned n, struct bz_entry *found)
{
  if (n < reader->count)
  {
    struct bz_delta_version version = bz_delta_at(&reader->places[n]);

    if (version.removed)
      return BLITZ_NOT_FOUND;
    return bz_delta_entry(&version, found) ? BLITZ_OK : BLITZ_CORRUPT;
  }
  *found = n == layer_of_undo(reader) ? reader->undo.entry : reader->of_file;
  return n == layer_of_undo(reader) && reader->undo.removed ? BLITZ_NOT_FOUND : BLITZ_OK;
}

/* Finds the nearest entry that is there. */
static enum blitz_rc arrive(struct bz_reader *reader, struct bz_entry *found)
{
  for (;;)
  {
    unsigned best = nearest(reader);
    enum blitz_rc rc;

    if (best > layer_of_file(reader))
      return BLITZ_END;
    rc = layer_entry(reader, best, found);
    if (rc != BLITZ_NOT_FOUND)
      return rc;
    rc = leave(reader);
    if (rc != BLITZ_OK)
      return rc;
  }
}

enum blitz_rc bz_reader_seek(struct bz_reader *reader, struct blitz_slice key,
                             enum blitz_seek where, struct bz_entry *found)
{
  enum blitz_rc rc;

  if (bz_reader_is_plain(reader))
    return file_seek(reader, key, where, found);
  reader->forward = where == BLITZ_SEEK_FIRST || where == BLITZ_SEEK_AFTER;
  rc = seek_all(reader, key, where);
  return rc == BLITZ_OK ? arrive(reader, found) : rc;
}

enum blitz_rc bz_reader_step(struct bz_reader *reader, bool forward, struct bz_entry *found)
{
  enum blitz_rc rc;

  if (bz_reader_is_plain(reader))
    return file_step(reader, forward, found);
  assert(forward == reader->forward);
  rc = leave(reader);
  return rc == BLITZ_OK ? arrive(reader, found) : rc;
}
