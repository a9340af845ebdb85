/* SPDX-License-Identifier: GPL-2.0-only
 *
 * logging.c: see logging.h.
 */
#include "txn/logging.h"

#include "log/current.h"
#include "log/record.h"
#include "txn/load.h"

#include <stdlib.h>
#include <string.h>

#define PREFETCH_AHEAD 16 /* changes */

static atomic_ullong last_tag;

/* Logs what is in the buffer as a piece of changes of TABLE. */
static enum blitz_rc log_piece(struct bz_logging *logging, const struct blitz_table *table,
                               struct blitz_error *err)
{
  uint8_t head[BZ_CHANGES_HEAD_LEN];
  struct blitz_slice parts[] = {{head, sizeof head}, {logging->buf->data, logging->len}};
  uint64_t end;

  bz_store_le64(head, logging->tag);
  bz_store_le64(head + 8, table->log_number);
  bz_store_le64(head + 16, bz_next_commit(table));
  logging->len = 0;
  return bz_redo_append(logging->redo, BZ_RECORD_CHANGES, parts, 2, &end, err);
}

static enum blitz_rc log_bytes(struct bz_logging *logging, const struct blitz_table *table,
                               const uint8_t *data, size_t len, struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  while (rc == BLITZ_OK && len > 0)
  {
    size_t part = len < logging->piece_len - logging->len ? len : logging->piece_len - logging->len;

    /* There is always some room (bz_writes_begin()). */
    if (bz_buffer_reserve(logging->buf, logging->len + part) != BLITZ_OK)
      part = logging->buf->room - logging->len;
    memcpy(logging->buf->data + logging->len, data, part);
    logging->len += part;
    data += part;
    len -= part;
    if (len > 0 || logging->len == logging->piece_len)
      rc = log_piece(logging, table, err);
  }
  return rc;
}

static enum blitz_rc log_head(struct bz_logging *logging, const struct blitz_table *table,
                              enum bz_logged_change change, struct blitz_slice key,
                              size_t value_len, struct blitz_error *err)
{
  uint8_t head[BZ_CHANGE_HEAD_MAX];
  size_t head_len = bz_change_head_put(head, change, (uint32_t)key.len, (uint32_t)value_len);
  enum blitz_rc rc = log_bytes(logging, table, head, head_len, err);

  return rc == BLITZ_OK ? log_bytes(logging, table, key.data, key.len, err) : rc;
}

static enum blitz_rc log_pair(struct bz_logging *logging, const struct blitz_table *table,
                              enum bz_logged_change change, struct blitz_slice key,
                              struct blitz_slice value, struct blitz_error *err)
{
  enum blitz_rc rc = log_head(logging, table, change, key, value.len, err);

  if (rc == BLITZ_OK)
    rc = log_bytes(logging, table, value.data, value.len, err);
  return rc;
}

/* Logs a change to the row ROW, or its removal. */
static enum blitz_rc log_change(struct bz_logging *logging, const struct blitz_table *table,
                                enum bz_logged_change change, const struct bz_row *row,
                                struct blitz_error *err)
{
  struct blitz_slice value = bz_row_value(row);

  if (change == BZ_LOGGED_REMOVE)
    value.len = 0;
  return log_pair(logging, table, change, bz_callers_key(table, row), value, err);
}

/* Logs that the row at OLD_OFF has become ROW, by what has changed if that is less. */
static enum blitz_rc log_update(struct bz_logging *logging, const struct blitz_table *table,
                                uint64_t old_off, const struct bz_row *row, struct blitz_error *err)
{
  struct bz_row old;
  struct bz_difference difference = {.crc = bz_row_crc(row)};
  uint8_t head[BZ_DIFFERENCE_HEAD_MAX];
  size_t head_len;
  enum blitz_rc rc;

  if (!bz_block_row(table, old_off, &old) || old.key_len != row->key_len ||
      memcmp(old.key, row->key, row->key_len) != 0)
    return log_change(logging, table, BZ_LOGGED_UPDATE, row, err);
  bz_difference_find(bz_row_value(&old), bz_row_value(row), &difference);
  head_len = bz_difference_head_put(head, &difference);
  if (head_len >= (size_t)difference.begin + difference.end)
    return log_change(logging, table, BZ_LOGGED_UPDATE, row, err);
  rc = log_head(logging, table, BZ_LOGGED_DIFFERENCE, bz_callers_key(table, row),
                head_len + difference.middle.len, err);
  if (rc == BLITZ_OK)
    rc = log_bytes(logging, table, head, head_len, err);
  if (rc == BLITZ_OK)
    rc = log_bytes(logging, table, difference.middle.data, difference.middle.len, err);
  return rc;
}

