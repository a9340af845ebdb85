/* SPDX-License-Identifier: GPL-2.0-only
 *
 * damage_test.c: files that are cut off, foreign, from a later version, or have
 * wrong bytes. Whatever is damaged, a row that is read is right, a row that
 * cannot be read is an error, and nothing crashes or hangs.
 */
#define _GNU_SOURCE
#include "support/support.h"

#include <fcntl.h>
#include <unistd.h>

enum
{
  ROWS = 300,
  VERSION = 3
};

/* A hang is a failure of the whole program, reported by the signal. */
static int begin(void **state)
{
  (void)state;
  alarm(240);
  catch_log();
  return 0;
}

static size_t row_len(uint64_t n)
{
  return 16 + n * 7 % 90 + (n % 50 == 0 ? 1000 : 0);
}

static void fill(struct blitz_table *table)
{
  struct blitz_txn *txn = new_txn();
  char value[2000];
  for (uint64_t version = 1; version <= VERSION; version++)
    for (uint64_t n = 0; n < ROWS + 20; n++)
    {
      row_fill(value, row_len(n), n, version);
      enum blitz_rc rc = blitz_insert(txn, table, number_key(n), bytes(value, row_len(n)), ERR);
      if (rc == BLITZ_DUPLICATE)
        rc = blitz_update(txn, table, number_key(n), number_key(n), bytes(value, row_len(n)), ERR);
      assert_ok(rc);
      require_ok(blitz_txn_commit(txn, ERR));
    }
  blitz_txn_free(txn);
  remove_rows(table, ROWS, ROWS + 20);
}

/* A table with some free space in it: closed, or as a kill would leave it. */
static char *sound_file(const char *name, bool closed, size_t *lenp)
{
  struct blitz_table *table = new_table(name);
  char *data;
  fill(table);
  if (!closed)
  {
    data = read_whole(file_of(name), lenp);
    blitz_table_close(table);
    return data;
  }
  blitz_table_close(table);
  return read_whole(file_of(name), lenp);
}

static bool is_right(struct blitz_slice value, uint64_t n)
{
  uint64_t version;
  return n < ROWS && value.len == row_len(n) && row_proves(value, n, &version) &&
         version == VERSION;
}

static bool is_open_error(enum blitz_rc rc)
{
  return rc == BLITZ_CORRUPT || rc == BLITZ_NOT_BLITZ || rc == BLITZ_BAD_VERSION ||
         rc == BLITZ_READONLY; /* the mark of a file that was not closed */
}

struct outcome
{
  unsigned refused, bad_rows, bad_scans, unharmed, hidden_rows;
};

enum may
{
  MAY_HIDE = 1, /* a look-up may say that there is no such row */
  MAY_LOSE = 2, /* that, and a scan may not meet it */
};

static uint64_t big_endian(const char *at)
{
  uint64_t n = 0;
  for (int i = 0; i < 8; i++)
    n = n << 8 | (unsigned char)at[i];
  return n;
}

/* Marks the bytes of the file that lead from one row to another: the bucket
 * array and two links in each row. They carry no checksum, so a link that was
 * made zero hides what it led to from look-ups, though not from scans.
 */
static char *find_links(const char *data, size_t len)
{
  enum
  {
    BUCKETS_OFF = 40,
    FIRST_OFF = 64,
    HEADER_LEN = 256,
    ROW_MAGIC = 0xc8
  };
  char *is_link = calloc(len, 1);
  assert_non_null(is_link);
  memset(is_link + HEADER_LEN, 1, 8 * big_endian(data + BUCKETS_OFF));
  /* A byte of a value taken for the start of a row allows a little too much. */
  for (size_t off = big_endian(data + FIRST_OFF); off + 18 < len; off += 16)
    if ((unsigned char)data[off] == ROW_MAGIC)
      memset(is_link + off + 2, 1, 16);
  return is_link;
}

/* Opens the table and reads all of it in both ways. Rows that are gone without
 * a word are allowed as MAY says, wrong ones are not.
 */
