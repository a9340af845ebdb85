/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_keys.h: the keys of an open table, and the entries of its ordered indexes.
 *
 * The PRIMARY KEY is the rows' own key: they are found by it in one look-up. All
 * keys are ordered indexes, too, but for a primary key that is declared USING HASH.
 * The engine's core numbers the indexes in the order of the table's keys.
 *
 * The core keeps an index by asking make_entry() for what belongs to a row. That
 * sees the packed row alone, whether the row is stored, removed, or read when an
 * index is made anew, so that the answers cannot differ:
 *
 * 1. The columns that the key needs are unpacked into a record of our own; columns
 *    that are not stored are computed there.
 * 2. Only while the handler changes a row of which it has just packed a record,
 *    and for keys of stored columns, that record is used instead.
 * 3. An index's id changes with all that decides on its entries, and with nothing
 *    else: a key may get another name and columns may get longer.
 *
 * An object belongs to one TABLE and with it to one thread at a time.
 */
#ifndef BLITZ_INDEX_KEYS_H
#define BLITZ_INDEX_KEYS_H

#include <memory>
#include <vector>

#include "key_codec.h"
#include "row_codec.h"
#include "server.h"

/* Is key KEY_NO of SHARE the PRIMARY KEY? A unique key never takes its place. */
bool blitz_is_row_key(const TABLE_SHARE *share, uint key_no);

/* Has it got an ordered index? What no USING clause means may be an option of the table,
   which the server knows only some time after it asks for the first time. */
bool blitz_is_ordered(const TABLE_SHARE *share, uint key_no);

/*
  Says USING HASH in the definition of TABLE, which is being opened, if an option means
  it, and takes the option from those that the server shows and hands on to copies. An
  option is how the server keeps what a variable said when the table was created; what
  SHOW CREATE TABLE prints must be loaded by any engine.
*/
void blitz_spell_out_row_key(TABLE *table);

class Index_keys
{
public:
  static constexpr uint NONE = ~0U;

  Index_keys();

  /* Makes the plans for the keys of TABLE; true: out of memory. */
  bool init(TABLE *table);

  bool has_row_key() const { return m_has_row_key; }
  Key_codec &row_key() { return m_row_key; }

  uint count() const { return (uint) m_indexes.size(); }
  uint index_of(uint key_no) const { return m_index_of_key[key_no]; }
  uint key_of(uint index_no) const;
  Key_codec &codec(uint index_no) { return m_indexes[index_no].codec; }
  const struct blitz_indexes *ids() const { return &m_ids; }

  /* What the core asks for entries. Its progress is shown in the process list. */
  const struct blitz_indexer *indexer() const { return &m_indexer; }

  /* What the indexer does; see blitz.h. */
  enum blitz_rc make_entry(uint index_no, struct blitz_slice value,
                           struct blitz_index_entry *entry, struct blitz_error *err);
  bool progress(uint64_t done, uint64_t total) const;

  uint64_t differ(struct blitz_slice value, struct blitz_slice new_value) const;

  /* Values of computed columns that the session's SQL mode refuses are errors from now on;
     otherwise they are what such a value is made to. */
  void be_strict() { m_is_strict = true; }

  /* RECORD was packed to DATA and stays as it is until this is called with NULLs. */
  void set_packed(const void *data, const uchar *record);

  /* Computes the columns of key KEY_NO that are not stored, in the table's record. */
  void compute(uint key_no);

private:
  struct Index
  {
    uint key_no;
    bool unique;
    bool by_row_key; /* it is the primary key, of which the core knows that it is unique */
    Key_codec codec;
    Row_codec rows;               /* unpacks what the key needs */
    std::vector<Field *> columns; /* of the key */
    std::vector<Field *> virtuals;
  };

  void add_index(uint key_no);
  void plan_columns(Index *index);
  static enum blitz_rc asked_for_entry(void *arg, unsigned index_no, struct blitz_slice value,
                                       struct blitz_index_entry *entry, struct blitz_error *err);
  static uint64_t asked_for_difference(void *arg, struct blitz_slice value,
                                       struct blitz_slice new_value);
  static bool show_progress(void *arg, uint64_t done, uint64_t total);
  enum blitz_rc entry_of(Index &index, const uchar *record, struct blitz_index_entry *entry,
                         struct blitz_error *err);
  void compute_in_scratch(const Index &index);
  void swap_blobs();
  uchar *payload_buffer(size_t size);

  TABLE *m_table = NULL;
  bool m_has_row_key = false;
  bool m_is_strict = false;
  Key_codec m_row_key;
  std::vector<Index> m_indexes;
  std::vector<uint> m_index_of_key;
  struct blitz_indexes m_ids;
  struct blitz_indexer m_indexer;

  const void *m_packed = NULL; /* see set_packed() */
  const uchar *m_packed_record = NULL;

  std::unique_ptr<uchar[]> m_scratch; /* a record */
  std::unique_ptr<uchar[]> m_key_buffer;
  std::unique_ptr<uchar[]> m_payload_buffer;
  size_t m_payload_size = 0;

  /* Columns that are computed keep BLOBs in their Field, where those of the server's
     record are; ours take their place while we compute. */
  std::vector<Field_blob *> m_virtual_blobs;
  std::vector<String> m_blobs;
};

#endif /* BLITZ_INDEX_KEYS_H */