static void prefetch_lines(const struct blitz_table *table, uint64_t off)
{
  for (unsigned line = 0; off != 0 && line < 3; line++)
    bz_prefetch(bz_base(table) + off + line * 64);
}

static enum blitz_rc log_list(struct bz_logging *logging, const struct bz_writes *writes,
                              struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  for (uint32_t i = 0; i < writes->count && rc == BLITZ_OK; i++)
  {
    const struct bz_change *change = &writes->changes[i];
    uint64_t off = change->new_off != 0 ? change->new_off : change->old_off;
    struct bz_row row;

    if (i + PREFETCH_AHEAD < writes->count)
    {
      prefetch_lines(writes->table, change[PREFETCH_AHEAD].new_off);
      prefetch_lines(writes->table, change[PREFETCH_AHEAD].old_off);
    }
    if (off == 0)
      continue;
    if (!bz_block_row(writes->table, off, &row))
      return bz_damaged(writes->table, off, err);
    if (change->new_off != 0 && change->old_off != 0)
      rc = log_update(logging, writes->table, change->old_off, &row, err);
    else
      rc = log_change(logging, writes->table,
                      change->new_off == 0 ? BZ_LOGGED_REMOVE : BZ_LOGGED_INSERT, &row, err);
  }
  return rc;
}

/* The rows of a load are all that the table has. */
static enum blitz_rc log_load(struct bz_logging *logging, const struct bz_writes *writes,
                              struct blitz_error *err)
{
  const struct blitz_table *table = writes->table;
  uint64_t off = atomic_load(&table->first), end = atomic_load(&table->end);
  enum blitz_rc rc = BLITZ_OK;

  while (off < end && rc == BLITZ_OK)
  {
    uint64_t word = bz_word_load(bz_base(table), off);
    struct bz_row row = {.len = bz_free_word_len(word)};

    if (bz_word_magic(word) == BZ_ROW_MAGIC && bz_block_row(table, off, &row))
      rc = log_change(logging, table, BZ_LOGGED_INSERT, &row, err);
    else if (bz_word_magic(word) != BZ_FREE_MAGIC || row.len == 0)
      return bz_damaged(table, off, err);
    off += row.len;
  }
  return rc;
}

/* Logs the newest versions of a delta, those of index ID. */
static enum blitz_rc log_delta(struct bz_logging *logging, const struct blitz_table *table,
                               const struct bz_delta *delta, uint64_t id, struct blitz_error *err)
{
  const struct blitz_slice nothing = {NULL, 0};
  struct bz_delta_place place;
  bool found = bz_delta_first(&place, delta);
  uint8_t number[8];
  enum blitz_rc rc = BLITZ_OK;

  bz_store_le64(number, id);
  if (found)
    rc = log_pair(logging, table, BZ_LOGGED_INDEX, (struct blitz_slice){number, sizeof number},
                  nothing, err);
  for (; found && rc == BLITZ_OK; found = bz_delta_step(&place, true))
  {
    struct bz_delta_version version = bz_delta_at(&place);
    rc = log_pair(logging, table, version.removed ? BZ_LOGGED_ENTRY_REMOVE : BZ_LOGGED_ENTRY,
                  version.sort_key, version.removed ? nothing : version.value, err);
  }
  return rc;
}

static enum blitz_rc log_entries(struct bz_logging *logging, const struct bz_commit_part *part,
                                 struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  for (unsigned i = 0; i < part->own->count && rc == BLITZ_OK; i++)
    rc = log_delta(logging, part->table,
                   atomic_load_explicit(&part->own->of[i], memory_order_relaxed), part->own->ids[i],
                   err);
  return rc;
}

static enum blitz_rc log_changes(struct bz_logging *logging, const struct bz_commit_part *part,
                                 struct blitz_error *err)
{
  const struct bz_writes *writes = part->writes;
  enum blitz_rc rc =
      writes->load != NULL ? log_load(logging, writes, err) : log_list(logging, writes, err);

  return rc == BLITZ_OK && part->own != NULL ? log_entries(logging, part, err) : rc;
}

static size_t commit_len(const struct bz_logging *logging)
{
  return BZ_COMMIT_HEAD_LEN + (size_t)logging->tables * BZ_COMMIT_TABLE_LEN;
}

