/* SPDX-License-Identifier: GPL-2.0-only
 *
 * key_codec.cc: encoding keys by a plan; see key_codec.h.
 *
 * The hard part is strings. Collations with PAD SPACE compare as if the shorter
 * string went on with spaces, so whatever weighs the same as trailing spaces
 * must leave no trace. Dropping trailing spaces from the string is not enough:
 * an ignorable character may follow them. So the weights of a space are
 * measured once, and trailing ones dropped from the weights, level by level.
 *
 * What decides is when a collation's comparison finds two strings equal. Where
 * its weights (strnxfrm) say otherwise, there is a special case here.
 */
#include "key_codec.h"

#include <new>

/* Weights beyond this make the key too long anyway. */
static const size_t WEIGHTS_MAX = BLITZ_KEY_MAX + 1;

/* Parts of fixed width are written without looking at the end of the buffer. */
static const size_t SLACK = 1024;

bool Key_codec::init(const TABLE *table, const KEY *key)
{
  try
  {
    m_parts.clear();
    bool weights = false;
    size_t fixed = 0;
    for (uint part_no = 0; part_no < key->user_defined_key_parts; part_no++)
    {
      add_part(table, key->key_part + part_no);
      const Part &part = m_parts.back();
      weights |= part.kind == STRING;
      fixed += part.image_len;
    }
    m_lone_string = m_parts.size() == 1 && m_parts[0].kind == STRING;
    m_buffer_size = weights ? BLITZ_KEY_MAX + SLACK : fixed;
    if (weights)
      m_weights.reset(new uchar[WEIGHTS_MAX]);
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
  part.off = (uint32) part.field->offset(table->record[0]);
  part.len = part.field->pack_length_in_rec();
  part.search_len = key_part->store_length;
  part.key_len = key_part->length;
  part.cs = part.field->charset();
  part.kind = INTEGER;
  part.place = FIXED_PLACE;
  part.image_len = part.len;
  switch (part.field->real_type())
  {
  case MYSQL_TYPE_TINY:
  case MYSQL_TYPE_SHORT:
  case MYSQL_TYPE_INT24:
  case MYSQL_TYPE_LONG:
  case MYSQL_TYPE_LONGLONG:
    part.is_signed = !(part.field->flags & UNSIGNED_FLAG);
    break;
  case MYSQL_TYPE_YEAR:
  case MYSQL_TYPE_NEWDATE:
  case MYSQL_TYPE_ENUM:
  case MYSQL_TYPE_SET:
    break;
  case MYSQL_TYPE_BIT:
    part.kind = BITS;
    part.image_len = key_part->length;
    break;
  case MYSQL_TYPE_VARCHAR:
  case MYSQL_TYPE_TINY_BLOB:
  case MYSQL_TYPE_BLOB:
  case MYSQL_TYPE_MEDIUM_BLOB:
  case MYSQL_TYPE_LONG_BLOB:
  case MYSQL_TYPE_GEOMETRY:
    plan_string(&part, part.field, key_part);
    break;
  case MYSQL_TYPE_STRING:
    /* Types of plugins, such as INET6, say they are STRING too. */
    if (part.field->type_handler() == &type_handler_string)
    {
      plan_string(&part, part.field, key_part);
      break;
    }
    /* fall through */
  default:
    part.kind = IMAGE;
    part.image_len = part.field->sort_length();
  }
  m_parts.push_back(part);
}

void Key_codec::plan_string(Part *part, const Field *field, const KEY_PART_INFO *key_part)
{
  enum_field_types type = field->real_type();
  part->kind = STRING;
  part->image_len = 0;
  if (type == MYSQL_TYPE_VARCHAR)
  {
    part->place = VARCHAR_PLACE;
    part->len_bytes = (uint8) static_cast<const Field_varstring *>(field)->length_bytes;
  }
  else if (type != MYSQL_TYPE_STRING)
  {
    part->place = BLOB_PLACE;
    part->len_bytes = (uint8) (field->pack_length() - portable_sizeof_char_ptr);
  }
  if (part->place == BLOB_PLACE || key_part->length != field->key_length())
    part->max_chars = key_part->length / part->cs->mbmaxlen;
  CHARSET_INFO *cs = part->cs;
  bool is_char = type == MYSQL_TYPE_STRING && cs != &my_charset_bin;
  part->use_bytes = (cs->state & MY_CS_BINSORT) != 0;
  /* Trailing spaces of CHAR never count. Of others, dropping spaces only saves
     work where weights of spaces are dropped too; one collation of one byte a
     character (tis620_thai_ci) moves bytes behind the spaces. */
  bool is_weighed_by_byte = !part->use_bytes && has_whole_weights(cs) && cs->mbmaxlen == 1;
  part->strip_spaces = is_char || (!(cs->state & MY_CS_NOPAD) && !is_weighed_by_byte);
  if (part->use_bytes)
    return;
  part->by_char = strcmp(cs->cs_name.str, "big5") == 0;
  part->cut_at_nul = stops_at_nul(cs);
  plan_levels(part);
}

/* Can trailing weights of spaces be told from other weights? Not where weights of
   one and two bytes mix, nor where several levels follow each other. Collations
   of either kind have no character but the space that weighs the same. */
bool Key_codec::has_whole_weights(CHARSET_INFO *cs)
{
  return (cs->mbmaxlen == 1 && !(cs->state & MY_CS_STRNXFRM_BAD_NWEIGHTS)) ||
         (cs->state & MY_CS_UNICODE);
}

/* tis620_thai_nopad_ci compares as C strings do. */
bool Key_codec::stops_at_nul(CHARSET_INFO *cs)
{
  static const uchar first[] = {'a', 0, 'b'}, second[] = {'a', 0, 'c'};
  return cs->mbmaxlen == 1 &&
         cs->coll->strnncollsp(cs, first, sizeof(first), second, sizeof(second)) == 0;
}

/* Finds out what a space weighs, and so what may be dropped at the end. */
void Key_codec::plan_levels(Part *part)
{
  CHARSET_INFO *cs = part->cs;
  uint level_bits = cs->uca ? cs->levels_for_order : 0;
  bool many_levels = (level_bits & (level_bits - 1)) != 0;
  uchar space[8];
  size_t space_len = cs->mbminlen;
  my_ci_fill(cs, (char *) space, space_len, ' ');
  for (uint bit = 1; bit == 1 || (many_levels && bit <= level_bits); bit <<= 1)
  {
    if (many_levels && !(level_bits & bit))
      continue;
    Level level = {};
    level.flag = many_levels ? bit : 0;
    /* In levels beyond the first, NOPAD collations pad too. */
    bool pads = !(cs->state & MY_CS_NOPAD) || bit > 1;
    if (pads && has_whole_weights(cs))
    {
      size_t len = cs->coll->strnxfrm(cs, level.space, sizeof(level.space), 1, space, space_len,
                                      level.flag);
      level.space_len = (uint8) len;
    }
    part->levels.push_back(level);
  }
}

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

/* NULL: there is no room. */
uchar *Key_codec::put_escaped(Chars chars, uchar *to, uchar *end, bool last)
{
  if ((size_t) (end - to) < chars.len + 2)
    return NULL;
  if (last)
  {
    memcpy(to, chars.data, chars.len);
    return to + chars.len;
  }
  for (size_t i = 0; i < chars.len; i++)
  {
    if (end - to < 4)
      return NULL;
    *to++ = chars.data[i];
    if (chars.data[i] == 0)
      *to++ = 0xFF;
  }
  *to++ = 0;
  *to++ = 0;
  return to;
}

/* Writes the weights of CHARS to the scratch and gives their length. */
size_t Key_codec::weigh(const Part &part, const Level &level, Chars chars)
{
  uchar *weights = m_weights.get();
  size_t len = 0;
  if (!part.by_char)
  {
    len = part.cs->coll->strnxfrm(part.cs, weights, WEIGHTS_MAX, WEIGHTS_MAX, chars.data,
                                  chars.len, level.flag);
    const void *nul = part.cut_at_nul ? memchr(weights, 0, len) : NULL;
    return nul ? (size_t) (static_cast<const uchar *>(nul) - weights) : len;
  }
  const uchar *end = chars.data + chars.len;
  for (const uchar *from = chars.data; from < end && len + 1 < WEIGHTS_MAX;)
  {
    if (my_ci_charlen(part.cs, from, end) == 2)
    {
      weights[len++] = *from++;
      weights[len++] = *from++;
    }
    else
    {
      weights[len++] = part.cs->sort_order[*from++];
    }
  }
  return len;
}

uchar *Key_codec::put_level(const Part &part, const Level &level, Chars chars, uchar *to,
                            uchar *end, bool last)
{
  const uchar *weights = m_weights.get();
  size_t len = weigh(part, level, chars);
  if (len >= WEIGHTS_MAX)
    return NULL;
  if (level.space_len > 0)
    while (len >= level.space_len &&
           memcmp(weights + len - level.space_len, level.space, level.space_len) == 0)
      len -= level.space_len;
  return put_escaped({weights, len}, to, end, last);
}

/* NULL: the key is too long. */
uchar *Key_codec::put_string(const Part &part, Chars chars, uchar *to, uchar *end, bool last)
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
  if (part.strip_spaces)
    chars.len = my_ci_lengthsp(part.cs, reinterpret_cast<const char *>(chars.data), chars.len);
  if (part.use_bytes)
    return put_escaped(chars, to, end, last);
  for (size_t level_no = 0; level_no < part.levels.size() && to != NULL; level_no++)
    to = put_level(part, part.levels[level_no], chars, to, end,
                   last && level_no + 1 == part.levels.size());
  return to;
}

