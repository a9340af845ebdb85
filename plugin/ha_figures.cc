/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_figures.cc: how many rows there are, how they are spread over the keys, and
 * what reading them costs.
 */
#include "ha_blitz.h"

#include <fcntl.h>
#include <new>
#include <sys/stat.h>

/* ---- rows ------------------------------------------------------------------- */

/* Exact, the running statement's own changes included. */
ha_rows ha_blitz::records()
{
  struct blitz_table_stats figures;
  blitz_table_stats(m_table, &figures);
  struct blitz_txn *txn = blitz_session_txn(ha_thd(), ht, m_table);
  return figures.row_count + (txn ? blitz_txn_row_delta(txn, m_table) : 0);
}

/*
  The optimizer takes HA_POS_ERROR for: do not use the key for this. Zero it would
  take for a promise.
*/
ha_rows ha_blitz::records_in_range(uint key_no, const key_range *min_key,
                                   const key_range *max_key, page_range *)
{
  const uint whole = table->key_info[key_no].key_length;
  bool is_one = min_key && max_key && min_key->flag == HA_READ_KEY_EXACT &&
                max_key->flag == HA_READ_AFTER_KEY && min_key->length == whole &&
                max_key->length == whole && memcmp(min_key->key, max_key->key, whole) == 0;
  if (is_one && blitz_is_row_key(table_share, key_no))
    return 1;
  uint index_no = m_keys.index_of(key_no);
  if (index_no == Index_keys::NONE)
    return estimate_by_sample(min_key, max_key);
  Key_codec &codec = m_keys.codec(index_no);
  struct blitz_slice from = {NULL, 0}, to = {NULL, 0};
  enum blitz_seek from_where = BLITZ_SEEK_FIRST, to_where = BLITZ_SEEK_AFTER;
  if (min_key)
  {
    from = {m_search.get(), codec.encode_search(min_key->key, my_count_bits(min_key->keypart_map),
                                                m_search.get())};
    if (min_key->flag == HA_READ_AFTER_KEY)
      from_where = BLITZ_SEEK_AFTER;
  }
  if (max_key)
  {
    to = {m_end.get(), codec.encode_search(max_key->key, my_count_bits(max_key->keypart_map),
                                           m_end.get())};
    if (max_key->flag == HA_READ_BEFORE_KEY)
      to_where = BLITZ_SEEK_FIRST;
  }
  if (from.len == Key_codec::TOO_LONG || to.len == Key_codec::TOO_LONG)
    return HA_POS_ERROR;
  attach();
  uint64_t count;
  enum blitz_rc rc = blitz_index_estimate(m_cursor, index_no, from, from_where, to, to_where,
                                          &count, &m_error);
  if (rc != BLITZ_OK)
    return HA_POS_ERROR;
  return count > 0 ? count : 1;
}

/* ---- statistics of keys -------------------------------------------------------------- */

/* Looks at about MAX entries of each index that is not disabled. */
int ha_blitz::sample_keys(uint64_t max)
{
  const uint64_t disabled = m_keys.count() > 0 ? blitz_table_disabled_indexes(m_table) : 0;
  try
  {
    std::vector<std::vector<ulong>> rows_per_value(table_share->keys);
    for (uint key_no = 0; key_no < table_share->keys; key_no++)
    {
      const KEY *key = table->key_info + key_no;
      std::vector<ulong> &rows = rows_per_value[key_no];
      rows.resize(key->user_defined_key_parts);
      uint index_no = m_keys.index_of(key_no);
      if (index_no != Index_keys::NONE && !(disabled & (1ULL << index_no)))
      {
        Key_sampler sampler(&m_keys.codec(index_no));
        enum blitz_rc rc =
            blitz_index_sample(m_cursor, index_no, max, Key_sampler::visit, &sampler, &m_error);
        if (rc != BLITZ_OK)
          return fail(rc);
        struct blitz_index_stats figures;
        blitz_index_stats(m_table, index_no, &figures);
        for (uint part_no = 0; part_no < rows.size(); part_no++)
          rows[part_no] = sampler.rows_per_value(part_no, figures.entry_count);
      }
      if ((key->flags & (HA_NOSAME | HA_NULL_PART_KEY)) == HA_NOSAME)
        rows.back() = 1;
    }
    struct blitz_table_stats figures;
    blitz_table_stats(m_table, &figures);
    m_share->statistics.store(figures.row_count, std::move(rows_per_value));
    return 0;
  }
  catch (const std::bad_alloc &)
  {
    return fail_with(BLITZ_NOMEM, "no memory for statistics");
  }
}

/* Older figures will do if there are no new ones. A partition does not speak for its
   table: the server asks one of them when it wants the table's (HA_STATUS_CONST). */
