/* SPDX-License-Identifier: GPL-2.0-only
 *
 * row_codec.cc: packing and unpacking rows by a plan; see row_codec.h.
 */
#include "row_codec.h"

#include <new>

static const uchar ROW_VERSION = 1;

/* A CHAR column shorter than this is not worth a length of its own. */
static const uint32 CHAR_LEN_MIN = 5;

static uint32 load_len(const uchar *from, uint len_bytes)
{
  switch (len_bytes)
  {
  case 1:
    return *from;
  case 2:
    return uint2korr(from);
  case 3:
    return uint3korr(from);
  default:
    return uint4korr(from);
  }
}

static void store_len(uchar *to, uint len_bytes, uint32 len)
{
  switch (len_bytes)
  {
  case 1:
    *to = (uchar) len;
    break;
  case 2:
    int2store(to, len);
    break;
  case 3:
    int3store(to, len);
    break;
  default:
    int4store(to, len);
  }
}

static bool is_blob(enum_field_types type)
{
  return type == MYSQL_TYPE_TINY_BLOB || type == MYSQL_TYPE_BLOB ||
         type == MYSQL_TYPE_MEDIUM_BLOB || type == MYSQL_TYPE_LONG_BLOB ||
         type == MYSQL_TYPE_GEOMETRY || type == MYSQL_TYPE_BLOB_COMPRESSED;
}

static bool is_varchar(enum_field_types type)
{
  return type == MYSQL_TYPE_VARCHAR || type == MYSQL_TYPE_VARCHAR_COMPRESSED;
}

/* A CHAR that must be valid JSON has a type of its own above that. */
bool Row_codec::is_char(const Field *field)
{
  return field->real_type() == MYSQL_TYPE_STRING &&
         field->type_handler()->type_handler_base_or_self() == &type_handler_string;
}

bool Row_codec::init(const TABLE *table)
{
  try
  {
    m_steps.clear();
    m_null_bytes = table->s->null_bytes;
    m_fixed_max = 1 + m_null_bytes;
    for (Field **field = table->field; *field; field++)
      if ((*field)->stored_in_db())
        add_column(table, *field);
  }
  catch (const std::bad_alloc &)
  {
    return true;
  }
  m_all_wanted = false;
  want(NULL);
  return false;
}

void Row_codec::add_column(const TABLE *table, const Field *field)
{
  Step step;
  memset(&step, 0, sizeof(step));
  step.off = (uint32) field->offset(table->record[0]);
  step.len = field->pack_length_in_rec();
  step.first_column = step.last_column = field->field_index;
  if (field->real_maybe_null())
  {
    step.null_off = (uint32) field->null_offset();
    step.null_bit = field->null_bit;
  }
  enum_field_types type = field->real_type();
  if (is_blob(type))
  {
    step.kind = BLOB;
    step.len_bytes = (uint8) (field->pack_length() - portable_sizeof_char_ptr);
    m_has_blobs = true;
    m_fixed_max += step.len_bytes;
  }
  else if (is_varchar(type))
  {
    step.kind = VARCHAR;
    step.len_bytes = (uint8) static_cast<const Field_varstring *>(field)->length_bytes;
    step.len -= step.len_bytes;
    m_fixed_max += step.len_bytes + step.len;
  }
  else if (type == MYSQL_TYPE_STRING && step.len >= CHAR_LEN_MIN)
  {
    CHARSET_INFO *cs = field->charset();
    step.kind = CHAR;
    step.is_text = is_char(field);
    step.len_bytes = step.len > 255 ? 2 : 1;
    step.pad_len = (uint8) cs->mbminlen;
    my_ci_fill(cs, (char *) step.pad, step.pad_len, cs->pad_char);
    m_fixed_max += step.len_bytes + step.len;
  }
  else
  {
    if (step.len == 0) /* all of it among the NULL bits */
      return;
    m_fixed_max += step.len;
    if (!m_steps.empty() && m_steps.back().kind == FIXED &&
        m_steps.back().off + m_steps.back().len == step.off)
    {
      m_steps.back().len += step.len;
      m_steps.back().last_column = step.last_column;
      return;
    }
    step.kind = FIXED;
    step.null_bit = 0;
  }
  m_steps.push_back(step);
}

