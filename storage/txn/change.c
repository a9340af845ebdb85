/* SPDX-License-Identifier: GPL-2.0-only
 *
 * change.c: insert, update and remove. A new row is written at once into a block that
 * looks free to everyone else, and remembered (writes.c); in a load it goes to its
 * place (load.c). Whatever fails here has changed nothing.
 */
#include "txn/entries.h"
#include "txn/load.h"

#include <string.h>

#define SPLITS_PER_INSERT 4 /* a round of growing then takes a quarter of its rows */
#define EXPECTED_MAX (UINT64_C(1) << 26)

/* ---- what is there now ------------------------------------------------------ */

/* A key as the transaction sees it. */
struct current
{
  struct bz_change *change; /* NULL: none of that key */
  struct bz_place place;    /* of the committed row, if change is NULL */
  struct bz_row row;
  bool checked; /* its checksum was found to be right, where it is */
};

/* Is the live row KEY at OFF? There is only one. */
static bool row_is_at(const struct blitz_table *table, const struct bz_key *key, uint64_t off,
                      struct bz_row *row)
{
  return off >= atomic_load_explicit(&table->first, memory_order_relaxed) &&
         bz_block_row(table, off, row) &&
         bz_word_magic(bz_word_load(bz_base(table), off)) == BZ_ROW_MAGIC &&
         row->key_len == key->len && memcmp(row->key, key->data, key->len) == 0;
}

static enum blitz_rc look_for(struct bz_writes *writes, const struct bz_key *key,
                              struct current *current, struct blitz_error *err)
{
  enum blitz_rc rc;

  if (writes->load != NULL)
    bz_load_flush(writes->table, writes->load);
  current->change = writes->load != NULL ? NULL : bz_writes_find(writes, key);
  if (current->change != NULL)
  {
    if (current->change->new_off == 0)
      return BLITZ_NOT_FOUND;
    if (!bz_block_row(writes->table, current->change->new_off, &current->row))
      return bz_damaged(writes->table, current->change->new_off, err);
    return BLITZ_OK;
  }
  rc = bz_hash_find(writes->table, key, &current->place);
  if (rc == BLITZ_CORRUPT)
    return bz_damaged(writes->table, current->place.link_off, err);
  if (rc == BLITZ_NOT_FOUND && atomic_load_explicit(&writes->table->damaged, memory_order_relaxed))
    return bz_damaged(writes->table, 0, err);
  current->row = current->place.row;
  return rc;
}

/* READ, if not NULL, is the row as it was read. If no change is of a row that far in the file,
 * none is of this one: so a scan that changes rows as it meets them asks neither the index nor
 * the tree. A row that was read in the map was checked there, and has stayed as it is (F3).
 */
static enum blitz_rc find_current(struct bz_writes *writes, const struct bz_key *key,
                                  const struct bz_row *read, struct current *current,
                                  struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  if (read != NULL && read->off > writes->old_off_max && writes->load == NULL &&
      row_is_at(writes->table, key, read->off, &current->row))
    current->change = NULL;
  else
    rc = look_for(writes, key, current, err);
  current->checked = rc == BLITZ_OK && read != NULL && read->value == current->row.value;
  return rc;
}

/* ---- changes ---------------------------------------------------------------- */

/* The caller's part of a file key. */
static struct blitz_slice row_key(const struct bz_key *key)
{
  return (struct blitz_slice){key->data, key->len - BZ_KEY_SPREAD_LEN};
}

/* A row on its way into a table. */
struct new_row
{
  const struct bz_key *key;
  struct blitz_slice value;
  bool entries; /* give it entries in the indexes */
  bool is_new;  /* no row ever had its key */
};

/* Writes a row into a new block, and its entries. */
static enum blitz_rc put_block(struct blitz_txn *txn, struct bz_writes *writes,
                               const struct new_row *new_row, uint64_t *offp,
                               struct blitz_error *err)
{
  const struct bz_key *key = new_row->key;
  uint64_t len = bz_row_block_len(key->len, new_row->value.len + BZ_VALUE_HEADER_LEN);
  enum blitz_rc rc = bz_space_alloc(writes->table, len, offp, err);

