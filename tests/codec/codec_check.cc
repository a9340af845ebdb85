/* SPDX-License-Identifier: GPL-2.0-only
 *
 * codec_check.cc: a plugin for tests, with two tables in INFORMATION_SCHEMA:
 *
 *   BLITZ_CHECK_COLLATIONS   a row for each collation there is
 *   BLITZ_CHECK_KEYS         a row for each index of the tables that are in the same
 *                            FROM clause
 *
 * Reading them makes the checks; FAILURES should be 0 in each row.
 */
#include "codec_check.h"

#include <sql_class.h>
#include <sql_show.h>
#include <sql_i_s.h>
#include <table.h>

#include <vector>

static const uint RANDOM_COUNT = 300;

namespace Show
{
static ST_FIELD_INFO collation_fields[] = {
  Column("COLLATION_NAME", Varchar(64), NOT_NULL), Column("STRINGS", ULonglong(), NOT_NULL),
  Column("PAIRS", ULonglong(), NOT_NULL), Column("FAILURES", ULonglong(), NOT_NULL),
  Column("EXAMPLE", Varchar(2000), NOT_NULL), CEnd()};

static ST_FIELD_INFO key_fields[] = {
  Column("KEY_NAME", Varchar(200), NOT_NULL), Column("STRINGS", ULonglong(), NOT_NULL),
  Column("PAIRS", ULonglong(), NOT_NULL), Column("FAILURES", ULonglong(), NOT_NULL),
  Column("EXAMPLE", Varchar(2000), NOT_NULL), CEnd()};
} // namespace Show

static int store_result(THD *thd, TABLE *table, const char *name, const Check_result &result)
{
  CHARSET_INFO *cs = &my_charset_utf8mb3_general_ci;
  table->field[0]->store(name, strlen(name), cs);
  table->field[1]->store((longlong) result.strings, true);
  table->field[2]->store((longlong) result.pairs, true);
  table->field[3]->store((longlong) result.failures, true);
  table->field[4]->store(result.example.data(), result.example.size(), cs);
  return schema_table_store_record(thd, table);
}

static int fill_collations(THD *thd, TABLE_LIST *tables, COND *)
{
  for (uint id = 1; id < MY_ALL_CHARSETS_SIZE && !thd->killed; id++)
  {
    CHARSET_INFO *cs = get_charset(id, MYF(0));
    /* The file names' one is not for columns, and has no spaces. */
    if (cs == NULL || strcmp(cs->cs_name.str, "filename") == 0)
      continue;
    Check_result result;
    check_collation(cs, RANDOM_COUNT, &result);
    if (store_result(thd, tables->table, cs->coll_name.str, result))
      return 1;
  }
  return 0;
}

static int fill_keys(THD *thd, TABLE_LIST *tables, COND *)
{
  for (TABLE *table = thd->open_tables; table; table = table->next)
  {
    for (uint key_no = 0; key_no < table->s->keys; key_no++)
    {
      for (Key_codec::Use use : {Key_codec::INDEX_KEY, Key_codec::ROW_KEY})
      {
        if (use == Key_codec::ROW_KEY && key_no != table->s->primary_key)
          continue;
        Check_result result;
        if (check_key(table, key_no, use, &result))
          return 1;
        std::string name = std::string(table->s->table_name.str) + "." +
                           table->key_info[key_no].name.str +
                           (use == Key_codec::ROW_KEY ? " as row key" : "");
        if (store_result(thd, tables->table, name.c_str(), result))
          return 1;
      }
    }
  }
  return 0;
}

static int init_collations(void *arg)
{
  ST_SCHEMA_TABLE *schema = static_cast<ST_SCHEMA_TABLE *>(arg);
  schema->fields_info = Show::collation_fields;
  schema->fill_table = fill_collations;
  return 0;
}

static int init_keys(void *arg)
{
  ST_SCHEMA_TABLE *schema = static_cast<ST_SCHEMA_TABLE *>(arg);
  schema->fields_info = Show::key_fields;
  schema->fill_table = fill_keys;
  return 0;
}

static struct st_mysql_information_schema interface = {MYSQL_INFORMATION_SCHEMA_INTERFACE_VERSION};

maria_declare_plugin(codec_check)
{
  MYSQL_INFORMATION_SCHEMA_PLUGIN, &interface, "BLITZ_CHECK_COLLATIONS", "BlitzDB",
  "Checks of key_string", PLUGIN_LICENSE_GPL, init_collations, NULL, 0x0001, NULL, NULL, "0.1",
  MariaDB_PLUGIN_MATURITY_EXPERIMENTAL
},
{
  MYSQL_INFORMATION_SCHEMA_PLUGIN, &interface, "BLITZ_CHECK_KEYS", "BlitzDB",
  "Checks of key_codec", PLUGIN_LICENSE_GPL, init_keys, NULL, 0x0001, NULL, NULL, "0.1",
  MariaDB_PLUGIN_MATURITY_EXPERIMENTAL
}
maria_declare_plugin_end;
