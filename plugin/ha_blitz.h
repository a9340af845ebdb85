/* SPDX-License-Identifier: GPL-2.0-only
 *
 * ha_blitz.h: a table as one open instance of it in the server.
 *
 * ha_blitz.cc   open, close, create, drop, rename, locks, figures, errors
 * ha_admin.cc   CHECK, REPAIR, ANALYZE, OPTIMIZE
 * ha_read.cc    scans, look-ups, positions
 * ha_write.cc   changes, AUTO_INCREMENT, bulk loads
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
#include "key_codec.h"
#include "row_codec.h"
#include "server.h"
#include "session.h"

/* Options of CREATE TABLE. The server asks for this name. */
struct ha_table_option_struct
{
  ulonglong expected_rows;
};

/* What the open instances of a table have in common. */
class Blitz_share : public Handler_share
{
public:
  Blitz_share();
  ~Blitz_share() override;

  THR_LOCK lock;
  std::atomic<uint> handlers{0};
};

class ha_blitz final : public handler
{
public:
  ha_blitz(handlerton *hton, TABLE_SHARE *share);
  ~ha_blitz() override;

  /* ---- what the engine can do ---- */
  Table_flags table_flags() const override;
  ulong index_flags(uint index, uint part, bool all_parts) const override;
  const char *index_type(uint) override { return "HASH"; }
  uint max_supported_keys() const override { return MAX_KEY; }
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
  int check(THD *thd, HA_CHECK_OPT *check_opt) override;
  int repair(THD *thd, HA_CHECK_OPT *check_opt) override;
  int analyze(THD *thd, HA_CHECK_OPT *check_opt) override;
  int optimize(THD *thd, HA_CHECK_OPT *check_opt) override;

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
  int index_init(uint index, bool sorted) override;
  int index_read_map(uchar *buf, const uchar *key, key_part_map keypart_map,
                     enum ha_rkey_function find_flag) override;
  int index_read_idx_map(uchar *buf, uint index, const uchar *key, key_part_map keypart_map,
                         enum ha_rkey_function find_flag) override;
  int index_end() override;
  int index_first(uchar *buf) override;
  int index_next(uchar *buf) override;
  int index_prev(uchar *) override { return HA_ERR_END_OF_FILE; }
  int index_next_same(uchar *, const uchar *, uint) override { return HA_ERR_END_OF_FILE; }
  void column_bitmaps_signal() override;
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
  bool has_key() const { return table_share->keys > 0; }
  const char *shown_name(char *buffer, size_t size) const;

  /* Remembers why something failed and gives the server's number for it. */
  int files_changed(enum blitz_rc rc);
  int fail(enum blitz_rc rc);
  int fail_with(enum blitz_rc rc, const char *format, ...) __attribute__((format(printf, 3, 4)));

  int open_file(unsigned flags);
  void close_file();
  bool make_plans(const char *name);

  bool needs_all_columns() const;
  void attach();
  int begin_change();
  int read_key(uchar *buf, const uchar *key, key_part_map keypart_map,
               enum ha_rkey_function find_flag);
  int decode(uchar *buf, struct blitz_slice value);
  int read_error(enum blitz_rc rc, int not_found);

  int pack_row(const uchar *record, struct blitz_slice *value);
  int pack_key(const uchar *record, uchar *buffer, struct blitz_slice *key);
  int note_auto_increment(const uchar *record);
  int after_change();
  void info_times();
  int check_row(struct blitz_slice value);
  int check_rows(THD *thd, uint64_t *count);
  Blitz_share *get_share();

  std::string m_path; /* of the file, without its extension */
  unsigned m_open_flags = 0;
  struct blitz_table *m_table = NULL;
  struct blitz_cursor *m_cursor = NULL;
  struct blitz_txn *m_cursor_txn = NULL; /* what the cursor was told to show */
  Blitz_share *m_share = NULL;
  THR_LOCK_DATA m_lock;

  Blitz_change *m_change = NULL; /* valid while its serial is m_change_serial */
  ulonglong m_change_serial = 0;

  Row_codec m_rows;
  Key_codec m_keys;
  bool m_columns_changed = true; /* the plan for reading may be out of date */
  bool m_analyzing = false; /* index_first() has begun a scan */
  bool m_is_sequence = false;
  uint m_dup_key = (uint) -1;
  int m_bulk_error = 0; /* of start_bulk_insert(), which cannot tell */

  std::unique_ptr<uchar[]> m_row_buffer;
  size_t m_row_buffer_size = 0;
  std::unique_ptr<uchar[]> m_key_buffer; /* of the key to look up or to write */
  struct blitz_error m_error; /* of the last failure */
  uint m_user_error = 0;      /* the number that the user is going to see */
  int m_error_number = 0;     /* what was returned for it; 0: it has been reported */
};

extern handlerton *blitz_hton;

/* The session's blitzdb_lock_wait_timeout, in seconds. */
unsigned blitz_lock_wait_timeout(THD *thd);

#endif /* BLITZ_HA_BLITZ_H */
