/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_admin.cc: CHECK, REPAIR, ANALYZE and OPTIMIZE TABLE.
 */
#include "ha_blitz.h"

#include <mysqld.h>
#include <sql_class.h>

/* ---- CHECK ------------------------------------------------------------------------ */

/* Does the row unpack, and does it stand under its own key? */
int ha_blitz::check_row(struct blitz_slice value)
{
  uchar *record = table->record[0];
  if (int error = decode(record, value))
    return error;
  if (!has_key())
    return 0;
  struct blitz_slice stored = blitz_cursor_key(m_cursor);
  size_t len = m_keys.row_key().encode_record(record, m_key_buffer.get());
  if (len != stored.len || memcmp(m_key_buffer.get(), stored.data, len) != 0)
    return fail_with(BLITZ_CORRUPT, "a row stands under a key that is not its own");
  return 0;
}

/* Reads every row, which verifies its checksum, and looks into it if UNPACK. */
int ha_blitz::check_rows(THD *thd, bool unpack, uint64_t *count)
{
  if (int error = rnd_init(true))
    return error;
  m_rows.want(NULL);
  struct blitz_slice value;
  enum blitz_rc rc;
  int error = 0;
  while (error == 0 && (rc = blitz_scan_next(m_cursor, &value, &m_error)) == BLITZ_OK)
  {
    if (unpack)
      error = check_row(value);
    ++*count;
    if (thd_killed(thd))
      error = HA_ERR_ABORTED_BY_USER;
  }
  if (error == 0 && rc != BLITZ_END)
    error = fail(rc);
  rnd_end();
  return error;
}

int ha_blitz::check_message(THD *thd, const char *text)
{
  m_error_number = 0;
  push_warning_printf(thd, Sql_condition::WARN_LEVEL_WARN, ER_CRASHED_ON_USAGE,
                      "BLITZDB: table %s.%s: %s", table_share->db.str,
                      table_share->table_name.str, text);
  return HA_ADMIN_CORRUPT;
}

/* Compares rows and indexes, too. The server keeps writers out meanwhile. */
int ha_blitz::check(THD *thd, HA_CHECK_OPT *check_opt)
{
  uint64_t count = 0;
  int error = check_rows(thd, !(check_opt->flags & T_QUICK), &count);
  if (error == HA_ERR_ABORTED_BY_USER)
    return HA_ADMIN_FAILED;
  if (error)
    return check_message(thd, m_error.text);
  struct blitz_table_stats figures;
  blitz_table_stats(m_table, &figures);
  if (count != figures.row_count)
  {
    char text[128];
    my_snprintf(text, sizeof(text), "there are %llu rows, but the file's count is %llu",
                (ulonglong) count, (ulonglong) figures.row_count);
    return check_message(thd, text);
  }
  if (m_keys.count() == 0)
    return HA_ADMIN_OK;
  Progress progress(thd);
  enum blitz_rc rc = blitz_table_check_indexes(m_table, m_keys.indexer(), &m_error);
  if (rc == BLITZ_STOPPED)
    return HA_ADMIN_FAILED;
  return rc == BLITZ_OK ? HA_ADMIN_OK : check_message(thd, m_error.text);
}

/* ---- REPAIR --------------------------------------------------------------------------- */

int ha_blitz::repair_message(THD *thd, const char *text)
{
  char name[NAME_LEN * 2 + 16];
  m_error_number = 0;
  push_warning_printf(thd, Sql_condition::WARN_LEVEL_WARN, ER_CRASHED_ON_REPAIR, "BLITZDB: %s%s",
                      shown_name(name, sizeof(name)), text);
  return HA_ADMIN_FAILED;
}

/*
  Makes the file anew from the rows of which the checksums hold, and all indexes;
  QUICK the indexes only. The table is opened again for that, so no other instance
  of it may be open; the server has seen to it, but for a second alias under LOCK
  TABLES.
*/
int ha_blitz::repair(THD *thd, HA_CHECK_OPT *check_opt)
{
  if (check_collation_compatibility())
    return HA_ADMIN_NOT_IMPLEMENTED; /* the keys must change: the server copies the table */
  if (m_share->handlers > 1)
    return repair_message(thd, "it is in use under another alias");
  Progress progress(thd);
  if (check_opt->flags & T_QUICK)
  {
    if (m_keys.count() == 0 ||
        blitz_table_rebuild_indexes(m_table, m_keys.indexer(), &m_error) == BLITZ_OK)
      return HA_ADMIN_OK;
    return repair_message(thd, m_error.text);
  }
  struct blitz_table_stats before, after;
  blitz_table_stats(m_table, &before);
  close_file();
  if (open_file(m_open_flags | BLITZ_OPEN_REPAIR))
    return repair_message(thd, m_error.text);
  blitz_table_stats(m_table, &after);
  /* A table that could not be opened without has been repaired by open() before. */
  ulonglong lost = before.rows_lost + after.rows_lost;
  char text[128];
  if (lost > 0)
  {
    my_snprintf(text, sizeof(text),
                "rows that were damaged and are lost: %llu. Restore them from a backup", lost);
    repair_message(thd, text);
  }
  else if (before.row_count != after.row_count)
  {
    my_snprintf(text, sizeof(text), "the number of rows changed from %llu to %llu",
                (ulonglong) before.row_count, (ulonglong) after.row_count);
    repair_message(thd, text);
  }
  return HA_ADMIN_OK;
}

/* ---- ANALYZE, OPTIMIZE ------------------------------------------------------------------ */

/* Row counts are exact at any time; how rows are spread over keys is looked up anew. */
int ha_blitz::analyze(THD *, HA_CHECK_OPT *)
{
  if (sample_keys(ANALYZE_SAMPLE_SIZE))
  {
    m_error_number = 0;
    return HA_ADMIN_FAILED;
  }
  m_share->statistics.show(table);
  return HA_ADMIN_OK;
}

/* A new copy is compact and has a bucket array of the right size. */
int ha_blitz::optimize(THD *, HA_CHECK_OPT *)
{
  return HA_ADMIN_TRY_ALTER;
}
