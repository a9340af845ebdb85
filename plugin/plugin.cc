/* SPDX-License-Identifier: GPL-2.0-only
 *
 * plugin.cc: what the server loads: the engine's declaration, its variables,
 * status figures and table options, and its voice in the server's log.
 */
#include "ha_blitz.h"
#include "strays.h"

#include <cstddef>
#include <dirent.h>
#include <mysqld.h>
#include <new>
#include <unistd.h>

extern void sql_print_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void sql_print_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void sql_print_information(const char *format, ...) __attribute__((format(printf, 1, 2)));

handlerton *blitz_hton;

/* ---- variables ------------------------------------------------------------ */

static MYSQL_THDVAR_UINT(lock_wait_timeout, PLUGIN_VAR_RQCMDARG,
                         "How many seconds a change waits for a transaction that is changing the "
                         "same table before it gives up with error 1205",
                         NULL, NULL, 50, 0, 365 * 24 * 3600, 0);

static const char *primary_key_names[] = {"HASH", "BTREE", NullS};
static TYPELIB primary_key_typelib = {array_elements(primary_key_names) - 1, "", primary_key_names,
                                      NULL};

static MYSQL_THDVAR_ENUM(default_primary_key, PLUGIN_VAR_RQCMDARG,
                         "What PRIMARY KEY without a USING clause means in a table that is "
                         "created: BTREE, rows are found by the whole key in one look-up, and by "
                         "an ordered index as well; HASH, there is no such index",
                         NULL, NULL, PRIMARY_KEY_BTREE, &primary_key_typelib);

static MYSQL_THDVAR_BOOL(default_crash_safe, PLUGIN_VAR_RQCMDARG,
                         "What is meant by CREATE TABLE without CRASH_SAFE: ON, a statement "
                         "returns when its changes are on the device, so that nothing is lost "
                         "when the machine dies; OFF, at most the last second is",
                         NULL, NULL, 0);

static unsigned long long log_size;
static MYSQL_SYSVAR_ULONGLONG(log_size, log_size, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
                              "Bytes of the log of all changes (blitz_log.*). A start after a crash "
                              "reads so much at most, but for a statement that is larger; a larger "
                              "log means fewer checkpoints",
                              NULL, NULL, 256ULL << 20, 4ULL << 20, 1ULL << 40, 1 << 20);

static unsigned long long write_buffer_size;
static void update_write_buffer_size(MYSQL_THD, struct st_mysql_sys_var *, void *, const void *);

static MYSQL_SYSVAR_ULONGLONG(write_buffer_size, write_buffer_size, PLUGIN_VAR_RQCMDARG,
                              "Memory for pages of tables that have changed. At half of it they are "
                              "written to the files in the background",
                              NULL, update_write_buffer_size, 256ULL << 20, 4ULL << 20, 1ULL << 40,
                              1 << 20);

static unsigned long long sort_buffer_size;
static void update_sort_buffer_size(MYSQL_THD, struct st_mysql_sys_var *, void *, const void *);

static MYSQL_SYSVAR_ULONGLONG(sort_buffer_size, sort_buffer_size, PLUGIN_VAR_RQCMDARG,
                              "Memory for sorting the entries of one index when it is made; what "
                              "does not fit goes to files in tmpdir",
                              NULL, update_sort_buffer_size, 64ULL << 20, 1ULL << 20, 1ULL << 40,
                              1 << 20);

static struct st_mysql_sys_var *system_variables[] = {
    MYSQL_SYSVAR(default_crash_safe),
    MYSQL_SYSVAR(default_primary_key),
    MYSQL_SYSVAR(lock_wait_timeout),
    MYSQL_SYSVAR(log_size),
    MYSQL_SYSVAR(sort_buffer_size),
    MYSQL_SYSVAR(write_buffer_size),
    NULL,
};

static void update_write_buffer_size(MYSQL_THD, struct st_mysql_sys_var *, void *to,
                                     const void *from)
{
  write_buffer_size = *static_cast<const unsigned long long *>(from);
  *static_cast<unsigned long long *>(to) = write_buffer_size;
  blitz_set_memory(write_buffer_size);
}

/* Of several directories for temporary files, the first one. */
static enum blitz_rc set_sort(size_t bytes)
{
  return blitz_set_sort(mysql_tmpdir, bytes);
}