/* Of what is to be logged, and where. */
static void begin(struct bz_logging *logging, const struct bz_commit_part *parts, unsigned count)
{
  logging->in_commit = true;
  for (unsigned i = 0; i < count; i++)
  {
    logging->tables += parts[i].table->logged;
    logging->in_commit &= parts[i].index_txn == NULL;
  }
  logging->in_commit &= logging->tables == 1;
  logging->redo = logging->tables > 0 ? bz_current_log() : NULL;
  if (logging->redo == NULL)
    return;
  logging->piece_len = bz_redo_piece_len(logging->redo);
  logging->tag = atomic_fetch_add(&last_tag, 1) + 1;
}

enum blitz_rc bz_log_changes(struct bz_logging *logging, const struct bz_commit_part *parts,
                             unsigned count, struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  begin(logging, parts, count);
  if (logging->redo == NULL)
    return BLITZ_OK;
  for (unsigned i = 0; i < count && rc == BLITZ_OK; i++)
  {
    if (!parts[i].table->logged || parts[i].writes == NULL)
      continue;
    rc = log_changes(logging, &parts[i], err);
    if (rc == BLITZ_OK && logging->len > 0 && !logging->in_commit)
      rc = log_piece(logging, parts[i].table, err);
  }
  if (rc != BLITZ_OK || logging->in_commit)
    return rc;
  if (logging->tables > 1 && (logging->record = malloc(commit_len(logging))) == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory committing");
  rc = bz_redo_keep(logging->redo, commit_len(logging), err);
  if (rc == BLITZ_OK)
    logging->kept = commit_len(logging);
  return rc;
}

/* Puts what the record says of the tables to TO. Does one of them want it on the device? */
static bool put_tables(uint8_t *to, const struct bz_commit_part *parts, unsigned count)
{
  bool sync = false;

  for (unsigned i = 0; i < count; i++)
  {
    const struct blitz_table *table = parts[i].table;
    struct bz_commit_record record = {.number = table->log_number,
                                      .commit = parts[i].seq,
                                      .index_seq = atomic_load(&table->index_seq),
                                      .counter = atomic_load(&table->counter),
                                      .row_count = bz_rows_after(&parts[i])};

    if (!table->logged)
      continue;
    record.next_row_id = bz_load_le64(bz_base(table) + BZ_NEXT_ROW_ID_OFF);
    bz_commit_record_put(to, &record);
    to += BZ_COMMIT_TABLE_LEN;
    sync |= table->crash_safe;
  }
  return sync;
}

/* Has the record to be written before the commit is seen? A kill would leave indexes that are
 * ahead of their rows, and are made anew.
 */
static bool has_entries(const struct bz_commit_part *parts, unsigned count)
{
  bool any = false;

  for (unsigned i = 0; i < count; i++)
    any |= parts[i].has_entries;
  return any;
}

enum blitz_rc bz_log_commit(struct bz_logging *logging, const struct bz_commit_part *parts,
                            unsigned count, uint64_t *laterp, struct blitz_error *err)
{
  size_t len = commit_len(logging), kept = logging->kept;
  uint8_t small[BZ_COMMIT_HEAD_LEN + BZ_COMMIT_TABLE_LEN];
  uint8_t *to = logging->record != NULL ? logging->record : small;
  struct blitz_slice slices[] = {{to, len}, {logging->buf->data, logging->len}};
  bool sync;
  uint64_t end;
  enum blitz_rc rc;

  if (logging->redo == NULL)
    return BLITZ_OK;
  bz_commit_head_put(to, logging->tag, logging->tables);
  sync = put_tables(to + BZ_COMMIT_HEAD_LEN, parts, count);
  logging->kept = 0;
  rc = kept > 0 ? bz_redo_append_kept(logging->redo, kept, BZ_RECORD_COMMIT, slices, 1, &end, err)
                : bz_redo_append(logging->redo, BZ_RECORD_COMMIT, slices, logging->len > 0 ? 2 : 1,
                                 &end, err);
  if (rc != BLITZ_OK)
    return rc;
  if (!sync || laterp == NULL)
    return sync ? bz_redo_sync(logging->redo, end, err) : bz_redo_write(logging->redo, end, err);
  *laterp = end;
  return has_entries(parts, count) ? bz_redo_write(logging->redo, end, err) : BLITZ_OK;
}

void bz_log_end(struct bz_logging *logging)
{
  if (logging->kept > 0)
    bz_redo_let_go(logging->redo, logging->kept);
  logging->kept = 0;
  free(logging->record);
}
