/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_blitz.cc: opening and closing tables, locks, and telling users what went
 * wrong; see ha_blitz.h.
 */
#include "ha_blitz.h"
#include "fingerprint.h"

#include <cstdarg>
#include <fcntl.h>
#include <new>
#include <sql_class.h>

extern "C" int thd_binlog_format(const MYSQL_THD thd);

/* What thd_binlog_format() gives. */
static const int BINLOG_ROWS = 2;
static const int BINLOG_NONE = 3;

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
  m_added.count = 0;
}

ha_blitz::~ha_blitz()
{
}

/*
  HA_STATS_RECORDS_IS_EXACT is left out though the count is exact: with it the
  optimizer reads a table of one row as a constant, and a row committed between
  its look at the count and the read could then take the place of the other.
  HA_HAS_RECORDS gives COUNT(*) at once all the same. HA_CAN_HASH_KEYS keeps the
  server from making UNIQUE ... USING HASH something else than a key.

  That the primary key is had with every key is known when the table is open.
*/
handler::Table_flags ha_blitz::table_flags() const
{
  Table_flags by_keys = m_decodes_row_key ? HA_PRIMARY_KEY_IN_READ_INDEX : 0;
  return by_keys | HA_NO_TRANSACTIONS | HA_REC_NOT_IN_SEQ | HA_CAN_GEOMETRY | HA_CAN_INDEX_BLOBS |
         HA_CAN_SQL_HANDLER | HA_FILE_BASED | HA_CAN_BIT_FIELD | HA_HAS_RECORDS |
         HA_BINLOG_ROW_CAPABLE | HA_BINLOG_STMT_CAPABLE | HA_CAN_VIRTUAL_COLUMNS |
         HA_CAN_TABLES_WITHOUT_ROLLBACK | HA_NULL_IN_KEY | HA_CAN_REPAIR | HA_CAN_HASH_KEYS |
         HA_AUTO_PART_KEY;
}

/*
  Rows with equal keys in an index do not come in the order of positions. Which columns
  an entry gives back is known when the table is open: see plan_index_reads().
*/
ulong ha_blitz::index_flags(uint key_no, uint, bool all_parts) const
{
  if (!blitz_is_ordered(table_share, key_no))
    return hash_flags(all_parts);
  return HA_READ_NEXT | HA_READ_PREV | HA_READ_ORDER | HA_READ_RANGE | HA_KEYREAD_ONLY |
         HA_DO_INDEX_COND_PUSHDOWN | HA_KEY_SCAN_NOT_ROR;
}

