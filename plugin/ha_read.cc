/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_read.cc: scans, positions, and look-ups by primary key.
 *
 * Nothing here allocates memory for a row: it is unpacked from where the core
 * shows it straight into the server's record, and BLOBs stay where they are.
 */
#include "ha_blitz.h"

/*
  A statement that may change the row gets all columns, because packing the new
  row needs them. DELETE gets by with those it asks for, unless it is one that
  keeps the row, or a part of its period.
*/
bool ha_blitz::needs_all_columns() const
{
  if (table->reginfo.lock_type < TL_FIRST_WRITE && get_lock_type() != F_WRLCK)
    return false;
  int command = thd_sql_command(table->in_use);
  if (command != SQLCOM_DELETE && command != SQLCOM_DELETE_MULTI)
    return true;
  return table->versioned() || table->s->period.name.str != NULL;
}

/*
  Makes the cursor show the statement's moment and what the statement has changed in this
  table so far, and makes the plan for the columns that it reads.
*/
void ha_blitz::attach()
{
  struct blitz_txn *txn = blitz_session_txn(table->in_use, ht, m_table);
  if (txn != m_cursor_txn)
  {
    blitz_cursor_set_txn(m_cursor, txn);
    m_cursor_txn = txn;
  }
  blitz_session_begin_reading(table->in_use, ht);
  m_columns_changed = false;
  m_rows.want(needs_all_columns() ? NULL : table->read_set);
  m_wants_row_key = false;
  const KEY *key = table->key_info;
  for (uint part_no = 0; m_decodes_row_key && part_no < key->user_defined_key_parts; part_no++)
    m_wants_row_key |= bitmap_is_set(table->read_set, key->key_part[part_no].fieldnr - 1);
}

void ha_blitz::column_bitmaps_signal()
{
  m_columns_changed = true;
}

/* The server's number for a read that gave no row. */
int ha_blitz::read_error(enum blitz_rc rc, int not_found)
{
  if (rc == BLITZ_NOT_FOUND)
    return not_found;
  if (rc == BLITZ_END)
    return HA_ERR_END_OF_FILE;
  return fail(rc);
}

int ha_blitz::decode(uchar *buf, struct blitz_slice value)
{
  if (m_columns_changed)
    attach();
  enum blitz_rc rc = m_rows.decode(buf, value);
  if (likely(rc == BLITZ_OK))
    return 0;
  if (rc == BLITZ_BAD_VERSION)
    return fail_with(rc, "a row was written by a later version of BlitzDB: use that version");
  return fail_with(rc, "the columns of a row do not add up: restore the table from a backup, "
                       "or copy what can still be read");
}

/* ---- scans ---------------------------------------------------------------- */

int ha_blitz::rnd_init(bool scan)
{
  attach();
  m_entry_only = false;
  m_is_scan = scan;
  if (!scan)
    return 0;
  enum blitz_rc rc = blitz_scan_begin(m_cursor);
  return rc == BLITZ_OK ? 0 : fail_with(rc, "cannot begin a scan: out of memory");
}

/* A row that rnd_pos() has read stays the cursor's: the server may change it now. */
int ha_blitz::rnd_end()
{
  if (m_is_scan)
    blitz_scan_end(m_cursor);
  return 0;
}

int ha_blitz::rnd_next(uchar *buf)
{
  struct blitz_slice value;
  enum blitz_rc rc = blitz_scan_next(m_cursor, &value, &m_error);
  if (unlikely(rc != BLITZ_OK))
    return read_error(rc, HA_ERR_END_OF_FILE);
  return decode(buf, value);
}

/* ---- positions ------------------------------------------------------------ */

/* Big-endian, so that positions that the server sorts are in the file's order. */
void ha_blitz::position(const uchar *)
{
  uint64_t position;
  if ((m_entry_only && fetch_row()) || blitz_cursor_position(m_cursor, &position) != BLITZ_OK)
    position = UINT64_MAX; /* reading there again gives the error */
  mi_int8store(ref, position);
}

int ha_blitz::rnd_pos(uchar *buf, uchar *pos)
{
  struct blitz_slice value;
  enum blitz_rc rc = blitz_get_at(m_cursor, mi_uint8korr(pos), &value, &m_error);
  if (unlikely(rc != BLITZ_OK))
    return read_error(rc, HA_ERR_RECORD_DELETED);
  return decode(buf, value);
}

/* ---- the primary key ------------------------------------------------------ */

/* KEY is all of it, as the server has keys to look for. */
int ha_blitz::read_by_row_key(uchar *buf, const uchar *key)
{
  Key_codec &codec = m_keys.row_key();
  size_t len = codec.encode_search(key, codec.part_count(), m_key_buffer.get());
  if (unlikely(len == Key_codec::TOO_LONG))
    return HA_ERR_KEY_NOT_FOUND; /* such a row could not be stored */
  m_entry_only = false;
  struct blitz_slice value;
  enum blitz_rc rc = blitz_get(m_cursor, {m_key_buffer.get(), len}, &value, &m_error);
  if (rc != BLITZ_OK)
    return read_error(rc, HA_ERR_KEY_NOT_FOUND);
  return decode(buf, value);
}
