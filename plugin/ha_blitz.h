/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_blitz.h: a table as one open instance of it in the server.
 *
 * ha_blitz.cc    open, close, locks, errors
 * ha_create.cc   create, drop, rename
 * ha_alter.cc    changes of a table's keys in place; DISABLE and ENABLE KEYS
 * ha_admin.cc    CHECK, REPAIR, ANALYZE, OPTIMIZE
 * ha_read.cc     scans, positions, look-ups by primary key
 * ha_index.cc    reading in the order of an index
 * ha_edge.cc     a primary key that is a hash, where an order is asked of it
 * ha_figures.cc  row counts, statistics of keys, costs
 * ha_write.cc    changes, AUTO_INCREMENT, bulk loads
 *
 * 1. One statement at a time changes a table: store_lock() asks for
 *    TL_WRITE_CONCURRENT_INSERT, of which the server grants one at a time and
 *    which keeps no plain reader out. The server takes such locks in a fixed
 *    order, so writers never deadlock.
 * 2. A cursor shows the changes of the statement it works for. They are looked
 *    up when a read begins (attach()), and forgotten in reset().
 * 3. A statement that may change the row it reads gets all of its columns.
 */
#ifndef BLITZ_HA_BLITZ_H
#define BLITZ_HA_BLITZ_H

#include <atomic>
#include <memory>
#include <string>

#include "errors.h"
#include "index_keys.h"
#include "key_sample.h"
#include "key_statistics.h"
#include "options.h"
#include "range_batch.h"
#include "row_codec.h"
#include "server.h"
#include "session.h"

/* What the open instances of a table have in common. */
class Blitz_share : public Handler_share
{
public:
  Blitz_share();
  ~Blitz_share() override;

  THR_LOCK lock;
  std::atomic<uint> handlers{0};
  std::atomic<uint> changing{0}; /* statements that change the table, or wait for it */
  Key_statistics statistics;
  Key_sample key_sample; /* of a primary key that is a hash */
};

/* Shows in the process list, while it exists, how far a long work has come. */
class Progress
{
public:
  explicit Progress(THD *thd) : m_thd(thd) { thd_progress_init(thd, 1); }
  ~Progress() { thd_progress_end(m_thd); }

private:
  THD *m_thd;
};

class ha_blitz final : public handler
{
public:
  ha_blitz(handlerton *hton, TABLE_SHARE *share);
  ~ha_blitz() override;

  /* ---- what the engine can do ---- */
  Table_flags table_flags() const override;
  ulong index_flags(uint index, uint part, bool all_parts) const override;
  const char *index_type(uint key_no) override;
  uint max_supported_keys() const override { return MAX_KEY; }
  uint max_supported_key_parts() const override { return MAX_REF_PARTS; }
  uint max_supported_key_length() const override { return MAX_DATA_LENGTH_FOR_KEY; }
  uint max_supported_key_part_length() const override { return MAX_DATA_LENGTH_FOR_KEY; }
  /* The server would drop a result when a statement has run and before it commits;
     a reader in between would put the old one back. */
  uint8 table_cache_type() override { return HA_CACHE_TBL_NOCACHE; }
  enum row_type get_row_type() const override { return ROW_TYPE_DYNAMIC; }

  /* ---- tables ---- */
  int open(const char *name, int mode, uint test_if_locked) override;
  int close() override;
  int create(const char *name, TABLE *form, HA_CREATE_INFO *create_info) override;
  int delete_table(const char *name) override;
  int rename_table(const char *from, const char *to) override;
  int info(uint flag) override;
  int extra(enum ha_extra_function operation) override;
  void update_create_info(HA_CREATE_INFO *create_info) override;
  bool check_if_incompatible_data(HA_CREATE_INFO *create_info, uint table_changes) override;
  bool can_convert_nocopy(const Field &field, const Column_definition &new_type) const override;
  int check(THD *thd, HA_CHECK_OPT *check_opt) override;
  int repair(THD *thd, HA_CHECK_OPT *check_opt) override;
  int analyze(THD *thd, HA_CHECK_OPT *check_opt) override;
  int optimize(THD *thd, HA_CHECK_OPT *check_opt) override;
  handler *clone(const char *name, MEM_ROOT *mem_root) override;

  /* ---- changes of the table's keys ---- */
  enum_alter_inplace_result check_if_supported_inplace_alter(
      TABLE *altered_table, Alter_inplace_info *alter_info) override;
  bool inplace_alter_table(TABLE *altered_table, Alter_inplace_info *alter_info) override;
  bool commit_inplace_alter_table(TABLE *altered_table, Alter_inplace_info *alter_info,
                                  bool commit) override;
  int disable_indexes(key_map map, bool persist) override;
  int enable_indexes(key_map map, bool persist) override;
  int indexes_are_disabled() override;

