/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_keys.cc: what an index holds of a row; see index_keys.h.
 */
#include "index_keys.h"

#include <cstdarg>
#include <new>
#include <string>
#include <sql_class.h>
#include <create_options.h>

#include "fingerprint.h"
#include "options.h"

/* Goes up whenever entries are encoded in another way. */
static const unsigned ENTRY_VERSION = 2;

/* The least room for a payload, so that it is not made again for each longer one. */
static const size_t PAYLOAD_MIN = 1024;

/* ---- which keys are what ------------------------------------------------------ */

bool blitz_is_row_key(const TABLE_SHARE *share, uint key_no)
{
  return key_no == 0 && share->keys > 0 &&
         my_strcasecmp(system_charset_info, share->key_info[0].name.str, "PRIMARY") == 0;
}

bool blitz_is_ordered(const TABLE_SHARE *share, uint key_no)
{
  if (!blitz_is_row_key(share, key_no))
    return true;
  switch (share->key_info[key_no].algorithm)
  {
  case HA_KEY_ALG_BTREE:
    return true;
  case HA_KEY_ALG_UNDEF:
    return !share->option_struct || share->option_struct->default_primary_key == PRIMARY_KEY_BTREE;
  default:
    return false;
  }
}

static bool is_default_primary_key(const engine_option_value *option)
{
  return my_strcasecmp(system_charset_info, option->name.str, BLITZ_DEFAULT_PRIMARY_KEY) == 0;
}

/*
  Whoever reads the list has opened the table, and so nobody does while an option goes.
  The struct of the options' values stays as it is.
*/
void blitz_spell_out_row_key(TABLE *table)
{
  TABLE_SHARE *share = table->s;
  if (!blitz_is_row_key(share, 0))
    return;
  KEY *key = table->key_info;
  if (key->algorithm == HA_KEY_ALG_UNDEF && !blitz_is_ordered(share, 0))
    key->algorithm = HA_KEY_ALG_HASH;
  bool is_shared = share->tmp_table == NO_TMP_TABLE;
  if (is_shared)
    mysql_mutex_lock(&share->LOCK_share);
  for (engine_option_value **option = &share->option_list; *option;)
    if (is_default_primary_key(*option))
      *option = (*option)->next;
    else
      option = &(*option)->next;
  if (is_shared)
    mysql_mutex_unlock(&share->LOCK_share);
}

/* ---- ids ------------------------------------------------------------------------ */

/* Which column it is: by its place among those of a row, or by how it is computed. */
static void describe_source(std::string *to, const TABLE *table, Field *field)
{
  if (field->stored_in_db())
  {
    uint place = 0;
    for (Field **other = table->field; *other != field; other++)
      place += (*other)->stored_in_db();
    blitz_describe(to, "column %u", place);
    return;
  }
  /* The text must not depend on how the session likes names quoted. */
  THD *thd = table->in_use;
  Sql_mode_save_for_frm_handling saved_mode(thd);
  ulonglong saved_options = thd->variables.option_bits;
  thd->variables.option_bits |= OPTION_QUOTE_SHOW_CREATE;
  StringBuffer<MAX_FIELD_WIDTH> text;
  field->vcol_info->expr->print_for_table_def(&text);
  thd->variables.option_bits = saved_options;
  to->append(text.ptr(), text.length());
}

/* The width of the column, if entries depend on it: those of a whole VARCHAR do not. */
static uint width(const Field *field)
{
  switch (field->real_type())
  {
  case MYSQL_TYPE_VARCHAR:
    return static_cast<const Field_varstring *>(field)->length_bytes;
  case MYSQL_TYPE_NEWDECIMAL:
  case MYSQL_TYPE_BIT:
    return field->field_length;
  default:
    return field->pack_length();
  }
}

static void describe_part(std::string *to, const TABLE *table, const KEY_PART_INFO *part)
{
  Field *field = table->field[part->fieldnr - 1];
  bool is_prefix = part->length != field->key_length() || (field->flags & BLOB_FLAG);
  blitz_describe(to, "|%s %d %u.%u cs %u%s%s%s prefix %u ", field->type_handler()->name().ptr(),
           (int) field->real_type(), width(field), field->decimals(), field->charset()->number,
           field->flags & UNSIGNED_FLAG ? " unsigned" : "",
           field->real_maybe_null() ? " null" : "",
           part->key_part_flag & HA_REVERSE_SORT ? " desc" : "", is_prefix ? part->length : 0);
  describe_source(to, table, field);
}

