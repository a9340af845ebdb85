/* SPDX-License-Identifier: GPL-2.0-only
 *
 * label.c: labels, by which long sort keys that begin alike are ordered, and where among the
 * pairs a key stands.
 *
 * A new key gets a label between those of its neighbours. Where there is none left, labels
 * near by are spread anew: those of the smallest range around the place, of a power of two of
 * labels, in which there are few enough (order maintenance as by Dietz and Sleator; the
 * thresholds are those of Bender and others). The larger the range, the sparser it must be,
 * so that it takes many new keys before it is its turn again: for each new key, O(log n)
 * others get a new label, in whatever order keys come.
 *
 * Keys that come in ascending or descending order do not halve the room each time: one that
 * stands beside the last one is put near to it.
 */
#include "base/counters.h"
#include "index/lmdb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RANGE_BITS_MIN 6
#define SPARSER 1.3 /* by this factor for each doubling of the range */
#define RUN_PART 32 /* of the room, that a run takes for one key */

/* The values of some long keys, while these get new labels. */
struct group
{
  MDB_val *values; /* copies */
  size_t count, room;
};

/* ---- places ---------------------------------------------------------------------------- */

/* Each round halves the range, or more. What LMDB or a walk finds from a label on may be one
 * before it in a damaged file; believed, that would go on forever.
 */
int bz_find_gap(bz_seek_pair_fn *seek, void *arg, struct blitz_slice key, bool beyond,
                struct bz_gap *gap)
{
  uint64_t low = 0, high = UINT64_MAX;
  uint8_t buf[LMDB_KEY_MAX];

  *gap = (struct bz_gap){.after = UINT64_MAX};
  for (;;)
  {
    uint64_t middle = low + (high - low) / 2, label;
    MDB_val at = bz_labelled(key.data, middle, buf), value;
    struct bz_entry entry;
    int rc = seek(arg, &at, &value), order;

    if (rc != 0 && rc != MDB_NOTFOUND)
      return rc;
    if (rc == MDB_NOTFOUND || !bz_in_group(&at, key.data) || (label = bz_label_of(&at)) > high)
    {
      if (middle == low)
        return 0;
      high = middle - 1;
      continue;
    }
    if (label < middle || !bz_entry_parse(&at, &value, &entry))
      return MDB_CORRUPTED;
    order = bz_compare_keys(entry.sort_key, key);
    if (order == 0)
      gap->exact = true;
    if (beyond && entry.sort_key.len >= key.len &&
        memcmp(entry.sort_key.data, key.data, key.len) == 0)
      order = -1;
    if (order < 0)
    {
      gap->has_before = true;
      gap->before = label;
      if (label == high)
        return 0;
      low = label + 1;
    }
    else
    {
      gap->has_after = true;
      gap->after = label;
      if (order == 0 || middle == low)
        return 0;
      high = middle - 1;
    }
  }
}

/* The smallest key beyond all that begin with KEY, whose last bytes are cut. False: none. */
static bool successor(uint8_t *key, size_t *len)
{
  while (*len > 0 && key[*len - 1] == 0xFF)
    --*len;
  if (*len == 0)
    return false;
  key[*len - 1]++;
  return true;
}

int bz_find_place(bz_seek_pair_fn *seek, void *arg, struct blitz_slice key, bool beyond,
                  uint8_t buf[LMDB_KEY_MAX], MDB_val *at)
{
  size_t len = key.len < LONG_HEAD ? key.len : LONG_HEAD;

  if (key.len > LONG_HEAD)
  {
    struct bz_gap gap;
    int rc = bz_find_gap(seek, arg, key, beyond, &gap);
    if (rc != 0)
      return rc;
    if (gap.has_after)
    {
      *at = bz_labelled(key.data, gap.after, buf);
      return 0;
    }
    beyond = true; /* behind all of that head */
  }
  if (len > 0)
    memcpy(buf, key.data, len);
  if (beyond && !successor(buf, &len))
    return MDB_NOTFOUND;
  *at = (MDB_val){len, buf};
  return 0;
}

/* ---- labels ----------------------------------------------------------------------------- */

bool bz_label_between(struct bz_index_file *file, unsigned dbi, const struct bz_gap *gap,
                      uint64_t *label)
{
  uint64_t before = gap->has_before ? gap->before : 0;
  uint64_t after = gap->has_after ? gap->after : UINT64_MAX;
  uint64_t room = after - before, step = room / RUN_PART;
  bool is_run = file->last_label_dbi == dbi;

  if (room < 2)
    return false;
  if (step > LABEL_STEP)
    step = LABEL_STEP;
  if (step == 0)
    step = 1;
  if (!gap->has_before && !gap->has_after)
    *label = LABEL_FIRST;
  else if (!gap->has_after || (is_run && gap->has_before && file->last_label == before))
    *label = before + step;
  else if (!gap->has_before || (is_run && file->last_label == after))
    *label = after - step;
  else
    *label = before + room / 2;
  file->last_label = *label;
  file->last_label_dbi = dbi;
  return true;
}

