/* SPDX-License-Identifier: GPL-2.0-only
 *
 * check_strings.cc: Key_string against the comparison of every collation.
 *
 * Of each pair of awkward strings:
 *
 * 1. memcmp() of the encodings says what the collation says.
 * 2. Neither encoding is the beginning of the other one, unless they are equal.
 * 3. Open encodings are the same exactly when the strings are equal.
 *
 * Of each string:
 *
 * 4. skip() finds its end, before whatever bytes, inverted or not.
 * 5. decode() gives it back, where it says so.
 * 6. With less room than it needs, encode() says that and writes nowhere else.
 */
#include "codec_check.h"
#include "strings.h"

#include "../../plugin/key_string.h"

#include <algorithm>

static const size_t SCRATCH = 40000;
static const size_t CHARS = 12; /* of a CHAR column in which spaces count */

namespace
{
struct Encoded
{
  std::string chars, closed, open;
};

class Check
{
public:
  Check(CHARSET_INFO *cs, bool is_char) : m_cs(cs), m_is_char(is_char), m_scratch(SCRATCH, 0)
  {
    m_string.init(cs, is_char);
  }
  void run(std::vector<std::string> strings, Check_result *result);

private:
  void fail(const char *what, const Encoded &a, const Encoded &b);
  std::string encode(const std::string &s, bool open, size_t room = SCRATCH);
  void check_one(const Encoded &a);
  void check_pair(const Encoded &a, const Encoded &b);
  int compare(const Encoded &a, const Encoded &b);
  int order(const Encoded &a, const Encoded &b);
  void pad(std::vector<std::string> &strings);

  CHARSET_INFO *m_cs;
  bool m_is_char;
  Key_string m_string;
  std::vector<uchar> m_scratch;
  Check_result *m_result = NULL;
};
} // namespace

static const uchar *bytes(const std::string &s)
{
  return reinterpret_cast<const uchar *>(s.data());
}

static int sign(int n) { return (n > 0) - (n < 0); }

static std::string hex(const std::string &s)
{
  std::string to;
  for (uchar byte : s.substr(0, 40))
  {
    char digits[4];
    snprintf(digits, sizeof(digits), "%02X", byte);
    to += digits;
  }
  return to.empty() ? "-" : to;
}

void Check::fail(const char *what, const Encoded &a, const Encoded &b)
{
  if (m_result->failures++ == 0)
    m_result->example = std::string(what) + (m_is_char ? " (CHAR): " : ": ") + hex(a.chars) +
                        " and " + hex(b.chars) + ", encoded " + hex(a.closed) + " and " +
                        hex(b.closed) + ", compared " + std::to_string(compare(a, b));
}

std::string Check::encode(const std::string &s, bool open, size_t room)
{
  std::string to(room + 1, '\x55');
  uchar *begin = reinterpret_cast<uchar *>(&to[0]);
  uchar *end = m_string.encode(bytes(s), s.size(), open, begin, begin + room, &m_scratch[0],
                               m_scratch.size());
  if (to[room] != '\x55')
    return "wrote beyond the end";
  return end ? to.substr(0, (size_t) (end - begin)) : "no room";
}

int Check::compare(const Encoded &a, const Encoded &b)
{
  return sign(m_cs->coll->strnncollsp(m_cs, bytes(a.chars), a.chars.size(), bytes(b.chars),
                                      b.chars.size()));
}

int Check::order(const Encoded &a, const Encoded &b)
{
  return sign(memcmp(a.closed.data(), b.closed.data(), std::min(a.closed.size(), b.closed.size())));
}

void Check::check_one(const Encoded &a)
{
  for (uchar mask : {0, 0xFF})
  {
    for (const char *tail : {"", "\x01", "\xff", "\x80", "  \x80"})
    {
      std::string s = a.closed + tail;
      for (char &byte : s)
        byte = (char) (byte ^ mask);
      const uchar *end = bytes(s) + s.size();
      if (m_string.skip(bytes(s), end, mask) != bytes(s) + a.closed.size())
        fail("skip", a, a);
      for (size_t len = 0; len < a.closed.size(); len++)
        if (m_string.skip(bytes(s), bytes(s) + len, mask) != NULL)
          fail("skip of a beginning", a, a);
    }
  }
  for (bool open : {false, true})
  {
    const std::string &s = open ? a.open : a.closed;
    std::vector<uchar> to(a.chars.size() + 1);
    size_t len = 0;
    if (m_string.is_restorable() &&
        (!m_string.decode(bytes(s), bytes(s) + s.size(), 0, open, &to[0], a.chars.size(), &len) ||
         len != a.chars.size() || memcmp(&to[0], a.chars.data(), len) != 0))
      fail("decode", a, a);
    for (size_t room = 0; room < s.size() && s.size() < 100; room++)
      if (encode(a.chars, open, room) != "no room")
        fail("room", a, a);
  }
  if (m_is_char && !m_string.counts_chars())
  {
    std::string padded(20 * m_cs->mbminlen, 0);
    my_ci_fill(m_cs, &padded[0], padded.size(), ' ');
    if (encode(a.chars + padded, false) != a.closed || encode(a.chars + padded, true) != a.open)
      fail("padding", a, a);
  }
}

void Check::check_pair(const Encoded &a, const Encoded &b)
{
  int expected = compare(a, b);
  m_result->pairs++;
  if (order(a, b) != expected)
    fail("order", a, b);
  else if (expected == 0 && a.closed.size() != b.closed.size())
    fail("length", a, b);
  if ((a.open == b.open) != (expected == 0))
    fail("equality", a, b);
}

/* Makes them values of one column, of CHARS characters; longer ones go. */
void Check::pad(std::vector<std::string> &strings)
{
  auto length = [this](const std::string &s) {
    return m_cs->cset->numchars(m_cs, s.data(), s.data() + s.size());
  };
  strings.erase(std::remove_if(strings.begin(), strings.end(),
                               [&](const std::string &s) { return length(s) > CHARS; }),
                strings.end());
  for (std::string &s : strings)
  {
    std::string spaces((CHARS - length(s)) * m_cs->mbminlen, 0);
    my_ci_fill(m_cs, &spaces[0], spaces.size(), ' ');
    s += spaces;
  }
}

void Check::run(std::vector<std::string> strings, Check_result *result)
{
  m_result = result;
  if (m_is_char)
  {
    if (m_string.counts_chars())
      pad(strings);
    else
      for (std::string &s : strings)
        s.resize(my_ci_lengthsp(m_cs, s.data(), s.size()));
    std::sort(strings.begin(), strings.end());
    strings.erase(std::unique(strings.begin(), strings.end()), strings.end());
  }
  std::vector<Encoded> all;
  for (const std::string &s : strings)
    all.push_back({s, encode(s, false), encode(s, true)});
  result->strings += all.size();
  for (size_t i = 0; i < all.size(); i++)
  {
    check_one(all[i]);
    for (size_t k = i; k < all.size(); k++)
      check_pair(all[i], all[k]);
  }
}

void check_collation(CHARSET_INFO *cs, uint random_count, Check_result *result)
{
  std::vector<std::string> strings = awkward_strings(cs, random_count);
  Check(cs, false).run(strings, result);
  if (cs != &my_charset_bin)
    Check(cs, true).run(strings, result);
}
