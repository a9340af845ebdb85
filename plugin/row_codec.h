/* SPDX-License-Identifier: GPL-2.0-only
 *
 * row_codec.h: a table's record buffer <-> the bytes of a packed row.
 *
 * A packed row is
 *
 *   version, 1 byte | the record's NULL bytes | the stored columns in order
 *
 * Columns of fixed width stand there as in the record, also when NULL; columns
 * of variable width stand there as length and data, and not at all when NULL.
 * Columns that are computed on reading do not stand there.
 *
 * The plan of a table is made once when it is opened: columns of fixed width
 * that are neighbours in the record are one step of it, one memcpy.
 *
 * 1. decode() trusts no length: whatever the bytes, it stays inside the row and
 *    inside the record, or says BLITZ_CORRUPT.
 * 2. After decode() BLOB columns point into the row, which must outlive them.
 */
#ifndef BLITZ_ROW_CODEC_H
#define BLITZ_ROW_CODEC_H

#include <vector>

#include "server.h"

class Row_codec
{
public:
  /* Makes the plan for TABLE; true: out of memory. */
  bool init(const TABLE *table);

  /* Is it a CHAR or a BINARY? Types of plugins, such as UUID, say they are STRING too. */
  static bool is_char(const Field *field);

  /* An upper bound for the packed row of RECORD. */
  size_t packed_max(const uchar *record) const;

  /* Packs RECORD to TO, which has room for packed_max() bytes; gives the length. */
  size_t encode(const uchar *record, uchar *to) const;

  /* Says which columns decode() fills in; NULL: all of them. */
  void want(const MY_BITMAP *columns);

  /* May two packed rows differ in a wanted column? False: certainly not. */
  bool may_differ(struct blitz_slice a, struct blitz_slice b) const;

  /* Fills in the wanted columns of RECORD. */
  enum blitz_rc decode(uchar *record, struct blitz_slice row) const;

private:
  enum Kind : uint8
  {
    FIXED,   /* bytes as they are in the record */
    CHAR,    /* CHAR, BINARY: without the padding */
    VARCHAR, /* length and data as in the record */
    BLOB,    /* length and data; the record has a pointer */
  };

  struct Step
  {
    Kind kind;
    bool wanted;
    bool is_text;    /* CHAR: NULL looks like an empty string in the record */
    uint8 len_bytes; /* width of the length in the packed row */
    uint8 pad_len;   /* CHAR: bytes of one padding character */
    uint8 null_bit;  /* 0: never NULL */
    uint32 null_off;
    uint32 off; /* in the record */
    uint32 len; /* FIXED, CHAR: bytes in the record; VARCHAR: longest data */
    uint16 first_column, last_column;
    uchar pad[4];
  };

  void add_column(const TABLE *table, const Field *field);
  static size_t unpadded_len(const Step &step, const uchar *data);
  static void reset_column(const Step &step, uchar *to);
  static bool decode_step(const Step &step, uchar *record, const uchar **posp, const uchar *end);

  std::vector<Step> m_steps;
  size_t m_needed_steps = 0; /* decode() stops after these */
  bool m_all_wanted = true;
  uint m_null_bytes = 0;
  size_t m_fixed_max = 0; /* all but the data of BLOBs */
  bool m_has_blobs = false;
};

#endif /* BLITZ_ROW_CODEC_H */
