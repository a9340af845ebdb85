/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_edge.cc: the first and the last row of a range of a primary key that is a hash.
 *
 * The optimizer answers MIN() and MAX() from an index, of any key of the table, only
 * if it takes all the keys before that one for ordered, the primary key among them
 * (find_key_for_maxmin() in the server). So index_flags() says so to it alone, and if it
 * is the primary key whose least or greatest value is wanted, all rows are looked at
 * here, as they would be without this.
 */
#include "ha_blitz.h"

#include <new>
#include <string>

/* The search is told by the sort key that it begins with and where from there. */
namespace
{

class Edge
{
public:
  Edge(struct blitz_slice bound, enum blitz_seek where)
      : m_bound(bound), m_where(where),
        m_is_first(where == BLITZ_SEEK_FIRST || where == BLITZ_SEEK_AFTER)
  {
  }

  bool is_better(struct blitz_slice key) const
  {
    size_t bound_len = MY_MIN(key.len, m_bound.len);
    int order = m_bound.len ? memcmp(key.data, m_bound.data, bound_len) : 0;
    if (order == 0 && (m_where == BLITZ_SEEK_AFTER || m_where == BLITZ_SEEK_BEFORE))
      return m_bound.len == 0;
    if (m_is_first ? order < 0 : order > 0)
      return false;
    if (m_key.empty())
      return true;
    order = memcmp(key.data, m_key.data(), MY_MIN(key.len, m_key.size()));
    return m_is_first ? order < 0 : order > 0;
  }

  void take(struct blitz_slice key, struct blitz_slice row_key)
  {
    m_key.assign(static_cast<const char *>(key.data), key.len);
    m_row_key.assign(static_cast<const char *>(row_key.data), row_key.len);
  }

  bool found() const { return !m_key.empty(); }
  struct blitz_slice key() const { return {m_key.data(), m_key.size()}; }
  struct blitz_slice row_key() const { return {m_row_key.data(), m_row_key.size()}; }

private:
  struct blitz_slice m_bound;
  enum blitz_seek m_where;
  bool m_is_first;
  std::string m_key; /* the best one so far; no key is empty */
  std::string m_row_key;
};

} // namespace

/* Makes the plan for keys in order; true: out of memory. */
bool ha_blitz::plan_order()
{
  if (m_order)
    return false;
  std::unique_ptr<Key_codec> order(new (std::nothrow) Key_codec);
  if (!order || order->init(table, table->key_info, Key_codec::INDEX_KEY))
    return true;
  m_order_buffer.reset(new (std::nothrow) uchar[order->buffer_size()]);
  m_order_bound.reset(new (std::nothrow) uchar[order->buffer_size()]);
  if (!m_order_buffer || !m_order_bound)
    return true;
  m_order = std::move(order);
  return false;
}

/* Reads the row that is found from KEY's first PART_COUNT parts on, as a seek in an index
   would find it; SAME: only if it begins with them. */
int ha_blitz::read_edge(uchar *buf, const uchar *key, uint part_count, enum blitz_seek where,
                        bool same)
{
  if (plan_order())
    return fail_with(BLITZ_NOMEM, "no memory to look for the edge of a range");
  size_t bound_len = 0;
  if (part_count > 0)
    bound_len = m_order->encode_search(key, part_count, m_order_bound.get());
  if (bound_len == Key_codec::TOO_LONG)
    return search_is_too_long();
  try
  {
    Edge edge({m_order_bound.get(), bound_len}, where);
    int error = rnd_init(true);
    while (error == 0 && (error = rnd_next(buf)) == 0)
    {
      struct blitz_slice order = {m_order_buffer.get(),
                                  m_order->encode_record(buf, m_order_buffer.get())};
      if (edge.is_better(order))
        edge.take(order, blitz_cursor_key(m_cursor));
    }
    rnd_end();
    if (error != HA_ERR_END_OF_FILE)
      return error;
    if (!edge.found() || (same && (edge.key().len < bound_len ||
                                   memcmp(edge.key().data, m_order_bound.get(), bound_len) != 0)))
      return HA_ERR_END_OF_FILE;
    struct blitz_slice value;
    enum blitz_rc rc = blitz_get(m_cursor, edge.row_key(), &value, &m_error);
    return rc == BLITZ_OK ? decode(buf, value) : read_error(rc, HA_ERR_END_OF_FILE);
  }
  catch (const std::bad_alloc &)
  {
    rnd_end();
    return fail_with(BLITZ_NOMEM, "no memory to look for the edge of a range");
  }
}
