/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_create.cc: creating, dropping and renaming tables, and what can be changed of
 * one without touching its rows.
 */
#include "ha_blitz.h"
#include "fingerprint.h"

#include <cerrno>
#include <sql_class.h>

/* MAX_ROWS says what may come, not what will: beyond this it sizes nothing. */
static const ulonglong MAX_ROWS_TRUSTED = 1000000;

/* A file has no more buckets. */
static const ulonglong EXPECTED_ROWS_MAX = 1ULL << 40;

/* ---- create, drop, rename ----------------------------------------------------------- */

/* Why the engine cannot have key KEY_NO; NULL: it can. */
static const char *key_objection(const TABLE_SHARE *share, uint key_no)
{
  if (share->key_info[key_no].without_overlaps)
    return "there is no WITHOUT OVERLAPS: leave it out or use another engine";
  if (share->found_next_number_field && key_no == share->next_number_index &&
      share->next_number_keypart > 0 && !blitz_is_ordered(share, key_no))
    return "numbering each group from one needs an ordered key: leave out USING HASH";
  return NULL;
}

bool ha_blitz::refuses_keys(const TABLE_SHARE *share)
{
  for (uint key_no = 0; key_no < share->keys; key_no++)
  {
    const char *objection = key_objection(share, key_no);
    if (objection == NULL)
      continue;
    my_printf_error(ER_CHECK_NOT_IMPLEMENTED, "BLITZDB: table %s.%s, key '%s': %s", MYF(0),
                    share->db.str, share->table_name.str, share->key_info[key_no].name.str,
                    objection);
    return true;
  }
  return false;
}

/* The option EXPECTED_ROWS; 0 if it is not given. True: it is no number that it can be. */
static bool parse_expected_rows(const ha_table_option_struct *options, ulonglong *rows)
{
  *rows = 0;
  if (options == NULL || options->expected_rows == NULL)
    return false;
  const char *text = options->expected_rows;
  char *end;
  errno = 0;
  ulonglong number = strtoull(text, &end, 10);
  if (!my_isdigit(system_charset_info, *text) || *end || errno || number > EXPECTED_ROWS_MAX)
    return true;
  *rows = number;
  return false;
}

/*
  True: refused, with an error. Where the server lets wrong options pass, in replication
  and with IGNORE_BAD_TABLE_OPTIONS, so is this one, with a warning.
*/
static bool refuses_expected_rows(THD *thd, const TABLE_SHARE *share,
                                  const ha_table_option_struct *options)
{
  ulonglong rows;
  if (!parse_expected_rows(options, &rows))
    return false;
  char text[MYSQL_ERRMSG_SIZE];
  my_snprintf(text, sizeof(text),
              "BLITZDB: table %s.%s: " BLITZ_EXPECTED_ROWS "=%.100s is not a number from 0 to %llu",
              share->db.str, share->table_name.str, options->expected_rows, EXPECTED_ROWS_MAX);
  if (thd->slave_thread || (thd->variables.sql_mode & MODE_IGNORE_BAD_TABLE_OPTIONS))
  {
    push_warning(thd, Sql_condition::WARN_LEVEL_WARN, ER_BAD_OPTION_VALUE, text);
    return false;
  }
  my_message(ER_BAD_OPTION_VALUE, text, MYF(0));
  return true;
}

static ulonglong expected_rows(const HA_CREATE_INFO *create_info)
{
  ulonglong rows;
  if (!parse_expected_rows(create_info->option_struct, &rows) && rows)
    return rows;
  if (create_info->min_rows)
    return create_info->min_rows;
  return MY_MIN(create_info->max_rows, MAX_ROWS_TRUSTED);
}

