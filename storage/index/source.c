/* SPDX-License-Identifier: GPL-2.0-only
 *
 * source.c: see source.h. A reader keeps a place in the file and in each delta, each at its next
 * entry in the direction in which it goes, and takes the nearest. Of an entry that several have the
 * newest delta counts.
 */
#include "index/source.h"

#include "index/lmdb.h"

#include <assert.h>
#include <string.h>

uint64_t bz_source_serial(void)
{
  static atomic_ullong last;

  return atomic_fetch_add(&last, 1) + 1;
}

struct bz_source bz_source_of_view(const struct bz_index_view *view, uint64_t seq, uint64_t serial)
{
  return (struct bz_source){.txn = view->txn,
                            .commit = view->commit,
                            .deltas = {NULL, view->deltas[0], view->deltas[1]},
                            .numbers = {0, seq, seq},
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

/* A walk over what a source that only reads has of the file. */
static enum blitz_rc open_walk(const struct blitz_table *table, const struct bz_source *source,
                               unsigned index_no, struct bz_walk *walk, struct blitz_error *err)
{
  enum blitz_rc rc = bz_walk_open(&source->commit, table->index->ids[index_no], walk);

  return rc == BLITZ_OK ? rc : damaged(table, BLITZ_CORRUPT, err);
}

enum blitz_rc bz_source_get(const struct blitz_table *table, const struct bz_source *source,
                            unsigned index_no, struct blitz_slice sort_key, struct bz_entry *found,
                            struct blitz_error *err)
{
  struct bz_walk walk;
  enum blitz_rc rc;

  for (unsigned n = 0; n < BZ_SOURCE_DELTAS; n++)
  {
    struct bz_delta_place place;
    struct bz_delta_version version;

    if (!place_of(source, n, index_no, &place) || !bz_delta_find(&place, sort_key))
      continue;
    version = bz_delta_at(&place);
    if (version.removed)
      return BLITZ_NOT_FOUND;
    return bz_delta_entry(&version, found) ? BLITZ_OK : damaged(table, BLITZ_CORRUPT, err);
  }
  if (source->in_write)
    return bz_tree_get(table, source->txn, table->index->dbis[index_no], sort_key, found, err);
  rc = open_walk(table, source, index_no, &walk, err);
  if (rc != BLITZ_OK)
    return rc;
  rc = bz_walk_get(&walk, sort_key, found);
  return rc == BLITZ_OK || rc == BLITZ_NOT_FOUND ? rc : damaged(table, rc, err);
}

/* ---- opening -------------------------------------------------------------------------- */

/* A cursor of a write transaction has gone with it. */
void bz_reader_close(const struct blitz_table *table, struct bz_reader *reader)
{
  if (reader->mc != NULL && reader->write_serial == atomic_load(&table->index->write_serial))
    bz_tree_close_cursor(reader->mc);
  *reader = (struct bz_reader){0};
}

enum blitz_rc bz_reader_open(const struct blitz_table *table, const struct bz_source *source,
                             unsigned index_no, struct bz_reader *reader, struct blitz_error *err)
{
  const struct bz_index_file *file = table->index;
  enum blitz_rc rc;

  bz_reader_close(table, reader);
  rc = source->in_write
           ? bz_tree_open_cursor(table, source->txn, file->dbis[index_no], &reader->mc, err)
           : open_walk(table, source, index_no, &reader->walk, err);
  reader->serial = rc == BLITZ_OK ? source->serial : 0; /* no source has that */
  reader->write_serial = atomic_load(&file->write_serial);
  reader->index_no = index_no;
  reader->count = 0;
  reader->file_there = false;
  reader->at = (struct blitz_slice){NULL, 0};
  for (unsigned n = 0; n < BZ_SOURCE_DELTAS; n++)
    if (place_of(source, n, index_no, &reader->places[reader->count]))
      reader->there[reader->count++] = false;
  return rc;
}

/* ---- places ------------------------------------------------------------------------------ */

static struct blitz_slice key_at(const struct bz_delta_place *place)
{
  return bz_delta_at(place).sort_key;
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

/* BLITZ_END is a place too. */
static enum blitz_rc file_arrived(struct bz_reader *reader, enum blitz_rc rc)
{
  reader->file_there = rc == BLITZ_OK;
  return rc == BLITZ_END ? BLITZ_OK : rc;
}

static enum blitz_rc seek_all(struct bz_reader *reader, struct blitz_slice key,
                              enum blitz_seek where)
{
  for (unsigned n = 0; n < reader->count; n++)
    reader->there[n] = bz_delta_seek(&reader->places[n], key, where);
  return file_arrived(reader, file_seek(reader, key, where, &reader->of_file));
}

/* Takes all places that are at the entry AT a step further. */
static enum blitz_rc leave(struct bz_reader *reader, struct blitz_slice at)
{
  for (unsigned n = 0; n < reader->count; n++)
    if (reader->there[n] && bz_compare_keys(key_at(&reader->places[n]), at) == 0)
      reader->there[n] = bz_delta_step(&reader->places[n], reader->forward);
  if (!reader->file_there || bz_compare_keys(reader->of_file.sort_key, at) != 0)
    return BLITZ_OK;
  return file_arrived(reader, file_step(reader, reader->forward, &reader->of_file));
}

/* Is A nearer than B? */
static bool is_nearer(const struct bz_reader *reader, struct blitz_slice a, struct blitz_slice b)
{
  int order = bz_compare_keys(a, b);

  return reader->forward ? order < 0 : order > 0;
}

/* The delta with the nearest entry, the newest one of equals; reader->count: the file has it; more:
 * nobody has any.
 */
static unsigned nearest(const struct bz_reader *reader, struct blitz_slice *keyp)
{
  unsigned best = reader->count + 1;

  for (unsigned n = 0; n < reader->count; n++)
    if (reader->there[n] &&
        (best > reader->count || is_nearer(reader, key_at(&reader->places[n]), *keyp)))
    {
      best = n;
      *keyp = key_at(&reader->places[n]);
    }
  if (reader->file_there &&
      (best > reader->count || is_nearer(reader, reader->of_file.sort_key, *keyp)))
  {
    best = reader->count;
    *keyp = reader->of_file.sort_key;
  }
  return best;
}

/* Finds the nearest entry that is there. */
static enum blitz_rc arrive(struct bz_reader *reader, struct bz_entry *found)
{
  for (;;)
  {
    struct blitz_slice key = {NULL, 0};
    struct bz_delta_version version;
    unsigned best = nearest(reader, &key);
    enum blitz_rc rc;

    if (best > reader->count)
      return BLITZ_END;
    if (best == reader->count)
    {
      *found = reader->of_file;
      reader->at = key;
      return BLITZ_OK;
    }
    version = bz_delta_at(&reader->places[best]);
    if (!version.removed)
    {
      reader->at = key;
      return bz_delta_entry(&version, found) ? BLITZ_OK : BLITZ_CORRUPT;
    }
    rc = leave(reader, key);
    if (rc != BLITZ_OK)
      return rc;
  }
}

enum blitz_rc bz_reader_seek(struct bz_reader *reader, struct blitz_slice key,
                             enum blitz_seek where, struct bz_entry *found)
{
  enum blitz_rc rc;

  if (reader->count == 0)
    return file_seek(reader, key, where, found);
  reader->forward = where == BLITZ_SEEK_FIRST || where == BLITZ_SEEK_AFTER;
  rc = seek_all(reader, key, where);
  return rc == BLITZ_OK ? arrive(reader, found) : rc;
}

/* Puts all places to what is next to the entry that was found last in the other direction. */
static enum blitz_rc turn(struct bz_reader *reader)
{
  enum blitz_rc rc;

  reader->forward = !reader->forward;
  rc = seek_all(reader, reader->at, reader->forward ? BLITZ_SEEK_FIRST : BLITZ_SEEK_BEFORE);
  /* Others may begin with its sort key, but they are behind it. */
  return rc == BLITZ_OK && reader->forward ? leave(reader, reader->at) : rc;
}

enum blitz_rc bz_reader_step(struct bz_reader *reader, bool forward, struct bz_entry *found)
{
  enum blitz_rc rc;

  if (reader->count == 0)
    return file_step(reader, forward, found);
  rc = forward == reader->forward ? leave(reader, reader->at) : turn(reader);
  return rc == BLITZ_OK ? arrive(reader, found) : rc;
}
