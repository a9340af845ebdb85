/* SPDX-License-Identifier: GPL-2.0-only
 *
 * key_codec.cc: encoding keys by a plan, and decoding them; see key_codec.h.
 */
#include "key_codec.h"

#include <new>

#include "row_codec.h"

/* Some bytes more than the longest key has, for writing without looking at each. */
static const size_t SLACK = 16;

bool Key_codec::init(const TABLE *table, const KEY *key, Use use)
{
  m_use = use;
  m_key_max = use == ROW_KEY ? BLITZ_KEY_MAX : BLITZ_INDEX_KEY_MAX;
  try
  {
    m_parts.clear();
    for (uint part_no = 0; part_no < key->user_defined_key_parts; part_no++)
      add_part(table, key->key_part + part_no);
    bool strings = false, weights = false;
    size_t fixed = 0;
    m_payload_max = m_walk_end = 0;
    for (size_t part_no = 0; part_no < m_parts.size(); part_no++)
    {
      const Part &part = m_parts[part_no];
      strings |= part.kind == STRING;
      weights |= part.kind == STRING && part.string.weighs();
      fixed += part.image_len + 1;
      if (part.restored == FROM_PAYLOAD)
        m_payload_max += (size_t) part.len_bytes + part.len;
      if (part.restored == FROM_KEY || part.null_bit)
        m_walk_end = part_no + 1;
    }
    m_lone_string = m_parts.size() == 1 && strings && use == ROW_KEY;
    m_buffer_size = strings ? m_key_max + SLACK : fixed;
    if (weights)
      m_weights.reset(new uchar[m_key_max + 1]);
  }
  catch (const std::bad_alloc &)
  {
    return true;
  }
  return false;
}

void Key_codec::add_part(const TABLE *table, const KEY_PART_INFO *key_part)
{
  Part part = {};
  part.field = table->field[key_part->fieldnr - 1];
  part.column = part.field->field_index;
  part.off = (uint32) part.field->offset(table->record[0]);
  part.len = part.field->pack_length_in_rec();
  part.search_len = key_part->store_length;
  part.key_len = key_part->length;
  part.cs = part.field->charset();
  plan_nulls(&part, key_part);
  switch (part.field->real_type())
  {
  case MYSQL_TYPE_VARCHAR:
  case MYSQL_TYPE_TINY_BLOB:
  case MYSQL_TYPE_BLOB:
  case MYSQL_TYPE_MEDIUM_BLOB:
  case MYSQL_TYPE_LONG_BLOB:
  case MYSQL_TYPE_GEOMETRY:
    plan_string(&part, key_part);
    break;
  case MYSQL_TYPE_STRING:
    if (Row_codec::is_char(part.field))
    {
      plan_string(&part, key_part);
      break;
    }
    /* fall through */
  default:
    plan_fixed(&part, key_part);
  }
  /* A row key comes with the row, or alone. */
  if (m_use == ROW_KEY && part.restored == FROM_PAYLOAD)
    part.restored = NOT_RESTORED;
  m_parts.push_back(part);
}

void Key_codec::plan_nulls(Part *part, const KEY_PART_INFO *key_part) const
{
  if (m_use == ROW_KEY)
    return;
  if (part->field->real_maybe_null())
  {
    part->null_off = (uint32) part->field->null_offset();
    part->null_bit = part->field->null_bit;
  }
  /* NULL goes where MyISAM has it: before the others, if DESC behind them. */
  if (key_part->key_part_flag & HA_REVERSE_SORT)
    part->mask = 0xFF;
}

