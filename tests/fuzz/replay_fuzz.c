/* SPDX-License-Identifier: GPL-2.0-only
 *
 * replay_fuzz.c: records of the log with right checksums that say anything, for two tables whose
 * files a killed process has left open. The engine is started on them: no death, no hang; it says
 * what is wrong, or the tables can be opened. What is opened is whole, can be changed, and is the
 * same after the next start.
 *
 * How many rows there are is believed to the record of a commit: if that lies, a scan says so.
 */
#include "crashed.h"
#include "log/record.h"
#include "log/redo_file.h"
#include "rows/format.h"

#include <unistd.h>

enum
{
  TABLES = 2,
  ROWS = 30,
  PAYLOAD_MAX = 4096,
};

static const char *const names[TABLES] = {"t", "u"};

static struct kept files[TABLES + 2];
static struct bz_redo_control control;
static uint64_t records_off; /* in the file of the log */

/* ---- what was there ---- */

static void put_some(struct blitz_table *const *tables)
{
  struct blitz_txn *txn = new_txn();
  char value[100];
  put_rows(tables[0], 0, ROWS / 2, 40, 1);
  for (unsigned i = 0; i < TABLES; i++)
    for (uint64_t n = ROWS / 2; n < ROWS; n++)
    {
      row_fill(value, 60, n, 1);
      require_ok(blitz_insert(txn, tables[i], number_key(n), bytes(value, 60), ERR));
    }
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
}

static void make_files(void)
{
  struct blitz_create_options options = {0};
  struct blitz_table *tables[TABLES];
  require_ok(start_engine());
  for (unsigned i = 0; i < TABLES; i++)
  {
    require_ok(blitz_table_create(path_of(names[i]), &options, true, ERR));
    require_ok(blitz_table_open(path_of(names[i]), 0, &tables[i], ERR));
  }
  put_some(tables);
  require_ok(blitz_checkpoint(ERR));
  keep_file(&files[0], "t.bzd");
  keep_file(&files[1], "u.bzd");
  keep_file(&files[2], "blitz_log.control");
  keep_file(&files[3], "blitz_log.00000001");
  for (unsigned i = 0; i < TABLES; i++)
    blitz_table_close(tables[i]);
  blitz_stop();
}

static void find_records(void)
{
  struct bz_redo_file file;
  int fd;
  put_back(files, TABLES + 2);
  require_ok(bz_redo_control_read(test_dir(), &control, &fd, ERR));
  close(fd);
  require_ok(bz_redo_file_open(test_dir(), 1, &file, ERR));
  require(bz_redo_head_read(&file, &control, &file.head));
  records_off = bz_redo_off(&file, control.start);
  bz_redo_file_close(&file);
}

/* ---- records ---- */

struct writing
{
  struct input in;
  uint64_t at;
  uint8_t payload[PAYLOAD_MAX + 1024];
  size_t len;
};

static void put_bytes(struct writing *w, const void *data, size_t len)
{
  if (len > PAYLOAD_MAX - w->len)
    return;
  memcpy(w->payload + w->len, data, len);
  w->len += len;
}

static void put_number(struct writing *w, uint64_t number)
{
  uint8_t to[8];
  bz_store_le64(to, number);
  put_bytes(w, to, sizeof to);
}

/* Bytes of the input, as they are. */
static void put_input(struct writing *w, size_t len)
{
  while (len-- > 0)
  {
    uint8_t byte = next_byte(&w->in);
    put_bytes(w, &byte, 1);
  }
}

static void end_record(struct writing *w, uint8_t type)
{
  struct blitz_slice part = bytes(w->payload, w->len);
  uint8_t *log = (uint8_t *)files[3].data;
  uint64_t off = records_off + (w->at - control.start);
  if (off + bz_redo_record_len(w->len) <= files[3].len)
    w->at += bz_redo_record_make(log + off, bz_redo_salt(&control), w->at, w->at, type, &part, 1);
  w->len = 0;
}

static const uint8_t *header_of(unsigned table)
{
  return (const uint8_t *)files[table].data;
}