  /* ---- locks and statements ---- */
  THR_LOCK_DATA **store_lock(THD *thd, THR_LOCK_DATA **to, enum thr_lock_type lock_type) override;
  int external_lock(THD *thd, int lock_type) override;
  int reset() override;

  /* ---- reading ---- */
  int rnd_init(bool scan) override;
  int rnd_end() override;
  int rnd_next(uchar *buf) override;
  int rnd_pos(uchar *buf, uchar *pos) override;
  void position(const uchar *record) override;
  int index_init(uint key_no, bool sorted) override;
  int index_end() override;
  int index_read_map(uchar *buf, const uchar *key, key_part_map keypart_map,
                     enum ha_rkey_function find_flag) override;
  int index_read_last_map(uchar *buf, const uchar *key, key_part_map keypart_map) override;
  int index_read_idx_map(uchar *buf, uint key_no, const uchar *key, key_part_map keypart_map,
                         enum ha_rkey_function find_flag) override;
  int index_first(uchar *buf) override;
  int index_last(uchar *buf) override;
  int index_next(uchar *buf) override;
  int index_prev(uchar *buf) override;
  int index_next_same(uchar *buf, const uchar *key, uint key_len) override;
  int read_range_first(const key_range *start_key, const key_range *end_key, bool eq_range_arg,
                       bool sorted) override;
  int read_range_next() override;
  int multi_range_read_init(RANGE_SEQ_IF *seq, void *seq_init_param, uint n_ranges, uint mode,
                            HANDLER_BUFFER *buf) override;
  ha_rows multi_range_read_info_const(uint key_no, RANGE_SEQ_IF *seq, void *seq_init_param,
                                      uint n_ranges, uint *bufsz, uint *mrr_mode,
                                      Cost_estimate *cost) override;
  ha_rows multi_range_read_info(uint key_no, uint n_ranges, uint keys, uint key_parts,
                                uint *bufsz, uint *mrr_mode, Cost_estimate *cost) override;
  Item *idx_cond_push(uint key_no, Item *condition) override;
  void column_bitmaps_signal() override;

  /* ---- figures ---- */
  ha_rows records() override;
  ha_rows records_in_range(uint index, const key_range *min_key, const key_range *max_key,
                           page_range *pages) override;
  double scan_time() override;
  double read_time(uint index, uint ranges, ha_rows rows) override;
  double keyread_time(uint index, uint ranges, ha_rows rows) override;

  /* ---- changing ---- */
  int write_row(const uchar *buf) override;
  int update_row(const uchar *old_data, const uchar *new_data) override;
  int delete_row(const uchar *buf) override;
  int delete_all_rows() override;
  int reset_auto_increment(ulonglong value) override;
  void get_auto_increment(ulonglong offset, ulonglong increment, ulonglong nb_desired_values,
                          ulonglong *first_value, ulonglong *nb_reserved_values) override;
  void start_bulk_insert(ha_rows rows, uint flags) override;
  int end_bulk_insert() override;

  /* ---- errors ---- */
  void print_error(int error, myf errflag) override;
  bool get_error_message(int error, String *buf) override;

private:
  bool has_key() const { return m_keys.has_row_key(); }
  const char *shown_name(char *buffer, size_t size) const;

  /* Remembers why something failed and gives the server's number for it. */
  int files_changed(enum blitz_rc rc);
  int fail(enum blitz_rc rc);
  int fail_with(enum blitz_rc rc, const char *format, ...) __attribute__((format(printf, 3, 4)));

  /* How many entries of an index are looked at when a table is opened, and by ANALYZE. */
  static constexpr uint64_t KEY_SAMPLE_SIZE = 20000;
  static constexpr uint64_t ANALYZE_SAMPLE_SIZE = 2000000; /* of most tables, all */

  static bool refuses_keys(const TABLE_SHARE *share);
  static bool show_progress(void *thd, uint64_t done, uint64_t total);
  int open_file(unsigned flags);
  void close_file();
  bool make_plans(const char *name);

  bool needs_all_columns() const;
  void attach();
  int begin_change();
  int read_by_row_key(uchar *buf, const uchar *key);
  int decode(uchar *buf, struct blitz_slice value);
  int read_error(enum blitz_rc rc, int not_found);

