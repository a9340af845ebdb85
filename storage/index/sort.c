/* SPDX-License-Identifier: GPL-2.0-only
 *
 * sort.c: sorting index entries.
 *
 * A run is collected in memory: the entries' bytes one behind the other, and an array of
 * the first eight bytes of each sort key and where it is. The array is sorted by those
 * eight bytes, by radix, and ties by the rest. A run that is full is written out.
 */
#include "index/index.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/temporary.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BYTES_DEFAULT ((size_t)64 << 20)
#define BYTES_MIN ((size_t)1 << 20)
#define ARENA_FIRST ((size_t)64 << 10)
#define READ_LEN ((size_t)256 << 10) /* longer than any entry */

/* An entry as it is kept: lengths, then the bytes of sort key, row key (of a unique one)
 * and payload.
 */
struct record
{
  uint64_t off;
  uint32_t len; /* of all of it, a multiple of 8 */
  uint32_t sort_len;
  uint32_t payload_len;
  uint16_t row_key_len;
  bool unique;
  uint8_t bytes[];
};

struct item
{
  uint64_t head; /* first bytes of the sort key */
  size_t at;     /* in the arena */
};

/* A sorted run in the file. */
struct run
{
  off_t next, end; /* what has not been read into the buffer */
  uint8_t *buf;
  size_t pos, len;
};

struct bz_sort
{
  size_t bytes_max;
  uint8_t *arena;
  size_t arena_len, arena_room;
  struct item *items;
  size_t count, room, given;

  int fd; /* -1: nothing was written out */
  off_t file_len;
  struct run *runs;
  size_t run_count;
  size_t *heap; /* of runs, by their first entries */
  size_t heap_len;
  bool pending; /* the heap's first run has given its first entry */
};

/* ---- settings ----------------------------------------------------------------- */

static pthread_mutex_t settings_lock = PTHREAD_MUTEX_INITIALIZER;
static size_t settings_bytes = BYTES_DEFAULT;

enum blitz_rc blitz_set_sort(const char *dir, size_t bytes)
{
  if (bz_temporary_set_dir(dir) != BLITZ_OK)
    return BLITZ_NOMEM;
  pthread_mutex_lock(&settings_lock);
  settings_bytes = bytes > BYTES_MIN ? bytes : BYTES_MIN;
  pthread_mutex_unlock(&settings_lock);
  return BLITZ_OK;
}

/* ---- the object ------------------------------------------------------------------ */

struct bz_sort *bz_sort_create(void)
{
  struct bz_sort *sort = calloc(1, sizeof *sort);

  if (sort == NULL)
    return NULL;
  sort->fd = -1;
  pthread_mutex_lock(&settings_lock);
  sort->bytes_max = settings_bytes;
  pthread_mutex_unlock(&settings_lock);
  return sort;
}

void bz_sort_free(struct bz_sort *sort)
{
  if (sort == NULL)
    return;
  for (size_t i = 0; i < sort->run_count; i++)
    free(sort->runs[i].buf);
  if (sort->fd >= 0)
    close(sort->fd);
  free(sort->runs);
  free(sort->heap);
  free(sort->arena);
  free(sort->items);
  free(sort);
}

static enum blitz_rc no_memory(struct blitz_error *err)
{
  return bz_fail(err, BLITZ_NOMEM, 0, "out of memory sorting the entries of an index");
}

/* ---- a run in memory ---------------------------------------------------------------- */

static struct record *record_at(const struct bz_sort *sort, const struct item *item)
{
  return (struct record *)(void *)(sort->arena + item->at);
}

static int compare_records(const struct record *a, const struct record *b)
{
  uint32_t len = a->sort_len < b->sort_len ? a->sort_len : b->sort_len;
  int order = memcmp(a->bytes, b->bytes, len);

  return order != 0 ? order : a->sort_len < b->sort_len ? -1 : a->sort_len > b->sort_len;
}