int ha_blitz::create(const char *name, TABLE *form, HA_CREATE_INFO *create_info)
{
  table_share = form->s;
  if (refuses_keys(form->s))
    return HA_ERR_UNSUPPORTED;
  THD *thd = current_thd;
  if (refuses_expected_rows(thd, form->s, create_info->option_struct))
    return HA_ERR_UNSUPPORTED;
  if (create_info->data_file_name)
    push_warning_printf(thd, Sql_condition::WARN_LEVEL_WARN, WARN_OPTION_IGNORED,
                        "BLITZDB: the option DATA DIRECTORY is ignored");
  if (create_info->index_file_name)
    push_warning_printf(thd, Sql_condition::WARN_LEVEL_WARN, WARN_OPTION_IGNORED,
                        "BLITZDB: the option INDEX DIRECTORY is ignored");
  struct blitz_create_options options;
  memset(&options, 0, sizeof(options));
  options.expected_rows = expected_rows(create_info);
  options.layout = blitz_row_layout(form);
  if (options.layout == 0)
    return HA_ERR_OUT_OF_MEM;
  options.row_ids = !blitz_is_row_key(form->s, 0);
  options.temporary = blitz_is_short_lived(form->s, name);
  enum blitz_rc rc = blitz_table_create(name, &options, true, &m_error);
  if (rc == BLITZ_OK && create_info->auto_increment_value > 1)
  {
    struct blitz_table *created;
    rc = blitz_table_open(name, 0, &created, &m_error);
    if (rc == BLITZ_OK)
    {
      rc = blitz_table_counter_set(created, create_info->auto_increment_value, &m_error);
      blitz_table_close(created);
    }
  }
  if (rc == BLITZ_OK)
    return 0;
  int error = fail(rc);
  print_error(error, MYF(0));
  return error;
}

/* What delete_table() and rename_table(), called on a handler without a table, answer. */
int ha_blitz::files_changed(enum blitz_rc rc)
{
  if (rc == BLITZ_OK)
    return 0;
  if (rc == BLITZ_NOT_FOUND)
    return ENOENT;
  int error = fail(rc);
  print_error(error, MYF(0));
  return error;
}

int ha_blitz::delete_table(const char *name)
{
  return files_changed(blitz_table_drop(name, &m_error));
}

int ha_blitz::rename_table(const char *from, const char *to)
{
  return files_changed(blitz_table_rename(from, to, &m_error));
}

void ha_blitz::update_create_info(HA_CREATE_INFO *create_info)
{
  if (!(create_info->used_fields & HA_CREATE_USED_AUTO))
  {
    info(HA_STATUS_AUTO);
    create_info->auto_increment_value = stats.auto_increment_value;
  }
}

/*
  Changes that the bytes of rows do not depend on need no copy: names, defaults,
  comments, a longer VARCHAR, further values of an ENUM.
*/
bool ha_blitz::check_if_incompatible_data(HA_CREATE_INFO *create_info, uint table_changes)
{
  const uint sizes = HA_CREATE_USED_AUTO | HA_CREATE_USED_MIN_ROWS | HA_CREATE_USED_MAX_ROWS;
  if (table_changes == IS_EQUAL_NO || (create_info->used_fields & sizes))
    return COMPATIBLE_DATA_NO;
  ulonglong old_rows, new_rows;
  if (parse_expected_rows(create_info->option_struct, &new_rows) ||
      parse_expected_rows(table->s->option_struct, &old_rows) || old_rows != new_rows)
    return COMPATIBLE_DATA_NO;
  return COMPATIBLE_DATA_YES;
}

/* A longer VARCHAR: its rows stay as they are while lengths take as many bytes. One that
   is to be compressed, or no more, has other bytes. */
bool ha_blitz::can_convert_nocopy(const Field &field, const Column_definition &new_type) const
{
  return field.type_handler() == &type_handler_varchar &&
         new_type.type_handler() == &type_handler_varchar && !field.compression_method() &&
         !new_type.compression_method() &&
         new_type.charset == field.charset() && new_type.length >= field.field_length &&
         HA_VARCHAR_PACKLENGTH(new_type.length) ==
             static_cast<const Field_varstring &>(field).length_bytes;
}