size_t Key_codec::finish(uchar *to, uchar *pos) const
{
  if (pos == NULL)
    return TOO_LONG;
  if (m_lone_string)
  {
    const uchar *byte = to;
    while (byte < pos && *byte == 0)
      byte++;
    if (byte == pos)
      *pos++ = 0;
  }
  size_t len = (size_t) (pos - to);
  return len <= BLITZ_KEY_MAX ? len : TOO_LONG;
}

size_t Key_codec::encode_record(const uchar *record, uchar *to)
{
  uchar *pos = to;
  uchar *end = to + m_buffer_size;
  for (size_t part_no = 0; part_no < m_parts.size() && pos != NULL; part_no++)
  {
    const Part &part = m_parts[part_no];
    if (pos + part.image_len > end)
      return TOO_LONG;
    switch (part.kind)
    {
    case INTEGER:
      pos = put_integer(part, record + part.off, pos);
      break;
    case IMAGE:
      pos = put_image(part, record + part.off, pos);
      break;
    case BITS:
      pos = put_bits(part, record, pos);
      break;
    case STRING:
      pos = put_string(part, record_chars(part, record), pos, end, part_no + 1 == m_parts.size());
      break;
    }
  }
  return finish(to, pos);
}

size_t Key_codec::encode_search(const uchar *search, uchar *to)
{
  uchar *pos = to;
  uchar *end = to + m_buffer_size;
  for (size_t part_no = 0; part_no < m_parts.size() && pos != NULL; part_no++)
  {
    const Part &part = m_parts[part_no];
    if (pos + part.image_len > end)
      return TOO_LONG;
    switch (part.kind)
    {
    case INTEGER:
      pos = put_integer(part, search, pos);
      break;
    case IMAGE:
      pos = put_image(part, search, pos);
      break;
    case BITS:
      memcpy(pos, search, part.image_len);
      pos += part.image_len;
      break;
    case STRING:
    {
      Chars chars = {search, part.key_len};
      if (part.place != FIXED_PLACE)
        chars = {search + HA_KEY_BLOB_LENGTH, uint2korr(search)};
      pos = put_string(part, chars, pos, end, part_no + 1 == m_parts.size());
      break;
    }
    }
    search += part.search_len;
  }
  return finish(to, pos);
}