void ha_blitz::renew_statistics()
{
  if (sample_keys(KEY_SAMPLE_SIZE))
    m_error_number = 0;
  else if (table->part_info == NULL)
    m_share->statistics.show(table);
}

/* The server is not to read indexes that are disabled. */
void ha_blitz::note_disabled_keys()
{
  if (m_keys.count() == 0)
    return;
  uint64_t disabled = blitz_table_disabled_indexes(m_table);
  key_map usable(table_share->keys);
  for (uint index_no = 0; index_no < m_keys.count(); index_no++)
    if (disabled & (1ULL << index_no))
      usable.clear_bit(m_keys.key_of(index_no));
  bool is_shared = table_share->tmp_table == NO_TMP_TABLE;
  if (is_shared)
    mysql_mutex_lock(&table_share->LOCK_share);
  table_share->keys_in_use = usable;
  table_share->keys_for_keyread.intersect(usable);
  if (is_shared)
    mysql_mutex_unlock(&table_share->LOCK_share);
}

/* ---- info ---------------------------------------------------------------------------- */

/* When the file was made, which not every file system knows, and changed. Its name is not
   the table's if it has the rows of a partition. */
void ha_blitz::info_times()
{
  char path[FN_REFLEN];
  struct statx file;
  fn_format(path, m_path.c_str(), "", BLITZ_FILE_EXT, MY_UNPACK_FILENAME);
  if (statx(AT_FDCWD, path, 0, STATX_MTIME | STATX_BTIME, &file) != 0)
    return;
  stats.create_time = file.stx_mask & STATX_BTIME ? (my_time_t) file.stx_btime.tv_sec : 0;
  stats.update_time = (my_time_t) file.stx_mtime.tv_sec;
}

int ha_blitz::info(uint flag)
{
  if (m_table == NULL) /* REPAIR TABLE failed */
    return HA_ERR_CRASHED;
  if (flag & HA_STATUS_VARIABLE)
  {
    struct blitz_table_stats figures;
    blitz_table_stats(m_table, &figures);
    stats.records = records();
    stats.deleted = 0;
    stats.data_file_length = figures.data_len;
    stats.delete_length = figures.free_len;
    stats.index_file_length = m_keys.count() > 0 ? blitz_index_file_len(m_table) : 0;
    uint64_t per_row = figures.row_count ? figures.data_len / figures.row_count : 0;
    stats.mean_rec_length = (ulong) MY_MIN(per_row, (uint64_t) UINT_MAX32);
    if (m_share->statistics.are_outdated(figures.row_count))
      renew_statistics();
  }
  if (flag & HA_STATUS_CONST)
  {
    stats.max_data_file_length = 0;
    stats.block_size = 4096;
    note_disabled_keys();
    m_share->statistics.show(table);
  }
  /* What a partition says of its creation is asked for with the constants. */
  if (flag & (HA_STATUS_TIME | HA_STATUS_CONST))
    info_times();
  if (flag & HA_STATUS_AUTO)
  {
    ulonglong next = blitz_table_counter(m_table);
    stats.auto_increment_value = next > 0 ? next : 1;
  }
  if (flag & HA_STATUS_ERRKEY)
    errkey = m_dup_key;
  return 0;
}

/* ---- costs ------------------------------------------------------------------------------ */

/*
  The server counts in reads from a disk, and 0.2 of one for looking at a row that
  it got, which takes about 60 ns. By that measure, files being mapped into memory:
  the next row of a scan takes 50 ns, the next entry of an index 15, its row or one
  found by its key 200, and to find a place in an index 400 to 500.
*/
static const double SCAN_ROW_COST = 0.15;
static const double ENTRY_COST = 0.05;
static const double LOOKUP_COST = 0.6;
static const double SEEK_COST = 1.3;

double ha_blitz::scan_time()
{
  return 1.0 + rows2double(stats.records) * SCAN_ROW_COST +
         ulonglong2double(stats.data_file_length) / (1024.0 * 1024.0);
}

/* Rows by a key; the server adds keyread_time() itself when it counts ranges. */
double ha_blitz::read_time(uint key_no, uint ranges, ha_rows rows)
{
  double seeks = m_keys.index_of(key_no) == Index_keys::NONE ? 0 : ranges * SEEK_COST;
  return seeks + rows2double(rows > ranges ? rows : ranges) * LOOKUP_COST;
}

double ha_blitz::keyread_time(uint key_no, uint ranges, ha_rows rows)
{
  if (m_keys.index_of(key_no) == Index_keys::NONE)
    return 0;
  return ranges * SEEK_COST + rows2double(rows) * ENTRY_COST;
}
