/* SPDX-License-Identifier: GPL-2.0-only
 *
 * key_codec.h: the columns of a key -> the bytes of a row key.
 *
 * 1. Two keys have the same bytes exactly when SQL takes them for equal, by
 *    each column's collation, padding and prefix length.
 * 2. The bytes are the same whether they come from a record or from a search
 *    key as the server hands it to index_read.
 * 3. memcmp order is SQL order, except that under PAD SPACE collations a string
 *    comes before its continuation by a character that sorts below the space.
 *
 * A column of fixed width is its bytes in memcmp order. A string is its
 * collation weights (the string itself under binary collations) without what
 * equals padding; each 00 in it becomes 00 FF, and 00 00 ends it. The last
 * column needs no end and stands as it is. A key of one string only gets
 * another 00 if it is nothing but 00 bytes, so that no key is empty.
 *
 * A codec belongs to one TABLE object and with it to one thread at a time.
 */
#ifndef BLITZ_KEY_CODEC_H
#define BLITZ_KEY_CODEC_H

#include <memory>
#include <vector>

#include "server.h"

class Key_codec
{
public:
  /* What encode_* give for a key that has more than BLITZ_KEY_MAX bytes. */
  static const size_t TOO_LONG = SIZE_MAX;

  /* Makes the plan for KEY of TABLE; true: out of memory. */
  bool init(const TABLE *table, const KEY *key);

  /* Room that the buffers of encode_* must have. */
  size_t buffer_size() const { return m_buffer_size; }

  /* Encodes the key of RECORD, a record buffer of the table. */
  size_t encode_record(const uchar *record, uchar *to);

  /* Encodes a search key of all key parts. */
  size_t encode_search(const uchar *search, uchar *to);

private:
  enum Kind : uint8
  {
    INTEGER, /* little-endian in the record */
    IMAGE,   /* what Field::sort_string() makes of it */
    BITS,
    STRING,
  };
  enum Place : uint8
  {
    FIXED_PLACE, /* the bytes stand in the record, all of them */
    VARCHAR_PLACE,
    BLOB_PLACE,
  };
  /* How to drop what equals padding, beyond trailing spaces of the string. */
  struct Level
  {
    uint flag; /* for strnxfrm; 0: all levels in one */
    uint8 space_len;
    uchar space[8]; /* weight of a space; none of it: nothing to drop */
  };
  struct Part
  {
    Kind kind;
    Place place;
    bool is_signed;
    bool strip_spaces;
    bool use_bytes;    /* STRING: binary collation */
    bool by_char;      /* STRING: weigh single bytes, take other characters as they are */
    bool cut_at_nul;   /* STRING: the collation looks no further than a 00 byte */
    uint8 len_bytes;   /* width of the length in the record */
    uint32 off;        /* in the record */
    uint32 len;        /* of the column's fixed bytes in the record */
    uint32 search_len; /* bytes of the part in a search key */
    uint32 key_len;    /* bytes of key, as declared */
    uint32 image_len;
    uint32 max_chars; /* of a prefix; 0: the whole column */
    CHARSET_INFO *cs;
    Field *field;
    std::vector<Level> levels;
  };
  /* Bytes of a string. */
  struct Chars
  {
    const uchar *data;
    size_t len;
  };

  void add_part(const TABLE *table, const KEY_PART_INFO *key_part);
  static void plan_string(Part *part, const Field *field, const KEY_PART_INFO *key_part);
  static void plan_levels(Part *part);
  static bool has_whole_weights(CHARSET_INFO *cs);
  static bool stops_at_nul(CHARSET_INFO *cs);
  static Chars record_chars(const Part &part, const uchar *record);
  static uchar *put_integer(const Part &part, const uchar *from, uchar *to);
  static uchar *put_image(const Part &part, const uchar *from, uchar *to);
  uchar *put_string(const Part &part, Chars chars, uchar *to, uchar *end, bool last);
  size_t weigh(const Part &part, const Level &level, Chars chars);
  uchar *put_level(const Part &part, const Level &level, Chars chars, uchar *to, uchar *end,
                   bool last);
  static uchar *put_bits(const Part &part, const uchar *record, uchar *to);
  static uchar *put_escaped(Chars chars, uchar *to, uchar *end, bool last);
  size_t finish(uchar *to, uchar *pos) const;

  std::vector<Part> m_parts;
  std::unique_ptr<uchar[]> m_weights; /* scratch for a string's weights */
  size_t m_buffer_size = 0;
  bool m_lone_string = false;
};

#endif /* BLITZ_KEY_CODEC_H */
