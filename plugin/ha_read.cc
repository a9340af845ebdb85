/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_read.cc: scans, look-ups by primary key, positions, and what they cost.
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
  Makes the cursor show what the running statement has changed in this table so
  far, and makes the plan for the columns that it reads.
*/
void ha_blitz::attach()
{
  struct blitz_txn *txn = blitz_session_txn(table->in_use, ht, m_table);
  if (txn != m_cursor_txn)
  {
    blitz_cursor_set_txn(m_cursor, txn);
    m_cursor_txn = txn;
  }
  m_columns_changed = false;
  m_rows.want(needs_all_columns() ? NULL : table->read_set);
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
  if (!scan)
    return 0;
  enum blitz_rc rc = blitz_scan_begin(m_cursor);
  return rc == BLITZ_OK ? 0 : fail_with(rc, "cannot begin a scan: out of memory");
}

int ha_blitz::rnd_end()
{
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
  if (blitz_cursor_position(m_cursor, &position) != BLITZ_OK)
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

int ha_blitz::index_init(uint index, bool)
{
  active_index = index;
  attach();
  return 0;
}

int ha_blitz::read_key(uchar *buf, const uchar *key, key_part_map keypart_map,
                       enum ha_rkey_function find_flag)
{
  uint part_count = table->key_info[0].user_defined_key_parts;
  key_part_map all_parts = make_prev_keypart_map(part_count);
  if (find_flag != HA_READ_KEY_EXACT || (keypart_map & all_parts) != all_parts)
    return HA_ERR_WRONG_COMMAND; /* a hash knows whole keys only */
  size_t len = m_keys.encode_search(key, m_key_buffer.get());
  if (unlikely(len == Key_codec::TOO_LONG))
    return HA_ERR_KEY_NOT_FOUND; /* such a row could not be stored */
  struct blitz_slice value;
  enum blitz_rc rc = blitz_get(m_cursor, {m_key_buffer.get(), len}, &value, &m_error);
  if (rc != BLITZ_OK)
    return read_error(rc, HA_ERR_KEY_NOT_FOUND);
  return decode(buf, value);
}

int ha_blitz::index_read_map(uchar *buf, const uchar *key, key_part_map keypart_map,
                             enum ha_rkey_function find_flag)
{
  return read_key(buf, key, keypart_map, find_flag);
}

int ha_blitz::index_read_idx_map(uchar *buf, uint, const uchar *key, key_part_map keypart_map,
                                 enum ha_rkey_function find_flag)
{
  attach();
  return read_key(buf, key, keypart_map, find_flag);
}

/*
  ANALYZE … PERSISTENT wants all rows by a key of several columns, in its order,
  to count how often its first columns repeat. The key is of no use by its first
  columns, so that number does not matter, but the statement should not fail.
  Nobody else gets rows by a hash as if it had an order.
*/
int ha_blitz::index_first(uchar *buf)
{
  if (thd_sql_command(table->in_use) != SQLCOM_ANALYZE)
    return HA_ERR_WRONG_COMMAND;
  if (int error = rnd_init(true))
    return error;
  m_analyzing = true;
  return rnd_next(buf);
}

/* After a look-up: the key is unique. */
int ha_blitz::index_next(uchar *buf)
{
  return m_analyzing ? rnd_next(buf) : HA_ERR_END_OF_FILE;
}

int ha_blitz::index_end()
{
  if (m_analyzing)
    blitz_scan_end(m_cursor);
  m_analyzing = false;
  return 0;
}

/* ---- figures for the optimizer ------------------------------------------------ */

/* Exact, the running statement's own changes included. */
ha_rows ha_blitz::records()
{
  struct blitz_table_stats figures;
  blitz_table_stats(m_table, &figures);
  struct blitz_txn *txn = blitz_session_txn(ha_thd(), ht, m_table);
  return figures.row_count + (txn ? blitz_txn_row_delta(txn, m_table) : 0);
}

/* The optimizer takes HA_POS_ERROR for: do not use the key for this. */
ha_rows ha_blitz::records_in_range(uint, const key_range *min_key, const key_range *max_key,
                                   page_range *)
{
  const uint whole = table->key_info[0].key_length;
  if (min_key == NULL || max_key == NULL || min_key->flag != HA_READ_KEY_EXACT ||
      max_key->flag != HA_READ_AFTER_KEY || min_key->length != whole || max_key->length != whole)
    return HA_POS_ERROR;
  return 1;
}

/*
  Costs, in the server's unit of one read from a disk. Files are mapped into
  memory: a look-up costs about ten times as much as the next row of a scan.
*/
static const double SCAN_ROW_COST = 0.01;
static const double LOOKUP_COST = 0.1;

double ha_blitz::scan_time()
{
  return 1.0 + rows2double(stats.records) * SCAN_ROW_COST +
         ulonglong2double(stats.data_file_length) / (1024.0 * 1024.0);
}

double ha_blitz::read_time(uint, uint ranges, ha_rows rows)
{
  return rows2double(rows > ranges ? rows : ranges) * LOOKUP_COST;
}

double ha_blitz::keyread_time(uint index, uint ranges, ha_rows rows)
{
  return read_time(index, ranges, rows);
}