/* ---- spreading ------------------------------------------------------------------------- */

/* Puts the cursor at the first pair with HEAD from label LOW on. MDB_NOTFOUND: there is none up
 * to HIGH.
 */
static int seek_label(MDB_cursor *mc, const uint8_t *head, uint64_t low, uint64_t high, MDB_val *at,
                      MDB_val *value)
{
  uint8_t buf[LMDB_KEY_MAX];
  int rc;

  *at = bz_labelled(head, low, buf);
  rc = mdb_cursor_get(mc, at, value, MDB_SET_RANGE);
  return rc == 0 && (!bz_in_group(at, head) || bz_label_of(at) > high) ? MDB_NOTFOUND : rc;
}

/* Counts the pairs from LOW to HIGH, up to MAX. */
static int count_labels(MDB_cursor *mc, const uint8_t *head, uint64_t low, uint64_t high,
                        uint64_t max, uint64_t *countp)
{
  MDB_val at, value;
  int rc = seek_label(mc, head, low, high, &at, &value);

  for (*countp = 0; rc == 0 && *countp < max; ++*countp)
  {
    rc = mdb_cursor_get(mc, &at, &value, MDB_NEXT);
    if (rc == 0 && (!bz_in_group(&at, head) || bz_label_of(&at) > high))
      rc = MDB_NOTFOUND;
    if (rc == MDB_NOTFOUND)
      ++*countp;
    if (rc != 0)
      break;
  }
  return rc == MDB_NOTFOUND ? 0 : rc;
}

/* The smallest range around a label that is sparse enough. */
static int find_range(MDB_cursor *mc, const uint8_t *head, uint64_t around, uint64_t *lowp,
                      uint64_t *highp)
{
  double capacity = 1;

  for (unsigned bits = 1; bits <= 64; bits++)
  {
    uint64_t mask = bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX, count;
    int rc;
    capacity *= 2 / SPARSER;
    if (bits < RANGE_BITS_MIN)
      continue;
    *lowp = around & ~mask;
    *highp = around | mask;
    rc = count_labels(mc, head, *lowp, *highp, (uint64_t)capacity + 1, &count);
    if (rc != 0)
      return rc;
    if (count <= (uint64_t)capacity)
      return 0;
  }
  return MDB_KEYEXIST; /* there are more keys than a device has room for */
}

static int remember_value(struct group *group, const MDB_val *value)
{
  MDB_val copy = {value->mv_size, malloc(value->mv_size)};

  if (copy.mv_data == NULL)
    return ENOMEM;
  memcpy(copy.mv_data, value->mv_data, value->mv_size);
  if (group->count == group->room)
  {
    size_t room = group->room * 2 + 64;
    MDB_val *values = realloc(group->values, room * sizeof *values);
    if (values == NULL)
    {
      free(copy.mv_data);
      return ENOMEM;
    }
    group->values = values;
    group->room = room;
  }
  group->values[group->count++] = copy;
  return 0;
}

/* Takes the pairs from LOW to HIGH out of the tree. */
static int take_group(MDB_cursor *mc, const uint8_t *head, uint64_t low, uint64_t high,
                      struct group *group)
{
  MDB_val at, value;
  int rc;

  while ((rc = seek_label(mc, head, low, high, &at, &value)) == 0)
  {
    low = bz_label_of(&at);
    rc = remember_value(group, &value);
    if (rc == 0)
      rc = mdb_cursor_del(mc, 0);
    if (rc != 0)
      return rc;
  }
  return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Puts them back, spread over the range. */
static int put_group(MDB_cursor *mc, const uint8_t *head, uint64_t low, uint64_t high,
                     struct group *group)
{
  uint64_t step = (high - low) / (group->count + 1);
  uint8_t buf[LMDB_KEY_MAX];
  int rc = 0;

  for (size_t i = 0; i < group->count && rc == 0; i++)
  {
    MDB_val at = bz_labelled(head, low + step * (i + 1), buf);
    rc = mdb_cursor_put(mc, &at, &group->values[i], 0);
  }
  return rc;
}

enum blitz_rc bz_label_spread(struct blitz_table *table, MDB_txn *txn, unsigned dbi,
                              const uint8_t *head, uint64_t around, struct blitz_error *err)
{
  struct group group = {NULL, 0, 0};
  uint64_t low, high;
  MDB_cursor *mc;
  int rc = mdb_cursor_open(txn, dbi, &mc);

  if (rc != 0)
    return bz_index_write_fail(table, rc, err);
  rc = find_range(mc, head, around, &low, &high);
  if (rc == 0)
    rc = take_group(mc, head, low, high, &group);
  if (rc == 0)
    rc = put_group(mc, head, low, high, &group);
  mdb_cursor_close(mc);
  bz_count(&bz_counters.labels_moved, group.count);
  for (size_t i = 0; i < group.count; i++)
    free(group.values[i].mv_data);
  free(group.values);
  return rc == 0 ? BLITZ_OK : bz_index_write_fail(table, rc, err);
}
