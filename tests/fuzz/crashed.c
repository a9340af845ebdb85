/* SPDX-License-Identifier: GPL-2.0-only
 *
 * crashed.c: see crashed.h.
 */
#include "crashed.h"

#include "base/crc32c.h"
#include "table/table.h"

#include <dirent.h>
#include <unistd.h>

enum blitz_rc start_engine(void)
{
  struct blitz_start_options options = {.dir = test_dir(), .log_limit = 1 << 20, .memory = 1 << 20};
  return bz_start(&options, false, ERR);
}

void keep_file(struct kept *kept, const char *name)
{
  kept->name = name;
  kept->data = read_whole(path_of(name), &kept->len);
}

void put_back(const struct kept *kept, size_t count)
{
  DIR *dir = opendir(test_dir());
  struct dirent *entry;
  require(dir != NULL);
  while ((entry = readdir(dir)) != NULL)
    if (entry->d_name[0] != '.')
      require(unlinkat(dirfd(dir), entry->d_name, 0) == 0);
  closedir(dir);
  for (size_t i = 0; i < count; i++)
    write_whole(path_of(kept[i].name), kept[i].data, kept[i].len);
}

void write_seed(const char *name, const uint8_t *data, size_t len)
{
  const char *dir = getenv("BLITZ_SEEDS");
  char file[4300];
  if (dir == NULL)
    return;
  snprintf(file, sizeof file, "%s/%s", dir, name);
  write_whole(file, (const char *)data, len);
}

bool look_at_all(struct blitz_table *table, uint64_t *sum)
{
  struct blitz_cursor *cursor = new_cursor(table, NULL), *getter = new_cursor(table, NULL);
  struct blitz_slice value, found;
  uint64_t rows = 0, expected = row_count(table);
  enum blitz_rc rc;
  *sum = 0;
  require_ok(blitz_scan_begin(cursor));
  while ((rc = blitz_scan_next(cursor, &value, ERR)) == BLITZ_OK)
  {
    struct blitz_slice key = blitz_cursor_key(cursor);
    require_ok(blitz_get(getter, key, &found, ERR));
    require(slice_is(found, value.data, value.len));
    *sum += bz_crc32c(bz_crc32c(0, key.data, key.len), value.data, value.len);
    rows++;
  }
  blitz_cursor_close(cursor);
  blitz_cursor_close(getter);
  require(rc == BLITZ_END ? rows == expected : rc == BLITZ_CORRUPT);
  return rc == BLITZ_END;
}
