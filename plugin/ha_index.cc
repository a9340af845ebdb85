/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_index.cc: reading in the order of an index.
 *
 * The cursor stands at an entry. Usually its row is fetched; not if the statement
 * is content with the columns that the entry tells (m_entry_only), and not before
 * a condition on those columns, which the server may have pushed down, holds.
 *
 * A primary key with an ordered index is still looked up directly if all of it is
 * given. Then the cursor is beside the index (m_off_index), and finds its place
 * there only if it is asked to go on. So it is if a search has found nothing.
 */
#include "ha_blitz.h"

#include <new>
#include <sql_class.h>

static bool begins_with(struct blitz_slice key, const uchar *prefix, size_t len)
{
  return key.len >= len && memcmp(key.data, prefix, len) == 0;
}

/* ---- begin and end --------------------------------------------------------------- */

/* Undoes what the server has noted of a key that it took for an ordered one. */
static void forget_order(TABLE *table, uint key_no)
{
  TABLE_SHARE *share = table->s;
  const KEY *key = table->key_info + key_no;
  bool is_shared = share->tmp_table == NO_TMP_TABLE;
  if (is_shared)
    mysql_mutex_lock(&share->LOCK_share);
  share->keys_for_keyread.clear_bit(key_no);
  if (is_shared)
    mysql_mutex_unlock(&share->LOCK_share);
  for (uint part_no = 0; part_no < key->user_defined_key_parts; part_no++)
  {
    Field *field = table->field[key->key_part[part_no].fieldnr - 1];
    field->part_of_key.clear_bit(key_no);
    field->part_of_key_not_clustered.clear_bit(key_no);
    field->part_of_sortkey.clear_bit(key_no);
  }
}

/*
  Tells the server which columns an entry gives back, where it cannot know it from
  index_flags(): strings by a prefix of the column, for example, are none of them,
  and those of the primary key, which every entry leads to, are. That the primary key
  is a hash may be said by an option, which the server reads after it has asked.
*/
void ha_blitz::plan_index_reads()
{
  if (has_key() && m_keys.index_of(0) == Index_keys::NONE)
    forget_order(table, 0);
  for (uint key_no = 0; key_no < table_share->keys; key_no++)
  {
    const KEY *key = table->key_info + key_no;
    uint index_no = m_keys.index_of(key_no);
    for (uint part_no = 0; part_no < key->user_defined_key_parts; part_no++)
      if (index_no != Index_keys::NONE && !m_keys.codec(index_no).restores(part_no))
        table->field[key->key_part[part_no].fieldnr - 1]->part_of_key.clear_bit(key_no);
  }
  m_decodes_row_key = has_key();
  for (uint part_no = 0; has_key() && part_no < m_keys.row_key().part_count(); part_no++)
    m_decodes_row_key &= m_keys.row_key().restores(part_no);
  const KEY *key = table->key_info;
  for (uint part_no = 0; m_decodes_row_key && part_no < key->user_defined_key_parts; part_no++)
    table->field[key->key_part[part_no].fieldnr - 1]->part_of_key.merge(
        table_share->keys_for_keyread);
}

int ha_blitz::index_init(uint key_no, bool)
{
  active_index = key_no;
  attach();
  m_index_no = m_keys.index_of(key_no);
  m_off_index = false;
  m_beyond = 0;
  m_entry_only = false;
  m_is_bounded = false;
  m_search_len = 0;
  if (m_index_no == Index_keys::NONE)
    return 0;
  enum blitz_rc rc = blitz_index_begin(m_cursor, m_index_no, &m_error);
  /* Who collects statistics expects a disabled key to fail when it is read, not here. */
  if (rc != BLITZ_OK && (blitz_table_disabled_indexes(m_table) >> m_index_no & 1))
    return 0;
  return rc == BLITZ_OK ? 0 : fail(rc);
}

int ha_blitz::index_end()
{
  if (m_analyzing)
    blitz_scan_end(m_cursor);
  if (m_index_no != Index_keys::NONE)
    blitz_index_end(m_cursor);
  m_analyzing = false;
  m_index_no = Index_keys::NONE;
  return 0;
}

