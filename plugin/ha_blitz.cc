/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_blitz.cc: opening, creating and dropping tables, locks, figures, and telling
 * users what went wrong; see ha_blitz.h.
 */
#include "ha_blitz.h"

#include <cstdarg>
#include <fcntl.h>
#include <new>
#include <sys/stat.h>

extern "C" int thd_binlog_format(const MYSQL_THD thd);

/* What thd_binlog_format() gives. */
static const int BINLOG_ROWS = 2;
static const int BINLOG_NONE = 3;

/* MAX_ROWS says what may come, not what will: beyond this it sizes nothing. */
static const ulonglong MAX_ROWS_TRUSTED = 1000000;

/* ---- what is common to a table's instances ------------------------------------ */

/* Says that a reader need not wait for a writer; see the rules in ha_blitz.h. */
static my_bool writer_leaves_readers_alone(void *)
{
  return FALSE;
}

Blitz_share::Blitz_share()
{
  thr_lock_init(&lock);
  lock.check_status = writer_leaves_readers_alone;
}

Blitz_share::~Blitz_share()
{
  thr_lock_delete(&lock);
}

Blitz_share *ha_blitz::get_share()
{
  lock_shared_ha_data();
  Blitz_share *share = static_cast<Blitz_share *>(get_ha_share_ptr());
  if (share == NULL)
  {
    share = new (std::nothrow) Blitz_share;
    if (share)
      set_ha_share_ptr(share);
  }
  unlock_shared_ha_data();
  return share;
}

/* ---- abilities -------------------------------------------------------------------- */

ha_blitz::ha_blitz(handlerton *hton, TABLE_SHARE *share) : handler(hton, share)
{
  ref_length = 8;
  memset(&m_error, 0, sizeof(m_error));
}

ha_blitz::~ha_blitz()
{
}

/*
  HA_STATS_RECORDS_IS_EXACT is left out though the count is exact: with it the
  optimizer reads a table of one row as a constant, and a row committed between
  its look at the count and the read could then take the place of the other.
  HA_HAS_RECORDS gives COUNT(*) at once all the same. HA_NULL_IN_KEY is there so
  that create() refuses such keys in words of its own.
*/
handler::Table_flags ha_blitz::table_flags() const
{
  return HA_NO_TRANSACTIONS | HA_REC_NOT_IN_SEQ | HA_CAN_GEOMETRY | HA_CAN_INDEX_BLOBS |
         HA_CAN_SQL_HANDLER | HA_FILE_BASED | HA_CAN_BIT_FIELD | HA_HAS_RECORDS |
         HA_BINLOG_ROW_CAPABLE | HA_BINLOG_STMT_CAPABLE | HA_CAN_VIRTUAL_COLUMNS |
         HA_CAN_TABLES_WITHOUT_ROLLBACK | HA_NULL_IN_KEY | HA_CAN_REPAIR;
}

/* No order, no ranges, no parts of a key: the optimizer asks for whole keys only. */
ulong ha_blitz::index_flags(uint, uint, bool) const
{
  return HA_ONLY_WHOLE_INDEX | HA_KEY_SCAN_NOT_ROR;
}

/* ---- errors ------------------------------------------------------------------------ */

const char *ha_blitz::shown_name(char *buffer, size_t size) const
{
  const TABLE_SHARE *share = table_share;
  if (share == NULL || share->table_name.str == NULL)
    return "";
  my_snprintf(buffer, size, "table %s.%s: ", share->db.str ? share->db.str : "",
              share->table_name.str);
  return buffer;
}

int ha_blitz::fail(enum blitz_rc rc)
{
  m_dup_key = rc == BLITZ_DUPLICATE ? 0 : (uint) -1;
  m_error.rc = rc;
  m_user_error = blitz_user_error(rc);
  m_error_number = blitz_ha_error(rc, m_error.sys_errno);
  return m_error_number;
}