  if (rc != BLITZ_OK)
    return rc;
  bz_moves_forget(&writes->moves, *offp);
  bz_note(writes->table, *offp, len);
  bz_row_fill(bz_base(writes->table) + *offp, writes->table->salt, key->data, key->len,
              new_row->value);
  if (new_row->entries && writes->table->index != NULL)
    rc = bz_entries_insert(txn, writes, row_key(key), new_row->value, *offp, err);
  if (rc != BLITZ_OK)
    (void)bz_space_free(writes->table, *offp);
  return rc;
}

/* A row of a load, of which the key cannot be there yet. */
static enum blitz_rc append(struct blitz_txn *txn, struct bz_writes *writes,
                            const struct new_row *new_row, struct blitz_error *err)
{
  uint64_t off;
  enum blitz_rc rc = put_block(txn, writes, new_row, &off, err);

  if (rc == BLITZ_OK)
    bz_load_append(writes->table, writes->load, new_row->key, off);
  return rc;
}

/* Another row gets the key of CHANGE, whose row is gone. */
static void put_again(struct bz_writes *writes, struct bz_change *change, uint64_t off)
{
  if (change->old_off != 0 && bz_moves_from(&writes->moves, change->old_off) == NULL)
    bz_moves_set(&writes->moves, change->old_off, 0, true);
  change->new_off = off;
}

/* The row of CHANGE goes from its block to the one at OFF; 0: it is removed. */
static void take_from_block(struct bz_writes *writes, struct bz_change *change, uint64_t off)
{
  uint64_t origin = bz_writes_origin(writes, change);

  if (origin != change->old_off || bz_moves_from(&writes->moves, origin) != NULL)
    bz_moves_set(&writes->moves, origin, off, origin != change->new_off);
  bz_space_free_later(writes->table, change->new_off);
  change->new_off = off;
}

/* What is there of the key of a row that is to be inserted: BLITZ_NOT_FOUND, if it may be. */
static enum blitz_rc find_room(struct bz_writes *writes, const struct new_row *new_row,
                               struct current *current, struct blitz_error *err)
{
  enum blitz_rc rc;

  current->change = NULL;
  if (new_row->is_new && writes->load == NULL)
    return BLITZ_NOT_FOUND;
  rc = find_current(writes, new_row->key, NULL, current, err);
  if (rc == BLITZ_OK)
    return bz_fail(err, BLITZ_DUPLICATE, 0, "%s: there is a row with that key",
                   writes->table->file);
  return rc;
}

/* A row of which the key may be there. */
static enum blitz_rc add(struct blitz_txn *txn, struct bz_writes *writes,
                         const struct new_row *new_row, struct blitz_error *err)
{
  struct current current;
  uint64_t off;
  enum blitz_rc rc = find_room(writes, new_row, &current, err);

  if (rc != BLITZ_NOT_FOUND)
    return rc;
  rc = put_block(txn, writes, new_row, &off, err);
  if (rc != BLITZ_OK)
    return rc;
  if (writes->load != NULL)
    bz_load_put(writes->table, new_row->key, &current.place, off);
  else if (current.change != NULL)
    put_again(writes, current.change, off);
  else
    bz_writes_add(writes, new_row->key, off, 0);
  return BLITZ_OK;
}

static enum blitz_rc insert(struct blitz_txn *txn, struct bz_writes *writes,
                            const struct new_row *new_row, struct blitz_error *err)
{
  struct blitz_table *table = writes->table;
  uint64_t rows = atomic_load_explicit(&table->row_count, memory_order_relaxed);
  enum blitz_rc rc;

  if (writes->row_delta > 0)
    rows += (uint64_t)writes->row_delta;
  bz_grow(table, rows + 1, SPLITS_PER_INSERT);
  rc = writes->load != NULL && bz_load_is_new(writes->load, new_row->key)
           ? append(txn, writes, new_row, err)
           : add(txn, writes, new_row, err);
  if (rc == BLITZ_OK)
  {
    writes->row_delta++;
    writes->inserted++;
  }
  return rc;
}

/* May the value of CURRENT be believed? Entries are made from it. */
static bool is_intact(const struct bz_writes *writes, const struct current *current)
{
  bool sealed = writes->load != NULL || current->change == NULL;

  return !sealed || current->checked || bz_row_intact(writes->table->salt, &current->row);
}

/* Gives the row KEY the value VALUE. */
static enum blitz_rc replace(struct blitz_txn *txn, struct bz_writes *writes,
                             const struct bz_key *key, struct current *current,
                             struct blitz_slice value, struct blitz_error *err)
{
  struct new_row new_row = {.key = key, .value = value};
  uint64_t off;
  enum blitz_rc rc;

