/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_alter.cc: changing the keys of a table in place, and switching them off and on.
 *
 * Adding a key makes an index from the rows, while others read the table; dropping
 * or renaming one is a matter of the table's definition. What is to be done is found
 * by the ids of the indexes, those of the old definition and of the new one.
 */
#include "ha_blitz.h"
#include "fingerprint.h"

#include <new>
#include <sql_class.h>

extern void sql_print_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- ALTER TABLE --------------------------------------------------------------------- */

namespace
{

/* The indexes that a table has by its new definition and not by its old one. */
class Added_keys
{
public:
  Added_keys() { m_indexer = {asked_for_entry, NULL, show_progress, this}; }

  /* True: out of memory. */
  bool init(TABLE *altered, const struct blitz_indexes *old)
  {
    m_altered = altered;
    m_more.count = 0;
    if (m_keys.init(altered) || m_rows.init(altered))
      return true;
    for (uint index_no = 0; index_no < m_keys.count(); index_no++)
      if (!contains(old, m_keys.ids()->ids[index_no]))
      {
        m_index_nos[m_more.count] = index_no;
        m_more.ids[m_more.count++] = m_keys.ids()->ids[index_no];
      }
    return false;
  }

  void be_strict() { m_keys.be_strict(); }
  const struct blitz_indexes *more() const { return &m_more; }
  const struct blitz_indexer *indexer() const { return &m_indexer; }
  uint key_of(uint position) const { return m_keys.key_of(m_index_nos[position]); }

  /* Puts the row that show_duplicate() got into the table's record, for the message. */
  void unpack_duplicate(uint key_no)
  {
    if (!m_duplicate.empty() &&
        m_rows.decode(m_altered->record[0], {m_duplicate.data(), m_duplicate.size()}) == BLITZ_OK)
      m_keys.compute(key_no);
  }

  static void show_duplicate(void *arg, struct blitz_slice value)
  {
    try
    {
      static_cast<Added_keys *>(arg)->m_duplicate.assign(static_cast<const char *>(value.data),
                                                         value.len);
    }
    catch (const std::bad_alloc &)
    {
      /* The message shows another value. */
    }
  }

private:
  static bool contains(const struct blitz_indexes *indexes, uint64_t id)
  {
    for (unsigned i = 0; i < indexes->count; i++)
      if (indexes->ids[i] == id)
        return true;
    return false;
  }

  static enum blitz_rc asked_for_entry(void *arg, unsigned position, struct blitz_slice value,
                                       struct blitz_index_entry *entry, struct blitz_error *err)
  {
    Added_keys *keys = static_cast<Added_keys *>(arg);
    return keys->m_keys.make_entry(keys->m_index_nos[position], value, entry, err);
  }

  static bool show_progress(void *arg, uint64_t done, uint64_t total)
  {
    return static_cast<Added_keys *>(arg)->m_keys.progress(done, total);
  }

  TABLE *m_altered = NULL;
  Index_keys m_keys;
  Row_codec m_rows;
  struct blitz_indexes m_more;
  uint m_index_nos[BLITZ_INDEXES_MAX];
  struct blitz_indexer m_indexer;
  std::string m_duplicate;
};

} // namespace

/*
  What the server takes for a change of the definition alone is one only if rows are
  read by the new definition as by the old one. Keys other than the rows' own can be
  changed together with it. While an index is made nobody may write; everything else is
  done in a moment.
*/
enum_alter_inplace_result
ha_blitz::check_if_supported_inplace_alter(TABLE *altered_table, Alter_inplace_info *alter_info)
{
  const alter_table_operations changes_of_keys =
      ALTER_ADD_NON_UNIQUE_NON_PRIM_INDEX | ALTER_DROP_NON_UNIQUE_NON_PRIM_INDEX |
      ALTER_ADD_UNIQUE_INDEX | ALTER_DROP_UNIQUE_INDEX | ALTER_ADD_PK_INDEX | ALTER_DROP_PK_INDEX |
      ALTER_INDEX_ORDER | ALTER_COLUMN_INDEX_LENGTH;
  const alter_table_operations asked = alter_info->handler_flags;
  m_added.count = 0;
  Added_keys added;
  uint64_t altered_layout = blitz_row_layout(altered_table);
  if (altered_layout == 0 || added.init(altered_table, m_keys.ids()))
  {
    my_error(ER_OUT_OF_RESOURCES, MYF(0));
    return HA_ALTER_ERROR;
  }
  if (m_layout != altered_layout || ((asked & changes_of_keys) && alter_info->ignore))
    return HA_ALTER_INPLACE_NOT_SUPPORTED;
  alter_info->handler_flags = asked & ~changes_of_keys;
  enum_alter_inplace_result result =
      handler::check_if_supported_inplace_alter(altered_table, alter_info);
  alter_info->handler_flags = asked;
  if (result == HA_ALTER_INPLACE_NOT_SUPPORTED)
    return result;
  if (refuses_keys(altered_table->s))
    return HA_ALTER_ERROR;
  return added.more()->count > 0 ? HA_ALTER_INPLACE_SHARED_LOCK : result;
}