const char *ha_blitz::index_type(uint key_no)
{
  return blitz_is_ordered(table_share, key_no) ? "BTREE" : "HASH";
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
  m_dup_key = rc == BLITZ_DUPLICATE ? m_keys.key_of(m_error.index_no) : (uint) -1;
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

bool blitz_is_short_lived(const TABLE_SHARE *share, const char *name)
{
  return share->tmp_table != NO_TMP_TABLE && strstr(name, "#sql-temptable") != NULL;
}

/* Of recovery and repair. */
bool ha_blitz::show_progress(void *arg, uint64_t done, uint64_t total)
{
  THD *thd = static_cast<THD *>(arg);
  if (thd == NULL)
    return true;
  thd_progress_report(thd, done, total);
  return thd_killed(thd) == 0;
}

/* Opens the file and a cursor on it. */
int ha_blitz::open_file(unsigned flags)
{
  struct blitz_open_options options;
  memset(&options, 0, sizeof(options));
  options.flags = flags;
  if (table->s->option_struct && table->s->option_struct->crash_safe)
    options.flags |= BLITZ_OPEN_CRASH_SAFE;
  if (has_key() && m_keys.row_key().counts_chars())
    options.flags |= BLITZ_OPEN_NO_CONVERT; /* before format version 3, it did not */
  options.layout = m_layout;
  options.indexes = m_keys.count() > 0 ? m_keys.ids() : NULL;
  options.indexer = m_keys.indexer();
  options.progress = show_progress;
  options.progress_arg = current_thd;
  enum blitz_rc rc = blitz_table_open_with(m_path.c_str(), &options, &m_table, &m_error);
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
  if (m_cursor && current_thd)
    blitz_session_unlocked(current_thd, ht);
  blitz_cursor_close(m_cursor);
  m_cursor = NULL;
  m_cursor_txn = NULL;
  if (m_change && m_change->serial == m_change_serial && m_change->indexer == m_keys.indexer())
    m_change->indexer = NULL;
  m_change = NULL;
  if (m_table)
    blitz_table_close(m_table);
  m_table = NULL;
}

/* Makes plans and buffers; true: out of memory. */
bool ha_blitz::make_plans(const char *name)
{
  m_is_sequence = table_share->table_type == TABLE_TYPE_SEQUENCE;
  m_columns_changed = true;
  blitz_spell_out_row_key(table);
  m_layout = blitz_row_layout(table);
  if (m_layout == 0 || m_rows.init(table) || m_keys.init(table))
    return true;
  try
  {
    m_path = name;
    if (has_key())
      m_key_buffer.reset(new uchar[m_keys.row_key().buffer_size()]);
    size_t size = 0;
    for (uint index_no = 0; index_no < m_keys.count(); index_no++)
      set_if_bigger(size, m_keys.codec(index_no).buffer_size());
    if (size > 0)
    {
      m_search.reset(new uchar[size]);
      m_end.reset(new uchar[size]);
    }
  }
  catch (const std::bad_alloc &)
  {
    return true;
  }
  plan_index_reads();
  return false;
}

int ha_blitz::open(const char *name, int mode, uint test_if_locked)
{
  m_share = get_share();
  if (m_share == NULL || make_plans(name))
    return HA_ERR_OUT_OF_MEM;
  m_open_flags = mode == O_RDONLY ? (unsigned) BLITZ_OPEN_READONLY : 0;
  if (blitz_is_short_lived(table_share, name))
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
  m_batch.reset();
  m_duplicate.reset();
  return 0;
}

/* A second position in the same rows, so that positions of either are good in both. */
handler *ha_blitz::clone(const char *, MEM_ROOT *mem_root)
{
  ha_blitz *other = static_cast<ha_blitz *>(handler::clone(m_path.c_str(), mem_root));
  if (other)
    blitz_cursor_follow(other->m_cursor, m_cursor);
  return other;
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

/* Statements end in reset(): after this call the server may still use BLOBs. Not those of
   HANDLER, which keep their place for a statement that may come in an hour. Why some begin
   here: see session.h. */
int ha_blitz::external_lock(THD *thd, int lock_type)
{
  if (lock_type == F_WRLCK && thd->lex->requires_prelocking())
    blitz_session_register(thd, ht);
  if (m_cursor == NULL)
    return 0;
  if (lock_type != F_UNLCK)
    return lock_type == F_RDLCK
               ? blitz_session_to_read(thd, ht, m_cursor)
               : blitz_session_to_change(thd, ht, &m_lock, &m_share->changing);
  blitz_session_unlocked(thd, ht);
  if (thd_sql_command(thd) == SQLCOM_HA_READ)
    blitz_cursor_rest(m_cursor);
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
  m_entry_only = false;
  m_off_index = false;
  m_loading = false; /* the session ends what the statement left unfinished */
  m_meets_duplicates = false;
  end_bulk_insert();
  return 0;
}

int ha_blitz::extra(enum ha_extra_function operation)
{
  switch (operation)
  {
  case HA_EXTRA_IGNORE_DUP_KEY:
  case HA_EXTRA_WRITE_CAN_REPLACE:
  case HA_EXTRA_INSERT_WITH_UPDATE:
    m_meets_duplicates = true;
    return 0;
  case HA_EXTRA_NO_IGNORE_DUP_KEY:
  case HA_EXTRA_WRITE_CANNOT_REPLACE:
    m_meets_duplicates = false;
    return 0;
  case HA_EXTRA_FLUSH:
    break;
  default:
    return 0;
  }
  enum blitz_rc rc = blitz_table_sync(m_table, &m_error);
  return rc == BLITZ_OK ? 0 : fail(rc);
}
