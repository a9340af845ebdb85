/* SPDX-License-Identifier: GPL-2.0-only
 *
 * txn.c: transactions. A new row is written at once into a block that looks free
 * to everyone else; what is remembered in memory is only where it is. The commit
 * numbers these rows, hangs them into the trees, and takes out those that they
 * replace.
 *
 * Invariants:
 *  T1. Before commit no file but for blocks of state BZ_STATE_INFLIGHT differs from
 *      what it was; so rollback frees those blocks, and a crash does too.
 *  T2. A commit allocates nothing, neither space nor memory, so it cannot fail.
 *  T3. A commit's last store is its number in the header. Until then recovery
 *      finds the new rows numbered beyond it, and the old ones stamped as removed
 *      beyond it, but whole.
 *  T4. A key has one change in a transaction, the sum of all that was done to it.
 */
#include "blitz_int.h"
#include "bytes.h"

#include <stdlib.h>
#include <string.h>

#define LOCK_TIMEOUT_SECONDS 50
#define LINEAR_MAX 8         /* changes that are searched without an index */
#define KEEP_ROOM_MAX 1024   /* changes whose memory is kept for the next one */
#define SPLITS_PER_INSERT 4  /* a round of growing then takes a quarter of its rows */
#define PREFETCH_AHEAD 16
#define EXPECTED_MAX (UINT64_C(1) << 26)

/* new_off 0: the row goes; old_off 0: it was not there; both 0: no change. */
struct change
{
  uint64_t hash;
  uint64_t new_off; /* of a block BZ_STATE_INFLIGHT */
  uint64_t old_off; /* of the committed row */
};

/* The changes of one table. Who has one has the table's writer slot. */
struct writes
{
  struct blitz_table *table;
  struct change *changes;
  uint32_t count, room;
  uint32_t *index; /* positions + 1 by hash, 0: none */
  uint32_t index_room;
  uint32_t indexed;     /* changes in it: the first ones */
  uint64_t old_off_max; /* of the changes */
  struct bz_load *load; /* not NULL: rows go to their places at once */
  int64_t row_delta;
  uint64_t inserted, updated, removed;
  struct writes *next;
};

struct blitz_txn
{
  struct writes *writes;
  struct writes *spare; /* one, with its memory, for the next statement */
  unsigned lock_timeout;
};

/* ---- the object ---------------------------------------------------------- */

enum blitz_rc blitz_txn_create(struct blitz_txn **txnp)
{
  *txnp = calloc(1, sizeof **txnp);
  if (*txnp == NULL)
    return BLITZ_NOMEM;
  (*txnp)->lock_timeout = LOCK_TIMEOUT_SECONDS;
  return BLITZ_OK;
}

static void free_writes(struct writes *writes)
{
  if (writes == NULL)
    return;
  free(writes->changes);
  free(writes->index);
  free(writes);
}

void blitz_txn_free(struct blitz_txn *txn)
{
  if (txn == NULL)
    return;
  blitz_txn_rollback(txn);
  free_writes(txn->spare);
  free(txn);
}

void blitz_txn_lock_timeout(struct blitz_txn *txn, unsigned seconds)
{
  txn->lock_timeout = seconds;
}

bool blitz_txn_changed(const struct blitz_txn *txn)
{
  return txn->writes != NULL;
}

static struct writes *writes_of(const struct blitz_txn *txn, const struct blitz_table *table)
{
  struct writes *writes = txn != NULL ? txn->writes : NULL;

  while (writes != NULL && writes->table != table)
    writes = writes->next;
  return writes;
}

bool bz_txn_changes(const struct blitz_txn *txn, const struct blitz_table *table)
{
  return writes_of(txn, table) != NULL;
}

void bz_txn_settle(struct blitz_txn *txn, const struct blitz_table *table)
{
  struct writes *writes = writes_of(txn, table);

  if (writes != NULL && writes->load != NULL)
    bz_load_flush(writes->table, writes->load);
}

bool bz_txn_loads(const struct blitz_txn *txn, const struct blitz_table *table)
{
  const struct writes *writes = writes_of(txn, table);

  return writes != NULL && writes->load != NULL;
}