static void put_open(struct writing *w, unsigned table, uint64_t number)
{
  const char *path = path_of(names[table]);
  struct bz_open_record record = {.number = number,
                                  .secret = bz_load_le64(header_of(table) + BZ_SECRET_OFF),
                                  .commit = bz_load_le64(header_of(table) + BZ_COMMITTED_OFF)};
  uint8_t head[BZ_OPEN_RECORD_LEN];
  bz_open_record_put(head, &record);
  put_bytes(w, head, sizeof head);
  put_bytes(w, path, strlen(path));
  end_record(w, BZ_RECORD_OPEN);
}

/* A commit's number and a count of rows, near what is there. Tables have the numbers 1 and 2. */
static uint64_t commit_near(uint64_t number, uint8_t byte)
{
  return bz_load_le64(header_of(number == 2) + BZ_COMMITTED_OFF) + (uint64_t)(int64_t)(int8_t)byte;
}

static uint64_t rows_near(uint64_t number, uint8_t byte)
{
  return bz_load_be64(header_of(number == 2) + BZ_TC_ROW_COUNT_OFF) +
         (uint64_t)(int64_t)(int8_t)byte;
}

/* An update of row N by what it changes of what put_some() has put into TABLE, to LEN bytes. */
static void put_difference(struct writing *w, unsigned table, uint8_t n, size_t len)
{
  char before[60], after[1024];
  uint8_t key[BZ_FILE_KEY_MAX], head[BZ_CHANGE_HEAD_MAX + BZ_DIFFERENCE_HEAD_MAX];
  struct bz_difference difference;
  struct bz_header header;
  size_t before_len = table == 0 && n < ROWS / 2 ? 40 : 60, head_len, key_len;
  require_ok(bz_header_read(header_of(table), files[table].len, "", true, &header, ERR));
  row_fill(before, before_len, n, 1);
  row_fill(after, len, n, 2);
  bz_difference_find(bytes(before, before_len), bytes(after, len), &difference);
  key_len = bz_key_spread(&header.secret, key, number_key(n));
  difference.crc = bz_row_crc_of(header.salt, key, key_len, bytes(after, len));
  head_len = bz_difference_head_put(head, &difference);
  uint8_t change[BZ_CHANGE_HEAD_MAX];
  put_bytes(w, change,
            bz_change_head_put(change, BZ_LOGGED_DIFFERENCE, 8,
                               (uint32_t)(head_len + difference.middle.len)));
  put_bytes(w, number_key(n).data, 8);
  put_bytes(w, head, head_len);
  put_bytes(w, difference.middle.data, difference.middle.len);
}

/* Changes of rows that prove themselves. */
static void put_changes(struct writing *w, unsigned count)
{
  static char value[1024];
  while (count-- > 0)
  {
    uint8_t what = next_byte(&w->in), n = next_byte(&w->in), head[BZ_CHANGE_HEAD_MAX];
    bool removes = what % 4 == BZ_LOGGED_REMOVE;
    size_t len = removes ? 0 : 16 + (what & ~3U) * 3;
    if (what % 4 == 0)
    {
      put_difference(w, what / 4 % TABLES, n, len);
      continue;
    }
    row_fill(value, len > 16 ? len : 16, n, 2);
    put_bytes(w, head, bz_change_head_put(head, what % 4, 8, (uint32_t)len));
    put_bytes(w, number_key(n).data, 8);
    put_bytes(w, value, len);
  }
}

/* Changes as bytes, or made ones: what their first byte says. */
static void put_some_changes(struct writing *w)
{
  uint8_t how = next_byte(&w->in);
  if (how % 2 == 0)
    put_changes(w, how / 2 % 16);
  else
    put_input(w, how / 2);
}

static void put_changes_record(struct writing *w)
{
  uint8_t number;
  put_number(w, next_byte(&w->in));
  number = next_byte(&w->in);
  put_number(w, number);
  put_number(w, commit_near(number, next_byte(&w->in)));
  put_some_changes(w);
  end_record(w, BZ_RECORD_CHANGES);
}

