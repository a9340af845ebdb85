/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_write.cc: changes to rows, AUTO_INCREMENT and bulk loads.
 *
 * Changes go to the statement's transaction on the table; session.cc commits or
 * rolls it back when the server ends the statement. The row to update or to
 * delete is the one that the cursor has read last.
 */
#include "ha_blitz.h"

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
  if (likely(m_change && m_change->serial == m_change_serial))
    return m_bulk_error;
  THD *thd = table->in_use;
  m_change = blitz_session_change(thd, ht, m_table, blitz_lock_wait_timeout(thd));
  if (m_change == NULL)
    return fail_with(BLITZ_NOMEM, "cannot begin a change: out of memory");
  m_change_serial = m_change->serial;
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
  if (unlikely(m_is_sequence))
    blitz_txn_commit(m_change->txn);
  return 0;
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
  key->len = m_keys.encode_record(record, buffer);
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
  enum blitz_rc rc;
  if (has_key())
  {
    struct blitz_slice key;
    if (int error = pack_key(buf, m_key_buffer.get(), &key))
      return error;
    rc = blitz_insert(m_change->txn, m_table, key, value, &m_error);
  }
  else
  {
    uint64_t row_id;
    rc = blitz_insert_row_id(m_change->txn, m_table, value, &row_id, &m_error);
  }
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
  if (int error = pack_row(new_data, &value))
    return error;
  struct blitz_slice new_key = blitz_cursor_key(m_cursor);
  if (new_key.len == 0)
    return HA_ERR_NO_ACTIVE_RECORD;
  if (has_key())
    if (int error = pack_key(new_data, m_key_buffer.get(), &new_key))
      return error;
  enum blitz_rc rc = blitz_cursor_update(m_cursor, new_key, value, &m_error);
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
  if (blitz_cursor_key(m_cursor).len == 0)
    return HA_ERR_NO_ACTIVE_RECORD;
  enum blitz_rc rc = blitz_cursor_remove(m_cursor, &m_error);
  return rc == BLITZ_OK ? after_change() : fail(rc);
}

/* DELETE of all rows, without unpacking them. */
int ha_blitz::delete_all_rows()
{
  if (int error = begin_change())
    return error;
  attach();
  enum blitz_rc rc = blitz_scan_begin(m_cursor);
  if (rc != BLITZ_OK)
    return fail_with(rc, "cannot begin a scan: out of memory");
  struct blitz_slice value;
  int error = 0;
  while ((rc = blitz_scan_next(m_cursor, &value, &m_error)) == BLITZ_OK)
  {
    rc = blitz_cursor_remove(m_cursor, &m_error);
    if (rc != BLITZ_OK)
      break;
    if (thd_killed(table->in_use))
    {
      error = HA_ERR_ABORTED_BY_USER;
      break;
    }
  }
  blitz_scan_end(m_cursor);
  if (error == 0 && rc != BLITZ_END)
    error = fail(rc);
  return error;
}

/* ---- AUTO_INCREMENT ------------------------------------------------------------ */

/*
  The file keeps the next value. It goes up with each row written, not with each
  value handed out: one statement at a time changes the table, so that until its
  end the rest of the numbers is its own, and none is skipped.
*/
void ha_blitz::get_auto_increment(ulonglong, ulonglong, ulonglong, ulonglong *first_value,
                                  ulonglong *nb_reserved_values)
{
  ulonglong next = blitz_table_counter(m_table);
  *first_value = next > 0 ? next : 1;
  *nb_reserved_values = ULONGLONG_MAX;
}

/* A row was written: values up to its own are used up. */
int ha_blitz::note_auto_increment(const uchar *record)
{
  Field *field = table->found_next_number_field;
  my_ptrdiff_t offset = record - table->record[0];
  ulonglong value = (ulonglong) field->val_int_offset(offset);
  bool is_signed = !(field->flags & UNSIGNED_FLAG) || field->result_type() == REAL_RESULT;
  if (value == 0 || (is_signed && (longlong) value < 0))
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

/* ROWS is 0 if the server does not know. */
void ha_blitz::start_bulk_insert(ha_rows rows, uint)
{
  m_bulk_error = 0;
  if (m_is_sequence || (rows > 0 && rows < LOAD_MIN))
    return;
  m_bulk_error = begin_change();
  if (m_bulk_error)
    return;
  enum blitz_rc rc = blitz_txn_expect_rows(m_change->txn, m_table, rows, &m_error);
  if (rc != BLITZ_OK)
    m_bulk_error = fail(rc);
}

int ha_blitz::end_bulk_insert()
{
  m_bulk_error = 0;
  if (m_row_buffer_size > KEPT_BUFFER_MAX)
  {
    m_row_buffer.reset();
    m_row_buffer_size = 0;
  }
  return 0;
}
