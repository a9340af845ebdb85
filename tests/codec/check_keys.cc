/* SPDX-License-Identifier: GPL-2.0-only
 *
 * check_keys.cc: Key_codec against the order in which MyISAM has the rows of an index.
 *
 * Of each row and the next one in the index:
 *
 * 1. memcmp() of the encodings says what the server says of the two keys.
 *
 * Of each row:
 *
 * 2. encode_search() of so many parts is how encode_record() begins, and ends where
 *    part_ends() says.
 * 3. decode() gives each column back byte by byte that it says it does, and no other;
 *    all of them, or only one.
 * 4. Whatever is cut off an entry, decode() and part_ends() say so, or read no further.
 */
#include "codec_check.h"

#include <sql_class.h>

#include <vector>

namespace
{
typedef std::vector<uchar> Bytes;

class Check
{
public:
  Check(TABLE *table, uint key_no, Key_codec::Use use, Check_result *result)
      : m_table(table), m_key(table->key_info + key_no), m_use(use), m_result(result)
  {
  }
  bool run(uint key_no);

private:
  void fail(const char *what, uint part_no = 0);
  void check_row();
  void check_search();
  void check_decode(Bytes payload, const MY_BITMAP *wanted, uint only_part);
  void check_damage(const Bytes &payload);
  bool is_same(const KEY_PART_INFO *part, uchar *record) const;

  TABLE *m_table;
  KEY *m_key;
  Key_codec::Use m_use;
  Check_result *m_result;
  Key_codec m_codec;
  Bytes m_encoded, m_before, m_search;
};
} // namespace

static struct blitz_slice slice(const Bytes &bytes, size_t len) { return {bytes.data(), len}; }
static struct blitz_slice slice(const Bytes &bytes) { return {bytes.data(), bytes.size()}; }

static std::string hex(const Bytes &bytes)
{
  std::string text;
  for (uchar byte : bytes)
  {
    char digits[4];
    snprintf(digits, sizeof(digits), "%02X", byte);
    text += digits;
  }
  return text;
}

void Check::fail(const char *what, uint part_no)
{
  if (m_result->failures++ > 0)
    return;
  std::string &text = m_result->example;
  text = std::string(what) + ", part " + std::to_string(part_no) + ", row " +
         std::to_string(m_result->strings) + ", key " + hex(m_encoded) + " after " + hex(m_before);
}

void Check::check_search()
{
  uint part_count = m_codec.part_count();
  Bytes search(m_key->key_length + 1), prefix(m_codec.buffer_size());
  std::vector<uint32> ends(part_count);
  key_copy(search.data(), m_table->record[0], m_key, m_key->key_length);
  if (m_use == Key_codec::INDEX_KEY && m_codec.part_ends(slice(m_encoded), ends.data()) == 0)
    return fail("part_ends");
  if (m_use == Key_codec::ROW_KEY)
    ends[part_count - 1] = (uint32) m_encoded.size();
  for (uint count = m_use == Key_codec::ROW_KEY ? part_count : 1; count <= part_count; count++)
  {
    size_t len = m_codec.encode_search(search.data(), count, prefix.data());
    if (len != ends[count - 1] || memcmp(prefix.data(), m_encoded.data(), len) != 0)
      fail("encode_search", count);
  }
}

bool Check::is_same(const KEY_PART_INFO *part, uchar *record) const
{
  Field *field = m_table->field[part->fieldnr - 1];
  my_ptrdiff_t diff = record - m_table->record[0];
  if (field->is_null() != field->is_null(diff))
    return false;
  if (field->is_null())
    return true;
  return field->real_type() == MYSQL_TYPE_BIT ? field->cmp_offset(diff) == 0
                                              : field->cmp_binary_offset((uint) diff) == 0;
}

