/* SPDX-License-Identifier: GPL-2.0-only
 *
 * key_string.h: a string -> bytes that memcmp() orders as its collation does.
 *
 * What is compared are the weights of the string: those that the collation gives
 * (strnxfrm), or the string itself under binary collations. They are a sequence of
 * units, none of which is the beginning of another. A unit is
 *
 *   a byte of the weights   | character sets that are not Unicode, binary collations
 *   a weight as in UTF-8    | Unicode without UCA: weights there are code points
 *   two bytes               | UCA
 *
 * How a sequence is written depends on what the collation takes to follow its end:
 *
 * PADDED: spaces without end. Trailing spaces are dropped. All units stand as they
 * are, but after each run of spaces stands what comes next, since that is what it
 * has to be compared with when the other string ends or goes on here:
 *
 *   space, n         | n spaces and then a unit that is less; 7F: 126 and more of them
 *   space, 80        | nothing but spaces from here on: the end
 *   space, 100 - n   | n spaces and then a unit that is greater; 81: 126 and more
 *
 * EXACT: nothing, so that the end is less than any unit. Each 00 becomes 00 FF, and
 * 00 00 is the end.
 *
 * Collations of several levels have one such sequence for each, one after the other.
 *
 * The last string of a row key is written open: without the end, and if it is EXACT
 * without FF after 00. That keeps strings apart, but not in order.
 */
#ifndef BLITZ_KEY_STRING_H
#define BLITZ_KEY_STRING_H

#include "server.h"

class Key_string
{
public:
  /* Makes the plan for strings of CS. IS_CHAR: they are padded with spaces. */
  void init(CHARSET_INFO *cs, bool is_char);

  /* Does encode() need SCRATCH? */
  bool weighs() const { return !m_use_bytes; }

  /* Must encode() get as many characters as the column has, spaces at the end included? */
  bool counts_chars() const { return m_counts_chars; }

  /* Appends the encoding of a string at TO, and gives its end; NULL: there is no room
     before END, or the weights need more than SCRATCH_LEN bytes. */
  uchar *encode(const uchar *data, size_t len, bool open, uchar *to, uchar *end, uchar *scratch,
                size_t scratch_len) const;

  /* Gives the end of an encoding that is not open; NULL: the bytes are damaged. Each
     byte has been XORed with MASK. */
  const uchar *skip(const uchar *pos, const uchar *end, uchar mask) const;

  /* Can decode() give back what encode() got, trailing spaces of CHAR apart? */
  bool is_restorable() const { return m_use_bytes && (m_is_char || !m_levels[0].padded); }

  /* Writes the string to TO and its length, at most MAX; false: the bytes are damaged.
     ENCODED is the whole of an encoding. */
  bool decode(const uchar *pos, const uchar *end, uchar mask, bool open, uchar *to, size_t max,
              size_t *lenp) const;

private:
  /* The units of weights, and how they are written. */
  enum Units : uint8
  {
    BYTES,
    PAIRS,
    UTF8_OF_2, /* weights of two bytes as in UTF-8 */
    UTF8_OF_3,
  };
  struct Level
  {
    uint flag; /* for strnxfrm; 0: all levels in one */
    bool padded;
    uint16 space; /* PADDED: the weight of a space */
  };
  static const uint LEVELS_MAX = 8;

  void add_level(uint flag, bool padded);
  static bool stops_at_nul(CHARSET_INFO *cs);
  size_t weigh(const Level &level, const uchar *data, size_t len, uchar *weights, size_t max) const;
  size_t weigh_chars(const uchar *data, size_t len, uchar *weights, size_t max) const;
  uchar *put_level(const Level &level, const uchar *weights, size_t len, bool open, uchar *to,
                   uchar *end) const;
  static const uchar *skip_exact(const uchar *pos, const uchar *end, uchar mask);
  const uchar *skip_padded(const Level &level, const uchar *pos, const uchar *end,
                           uchar mask) const;

  CHARSET_INFO *m_cs = NULL;
  Units m_units = BYTES;
  bool m_is_char = false;
  bool m_use_bytes = false;
  bool m_strip_spaces = false;
  bool m_counts_chars = false;
  bool m_by_char = false;    /* weigh single bytes, take other characters as they are */
  bool m_cut_at_nul = false; /* the collation looks no further than a 00 byte */
  uint m_level_count = 0;
  Level m_levels[LEVELS_MAX];
};

#endif /* BLITZ_KEY_STRING_H */