  /* Of an index. What they find is in BUF, or, if only the entry is read, in it as far
     as the entry tells; then the cursor has not read the row: see fetch_row(). */
  bool finds_by_row_key(key_part_map keypart_map, enum ha_rkey_function find_flag) const;
  int read_off_index(uchar *buf, const uchar *key);
  int seek(uchar *buf, struct blitz_slice key, enum blitz_seek where, bool same);
  int step(uchar *buf, bool forward, bool same);
  int move(bool forward);
  int take_entry(uchar *buf, bool forward, bool same);
  bool is_beyond_end() const;
  bool has_condition(const uchar *buf) const;
  check_result_t check_condition();
  int search_is_too_long();
  bool plan_order();
  ulong hash_flags(bool all_parts) const;
  int renew_key_sample(ha_rows rows);
  ha_rows estimate_by_sample(const key_range *min_key, const key_range *max_key);
  void note_hash_range();
  int read_edge(uchar *buf, const uchar *key, uint part_count, enum blitz_seek where, bool same);
  int decode_entry(uchar *buf, const MY_BITMAP *wanted);
  int fetch_row();

  void plan_index_reads();
  int pack_row(const uchar *record, struct blitz_slice *value);
  int pack_key(const uchar *record, uchar *buffer, struct blitz_slice *key);
  int note_auto_increment(const uchar *record);
  int after_change();
  bool may_finish_late(uint flags) const;
  static void show_duplicate(void *arg, struct blitz_slice value);
  void info_times();
  void renew_statistics();
  int sample_keys(uint64_t max);
  void note_disabled_keys();
  int check_row(struct blitz_slice value);
  int check_rows(THD *thd, bool unpack, uint64_t *count);
  int repair_message(THD *thd, const char *text);
  int check_message(THD *thd, const char *text);
  Blitz_share *get_share();

  std::string m_path; /* of the file, without its extension */
  uint64_t m_layout = 0; /* of the rows; see fingerprint.h */
  unsigned m_open_flags = 0;
  struct blitz_table *m_table = NULL;
  struct blitz_cursor *m_cursor = NULL;
  struct blitz_txn *m_cursor_txn = NULL; /* what the cursor was told to show */
  Blitz_share *m_share = NULL;
  THR_LOCK_DATA m_lock;

  Blitz_change *m_change = NULL; /* valid while its serial is m_change_serial */
  ulonglong m_change_serial = 0;

  Row_codec m_rows;
  Index_keys m_keys;
  bool m_columns_changed = true; /* the plan for reading may be out of date */
  bool m_analyzing = false; /* index_first() has begun a scan */
  bool m_is_sequence = false;
  bool m_is_scan = false; /* rnd_init() has begun a scan */
  uint m_dup_key = (uint) -1;

  /* ---- loads ---- */
  int m_bulk_error = 0;   /* of start_bulk_insert(), which cannot tell */
  bool m_loading = false; /* end_bulk_insert() has something to do */
  bool m_meets_duplicates = false; /* the statement goes on after one */

  /* ---- reading an index ---- */
  uint m_index_no = Index_keys::NONE; /* of the core; NONE: the row key alone */
  bool m_off_index = false;    /* the cursor is at no entry: m_search is the place */
  int m_beyond = 0;            /* it has gone beyond the last (1) or first (-1) one */
  bool m_entry_only = false;   /* the cursor has read an entry, and not its row */
  bool m_decodes_row_key = false; /* columns of the row key can be had from an entry */
  bool m_wants_row_key = false;   /* and the statement reads some of them */
  std::unique_ptr<uchar[]> m_search; /* the last key looked for, encoded */
  size_t m_search_len = 0;
  std::unique_ptr<uchar[]> m_end; /* where read_range_*() end */
  size_t m_end_len = 0;
  bool m_has_end = false;
  bool m_end_is_in = false; /* the entries that begin with m_end belong to the range */
  bool m_is_bounded = false; /* the end is looked at; only inside read_range_*() */
  std::unique_ptr<Range_batch> m_batch;
  std::unique_ptr<Key_codec> m_order; /* of a primary key that is a hash: see ha_edge.cc */
  std::unique_ptr<uchar[]> m_order_buffer, m_order_bound;
  bool m_hash_range_met = false; /* one of the ranges asked for is none of a whole key */
  struct blitz_indexes m_added; /* by inplace_alter_table(), to be undone if it comes to that */

  std::unique_ptr<uchar[]> m_row_buffer;
  size_t m_row_buffer_size = 0;
  std::unique_ptr<uchar[]> m_key_buffer; /* of the row key to look up or to write */
  std::unique_ptr<uchar[]> m_duplicate;  /* the row that show_duplicate() was called with */
  struct blitz_error m_error; /* of the last failure */
  uint m_user_error = 0;      /* the number that the user is going to see */
  int m_error_number = 0;     /* what was returned for it; 0: it has been reported */
};

extern handlerton *blitz_hton;

/* The session's blitzdb_lock_wait_timeout, in seconds. */
unsigned blitz_lock_wait_timeout(THD *thd);

/* Nothing of a temporary table need reach the disk. The new copy that ALTER TABLE
   makes looks temporary too, but is going to be the table. */
bool blitz_is_short_lived(const TABLE_SHARE *share, const char *name);

#endif /* BLITZ_HA_BLITZ_H */