static void read_all(const char *name, unsigned flags, unsigned may, struct outcome *outcome,
                     size_t off)
{
  struct blitz_table *table;
  struct blitz_slice value;
  enum blitz_rc rc = blitz_table_open(path_of(name), flags, &table, ERR);
  unsigned bad = 0, hidden = 0;
  uint64_t seen = 0;
  if (rc != BLITZ_OK)
  {
    if (!is_open_error(rc))
      fail_msg("byte %zu: open gave %s: %s", off, blitz_rc_name(rc), last_error.text);
    assert_error_names(file_of(name));
    outcome->refused++;
    return;
  }
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  for (uint64_t n = 0; n < ROWS + 20; n++)
  {
    last_error.text[0] = 0;
    rc = blitz_get(cursor, number_key(n), &value, ERR);
    if (rc == BLITZ_OK && is_right(value, n))
      continue;
    if (rc == BLITZ_CORRUPT)
    {
      assert_error_names(file_of(name));
      bad++;
      continue;
    }
    if (rc == BLITZ_NOT_FOUND && (n >= ROWS || may))
    {
      hidden += n < ROWS;
      continue;
    }
    fail_msg("byte %zu: get of row %d gave %s", off, (int)n, blitz_rc_name(rc));
  }
  outcome->bad_rows += bad;
  outcome->hidden_rows += hidden;

  unsigned char met[ROWS] = {0};
  assert_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
  {
    struct blitz_slice key = blitz_cursor_key(cursor);
    uint64_t n = 0;
    if (key.len != 8)
      fail_msg("byte %zu: a key of %zu bytes", off, key.len);
    for (int i = 0; i < 8; i++)
      n = n << 8 | ((const unsigned char *)key.data)[i];
    if (!is_right(value, n) || met[n]++)
      fail_msg("byte %zu: the scan gave a wrong row, or row %d twice", off, (int)n);
    seen++;
  }
  if (rc == BLITZ_CORRUPT)
    outcome->bad_scans++;
  else if (rc != BLITZ_END || (seen != ROWS && !(may & MAY_LOSE)))
    fail_msg("byte %zu: the scan gave %d rows, then %s", off, (int)seen, blitz_rc_name(rc));
  else if (bad == 0 && hidden == 0 && seen == ROWS)
    outcome->unharmed++;
  blitz_cursor_close(cursor);
  blitz_table_close(table);
}

static void flip_everywhere(const char *name, bool closed, unsigned flags)
{
  struct rnd rnd = {run_seed() + flags * 2 + closed};
  size_t len;
  char *data = sound_file(name, closed, &len);
  char *is_link = find_links(data, len);
  struct outcome outcome = {0};
  /* All of the header, a good part of the rest. */
  unsigned rounds = run_rounds(3);
  for (unsigned round = 0; round < rounds; round++)
    for (size_t off = 0; off < len; off += off < 256 ? 1 : 1 + rnd_below(&rnd, 40))
    {
      unsigned char was = (unsigned char)data[off];
      switch (round % 3)
      {
      case 0: data[off] = (char)(was ^ (1 << rnd_below(&rnd, 8))); break;
      case 1: data[off] = was ? 0 : (char)0xff; break;
      default: data[off] = (char)(was + 1 + rnd_below(&rnd, 255));
      }
      write_whole(file_of(name), data, len);
      read_all(name, flags, closed ? is_link[off] * MAY_HIDE : MAY_LOSE, &outcome, off);
      data[off] = (char)was;
    }
  print_message("# %u files refused, %u rows and %u scans failed, %u rows were hidden, %u files "
                "unharmed\n",
                outcome.refused, outcome.bad_rows, outcome.bad_scans, outcome.hidden_rows,
                outcome.unharmed);
  /* The damage was seen at all: in the header, in rows, in what is between. */
  assert_true(outcome.refused > 0);
  if (closed)
    assert_true(outcome.bad_rows > 0 && outcome.bad_scans > 0);
  free(is_link);
  free(data);
}

static void one_wrong_byte(void **state)
{
  (void)state;
  flip_everywhere(__func__, true, 0);
}

static void one_wrong_byte_in_a_readonly_table(void **state)
{
  (void)state;
  flip_everywhere(__func__, true, BLITZ_OPEN_READONLY);
}

static void one_wrong_byte_in_a_file_that_was_not_closed(void **state)
{
  (void)state;
  flip_everywhere(__func__, false, 0);
}

static void wrong_blocks(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  size_t len;
  char *data = sound_file(__func__, true, &len), *copy = malloc(len);
  struct outcome outcome = {0};
  for (unsigned round = 0; round < run_rounds(300); round++)
  {
    memcpy(copy, data, len);
    size_t size = 1 + rnd_below(&rnd, 600), off = rnd_below(&rnd, (uint32_t)(len - size));
    size_t from = rnd_below(&rnd, (uint32_t)(len - size));
    /* Zeroes as of a page never written, noise, or another place's bytes. */
    switch (round % 3)
    {
    case 0: memset(copy + off, 0, size); break;
    case 1: memcpy(copy + off, data + from, size); break;
    default:
      for (size_t i = 0; i < size; i++)
        copy[off + i] = (char)rnd_next(&rnd);
    }
    write_whole(file_of("blocks_2"), copy, len);
    read_all("blocks_2", 0, MAY_HIDE, &outcome, off);
  }
  assert_true(outcome.refused + outcome.bad_rows + outcome.bad_scans > 0);
  free(copy);
  free(data);
}