/* ---- entries and rows -------------------------------------------------------------- */

/* Fills in the columns of BUF that the entry at the cursor tells, its row's key included. */
int ha_blitz::decode_entry(uchar *buf, const MY_BITMAP *wanted)
{
  bool ok = m_keys.codec(m_index_no)
                .decode(buf, blitz_index_key(m_cursor), blitz_index_payload(m_cursor), wanted);
  if (active_index != 0 && (m_wants_row_key || (m_decodes_row_key && wanted == NULL)))
    ok = ok && m_keys.row_key().decode(buf, blitz_index_row_key(m_cursor), {NULL, 0}, wanted);
  if (likely(ok))
    return 0;
  return fail_with(BLITZ_CORRUPT, "an entry of key '%s' does not add up: REPAIR TABLE … QUICK "
                                  "makes the keys anew",
                   table->key_info[active_index].name.str);
}

/* Reads the row of an entry that was only read itself. */
int ha_blitz::fetch_row()
{
  struct blitz_slice value;
  enum blitz_rc rc = blitz_index_row(m_cursor, &value, &m_error);
  if (unlikely(rc != BLITZ_OK))
    return read_error(rc, HA_ERR_RECORD_DELETED);
  m_entry_only = false;
  return 0;
}

bool ha_blitz::is_beyond_end() const
{
  struct blitz_slice key = blitz_index_key(m_cursor);
  int order = memcmp(key.data, m_end.get(), MY_MIN(key.len, m_end_len));
  if (order == 0 && key.len >= m_end_len)
    return !m_end_is_in;
  return order > 0;
}

/* Is a condition to be checked on what is read to BUF? */
bool ha_blitz::has_condition(const uchar *buf) const
{
  return pushed_idx_cond && pushed_idx_cond_keyno == active_index && buf == table->record[0];
}

/* Checks the condition on the columns of an entry. Where the range ends was looked at
   already; the server would compare columns for that which the entry may not tell. */
check_result_t ha_blitz::check_condition()
{
  key_range *end = end_range;
  end_range = NULL;
  check_result_t result = handler_index_cond_check(this);
  end_range = end;
  return result;
}

/*
  Reads the entry at the cursor, or the next one, FORWARD or not, for which the
  condition holds. SAME: only while they begin as the key looked for.
*/
int ha_blitz::take_entry(uchar *buf, bool forward, bool same)
{
  bool is_condition = has_condition(buf);
  m_off_index = false;
  m_beyond = 0;
  for (;;)
  {
    if (same && !begins_with(blitz_index_key(m_cursor), m_search.get(), m_search_len))
      return HA_ERR_END_OF_FILE;
    if (m_is_bounded && is_beyond_end())
      return HA_ERR_END_OF_FILE;
    check_result_t result = CHECK_POS;
    if (is_condition)
    {
      if (int error = decode_entry(buf, NULL))
        return error;
      result = check_condition();
    }
    if (result == CHECK_POS)
      break;
    if (result == CHECK_ABORTED_BY_USER)
      return HA_ERR_ABORTED_BY_USER;
    if (int error = move(forward))
      return error;
  }
  if (keyread == active_index)
  {
    m_entry_only = true;
    if (m_columns_changed)
      attach();
    return is_condition ? 0 : decode_entry(buf, table->read_set);
  }
  struct blitz_slice value;
  enum blitz_rc rc = blitz_index_row(m_cursor, &value, &m_error);
  if (unlikely(rc != BLITZ_OK))
    return read_error(rc, HA_ERR_RECORD_DELETED);
  m_entry_only = false;
  return decode(buf, value);
}