/* ONLY_PART is the one that WANTED has; or all of them. */
void Check::check_decode(Bytes payload, const MY_BITMAP *wanted, uint only_part)
{
  /* Behind the other buffers, as the server takes for granted. */
  uchar *record = m_table->record[1];
  for (uchar fill : {0x00, 0xFF})
  {
    memset(record, fill, m_table->s->reclength);
    if (!m_codec.decode(record, slice(m_encoded), slice(payload), wanted))
      return fail("decode", only_part);
    for (uint part_no = 0; part_no < m_codec.part_count(); part_no++)
    {
      if (!m_codec.restores(part_no) || (wanted && part_no != only_part))
        continue;
      if (!is_same(m_key->key_part + part_no, record))
        fail("decoded value", part_no);
    }
  }
}

void Check::check_damage(const Bytes &payload)
{
  uchar *record = m_table->record[1];
  std::vector<uint32> ends(m_codec.part_count());
  for (size_t len = 0; len < m_encoded.size() && m_encoded.size() < 200; len++)
  {
    Bytes cut(m_encoded.begin(), m_encoded.begin() + len);
    cut.shrink_to_fit();
    if (m_use == Key_codec::INDEX_KEY && m_codec.part_ends(slice(cut), ends.data()) != 0)
      fail("part_ends of a beginning");
    m_codec.decode(record, slice(cut), slice(payload), NULL);
    Bytes other = m_encoded;
    other[len] ^= (uchar) (1 + len % 255);
    m_codec.part_ends(slice(other), ends.data());
    m_codec.decode(record, slice(other), slice(payload), NULL);
  }
  for (size_t len = 0; len < payload.size(); len++)
  {
    Bytes cut(payload.begin(), payload.begin() + len);
    if (m_codec.decode(record, slice(m_encoded), slice(cut, len), NULL))
      fail("decode of half a payload");
  }
}

void Check::check_row()
{
  const uchar *record = m_table->record[0];
  m_encoded.resize(m_codec.buffer_size());
  size_t len = m_codec.encode_record(record, m_encoded.data());
  if (len == Key_codec::TOO_LONG)
    return fail("too long");
  m_encoded.resize(len);
  m_result->strings++;
  bool has_null = false;
  for (uint part_no = 0; part_no < m_codec.part_count(); part_no++)
    has_null |= m_table->field[m_key->key_part[part_no].fieldnr - 1]->is_null();
  if (has_null != m_codec.has_null(record))
    fail("has_null");
  check_search();
  Bytes payload(m_codec.payload_max(record));
  len = m_codec.encode_payload(record, payload.data());
  if (len > payload.size())
    fail("payload_max");
  payload.resize(len);
  check_decode(payload, NULL, 0);
  for (uint part_no = 0; part_no < m_codec.part_count(); part_no++)
  {
    bitmap_clear_all(&m_table->tmp_set);
    bitmap_set_bit(&m_table->tmp_set, m_key->key_part[part_no].fieldnr - 1);
    check_decode(payload, &m_table->tmp_set, part_no);
  }
  check_damage(payload);
}

bool Check::run(uint key_no)
{
  handler *file = m_table->file;
  if (m_codec.init(m_table, m_key, m_use))
    return true;
  m_table->use_all_columns();
  int error = file->ha_index_init(key_no, true);
  if (error == 0)
    error = file->ha_index_first(m_table->record[0]);
  for (; error == 0; error = file->ha_index_next(m_table->record[0]))
  {
    check_row();
    if (!m_search.empty() && m_use == Key_codec::INDEX_KEY)
    {
      int expected = key_cmp(m_key->key_part, m_search.data(), m_key->key_length);
      int n = memcmp(m_encoded.data(), m_before.data(), MY_MIN(m_encoded.size(), m_before.size()));
      m_result->pairs++;
      if (expected < 0 || (n > 0) != (expected > 0) || n < 0 ||
          (n == 0 && m_encoded.size() != m_before.size()))
        fail(("order " + std::to_string(expected)).c_str());
    }
    m_before = m_encoded;
    m_search.resize(m_key->key_length + 1);
    key_copy(m_search.data(), m_table->record[0], m_key, m_key->key_length);
  }
  file->ha_index_end();
  if (error == HA_ERR_END_OF_FILE)
    return false;
  file->print_error(error, MYF(0));
  return true;
}

bool check_key(TABLE *table, uint key_no, Key_codec::Use use, Check_result *result)
{
  return Check(table, key_no, use, result).run(key_no);
}