  if (writes->table->index != NULL && !is_intact(writes, current))
    return bz_damaged(writes->table, current->row.off, err);
  rc = put_block(txn, writes, &new_row, &off, err);
  if (rc != BLITZ_OK)
    return rc;
  if (writes->table->index != NULL)
    rc = bz_entries_update(txn, writes, row_key(key), bz_row_value(&current->row), row_key(key),
                           value, off, err);
  if (rc != BLITZ_OK)
  {
    (void)bz_space_free(writes->table, off);
    return rc;
  }
  if (writes->load != NULL)
    bz_load_replace(writes->table, key, &current->place, off);
  else if (current->change == NULL)
    bz_writes_add(writes, key, off, current->row.off);
  else
    take_from_block(writes, current->change, off);
  writes->updated++;
  return BLITZ_OK;
}

/* Removes the row KEY, but not its entries. */
static enum blitz_rc remove_row_alone(struct bz_writes *writes, const struct bz_key *key,
                                      struct current *current, struct blitz_error *err)
{
  if (writes->load != NULL)
  {
    if (bz_load_remove(writes->table, key, &current->place) != BLITZ_OK)
      return bz_damaged(writes->table, current->row.off, err);
  }
  else if (current->change == NULL)
    bz_writes_add(writes, key, 0, current->row.off);
  else
    take_from_block(writes, current->change, 0);
  writes->row_delta--;
  writes->removed++;
  return BLITZ_OK;
}

static enum blitz_rc remove_current(struct blitz_txn *txn, struct bz_writes *writes,
                                    const struct bz_key *key, struct current *current,
                                    struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  if (writes->table->index != NULL)
    rc = is_intact(writes, current)
             ? bz_entries_remove(txn, writes, row_key(key), bz_row_value(&current->row), err)
             : bz_damaged(writes->table, current->row.off, err);
  return rc == BLITZ_OK ? remove_row_alone(writes, key, current, err) : rc;
}

/* ---- what callers ask for ------------------------------------------------------ */

/* A change of the row KEY. */
struct request
{
  struct bz_writes *writes;
  struct bz_key key;
  uint8_t key_buf[BZ_FILE_KEY_MAX];
};

static enum blitz_rc check_value(const struct blitz_table *table, struct blitz_slice value,
                                 struct blitz_error *err)
{
  if (value.len <= BLITZ_VALUE_MAX)
    return BLITZ_OK;
  return bz_fail(err, BLITZ_TOO_BIG, 0, "%s: a row of %zu bytes is too big: the limit is %u",
                 table->file, value.len, BLITZ_VALUE_MAX);
}

/* VALUE is NULL if there is to be none. */
static enum blitz_rc begin(struct blitz_txn *txn, struct blitz_table *table, struct blitz_slice key,
                           const struct blitz_slice *value, struct request *request,
                           struct blitz_error *err)
{
  enum blitz_rc rc = value != NULL ? check_value(table, *value, err) : BLITZ_OK;

  if (key.len > BLITZ_KEY_MAX)
    return bz_fail(err, BLITZ_TOO_BIG, 0, "%s: a key of %zu bytes is too long: the limit is %d",
                   table->file, key.len, BLITZ_KEY_MAX);
  if (rc != BLITZ_OK)
    return rc;
  request->key.data = request->key_buf;
  request->key.len = bz_file_key(table, request->key_buf, key);
  request->key.hash = bz_hash(request->key_buf, request->key.len);
  return bz_writes_begin(txn, table, &request->writes, err);
}

/* The same for a new key and value of the row KEY. Mostly the key stays, and need not be made and
 * hashed again.
 */
static enum blitz_rc begin_update(struct blitz_txn *txn, struct blitz_table *table,
                                  const struct bz_key *key, struct blitz_slice new_key,
                                  struct blitz_slice value, struct request *request,
                                  struct blitz_error *err)
{
  struct blitz_slice old_key = row_key(key);
  enum blitz_rc rc;

  if (new_key.len != old_key.len || memcmp(new_key.data, old_key.data, old_key.len) != 0)
    return begin(txn, table, new_key, &value, request, err);
  rc = check_value(table, value, err);
  request->key = *key;
  return rc == BLITZ_OK ? bz_writes_begin(txn, table, &request->writes, err) : rc;
}