void Key_codec::plan_fixed(Part *part, const KEY_PART_INFO *key_part)
{
  part->kind = INTEGER;
  part->place = FIXED_PLACE;
  part->restored = FROM_KEY;
  part->image_len = part->len;
  switch (part->field->real_type())
  {
  case MYSQL_TYPE_TINY:
  case MYSQL_TYPE_SHORT:
  case MYSQL_TYPE_INT24:
  case MYSQL_TYPE_LONG:
  case MYSQL_TYPE_LONGLONG:
    part->is_signed = !(part->field->flags & UNSIGNED_FLAG);
    break;
  case MYSQL_TYPE_YEAR:
  case MYSQL_TYPE_NEWDATE:
  case MYSQL_TYPE_ENUM:
  case MYSQL_TYPE_SET:
    break;
  case MYSQL_TYPE_NEWDECIMAL:
  case MYSQL_TYPE_TIMESTAMP2:
  case MYSQL_TYPE_DATETIME2:
  case MYSQL_TYPE_TIME2:
    part->kind = COPY;
    break;
  case MYSQL_TYPE_BIT:
    part->kind = BITS;
    part->image_len = key_part->length;
    break;
  default:
    part->kind = IMAGE;
    part->restored = FROM_PAYLOAD;
    part->image_len = part->field->sort_length();
  }
}

void Key_codec::plan_string(Part *part, const KEY_PART_INFO *key_part)
{
  const Field *field = part->field;
  CHARSET_INFO *cs = part->cs;
  enum_field_types type = field->real_type();
  bool is_prefix = key_part->length != field->key_length();
  part->kind = STRING;
  part->place = FIXED_PLACE;
  if (type == MYSQL_TYPE_STRING && cs == &my_charset_bin)
  {
    part->kind = COPY;
    part->image_len = key_part->length;
    part->restored = is_prefix ? NOT_RESTORED : FROM_KEY;
    return;
  }
  if (type == MYSQL_TYPE_VARCHAR)
  {
    part->place = VARCHAR_PLACE;
    part->len_bytes = (uint8) static_cast<const Field_varstring *>(field)->length_bytes;
    part->len -= part->len_bytes;
  }
  else if (type != MYSQL_TYPE_STRING)
  {
    part->place = BLOB_PLACE;
    part->len_bytes = (uint8) (field->pack_length() - portable_sizeof_char_ptr);
  }
  else
  {
    part->len_bytes = part->len > 255 ? 2 : 1;
    part->pad_len = (uint8) cs->mbminlen;
    my_ci_fill(cs, (char *) part->pad, part->pad_len, cs->pad_char);
  }
  part->string.init(cs, type == MYSQL_TYPE_STRING);
  is_prefix |= part->place == BLOB_PLACE;
  if (is_prefix || part->string.counts_chars())
    part->max_chars = key_part->length / cs->mbmaxlen;
  if (!is_prefix)
    part->restored = part->string.is_restorable() ? FROM_KEY : FROM_PAYLOAD;
}

/* ---- encoding -------------------------------------------------------------------- */

Key_codec::Chars Key_codec::record_chars(const Part &part, const uchar *record)
{
  const uchar *from = record + part.off;
  Chars chars = {from, part.len};
  if (part.place == VARCHAR_PLACE)
  {
    chars.len = part.len_bytes == 1 ? *from : uint2korr(from);
    chars.data = from + part.len_bytes;
  }
  else if (part.place == BLOB_PLACE)
  {
    chars.len = static_cast<const Field_blob *>(part.field)->get_length(from);
    memcpy(&chars.data, from + part.len_bytes, sizeof(chars.data));
  }
  return chars;
}

/* Most significant byte first, and the sign bit so that negative ones are less. */
inline uchar *Key_codec::put_integer(const Part &part, const uchar *from, uchar *to)
{
  switch (part.len)
  {
  case 4:
  {
    uint32 n = uint4korr(from);
    if (part.is_signed)
      n ^= 0x80000000U;
    mi_int4store(to, n);
    return to + 4;
  }
  case 8:
  {
    ulonglong n = uint8korr(from);
    if (part.is_signed)
      n ^= 1ULL << 63;
    mi_int8store(to, n);
    return to + 8;
  }
  default:
    for (uint32 i = 0; i < part.len; i++)
      to[i] = from[part.len - 1 - i];
    if (part.is_signed)
      to[0] ^= 0x80;
    return to + part.len;
  }
}

/* The column's own image for sorting; 0.0 and -0.0, for example, are one. */
uchar *Key_codec::put_image(const Part &part, const uchar *from, uchar *to)
{
  uchar *saved = part.field->ptr;
  part.field->ptr = const_cast<uchar *>(from);
  part.field->sort_string(to, part.image_len);
  part.field->ptr = saved;
  return to + part.image_len;
}

