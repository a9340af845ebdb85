/* SPDX-License-Identifier: GPL-2.0-only
 *
 * key_codec.h: the columns of a key -> bytes that memcmp() orders, and back.
 *
 * 1. Two keys have the same bytes exactly when SQL takes them for equal, by
 *    each column's collation, padding and prefix length.
 * 2. memcmp() orders keys as SQL orders them, NULLs first; parts that were
 *    declared DESC the other way round.
 * 3. The bytes are the same whether they come from a record or from a search
 *    key as the server hands it to index_read.
 * 4. No key of an index is the beginning of another one, and the first parts of
 *    a key are encoded as they would be without the others.
 *
 * A part is:
 *
 *   nullable   | 00: NULL, and nothing follows; 01: not NULL. Only in INDEX_KEY.
 *   fixed width| the column's bytes, most significant first
 *   string     | see key_string.h
 *   DESC       | all of the above, inverted
 *
 * The last part of a ROW_KEY is a string without its end. There, a key of one
 * string only gets another 00 if it is nothing but 00 bytes, so that no key is
 * empty; and 4. holds for INDEX_KEY only.
 *
 * An index can give back columns without the row. What the bytes of a part do not
 * tell, such as the case of letters, is in the entry's payload: for each such part
 * that is not NULL, in the order of the parts, the column's bytes as in the record;
 * strings as length and data, the length in as many bytes as the longest needs.
 *
 * A codec belongs to one TABLE object and with it to one thread at a time.
 */
#ifndef BLITZ_KEY_CODEC_H
#define BLITZ_KEY_CODEC_H

#include <memory>
#include <vector>

#include "key_string.h"
#include "server.h"

class Key_codec
{
public:
  enum Use
  {
    ROW_KEY,   /* of the primary key: rows are found by it as a whole */
    INDEX_KEY, /* of an ordered index */
  };

  /* What encode_* give for a key that has more than BLITZ_KEY_MAX bytes, for an
     INDEX_KEY BLITZ_INDEX_KEY_MAX. */
  static const size_t TOO_LONG = SIZE_MAX;

  /* Makes the plan for KEY of TABLE; true: out of memory. */
  bool init(const TABLE *table, const KEY *key, Use use);

  /* Room that the buffers of encode_record() and encode_search() must have. */
  size_t buffer_size() const { return m_buffer_size; }

  uint part_count() const { return (uint) m_parts.size(); }

  /* Encodes the key of RECORD, a record buffer of the table. */
  size_t encode_record(const uchar *record, uchar *to);

  /* Is any part of RECORD's key NULL? */
  bool has_null(const uchar *record) const;

  /* Are there CHARs of which spaces at the end count? See Key_string. */
  bool counts_chars() const;

  /* Encodes the first PART_COUNT parts of a search key. Of an INDEX_KEY that is how
     all keys begin that match them. */
  size_t encode_search(const uchar *search, uint part_count, uchar *to);

  /* Does decode() give back what the column of this part was, byte by byte? A ROW_KEY
     has no payload, so there it is only what the key's bytes tell. */
  bool restores(uint part) const { return m_parts[part].restored != NOT_RESTORED; }

  /* An upper bound for the payload of RECORD. */
  size_t payload_max(const uchar *) const { return m_payload_max; }

  /* Writes what decode() needs beside the key to TO; gives the length. */
  size_t encode_payload(const uchar *record, uchar *to) const;

  /* Fills in the columns of RECORD, and their NULL bits, that are parts of the key,
     restored and in WANTED; NULL: all of the parts. False: the bytes are damaged. */
  bool decode(uchar *record, struct blitz_slice key, struct blitz_slice payload,
              const MY_BITMAP *wanted) const;

  /* Says where each part of an INDEX_KEY ends, in bytes from its beginning. ENDS has
     room for part_count(). Gives their number; 0: the bytes are damaged. */
  uint part_ends(struct blitz_slice key, uint32 *ends) const;

private:
  enum Kind : uint8
  {
    INTEGER, /* little-endian in the record */
    COPY,    /* the bytes in the record are in memcmp order */
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
  enum Restored : uint8
  {
    NOT_RESTORED,
    FROM_KEY,
    FROM_PAYLOAD,
  };
  struct Part
  {
    Kind kind;
    Place place;
    Restored restored;
    bool is_signed;
    uchar mask;        /* what the bytes of the part are XORed with */
    uchar null_bit;    /* 0: never NULL, or not to be told in the key */
    uint8 len_bytes;   /* of STRING: width of the length in record and payload */
    uint8 pad_len;     /* of STRING in FIXED_PLACE: bytes of one padding character */
    uint32 null_off;   /* in the record */
    uint32 off;        /* in the record */
    uint32 len;        /* of the column's fixed bytes in the record */
    uint32 search_len; /* bytes of the part in a search key */
    uint32 key_len;    /* bytes of key, as declared */
    uint32 image_len;  /* bytes in the encoded key; 0: a STRING */
    uint32 max_chars;  /* of a prefix; 0: the whole column */
    uint16 column;
    uchar pad[4];
    CHARSET_INFO *cs;
    Field *field;
    Key_string string;
  };
  /* Bytes of a string. */
  struct Chars
  {
    const uchar *data;
    size_t len;
  };

  void add_part(const TABLE *table, const KEY_PART_INFO *key_part);
  void plan_nulls(Part *part, const KEY_PART_INFO *key_part) const;
  static void plan_fixed(Part *part, const KEY_PART_INFO *key_part);
  static void plan_string(Part *part, const KEY_PART_INFO *key_part);
  bool is_open(size_t part_no) const { return m_use == ROW_KEY && part_no + 1 == m_parts.size(); }
  static Chars record_chars(const Part &part, const uchar *record);
  static uchar *put_integer(const Part &part, const uchar *from, uchar *to);
  static uchar *put_image(const Part &part, const uchar *from, uchar *to);
  static uchar *put_bits(const Part &part, const uchar *record, uchar *to);
  uchar *put_string(const Part &part, Chars chars, bool open, uchar *to, uchar *end) const;
  uchar *put_record_part(const Part &part, const uchar *record, bool open, uchar *to,
                         uchar *end) const;
  uchar *put_search_part(const Part &part, const uchar *search, bool open, uchar *to,
                         uchar *end) const;
  size_t finish(uchar *to, uchar *pos) const;
  static const uchar *skip_part(const Part &part, const uchar *pos, const uchar *end);
  static void load_integer(const Part &part, const uchar *from, uchar *to);
  static bool load_from_key(const Part &part, const uchar *pos, const uchar *end, bool open,
                            uchar *record);
  static bool load_from_payload(const Part &part, const uchar **posp, const uchar *end, bool wanted,
                                uchar *record);
  static void pad_chars(const Part &part, size_t len, uchar *record);

  std::vector<Part> m_parts;
  std::unique_ptr<uchar[]> m_weights; /* scratch for a string's weights */
  Use m_use = ROW_KEY;
  size_t m_key_max = 0;
  size_t m_buffer_size = 0;
  size_t m_payload_max = 0;
  size_t m_walk_end = 0; /* decode() reads the key's bytes of the parts before this one */
  bool m_lone_string = false;
};

#endif /* BLITZ_KEY_CODEC_H */
