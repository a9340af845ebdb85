/* SPDX-License-Identifier: GPL-2.0-only
 *
 * undo.c: see undo.h.
 */
#include "index/undo.h"

#include "index/lmdb.h"

#include <assert.h>
#include <stdlib.h>

#define ID_LEN 8
#define HEAD_LEN 12 /* of a version, before its value */

/* A version in a list. */
struct version
{
  uint64_t number;
  bool removed;
  struct blitz_slice value;
};

/* Takes the next version from *FROM. False: there is none, or the list is damaged. */
static bool next_version(struct blitz_slice *from, struct version *version)
{
  const uint8_t *at = from->data;
  uint32_t len;

  if (from->len < HEAD_LEN)
    return false;
  version->number = bz_load_le64(at);
  len = bz_load_le32(at + 8);
  version->removed = len == 0;
  len -= !version->removed;
  if (len > from->len - HEAD_LEN)
    return false;
  version->value = (struct blitz_slice){at + HEAD_LEN, len};
  *from = (struct blitz_slice){at + HEAD_LEN + len, from->len - HEAD_LEN - len};
  return true;
}

/* The key of an entry's versions, in BUF. */
static enum blitz_rc make_key(struct bz_buffer *buf, uint64_t id, struct blitz_slice sort_key,
                              struct blitz_slice *key)
{
  if (bz_buffer_reserve(buf, ID_LEN + sort_key.len) != BLITZ_OK)
    return BLITZ_NOMEM;
  bz_store_be64(buf->data, id);
  if (sort_key.len > 0)
    memcpy(buf->data + ID_LEN, sort_key.data, sort_key.len);
  *key = (struct blitz_slice){buf->data, ID_LEN + sort_key.len};
  return BLITZ_OK;
}

/* ---- reading ------------------------------------------------------------------------- */

enum blitz_rc bz_undo_open(const struct bz_walk_commit *commit, struct bz_undo_place *place)
{
  return bz_walk_open(commit, BZ_UNDO_ID, &place->walk);
}

void bz_undo_close(struct bz_undo_place *place)
{
  free(place->sought.data);
  free(place->bytes.data);
  *place = (struct bz_undo_place){.id = 0};
}

/* Copies what is at a place in the map: the sort key, and behind it the versions. */
static enum blitz_rc copy_found(struct bz_undo_place *place, const struct bz_entry *found,
                                struct blitz_slice *list)
{
  size_t key_len = found->sort_key.len - ID_LEN;

  if (bz_buffer_reserve(&place->bytes, key_len + found->payload.len + 1) != BLITZ_OK)
    return BLITZ_NOMEM;
  memcpy(place->bytes.data, (const uint8_t *)found->sort_key.data + ID_LEN, key_len);
  if (found->payload.len > 0)
    memcpy(place->bytes.data + key_len, found->payload.data, found->payload.len);
  place->sort_key = (struct blitz_slice){place->bytes.data, key_len};
  *list = (struct blitz_slice){place->bytes.data + key_len, found->payload.len};
  return BLITZ_OK;
}

/* Is FOUND of the place's index? */
static bool is_of_index(const struct bz_undo_place *place, const struct bz_entry *found)
{
  return found->sort_key.len >= ID_LEN && bz_load_be64(found->sort_key.data) == place->id;
}

/* The version that is seen at the place where the walk has found something. */
static enum blitz_rc arrived(struct bz_undo_place *place, enum blitz_rc rc,
                             const struct bz_entry *found)
{
  struct blitz_slice list;
  struct version version = {.removed = true};

  if (rc != BLITZ_OK)
    return rc;
  if (!is_of_index(place, found))
    return BLITZ_END;
  rc = copy_found(place, found, &list);
  if (rc != BLITZ_OK)
    return rc;
  do
  {
    if (list.len == 0)
    {
      place->removed = true; /* U2 */
      return BLITZ_OK;
    }
    if (!next_version(&list, &version))
      return BLITZ_CORRUPT;
  } while (version.number > place->number);
  place->removed = version.removed;
  if (!version.removed)
  {
    struct bz_delta_version as = {.sort_key = place->sort_key, .value = version.value};
    return bz_delta_entry(&as, &place->entry) ? BLITZ_OK : BLITZ_CORRUPT;
  }
  return BLITZ_OK;
}