/* As in a search key: the bits that do not fill a byte first, then the others. */
uchar *Key_codec::put_bits(const Part &part, const uchar *record, uchar *to)
{
  const Field_bit *bits = static_cast<const Field_bit *>(part.field);
  if (bits->bit_len)
  {
    const uchar *bit_ptr = record + (bits->bit_ptr - (bits->ptr - part.off));
    *to++ = get_rec_bits(bit_ptr, bits->bit_ofs, bits->bit_len);
  }
  memcpy(to, record + part.off, bits->bytes_in_rec);
  return to + bits->bytes_in_rec;
}

/* NULL: the key is too long. */
uchar *Key_codec::put_string(const Part &part, Chars chars, bool open, uchar *to,
                             uchar *end) const
{
  if (part.max_chars)
  {
    if (part.cs->mbmaxlen == 1)
    {
      set_if_smaller(chars.len, (size_t) part.max_chars);
    }
    else if (chars.len > part.max_chars)
    {
      const char *str = reinterpret_cast<const char *>(chars.data);
      size_t len = my_ci_charpos(part.cs, str, str + chars.len, part.max_chars);
      set_if_smaller(chars.len, len);
    }
  }
  return part.string.encode(chars.data, chars.len, open, to, end, m_weights.get(), m_key_max + 1);
}

static void invert(uchar *from, const uchar *end)
{
  while (from < end)
    *from++ ^= 0xFF;
}

inline uchar *Key_codec::put_record_part(const Part &part, const uchar *record, bool open,
                                         uchar *to, uchar *end) const
{
  switch (part.kind)
  {
  case INTEGER:
    return put_integer(part, record + part.off, to);
  case COPY:
    memcpy(to, record + part.off, part.image_len);
    return to + part.image_len;
  case IMAGE:
    return put_image(part, record + part.off, to);
  case BITS:
    return put_bits(part, record, to);
  case STRING:
    break;
  }
  return put_string(part, record_chars(part, record), open, to, end);
}

inline uchar *Key_codec::put_search_part(const Part &part, const uchar *search, bool open,
                                         uchar *to, uchar *end) const
{
  switch (part.kind)
  {
  case INTEGER:
    return put_integer(part, search, to);
  case COPY:
  case BITS:
    memcpy(to, search, part.image_len);
    return to + part.image_len;
  case IMAGE:
    return put_image(part, search, to);
  case STRING:
    break;
  }
  Chars chars = {search, part.key_len};
  if (part.place != FIXED_PLACE)
    chars = {search + HA_KEY_BLOB_LENGTH, uint2korr(search)};
  return put_string(part, chars, open, to, end);
}

static bool is_all_zero(const uchar *pos, const uchar *end)
{
  while (pos < end && *pos == 0)
    pos++;
  return pos == end;
}

size_t Key_codec::finish(uchar *to, uchar *pos) const
{
  if (m_lone_string && is_all_zero(to, pos))
    *pos++ = 0;
  size_t len = (size_t) (pos - to);
  return len <= m_key_max ? len : TOO_LONG;
}

size_t Key_codec::encode_record(const uchar *record, uchar *to)
{
  uchar *pos = to;
  uchar *end = to + m_buffer_size;
  for (size_t part_no = 0; part_no < m_parts.size(); part_no++)
  {
    const Part &part = m_parts[part_no];
    uchar *begin = pos;
    if ((size_t) (end - pos) < part.image_len + 1)
      return TOO_LONG;
    bool is_null = part.null_bit && (record[part.null_off] & part.null_bit);
    if (part.null_bit)
      *pos++ = !is_null;
    if (!is_null)
      pos = put_record_part(part, record, is_open(part_no), pos, end);
    if (pos == NULL)
      return TOO_LONG;
    if (part.mask)
      invert(begin, pos);
  }
  return finish(to, pos);
}

