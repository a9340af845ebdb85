/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_admin.cc: CHECK, REPAIR, ANALYZE and OPTIMIZE TABLE.
 */
#include "ha_blitz.h"

/* Does the row unpack, and does it stand under its own key? */
int ha_blitz::check_row(struct blitz_slice value)
{
  uchar *record = table->record[0];
  if (int error = decode(record, value))
    return error;
  if (!has_key())
    return 0;
  struct blitz_slice stored = blitz_cursor_key(m_cursor);
  size_t len = m_keys.encode_record(record, m_key_buffer.get());
  if (len != stored.len || memcmp(m_key_buffer.get(), stored.data, len) != 0)
    return fail_with(BLITZ_CORRUPT, "a row stands under a key that is not its own");
  return 0;
}

int ha_blitz::check_rows(THD *thd, uint64_t *count)
{
  if (int error = rnd_init(true))
    return error;
  m_rows.want(NULL);
  struct blitz_slice value;
  enum blitz_rc rc;
  int error = 0;
  while (error == 0 && (rc = blitz_scan_next(m_cursor, &value, &m_error)) == BLITZ_OK)
  {
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

static int check_message(THD *thd, const TABLE_SHARE *share, const char *text)
{
  push_warning_printf(thd, Sql_condition::WARN_LEVEL_WARN, ER_CRASHED_ON_USAGE,
                      "BLITZDB: table %s.%s: %s", share->db.str, share->table_name.str, text);
  return HA_ADMIN_CORRUPT;
}

/* Reads every row. The server keeps writers out meanwhile. */
int ha_blitz::check(THD *thd, HA_CHECK_OPT *)
{
  uint64_t count = 0;
  int error = check_rows(thd, &count);
  if (error == HA_ERR_ABORTED_BY_USER)
    return HA_ADMIN_FAILED;
  if (error)
  {
    m_error_number = 0;
    return check_message(thd, table_share, m_error.text);
  }
  struct blitz_table_stats figures;
  blitz_table_stats(m_table, &figures);
  if (count == figures.row_count)
    return HA_ADMIN_OK;
  char text[128];
  my_snprintf(text, sizeof(text), "there are %llu rows, but the file's count is %llu",
              (ulonglong) count, (ulonglong) figures.row_count);
  return check_message(thd, table_share, text);
}

/*
  Makes the file anew from the rows of which the checksums hold. It is opened
  again for that, so no other instance of the table may be open; the server has
  seen to it, but for a second alias under LOCK TABLES.
*/
int ha_blitz::repair(THD *thd, HA_CHECK_OPT *)
{
  if (check_collation_compatibility())
    return HA_ADMIN_NOT_IMPLEMENTED; /* the keys must change: the server copies the table */
  char name[NAME_LEN * 2 + 16];
  shown_name(name, sizeof(name));
  if (m_share->handlers > 1)
  {
    push_warning_printf(thd, Sql_condition::WARN_LEVEL_WARN, ER_CRASHED_ON_REPAIR,
                        "BLITZDB: %sit is in use under another alias", name);
    return HA_ADMIN_FAILED;
  }
  struct blitz_table_stats before, after;
  blitz_table_stats(m_table, &before);
  close_file();
  if (open_file(m_open_flags | BLITZ_OPEN_REPAIR))
  {
    m_error_number = 0;
    push_warning_printf(thd, Sql_condition::WARN_LEVEL_WARN, ER_CRASHED_ON_REPAIR,
                        "BLITZDB: %s%s", name, m_error.text);
    return HA_ADMIN_FAILED;
  }
  blitz_table_stats(m_table, &after);
  if (before.row_count != after.row_count)
    push_warning_printf(thd, Sql_condition::WARN_LEVEL_WARN, ER_CRASHED_ON_REPAIR,
                        "BLITZDB: %sthe number of rows changed from %llu to %llu", name,
                        (ulonglong) before.row_count, (ulonglong) after.row_count);
  return HA_ADMIN_OK;
}

/* The figures are exact at any time. */
int ha_blitz::analyze(THD *, HA_CHECK_OPT *)
{
  return HA_ADMIN_OK;
}

/* A new copy is compact and has a bucket array of the right size. */
int ha_blitz::optimize(THD *, HA_CHECK_OPT *)
{
  return HA_ADMIN_TRY_ALTER;
}
