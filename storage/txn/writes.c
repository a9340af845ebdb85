/* SPDX-License-Identifier: GPL-2.0-only
 *
 * writes.c: a transaction's changes of one table, as a list and by key.
 *
 * Who has a struct bz_writes has the table's writer slot, and the file is marked
 * open. Finding by key goes through their positions, noted when it is first asked.
 */
#include "log/current.h"
#include "txn/writes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LINEAR_MAX 8       /* changes that are searched without an index */
#define RECORD_ROOM 1024   /* bytes of a commit's record that are sure to have memory */
#define KEEP_ROOM_MAX 1024 /* changes whose memory is kept for the next transaction */

/* ---- begin and end --------------------------------------------------------- */

void bz_writes_free(struct bz_writes *writes)
{
  if (writes == NULL)
    return;
  free(writes->changes);
  free(writes->positions.slots);
  free(writes->entry_buf.data);
  free(writes->found_buf.data);
  bz_moves_clear(&writes->moves);
  free(writes);
}

void bz_writes_end(struct blitz_txn *txn, struct bz_writes *writes)
{
  assert(txn->writes == writes && writes->table->writer == txn);
  assert(writes->index_txn == NULL && writes->own == NULL && !writes->has_committed);
  assert(writes->sorts == NULL);
  txn->writes = writes->next;
  bz_slot_release(writes->table);
  if (txn->spare != NULL || writes->room > KEEP_ROOM_MAX)
  {
    bz_writes_free(writes);
    return;
  }
  bz_moves_clear(&writes->moves);
  if (writes->indexed > 0)
    bz_positions_clear(&writes->positions);
  *writes = (struct bz_writes){.changes = writes->changes,
                               .room = writes->room,
                               .positions = writes->positions,
                               .entry_buf = writes->entry_buf,
                               .found_buf = writes->found_buf};
  txn->spare = writes;
}

/* ---- by key ---------------------------------------------------------------- */

static bool change_has_key(const struct bz_writes *writes, const struct bz_change *change,
                           const struct bz_key *key)
{
  struct bz_row row;
  uint64_t off = change->new_off != 0 ? change->new_off : change->old_off;

  return change->hash == key->hash.bucket && off != 0 && bz_block_row(writes->table, off, &row) &&
         row.key_len == key->len && memcmp(row.key, key->data, key->len) == 0;
}

/* The change of KEY. The positions are brought up to date here, because a scan that
 * changes each row that it meets needs none (find_current()).
 */
struct bz_change *bz_writes_find(struct bz_writes *writes, const struct bz_key *key)
{
  struct bz_positions *positions = &writes->positions;

  if (writes->count <= LINEAR_MAX)
  {
    for (uint32_t i = 0; i < writes->count; i++)
      if (change_has_key(writes, &writes->changes[i], key))
        return &writes->changes[i];
    return NULL;
  }
  for (; writes->indexed < writes->count; writes->indexed++)
    bz_positions_add(positions, writes->changes[writes->indexed].hash, writes->indexed);
  for (uint32_t slot = bz_positions_first(positions, key->hash.bucket); positions->slots[slot] != 0;
       slot = bz_positions_next(positions, slot))
  {
    struct bz_change *change = &writes->changes[positions->slots[slot] - 1];
    if (change_has_key(writes, change, key))
      return change;
  }
  return NULL;
}

/* A committed row that is not at its key any more is among the moves. */
uint64_t bz_writes_origin(const struct bz_writes *writes, const struct bz_change *change)
{
  const struct bz_move *move = bz_moves_to(&writes->moves, change->new_off);

  if (move != NULL)
    return move->from;
  if (change->old_off != 0 && bz_moves_from(&writes->moves, change->old_off) == NULL)
    return change->old_off;
  return change->new_off;
}

/* Makes room for the positions of as many changes as there is room for, and adds them anew when
 * they are asked for.
 */
static bool grow_positions(struct bz_writes *writes)
{
  uint32_t count = writes->positions.slot_count;

  if (count == 0)
    count = 4 * LINEAR_MAX;
  while (count < writes->room * 2)
    count *= 2;
  if (!bz_positions_renew(&writes->positions, count))
    return false;
  writes->indexed = 0;
  return true;
}