static void changes_of_a_damaged_table(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  size_t len;
  char *data = sound_file(__func__, true, &len), value[2000];
  char *is_link = find_links(data, len);
  for (unsigned round = 0; round < run_rounds(300); round++)
  {
    size_t off = rnd_below(&rnd, (uint32_t)len);
    unsigned char was = (unsigned char)data[off];
    data[off] = (char)(was ^ (1 + rnd_below(&rnd, 255)));
    write_whole(file_of("changed_2"), data, len);
    data[off] = (char)was;
    struct blitz_table *table;
    if (blitz_table_open(path_of("changed_2"), 0, &table, ERR) != BLITZ_OK)
      continue;
    struct blitz_txn *txn = new_txn();
    for (uint64_t n = 0; n < ROWS; n++)
    {
      enum blitz_rc rc;
      size_t size = 16 + rnd_below(&rnd, 400);
      row_fill(value, size, n, VERSION);
      if (n % 3 == 0)
        rc = blitz_remove(txn, table, number_key(n), ERR);
      else
        rc = blitz_update(txn, table, number_key(n), number_key(n), bytes(value, size), ERR);
      if (rc != BLITZ_OK && rc != BLITZ_CORRUPT && !(rc == BLITZ_NOT_FOUND && is_link[off]))
        fail_msg("byte %zu: the change of row %d gave %s: %s", off, (int)n, blitz_rc_name(rc),
                 last_error.text);
      if (n % 10 == 0)
        require_ok(blitz_txn_commit(txn, ERR));
    }
    require_ok(blitz_txn_commit(txn, ERR));
    blitz_txn_free(txn);
    /* What was changed is right, or an error. */
    struct blitz_cursor *cursor = new_cursor(table, NULL);
    struct blitz_slice found;
    uint64_t version;
    for (uint64_t n = 0; n < ROWS; n++)
      if (blitz_get(cursor, number_key(n), &found, ERR) == BLITZ_OK &&
          (!row_proves(found, n, &version) || version != VERSION))
        fail_msg("byte %zu: row %d is wrong", off, (int)n);
    blitz_cursor_close(cursor);
    blitz_table_close(table);
  }
  free(is_link);
  free(data);
}

static void bytes_that_change_under_way(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  size_t len;
  char *data = sound_file(__func__, true, &len);
  char *is_link = find_links(data, len);
  struct blitz_table *table = open_table(__func__);
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  unsigned corrupt = 0;
  int fd = open(file_of(__func__), O_RDWR);
  assert_true(fd >= 0);
  for (unsigned round = 0; round < run_rounds(1500); round++)
  {
    size_t off = 256 + rnd_below(&rnd, (uint32_t)len - 256);
    char was, wrong;
    assert_int_equal(pread(fd, &was, 1, (off_t)off), 1);
    wrong = (char)(was ^ (1 + rnd_below(&rnd, 255)));
    assert_int_equal(pwrite(fd, &wrong, 1, (off_t)off), 1);
    for (uint64_t n = 0; n < ROWS; n++)
    {
      enum blitz_rc rc = blitz_get(cursor, number_key(n), &value, ERR);
      if (rc == BLITZ_OK ? !is_right(value, n)
                         : rc != BLITZ_CORRUPT && !(rc == BLITZ_NOT_FOUND && is_link[off]))
        fail_msg("byte %zu: get of row %d gave %s", off, (int)n, blitz_rc_name(rc));
      corrupt += rc == BLITZ_CORRUPT;
    }
    assert_int_equal(pwrite(fd, &was, 1, (off_t)off), 1);
  }
  assert_true(corrupt > 0);
  free(is_link);
  free(data);
  close(fd);
  blitz_cursor_close(cursor);
  blitz_table_close(table);
}