/* Keys of one definition are told apart by their number among themselves. */
static uint64_t make_id(const TABLE *table, const KEY *key, const struct blitz_indexes *others)
{
  std::string text;
  blitz_describe(&text, "version %u%s", ENTRY_VERSION, key->flags & HA_NOSAME ? " unique" : "");
  for (uint part_no = 0; part_no < key->user_defined_key_parts; part_no++)
    describe_part(&text, table, key->key_part + part_no);
  for (unsigned ordinal = 0;; ordinal++)
  {
    uint64_t id = blitz_fingerprint(text + " #" + std::to_string(ordinal));
    bool is_taken = false;
    for (unsigned i = 0; i < others->count; i++)
      is_taken |= others->ids[i] == id;
    if (!is_taken)
      return id;
  }
}

/* ---- plans ------------------------------------------------------------------------ */

Index_keys::Index_keys()
{
  m_ids.count = 0;
  m_indexer.make_entry = asked_for_entry;
  m_indexer.differ = asked_for_difference;
  m_indexer.progress = show_progress;
  m_indexer.arg = this;
}

bool Index_keys::init(TABLE *table)
{
  const TABLE_SHARE *share = table->s;
  m_table = table;
  m_has_row_key = blitz_is_row_key(share, 0);
  m_indexes.clear();
  m_ids.count = 0;
  m_virtual_blobs.clear();
  try
  {
    if (m_has_row_key && m_row_key.init(table, table->key_info, Key_codec::ROW_KEY))
      return true;
    m_index_of_key.assign(share->keys, NONE);
    m_indexes.reserve(share->keys);
    size_t key_max = 1;
    for (uint key_no = 0; key_no < share->keys; key_no++)
    {
      if (!blitz_is_ordered(share, key_no))
        continue;
      add_index(key_no);
      Index &index = m_indexes.back();
      if (index.codec.init(table, table->key_info + key_no, Key_codec::INDEX_KEY) ||
          index.rows.init(table))
        return true;
      plan_columns(&index);
      set_if_bigger(key_max, index.codec.buffer_size());
    }
    m_key_buffer.reset(new uchar[key_max]);
    m_scratch.reset(new uchar[share->reclength]);
    memcpy(m_scratch.get(), share->default_values, share->reclength);
    m_blobs = std::vector<String>(m_virtual_blobs.size());
  }
  catch (const std::bad_alloc &)
  {
    return true;
  }
  return false;
}

void Index_keys::add_index(uint key_no)
{
  KEY *key = m_table->key_info + key_no;
  m_index_of_key[key_no] = count();
  m_indexes.emplace_back();
  Index &index = m_indexes.back();
  index.key_no = key_no;
  index.unique = (key->flags & HA_NOSAME) != 0;
  index.by_row_key = blitz_is_row_key(m_table->s, key_no);
  for (uint part_no = 0; part_no < key->user_defined_key_parts; part_no++)
  {
    Field *field = m_table->field[key->key_part[part_no].fieldnr - 1];
    index.columns.push_back(field);
    if (!field->stored_in_db())
      index.virtuals.push_back(field);
  }
  m_ids.ids[m_ids.count] = make_id(m_table, key, &m_ids);
  m_ids.count++;
}

/* What a computed column is computed from may be any column. */
void Index_keys::plan_columns(Index *index)
{
  if (index->virtuals.empty())
  {
    std::vector<my_bitmap_map> bits(bitmap_buffer_size(m_table->s->fields) /
                                    sizeof(my_bitmap_map));
    MY_BITMAP columns;
    my_bitmap_init(&columns, bits.data(), m_table->s->fields);
    for (const Field *field : index->columns)
      bitmap_set_bit(&columns, field->field_index);
    index->rows.want(&columns);
    return;
  }
  if (m_virtual_blobs.empty())
    for (Field **field = m_table->vfield; *field; field++)
      if (!(*field)->stored_in_db() && ((*field)->flags & BLOB_FLAG))
        m_virtual_blobs.push_back(static_cast<Field_blob *>(*field));
}

uint Index_keys::key_of(uint index_no) const
{
  return index_no < count() ? m_indexes[index_no].key_no : 0;
}

/* What is computed may come from any column. */
uint64_t Index_keys::differ(struct blitz_slice value, struct blitz_slice new_value) const
{
  uint64_t indexes = 0;
  for (uint index_no = 0; index_no < count(); index_no++)
  {
    const Index &index = m_indexes[index_no];
    if (!index.virtuals.empty() || index.rows.may_differ(value, new_value))
      indexes |= (uint64_t) 1 << index_no;
  }
  return indexes;
}

uint64_t Index_keys::asked_for_difference(void *arg, struct blitz_slice value,
                                          struct blitz_slice new_value)
{
  return static_cast<Index_keys *>(arg)->differ(value, new_value);
}

