/* SPDX-License-Identifier: GPL-2.0-only
 *
 * table_fuzz.c: a data file, closed or left open, in which any bytes are changed. It is opened,
 * or repaired, read, changed and closed: no death, no hang, and never a row that nobody has
 * stored.
 */
#include "rows/format.h"
#include "support/support.h"

#include <unistd.h>

enum
{
  ROWS = 60,
  REPAIR = 2, /* bits of the first byte */
  LEFT_OPEN = 1,
};

static char *images[2];
static size_t lens[2];

static size_t len_of(uint64_t n)
{
  return n % 10 == 9 ? 700 : 16 + n % 50;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  char value[1000];
  (void)argc;
  (void)argv;
  require(make_dir(NULL) == 0);
  catch_log();
  struct blitz_table *table = new_table("base");
  struct blitz_txn *txn = new_txn();
  for (uint64_t n = 0; n < ROWS; n++)
  {
    row_fill(value, len_of(n), n, 1);
    require_ok(blitz_insert(txn, table, number_key(n), bytes(value, len_of(n)), ERR));
    require_ok(blitz_txn_commit(txn, ERR));
  }
  remove_rows(table, 20, 25);
  blitz_txn_free(txn);
  copy_file(file_of("base"), file_of("open"));
  blitz_table_close(table);
  images[0] = read_whole(file_of("base"), &lens[0]);
  images[LEFT_OPEN] = read_whole(file_of("open"), &lens[LEFT_OPEN]);
  return 0;
}

/* Reads all by key and by a scan. */
static void read_all(struct blitz_table *table)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  uint64_t version, rows = 0;
  for (uint64_t n = 0; n < ROWS; n++)
    if (blitz_get(cursor, number_key(n), &value, ERR) == BLITZ_OK)
      require(row_proves(value, n, &version) && (version == 1 || version == 2));
  require_ok(blitz_scan_begin(cursor));
  while (blitz_scan_next(cursor, &value, ERR) == BLITZ_OK)
  {
    struct blitz_slice key = blitz_cursor_key(cursor);
    uint64_t n = 0;
    require(key.len == 8 && ++rows <= ROWS);
    for (unsigned i = 0; i < 8; i++)
      n = n << 8 | ((const unsigned char *)key.data)[i];
    require(n < ROWS && row_proves(value, n, &version) && (version == 1 || version == 2));
  }
  blitz_cursor_close(cursor);
}

static void change(struct blitz_table *table)
{
  struct blitz_txn *txn = new_txn();
  char value[1000];
  for (uint64_t n = 0; n < ROWS; n += 7)
  {
    row_fill(value, len_of(n), n, 2);
    struct blitz_slice slice = bytes(value, len_of(n));
    if (blitz_update(txn, table, number_key(n), number_key(n), slice, ERR) == BLITZ_NOT_FOUND)
      (void)!blitz_insert(txn, table, number_key(n), slice, ERR);
  }
  if (blitz_txn_commit(txn, ERR) != BLITZ_OK)
    blitz_txn_rollback(txn);
  blitz_txn_free(txn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
  struct blitz_table *table;
  if (len == 0)
    return 0;
  unsigned which = data[0] & LEFT_OPEN, flags = data[0] & REPAIR ? BLITZ_OPEN_REPAIR : 0;
  char *image = malloc(lens[which]);
  require(image != NULL);
  memcpy(image, images[which], lens[which]);
  data++, len--;
  /* Patches: where, how long, and the bytes. */
  while (len >= 3)
  {
    size_t off = (data[0] | (size_t)data[1] << 8) % lens[which], part = 1 + data[2] % 16;
    data += 3, len -= 3;
    if (part > len)
      part = len;
    if (part > lens[which] - off)
      part = lens[which] - off;
    memcpy(image + off, data, part);
    data += part, len -= part;
  }
  write_whole(file_of("fuzzed"), image, lens[which]);
  free(image);
  catch_log();
  for (unsigned times = 0; times < 2; times++)
  {
    if (blitz_table_open(path_of("fuzzed"), flags, &table, ERR) != BLITZ_OK)
      break;
    read_all(table);
    change(table);
    read_all(table);
    blitz_table_close(table);
    flags = 0;
  }
  (void)unlink(file_of("fuzzed"));
  return 0;
}
