/* SPDX-License-Identifier: GPL-2.0-only
 *
 * key_string.cc: encoding strings of any collation; see key_string.h.
 *
 * What decides is how a collation compares (strnncollsp). Where its weights
 * (strnxfrm) say otherwise, there is a special case here.
 */
#include "key_string.h"

/* Codes after a space; runs of spaces are counted in pieces of RUN_MAX. */
static const uchar LESS_AND_MORE = 0x7F;
static const uchar END_OF_STRING = 0x80;
static const uchar GREATER_AND_MORE = 0x81;
static const size_t RUN_MAX = 0x7E;

void Key_string::init(CHARSET_INFO *cs, bool is_char)
{
  m_cs = cs;
  m_is_char = is_char;
  m_level_count = 0;
  m_counts_chars = false;
  bool is_unicode = (cs->state & MY_CS_UNICODE) != 0;
  bool padded = !(cs->state & MY_CS_NOPAD);
  /* UTF-16 has the characters beyond U+FFFF in the middle of the others, and those
     that are little-endian are in no order at all. */
  m_use_bytes = (cs->state & MY_CS_BINSORT) && cs->mbminlen == 1;
  if (m_use_bytes)
  {
    m_strip_spaces = is_char && cs != &my_charset_bin;
    m_units = BYTES;
    m_levels[m_level_count++] = {0, padded, ' '};
    return;
  }
  m_by_char = strcmp(cs->cs_name.str, "big5") == 0;
  m_cut_at_nul = stops_at_nul(cs);
  /* The Czech collations drop trailing spaces of the string, and then compare as many
     levels as they have one by one, the end of each being less than all else. */
  bool is_stream = !is_unicode && (cs->state & MY_CS_STRNXFRM_BAD_NWEIGHTS);
  /* Of two CHARs of a NOPAD collation spaces count: 'ss' with eight of them is less than
     a sharp s with nine, though without them both weigh the same. */
  bool expands = cs->uca != NULL || strncmp(cs->coll_name.str, "latin1_german2", 14) == 0;
  m_counts_chars = is_char && !padded && expands;
  m_strip_spaces = (is_char && !m_counts_chars) || is_stream;
  m_units = cs->uca ? PAIRS : !is_unicode ? BYTES : UTF8_OF_2;
  uint level_bits = cs->uca ? cs->levels_for_order : 0;
  bool many_levels = (level_bits & (level_bits - 1)) != 0;
  if (!many_levels)
    add_level(0, padded && !is_stream);
  /* In levels beyond the first, NOPAD collations pad too. */
  for (uint bit = 1; many_levels && bit <= level_bits && m_level_count < LEVELS_MAX; bit <<= 1)
    if (level_bits & bit)
      add_level(bit, padded || bit > 1);
}

/* Finds out what a space weighs there. */
void Key_string::add_level(uint flag, bool padded)
{
  uchar space[4], weight[16];
  my_ci_fill(m_cs, (char *) space, m_cs->mbminlen, ' ');
  size_t len = m_cs->coll->strnxfrm(m_cs, weight, sizeof(weight), 1, space, m_cs->mbminlen, flag);
  if (m_units == UTF8_OF_2 && len == 3)
    m_units = UTF8_OF_3;
  Level level = {flag, padded, 0};
  if (m_units == PAIRS)
  {
    level.space = (uint16) (weight[0] << 8 | weight[1]);
    level.padded = padded && len == 2; /* a space without weight is less than all else */
  }
  else
  {
    level.space = weight[len - 1];
  }
  m_levels[m_level_count++] = level;
}

/* tis620_thai_nopad_ci compares as C strings do. */
bool Key_string::stops_at_nul(CHARSET_INFO *cs)
{
  static const uchar first[] = {'a', 0, 'b'}, second[] = {'a', 0, 'c'};
  return cs->mbmaxlen == 1 &&
         cs->coll->strnncollsp(cs, first, sizeof(first), second, sizeof(second)) == 0;
}

/* ---- weights --------------------------------------------------------------------- */

/* big5_chinese_ci orders by the strokes of a character, but compares by its code. */
size_t Key_string::weigh_chars(const uchar *data, size_t len, uchar *weights, size_t max) const
{
  const uchar *end = data + len;
  size_t done = 0;
  for (const uchar *from = data; from < end && done + 1 < max;)
  {
    if (my_ci_charlen(m_cs, from, end) == 2)
    {
      weights[done++] = *from++;
      weights[done++] = *from++;
    }
    else
    {
      weights[done++] = m_cs->sort_order[*from++];
    }
  }
  return done;
}