int ha_blitz::seek(uchar *buf, struct blitz_slice key, enum blitz_seek where, bool same)
{
  if (m_index_no == Index_keys::NONE)
    return HA_ERR_WRONG_COMMAND; /* a hash knows whole keys only */
  /* A HANDLER statement is to see what is there now, not what its first one saw. */
  if (thd_sql_command(table->in_use) == SQLCOM_HA_READ)
  {
    blitz_index_end(m_cursor);
    enum blitz_rc rc = blitz_index_begin(m_cursor, m_index_no, &m_error);
    if (rc != BLITZ_OK)
      return fail(rc);
  }
  enum blitz_rc rc = blitz_index_seek(m_cursor, key, where, &m_error);
  if (rc != BLITZ_OK)
    return read_error(rc, HA_ERR_END_OF_FILE);
  return take_entry(buf, where == BLITZ_SEEK_FIRST || where == BLITZ_SEEK_AFTER, same);
}

/* Goes to the next entry or the one before, or beyond all of them. */
int ha_blitz::move(bool forward)
{
  enum blitz_rc rc = blitz_index_step(m_cursor, forward, &m_error);
  if (likely(rc == BLITZ_OK))
    return 0;
  if (rc == BLITZ_END)
    m_beyond = forward ? 1 : -1;
  return read_error(rc, HA_ERR_END_OF_FILE);
}

/* From beyond the last entry the one before is the last one. */
int ha_blitz::step(uchar *buf, bool forward, bool same)
{
  if (m_off_index)
    return seek(buf, {m_search.get(), m_search_len},
                forward ? BLITZ_SEEK_AFTER : BLITZ_SEEK_BEFORE, same);
  if (unlikely(m_beyond != 0))
    return forward == (m_beyond > 0)
               ? HA_ERR_END_OF_FILE
               : seek(buf, {NULL, 0}, forward ? BLITZ_SEEK_FIRST : BLITZ_SEEK_LAST, same);
  int error = move(forward);
  return error ? error : take_entry(buf, forward, same);
}

/* ---- searches ------------------------------------------------------------------------ */

/* How many parts of KEY the server gives. */
static uint parts_given(const KEY *key, key_part_map keypart_map)
{
  uint given = 0;
  while (given < key->user_defined_key_parts && (keypart_map & 1))
  {
    keypart_map >>= 1;
    given++;
  }
  return given;
}

bool ha_blitz::finds_by_row_key(key_part_map keypart_map, enum ha_rkey_function find_flag) const
{
  return active_index == 0 && m_keys.has_row_key() && find_flag == HA_READ_KEY_EXACT &&
         parts_given(table->key_info, keypart_map) ==
             table->key_info[0].user_defined_key_parts;
}

/* Reads the row directly, though there is an index. */
int ha_blitz::read_off_index(uchar *buf, const uchar *key)
{
  m_off_index = true;
  if (int error = read_by_row_key(buf, key))
    return error;
  if (!has_condition(buf))
    return 0;
  switch (check_condition())
  {
  case CHECK_POS:
    return 0;
  case CHECK_ABORTED_BY_USER:
    return HA_ERR_ABORTED_BY_USER;
  default:
    return HA_ERR_KEY_NOT_FOUND;
  }
}

int ha_blitz::search_is_too_long()
{
  return fail_with(BLITZ_TOO_BIG, "a key to look for has more than %d bytes of sorting weights",
                   BLITZ_INDEX_KEY_MAX);
}

/* What the server's words for a search mean. */
struct Search
{
  enum ha_rkey_function find_flag;
  enum blitz_seek where;
  bool same; /* the entry found must begin with the key */
};

static const Search searches[] = {
    {HA_READ_KEY_EXACT, BLITZ_SEEK_FIRST, true},
    {HA_READ_KEY_OR_NEXT, BLITZ_SEEK_FIRST, false},
    {HA_READ_KEY_OR_PREV, BLITZ_SEEK_LAST, false},
    {HA_READ_AFTER_KEY, BLITZ_SEEK_AFTER, false},
    {HA_READ_BEFORE_KEY, BLITZ_SEEK_BEFORE, false},
    {HA_READ_PREFIX, BLITZ_SEEK_FIRST, true},
    {HA_READ_PREFIX_LAST, BLITZ_SEEK_LAST, true},
    {HA_READ_PREFIX_LAST_OR_PREV, BLITZ_SEEK_LAST, false},
};

/* NULL: a search of spatial keys. */
static const Search *find_search(enum ha_rkey_function find_flag)
{
  for (auto &search : searches)
    if (search.find_flag == find_flag)
      return &search;
  return NULL;
}

