/* SPDX-License-Identifier: GPL-2.0-only
 *
 * journal_fuzz.c: what a checkpoint that was interrupted has left. Either it is the right journal
 * of which bytes are changed: then all rows are there, by the journal or without it. Or it is one
 * with right checksums of any pages, names of files too: then nothing dies or hangs, no row is
 * there that nobody has stored, and a file that the journal is not for stays as it is.
 */
#include "crashed.h"
#include "base/bytes.h"
#include "log/journal.h"
#include "rows/format.h"

#include <unistd.h>

enum
{
  ROWS = 60,
  PAGE = 4096,
  PAGES_MAX = 64,
  FILES = 4, /* that a kill leaves: t, u and the log's two */
  NAME_HEAD_LEN = 28,
  HEAD_LEN = 32,
};

static struct kept files[FILES];
static char *next_image; /* of t */
static uint64_t changed[PAGES_MAX], changed_count;
static struct kept journal;

static size_t len_of(uint64_t n)
{
  return n % 10 == 9 ? 700 : 60 + n % 50;
}

static uint64_t version_of(uint64_t n)
{
  return n % 3 == 0 ? 2 : 1;
}

static void put_version(struct blitz_table *table, uint64_t version)
{
  for (uint64_t n = 0; n < ROWS; n++)
    if (version == 1 || version_of(n) == version)
      put_rows(table, n, n + 1, len_of(n), version);
}

/* ---- what was there ---- */

/* The pages that the journal replaces; what is behind them was written to its place before. */
static void find_changed(size_t next_len)
{
  struct kept *t = &files[0];
  size_t end = (bz_load_be64((uint8_t *)t->data + BZ_TC_END_OFF) + PAGE - 1) / PAGE * PAGE;
  require(end <= t->len && t->len <= next_len && next_len <= PAGES_MAX * PAGE);
  for (size_t off = 0; off < end; off += PAGE)
    if (memcmp(t->data + off, next_image + off, PAGE) != 0)
      changed[changed_count++] = off / PAGE;
  require(changed_count > 3);
  t->data = realloc(t->data, next_len);
  require(t->data != NULL);
  memcpy(t->data + end, next_image + end, next_len - end);
  t->len = next_len;
}

static void make_files(void)
{
  struct blitz_create_options options = {0};
  struct blitz_table *table;
  size_t next_len;
  require_ok(start_engine());
  require_ok(blitz_table_create(path_of("u"), &options, true, ERR));
  require_ok(blitz_table_open(path_of("u"), 0, &table, ERR));
  put_rows(table, 0, 10, 50, 1);
  blitz_table_close(table);
  require_ok(blitz_table_create(path_of("t"), &options, true, ERR));
  require_ok(blitz_table_open(path_of("t"), 0, &table, ERR));
  put_version(table, 1);
  require_ok(blitz_checkpoint(ERR));
  keep_file(&files[0], "t.bzd");
  keep_file(&files[1], "u.bzd");
  put_version(table, 2);
  require_ok(blitz_sync(ERR));
  keep_file(&files[2], "blitz_log.control");
  keep_file(&files[3], "blitz_log.00000001");
  require_ok(blitz_checkpoint(ERR));
  next_image = read_whole(file_of("t"), &next_len);
  blitz_table_close(table);
  blitz_stop();
  find_changed(next_len);
}

/* ---- journals ---- */

/* Says that NUMBER is the file NAME, of the image that t is, or one that is BEYOND it. */
static size_t put_name(uint8_t *to, size_t room, uint64_t number, const struct kept *of,
                       uint64_t beyond)
{
  const uint8_t *header = (const uint8_t *)of->data;
  const char *path = path_of(of->name);
  size_t len = strlen(path) - strlen(BLITZ_FILE_EXT);
  if (NAME_HEAD_LEN + len > room)
    return 0;
  bz_store_le64(to, number);
  bz_store_le64(to + 8, bz_load_le64((const uint8_t *)files[0].data + BZ_SECRET_OFF));
  bz_store_le64(to + 16, bz_load_le64(header + BZ_IMAGE_OFF) + beyond);
  bz_store_le32(to + 24, (uint32_t)len);
  memcpy(to + NAME_HEAD_LEN, path, len);
  return NAME_HEAD_LEN + len;
}

static struct bz_journal *begin_journal(void)
{
  struct bz_journal *made;
  uint64_t position;
  require_ok(bz_journal_open(test_dir(), "pages", &made, &position, ERR));
  require_ok(bz_journal_begin(made, 0, PAGES_MAX, ERR));
  return made;
}

static void make_journal(void)
{
  uint8_t page[PAGE] = {0};
  struct bz_journal *made;
  put_back(files, FILES);
  made = begin_journal();
  put_name(page, sizeof page, 1, &files[0], 0);
  require_ok(bz_journal_add(made, 0, 0, page, ERR));
  for (uint64_t i = 0; i < changed_count; i++)
    require_ok(bz_journal_add(made, 1, changed[i], (uint8_t *)next_image + changed[i] * PAGE, ERR));
  require_ok(bz_journal_finish(made, ERR));
  bz_journal_close(made);
  keep_file(&journal, "blitz_log.pages");
}