/* Writes the weights of a string and gives their length; MAX or more of it: too many. */
size_t Key_string::weigh(const Level &level, const uchar *data, size_t len, uchar *weights,
                         size_t max) const
{
  if (m_by_char)
    return len < max ? weigh_chars(data, len, weights, max) : max;
  size_t done = m_cs->coll->strnxfrm(m_cs, weights, max, (uint) max, data, len, level.flag);
  const void *nul = m_cut_at_nul ? memchr(weights, 0, done) : NULL;
  return nul ? (size_t) (static_cast<const uchar *>(nul) - weights) : done;
}

/* ---- units ----------------------------------------------------------------------- */

template <uint WIDTH> static inline uint32 load_unit(const uchar *from)
{
  if (WIDTH == 1)
    return from[0];
  if (WIDTH == 2)
    return (uint32) (from[0] << 8 | from[1]);
  return (uint32) (from[0] << 16 | from[1] << 8 | from[2]);
}

/* Writes at most 4 bytes. */
template <uint WIDTH, bool AS_UTF8> static inline uchar *put_unit(uint32 unit, uchar *to)
{
  if (!AS_UTF8)
  {
    for (uint i = 1; i <= WIDTH; i++)
      *to++ = (uchar) (unit >> 8 * (WIDTH - i));
    return to;
  }
  if (unit < 0x80)
  {
    *to++ = (uchar) unit;
    return to;
  }
  if (unit < 0x800)
  {
    *to++ = (uchar) (0xC0 | unit >> 6);
  }
  else
  {
    if (unit < 0x10000)
    {
      *to++ = (uchar) (0xE0 | unit >> 12);
    }
    else
    {
      *to++ = (uchar) (0xF0 | unit >> 18);
      *to++ = (uchar) (0x80 | (unit >> 12 & 0x3F));
    }
    *to++ = (uchar) (0x80 | (unit >> 6 & 0x3F));
  }
  *to++ = (uchar) (0x80 | (unit & 0x3F));
  return to;
}

/* What comes after COUNT spaces, as long as there is room. */
static uchar *put_run(size_t count, bool next_is_less, uchar *to, uchar *end)
{
  while (count > RUN_MAX && to < end)
  {
    *to++ = next_is_less ? LESS_AND_MORE : GREATER_AND_MORE;
    count -= RUN_MAX;
  }
  if (to == end)
    return NULL;
  *to++ = next_is_less ? (uchar) count : (uchar) (0x100 - count);
  return to;
}

template <uint WIDTH, bool AS_UTF8>
static uchar *put_padded(const uchar *pos, size_t len, uint32 space, bool open, uchar *to,
                         uchar *end)
{
  const uchar *last = pos + len;
  while (last - pos >= (ptrdiff_t) WIDTH && load_unit<WIDTH>(last - WIDTH) == space)
    last -= WIDTH;
  while (last - pos >= (ptrdiff_t) WIDTH)
  {
    uint32 unit = load_unit<WIDTH>(pos);
    if (end - to < 4)
      return NULL;
    to = put_unit<WIDTH, AS_UTF8>(unit, to);
    pos += WIDTH;
    if (unit != space)
      continue;
    size_t count = 1;
    for (; (unit = load_unit<WIDTH>(pos)) == space; pos += WIDTH)
      count++;
    to = put_run(count, unit < space, to, end);
    if (to == NULL)
      return NULL;
  }
  if (open)
    return to;
  if (end - to < 5)
    return NULL;
  to = put_unit<WIDTH, AS_UTF8>(space, to);
  *to++ = END_OF_STRING;
  return to;
}

template <uint WIDTH, bool AS_UTF8>
static uchar *put_exact(const uchar *pos, size_t len, bool open, uchar *to, uchar *end)
{
  for (const uchar *last = pos + len; last - pos >= (ptrdiff_t) WIDTH; pos += WIDTH)
  {
    uchar unit[4];
    const uchar *unit_end = put_unit<WIDTH, AS_UTF8>(load_unit<WIDTH>(pos), unit);
    if (end - to < (ptrdiff_t) (2 * sizeof(unit)))
      return NULL;
    for (const uchar *byte = unit; byte < unit_end; byte++)
    {
      *to++ = *byte;
      if (*byte == 0 && !open)
        *to++ = 0xFF;
    }
  }
  if (open)
    return to;
  if (end - to < 2)
    return NULL;
  *to++ = 0;
  *to++ = 0;
  return to;
}