int ha_blitz::index_read_map(uchar *buf, const uchar *key, key_part_map keypart_map,
                             enum ha_rkey_function find_flag)
{
  bool is_direct = finds_by_row_key(keypart_map, find_flag);
  uint part_count = parts_given(table->key_info + active_index, keypart_map);
  const Search *search = find_search(find_flag);
  if (search == NULL)
    return HA_ERR_WRONG_COMMAND;
  if (m_index_no == Index_keys::NONE)
  {
    if (is_direct)
      return read_by_row_key(buf, key);
    if (thd_sql_command(table->in_use) == SQLCOM_HA_READ)
      return HA_ERR_WRONG_COMMAND; /* a hash knows whole keys only */
    int error = read_edge(buf, key, part_count, search->where, search->same);
    return error == HA_ERR_END_OF_FILE ? HA_ERR_KEY_NOT_FOUND : error;
  }
  m_search_len = m_keys.codec(m_index_no).encode_search(key, part_count, m_search.get());
  if (unlikely(m_search_len == Key_codec::TOO_LONG))
  {
    m_search_len = 0;
    /* A row of such a key could not be stored. */
    return search->same ? HA_ERR_KEY_NOT_FOUND : search_is_too_long();
  }
  if (is_direct)
    return read_off_index(buf, key);
  int error = seek(buf, {m_search.get(), m_search_len}, search->where, search->same);
  if (error != HA_ERR_END_OF_FILE)
    return error;
  m_off_index = true;
  return HA_ERR_KEY_NOT_FOUND;
}

int ha_blitz::index_read_last_map(uchar *buf, const uchar *key, key_part_map keypart_map)
{
  return index_read_map(buf, key, keypart_map, HA_READ_PREFIX_LAST);
}

/* Reads one row, which the caller may then change: the core goes on reading the index, up
   to the cursor's next read, since the end of that would forget the row. */
int ha_blitz::index_read_idx_map(uchar *buf, uint key_no, const uchar *key,
                                 key_part_map keypart_map, enum ha_rkey_function find_flag)
{
  int error = index_init(key_no, false);
  if (error)
    return error;
  error = index_read_map(buf, key, keypart_map, find_flag);
  if (error == 0 && m_entry_only)
    error = fetch_row();
  m_index_no = Index_keys::NONE;
  active_index = MAX_KEY;
  return error;
}

/*
  ANALYZE … PERSISTENT wants all rows by a key of several columns, in its order,
  to count how often its first columns repeat. A hash is of no use by its first
  columns, so that number does not matter, but the statement should not fail.
  Nobody else gets all rows by a hash as if it had an order.
*/
int ha_blitz::index_first(uchar *buf)
{
  if (m_index_no != Index_keys::NONE)
    return seek(buf, {NULL, 0}, BLITZ_SEEK_FIRST, false);
  int command = thd_sql_command(table->in_use);
  if (command == SQLCOM_HA_READ)
    return HA_ERR_WRONG_COMMAND; /* there would be no next one */
  if (command != SQLCOM_ANALYZE)
    return read_edge(buf, NULL, 0, BLITZ_SEEK_FIRST, false);
  if (int error = rnd_init(true))
    return error;
  m_analyzing = true;
  return rnd_next(buf);
}

int ha_blitz::index_last(uchar *buf)
{
  if (m_index_no == Index_keys::NONE && thd_sql_command(table->in_use) != SQLCOM_HA_READ)
    return read_edge(buf, NULL, 0, BLITZ_SEEK_LAST, false);
  return seek(buf, {NULL, 0}, BLITZ_SEEK_LAST, false);
}

/* By a hash there is no next one: the key is unique. */
int ha_blitz::index_next(uchar *buf)
{
  if (m_analyzing)
    return rnd_next(buf);
  return m_index_no == Index_keys::NONE ? HA_ERR_END_OF_FILE : step(buf, true, false);
}

int ha_blitz::index_prev(uchar *buf)
{
  return m_index_no == Index_keys::NONE ? HA_ERR_END_OF_FILE : step(buf, false, false);
}

