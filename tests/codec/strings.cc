/* SPDX-License-Identifier: GPL-2.0-only
 *
 * strings.cc: see strings.h.
 */
#include "strings.h"

#include <random>
#include <set>

/* In UTF-8, converted to the character set in question if it has them. */
static const char *const ATOMS[] = {
  " ", " ", "  ", "a", "A", "b", "c", "h", "C", "H", "ch", "Ch", "CH", "cH", "l", "L", "ll", "LL",
  "d", "z", "dz", "dž", "Dž", "lj", "nj", "gy", "cs", "dzs", "ty", "zs", "ij", "n", "g", "ng",
  "o", "e", "ae", "oe", "ss", "s", "u", "v", "w", "y", "0", "1", "9", "~", "!", "-", "_", "'", "%",
  "\t", "\n", "\x01", "\x02", "\x1f", "\x7f", "é", "É", "è", "ê", "á", "ä", "Ä", "å", "Å", "aa",
  "ö", "ø", "õ", "ü", "ű", "ß", "ẞ", "æ", "Æ", "œ", "þ", "ð", "ñ", "ç", "č", "ć", "ď", "đ", "ł",
  "ř", "š", "ž", "ź", "ż", "ı", "İ", "ğ", "ş", "đ", "ǆ", "ĳ", "ŉ", "ſ", "ﬁ", "ﬃ", "Ǆ", "ŀ",
  "α", "ά", "Ω", "σ", "ς", "я", "ё", "й", "и", "ї", "ґ", "Ж", "א", "ש", "ب", "ا", "ل", "لا",
  "क", "ख", "्", "ा", "ි", "ක", "ක්", "ක්ෂ", "ම", "ா", "க", "က", "ဿ", "ក", "្",
  "ก", "ข", "เ", "แ", "โ", "ไ", "า", "ำ", "ิ", "่", "้", "์", "ๆ", "ฯ", "ກ", "ເ", "ແ", "໊",
  "あ", "ア", "ｱ", "ー", "か", "が", "゛", "ｶﾞ", "ヽ", "々", "一", "丁", "中", "国", "國", "龍", "亜",
  "한", "가", "ㄱ", "ᄀ", "ᅡ", "ᆨ", "㐀", "\u3000", "！", "Ａ", "ａ", "\u00a0", "\u00ad", "\u200b",
  "\u200c", "\u200d", "\u2003", "\u2028", "\ufeff", "\u0300", "\u0301", "\u0308", "\u0327",
  "\u0345", "\u0338", "\u20ac", "\u2122", "½", "²", "①", "㎏", "…", "\ud7ff", "\ue000",
  "\uf8ff", "\ufffc",
  "\ufffd", "\uffff", "\U00010000", "\U00010400", "\U00010428", "\U0001d400", "\U0001f600",
  "\U0001f468", "\U00020000", "\U0002a6d6", "\U000e0100", "\U0010ffff",
};

static const char *const WHOLES[] = {
  "", " ", "  ", "     ", "a", "a ", "a  ", "a\t", "a \t", "a  \t", "a\t ", "a b", "a  b", "a !",
  "a  !", "a\x01", "a \x01", "a\x01 ", "\x01", " \x01", "\t a", "\t", "a\u00a0", "a \u00a0",
  "a\u00a0 ", "a\u200b", "a\u200b ", "a \u200b", "a \u200b ", "\u200b", "\u200b\u200b", "a\u00ad",
  "a\u00ad ", "a \u00ad", "\u00ad", "a\u0301", "a \u0301", "a\u0301 ", "a  \u0301b", "\u0301",
  " \u0301", "á ", "Á", "ab", "aB", "AB", "Ab", "àb", "aab", "chz", "cz", "hz", "czh", "c\u200bh",
  "c h", "c\u00adh", "llama", "lama", "l\u200bl", "straße", "strasse", "STRASSE", "strase",
  "strasze", "cote", "coté", "côte", "côté", "co-op", "coop", "CO-OP", "co op", "di Silva",
  "diSilva", "di  Silva", "Di silva", "resume", "résumé", "Resume", "เก", "กเ", "เ", "เ ก", "แกะ",
  "ก่", "ก่ข", "ก ่", "ก่ ", "กข่", "กข์ ก", "XX\u0e48X", "X\u0e48XX", "ເກ", "ກເ", "が", "か゛",
  "カー", "カア", "かー", "ー", "各", "가각", "한글",
};

typedef std::set<std::string> String_set;

