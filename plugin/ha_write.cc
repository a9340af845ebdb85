/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_write.cc: changes to rows, AUTO_INCREMENT and bulk loads.
 *
 * Changes go to the statement's transaction on the table; session.cc commits or
 * rolls it back when the server ends the statement. The row to update or to
 * delete is the one that the cursor has read last.
 */
#include "ha_blitz.h"

#include <new>
#include <sql_class.h>

/* A buffer larger than this is given back at the end of the statement. */
static const size_t KEPT_BUFFER_MAX = 1024 * 1024;

/* INSERT of fewer rows than this is no load. */
static const ha_rows LOAD_MIN = 1000;

/*
  Gets the statement's transaction on this table, once in a statement. It cannot
  be done in external_lock(): the server makes no such call for temporary tables.
*/
int ha_blitz::begin_change()
{
  if (likely(m_change && m_change->serial == m_change_serial &&
             m_change->indexer == m_keys.indexer()))
    return m_bulk_error;
  THD *thd = table->in_use;
  m_change = blitz_session_change(thd, ht, m_table, blitz_lock_wait_timeout(thd));
  if (m_change == NULL)
    return fail_with(BLITZ_NOMEM, "cannot begin a change: out of memory");
  m_change_serial = m_change->serial;
  m_change->indexer = m_keys.indexer();
  if (m_keys.count() > 0)
    blitz_txn_set_indexer(m_change->txn, m_keys.indexer());
  if (m_cursor_txn != m_change->txn)
  {
    blitz_cursor_set_txn(m_cursor, m_change->txn);
    m_cursor_txn = m_change->txn;
  }
  return m_bulk_error;
}

/* A sequence hands out numbers for good, whatever becomes of the statement. */
int ha_blitz::after_change()
{
  enum blitz_rc rc =
      unlikely(m_is_sequence) ? blitz_txn_commit(m_change->txn, &m_error) : BLITZ_OK;
  return likely(rc == BLITZ_OK) ? 0 : fail(rc);
}

/* ---- packing -------------------------------------------------------------- */

int ha_blitz::pack_row(const uchar *record, struct blitz_slice *value)
{
  size_t max = m_rows.packed_max(record);
  if (unlikely(max > m_row_buffer_size))
  {
    if (max > BLITZ_VALUE_MAX)
      return fail_with(BLITZ_TOO_BIG, "a row of %zu bytes is larger than the limit of %u bytes",
                       max, BLITZ_VALUE_MAX);
    m_row_buffer.reset(new (std::nothrow) uchar[max]);
    m_row_buffer_size = m_row_buffer ? max : 0;
    if (!m_row_buffer)
      return fail_with(BLITZ_NOMEM, "no memory to pack a row of %zu bytes", max);
  }
  value->data = m_row_buffer.get();
  value->len = m_rows.encode(record, m_row_buffer.get());
  return 0;
}

int ha_blitz::pack_key(const uchar *record, uchar *buffer, struct blitz_slice *key)
{
  key->data = buffer;
  key->len = m_keys.row_key().encode_record(record, buffer);
  if (likely(key->len != Key_codec::TOO_LONG))
    return 0;
  return fail_with(BLITZ_TOO_BIG, "a key has more than %d bytes of sorting weights: shorten the "
                                  "value, or use a binary collation for the key's columns",
                   BLITZ_KEY_MAX);
}

/* ---- rows ------------------------------------------------------------------ */

int ha_blitz::write_row(const uchar *buf)
{
  if (table->next_number_field && buf == table->record[0])
    if (int error = update_auto_increment())
      return error;
  if (int error = begin_change())
    return error;
  struct blitz_slice value;
  if (int error = pack_row(buf, &value))
    return error;
  struct blitz_slice key = {NULL, 0};
  if (has_key())
    if (int error = pack_key(buf, m_key_buffer.get(), &key))
      return error;
  uint64_t row_id;
  m_keys.set_packed(value.data, buf);
  enum blitz_rc rc = has_key()
                         ? blitz_insert(m_change->txn, m_table, key, value, &m_error)
                         : blitz_insert_row_id(m_change->txn, m_table, value, &row_id, &m_error);
  m_keys.set_packed(NULL, NULL);
  if (unlikely(rc != BLITZ_OK))
    return fail(rc);
  if (table->found_next_number_field && buf == table->record[0])
    if (int error = note_auto_increment(buf))
      return error;
  return after_change();
}