int ha_blitz::fail_with(enum blitz_rc rc, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  vsnprintf(m_error.text, sizeof(m_error.text), format, args);
  va_end(args);
  m_error.sys_errno = 0;
  return fail(rc);
}

/* Reports a failure of the engine in its own words, any other in the server's. */
void ha_blitz::print_error(int error, myf errflag)
{
  if (m_error_number == 0 || error != m_error_number || m_user_error == 0)
  {
    handler::print_error(error, errflag);
    return;
  }
  m_error_number = 0;
  char name[NAME_LEN * 2 + 16];
  const char *text = m_error.text[0] ? m_error.text : blitz_rc_name(m_error.rc);
  if (blitz_error_is_serious(m_error.rc))
    errflag |= ME_ERROR_LOG;
  my_printf_error(m_user_error, "BLITZDB: %s%s", MYF(errflag), shown_name(name, sizeof(name)),
                  text);
}

bool ha_blitz::get_error_message(int error, String *buf)
{
  if (m_error_number != 0 && error == m_error_number)
    buf->append(m_error.text, strlen(m_error.text));
  return false;
}

/* ---- open and close --------------------------------------------------------------- */

/* Nothing of a temporary table need reach the disk. The new copy that ALTER TABLE
   makes looks temporary too, but is going to be the table. */
static bool is_short_lived(const TABLE_SHARE *share, const char *name)
{
  return share->tmp_table != NO_TMP_TABLE && strstr(name, "#sql-temptable") != NULL;
}

/* Opens the file and a cursor on it. */
int ha_blitz::open_file(unsigned flags)
{
  enum blitz_rc rc = blitz_table_open(m_path.c_str(), flags, &m_table, &m_error);
  if (rc == BLITZ_NOT_FOUND)
  {
    fail_with(rc, "its file %s%s is missing: restore it from a backup, or drop the table",
              m_path.c_str(), BLITZ_FILE_EXT);
    m_user_error = ER_FILE_NOT_FOUND;
    return m_error_number = ENOENT;
  }
  if (rc != BLITZ_OK)
    return fail(rc);
  rc = blitz_cursor_open(m_table, NULL, &m_cursor);
  if (rc == BLITZ_OK)
    return 0;
  close_file();
  return fail_with(rc, "no memory to open the table");
}

void ha_blitz::close_file()
{
  blitz_cursor_close(m_cursor);
  m_cursor = NULL;
  m_cursor_txn = NULL;
  m_change = NULL;
  if (m_table)
    blitz_table_close(m_table);
  m_table = NULL;
}

/* Makes plans and buffers; true: out of memory. */
bool ha_blitz::make_plans(const char *name)
{
  try
  {
    m_path = name;
  }
  catch (const std::bad_alloc &)
  {
    return true;
  }
  m_is_sequence = table_share->table_type == TABLE_TYPE_SEQUENCE;
  m_columns_changed = true;
  if (m_rows.init(table))
    return true;
  if (!has_key())
    return false;
  if (m_keys.init(table, table->key_info))
    return true;
  m_key_buffer.reset(new (std::nothrow) uchar[m_keys.buffer_size()]);
  return !m_key_buffer;
}

int ha_blitz::open(const char *name, int mode, uint test_if_locked)
{
  m_share = get_share();
  if (m_share == NULL || make_plans(name))
    return HA_ERR_OUT_OF_MEM;
  m_open_flags = mode == O_RDONLY ? (unsigned) BLITZ_OPEN_READONLY : 0;
  if (is_short_lived(table_share, name))
    m_open_flags |= BLITZ_OPEN_TEMPORARY;
  int error = open_file(m_open_flags);
  /* CHECK TABLE opens so too, and is to tell of the damage. */
  if (error == HA_ERR_CRASHED && (test_if_locked & HA_OPEN_FOR_REPAIR) &&
      thd_sql_command(ha_thd()) == SQLCOM_REPAIR)
    error = open_file(m_open_flags | BLITZ_OPEN_REPAIR);
  if (error)
    return error;
  thr_lock_data_init(&m_share->lock, &m_lock, NULL);
  m_share->handlers++;
  info(HA_STATUS_NO_LOCK | HA_STATUS_VARIABLE | HA_STATUS_CONST);
  return 0;
}