static enum blitz_rc insert_key(struct blitz_txn *txn, struct blitz_table *table,
                                struct blitz_slice key, struct blitz_slice value, bool is_new,
                                struct blitz_error *err)
{
  struct request request;
  enum blitz_rc rc = begin(txn, table, key, &value, &request, err);

  if (rc != BLITZ_OK)
    return rc;
  bz_change_begin(table);
  rc = insert(txn, request.writes,
              &(struct new_row){&request.key, value, .entries = true, .is_new = is_new}, err);
  bz_change_end(table);
  return rc;
}

enum blitz_rc bz_insert(struct blitz_txn *txn, struct blitz_table *table, struct blitz_slice key,
                        struct blitz_slice value, struct blitz_error *err)
{
  return insert_key(txn, table, key, value, false, err);
}

enum blitz_rc blitz_insert(struct blitz_txn *txn, struct blitz_table *table, struct blitz_slice key,
                           struct blitz_slice value, struct blitz_error *err)
{
  if (table->row_ids)
    return bz_fail(err, BLITZ_INVALID, 0, "%s makes its keys itself", table->file);
  return bz_insert(txn, table, key, value, err);
}

enum blitz_rc blitz_insert_row_id(struct blitz_txn *txn, struct blitz_table *table,
                                  struct blitz_slice value, uint64_t *row_idp,
                                  struct blitz_error *err)
{
  uint8_t key[8];
  struct bz_writes *writes;
  uint64_t row_id;
  enum blitz_rc rc;

  *row_idp = 0;
  if (!table->row_ids)
    return bz_fail(err, BLITZ_INVALID, 0, "%s does not make its keys itself", table->file);
  rc = bz_writes_begin(txn, table, &writes, err);
  if (rc != BLITZ_OK)
    return rc;
  bz_change_begin(table);
  row_id = bz_load_le64(bz_base(table) + BZ_NEXT_ROW_ID_OFF);
  bz_put_word(table, BZ_NEXT_ROW_ID_OFF, htole64(row_id + 1));
  bz_change_end(table);
  bz_store_be64(key, row_id);
  rc = insert_key(txn, table, (struct blitz_slice){key, sizeof key}, value, true, err);
  if (rc == BLITZ_OK)
    *row_idp = row_id;
  return rc;
}

static enum blitz_rc not_found(const struct blitz_table *table, struct blitz_error *err)
{
  return bz_fail(err, BLITZ_NOT_FOUND, 0, "%s: there is no row with that key", table->file);
}

/* Gives the entries of the row CURRENT, KEY, to the row NEW_KEY, which is in place. */
static enum blitz_rc move_entries(struct blitz_txn *txn, struct bz_writes *writes,
                                  const struct bz_key *key, const struct current *current,
                                  const struct bz_key *new_key, struct blitz_slice value,
                                  struct blitz_error *err)
{
  struct current added;
  enum blitz_rc rc;

  if (writes->table->index == NULL)
    return BLITZ_OK;
  if (!is_intact(writes, current))
    return bz_damaged(writes->table, current->row.off, err);
  rc = find_current(writes, new_key, NULL, &added, err);
  if (rc == BLITZ_OK)
    rc = bz_entries_update(txn, writes, row_key(key), bz_row_value(&current->row), row_key(new_key),
                           value, added.row.off, err);
  return rc;
}

/* Gives the row another key: a removal and an insertion, both or none. */
static enum blitz_rc change_key(struct blitz_txn *txn, struct bz_writes *writes,
                                const struct bz_key *key, const struct bz_row *read,
                                const struct bz_key *new_key, struct blitz_slice value,
                                struct blitz_error *err)
{
  struct current current;
  uint64_t origin = 0;
  bool is_committed = false;
  enum blitz_rc rc = insert(txn, writes, &(struct new_row){.key = new_key, .value = value}, err);