static bool is_well_formed(CHARSET_INFO *cs, const std::string &s)
{
  MY_STRCOPY_STATUS status;
  cs->cset->well_formed_char_length(cs, s.data(), s.data() + s.size(), s.size(), &status);
  return status.m_well_formed_error_pos == NULL && status.m_source_end_pos == s.data() + s.size();
}

static void add(CHARSET_INFO *cs, String_set *set, const std::string &s)
{
  if (is_well_formed(cs, s))
    set->insert(s);
}

/* What has no place in the character set gives an empty string, and false. */
static bool convert(CHARSET_INFO *cs, const std::string &s, std::string *to)
{
  char buffer[1024];
  uint errors = 0;
  uint len = my_convert(buffer, sizeof(buffer), cs, s.data(), (uint32) s.size(),
                        &my_charset_utf8mb4_bin, &errors);
  to->assign(buffer, errors ? 0 : len);
  return errors == 0;
}

static std::string spaces(CHARSET_INFO *cs, size_t count)
{
  std::string s(count * cs->mbminlen, 0);
  my_ci_fill(cs, &s[0], s.size(), ' ');
  return s;
}

/* Every character of one byte, and random ones of more, by themselves and in company. */
static void add_raw(CHARSET_INFO *cs, String_set *set, std::mt19937 *random)
{
  for (uint byte = 0; byte < 256 && cs->mbminlen == 1; byte++)
  {
    std::string s(1, (char) byte);
    add(cs, set, s);
    if (cs->mbmaxlen == 1)
    {
      add(cs, set, "a" + s);
      add(cs, set, "a " + s + "b");
    }
  }
  for (uint i = 0; i < 400 && cs->mbmaxlen > 1; i++)
  {
    std::string s;
    uint len = cs->mbminlen * (1 + (*random)() % 4);
    for (uint k = 0; k < len; k++)
      s += (char) ((*random)() % 3 ? (*random)() : 0x20);
    add(cs, set, s);
  }
}

/* What the server takes for the least and the greatest string of LIKE 's%'. */
static void add_like_range(CHARSET_INFO *cs, String_set *set, const std::string &s)
{
  size_t len = 12 * cs->mbmaxlen, min_len, max_len;
  std::string min(len, 0), max(len, 0), wild, pattern = s;
  convert(cs, "%", &wild);
  pattern += wild;
  if (!cs->coll->like_range(cs, pattern.data(), pattern.size(), '\\', '_', '%', len, &min[0],
                            &max[0], &min_len, &max_len))
  {
    add(cs, set, min.substr(0, min_len));
    add(cs, set, max.substr(0, max_len));
  }
}

static void add_long(CHARSET_INFO *cs, String_set *set, const std::string &a, const std::string &b)
{
  static const size_t counts[] = {1, 2, 3, 125, 126, 127, 128, 252, 253, 254, 300};
  std::string low;
  convert(cs, "\t", &low);
  for (size_t count : counts)
  {
    add(cs, set, a + spaces(cs, count));
    add(cs, set, a + spaces(cs, count) + b);
    add(cs, set, a + spaces(cs, count) + low);
  }
}

std::vector<std::string> awkward_strings(CHARSET_INFO *cs, uint random_count)
{
  String_set set;
  std::mt19937 random(cs->number);
  std::vector<std::string> atoms;
  std::string s;
  for (const char *atom : ATOMS)
  {
    if (!convert(cs, atom, &s))
      continue;
    atoms.push_back(s);
    add(cs, &set, s);
  }
  for (const char *whole : WHOLES)
    if (convert(cs, whole, &s))
      add(cs, &set, s);
  std::string a, b, nul;
  convert(cs, "a", &a);
  convert(cs, "b", &b);
  convert(cs, std::string(1, '\0'), &nul);
  for (const std::string &t : {nul, nul + nul, a + nul, a + nul + b, a + spaces(cs, 1) + nul,
                               nul + a, a + nul + spaces(cs, 1), a + nul + nul})
    add(cs, &set, t);
  add_long(cs, &set, a, b);
  add_raw(cs, &set, &random);
  for (uint i = 0; i < random_count; i++)
  {
    s.clear();
    for (uint k = 1 + random() % 6; k > 0; k--)
      s += random() % 4 ? atoms[random() % atoms.size()] : spaces(cs, random() % 3);
    add(cs, &set, s);
    if (i % 8 == 0)
      add_like_range(cs, &set, s);
  }
  return std::vector<std::string>(set.begin(), set.end());
}