int ha_blitz::close()
{
  /* A change is left only if the statement failed, or drops its temporary table. */
  if (--m_share->handlers == 0 && m_table)
    blitz_session_forget(current_thd, ht, m_table);
  close_file();
  m_row_buffer.reset();
  m_row_buffer_size = 0;
  m_key_buffer.reset();
  return 0;
}

/* ---- create, drop, rename ----------------------------------------------------------- */

/* Why the engine cannot have KEY, the first one if IS_FIRST; NULL: it can. */
static const char *key_objection(const KEY *key, bool is_first)
{
  if (key->algorithm == HA_KEY_ALG_FULLTEXT || (key->flags & HA_FULLTEXT))
    return "there are no FULLTEXT keys: leave the key out or use another engine";
  if (key->algorithm == HA_KEY_ALG_RTREE || (key->flags & HA_SPATIAL))
    return "there are no SPATIAL keys: leave the key out or use another engine";
  if (!is_first || !(key->flags & HA_NOSAME) || key->algorithm == HA_KEY_ALG_LONG_HASH)
    return "this version has no keys beside the primary key: leave the key out or use another "
           "engine";
  if (key->without_overlaps)
    return "there is no WITHOUT OVERLAPS: leave it out or use another engine";
  if (key->algorithm == HA_KEY_ALG_BTREE)
    return "this version has no ordered keys: leave USING BTREE out, or say USING HASH";
  for (uint part_no = 0; part_no < key->user_defined_key_parts; part_no++)
    if (key->key_part[part_no].field->real_maybe_null())
      return "a unique key with a column that may be NULL is not supported by this version: make "
             "the column NOT NULL, leave the key out or use another engine";
  return NULL;
}

static int refuse_keys(const TABLE *form)
{
  for (uint key_no = 0; key_no < form->s->keys; key_no++)
  {
    const KEY *key = form->key_info + key_no;
    const char *objection = key_objection(key, key_no == 0);
    if (objection == NULL)
      continue;
    my_printf_error(ER_CHECK_NOT_IMPLEMENTED, "BLITZDB: table %s.%s, key '%s': %s", MYF(0),
                    form->s->db.str, form->s->table_name.str, key->name.str, objection);
    return HA_ERR_UNSUPPORTED;
  }
  return 0;
}

static ulonglong expected_rows(const HA_CREATE_INFO *create_info)
{
  if (create_info->option_struct && create_info->option_struct->expected_rows)
    return create_info->option_struct->expected_rows;
  if (create_info->min_rows)
    return create_info->min_rows;
  return MY_MIN(create_info->max_rows, MAX_ROWS_TRUSTED);
}

int ha_blitz::create(const char *name, TABLE *form, HA_CREATE_INFO *create_info)
{
  table_share = form->s;
  if (int error = refuse_keys(form))
    return error;
  THD *thd = current_thd;
  if (create_info->data_file_name)
    push_warning_printf(thd, Sql_condition::WARN_LEVEL_WARN, WARN_OPTION_IGNORED,
                        "BLITZDB: the option DATA DIRECTORY is ignored");
  if (create_info->index_file_name)
    push_warning_printf(thd, Sql_condition::WARN_LEVEL_WARN, WARN_OPTION_IGNORED,
                        "BLITZDB: the option INDEX DIRECTORY is ignored");
  struct blitz_create_options options;
  memset(&options, 0, sizeof(options));
  options.expected_rows = expected_rows(create_info);
  options.row_ids = form->s->keys == 0;
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
  const ha_table_option_struct *old_options = table->s->option_struct;
  const ha_table_option_struct *new_options = create_info->option_struct;
  if (old_options && new_options && old_options->expected_rows != new_options->expected_rows)
    return COMPATIBLE_DATA_NO;
  return COMPATIBLE_DATA_YES;
}