static void put_commit_record(struct writing *w)
{
  uint64_t tag = next_byte(&w->in);
  uint8_t count = next_byte(&w->in), head[BZ_COMMIT_HEAD_LEN], table[BZ_COMMIT_TABLE_LEN];
  bz_commit_head_put(head, tag, count);
  put_bytes(w, head, sizeof head);
  for (unsigned i = 0; i < count % 8; i++)
  {
    struct bz_commit_record record = {.number = next_byte(&w->in)};
    record.commit = commit_near(record.number, next_byte(&w->in));
    record.row_count = rows_near(record.number, next_byte(&w->in));
    record.index_seq = record.counter = record.next_row_id = next_byte(&w->in);
    bz_commit_record_put(table, &record);
    put_bytes(w, table, sizeof table);
  }
  put_some_changes(w);
  end_record(w, BZ_RECORD_COMMIT);
}

static void put_record(struct writing *w)
{
  uint8_t kind = next_byte(&w->in), byte;
  switch (kind % 6)
  {
  case 0:
    byte = next_byte(&w->in);
    put_input(w, next_byte(&w->in));
    end_record(w, byte);
    break;
  case BZ_RECORD_OPEN:
    byte = next_byte(&w->in);
    put_open(w, byte % 2, byte / 2);
    break;
  case BZ_RECORD_CLOSE:
    put_number(w, next_byte(&w->in));
    end_record(w, BZ_RECORD_CLOSE);
    break;
  case BZ_RECORD_COUNTER:
    put_number(w, next_byte(&w->in));
    put_number(w, next_byte(&w->in));
    end_record(w, BZ_RECORD_COUNTER);
    break;
  case BZ_RECORD_CHANGES: put_changes_record(w); break;
  case BZ_RECORD_COMMIT: put_commit_record(w); break;
  }
}

static void put_records(const uint8_t *data, size_t len)
{
  static struct writing w;
  w = (struct writing){.in = {data, len}, .at = control.start};
  memset(files[3].data + records_off, 0, files[3].len - records_off);
  if (next_byte(&w.in) % 8 != 0)
    for (unsigned i = 0; i < TABLES; i++)
      put_open(&w, i, 1 + i);
  while (w.in.len > 0)
    put_record(&w);
}

/* ---- what becomes of it ---- */

/* Opens, looks and closes; CHANGE: with a new row. *SUM: 0 if it was not whole. */
static void look(const char *name, bool change, uint64_t *sum)
{
  struct blitz_table *table;
  *sum = 0;
  if (blitz_table_open(path_of(name), 0, &table, ERR) != BLITZ_OK)
    return;
  if (!look_at_all(table, sum))
    *sum = 0;
  if (change && *sum != 0)
  {
    put_rows(table, 7, 8, 50, 3);
    require(look_at_all(table, sum));
  }
  blitz_table_close(table);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  /* First a byte that has the tables opened. */
  static const uint8_t small[] = {1, 5, 0, 1, 1, 1, 1, 0, 4, 1, 100, 4 * 9 + 1, 101};
  static const uint8_t both[] = {1,  4, 9, 1, 1, 2, 1, 100, 4, 9, 2,   1, 2, 3,
                                 20, 5, 9, 2, 1, 1, 1, 0,   2, 1, 255, 0, 0};
  static const uint8_t closed[] = {1, 3, 1, 77, 2, 1, 1, 8, 5, 1, 1, 4, 1, 1, 0, 2, 2, 20};
  static const uint8_t raw[] = {1, 0, 4, 30, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3};
  (void)argc;
  (void)argv;
  require(make_dir(NULL) == 0);
  catch_log();
  make_files();
  find_records();
  write_seed("small", small, sizeof small);
  write_seed("both", both, sizeof both);
  write_seed("closed", closed, sizeof closed);
  write_seed("raw", raw, sizeof raw);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
  uint64_t sums[TABLES], again;
  put_records(data, len);
  put_back(files, TABLES + 2);
  catch_log();
  enum blitz_rc rc = start_engine();
  require(rc == BLITZ_OK || rc == BLITZ_CORRUPT || rc == BLITZ_BAD_VERSION);
  if (rc != BLITZ_OK)
    return 0;
  for (unsigned i = 0; i < TABLES; i++)
    look(names[i], true, &sums[i]);
  blitz_stop();
  require_ok(start_engine());
  for (unsigned i = 0; i < TABLES; i++)
  {
    look(names[i], false, &again);
    require(again == sums[i]);
  }
  blitz_stop();
  return 0;
}