/* A page of names: bytes, or a name that is right but for what the input says. */
static void fill_names(struct input *in, uint8_t *page)
{
  size_t off = 0;
  for (unsigned count = 1 + next_byte(in) % 4; count > 0; count--)
  {
    uint8_t how = next_byte(in), beyond = next_byte(in), *name = page + off;
    if (how % 4 != 0)
    {
      size_t len = put_name(name, PAGE - off, how % 4, &files[how / 4 % 2],
                            (uint64_t)(int64_t)(int8_t)beyond);
      if (len > 0 && how > 200) /* its path has another length */
        bz_store_le32(name + 24, (uint32_t)next_byte(in) * 20);
      off += len;
    }
    else
      for (unsigned i = how / 4; i > 0 && off < PAGE; i--)
        page[off++] = next_byte(in);
  }
}

/* A page of one of the images, with some bytes changed. */
static void fill_page(struct input *in, uint8_t *page, uint64_t number)
{
  const char *image = next_byte(in) % 4 == 0 ? files[0].data : next_image;
  if (number < files[0].len / PAGE)
    memcpy(page, image + number * PAGE, PAGE);
  for (unsigned count = next_byte(in) % 8; count > 0; count--)
  {
    size_t off = next_byte(in);
    off = (off << 8 | next_byte(in)) % PAGE;
    page[off] = next_byte(in);
  }
}

static void put_pages(struct input *in)
{
  struct bz_journal *made = begin_journal();
  for (unsigned count = 0; count == 0 || (in->len > 0 && count < PAGES_MAX); count++)
  {
    uint8_t page[PAGE] = {0};
    uint64_t file = next_byte(in) % 4, number = next_byte(in);
    if (file == 0)
      fill_names(in, page);
    else
      fill_page(in, page, number);
    /* No file has so large an offset. */
    if (number > 250)
      number = UINT64_C(1) << (number - 200);
    require_ok(bz_journal_add(made, file, number, page, ERR));
  }
  require_ok(bz_journal_finish(made, ERR));
  bz_journal_close(made);
}

/* ---- what becomes of it ---- */

static bool is_untouched(const struct kept *kept)
{
  size_t len;
  char *data = read_whole(path_of(kept->name), &len);
  bool same = len == kept->len && memcmp(data, kept->data, len) == 0;
  free(data);
  return same;
}

static void look(bool all)
{
  struct blitz_table *table;
  uint64_t version;
  enum blitz_rc rc = blitz_table_open(path_of("t"), 0, &table, ERR);
  require(rc == BLITZ_OK || !all);
  if (rc != BLITZ_OK)
    return;
  struct blitz_cursor *cursor = new_cursor(table, NULL);
  struct blitz_slice value;
  for (uint64_t n = 0; n < ROWS; n++)
  {
    rc = blitz_get(cursor, number_key(n), &value, ERR);
    require(rc == BLITZ_OK || !all);
    if (rc == BLITZ_OK)
      require(row_proves(value, n, &version) && (all ? version == version_of(n) : version < 3));
  }
  require_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
  {
    uint64_t n = bz_load_be64(blitz_cursor_key(cursor).data);
    require(n < ROWS && row_proves(value, n, &version) && version < 3);
  }
  require(rc == BLITZ_END || !all);
  require(row_count(table) == ROWS || !all);
  blitz_cursor_close(cursor);
  blitz_table_close(table);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
  static const uint8_t whole[] = {0}, bytes_changed[] = {0, 2, 4, 9, 7, 0, 20, 1, 1, 30, 1};
  static const uint8_t pages[] = {1, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 1, 1, 1, 1,
                                  2, 1, 1, 1, 3, 1, 1, 1, 4, 1, 1, 2, 3, 9};
  static const uint8_t names[] = {1, 0, 0, 3, 1, 0, 6, 255, 200, 1, 2, 3, 1, 2, 1, 0};
  (void)argc;
  (void)argv;
  require(make_dir(NULL) == 0);
  catch_log();
  make_files();
  make_journal();
  write_seed("whole", whole, sizeof whole);
  write_seed("bytes", bytes_changed, sizeof bytes_changed);
  write_seed("pages", pages, sizeof pages);
  write_seed("names", names, sizeof names);
  return 0;
}

/* The right journal, with bytes changed: of its head, of its list, of all of it. */
static void put_changed(struct input *in)
{
  char *data = malloc(journal.len);
  size_t list = journal.len / PAGE * PAGE;
  require(data != NULL && list < journal.len);
  memcpy(data, journal.data, journal.len);
  while (in->len > 0)
  {
    uint8_t where = next_byte(in) % 3;
    size_t from = where == 1 ? list : 0;
    size_t room = where == 0 ? HEAD_LEN : journal.len - from, off = next_byte(in);
    if (where == 2)
      off = off << 8 | next_byte(in);
    data[from + off % room] ^= (char)next_byte(in);
  }
  write_whole(path_of(journal.name), data, journal.len);
  free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
  struct input in = {data, len};
  bool all = next_byte(&in) % 2 == 0;
  put_back(files, FILES);
  if (all)
    put_changed(&in);
  else
    put_pages(&in);
  catch_log();
  enum blitz_rc rc = start_engine();
  require(rc == BLITZ_OK || (!all && (rc == BLITZ_CORRUPT || rc == BLITZ_IO)));
  require(is_untouched(&files[1]));
  if (rc != BLITZ_OK)
    return 0;
  look(all);
  blitz_stop();
  return 0;
}