enum blitz_rc bz_undo_seek(struct bz_undo_place *place, struct blitz_slice key,
                           enum blitz_seek where)
{
  struct bz_entry found = {.off = 0};
  struct blitz_slice sought;
  enum blitz_rc rc = make_key(&place->sought, place->id, key, &sought);

  if (rc == BLITZ_OK)
    rc = bz_walk_seek(&place->walk, sought, where, &found);
  return arrived(place, rc, &found);
}

enum blitz_rc bz_undo_step(struct bz_undo_place *place, bool forward)
{
  struct bz_entry found = {.off = 0};
  enum blitz_rc rc = bz_walk_step(&place->walk, forward, &found);

  return arrived(place, rc, &found);
}

enum blitz_rc bz_undo_find(struct bz_undo_place *place, struct blitz_slice sort_key)
{
  enum blitz_rc rc = bz_undo_seek(place, sort_key, BLITZ_SEEK_FIRST);

  if (rc == BLITZ_OK && bz_compare_keys(place->sort_key, sort_key) == 0)
    return BLITZ_OK;
  return rc == BLITZ_OK || rc == BLITZ_END ? BLITZ_NOT_FOUND : rc;
}

/* ---- writing ------------------------------------------------------------------------- */

/* The database, if there is one: *USED, there is something in it. */
static enum blitz_rc find_db(struct blitz_table *table, struct MDB_txn *txn, unsigned *dbip,
                             bool *used, struct blitz_error *err)
{
  char name[DB_NAME_LEN];
  MDB_stat stat;
  int rc;

  *used = false;
  bz_index_db_name(BZ_UNDO_ID, name);
  rc = mdb_dbi_open(txn, name, 0, dbip);
  if (rc == 0)
    rc = mdb_stat(txn, *dbip, &stat);
  if (rc == 0)
    *used = stat.ms_entries > 0;
  return rc == 0 || rc == MDB_NOTFOUND ? BLITZ_OK : bz_index_write_fail(table, rc, err);
}

enum blitz_rc bz_undo_clear(struct blitz_table *table, struct MDB_txn *txn, struct blitz_error *err)
{
  unsigned dbi;
  bool used;
  enum blitz_rc rc = find_db(table, txn, &dbi, &used, err);

  return rc == BLITZ_OK && used ? bz_index_db_clear(table, txn, dbi, err) : rc;
}

enum blitz_rc bz_undo_begin(struct bz_undo *undo, struct blitz_table *table, struct MDB_txn *txn,
                            const uint64_t *numbers, size_t count, bool keep,
                            struct blitz_error *err)
{
  unsigned dbi;
  enum blitz_rc rc = BLITZ_OK;

  assert(table->index->writing);
  *undo = (struct bz_undo){.table = table, .txn = txn, .numbers = numbers, .count = count};
  if (!keep || count == 0)
    rc = bz_undo_clear(table, txn, err);
  if (rc != BLITZ_OK || count == 0)
    return rc;
  rc = bz_index_db_create(table, txn, BZ_UNDO_ID, &dbi, err);
  return rc == BLITZ_OK ? bz_tree_open_cursor(table, txn, dbi, &undo->mc, err) : rc;
}

void bz_undo_end(struct bz_undo *undo)
{
  bz_tree_close_cursor(undo->mc);
  free(undo->key.data);
  free(undo->list.data);
  *undo = (struct bz_undo){.mc = NULL};
}

/* A list of versions as it is made, from the newest to the oldest. */
struct list
{
  struct bz_undo *undo;
  size_t len;
  size_t before;  /* of the numbers: those of snapshots that no version so far is for */
  bool has_first; /* the newest version is there */
};

/* Adds a version, unless no snapshot sees it. */
static enum blitz_rc add_version(struct list *list, const struct version *version)
{
  struct bz_undo *undo = list->undo;
  bool seen = false;
  uint8_t *to;

  while (list->before > 0 && undo->numbers[list->before - 1] >= version->number)
  {
    list->before--;
    seen = true;
  }
  if (list->has_first && !seen)
    return BLITZ_OK;
  list->has_first = true;
  if (bz_buffer_reserve(&undo->list, list->len + HEAD_LEN + version->value.len) != BLITZ_OK)
    return BLITZ_NOMEM;
  to = undo->list.data + list->len;
  bz_store_le64(to, version->number);
  bz_store_le32(to + 8, version->removed ? 0 : 1 + (uint32_t)version->value.len);
  if (version->value.len > 0)
    memcpy(to + HEAD_LEN, version->value.data, version->value.len);
  list->len += HEAD_LEN + version->value.len;
  return BLITZ_OK;
}