uchar *Key_string::put_level(const Level &level, const uchar *weights, size_t len, bool open,
                             uchar *to, uchar *end) const
{
  uint32 space = level.space;
  switch (m_units)
  {
  case BYTES:
    return level.padded ? put_padded<1, false>(weights, len, space, open, to, end)
                        : put_exact<1, false>(weights, len, open, to, end);
  case PAIRS:
    return level.padded ? put_padded<2, false>(weights, len, space, open, to, end)
                        : put_exact<2, false>(weights, len, open, to, end);
  case UTF8_OF_2:
    return level.padded ? put_padded<2, true>(weights, len, space, open, to, end)
                        : put_exact<2, true>(weights, len, open, to, end);
  case UTF8_OF_3:
    return level.padded ? put_padded<3, true>(weights, len, space, open, to, end)
                        : put_exact<3, true>(weights, len, open, to, end);
  }
  return NULL;
}

uchar *Key_string::encode(const uchar *data, size_t len, bool open, uchar *to, uchar *end,
                          uchar *scratch, size_t scratch_len) const
{
  if (m_strip_spaces)
    len = my_ci_lengthsp(m_cs, reinterpret_cast<const char *>(data), len);
  if (m_use_bytes)
    return put_level(m_levels[0], data, len, open, to, end);
  for (uint level_no = 0; level_no < m_level_count && to != NULL; level_no++)
  {
    const Level &level = m_levels[level_no];
    size_t weights_len = weigh(level, data, len, scratch, scratch_len);
    if (weights_len >= scratch_len)
      return NULL;
    to = put_level(level, scratch, weights_len, open && level_no + 1 == m_level_count, to, end);
  }
  return to;
}

/* ---- and back -------------------------------------------------------------------- */

const uchar *Key_string::skip_exact(const uchar *pos, const uchar *end, uchar mask)
{
  while (end - pos >= 2)
  {
    if ((*pos++ ^ mask) != 0)
      continue;
    uchar code = *pos++ ^ mask;
    if (code == 0)
      return pos;
    if (code != 0xFF)
      return NULL;
  }
  return NULL;
}

const uchar *Key_string::skip_padded(const Level &level, const uchar *pos, const uchar *end,
                                     uchar mask) const
{
  uint width = m_units == PAIRS ? 2 : 1;
  while (end - pos > (ptrdiff_t) width)
  {
    bool is_space = width == 1 ? (*pos ^ mask) == level.space
                               : ((pos[0] ^ mask) << 8 | (pos[1] ^ mask)) == level.space;
    pos += width;
    if (!is_space)
      continue;
    uchar code = *pos++ ^ mask;
    if (code == END_OF_STRING)
      return pos;
    while (pos < end && (code == LESS_AND_MORE || code == GREATER_AND_MORE))
      code = *pos++ ^ mask;
  }
  return NULL;
}

const uchar *Key_string::skip(const uchar *pos, const uchar *end, uchar mask) const
{
  for (uint level_no = 0; level_no < m_level_count && pos != NULL; level_no++)
  {
    const Level &level = m_levels[level_no];
    pos = level.padded ? skip_padded(level, pos, end, mask) : skip_exact(pos, end, mask);
  }
  return pos;
}

/* The spaces of a run besides the first; *POSP is behind that. */
static bool load_run(const uchar **posp, const uchar *end, uchar mask, size_t *countp)
{
  size_t count = 0;
  for (const uchar *pos = *posp; pos < end;)
  {
    uchar code = *pos++ ^ mask;
    if (code == LESS_AND_MORE || code == GREATER_AND_MORE)
    {
      count += RUN_MAX;
      continue;
    }
    count += code < END_OF_STRING ? code : (size_t) 0x100 - code;
    *posp = pos;
    *countp = count - 1;
    return code != 0 && code != END_OF_STRING;
  }
  return false;
}

bool Key_string::decode(const uchar *pos, const uchar *end, uchar mask, bool open, uchar *to,
                        size_t max, size_t *lenp) const
{
  bool padded = m_levels[0].padded;
  if (!open)
  {
    if (end - pos < 2)
      return false;
    end -= 2; /* the end of the string, which skip() has seen */
  }
  size_t len = 0;
  while (pos < end)
  {
    uchar byte = *pos++ ^ mask;
    if (len == max)
      return false;
    to[len++] = byte;
    if (padded && byte == ' ')
    {
      size_t count;
      if (!load_run(&pos, end, mask, &count) || count > max - len)
        return false;
      memset(to + len, ' ', count);
      len += count;
    }
    else if (!padded && !open && byte == 0)
    {
      if (pos == end || (uchar) (*pos++ ^ mask) != 0xFF)
        return false;
    }
  }
  *lenp = len;
  return true;
}