size_t Row_codec::unpadded_len(const Step &step, const uchar *data)
{
  size_t len = step.len;
  if (step.pad_len == 1)
  {
    uchar pad = step.pad[0];
    while (len > 0 && data[len - 1] == pad)
      len--;
    return len;
  }
  while (len >= step.pad_len && memcmp(data + len - step.pad_len, step.pad, step.pad_len) == 0)
    len -= step.pad_len;
  return len;
}

size_t Row_codec::packed_max(const uchar *record) const
{
  size_t max = m_fixed_max;
  if (m_has_blobs)
    for (const Step &step : m_steps)
      if (step.kind == BLOB && !(step.null_bit && (record[step.null_off] & step.null_bit)))
        max += load_len(record + step.off, step.len_bytes);
  return max;
}

size_t Row_codec::encode(const uchar *record, uchar *to) const
{
  uchar *pos = to;
  *pos++ = ROW_VERSION;
  memcpy(pos, record, m_null_bytes);
  pos += m_null_bytes;
  for (const Step &step : m_steps)
  {
    const uchar *from = record + step.off;
    if (step.kind == FIXED)
    {
      memcpy(pos, from, step.len);
      pos += step.len;
      continue;
    }
    if (step.null_bit && (record[step.null_off] & step.null_bit))
      continue;
    size_t len;
    if (step.kind == CHAR)
    {
      len = unpadded_len(step, from);
    }
    else
    {
      len = load_len(from, step.len_bytes);
      if (step.kind == VARCHAR)
      {
        from += step.len_bytes;
        set_if_smaller(len, (size_t) step.len);
      }
      else
      {
        memcpy(&from, from + step.len_bytes, sizeof(from));
      }
    }
    store_len(pos, step.len_bytes, (uint32) len);
    pos += step.len_bytes;
    if (len > 0)
      memcpy(pos, from, len);
    pos += len;
  }
  return (size_t) (pos - to);
}

void Row_codec::want(const MY_BITMAP *columns)
{
  if (columns == NULL && m_all_wanted)
    return;
  m_all_wanted = columns == NULL;
  m_needed_steps = 0;
  for (size_t step_no = 0; step_no < m_steps.size(); step_no++)
  {
    Step &step = m_steps[step_no];
    step.wanted = columns == NULL;
    for (uint c = step.first_column; !step.wanted && c <= step.last_column; c++)
      step.wanted = bitmap_is_set(columns, c);
    if (step.wanted)
      m_needed_steps = step_no + 1;
  }
}

static void pad(const uchar *pad, uint pad_len, uchar *to, size_t len)
{
  if (pad_len == 1)
    memset(to, pad[0], len);
  else
    for (size_t i = 0; i < len; i++)
      to[i] = pad[i % pad_len];
}

/* A column that is NULL gets the bytes that the server gives one: it compares records by
   their bytes to tell whether an UPDATE has changed something. */
void Row_codec::reset_column(const Step &step, uchar *to)
{
  if (step.kind == BLOB)
    memset(to, 0, step.len_bytes + sizeof(uchar *));
  else if (step.kind == VARCHAR)
    memset(to, 0, step.len_bytes);
  else if (step.is_text)
    pad(step.pad, step.pad_len, to, step.len);
  else
    memset(to, 0, step.len);
}