int ha_blitz::update_row(const uchar *, const uchar *new_data)
{
  if (int error = begin_change())
    return error;
  struct blitz_slice value;
  if (int error = m_entry_only ? fetch_row() : 0)
    return error;
  if (int error = pack_row(new_data, &value))
    return error;
  struct blitz_slice new_key = blitz_cursor_key(m_cursor);
  if (new_key.len == 0)
    return HA_ERR_NO_ACTIVE_RECORD;
  if (has_key())
    if (int error = pack_key(new_data, m_key_buffer.get(), &new_key))
      return error;
  m_keys.set_packed(value.data, new_data);
  enum blitz_rc rc = blitz_cursor_update(m_cursor, new_key, value, &m_error);
  m_keys.set_packed(NULL, NULL);
  if (unlikely(rc != BLITZ_OK))
    return fail(rc);
  if (table->found_next_number_field && new_data == table->record[0] &&
      bitmap_is_set(table->write_set, table->found_next_number_field->field_index))
    if (int error = note_auto_increment(new_data))
      return error;
  return after_change();
}

int ha_blitz::delete_row(const uchar *)
{
  if (int error = begin_change())
    return error;
  if (int error = m_entry_only ? fetch_row() : 0)
    return error;
  if (blitz_cursor_key(m_cursor).len == 0)
    return HA_ERR_NO_ACTIVE_RECORD;
  enum blitz_rc rc = blitz_cursor_remove(m_cursor, &m_error);
  return rc == BLITZ_OK ? after_change() : fail(rc);
}

static bool is_not_killed(void *thd)
{
  return !thd_killed(static_cast<THD *>(thd));
}

/* DELETE of all rows, without unpacking them. */
int ha_blitz::delete_all_rows()
{
  if (int error = begin_change())
    return error;
  enum blitz_rc rc =
      blitz_remove_all(m_change->txn, m_table, is_not_killed, table->in_use, &m_error);
  return rc == BLITZ_OK ? 0 : fail(rc);
}

/* ---- AUTO_INCREMENT ------------------------------------------------------------ */

/*
  The file keeps the next value. It goes up with each row written, not with each
  value handed out: one statement at a time changes the table, so that until its
  end the rest of the numbers is its own, and none is skipped.

  A column that is a later part of its key is numbered in each group of rows that
  have the same values before it; the server looks for the last one in the index.
*/
void ha_blitz::get_auto_increment(ulonglong offset, ulonglong increment, ulonglong desired,
                                  ulonglong *first_value, ulonglong *nb_reserved_values)
{
  if (table_share->next_number_keypart > 0)
  {
    handler::get_auto_increment(offset, increment, desired, first_value, nb_reserved_values);
    return;
  }
  ulonglong next = blitz_table_counter(m_table);
  *first_value = next > 0 ? next : 1;
  *nb_reserved_values = ULONGLONG_MAX;
}

/* The value of an AUTO_INCREMENT column in RECORD; 0 if it is negative. A FLOAT or a DOUBLE
   goes beyond all integers: such values count for nothing, as in other engines. */
static ulonglong auto_increment_of(Field *field, my_ptrdiff_t offset)
{
  if (field->result_type() != REAL_RESULT)
  {
    longlong value = field->val_int_offset(offset);
    return value < 0 && !(field->flags & UNSIGNED_FLAG) ? 0 : (ulonglong) value;
  }
  field->move_field_offset(offset);
  double value = field->val_real();
  field->move_field_offset(-offset);
  return value > 0 && value < 18446744073709551616.0 ? (ulonglong) value : 0;
}