  if (rc != BLITZ_OK)
    return rc;
  rc = find_current(writes, key, read, &current, err);
  if (rc == BLITZ_OK)
    rc = move_entries(txn, writes, key, &current, new_key, value, err);
  if (rc == BLITZ_OK)
  {
    origin = current.change ? bz_writes_origin(writes, current.change) : current.row.off;
    is_committed = current.change == NULL || origin != current.row.off;
    rc = remove_row_alone(writes, key, &current, err);
  }
  if (rc == BLITZ_OK)
  {
    if (writes->load == NULL)
      bz_moves_set(&writes->moves, origin, bz_writes_find(writes, new_key)->new_off, is_committed);
    writes->inserted--;
    writes->removed--;
    writes->updated++;
    return BLITZ_OK;
  }
  /* The new row goes again; there is room for that. */
  if (find_current(writes, new_key, NULL, &current, NULL) == BLITZ_OK)
    (void)!remove_row_alone(writes, new_key, &current, NULL);
  return rc;
}

/* Gives the row KEY, read as READ, the key and value of REQUEST. */
static enum blitz_rc update(struct blitz_txn *txn, struct request *request,
                            const struct bz_key *key, const struct bz_row *read,
                            struct blitz_slice value, struct blitz_error *err)
{
  const struct bz_key *new_key = &request->key;
  struct current current;
  enum blitz_rc rc = find_current(request->writes, key, read, &current, err);

  if (rc == BLITZ_NOT_FOUND)
    return not_found(request->writes->table, err);
  if (rc != BLITZ_OK)
    return rc;
  if (key->len == new_key->len && memcmp(key->data, new_key->data, key->len) == 0)
    return replace(txn, request->writes, key, &current, value, err);
  return change_key(txn, request->writes, key, read, new_key, value, err);
}

enum blitz_rc bz_update(struct blitz_txn *txn, struct blitz_table *table, const struct bz_key *key,
                        const struct bz_row *read, struct blitz_slice new_key,
                        struct blitz_slice value, struct blitz_error *err)
{
  struct request request;
  enum blitz_rc rc = begin_update(txn, table, key, new_key, value, &request, err);

  if (rc != BLITZ_OK)
    return rc;
  bz_change_begin(table);
  rc = update(txn, &request, key, read, value, err);
  bz_change_end(table);
  return rc;
}

enum blitz_rc blitz_update(struct blitz_txn *txn, struct blitz_table *table, struct blitz_slice key,
                           struct blitz_slice new_key, struct blitz_slice value,
                           struct blitz_error *err)
{
  struct request from, to;
  enum blitz_rc rc = begin(txn, table, key, NULL, &from, err);

  if (rc == BLITZ_OK)
    rc = begin_update(txn, table, &from.key, new_key, value, &to, err);
  if (rc != BLITZ_OK)
    return rc;
  bz_change_begin(table);
  rc = update(txn, &to, &from.key, NULL, value, err);
  bz_change_end(table);
  return rc;
}

/* The current row KEY, if COMPARE says yes to its value. */
static enum blitz_rc find_if(struct bz_writes *writes, const struct bz_key *key,
                             blitz_compare_fn *compare, void *arg, struct current *current,
                             struct blitz_error *err)
{
  enum blitz_rc rc = find_current(writes, key, NULL, current, err);

  if (rc == BLITZ_NOT_FOUND)
    return not_found(writes->table, err);
  if (rc != BLITZ_OK)
    return rc;
  if (current->change == NULL && !bz_row_intact(writes->table->salt, &current->row))
    return bz_damaged(writes->table, current->row.off, err);
  current->checked = true;
  if (compare(arg, bz_row_value(&current->row)))
    return BLITZ_OK;
  return bz_fail(err, BLITZ_CHANGED, 0, "%s: the row has changed", writes->table->file);
}

enum blitz_rc blitz_update_if(struct blitz_txn *txn, struct blitz_table *table,
                              struct blitz_slice key, struct blitz_slice value,
                              blitz_compare_fn *compare, void *arg, struct blitz_error *err)
{
  struct request request;
  struct current current;
  enum blitz_rc rc = begin(txn, table, key, &value, &request, err);

  if (rc != BLITZ_OK)
    return rc;
  bz_change_begin(table);
  rc = find_if(request.writes, &request.key, compare, arg, &current, err);
  if (rc == BLITZ_OK)
    rc = replace(txn, request.writes, &request.key, &current, value, err);
  bz_change_end(table);
  return rc;
}

enum blitz_rc blitz_remove_if(struct blitz_txn *txn, struct blitz_table *table,
                              struct blitz_slice key, blitz_compare_fn *compare, void *arg,
                              struct blitz_error *err)
{
  struct request request;
  struct current current;
  enum blitz_rc rc = begin(txn, table, key, NULL, &request, err);