static int compare_items(const void *a, const void *b, void *arg)
{
  return compare_records(record_at(arg, a), record_at(arg, b));
}

/* Sorts by HEAD, one byte after the other, the least significant first; bytes that are
 * the same everywhere cost nothing.
 */
static bool sort_by_head(struct bz_sort *sort)
{
  size_t counts[8][256] = {{0}};
  struct item *from = sort->items, *to = malloc(sort->count * sizeof *to), *spare = to;

  if (to == NULL)
    return false;
  for (size_t i = 0; i < sort->count; i++)
    for (unsigned byte = 0; byte < 8; byte++)
      counts[byte][from[i].head >> (8 * byte) & 0xFF]++;
  for (unsigned byte = 0; byte < 8; byte++)
  {
    size_t *count = counts[byte], sum = 0;
    if (count[from[0].head >> (8 * byte) & 0xFF] == sort->count)
      continue;
    for (unsigned value = 0; value < 256; value++)
    {
      size_t n = count[value];
      count[value] = sum;
      sum += n;
    }
    for (size_t i = 0; i < sort->count; i++)
      to[count[from[i].head >> (8 * byte) & 0xFF]++] = from[i];
    spare = from;
    from = to;
    to = spare;
  }
  if (from != sort->items)
  {
    memcpy(sort->items, from, sort->count * sizeof *from);
    spare = from;
  }
  free(spare);
  return true;
}

static enum blitz_rc sort_run(struct bz_sort *sort, struct blitz_error *err)
{
  if (sort->count < 2)
    return BLITZ_OK;
  if (!sort_by_head(sort))
    return no_memory(err);
  for (size_t i = 0, end; i < sort->count; i = end)
  {
    for (end = i + 1; end < sort->count && sort->items[end].head == sort->items[i].head; end++)
      ;
    if (end - i > 1)
      qsort_r(sort->items + i, end - i, sizeof *sort->items, compare_items, sort);
  }
  return BLITZ_OK;
}

/* ---- runs in the file ------------------------------------------------------------------ */

static enum blitz_rc write_failed(struct blitz_error *err)
{
  int sys_errno = errno;

  return bz_fail(err, bz_rc_of_errno(sys_errno), sys_errno,
                 "a temporary file for sorting the entries of an index cannot be written. Free "
                 "some space in the directory for temporary files");
}

static bool write_all(struct bz_sort *sort, const void *data, size_t len)
{
  const uint8_t *from = data;

  while (len > 0)
  {
    ssize_t n = pwrite(sort->fd, from, len, sort->file_len);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    from += n;
    len -= (size_t)n;
    sort->file_len += n;
  }
  return true;
}

/* Writes the sorted run out, through BUF of READ_LEN bytes. */
static bool write_run(struct bz_sort *sort, uint8_t *buf)
{
  size_t used = 0;

  for (size_t i = 0; i < sort->count; i++)
  {
    const struct record *record = record_at(sort, &sort->items[i]);
    if (used + record->len > READ_LEN)
    {
      if (!write_all(sort, buf, used))
        return false;
      used = 0;
    }
    memcpy(buf + used, record, record->len);
    used += record->len;
  }
  return write_all(sort, buf, used);
}

static enum blitz_rc spill(struct bz_sort *sort, struct blitz_error *err)
{
  enum blitz_rc rc = sort_run(sort, err);
  struct run *runs = realloc(sort->runs, (sort->run_count + 1) * sizeof *runs);
  uint8_t *buf;
  bool written;

  if (runs == NULL)
    return rc != BLITZ_OK ? rc : no_memory(err);
  sort->runs = runs;
  if (rc != BLITZ_OK)
    return rc;
  if (sort->fd < 0)
    sort->fd = bz_temporary_open("blitz_sort_XXXXXX");
  if (sort->fd < 0)
    return write_failed(err);
  buf = malloc(READ_LEN);
  if (buf == NULL)
    return no_memory(err);
  runs[sort->run_count] = (struct run){.next = sort->file_len};
  written = write_run(sort, buf);
  free(buf);
  if (!written)
    return write_failed(err);
  runs[sort->run_count++].end = sort->file_len;
  sort->count = 0;
  sort->arena_len = 0;
  return BLITZ_OK;
}