static enum blitz_rc reserve_changes(struct bz_writes *writes, struct blitz_error *err)
{
  uint32_t room = writes->room > 0 ? writes->room : LINEAR_MAX;
  struct bz_change *changes;

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
  if (room > LINEAR_MAX && writes->positions.slot_count < room * 2 && !grow_positions(writes))
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory changing %s: too many rows at once",
                   writes->table->file);
  return BLITZ_OK;
}

/* Makes room for what one call changes: two changes at most, each of which may leave a
 * block behind at once and another one at commit. Rows that are only added leave none.
 */
static enum blitz_rc reserve(struct bz_writes *writes, struct blitz_error *err)
{
  enum blitz_rc rc = writes->load != NULL ? BLITZ_OK : reserve_changes(writes, err);

  if (rc == BLITZ_OK)
    rc = bz_removed_prepare(writes->table, (size_t)writes->replaced + 4, err);
  return rc;
}

/* The log knows of the table, and the file is marked, before the first change. */
static enum blitz_rc begin_changes(struct blitz_table *table, struct blitz_error *err)
{
  bool known = !table->logged || table->log_number != 0 || bz_current_log() == NULL;
  enum blitz_rc rc = known ? BLITZ_OK : bz_log_table(table, err);

  if (rc != BLITZ_OK)
    return rc;
  bz_file_mark_dirty(table);
  /* Changes without the indexes leave them behind; those that are made again were made with them.
   */
  if (table->index == NULL && !table->opening)
    bz_set_index_seq(table, 0);
  return BLITZ_OK;
}

enum blitz_rc bz_writes_begin(struct blitz_txn *txn, struct blitz_table *table,
                              struct bz_writes **writesp, struct blitz_error *err)
{
  struct bz_writes *writes = bz_txn_writes(txn, table);
  enum blitz_rc rc;

  *writesp = writes;
  rc = table->logged ? bz_current_wait(err) : BLITZ_OK;
  if (rc != BLITZ_OK)
    return rc;
  if (writes != NULL && writes->doomed)
    return bz_fail(err, BLITZ_INVALID, 0, "%s: a change failed, and must be rolled back first",
                   table->file);
  assert(writes == NULL || table->writer == txn);
  if (writes != NULL)
    return reserve(writes, err);
  if (table->flags & BLITZ_OPEN_READONLY)
    return bz_fail(err, BLITZ_READONLY, 0, "%s is open for reading only", table->file);
  if (atomic_load_explicit(&table->broken, memory_order_relaxed))
    return bz_damaged(table, 0, err);
  writes = txn->spare != NULL ? txn->spare : calloc(1, sizeof *writes);
  if (writes == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory changing %s", table->file);
  txn->spare = writes;
  if (table->logged && bz_buffer_reserve(&txn->record, RECORD_ROOM) != BLITZ_OK)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory changing %s", table->file);
  rc = bz_slot_take(table, txn, txn->lock_timeout, err);
  if (rc != BLITZ_OK)
    return rc;
  rc = begin_changes(table, err);
  if (rc != BLITZ_OK)
  {
    bz_slot_release(table);
    return rc;
  }
  txn->spare = NULL;
  writes->table = table;
  writes->next = txn->writes;
  txn->writes = writes;
  *writesp = writes;
  return reserve(writes, err);
}

enum blitz_rc bz_txn_take(struct blitz_txn *txn, struct blitz_table *table, struct blitz_error *err)
{
  struct bz_writes *writes;

  return bz_writes_begin(txn, table, &writes, err);
}

void bz_writes_add(struct bz_writes *writes, const struct bz_key *key, uint64_t new_off,
                   uint64_t old_off)
{
  assert(writes->count < writes->room && writes->load == NULL);
  assert(new_off != 0 || old_off != 0);
  writes->changes[writes->count++] = (struct bz_change){key->hash.bucket, new_off, old_off};
  writes->replaced += old_off != 0;
  if (old_off > writes->old_off_max)
    writes->old_off_max = old_off;
}
