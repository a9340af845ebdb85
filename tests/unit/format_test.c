/* SPDX-License-Identifier: GPL-2.0-only
 *
 * format_test.c: the bytes of a file. Offsets and numbers stand here as literals, on
 * purpose: whoever changes the format must change them, and the version, too. The
 * table is the example of docs/FORMAT.md.
 */
#include "base/siphash.h"
#include "support.h"

#include <string.h>

static const unsigned char *file;
static size_t file_size;

static int drop_example(void **state)
{
  free((void *)(uintptr_t)file);
  return remove_dir(state);
}

static uint64_t big(size_t off, unsigned len)
{
  uint64_t n = 0;
  while (len-- > 0)
    n = n << 8 | file[off++];
  return n;
}

static uint64_t little(size_t off, unsigned len)
{
  uint64_t n = 0;
  while (len-- > 0)
    n = n << 8 | file[off + len];
  return n;
}

/* CRC-32C, bit by bit. */
static uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
  const unsigned char *p = data;
  crc = ~crc;
  while (len-- > 0)
  {
    crc ^= *p++;
    for (int bit = 0; bit < 8; bit++)
      crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc;
}

static int make_example(void **state)
{
  if (make_dir(state) != 0)
    return -1;
  struct blitz_create_options options = {.layout = 0x1234};
  assert_ok(blitz_table_create(path_of("example"), &options, true, ERR));
  struct blitz_table *table = open_table("example");
  struct blitz_txn *txn = new_txn();
  assert_ok(blitz_insert(txn, table, text("a"), text("hi"), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  assert_ok(blitz_insert(txn, table, text("b"), text("there"), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  assert_ok(blitz_remove(txn, table, text("a"), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
  blitz_table_close(table);
  file = (const unsigned char *)read_whole(file_of("example"), &file_size);
  return 0;
}

static void the_checksum_is_crc32c(void **state)
{
  (void)state;
  assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
}

static void the_spread_is_siphash(void **state)
{
  (void)state;
  unsigned char data[16];
  for (unsigned i = 0; i < 16; i++)
    data[i] = (unsigned char)i;
  uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
  assert_int_equal(bz_siphash(key, data, 15, 2, 4), UINT64_C(0xa129ca6149be45e5));
}

static void the_header_of_tokyo_cabinet(void **state)
{
  (void)state;
  assert_memory_equal(file, "ToKyO CaBiNeT\n1.0:911\n\0\0\0\0\0\0\0\0\0\0", 32);
  assert_int_equal(file[32], 0);
  assert_int_equal(file[33], 0);
  assert_int_equal(file[34], 4);
  assert_int_equal(file[35], 10);
  assert_int_equal(file[36], 1);
  assert_int_equal(big(40, 8), 64);
  assert_int_equal(big(48, 8), 1);
  assert_int_equal(big(56, 8), 0x3a0);
  assert_int_equal(big(64, 8), 0x340);
}

static void our_header(void **state)
{
  (void)state;
  uint32_t salt = (uint32_t)little(144, 4);
  assert_memory_equal(file + 128, "BlitzDB\n", 8);
  assert_int_equal(little(136, 2), 3);
  assert_int_equal(little(138, 2), 3);
  assert_int_equal(little(140, 4), 0);
  assert_int_equal(little(148, 4), crc32c(crc32c(0, file + 128, 20), file + 240, 16));
  assert_int_equal(little(232, 8), 0);
  assert_int_not_equal(little(240, 8), 0);
  assert_int_equal(little(248, 8), 0x1234);
  assert_int_equal(little(152, 8), 3);
  assert_int_equal(little(160, 8), 1);
  assert_int_equal(little(168, 8), 0);
  assert_int_equal(little(176, 8), 0x3a0);
  assert_int_equal(little(184, 8), 1);
  assert_int_equal(little(192, 4), crc32c(salt, file + 0x3a0, 8));
  uint32_t closed = crc32c(salt, file + 34, 168 - 34);
  closed = crc32c(closed, file + 176, 196 - 176);
  closed = crc32c(closed, file + 200, 220 - 200);
  closed = crc32c(closed, file + 232, 8);
  assert_int_equal(little(200, 8), 0); /* no entries of indexes */
  assert_int_equal(little(196, 4), crc32c(closed, file + 256, 64 * 8));
}

static void a_row(void **state)
{
  (void)state;
  uint32_t salt = (uint32_t)little(144, 4), crc;
  const size_t off = 0x370;
  unsigned char key[7] = {'b'};
  uint64_t secret[2] = {little(240, 8), salt * UINT64_C(0x9E3779B97F4A7C15)};
  uint64_t spread = bz_siphash(secret, "b", 1, 1, 3);
  for (int i = 0; i < 6; i++)
    key[1 + i] = (unsigned char)(spread >> 8 * i);

  uint64_t bucket = 19780211;
  uint32_t second = 751;
  for (int i = 0; i < 7; i++)
    bucket = bucket * 37 + key[i], second = (second * 31) ^ key[6 - i];
  assert_int_equal(big(256 + bucket % 64 * 8, 8), off / 16);

  assert_int_equal(file[off], 0xc8);
  assert_int_equal(file[off + 1], second & 0xff);
  assert_int_equal(big(off + 2, 8), 0);
  assert_int_equal(big(off + 10, 8), 0);
  assert_int_equal(big(off + 18, 2), 2);
  assert_int_equal(file[off + 20], 7);
  assert_int_equal(file[off + 21], 17);
  assert_memory_equal(file + off + 22, key, 7);
  assert_int_equal(little(off + 29, 8), 2);
  crc = crc32c(crc32c(salt, key, 7), "there", 5);
  crc ^= (uint32_t)((2 ^ off) * UINT64_C(0x9E3779B97F4A7C15) >> 32);
  assert_int_equal(little(off + 37, 4), crc);
  assert_memory_equal(file + off + 41, "there\0\0", 7);
}

static void a_free_block(void **state)
{
  (void)state;
  assert_int_equal(file[0x340], 0xb0);
  assert_int_equal(big(0x341, 4), 0x30);
  assert_int_equal(file[0x345], 1);
  assert_int_equal(file_size, 0x3a8);
  assert_int_equal(little(0x3a0, 8), 0x340);
}

static void long_lengths(void **state)
{
  (void)state;
  static char value[300];
  struct blitz_table *table = new_table("long");
  struct blitz_txn *txn = new_txn();
  assert_ok(blitz_insert(txn, table, text("k"), bytes(value, sizeof value), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
  blitz_table_close(table);
  size_t len;
  unsigned char *whole = (unsigned char *)read_whole(file_of("long"), &len);
  /* 312 = 0x138: low seven bits inverted, then the rest */
  assert_int_equal(whole[0x340 + 20], 7);
  assert_int_equal(whole[0x340 + 21], 0xff & ~0x38);
  assert_int_equal(whole[0x340 + 22], 0x02);
  free(whole);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_checksum_is_crc32c),
      cmocka_unit_test(the_spread_is_siphash),
      cmocka_unit_test(the_header_of_tokyo_cabinet),
      cmocka_unit_test(our_header),
      cmocka_unit_test(a_row),
      cmocka_unit_test(a_free_block),
      cmocka_unit_test(long_lengths),
  };
  return cmocka_run_group_tests(tests, make_example, drop_example);
}