size_t Key_codec::encode_search(const uchar *search, uint part_count, uchar *to)
{
  uchar *pos = to;
  uchar *end = to + m_buffer_size;
  for (size_t part_no = 0; part_no < part_count; part_no++)
  {
    const Part &part = m_parts[part_no];
    const uchar *value = search;
    uchar *begin = pos;
    if ((size_t) (end - pos) < part.image_len + 1)
      return TOO_LONG;
    bool is_null = part.null_bit && *value != 0;
    if (part.null_bit)
    {
      value++;
      *pos++ = !is_null;
    }
    if (!is_null)
      pos = put_search_part(part, value, is_open(part_no), pos, end);
    if (pos == NULL)
      return TOO_LONG;
    if (part.mask)
      invert(begin, pos);
    search += part.search_len;
  }
  return finish(to, pos);
}

bool Key_codec::counts_chars() const
{
  for (const Part &part : m_parts)
    if (part.string.counts_chars())
      return true;
  return false;
}

bool Key_codec::has_null(const uchar *record) const
{
  for (const Part &part : m_parts)
    if (record[part.null_off] & part.null_bit)
      return true;
  return false;
}

/* Where the padding of a CHAR begins. */
static size_t unpadded_len(const uchar *data, size_t len, const uchar *pad, size_t pad_len)
{
  if (pad_len == 1)
  {
    while (len > 0 && data[len - 1] == *pad)
      len--;
    return len;
  }
  while (len >= pad_len && memcmp(data + len - pad_len, pad, pad_len) == 0)
    len -= pad_len;
  return len;
}

size_t Key_codec::encode_payload(const uchar *record, uchar *to) const
{
  uchar *pos = to;
  for (const Part &part : m_parts)
  {
    if (part.restored != FROM_PAYLOAD || (record[part.null_off] & part.null_bit))
      continue;
    Chars chars = {record + part.off, part.len};
    if (part.kind == STRING)
    {
      chars = record_chars(part, record);
      set_if_smaller(chars.len, (size_t) part.len);
      if (part.place == FIXED_PLACE)
        chars.len = unpadded_len(chars.data, chars.len, part.pad, part.pad_len);
      *pos++ = (uchar) chars.len;
      if (part.len_bytes == 2)
        *pos++ = (uchar) (chars.len >> 8);
    }
    memcpy(pos, chars.data, chars.len);
    pos += chars.len;
  }
  return (size_t) (pos - to);
}

/* ---- decoding -------------------------------------------------------------------- */

/* Gives the end of a part that is not open; NULL: the bytes are damaged. */
const uchar *Key_codec::skip_part(const Part &part, const uchar *pos, const uchar *end)
{
  if (part.kind == STRING)
    return part.string.skip(pos, end, part.mask);
  return (size_t) (end - pos) >= part.image_len ? pos + part.image_len : NULL;
}

uint Key_codec::part_ends(struct blitz_slice key, uint32 *ends) const
{
  const uchar *begin = static_cast<const uchar *>(key.data);
  const uchar *pos = begin;
  const uchar *end = begin + key.len;
  for (size_t part_no = 0; part_no < m_parts.size(); part_no++)
  {
    const Part &part = m_parts[part_no];
    bool is_null = false;
    if (part.null_bit)
    {
      if (pos == end || (uchar) (*pos ^ part.mask) > 1)
        return 0;
      is_null = (*pos++ ^ part.mask) == 0;
    }
    if (!is_null)
      pos = skip_part(part, pos, end);
    if (pos == NULL)
      return 0;
    ends[part_no] = (uint32) (pos - begin);
  }
  return pos == end ? part_count() : 0;
}

/* Makes a CHAR of LEN bytes as long as it has to be. */
void Key_codec::pad_chars(const Part &part, size_t len, uchar *record)
{
  uchar *to = record + part.off;
  if (part.pad_len == 1)
    memset(to + len, part.pad[0], part.len - len);
  else
    for (size_t i = len; i < part.len; i++)
      to[i] = part.pad[(i - len) % part.pad_len];
}