/* ---- adding --------------------------------------------------------------------------------- */

static bool make_room(struct bz_sort *sort, size_t len)
{
  if (sort->arena_len + len > sort->arena_room)
  {
    size_t room = sort->arena_room * 2 > sort->arena_len + len
                      ? sort->arena_room * 2
                      : sort->arena_len + len + ARENA_FIRST;
    uint8_t *arena = realloc(sort->arena, room);
    if (arena == NULL)
      return false;
    sort->arena = arena;
    sort->arena_room = room;
  }
  if (sort->count == sort->room)
  {
    size_t room = sort->room > 0 ? sort->room * 2 : 1024;
    struct item *items = realloc(sort->items, room * sizeof *items);
    if (items == NULL)
      return false;
    sort->items = items;
    sort->room = room;
  }
  return true;
}

static uint8_t *put(uint8_t *to, struct blitz_slice slice)
{
  if (slice.len > 0)
    memcpy(to, slice.data, slice.len);
  return to + slice.len;
}

enum blitz_rc bz_sort_add(struct bz_sort *sort, const struct blitz_index_entry *entry,
                          struct blitz_slice row_key, uint64_t off, struct blitz_error *err)
{
  size_t len = sizeof(struct record) + entry->key.len + row_key.len + entry->payload.len;
  struct record *record;
  uint8_t *to;

  len = (len + 7) & ~(size_t)7;
  if (len > READ_LEN || entry->key.len > BLITZ_INDEX_KEY_MAX)
    return bz_fail(err, BLITZ_TOO_BIG, 0, "an entry of %zu bytes is too long for an index", len);
  /* Sorting needs the array twice. */
  if (sort->count > 0 &&
      sort->arena_len + len + (sort->count + 1) * 2 * sizeof(struct item) > sort->bytes_max)
  {
    enum blitz_rc rc = spill(sort, err);
    if (rc != BLITZ_OK)
      return rc;
  }
  if (!make_room(sort, len))
    return no_memory(err);
  record = (struct record *)(void *)(sort->arena + sort->arena_len);
  record->off = off;
  record->len = (uint32_t)len;
  record->payload_len = (uint32_t)entry->payload.len;
  record->row_key_len = (uint16_t)row_key.len;
  record->unique = entry->unique;
  record->sort_len = (uint32_t)(entry->key.len + (entry->unique ? 0 : row_key.len));
  to = put(record->bytes, entry->key);
  to = put(to, row_key);
  put(to, entry->payload);
  sort->items[sort->count++] =
      (struct item){bz_load_head(record->bytes, record->sort_len), sort->arena_len};
  sort->arena_len += len;
  return BLITZ_OK;
}

uint64_t bz_sort_len(const struct bz_sort *sort)
{
  return (uint64_t)sort->file_len + sort->arena_len;
}

/* ---- merging ------------------------------------------------------------------------------- */

static struct record *first_record(const struct run *run)
{
  return (struct record *)(void *)(run->buf + run->pos);
}

/* Makes sure that the run's first entry is in its buffer whole. BLITZ_END: there is none. */
static enum blitz_rc refill(const struct bz_sort *sort, struct run *run, struct blitz_error *err)
{
  size_t left = run->len - run->pos;

  if (left >= sizeof(struct record) && left >= first_record(run)->len)
    return BLITZ_OK;
  if (left == 0 && run->next == run->end)
    return BLITZ_END;
  memmove(run->buf, run->buf + run->pos, left);
  run->pos = 0;
  run->len = left;
  while (run->len < READ_LEN && run->next < run->end)
  {
    size_t wanted = READ_LEN - run->len;
    ssize_t n;
    if ((off_t)wanted > run->end - run->next)
      wanted = (size_t)(run->end - run->next);
    n = pread(sort->fd, run->buf + run->len, wanted, run->next);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return bz_fail(err, BLITZ_IO, n < 0 ? errno : EIO,
                     "a temporary file for sorting the entries of an index cannot be read");
    run->len += (size_t)n;
    run->next += n;
  }
  return BLITZ_OK;
}