  if (rc != BLITZ_OK)
    return rc;
  bz_change_begin(table);
  rc = find_if(request.writes, &request.key, compare, arg, &current, err);
  if (rc == BLITZ_OK)
    rc = remove_current(txn, request.writes, &request.key, &current, err);
  bz_change_end(table);
  return rc;
}

/* Removes the row KEY, read as READ. */
static enum blitz_rc remove_row(struct blitz_txn *txn, struct bz_writes *writes,
                                const struct bz_key *key, const struct bz_row *read,
                                struct blitz_error *err)
{
  struct current current;
  enum blitz_rc rc;

  bz_change_begin(writes->table);
  rc = find_current(writes, key, read, &current, err);
  if (rc == BLITZ_NOT_FOUND)
    rc = not_found(writes->table, err);
  else if (rc == BLITZ_OK)
    rc = remove_current(txn, writes, key, &current, err);
  bz_change_end(writes->table);
  return rc;
}

enum blitz_rc bz_remove(struct blitz_txn *txn, struct blitz_table *table, const struct bz_key *key,
                        const struct bz_row *read, struct blitz_error *err)
{
  struct bz_writes *writes;
  enum blitz_rc rc = bz_writes_begin(txn, table, &writes, err);

  return rc == BLITZ_OK ? remove_row(txn, writes, key, read, err) : rc;
}

enum blitz_rc bz_remove_entries(struct blitz_txn *txn, struct blitz_table *table,
                                struct blitz_error *err)
{
  struct bz_writes *writes;
  enum blitz_rc rc = bz_writes_begin(txn, table, &writes, err);

  if (rc == BLITZ_OK && table->index != NULL)
    rc = bz_entries_clear(writes, err);
  return rc;
}

enum blitz_rc bz_remove_alone(struct blitz_txn *txn, struct blitz_table *table,
                              const struct bz_key *key, const struct bz_row *read,
                              struct blitz_error *err)
{
  struct bz_writes *writes;
  struct current current;
  enum blitz_rc rc = bz_writes_begin(txn, table, &writes, err);

  if (rc != BLITZ_OK)
    return rc;
  bz_change_begin(table);
  rc = find_current(writes, key, read, &current, err);
  if (rc == BLITZ_OK)
    rc = remove_row_alone(writes, key, &current, err);
  bz_change_end(table);
  return rc;
}

enum blitz_rc blitz_remove(struct blitz_txn *txn, struct blitz_table *table, struct blitz_slice key,
                           struct blitz_error *err)
{
  struct request request;
  enum blitz_rc rc = begin(txn, table, key, NULL, &request, err);

  return rc == BLITZ_OK ? remove_row(txn, request.writes, &request.key, NULL, err) : rc;
}

enum blitz_rc blitz_txn_expect_rows(struct blitz_txn *txn, struct blitz_table *table,
                                    uint64_t row_count, bool late_duplicates,
                                    struct blitz_error *err)
{
  struct bz_writes *writes;
  enum blitz_rc rc = bz_writes_begin(txn, table, &writes, err);

  if (rc != BLITZ_OK)
    return rc;
  if (writes->load == NULL && writes->count == 0 && bz_load_possible(table))
    writes->load = bz_load_begin();
  if (writes->load != NULL && table->index != NULL && writes->row_delta == 0 &&
      writes->index_txn == NULL && writes->sorts == NULL)
    rc = bz_entries_sort(writes, late_duplicates, err);
  if (rc != BLITZ_OK || row_count == 0)
    return rc;
  if (writes->load != NULL && writes->row_delta == 0)
  {
    bz_change_begin(table);
    bz_grow_empty(table, row_count < EXPECTED_MAX ? row_count : EXPECTED_MAX);
    bz_change_end(table);
  }
  return BLITZ_OK;
}

enum blitz_rc blitz_txn_finish_load(struct blitz_txn *txn, struct blitz_table *table,
                                    blitz_duplicate_fn *duplicate, void *arg,
                                    struct blitz_error *err)
{
  struct bz_writes *writes = bz_txn_writes(txn, table);

  if (writes == NULL)
    return BLITZ_OK;
  bz_txn_settle(txn, table);
  /* The device has something to do while entries are sorted. */
  if (bz_load_is_large(writes))
    bz_checkpoint_ahead(table);
  return bz_entries_settle(writes, duplicate, arg, err);
}