static void files_that_are_cut_off(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  size_t len;
  for (int closed = 0; closed < 2; closed++)
  {
    char *data = sound_file(__func__, closed, &len);
    struct outcome outcome = {0};
    for (size_t left = 0; left < len; left += left < 1000 ? 37 : 1 + rnd_below(&rnd, 900))
    {
      write_whole(file_of("cut_2"), data, left);
      read_all("cut_2", 0, closed ? 0 : MAY_LOSE, &outcome, left);
    }
    assert_true(outcome.refused > 0);
    free(data);
  }
}

static void longer_files_are_unharmed(void **state)
{
  (void)state;
  size_t len;
  char *data = sound_file(__func__, true, &len);
  struct outcome outcome = {0};
  char *longer = calloc(len + 100000, 1);
  memcpy(longer, data, len);
  write_whole(file_of("longer_2"), longer, len + 100000);
  read_all("longer_2", 0, 0, &outcome, len);
  assert_int_equal(outcome.unharmed, 1);
  free(longer);
  free(data);
}

static void foreign_files_are_refused(void **state)
{
  (void)state;
  struct blitz_table *table;
  struct rnd rnd = {run_seed()};
  static char noise[20000];
  for (size_t i = 0; i < sizeof noise; i++)
    noise[i] = (char)rnd_next(&rnd);
  write_whole(file_of("foreign_2"), noise, sizeof noise);
  assert_rc(BLITZ_NOT_BLITZ, blitz_table_open(path_of("foreign_2"), 0, &table, ERR));
  assert_error_names(file_of("foreign_2"));

  /* A Tokyo Cabinet file that is not ours. */
  memset(noise, 0, sizeof noise);
  strcpy(noise, "ToKyO CaBiNeT\n1.0:911\n");
  write_whole(file_of("foreign_2"), noise, sizeof noise);
  assert_rc(BLITZ_NOT_BLITZ, blitz_table_open(path_of("foreign_2"), 0, &table, ERR));

  memset(noise, 0, sizeof noise);
  write_whole(file_of("foreign_2"), noise, sizeof noise);
  assert_rc(BLITZ_NOT_BLITZ, blitz_table_open(path_of("foreign_2"), 0, &table, ERR));

  write_whole(file_of("foreign_2"), "", 0);
  assert_true(is_open_error(blitz_table_open(path_of("foreign_2"), 0, &table, ERR)));
  assert_error_names(file_of("foreign_2"));
  /* The refusal left it as it was. */
  assert_int_equal(file_len(file_of("foreign_2")), 0);
}

static void a_directory_is_no_table(void **state)
{
  (void)state;
  struct blitz_table *table;
  char command[4300];
  snprintf(command, sizeof command, "mkdir -p '%s'", file_of("folder"));
  assert_int_equal(system(command), 0);
  assert_int_not_equal(blitz_table_open(path_of("folder"), 0, &table, ERR), BLITZ_OK);
  assert_error_names(file_of("folder"));
}

static void files_of_a_later_version_are_refused(void **state)
{
  (void)state;
  /* Offsets of docs/FORMAT.md, as numbers: the format is what this test knows. */
  enum
  {
    VERSION_OFF = 136,
    MIN_READER_OFF = 138
  };
  struct blitz_table *table;
  size_t len;
  char *data = sound_file(__func__, true, &len);
  assert_int_equal(data[MIN_READER_OFF], 3);
  data[VERSION_OFF] = 9;
  data[MIN_READER_OFF] = 9;
  write_whole(file_of("later_2"), data, len);
  uint64_t sum = file_sum(file_of("later_2"));
  assert_rc(BLITZ_BAD_VERSION, blitz_table_open(path_of("later_2"), 0, &table, ERR));
  assert_error_names(file_of("later_2"));
  assert_non_null(strstr(last_error.text, "9"));
  assert_true(sum == file_sum(file_of("later_2")));
  free(data);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(one_wrong_byte, begin),
      cmocka_unit_test_setup(one_wrong_byte_in_a_readonly_table, begin),
      cmocka_unit_test_setup(one_wrong_byte_in_a_file_that_was_not_closed, begin),
      cmocka_unit_test_setup(wrong_blocks, begin),
      cmocka_unit_test_setup(changes_of_a_damaged_table, begin),
      cmocka_unit_test_setup(bytes_that_change_under_way, begin),
      cmocka_unit_test_setup(files_that_are_cut_off, begin),
      cmocka_unit_test_setup(longer_files_are_unharmed, begin),
      cmocka_unit_test_setup(foreign_files_are_refused, begin),
      cmocka_unit_test_setup(a_directory_is_no_table, begin),
      cmocka_unit_test_setup(files_of_a_later_version_are_refused, begin),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