static bool run_is_less(const struct bz_sort *sort, size_t a, size_t b)
{
  return compare_records(first_record(&sort->runs[sort->heap[a]]),
                         first_record(&sort->runs[sort->heap[b]])) < 0;
}

static void sift_down(struct bz_sort *sort, size_t i)
{
  for (;;)
  {
    size_t least = i, run;
    for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < sort->heap_len; child++)
      if (run_is_less(sort, child, least))
        least = child;
    if (least == i)
      return;
    run = sort->heap[i];
    sort->heap[i] = sort->heap[least];
    sort->heap[least] = run;
    i = least;
  }
}

enum blitz_rc bz_sort_finish(struct bz_sort *sort, struct blitz_error *err)
{
  enum blitz_rc rc;

  if (sort->run_count == 0)
    return sort_run(sort, err);
  rc = sort->count > 0 ? spill(sort, err) : BLITZ_OK;
  if (rc != BLITZ_OK)
    return rc;
  free(sort->arena);
  free(sort->items);
  sort->arena = NULL;
  sort->items = NULL;
  sort->heap = malloc(sort->run_count * sizeof *sort->heap);
  if (sort->heap == NULL)
    return no_memory(err);
  for (size_t i = 0; i < sort->run_count; i++)
  {
    sort->runs[i].buf = malloc(READ_LEN);
    if (sort->runs[i].buf == NULL)
      return no_memory(err);
    rc = refill(sort, &sort->runs[i], err);
    if (rc != BLITZ_OK)
      return rc;
    sort->heap[sort->heap_len++] = i;
  }
  for (size_t i = sort->heap_len; i > 0; i--)
    sift_down(sort, i - 1);
  return BLITZ_OK;
}

static void show(const struct record *record, struct bz_entry *entry)
{
  const uint8_t *end =
      record->bytes + record->sort_len + (record->unique ? record->row_key_len : 0);

  entry->sort_key = (struct blitz_slice){record->bytes, record->sort_len};
  entry->row_key = (struct blitz_slice){end - record->row_key_len, record->row_key_len};
  entry->key = entry->sort_key;
  if (!record->unique)
    entry->key.len -= record->row_key_len;
  entry->payload = (struct blitz_slice){end, record->payload_len};
  entry->off = record->off;
  entry->unique = record->unique;
}

/* Drops the entry that was given last. */
static enum blitz_rc advance(struct bz_sort *sort, struct blitz_error *err)
{
  struct run *run = &sort->runs[sort->heap[0]];
  enum blitz_rc rc;

  run->pos += first_record(run)->len;
  rc = refill(sort, run, err);
  if (rc == BLITZ_END)
    sort->heap[0] = sort->heap[--sort->heap_len];
  else if (rc != BLITZ_OK)
    return rc;
  sift_down(sort, 0);
  return BLITZ_OK;
}

enum blitz_rc bz_sort_next(struct bz_sort *sort, struct bz_entry *entry, struct blitz_error *err)
{
  if (sort->run_count == 0)
  {
    if (sort->given == sort->count)
      return BLITZ_END;
    if (sort->given + 8 < sort->count)
      bz_prefetch(record_at(sort, &sort->items[sort->given + 8]));
    show(record_at(sort, &sort->items[sort->given++]), entry);
    return BLITZ_OK;
  }
  if (sort->pending)
  {
    enum blitz_rc rc = advance(sort, err);
    if (rc != BLITZ_OK)
      return rc;
  }
  sort->pending = sort->heap_len > 0;
  if (!sort->pending)
    return BLITZ_END;
  show(first_record(&sort->runs[sort->heap[0]]), entry);
  return BLITZ_OK;
}