/* KEY is the one that index_read_map() was last called with. */
int ha_blitz::index_next_same(uchar *buf, const uchar *, uint)
{
  return m_index_no == Index_keys::NONE || m_off_index ? HA_ERR_END_OF_FILE
                                                       : step(buf, true, true);
}

/* ---- ranges ------------------------------------------------------------------------------ */

/* Looks where a range ends before it fetches a row beyond. */
int ha_blitz::read_range_first(const key_range *start_key, const key_range *end_key,
                               bool eq_range_arg, bool sorted)
{
  m_has_end = false;
  if (m_index_no == Index_keys::NONE &&
      !(eq_range_arg && finds_by_row_key(start_key->keypart_map, start_key->flag)))
    return HA_ERR_WRONG_COMMAND; /* a hash knows whole keys only */
  if (end_key && m_index_no != Index_keys::NONE)
  {
    uint part_count = parts_given(table->key_info + active_index, end_key->keypart_map);
    m_end_len =
        m_keys.codec(m_index_no).encode_search(end_key->key, part_count, m_end.get());
    if (unlikely(m_end_len == Key_codec::TOO_LONG))
      return search_is_too_long();
    m_has_end = true;
    m_end_is_in = end_key->flag != HA_READ_BEFORE_KEY;
  }
  bool was_pushed_down = in_range_check_pushed_down;
  in_range_check_pushed_down |= m_has_end;
  m_is_bounded = m_has_end;
  int error = handler::read_range_first(start_key, end_key, eq_range_arg, sorted);
  m_is_bounded = false;
  in_range_check_pushed_down = was_pushed_down;
  return error;
}

int ha_blitz::read_range_next()
{
  bool was_pushed_down = in_range_check_pushed_down;
  in_range_check_pushed_down |= m_has_end;
  m_is_bounded = m_has_end;
  int error = handler::read_range_next();
  m_is_bounded = false;
  in_range_check_pushed_down = was_pushed_down;
  return error;
}

/* Keys to be looked up directly are taken some at a time; see range_batch.h. */
int ha_blitz::multi_range_read_init(RANGE_SEQ_IF *seq, void *seq_init_param, uint n_ranges,
                                    uint mode, HANDLER_BUFFER *buf)
{
  if (int error = handler::multi_range_read_init(seq, seq_init_param, n_ranges, mode, buf))
    return error;
  if (active_index != 0 || !has_key())
    return 0;
  try
  {
    if (!m_batch)
      m_batch.reset(new Range_batch(&m_keys.row_key(), table->key_info[0].key_length));
  }
  catch (const std::bad_alloc &)
  {
    return fail_with(BLITZ_NOMEM, "no memory for a batch of keys");
  }
  m_batch->begin(m_cursor, seq->next, mrr_iter);
  mrr_iter = m_batch.get();
  mrr_funcs.next = Range_batch::next;
  return 0;
}

/* That they are looked up in batches makes batched key access worth while. */
ha_rows ha_blitz::multi_range_read_info(uint key_no, uint n_ranges, uint keys, uint key_parts,
                                        uint *bufsz, uint *mrr_mode, Cost_estimate *cost)
{
  bool is_wanted = key_no == 0 && has_key() && !(*mrr_mode & HA_MRR_USE_DEFAULT_IMPL) &&
                   key_parts == table->key_info[0].user_defined_key_parts &&
                   (table->in_use->variables.optimizer_switch & OPTIMIZER_SWITCH_MRR);
  ha_rows rows =
      handler::multi_range_read_info(key_no, n_ranges, keys, key_parts, bufsz, mrr_mode, cost);
  if (is_wanted)
    *mrr_mode &= ~HA_MRR_USE_DEFAULT_IMPL;
  return rows;
}

/* Takes a condition on columns that are all in the entries: the server sees to that. */
Item *ha_blitz::idx_cond_push(uint key_no, Item *condition)
{
  pushed_idx_cond_keyno = key_no;
  pushed_idx_cond = condition;
  in_range_check_pushed_down = true;
  return NULL;
}