/* Moves a column of variable width that is not NULL; false: the row is damaged. */
bool Row_codec::decode_step(const Step &step, uchar *record, const uchar **posp, const uchar *end)
{
  const uchar *pos = *posp;
  if ((size_t) (end - pos) < step.len_bytes)
    return false;
  uint32 len = load_len(pos, step.len_bytes);
  pos += step.len_bytes;
  if ((size_t) (end - pos) < len)
    return false;
  *posp = pos + len;
  if (!step.wanted)
    return true;
  uchar *to = record + step.off;
  if (step.kind == BLOB)
  {
    store_len(to, step.len_bytes, len);
    memcpy(to + step.len_bytes, &pos, sizeof(pos));
    return true;
  }
  if (len > step.len)
    return false;
  if (step.kind == VARCHAR)
  {
    store_len(to, step.len_bytes, len);
    memcpy(to + step.len_bytes, pos, len);
    return true;
  }
  memcpy(to, pos, len);
  pad(step.pad, step.pad_len, to + len, step.len - len);
  return true;
}

enum blitz_rc Row_codec::decode(uchar *record, struct blitz_slice row) const
{
  const uchar *pos = static_cast<const uchar *>(row.data);
  const uchar *end = pos + row.len;
  if (row.len < (size_t) 1 + m_null_bytes)
    return BLITZ_CORRUPT;
  if (*pos != ROW_VERSION)
    return *pos > ROW_VERSION ? BLITZ_BAD_VERSION : BLITZ_CORRUPT;
  memcpy(record, pos + 1, m_null_bytes);
  pos += 1 + m_null_bytes;
  for (size_t step_no = 0; step_no < m_needed_steps; step_no++)
  {
    const Step &step = m_steps[step_no];
    if (step.kind == FIXED)
    {
      if ((size_t) (end - pos) < step.len)
        return BLITZ_CORRUPT;
      if (step.wanted)
        memcpy(record + step.off, pos, step.len);
      pos += step.len;
    }
    else if (step.null_bit && (record[step.null_off] & step.null_bit))
    {
      if (step.wanted)
        reset_column(step, record + step.off);
    }
    else if (!decode_step(step, record, &pos, end))
    {
      return BLITZ_CORRUPT;
    }
  }
  return m_all_wanted && pos != end ? BLITZ_CORRUPT : BLITZ_OK;
}

/* The bytes of STEP at *POSP, and with the length before them; false: the row is damaged. */
static bool take_bytes(uint len_bytes, size_t len, const uchar **posp, const uchar *end,
                       struct blitz_slice *bytes)
{
  const uchar *pos = *posp;
  if (len_bytes > 0 && (size_t) (end - pos) < len_bytes)
    return false;
  if (len_bytes > 0)
    len = len_bytes + (size_t) load_len(pos, len_bytes);
  if ((size_t) (end - pos) < len)
    return false;
  *bytes = {pos, len};
  *posp = pos + len;
  return true;
}

bool Row_codec::may_differ(struct blitz_slice a, struct blitz_slice b) const
{
  const uchar *a_pos = static_cast<const uchar *>(a.data), *a_end = a_pos + a.len;
  const uchar *b_pos = static_cast<const uchar *>(b.data), *b_end = b_pos + b.len;
  const uchar *nulls = a_pos + 1;
  size_t head = (size_t) 1 + m_null_bytes;
  if (a.len < head || b.len < head || memcmp(a_pos, b_pos, head) != 0)
    return true;
  a_pos += head;
  b_pos += head;
  for (size_t step_no = 0; step_no < m_needed_steps; step_no++)
  {
    const Step &step = m_steps[step_no];
    struct blitz_slice in_a, in_b;
    bool is_fixed = step.kind == FIXED;
    if (!is_fixed && step.null_bit && (nulls[step.null_off] & step.null_bit))
      continue;
    uint len_bytes = is_fixed ? 0 : step.len_bytes;
    if (!take_bytes(len_bytes, step.len, &a_pos, a_end, &in_a) ||
        !take_bytes(len_bytes, step.len, &b_pos, b_end, &in_b))
      return true;
    if (step.wanted && (in_a.len != in_b.len || memcmp(in_a.data, in_b.data, in_a.len) != 0))
      return true;
  }
  return false;
}
