/* SPDX-License-Identifier: GPL-2.0-only
 *
 * fingerprint.cc: definitions as text, and the text's hash; see fingerprint.h.
 */
#include "fingerprint.h"

#include <cstdarg>
#include <new>

#include "index_keys.h"

/* Goes up when Row_codec packs, or Key_codec encodes row keys, in another way. */
static const unsigned LAYOUT_VERSION = 1;

void blitz_describe(std::string *to, const char *format, ...)
{
  char text[256];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  to->append(text);
}

/* FNV-1a, and a last stir for its weak upper bits. */
uint64_t blitz_fingerprint(const std::string &text)
{
  uint64_t hash = 0xCBF29CE484222325ULL;
  for (char c : text)
    hash = (hash ^ (uchar) c) * 0x100000001B3ULL;
  hash = (hash ^ (hash >> 32)) * 0xD6E8FEB86659FD93ULL;
  return hash ^ (hash >> 32);
}

/* ---- the layout of rows ------------------------------------------------------------ */

/* Strings: how long their lengths are, and what their bytes mean. */
static void describe_string(std::string *to, const Field *field)
{
  uint width = field->pack_length_in_rec();
  if (field->real_type() == MYSQL_TYPE_VARCHAR)
    width = static_cast<const Field_varstring *>(field)->length_bytes;
  blitz_describe(to, " %u %s%s", width, field->charset()->cs_name.str,
                 field->compression_method() ? " compressed" : "");
}

/*
  Numbers and times: their width and sign, and where the point is. Digits that are only
  shown count as well: a computed column may be a text that has them.
*/
static void describe_number(std::string *to, const Field *field)
{
  enum_field_types type = field->real_type();
  bool is_integer = type <= MYSQL_TYPE_LONG || type == MYSQL_TYPE_LONGLONG ||
                    type == MYSQL_TYPE_INT24 || type == MYSQL_TYPE_NEWDATE;
  blitz_describe(to, " %u%s", field->pack_length_in_rec(),
                 field->flags & UNSIGNED_FLAG ? " unsigned" : "");
  if (field->flags & ZEROFILL_FLAG)
    blitz_describe(to, " zerofill %u", field->field_length);
  if (!is_integer && field->decimals() < NOT_FIXED_DEC)
    blitz_describe(to, " digits %u.%u", field->field_length, field->decimals());
}

/* Bits that do not fill a byte stand among the NULL bits. */
static void describe_bits(std::string *to, const TABLE *table, const Field *field)
{
  const Field_bit *bits = static_cast<const Field_bit *>(field);
  ptrdiff_t off = bits->bit_len ? bits->bit_ptr - table->record[0] : 0;
  blitz_describe(to, " %u at %d.%u", field->field_length, (int) off,
                 bits->bit_len ? bits->bit_ofs : 0);
}

static void describe_column(std::string *to, const TABLE *table, const Field *field)
{
  enum_field_types type = field->real_type();
  blitz_describe(to, "|%d", (int) type);
  switch (type)
  {
  case MYSQL_TYPE_VARCHAR:
  case MYSQL_TYPE_VARCHAR_COMPRESSED:
  case MYSQL_TYPE_TINY_BLOB:
  case MYSQL_TYPE_BLOB:
  case MYSQL_TYPE_MEDIUM_BLOB:
  case MYSQL_TYPE_LONG_BLOB:
  case MYSQL_TYPE_BLOB_COMPRESSED:
  case MYSQL_TYPE_GEOMETRY:
    describe_string(to, field);
    break;
  case MYSQL_TYPE_STRING:
    if (!Row_codec::is_char(field))
      to->append(" ").append(field->type_handler()->name().ptr());
    describe_string(to, field);
    break;
  case MYSQL_TYPE_BIT:
    describe_bits(to, table, field);
    break;
  case MYSQL_TYPE_YEAR:
    blitz_describe(to, " %u", field->field_length);
    break;
  case MYSQL_TYPE_ENUM:
  case MYSQL_TYPE_SET:
    blitz_describe(to, " %u", field->pack_length());
    break;
  default:
    describe_number(to, field);
  }
  if (field->real_maybe_null())
    blitz_describe(to, " null at %u.%u", (uint) field->null_offset(), field->null_bit);
}

/* The columns of the row key; what a collation takes for equal has one key. */
static void describe_row_key(std::string *to, const TABLE *table)
{
  if (!blitz_is_row_key(table->s, 0))
  {
    to->append("|row ids");
    return;
  }
  const KEY *key = table->key_info;
  for (uint part_no = 0; part_no < key->user_defined_key_parts; part_no++)
  {
    const KEY_PART_INFO *part = key->key_part + part_no;
    const Field *field = table->field[part->fieldnr - 1];
    bool is_prefix = part->length != field->key_length() || (field->flags & BLOB_FLAG);
    uint place = 0;
    for (Field **other = table->field; *other != field; other++)
      place += (*other)->stored_in_db();
    blitz_describe(to, "|key %u %u.%u", place, field->charset()->number,
                   is_prefix ? part->length : 0);
  }
}

uint64_t blitz_row_layout(const TABLE *table)
{
  try
  {
    std::string text;
    blitz_describe(&text, "layout %u, %u", LAYOUT_VERSION, table->s->null_bytes);
    for (Field **field = table->field; *field; field++)
      if ((*field)->stored_in_db())
        describe_column(&text, table, *field);
    describe_row_key(&text, table);
    uint64_t layout = blitz_fingerprint(text);
    return layout ? layout : 1;
  }
  catch (const std::bad_alloc &)
  {
    return 0;
  }
}