/* The reverse of put_integer(). */
inline void Key_codec::load_integer(const Part &part, const uchar *from, uchar *to)
{
  if (part.len == 4)
  {
    uint32 n = mi_uint4korr(from) ^ (part.mask ? ~0U : 0);
    int4store(to, part.is_signed ? n ^ 0x80000000U : n);
    return;
  }
  for (uint32 i = 0; i < part.len; i++)
    to[i] = from[part.len - 1 - i] ^ part.mask;
  if (part.is_signed)
    to[part.len - 1] ^= 0x80;
}

bool Key_codec::load_from_key(const Part &part, const uchar *pos, const uchar *end, bool open,
                              uchar *record)
{
  uchar *to = record + part.off;
  if (part.kind == STRING)
  {
    size_t len;
    uchar *data = part.place == FIXED_PLACE ? to : to + part.len_bytes;
    if (!part.string.decode(pos, end, part.mask, open, data, part.len, &len))
      return false;
    if (part.place == FIXED_PLACE)
      pad_chars(part, len, record);
    else if (part.len_bytes == 1)
      *to = (uchar) len;
    else
      int2store(to, (uint16) len);
    return true;
  }
  if (part.kind == INTEGER)
  {
    load_integer(part, pos, to);
    return true;
  }
  if (part.kind == BITS)
  {
    const Field_bit *bits = static_cast<const Field_bit *>(part.field);
    if (bits->bit_len)
    {
      uchar *bit_ptr = record + (bits->bit_ptr - (bits->ptr - part.off));
      uchar value = (uchar) (*pos++ ^ part.mask) & (uchar) ((1U << bits->bit_len) - 1);
      set_rec_bits(value, bit_ptr, bits->bit_ofs, bits->bit_len);
    }
  }
  for (; pos < end; pos++)
    *to++ = *pos ^ part.mask;
  return true;
}

bool Key_codec::load_from_payload(const Part &part, const uchar **posp, const uchar *end,
                                  bool wanted, uchar *record)
{
  const uchar *pos = *posp;
  size_t len = part.len;
  if ((size_t) (end - pos) < part.len_bytes)
    return false;
  if (part.len_bytes > 0)
    len = part.len_bytes == 1 ? *pos : uint2korr(pos);
  const uchar *data = pos + part.len_bytes;
  if (len > part.len || (size_t) (end - data) < len)
    return false;
  *posp = data + len;
  if (!wanted)
    return true;
  if (part.place == VARCHAR_PLACE)
  {
    memcpy(record + part.off, pos, part.len_bytes + len);
    return true;
  }
  memcpy(record + part.off, data, len);
  if (part.kind == STRING)
    pad_chars(part, len, record);
  return true;
}

bool Key_codec::decode(uchar *record, struct blitz_slice key, struct blitz_slice payload,
                       const MY_BITMAP *wanted) const
{
  const uchar *pos = static_cast<const uchar *>(key.data);
  const uchar *end = pos + key.len;
  const uchar *rest = static_cast<const uchar *>(payload.data);
  const uchar *rest_end = rest + payload.len;
  for (size_t part_no = 0; part_no < m_parts.size(); part_no++)
  {
    const Part &part = m_parts[part_no];
    bool is_wanted = part.restored != NOT_RESTORED &&
                     (wanted == NULL || bitmap_is_set(wanted, part.column));
    bool open = part.kind == STRING && is_open(part_no);
    if (part.null_bit)
    {
      if (pos == end || (uchar) (*pos ^ part.mask) > 1)
        return false;
      bool is_null = (*pos++ ^ part.mask) == 0;
      if (is_wanted)
      {
        record[part.null_off] &= (uchar) ~part.null_bit;
        record[part.null_off] |= is_null ? part.null_bit : 0;
      }
      if (is_null)
        continue;
    }
    if (part_no < m_walk_end)
    {
      const uchar *begin = pos;
      if (m_lone_string && pos < end && is_all_zero(pos, end))
        end--;
      pos = open ? end : skip_part(part, pos, end);
      if (pos == NULL)
        return false;
      if (is_wanted && part.restored == FROM_KEY &&
          !load_from_key(part, begin, pos, open, record))
        return false;
    }
    if (part.restored == FROM_PAYLOAD &&
        !load_from_payload(part, &rest, rest_end, is_wanted, record))
      return false;
  }
  return m_walk_end < m_parts.size() || pos == end;
}