/* A row was written: values up to its own are used up. */
int ha_blitz::note_auto_increment(const uchar *record)
{
  if (table_share->next_number_keypart > 0)
    return 0;
  ulonglong value =
      auto_increment_of(table->found_next_number_field, record - table->record[0]);
  if (value == 0)
    return 0;
  ulonglong next = value == ULONGLONG_MAX ? value : value + 1;
  if (next <= blitz_table_counter(m_table))
    return 0;
  enum blitz_rc rc = blitz_table_counter_raise(m_table, next, &m_error);
  return rc == BLITZ_OK ? 0 : fail(rc);
}

int ha_blitz::reset_auto_increment(ulonglong value)
{
  enum blitz_rc rc = blitz_table_counter_set(m_table, value, &m_error);
  return rc == BLITZ_OK ? 0 : fail(rc);
}

/* ---- loads ----------------------------------------------------------------------- */

/*
  May a duplicate be reported at the end? Not if the statement goes on after one. For
  ALTER TABLE and its like FLAGS tell, for others what was written.
*/
bool ha_blitz::may_finish_late(uint flags) const
{
  const LEX *lex = table->in_use->lex;
  switch (lex->sql_command)
  {
  case SQLCOM_ALTER_TABLE:
  case SQLCOM_CREATE_INDEX:
  case SQLCOM_DROP_INDEX:
  case SQLCOM_OPTIMIZE:
  case SQLCOM_REPAIR:
    return flags & HA_CREATE_UNIQUE_INDEX_BY_SORT;
  default:
    return !m_meets_duplicates && !lex->ignore && lex->duplicates == DUP_ERROR;
  }
}

/*
  ROWS is 0 if the server does not know. Indexes are not to be read before a load has
  ended: there is none where the server or a trigger does that for each row.
*/
void ha_blitz::start_bulk_insert(ha_rows rows, uint flags)
{
  m_bulk_error = 0;
  bool reads_indexes = table_share->long_unique_table || table->triggers ||
                       (table->found_next_number_field && table_share->next_number_keypart > 0);
  if (m_is_sequence || reads_indexes || (rows > 0 && rows < LOAD_MIN))
    return;
  m_bulk_error = begin_change();
  if (m_bulk_error)
    return;
  enum blitz_rc rc =
      blitz_txn_expect_rows(m_change->txn, m_table, rows, may_finish_late(flags), &m_error);
  if (rc != BLITZ_OK)
    m_bulk_error = fail(rc);
  m_loading = rc == BLITZ_OK;
}

/* Puts the row that another one is equal to into the record, for the message. */
void ha_blitz::show_duplicate(void *arg, struct blitz_slice value)
{
  ha_blitz *file = static_cast<ha_blitz *>(arg);
  file->m_duplicate.reset(new (std::nothrow) uchar[value.len]);
  if (!file->m_duplicate)
    return;
  memcpy(file->m_duplicate.get(), value.data, value.len);
  file->m_rows.want(NULL);
  file->m_columns_changed = true;
  if (file->m_rows.decode(file->table->record[0], {file->m_duplicate.get(), value.len}) == BLITZ_OK)
    for (uint key_no = 0; key_no < file->table_share->keys; key_no++)
      file->m_keys.compute(key_no);
}

/* Of a statement that has failed there is nothing to finish. Some callers look at
   my_errno, others at the result. */
int ha_blitz::end_bulk_insert()
{
  int error = 0;
  if (m_loading && m_change && m_change->serial == m_change_serial &&
      !table->in_use->is_error() && !thd_killed(table->in_use))
  {
    enum blitz_rc rc =
        blitz_txn_finish_load(m_change->txn, m_table, show_duplicate, this, &m_error);
    if (rc != BLITZ_OK)
    {
      m_change->is_lost = true;
      error = my_errno = fail(rc);
    }
  }
  m_loading = false;
  m_bulk_error = 0;
  if (m_row_buffer_size > KEPT_BUFFER_MAX)
  {
    m_row_buffer.reset();
    m_row_buffer_size = 0;
  }
  return error;
}