/* Adds what the merge brings. */
static enum blitz_rc add_new(struct list *list, const struct bz_delta_place *place)
{
  struct bz_delta_place at = *place;
  enum blitz_rc rc;

  do
  {
    struct bz_delta_version from = bz_delta_at(&at);
    struct version version = {from.number, from.removed,
                              from.removed ? (struct blitz_slice){NULL, 0} : from.value};
    rc = add_version(list, &version);
  } while (rc == BLITZ_OK && list->before > 0 && bz_delta_older(&at));
  return rc;
}

/* Adds the versions that the undo has of KEY already. BLITZ_NOT_FOUND: none. */
static enum blitz_rc add_kept(struct list *list, struct blitz_slice key, struct blitz_error *err)
{
  struct bz_undo *undo = list->undo;
  struct version version;
  struct bz_entry found;
  enum blitz_rc rc =
      bz_tree_get(undo->table, undo->txn, mdb_cursor_dbi(undo->mc), key, &found, err);

  while (rc == BLITZ_OK && list->before > 0 && found.payload.len > 0)
    rc = next_version(&found.payload, &version) ? add_version(list, &version) : BLITZ_CORRUPT;
  return rc;
}

/* Adds what the file has, which was there before all versions that are known. */
static enum blitz_rc add_base(struct list *list, unsigned index_no, struct blitz_slice sort_key,
                              struct blitz_error *err)
{
  const struct blitz_table *table = list->undo->table;
  struct version version = {.number = 0};
  struct bz_entry found;
  uint8_t *value;
  enum blitz_rc rc =
      bz_tree_get(table, list->undo->txn, table->index->dbis[index_no], sort_key, &found, err);

  if (rc != BLITZ_OK)
    return rc == BLITZ_NOT_FOUND ? BLITZ_OK : rc;
  version.value.len = bz_entry_value_len(&found);
  value = malloc(version.value.len);
  if (value == NULL)
    return BLITZ_NOMEM;
  bz_entry_fill_value(value, &found);
  version.value.data = value;
  rc = add_version(list, &version);
  free(value);
  return rc;
}

static enum blitz_rc fail(const struct bz_undo *undo, enum blitz_rc rc, struct blitz_error *err)
{
  if (rc == BLITZ_NOMEM)
    return bz_fail(err, rc, 0, "out of memory writing %s", undo->table->index->name);
  return rc == BLITZ_CORRUPT ? bz_index_fail(undo->table, MDB_CORRUPTED, err) : rc;
}

enum blitz_rc bz_undo_keep(struct bz_undo *undo, unsigned index_no,
                           const struct bz_delta_place *place, struct blitz_error *err)
{
  struct list list = {.undo = undo, .before = undo->count};
  struct bz_delta_version newest = bz_delta_at(place);
  struct bz_entry entry = {.unique = true};
  bool all_see_newest;
  enum blitz_rc rc;

  if (undo->mc == NULL)
    return BLITZ_OK;
  rc = make_key(&undo->key, undo->table->index->ids[index_no], newest.sort_key, &entry.sort_key);
  if (rc == BLITZ_OK)
    rc = add_new(&list, place);
  all_see_newest = newest.number <= undo->numbers[0];
  if (rc == BLITZ_OK && !all_see_newest)
    rc = add_kept(&list, entry.sort_key, err);
  if (rc == BLITZ_NOT_FOUND)
    rc = add_base(&list, index_no, newest.sort_key, err);
  if (rc != BLITZ_OK)
    return fail(undo, rc, err);
  /* All see what the file is about to have. */
  if (all_see_newest || (newest.removed && list.len == HEAD_LEN))
  {
    rc = bz_tree_remove(undo->table, undo->mc, entry.sort_key, err);
    return rc == BLITZ_NOT_FOUND ? BLITZ_OK : rc;
  }
  entry.payload = (struct blitz_slice){undo->list.data, list.len};
  return bz_tree_put(undo->table, undo->mc, &entry, err);
}