void Index_keys::set_packed(const void *data, const uchar *record)
{
  m_packed = data;
  m_packed_record = record;
}

/* ---- computed columns -------------------------------------------------------------- */

void Index_keys::compute(uint key_no)
{
  uint index_no = m_index_of_key[key_no];
  if (index_no != NONE)
    for (Field *field : m_indexes[index_no].virtuals)
      m_table->update_virtual_field(field, true);
}

void Index_keys::swap_blobs()
{
  for (size_t i = 0; i < m_virtual_blobs.size(); i++)
    m_virtual_blobs[i]->swap(m_blobs[i], false);
}

/* A BLOB that was computed stays in m_blobs until the next one is. */
void Index_keys::compute_in_scratch(const Index &index)
{
  TABLE *table = m_table;
  const uchar *home = table->field[0]->record_ptr();
  swap_blobs();
  table->move_fields(table->field, m_scratch.get(), home);
  for (Field *field : index.virtuals)
    table->update_virtual_field(field, !m_is_strict);
  table->move_fields(table->field, home, m_scratch.get());
  swap_blobs();
}

/* ---- entries ------------------------------------------------------------------------ */

static enum blitz_rc refuse(struct blitz_error *err, enum blitz_rc rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum blitz_rc refuse(struct blitz_error *err, enum blitz_rc rc, const char *format, ...)
{
  if (err)
  {
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    err->rc = rc;
    err->sys_errno = 0;
  }
  return rc;
}

uchar *Index_keys::payload_buffer(size_t size)
{
  if (size > m_payload_size)
  {
    set_if_bigger(size, PAYLOAD_MIN);
    m_payload_buffer.reset(new (std::nothrow) uchar[size]);
    m_payload_size = m_payload_buffer ? size : 0;
  }
  return m_payload_buffer.get();
}

enum blitz_rc Index_keys::entry_of(Index &index, const uchar *record,
                                   struct blitz_index_entry *entry, struct blitz_error *err)
{
  const char *name = m_table->key_info[index.key_no].name.str;
  size_t len = index.codec.encode_record(record, m_key_buffer.get());
  if (unlikely(len == Key_codec::TOO_LONG))
    return refuse(err, BLITZ_TOO_BIG,
                  "key '%s' has more than %d bytes of sorting weights: shorten the value, or "
                  "use a binary collation for the key's columns",
                  name, BLITZ_INDEX_KEY_MAX);
  entry->key = {m_key_buffer.get(), len};
  entry->payload = {NULL, 0};
  entry->unique = index.unique && !index.codec.has_null(record);
  entry->by_row_key = index.by_row_key;
  size_t payload_max = index.codec.payload_max(record);
  if (payload_max == 0)
    return BLITZ_OK;
  uchar *payload = payload_buffer(payload_max);
  if (payload == NULL)
    return refuse(err, BLITZ_NOMEM, "no memory for an entry of key '%s'", name);
  entry->payload = {payload, index.codec.encode_payload(record, payload)};
  return BLITZ_OK;
}

enum blitz_rc Index_keys::make_entry(uint index_no, struct blitz_slice value,
                                     struct blitz_index_entry *entry, struct blitz_error *err)
{
  Index &index = m_indexes[index_no];
  if (value.data == m_packed && index.virtuals.empty())
    return entry_of(index, m_packed_record, entry, err);
  enum blitz_rc rc = index.rows.decode(m_scratch.get(), value);
  if (unlikely(rc != BLITZ_OK))
    return refuse(err, rc, "the columns of a row do not add up: restore the table from a backup, "
                           "or copy what can still be read");
  if (!index.virtuals.empty())
    compute_in_scratch(index);
  if (m_is_strict && m_table->in_use->is_error())
    return refuse(err, BLITZ_STOPPED, "the value of a computed column is refused");
  return entry_of(index, m_scratch.get(), entry, err);
}

enum blitz_rc Index_keys::asked_for_entry(void *arg, unsigned index_no, struct blitz_slice value,
                                          struct blitz_index_entry *entry,
                                          struct blitz_error *err)
{
  return static_cast<Index_keys *>(arg)->make_entry(index_no, value, entry, err);
}

bool Index_keys::progress(uint64_t done, uint64_t total) const
{
  THD *thd = m_table->in_use;
  thd_progress_report(thd, done, total);
  return thd_killed(thd) == 0;
}

bool Index_keys::show_progress(void *arg, uint64_t done, uint64_t total)
{
  return static_cast<Index_keys *>(arg)->progress(done, total);
}