static void update_sort_buffer_size(MYSQL_THD, struct st_mysql_sys_var *, void *to,
                                    const void *from)
{
  unsigned long long bytes = *static_cast<const unsigned long long *>(from);
  if (set_sort(bytes) == BLITZ_OK)
    *static_cast<unsigned long long *>(to) = bytes;
  else
    my_error(ER_OUT_OF_RESOURCES, MYF(0));
}

unsigned blitz_lock_wait_timeout(THD *thd)
{
  return THDVAR(thd, lock_wait_timeout);
}

/* ---- status ------------------------------------------------------------------ */

static const struct
{
  const char *name;
  size_t off;
} counter_names[] = {
    {"commits", offsetof(struct blitz_counters, commits)},
    {"rollbacks", offsetof(struct blitz_counters, rollbacks)},
    {"rows_inserted", offsetof(struct blitz_counters, rows_inserted)},
    {"rows_updated", offsetof(struct blitz_counters, rows_updated)},
    {"rows_removed", offsetof(struct blitz_counters, rows_removed)},
    {"read_retries", offsetof(struct blitz_counters, read_retries)},
    {"write_waits", offsetof(struct blitz_counters, write_waits)},
    {"bucket_splits", offsetof(struct blitz_counters, bucket_splits)},
    {"rows_moved", offsetof(struct blitz_counters, rows_moved)},
    {"bytes_allocated", offsetof(struct blitz_counters, bytes_allocated)},
    {"recoveries", offsetof(struct blitz_counters, recoveries)},
    {"index_merges", offsetof(struct blitz_counters, index_merges)},
    {"index_rebuilds", offsetof(struct blitz_counters, index_rebuilds)},
    {"index_lookups", offsetof(struct blitz_counters, index_lookups)},
    {"index_misses", offsetof(struct blitz_counters, index_misses)},
    {"checkpoints", offsetof(struct blitz_counters, checkpoints)},
    {"checkpoint_waits", offsetof(struct blitz_counters, checkpoint_waits)},
    {"pages_written", offsetof(struct blitz_counters, pages_written)},
    {"log_bytes_written", offsetof(struct blitz_counters, log_bytes_written)},
    {"log_syncs", offsetof(struct blitz_counters, log_syncs)},
};

/* What show_counters() builds in the buffer that the server gives it. */
struct Shown_counters
{
  struct blitz_counters counters;
  SHOW_VAR variables[array_elements(counter_names) + 1];
};
static_assert(sizeof(Shown_counters) <= SHOW_VAR_FUNC_BUFF_SIZE, "the server's buffer");

static int show_counters(MYSQL_THD, SHOW_VAR *var, void *buffer, struct system_status_var *,
                         enum enum_var_type)
{
  Shown_counters *shown = new (buffer) Shown_counters();
  blitz_counters_get(&shown->counters);
  SHOW_VAR *variable = shown->variables;
  for (auto &counter : counter_names)
  {
    variable->name = counter.name;
    variable->value = reinterpret_cast<char *>(&shown->counters) + counter.off;
    variable->type = SHOW_LONGLONG;
    variable++;
  }
  var->type = SHOW_ARRAY;
  var->value = shown->variables;
  return 0;
}

static SHOW_VAR status_variables[] = {
    SHOW_FUNC_ENTRY("Blitzdb", &show_counters),
    {NullS, NullS, SHOW_LONG},
};

/* ---- the engine ---------------------------------------------------------------- */

static ha_create_table_option table_options[] = {
    /* About how many rows the table is going to have: it then need not grow. */
    HA_TOPTION_STRING(BLITZ_EXPECTED_ROWS, expected_rows),
    /* See enum blitz_primary_key. The server stores the variable's value with a table
       that is created, unless it is BTREE, which no value means. */
    HA_TOPTION_SYSVAR(BLITZ_DEFAULT_PRIMARY_KEY, default_primary_key, default_primary_key),
    HA_TOPTION_SYSVAR(BLITZ_CRASH_SAFE, crash_safe, default_crash_safe),
    HA_TOPTION_END,
};

/* The rows' file is the second one: REPAIR … USE_FRM saves that and no other. */
static const char *file_extensions[] = {BLITZ_INDEX_FILE_EXT, BLITZ_FILE_EXT, NullS};