namespace
{

/* While it exists values are checked as when rows are inserted, if the SQL mode is strict. */
class Strict_values
{
public:
  explicit Strict_values(THD *thd)
      : m_thd(thd), m_abort(thd->abort_on_warning), m_check(thd->count_cuted_fields)
  {
    if (!thd->is_strict_mode())
      return;
    thd->abort_on_warning = true;
    thd->count_cuted_fields = CHECK_FIELD_WARN;
  }

  ~Strict_values()
  {
    m_thd->abort_on_warning = m_abort;
    m_thd->count_cuted_fields = m_check;
  }

private:
  THD *m_thd;
  bool m_abort;
  enum_check_fields m_check;
};

} // namespace

bool ha_blitz::inplace_alter_table(TABLE *altered_table, Alter_inplace_info *)
{
  THD *thd = altered_table->in_use;
  Added_keys added;
  m_added.count = 0;
  if (added.init(altered_table, m_keys.ids()))
  {
    my_error(ER_OUT_OF_RESOURCES, MYF(0));
    return true;
  }
  if (added.more()->count == 0)
    return false;
  Progress progress(thd);
  Strict_values strict(thd);
  if (thd->is_strict_mode())
    added.be_strict();
  enum blitz_rc rc = blitz_table_add_indexes(m_table, added.more(), added.indexer(),
                                             Added_keys::show_duplicate, &m_error);
  if (rc == BLITZ_OK)
  {
    m_added = *added.more();
    return false;
  }
  if (rc != BLITZ_DUPLICATE)
  {
    if (!thd->is_error()) /* a computed column has told already */
      print_error(fail(rc), MYF(0));
    return true;
  }
  uint key_no = added.key_of(m_error.index_no);
  added.unpack_duplicate(key_no);
  print_keydup_error(altered_table, altered_table->key_info + key_no, MYF(0));
  return true;
}

/* Whoever opens the table next names the indexes that it is to have; for that nothing is
   left to do, in other partitions neither. */
bool ha_blitz::commit_inplace_alter_table(TABLE *, Alter_inplace_info *alter_info, bool commit)
{
  alter_info->group_commit_ctx = NULL;
  if (!commit && m_added.count > 0 &&
      blitz_table_drop_indexes(m_table, &m_added, &m_error) != BLITZ_OK)
    sql_print_warning("BlitzDB: %s", m_error.text);
  m_added.count = 0;
  return false;
}

/* ---- DISABLE and ENABLE KEYS ---------------------------------------------------------- */

/*
  KEEP are the keys to stay. Unique keys stay, too, as does what the server or the
  engine itself looks things up by: the hash of a long unique key, and the key that
  AUTO_INCREMENT goes by in groups.
*/
int ha_blitz::disable_indexes(key_map keep, bool persist)
{
  if (!persist)
    return HA_ERR_WRONG_COMMAND;
  uint64_t which = 0;
  for (uint index_no = 0; index_no < m_keys.count(); index_no++)
  {
    uint key_no = m_keys.key_of(index_no);
    const KEY *key = table->key_info + key_no;
    if (!keep.is_set(key_no) && !(key->flags & HA_NOSAME) &&
        key->algorithm != HA_KEY_ALG_LONG_HASH && key_no != table_share->next_number_index)
      which |= 1ULL << index_no;
  }
  if (which == 0)
    return 0;
  enum blitz_rc rc = blitz_table_disable_indexes(m_table, which, &m_error);
  if (rc != BLITZ_OK)
    return fail(rc);
  return info(HA_STATUS_CONST);
}

int ha_blitz::enable_indexes(key_map, bool persist)
{
  if (!persist)
    return HA_ERR_WRONG_COMMAND;
  if (!indexes_are_disabled())
    return 0;
  Progress progress(table->in_use);
  enum blitz_rc rc = blitz_table_enable_indexes(m_table, m_keys.indexer(), &m_error);
  if (rc != BLITZ_OK)
    return fail(rc);
  sample_keys(KEY_SAMPLE_SIZE);
  return info(HA_STATUS_CONST);
}

int ha_blitz::indexes_are_disabled()
{
  return m_keys.count() > 0 && blitz_table_disabled_indexes(m_table) != 0;
}
