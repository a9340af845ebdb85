/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_edge.cc: a primary key that is a hash, where the server asks an order of it.
 *
 * 1. MIN() and MAX(). The optimizer answers them from an index, of any key of the table,
 *    only if it takes all the keys before that one for ordered, the primary key among
 *    them (find_key_for_maxmin() in the server). So hash_flags() says so to it alone,
 *    and if it is the primary key whose least or greatest value is wanted, all rows are
 *    looked at here, as they would be without this.
 * 2. Ranges, and the key's first columns alone. They are not read by a hash; but how many
 *    rows they have decides on the order of joins. So hash_flags() lets the optimizer ask
 *    for that, and it is told a price that it never pays.
 */
#include "ha_blitz.h"

#include <cfloat>
#include <new>
#include <sql_class.h>
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

/* Whoever asks for MIN() or MAX() has the table locked, as long as it is none of the
   session's own; who shows what keys there are has not. */
ulong ha_blitz::hash_flags(bool all_parts) const
{
  THD *thd = current_thd;
  int command = thd ? thd_sql_command(thd) : SQLCOM_END;
  bool is_shown = table_share->tmp_table == NO_TMP_TABLE
                      ? table == NULL || table->file->get_lock_type() == F_UNLCK
                      : command == SQLCOM_SHOW_KEYS || command == SQLCOM_SHOW_CREATE;
  return HA_ONLY_WHOLE_INDEX | HA_KEY_SCAN_NOT_ROR |
         (command == SQLCOM_HA_READ ? 0 : HA_READ_RANGE) |
         (all_parts || is_shown ? 0 : HA_READ_ORDER);
}

/* ---- the edges of a range ------------------------------------------------------------ */

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

/* ---- estimates --------------------------------------------------------------------------- */

namespace
{

/* Collects the keys of the rows that it is called with. */
class Key_collector
{
public:
  Key_collector(const TABLE *table, Key_codec *order, uchar *buffer)
      : m_order(order), m_buffer(buffer), m_record(new uchar[table->s->reclength])
  {
    memcpy(m_record.get(), table->s->default_values, table->s->reclength);
    m_keys.reserve(Key_sample::SIZE);
  }

  /* True: out of memory. */
  bool init(TABLE *table) { return m_rows.init(table); }

  static void visit(void *arg, struct blitz_slice value)
  {
    Key_collector *collector = static_cast<Key_collector *>(arg);
    try
    {
      collector->add(value);
    }
    catch (const std::bad_alloc &)
    {
      /* The sample is smaller. */
    }
  }

  std::vector<std::string> &keys() { return m_keys; }

private:
  void add(struct blitz_slice value)
  {
    if (m_rows.decode(m_record.get(), value) != BLITZ_OK)
      return;
    size_t len = m_order->encode_record(m_record.get(), m_buffer);
    if (len != Key_codec::TOO_LONG)
      m_keys.emplace_back(reinterpret_cast<const char *>(m_buffer), len);
  }

  Key_codec *m_order;
  uchar *m_buffer;
  Row_codec m_rows;
  std::unique_ptr<uchar[]> m_record;
  std::vector<std::string> m_keys;
};

} // namespace

int ha_blitz::renew_key_sample(ha_rows rows)
{
  try
  {
    Key_collector collector(table, m_order.get(), m_order_buffer.get());
    if (collector.init(table))
      return HA_ERR_OUT_OF_MEM;
    enum blitz_rc rc = blitz_sample(m_cursor, Key_sample::SIZE, Key_collector::visit, &collector,
                                    &m_error);
    if (rc != BLITZ_OK)
      return HA_ERR_OUT_OF_MEM;
    m_share->key_sample.store(rows, std::move(collector.keys()));
    return 0;
  }
  catch (const std::bad_alloc &)
  {
    return HA_ERR_OUT_OF_MEM;
  }
}

/* HA_POS_ERROR, which the optimizer takes for: nobody knows. */
ha_rows ha_blitz::estimate_by_sample(const key_range *min_key, const key_range *max_key)
{
  ha_rows rows = stats.records;
  if (plan_order() || (m_share->key_sample.is_outdated(rows) && renew_key_sample(rows)))
    return HA_POS_ERROR;
  Range_edge from = {{m_order_bound.get(), 0}, BLITZ_SEEK_FIRST};
  Range_edge to = {{m_order_buffer.get(), 0}, BLITZ_SEEK_AFTER};
  if (min_key)
  {
    from.key.len = m_order->encode_search(min_key->key, my_count_bits(min_key->keypart_map),
                                          m_order_bound.get());
    if (min_key->flag == HA_READ_AFTER_KEY)
      from.where = BLITZ_SEEK_AFTER;
  }
  if (max_key)
  {
    to.key.len = m_order->encode_search(max_key->key, my_count_bits(max_key->keypart_map),
                                        m_order_buffer.get());
    if (max_key->flag == HA_READ_BEFORE_KEY)
      to.where = BLITZ_SEEK_FIRST;
  }
  if (from.key.len == Key_codec::TOO_LONG || to.key.len == Key_codec::TOO_LONG)
    return HA_POS_ERROR;
  m_hash_range_met = true;
  return m_share->key_sample.estimate(from, to, rows);
}

/* The server has such notes for keys that the comparison's types make useless. */
void ha_blitz::note_hash_range()
{
  THD *thd = table->in_use;
  if (!thd->give_notes_for_unusable_keys() && !(thd->lex->describe & DESCRIBE_EXTENDED))
    return;
  char text[NAME_LEN * 3 + 100];
  my_snprintf(text, sizeof(text),
              "BLITZDB: key %`s of %`s.%`s is a hash: it finds rows by all of its columns, and "
              "no range",
              table->key_info[0].name.str, table->s->db.str, table->s->table_name.str);
  /* Each partition is asked, and each more than once. */
  Diagnostics_area::Sql_condition_iterator notes = thd->get_stmt_da()->sql_conditions();
  while (const Sql_condition *note = notes++)
    if (strcmp(note->get_message_text(), text) == 0)
      return;
  push_warning(thd, Sql_condition::WARN_LEVEL_NOTE, ER_UNKNOWN_ERROR, text);
}

/* The price is more than that of reading all rows, even if the key is forced. */
ha_rows ha_blitz::multi_range_read_info_const(uint key_no, RANGE_SEQ_IF *seq,
                                              void *seq_init_param, uint n_ranges, uint *bufsz,
                                              uint *mrr_mode, Cost_estimate *cost)
{
  m_hash_range_met = false;
  ha_rows rows = handler::multi_range_read_info_const(key_no, seq, seq_init_param, n_ranges,
                                                      bufsz, mrr_mode, cost);
  if (rows != HA_POS_ERROR && m_hash_range_met)
  {
    cost->idx_cpu_cost = DBL_MAX;
    note_hash_range();
  }
  return rows;
}