/* ---- locks and statements -------------------------------------------------------------- */

/* Statements that work on whole tables, and get the locks that they ask for. */
static bool keeps_locks(int command)
{
  switch (command)
  {
  case SQLCOM_LOCK_TABLES:
  case SQLCOM_ALTER_TABLE:
  case SQLCOM_CREATE_INDEX:
  case SQLCOM_DROP_INDEX:
  case SQLCOM_TRUNCATE:
  case SQLCOM_OPTIMIZE:
  case SQLCOM_REPAIR:
  case SQLCOM_CHECK:
  case SQLCOM_CHECKSUM:
  case SQLCOM_ANALYZE:
    return true;
  default:
    return false;
  }
}

/*
  The lock to ask for instead of TYPE.

  Writers ask for a lock that plain readers pass by. A statement that reads one
  table to write another reads a state that does not change under it, so it need
  not keep writers out either, unless it is going to the binary log as a statement:
  then it must be done again there in the same place among the writers.
*/
static thr_lock_type weaker_lock(THD *thd, thr_lock_type type)
{
  int command = thd_sql_command(thd);
  if (keeps_locks(command))
    return command == SQLCOM_LOCK_TABLES && type == TL_READ ? TL_READ_NO_INSERT : type;
  if (type >= TL_FIRST_WRITE && type <= TL_WRITE && !thd_tablespace_op(thd))
    return TL_WRITE_CONCURRENT_INSERT;
  int binlog = thd_binlog_format(thd);
  if (type == TL_READ_NO_INSERT && (binlog == BINLOG_ROWS || binlog == BINLOG_NONE))
    return TL_READ;
  return type;
}

THR_LOCK_DATA **ha_blitz::store_lock(THD *thd, THR_LOCK_DATA **to, enum thr_lock_type lock_type)
{
  if (lock_type != TL_IGNORE && m_lock.type == TL_UNLOCK)
    m_lock.type = weaker_lock(thd, lock_type);
  *to++ = &m_lock;
  return to;
}

/* Statements end in reset(): after this call the server may still use BLOBs. */
int ha_blitz::external_lock(THD *, int)
{
  return 0;
}

/* The end of a statement, or of one inside a function. */
int ha_blitz::reset()
{
  if (m_cursor_txn)
    blitz_cursor_set_txn(m_cursor, NULL);
  m_cursor_txn = NULL;
  if (m_cursor) /* there is none if REPAIR TABLE failed */
    blitz_cursor_reset(m_cursor);
  m_change = NULL;
  m_columns_changed = true;
  m_error_number = 0;
  end_bulk_insert();
  return 0;
}

int ha_blitz::extra(enum ha_extra_function operation)
{
  if (operation != HA_EXTRA_FLUSH)
    return 0;
  enum blitz_rc rc = blitz_table_sync(m_table, &m_error);
  return rc == BLITZ_OK ? 0 : fail(rc);
}

/* ---- figures ------------------------------------------------------------------------------ */

/* When the file was made, which not every file system knows, and changed. */
void ha_blitz::info_times()
{
  char path[FN_REFLEN];
  struct statx file;
  fn_format(path, table_share->normalized_path.str, "", BLITZ_FILE_EXT, MY_UNPACK_FILENAME);
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
    stats.index_file_length = 0;
    uint64_t per_row = figures.row_count ? figures.data_len / figures.row_count : 0;
    stats.mean_rec_length = (ulong) MY_MIN(per_row, (uint64_t) UINT_MAX32);
  }
  if (flag & HA_STATUS_CONST)
  {
    stats.max_data_file_length = 0;
    stats.block_size = 4096;
    for (uint key_no = 0; key_no < table_share->keys; key_no++)
    {
      KEY *key = table->key_info + key_no;
      if (key->rec_per_key)
        key->rec_per_key[key->user_defined_key_parts - 1] = 1;
    }
  }
  if (flag & HA_STATUS_TIME)
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