int64_t blitz_txn_row_delta(const struct blitz_txn *txn, const struct blitz_table *table)
{
  const struct writes *writes = writes_of(txn, table);

  return writes != NULL ? writes->row_delta : 0;
}

uint32_t bz_txn_change_count(const struct blitz_txn *txn, const struct blitz_table *table)
{
  const struct writes *writes = writes_of(txn, table);

  return writes != NULL ? writes->count : 0;
}

uint64_t bz_txn_added_row(const struct blitz_txn *txn, const struct blitz_table *table,
                          uint32_t i)
{
  const struct change *change = &writes_of(txn, table)->changes[i];

  return change->old_off == 0 ? change->new_off : 0;
}

/* The writes of TABLE, after taking its writer slot if need be. */
static enum blitz_rc begin_change(struct blitz_txn *txn, struct blitz_table *table,
                                  struct writes **writesp, struct blitz_error *err)
{
  struct writes *writes = writes_of(txn, table);
  enum blitz_rc rc;

  *writesp = writes;
  if (writes != NULL)
    return BLITZ_OK;
  if (table->flags & BLITZ_OPEN_READONLY)
    return bz_fail(err, BLITZ_READONLY, 0, "%s is open for reading only", table->file);
  if (atomic_load_explicit(&table->broken, memory_order_relaxed))
    return bz_damaged(table, 0, err);
  writes = txn->spare != NULL ? txn->spare : calloc(1, sizeof *writes);
  if (writes == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory changing %s", table->file);
  txn->spare = writes;
  rc = bz_slot_take(table, txn, txn->lock_timeout, err);
  if (rc != BLITZ_OK)
    return rc;
  bz_file_mark_dirty(table);
  txn->spare = NULL;
  writes->table = table;
  writes->next = txn->writes;
  txn->writes = writes;
  *writesp = writes;
  return BLITZ_OK;
}

static void end_change(struct blitz_txn *txn, struct writes *writes)
{
  txn->writes = writes->next;
  bz_slot_release(writes->table);
  if (txn->spare != NULL || writes->room > KEEP_ROOM_MAX)
  {
    free_writes(writes);
    return;
  }
  if (writes->indexed > 0)
    memset(writes->index, 0, writes->index_room * sizeof *writes->index);
  *writes = (struct writes){.changes = writes->changes,
                            .room = writes->room,
                            .index = writes->index,
                            .index_room = writes->index_room};
  txn->spare = writes;
}

/* ---- the changes of a table ------------------------------------------------ */

static bool row_at(const struct blitz_table *table, uint64_t off, struct bz_row *row)
{
  return bz_row_parse(bz_base(table), off,
                      atomic_load_explicit(&table->end, memory_order_relaxed), row);
}

static bool change_has_key(const struct writes *writes, const struct change *change,
                           const struct bz_key *key)
{
  struct bz_row row;
  uint64_t off = change->new_off != 0 ? change->new_off : change->old_off;

  return change->hash == key->hash.bucket && off != 0 && row_at(writes->table, off, &row) &&
         row.key_len == key->len && memcmp(row.key, key->data, key->len) == 0;
}

static uint32_t index_slot(const struct writes *writes, uint64_t hash)
{
  return (uint32_t)((hash * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (writes->index_room - 1);
}

static void index_change(struct writes *writes, uint32_t position)
{
  uint32_t slot = index_slot(writes, writes->changes[position].hash);

  while (writes->index[slot] != 0)
    slot = (slot + 1) & (writes->index_room - 1);
  writes->index[slot] = position + 1;
}

/* The change of KEY. The index is brought up to date here, because a scan that
 * changes each row that it meets needs none (find_current()).
 */
static struct change *find_change(struct writes *writes, const struct bz_key *key)
{
  if (writes->count <= LINEAR_MAX)
  {
    for (uint32_t i = 0; i < writes->count; i++)
      if (change_has_key(writes, &writes->changes[i], key))
        return &writes->changes[i];
    return NULL;
  }
  while (writes->indexed < writes->count)
    index_change(writes, writes->indexed++);
  for (uint32_t slot = index_slot(writes, key->hash.bucket); writes->index[slot] != 0;
       slot = (slot + 1) & (writes->index_room - 1))
  {
    struct change *change = &writes->changes[writes->index[slot] - 1];
    if (change_has_key(writes, change, key))
      return change;
  }
  return NULL;
}

static bool grow_index(struct writes *writes)
{
  uint32_t room = writes->index_room > 0 ? writes->index_room : 4 * LINEAR_MAX;
  uint32_t *index;

  while (room < writes->room * 2)
    room *= 2;
  index = calloc(room, sizeof *index);
  if (index == NULL)
    return false;
  free(writes->index);
  writes->index = index;
  writes->index_room = room;
  writes->indexed = 0;
  return true;
}

static enum blitz_rc reserve_changes(struct writes *writes, struct blitz_error *err)
{
  uint32_t room = writes->room > 0 ? writes->room : LINEAR_MAX;
  struct change *changes;

  if (writes->count > UINT32_MAX / 8)
    return bz_fail(err, BLITZ_TOO_BIG, 0, "%s: too many rows are changed at once",
                   writes->table->file);
  while (room < writes->count + 2)
    room *= 2;
  if (room != writes->room)
  {
    changes = realloc(writes->changes, room * sizeof *changes);
    if (changes == NULL)
      return bz_fail(err, BLITZ_NOMEM, 0, "out of memory changing %s: too many rows at once",
                     writes->table->file);
    writes->changes = changes;
    writes->room = room;
  }
  if (room > LINEAR_MAX && writes->index_room < room * 2 && !grow_index(writes))
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory changing %s: too many rows at once",
                   writes->table->file);
  return BLITZ_OK;
}

/* Makes room for what one call changes: two changes at most, each of which may
 * leave a block behind at once and another one at commit.
 */
static enum blitz_rc reserve(struct writes *writes, struct blitz_error *err)
{
  enum blitz_rc rc = writes->load != NULL ? BLITZ_OK : reserve_changes(writes, err);

  if (rc == BLITZ_OK)
    rc = bz_space_prepare_removals(writes->table, (size_t)writes->count + 4, err);
  return rc;
}

static void add_change(struct writes *writes, const struct bz_key *key, uint64_t new_off,
                       uint64_t old_off)
{
  writes->changes[writes->count++] = (struct change){key->hash.bucket, new_off, old_off};
  if (old_off > writes->old_off_max)
    writes->old_off_max = old_off;
}

/* ---- what is there now ------------------------------------------------------ */

/* A key as the transaction sees it. */
struct current
{
  struct change *change; /* NULL: none of that key */
  struct bz_place place; /* of the committed row, if change is NULL */
  struct bz_row row;
};

/* Is the live row KEY at OFF? There is only one. */
static bool row_is_at(const struct blitz_table *table, const struct bz_key *key, uint64_t off,
                      struct bz_row *row)
{
  return off >= atomic_load_explicit(&table->first, memory_order_relaxed) &&
         row_at(table, off, row) &&
         bz_word_magic(bz_word_load(bz_base(table), off)) == BZ_ROW_MAGIC &&
         row->key_len == key->len && memcmp(row->key, key->data, key->len) == 0;
}

/* HINT_OFF, if not 0, is where the row was read. If no change is of a row that far in
 * the file, none is of this one: so a scan that changes rows as it meets them asks
 * neither the index nor the tree.
 */
static enum blitz_rc find_current(struct writes *writes, const struct bz_key *key,
                                  uint64_t hint_off, struct current *current,
                                  struct blitz_error *err)
{
  enum blitz_rc rc;

  if (hint_off > writes->old_off_max && writes->load == NULL &&
      row_is_at(writes->table, key, hint_off, &current->row))
  {
    current->change = NULL;
    return BLITZ_OK;
  }
  if (writes->load != NULL)
    bz_load_flush(writes->table, writes->load);
  current->change = writes->load != NULL ? NULL : find_change(writes, key);
  if (current->change != NULL)
  {
    if (current->change->new_off == 0)
      return BLITZ_NOT_FOUND;
    if (!row_at(writes->table, current->change->new_off, &current->row))
      return bz_damaged(writes->table, current->change->new_off, err);
    return BLITZ_OK;
  }
  rc = bz_hash_find(writes->table, key, &current->place);
  if (rc == BLITZ_CORRUPT)
    return bz_damaged(writes->table, current->place.link_off, err);
  current->row = current->place.row;
  return rc;
}

enum bz_own bz_txn_own(const struct blitz_txn *txn, const struct blitz_table *table,
                       const struct bz_key *key, uint32_t limit, uint64_t *offp)
{
  struct writes *writes = writes_of(txn, table);
  struct change *change;
  struct bz_place place;

  *offp = 0;
  if (writes == NULL)
    return BZ_OWN_NONE;
  if (writes->load != NULL)
  {
    bz_load_flush(writes->table, writes->load);
    if (bz_hash_find(table, key, &place) != BLITZ_OK)
      return BZ_OWN_REMOVED;
    *offp = place.row.off;
    return BZ_OWN_ROW;
  }
  change = find_change(writes, key);
  if (change == NULL || change - writes->changes >= (ptrdiff_t)limit)
    return BZ_OWN_NONE;
  *offp = change->new_off;
  return change->new_off != 0 ? BZ_OWN_ROW : BZ_OWN_REMOVED;
}

void bz_txn_moved(struct blitz_txn *txn, const struct blitz_table *table,
                  const struct bz_key *key, uint64_t from, uint64_t to)
{
  struct writes *writes = writes_of(txn, table);
  struct change *change;

  if (writes == NULL)
    return;
  if (writes->load != NULL)
  {
    bz_load_moved(writes->load, from, to);
    return;
  }
  change = find_change(writes, key);
  if (change == NULL)
    return;
  if (change->new_off == from)
    change->new_off = to;
  if (change->old_off == from)
  {
    change->old_off = to;
    if (to > writes->old_off_max)
      writes->old_off_max = to;
  }
}

/* ---- changes ---------------------------------------------------------------- */

/* Writes a row into a new block. */
static enum blitz_rc put_block(struct writes *writes, const struct bz_key *key,
                               struct blitz_slice value, uint64_t *offp, struct blitz_error *err)
{
  uint64_t len = bz_row_block_len(key->len, value.len + BZ_VALUE_HEADER_LEN);
  enum blitz_rc rc = bz_space_alloc(writes->table, len, offp, err);

  if (rc == BLITZ_OK)
    bz_row_fill(bz_base(writes->table) + *offp, key->data, key->len, value);
  return rc;
}

static enum blitz_rc make_key(uint8_t *buf, struct blitz_slice key, struct bz_key *to,
                              struct blitz_error *err)
{
  if (key.len > BLITZ_KEY_MAX)
    return bz_fail(err, BLITZ_TOO_BIG, 0, "a key of %zu bytes is too long: the limit is %d",
                   key.len, BLITZ_KEY_MAX);
  to->data = buf;
  to->len = bz_file_key(buf, key);
  to->hash = bz_hash(buf, to->len);
  return BLITZ_OK;
}

static enum blitz_rc check_value(const struct blitz_table *table, struct blitz_slice value,
                                 struct blitz_error *err)
{
  if (value.len <= BLITZ_VALUE_MAX)
    return BLITZ_OK;
  return bz_fail(err, BLITZ_TOO_BIG, 0, "%s: a row of %zu bytes is too big: the limit is %u",
                 table->file, value.len, BLITZ_VALUE_MAX);
}

/* A row of a load, of which the key cannot be there yet. */
static enum blitz_rc append(struct writes *writes, const struct bz_key *key,
                            struct blitz_slice value, struct blitz_error *err)
{
  uint64_t off;
  enum blitz_rc rc = put_block(writes, key, value, &off, err);

  if (rc == BLITZ_OK)
    bz_load_append(writes->table, writes->load, key, off);
  return rc;
}

/* A row of which the key may be there. */
static enum blitz_rc add(struct writes *writes, const struct bz_key *key,
                         struct blitz_slice value, struct blitz_error *err)
{
  struct current current;
  uint64_t off;
  enum blitz_rc rc = find_current(writes, key, 0, &current, err);

  if (rc == BLITZ_OK)
    return bz_fail(err, BLITZ_DUPLICATE, 0, "%s: there is a row with that key",
                   writes->table->file);
  if (rc != BLITZ_NOT_FOUND)
    return rc;
  rc = reserve(writes, err);
  if (rc == BLITZ_OK)
    rc = put_block(writes, key, value, &off, err);
  if (rc != BLITZ_OK)
    return rc;
  if (writes->load != NULL)
    bz_load_put(writes->table, key, current.place.link_off, off);
  else if (current.change != NULL)
    find_change(writes, key)->new_off = off; /* reserve() may have moved it */
  else
    add_change(writes, key, off, 0);
  return BLITZ_OK;
}

static enum blitz_rc insert(struct blitz_txn *txn, struct writes *writes, const struct bz_key *key,
                            struct blitz_slice value, struct blitz_error *err)
{
  struct blitz_table *table = writes->table;
  uint64_t rows = atomic_load_explicit(&table->row_count, memory_order_relaxed);
  enum blitz_rc rc;

  if (writes->row_delta > 0)
    rows += (uint64_t)writes->row_delta;
  bz_grow(table, txn, rows + 1, SPLITS_PER_INSERT);
  rc = writes->load != NULL && bz_load_is_new(writes->load, key) ? append(writes, key, value, err)
                                                                 : add(writes, key, value, err);
  if (rc == BLITZ_OK)
  {
    writes->row_delta++;
    writes->inserted++;
  }
  return rc;
}

static enum blitz_rc replace(struct writes *writes, const struct bz_key *key,
                             struct current *current, struct blitz_slice value,
                             struct blitz_error *err)
{
  uint64_t off, replaced;
  enum blitz_rc rc = reserve(writes, err);

  if (rc == BLITZ_OK)
    rc = put_block(writes, key, value, &off, err);
  if (rc != BLITZ_OK)
    return rc;
  if (writes->load != NULL)
    bz_load_replace(writes->table, key, &current->place, off);
  else if (current->change == NULL)
    add_change(writes, key, off, current->row.off);
  else
  {
    /* reserve() may have moved the changes. */
    current->change = find_change(writes, key);
    replaced = current->change->new_off;
    current->change->new_off = off;
    bz_space_free_later(writes->table, replaced);
  }
  writes->updated++;
  return BLITZ_OK;
}

/* Needs room from reserve(). */
static enum blitz_rc remove_current(struct writes *writes, const struct bz_key *key,
                                    struct current *current, struct blitz_error *err)
{
  if (writes->load != NULL)
  {
    if (bz_load_remove(writes->table, key, &current->place) != BLITZ_OK)
      return bz_damaged(writes->table, current->row.off, err);
  }
  else if (current->change == NULL)
    add_change(writes, key, 0, current->row.off);
  else
  {
    uint64_t off = current->change->new_off;
    current->change->new_off = 0;
    bz_space_free_later(writes->table, off);
  }
  writes->row_delta--;
  writes->removed++;
  return BLITZ_OK;
}

enum blitz_rc bz_insert(struct blitz_txn *txn, struct blitz_table *table, struct blitz_slice key,
                        struct blitz_slice value, struct blitz_error *err)
{
  uint8_t buf[BZ_FILE_KEY_MAX];
  struct writes *writes;
  struct bz_key file_key;
  enum blitz_rc rc = make_key(buf, key, &file_key, err);

  if (rc == BLITZ_OK)
    rc = check_value(table, value, err);
  if (rc == BLITZ_OK)
    rc = begin_change(txn, table, &writes, err);
  if (rc != BLITZ_OK)
    return rc;
  return insert(txn, writes, &file_key, value, err);
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
  struct writes *writes;
  uint64_t row_id;
  enum blitz_rc rc;

  *row_idp = 0;
  if (!table->row_ids)
    return bz_fail(err, BLITZ_INVALID, 0, "%s does not make its keys itself", table->file);
  rc = begin_change(txn, table, &writes, err);
  if (rc != BLITZ_OK)
    return rc;
  row_id = bz_load_le64(bz_base(table) + BZ_NEXT_ROW_ID_OFF);
  bz_word_store(bz_base(table), BZ_NEXT_ROW_ID_OFF, htole64(row_id + 1));
  bz_store_be64(key, row_id);
  rc = bz_insert(txn, table, (struct blitz_slice){key, sizeof key}, value, err);
  if (rc == BLITZ_OK)
    *row_idp = row_id;
  return rc;
}

static enum blitz_rc not_found(const struct blitz_table *table, struct blitz_error *err)
{
  return bz_fail(err, BLITZ_NOT_FOUND, 0, "%s: there is no row with that key", table->file);
}

/* Gives the row another key: a removal and an insertion, both or none. */
static enum blitz_rc change_key(struct blitz_txn *txn, struct writes *writes,
                                const struct bz_key *key, const struct bz_key *new_key,
                                struct blitz_slice value, struct blitz_error *err)
{
  struct current current;
  enum blitz_rc rc = insert(txn, writes, new_key, value, err);

  if (rc != BLITZ_OK)
    return rc;
  rc = reserve(writes, err);
  if (rc == BLITZ_OK)
    rc = find_current(writes, key, 0, &current, err);
  if (rc == BLITZ_OK)
    rc = remove_current(writes, key, &current, err);
  if (rc == BLITZ_OK)
  {
    writes->inserted--;
    writes->removed--;
    writes->updated++;
    return BLITZ_OK;
  }
  /* The new row goes again; there is room for that. */
  if (find_current(writes, new_key, 0, &current, NULL) == BLITZ_OK)
    (void)!remove_current(writes, new_key, &current, NULL);
  return rc;
}

enum blitz_rc bz_update(struct blitz_txn *txn, struct blitz_table *table, const struct bz_key *key,
                        uint64_t hint_off, struct blitz_slice new_key, struct blitz_slice value,
                        struct blitz_error *err)
{
  uint8_t buf[BZ_FILE_KEY_MAX];
  struct writes *writes;
  struct bz_key to;
  struct current current;
  enum blitz_rc rc = make_key(buf, new_key, &to, err);

  if (rc == BLITZ_OK)
    rc = check_value(table, value, err);
  if (rc == BLITZ_OK)
    rc = begin_change(txn, table, &writes, err);
  if (rc == BLITZ_OK)
    rc = find_current(writes, key, hint_off, &current, err);
  if (rc == BLITZ_NOT_FOUND)
    return not_found(table, err);
  if (rc != BLITZ_OK)
    return rc;
  if (key->len == to.len && memcmp(key->data, to.data, to.len) == 0)
    return replace(writes, key, &current, value, err);
  return change_key(txn, writes, key, &to, value, err);
}

enum blitz_rc blitz_update(struct blitz_txn *txn, struct blitz_table *table, struct blitz_slice key,
                           struct blitz_slice new_key, struct blitz_slice value,
                           struct blitz_error *err)
{
  uint8_t buf[BZ_FILE_KEY_MAX];
  struct bz_key file_key;
  enum blitz_rc rc = make_key(buf, key, &file_key, err);

  if (rc != BLITZ_OK)
    return rc;
  return bz_update(txn, table, &file_key, 0, new_key, value, err);
}

/* The current row KEY, if COMPARE says yes to its value. */
static enum blitz_rc find_if(struct writes *writes, const struct bz_key *key,
                             blitz_compare_fn *compare, void *arg, struct current *current,
                             struct blitz_error *err)
{
  enum blitz_rc rc = find_current(writes, key, 0, current, err);

  if (rc == BLITZ_NOT_FOUND)
    return not_found(writes->table, err);
  if (rc != BLITZ_OK)
    return rc;
  if (current->change == NULL && !bz_row_intact(writes->table->salt, &current->row))
    return bz_damaged(writes->table, current->row.off, err);
  if (compare(arg, bz_row_value(&current->row)))
    return BLITZ_OK;
  return bz_fail(err, BLITZ_CHANGED, 0, "%s: the row has changed", writes->table->file);
}

enum blitz_rc blitz_update_if(struct blitz_txn *txn, struct blitz_table *table,
                              struct blitz_slice key, struct blitz_slice value,
                              blitz_compare_fn *compare, void *arg, struct blitz_error *err)
{
  uint8_t buf[BZ_FILE_KEY_MAX];
  struct writes *writes;
  struct bz_key file_key;
  struct current current;
  enum blitz_rc rc = make_key(buf, key, &file_key, err);

  if (rc == BLITZ_OK)
    rc = check_value(table, value, err);
  if (rc == BLITZ_OK)
    rc = begin_change(txn, table, &writes, err);
  if (rc == BLITZ_OK)
    rc = find_if(writes, &file_key, compare, arg, &current, err);
  if (rc == BLITZ_OK)
    rc = replace(writes, &file_key, &current, value, err);
  return rc;
}

enum blitz_rc blitz_remove_if(struct blitz_txn *txn, struct blitz_table *table,
                              struct blitz_slice key, blitz_compare_fn *compare, void *arg,
                              struct blitz_error *err)
{
  uint8_t buf[BZ_FILE_KEY_MAX];
  struct writes *writes;
  struct bz_key file_key;
  struct current current;
  enum blitz_rc rc = make_key(buf, key, &file_key, err);

  if (rc == BLITZ_OK)
    rc = begin_change(txn, table, &writes, err);
  if (rc == BLITZ_OK)
    rc = reserve(writes, err);
  if (rc == BLITZ_OK)
    rc = find_if(writes, &file_key, compare, arg, &current, err);
  if (rc == BLITZ_OK)
    rc = remove_current(writes, &file_key, &current, err);
  return rc;
}

enum blitz_rc bz_remove(struct blitz_txn *txn, struct blitz_table *table, const struct bz_key *key,
                        uint64_t hint_off, struct blitz_error *err)
{
  struct writes *writes;
  struct current current;
  enum blitz_rc rc = begin_change(txn, table, &writes, err);

  if (rc == BLITZ_OK)
    rc = reserve(writes, err);
  if (rc == BLITZ_OK)
    rc = find_current(writes, key, hint_off, &current, err);
  if (rc == BLITZ_NOT_FOUND)
    return not_found(table, err);
  if (rc == BLITZ_OK)
    rc = remove_current(writes, key, &current, err);
  return rc;
}

enum blitz_rc blitz_remove(struct blitz_txn *txn, struct blitz_table *table, struct blitz_slice key,
                           struct blitz_error *err)
{
  uint8_t buf[BZ_FILE_KEY_MAX];
  struct bz_key file_key;
  enum blitz_rc rc = make_key(buf, key, &file_key, err);

  if (rc != BLITZ_OK)
    return rc;
  return bz_remove(txn, table, &file_key, 0, err);
}

enum blitz_rc blitz_txn_expect_rows(struct blitz_txn *txn, struct blitz_table *table,
                                    uint64_t row_count, struct blitz_error *err)
{
  struct writes *writes;
  enum blitz_rc rc = begin_change(txn, table, &writes, err);

  if (rc != BLITZ_OK)
    return rc;
  if (writes->load == NULL && writes->count == 0 && bz_load_possible(table))
  {
    writes->load = bz_load_begin(table);
  }
  /* The array takes its space at once if it can have all of it. */
  row_count = atomic_load(&table->row_count) + (row_count < EXPECTED_MAX ? row_count : EXPECTED_MAX);
  if (bz_file_reserve(table, atomic_load(&table->end) + row_count * 2 * BZ_BUCKET_LEN, NULL) ==
      BLITZ_OK)
    bz_grow(table, txn, row_count, UINT64_MAX);
  return BLITZ_OK;
}

/* ---- the end ------------------------------------------------------------------ */

static bool apply_change(struct blitz_table *table, const struct change *change, uint64_t seq)
{
  struct bz_row row;
  struct bz_key key;
  struct bz_place place;
  enum blitz_rc rc;

  if (!row_at(table, change->new_off != 0 ? change->new_off : change->old_off, &row))
    return false;
  key = bz_key_of_row(&row);
  if (change->new_off != 0)
    bz_row_set_seq(bz_base(table), table->salt, &row, seq);
  rc = bz_hash_find(table, &key, &place);
  if (rc != (change->old_off != 0 ? BLITZ_OK : BLITZ_NOT_FOUND))
    return false;
  if (change->new_off == 0)
  {
    if (bz_hash_unlink(table, key.hash, &place) != BLITZ_OK)
      return false;
  }
  else if (change->old_off == 0)
    bz_hash_link(table, key.hash, place.link_off, change->new_off);
  else
    bz_hash_replace(table, key.hash, &place, change->new_off);
  if (change->old_off != 0)
    bz_space_remove_row(table, place.row.off, place.row.len, seq);
  return true;
}

void bz_set_broken(struct blitz_table *table)
{
  if (!atomic_exchange(&table->broken, true))
    bz_log(BLITZ_LOG_ERROR,
           "%s is damaged: a change could not be finished, and there will be no more. "
           "The file is repaired when it is opened again",
           table->file);
}

/* Asks for what apply_change() will need soon, so that it need not wait for it. */
static void prefetch_change(const struct blitz_table *table, const struct change *change)
{
  const uint8_t *base = bz_base(table);
  uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_relaxed);

  __builtin_prefetch(base + bz_bucket_off(change->hash, count));
  __builtin_prefetch(base + (change->new_off != 0 ? change->new_off : change->old_off));
}

static void apply(struct writes *writes)
{
  struct blitz_table *table = writes->table;
  uint64_t seq = atomic_load_explicit(&table->committed, memory_order_relaxed) + 1;
  uint64_t rows = atomic_load_explicit(&table->row_count, memory_order_relaxed);

  atomic_store(&table->committing, writes->removed > 0 || writes->updated > 0
                                       ? BZ_COMMITTING_REMOVES
                                       : BZ_COMMITTING_ADDS);
  for (uint32_t i = 0; i < writes->count; i++)
  {
    const struct change *change = &writes->changes[i];
    if (i + PREFETCH_AHEAD < writes->count)
      prefetch_change(table, change + PREFETCH_AHEAD);
    if ((change->new_off != 0 || change->old_off != 0) && !apply_change(table, change, seq))
      bz_set_broken(table);
  }
  bz_snapshot_publish(table, seq, rows + (uint64_t)writes->row_delta);
  atomic_store_explicit(&table->committing, BZ_COMMITTING_NOTHING, memory_order_release);
  bz_space_reclaim(table);
}

static void commit_table(struct writes *writes)
{
  bz_count(&bz_counters.rows_inserted, writes->inserted);
  bz_count(&bz_counters.rows_updated, writes->updated);
  bz_count(&bz_counters.rows_removed, writes->removed);
  if (writes->load != NULL)
    bz_load_commit(writes->table, writes->load, (uint64_t)writes->row_delta);
  else if (writes->count > 0)
    apply(writes);
}

void blitz_txn_commit(struct blitz_txn *txn)
{
  if (txn->writes != NULL)
    bz_count(&bz_counters.commits, 1);
  while (txn->writes != NULL)
  {
    commit_table(txn->writes);
    end_change(txn, txn->writes);
  }
}

static void rollback_table(struct writes *writes)
{
  if (writes->load != NULL)
    bz_load_rollback(writes->table, writes->load);
  for (uint32_t i = writes->count; i > 0; i--)
    if (writes->changes[i - 1].new_off != 0)
      bz_space_free(writes->table, writes->changes[i - 1].new_off);
}

void blitz_txn_rollback(struct blitz_txn *txn)
{
  if (txn->writes != NULL)
    bz_count(&bz_counters.rollbacks, 1);
  while (txn->writes != NULL)
  {
    rollback_table(txn->writes);
    end_change(txn, txn->writes);
  }
}