static void write_log(enum blitz_log_level level, const char *text)
{
  switch (level)
  {
  case BLITZ_LOG_ERROR:
    sql_print_error("BlitzDB: %s", text);
    break;
  case BLITZ_LOG_WARNING:
    sql_print_warning("BlitzDB: %s", text);
    break;
  case BLITZ_LOG_NOTE:
    sql_print_information("BlitzDB: %s", text);
    break;
  }
}

static handler *create_handler(handlerton *hton, TABLE_SHARE *share, MEM_ROOT *mem_root)
{
  return new (mem_root) ha_blitz(hton, share);
}

static bool ends_with(const char *name, const char *end)
{
  size_t len = strlen(name), end_len = strlen(end);
  return len > end_len && strcmp(name + len - end_len, end) == 0;
}

/*
  Called when a database has no tables any more. Files left over by a crash in the
  middle of CREATE or DROP TABLE would keep its directory from being removed.
*/
static void drop_database(handlerton *, char *path)
{
  DIR *dir = opendir(path);
  if (dir == NULL)
    return;
  while (const struct dirent *entry = readdir(dir))
  {
    char file[FN_REFLEN];
    struct blitz_error error;
    my_snprintf(file, sizeof(file), "%s%s", path, entry->d_name);
    if (ends_with(file, BLITZ_FILE_EXT ".new") || ends_with(file, BLITZ_INDEX_FILE_EXT) ||
        ends_with(file, BLITZ_INDEX_FILE_EXT "-lock"))
    {
      unlink(file);
    }
    else if (ends_with(file, BLITZ_FILE_EXT))
    {
      file[strlen(file) - strlen(BLITZ_FILE_EXT)] = 0;
      if (blitz_table_drop(file, &error) != BLITZ_OK)
        write_log(BLITZ_LOG_WARNING, error.text);
    }
  }
  closedir(dir);
}

/* The server has started, undone what ALTER TABLE had begun before a crash, and is the only
   one in its data directory. */
static int start_up(handlerton *)
{
  blitz_remove_strays(mysql_real_data_home);
  return 0;
}

/* FLUSH ENGINE LOGS, and what a backup calls before it looks at files. */
static bool flush_log(handlerton *)
{
  struct blitz_error error;
  if (blitz_sync(&error) == BLITZ_OK)
    return false;
  write_log(BLITZ_LOG_ERROR, error.text);
  return true;
}

/* Reads the log, and brings tables to their last commit that a crash has left open. The server
   is in its data directory. */
static int start_engine()
{
  struct blitz_start_options options;
  options.dir = ".";
  options.log_limit = log_size;
  options.memory = write_buffer_size;
  struct blitz_error error;
  if (blitz_start(&options, &error) == BLITZ_OK)
    return 0;
  write_log(BLITZ_LOG_ERROR, error.text);
  return 1;
}

static int stop_engine(void *)
{
  blitz_stop();
  return 0;
}

static int init_engine(void *plugin)
{
  blitz_hton = static_cast<handlerton *>(plugin);
  blitz_hton->create = create_handler;
  blitz_hton->drop_database = drop_database;
  blitz_hton->signal_ddl_recovery_done = start_up;
  /* Statements are atomic, transactions of several are not: see docs/MANUAL.md. */
  blitz_hton->flags = HTON_CAN_RECREATE | HTON_NO_ROLLBACK;
  blitz_hton->table_options = table_options;
  blitz_hton->tablefile_extensions = file_extensions;
  blitz_session_init(blitz_hton);
  blitz_hton->flush_logs = flush_log;
  blitz_hton->prepare_for_backup = blitz_backup_begin;
  blitz_hton->end_backup = blitz_backup_end;
  blitz_set_log(write_log);
  return set_sort(sort_buffer_size) == BLITZ_OK ? start_engine() : 1;
}

static struct st_mysql_storage_engine engine = {MYSQL_HANDLERTON_INTERFACE_VERSION};

maria_declare_plugin(blitzdb)
{
  MYSQL_STORAGE_ENGINE_PLUGIN,
  &engine,
  "BLITZDB",
  "The BlitzDB developers",
  "Rows by primary key in one look-up; every statement is all-or-nothing",
  PLUGIN_LICENSE_GPL,
  init_engine,
  stop_engine,
  0x0001,
  status_variables,
  system_variables,
  "0.1",
  MariaDB_PLUGIN_MATURITY_ALPHA
}
maria_declare_plugin_end;
