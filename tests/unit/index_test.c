/* SPDX-License-Identifier: GPL-2.0-only
 *
 * index_test.c: ordered indexes against a model: an array of rows that is sorted when it
 * is asked. A value is two keys, each with its length before it:
 *
 *   index 0  the first key, not unique
 *   index 1  the second key, unique unless it is empty
 *
 * The payload of an entry is the length of the other key.
 */
#include "support/support.h"

#define KEY_MAX 1200
#define ROWS_MAX 300
#define INDEXES 2

struct row
{
  uint64_t number;
  size_t len[INDEXES];
  uint8_t key[INDEXES][KEY_MAX];
};

static size_t key_of(struct blitz_slice value, unsigned index_no, const uint8_t **keyp)
{
  const uint8_t *from = value.data;
  size_t len = from[0] | from[1] << 8;
  if (index_no == 1)
  {
    from += 2 + len;
    len = from[0] | from[1] << 8;
  }
  *keyp = from + 2;
  return len;
}

/* A key of an index must not be the beginning of another: 00 becomes 00 01, the end is 00 00. */
static size_t encode(const uint8_t *from, size_t len, uint8_t *to)
{
  size_t used = 0;
  for (size_t i = 0; i < len; i++)
  {
    to[used++] = from[i];
    if (from[i] == 0)
      to[used++] = 1;
  }
  to[used++] = 0;
  to[used++] = 0;
  return used;
}

static enum blitz_rc make_entry(void *arg, unsigned index_no, struct blitz_slice value,
                                struct blitz_index_entry *entry, struct blitz_error *err)
{
  static _Thread_local uint8_t key[2 * KEY_MAX + 2];
  static _Thread_local uint8_t payload[2];
  const uint8_t *from;
  size_t len = key_of(value, index_no, &from), other;
  (void)arg;
  (void)err;
  entry->key = bytes(key, encode(from, len, key));
  entry->unique = index_no == 1 && len > 0;
  other = key_of(value, 1 - index_no, &from);
  payload[0] = (uint8_t)other;
  payload[1] = (uint8_t)(other >> 8);
  entry->payload = bytes(payload, 2);
  return BLITZ_OK;
}

static const struct blitz_indexer indexer = {.make_entry = make_entry};
static const struct blitz_indexes both = {.count = INDEXES, .ids = {17, 42}};

static struct blitz_table *open_indexed(const char *name)
{
  struct blitz_table *table;
  assert_ok(open_with_indexes(name, &both, &indexer, &table, ERR));
  return table;
}

static struct blitz_table *new_indexed(const char *name)
{
  struct blitz_create_options options = {0};
  assert_ok(blitz_table_create(path_of(name), &options, false, ERR));
  return open_indexed(name);
}

static struct blitz_txn *new_indexing_txn(void)
{
  struct blitz_txn *txn;
  assert_ok(blitz_txn_create(&txn));
  blitz_txn_set_indexer(txn, &indexer);
  return txn;
}

static struct blitz_slice value_of(const struct row *row)
{
  static _Thread_local uint8_t value[2 * KEY_MAX + 4];
  size_t used = 0;
  for (unsigned i = 0; i < INDEXES; i++)
  {
    value[used++] = (uint8_t)row->len[i];
    value[used++] = (uint8_t)(row->len[i] >> 8);
    memcpy(value + used, row->key[i], row->len[i]);
    used += row->len[i];
  }
  return bytes(value, used);
}

static struct row make_row(uint64_t number, const char *first, const char *second)
{
  struct row row = {.number = number, .len = {strlen(first), strlen(second)}};
  memcpy(row.key[0], first, row.len[0]);
  memcpy(row.key[1], second, row.len[1]);
  return row;
}

static enum blitz_rc insert_row(struct blitz_txn *txn, struct blitz_table *table,
                                const struct row *row)
{
  return blitz_insert(txn, table, number_key(row->number), value_of(row), ERR);
}

/* ---- the model -------------------------------------------------------------- */

struct model
{
  struct row rows[ROWS_MAX];
  unsigned count;
};

static int compare_keys(const struct row *a, const struct row *b, unsigned index_no)
{
  size_t len = a->len[index_no] < b->len[index_no] ? a->len[index_no] : b->len[index_no];
  int order = memcmp(a->key[index_no], b->key[index_no], len);
  if (order != 0)
    return order;
  if (a->len[index_no] != b->len[index_no])
    return a->len[index_no] < b->len[index_no] ? -1 : 1;
  return 0;
}

static unsigned sorted_by;

static int compare_rows(const void *a, const void *b)
{
  const struct row *x = *(const struct row *const *)a, *y = *(const struct row *const *)b;
  int order = compare_keys(x, y, sorted_by);
  return order != 0 ? order : x->number < y->number ? -1 : 1;
}

static void sort_model(const struct model *model, unsigned index_no, const struct row **sorted)
{
  for (unsigned i = 0; i < model->count; i++)
    sorted[i] = &model->rows[i];
  sorted_by = index_no;
  qsort(sorted, model->count, sizeof *sorted, compare_rows);
}

static struct row *find_row(struct model *model, uint64_t number)
{
  for (unsigned i = 0; i < model->count; i++)
    if (model->rows[i].number == number)
      return &model->rows[i];
  return NULL;
}

/* What adding ROW must be refused for: an index, BLITZ_ROW_KEY, or nothing (-2). */
static unsigned objection(struct model *model, const struct row *row, const struct row *instead)
{
  struct row *same = find_row(model, row->number);
  if (same != NULL && same != instead)
    return BLITZ_ROW_KEY;
  for (unsigned i = 0; i < model->count; i++)
    if (&model->rows[i] != instead && row->len[1] > 0 && compare_keys(&model->rows[i], row, 1) == 0)
      return 1;
  return ~1U;
}

/* ---- comparing ------------------------------------------------------------------ */

static void assert_at(struct blitz_cursor *cursor, const struct row *row, unsigned index_no)
{
  uint8_t key[2 * KEY_MAX + 2];
  size_t len = encode(row->key[index_no], row->len[index_no], key);
  struct blitz_slice value;
  assert_true(slice_is(blitz_index_key(cursor), key, len));
  assert_true(slice_is(blitz_index_row_key(cursor), number_key(row->number).data, 8));
  assert_int_equal(blitz_index_payload(cursor).len, 2);
  assert_ok(blitz_index_row(cursor, &value, ERR));
  assert_true(slice_is(value, value_of(row).data, value_of(row).len));
  assert_true(slice_is(blitz_cursor_key(cursor), number_key(row->number).data, 8));
}

static void assert_order(struct blitz_table *table, struct blitz_txn *txn,
                         const struct model *model, unsigned index_no)
{
  const struct row *sorted[ROWS_MAX];
  struct blitz_cursor *cursor;
  enum blitz_rc rc;
  unsigned n = 0;
  sort_model(model, index_no, sorted);
  assert_ok(blitz_cursor_open(table, txn, &cursor));
  assert_ok(blitz_index_begin(cursor, index_no, ERR));
  for (rc = blitz_index_seek(cursor, text(""), BLITZ_SEEK_FIRST, ERR); rc == BLITZ_OK;
       rc = blitz_index_step(cursor, true, ERR))
    assert_at(cursor, sorted[n++], index_no);
  assert_rc(BLITZ_END, rc);
  assert_int_equal(n, model->count);
  for (rc = blitz_index_seek(cursor, text(""), BLITZ_SEEK_LAST, ERR); rc == BLITZ_OK;
       rc = blitz_index_step(cursor, false, ERR))
    assert_at(cursor, sorted[--n], index_no);
  assert_int_equal(n, 0);
  blitz_cursor_close(cursor);
}

/* Seeks with the beginnings of a key, and what is next to the place. */
static void assert_seeks(struct blitz_table *table, struct blitz_txn *txn,
                         const struct model *model, unsigned index_no, const struct row *with,
                         size_t key_len)
{
  const struct row *sorted[ROWS_MAX];
  struct blitz_cursor *cursor;
  struct row probe = *with;
  uint8_t key[2 * KEY_MAX + 2];
  unsigned low = 0, high;
  bool whole = key_len >= probe.len[index_no];
  size_t len;

  if (!whole)
    probe.len[index_no] = key_len;
  len = encode(probe.key[index_no], probe.len[index_no], key);
  if (!whole)
    len -= 2; /* the beginning of a key */
  sort_model(model, index_no, sorted);
  while (low < model->count && compare_keys(sorted[low], &probe, index_no) < 0)
    low++;
  high = low;
  while (high < model->count &&
         (whole ? compare_keys(sorted[high], &probe, index_no) == 0
                : sorted[high]->len[index_no] >= key_len &&
                      memcmp(sorted[high]->key[index_no], probe.key[index_no], key_len) == 0))
    high++;

  assert_ok(blitz_cursor_open(table, txn, &cursor));
  assert_ok(blitz_index_begin(cursor, index_no, ERR));
  const struct
  {
    enum blitz_seek where;
    unsigned place;
  } seeks[] = {{BLITZ_SEEK_FIRST, low},
               {BLITZ_SEEK_AFTER, high},
               {BLITZ_SEEK_LAST, high - 1},
               {BLITZ_SEEK_BEFORE, low - 1}};
  for (unsigned i = 0; i < 4; i++)
  {
    enum blitz_rc rc = blitz_index_seek(cursor, bytes(key, len), seeks[i].where, ERR);
    assert_rc(seeks[i].place < model->count ? BLITZ_OK : BLITZ_END, rc);
    if (rc != BLITZ_OK)
      continue;
    assert_at(cursor, sorted[seeks[i].place], index_no);
    rc = blitz_index_step(cursor, i % 2 == 0, ERR);
    unsigned next = i % 2 == 0 ? seeks[i].place + 1 : seeks[i].place - 1;
    assert_rc(next < model->count ? BLITZ_OK : BLITZ_END, rc);
    if (rc == BLITZ_OK)
    {
      assert_at(cursor, sorted[next], index_no);
      assert_ok(blitz_index_step(cursor, i % 2 != 0, ERR));
      assert_at(cursor, sorted[seeks[i].place], index_no);
    }
  }
  if (txn == NULL)
  {
    uint64_t count;
    assert_ok(blitz_index_estimate(cursor, index_no, bytes(key, len), BLITZ_SEEK_FIRST,
                                   bytes(key, len), BLITZ_SEEK_AFTER, &count, ERR));
    if (high - low < 30)
      assert_int_equal(count, high - low);
  }
  blitz_cursor_close(cursor);
}

static void assert_same(struct blitz_table *table, struct blitz_txn *txn, const struct model *model,
                        struct rnd *rnd)
{
  for (unsigned i = 0; i < INDEXES; i++)
  {
    assert_order(table, txn, model, i);
    for (unsigned n = 0; n < 8 && model->count > 0; n++)
    {
      const struct row *row = &model->rows[rnd_below(rnd, model->count)];
      assert_seeks(table, txn, model, i, row, rnd_below(rnd, (uint32_t)row->len[i] + 2));
    }
  }
  if (txn == NULL)
    assert_ok(blitz_table_check_indexes(table, &indexer, ERR));
}

/* ---- random changes ---------------------------------------------------------------- */

/* Keys that often begin alike, some of them longer than LMDB's. */
static void random_key(struct rnd *rnd, uint8_t *key, size_t *len)
{
  static const uint8_t letters[] = {0, 1, 'a', 'b', 0xFE, 0xFF};
  *len = rnd_below(rnd, 4) == 0 ? 480 + rnd_below(rnd, 60) : rnd_below(rnd, 6);
  if (rnd_below(rnd, 20) == 0)
    *len = KEY_MAX - rnd_below(rnd, 3);
  memset(key, 'x', *len);
  for (size_t i = *len > 6 ? *len - 6 : 0; i < *len; i++)
    key[i] = letters[rnd_below(rnd, sizeof letters)];
}

static struct row random_row(struct rnd *rnd, uint64_t number)
{
  struct row row = {.number = number};
  for (unsigned i = 0; i < INDEXES; i++)
    random_key(rnd, row.key[i], &row.len[i]);
  return row;
}

static void random_insert(struct rnd *rnd, struct blitz_txn *txn, struct blitz_table *table,
                          struct model *model)
{
  struct row row = random_row(rnd, rnd_below(rnd, 2 * ROWS_MAX));
  unsigned why = objection(model, &row, NULL);
  if (model->count == ROWS_MAX)
    return;
  assert_rc(why == ~1U ? BLITZ_OK : BLITZ_DUPLICATE, insert_row(txn, table, &row));
  if (why == ~1U)
    model->rows[model->count++] = row;
  else
    assert_int_equal(last_error.index_no, why);
}

static void random_update(struct rnd *rnd, struct blitz_txn *txn, struct blitz_table *table,
                          struct model *model)
{
  struct row *old = &model->rows[rnd_below(rnd, model->count)], row = *old;
  unsigned which = rnd_below(rnd, 4), why;
  if (which < INDEXES)
    random_key(rnd, row.key[which], &row.len[which]);
  else if (which == 2)
    row.number = rnd_below(rnd, 2 * ROWS_MAX); /* or the value stays, and the row moves */
  why = objection(model, &row, old);
  blitz_txn_set_indexer(txn, &indexer);
  assert_rc(why == ~1U ? BLITZ_OK : BLITZ_DUPLICATE,
            blitz_update(txn, table, number_key(old->number), number_key(row.number),
                         value_of(&row), ERR));
  if (why == ~1U)
    *old = row;
  else
    assert_int_equal(last_error.index_no, why);
}

static void random_remove(struct rnd *rnd, struct blitz_txn *txn, struct blitz_table *table,
                          struct model *model)
{
  struct row *row = &model->rows[rnd_below(rnd, model->count)];
  assert_ok(blitz_remove(txn, table, number_key(row->number), ERR));
  *row = model->rows[--model->count];
}

static void random_change(struct rnd *rnd, struct blitz_txn *txn, struct blitz_table *table,
                          struct model *model)
{
  unsigned what = rnd_below(rnd, 10);
  if (model->count == 0 || what < 5)
    random_insert(rnd, txn, table, model);
  else if (what < 8)
    random_update(rnd, txn, table, model);
  else
    random_remove(rnd, txn, table, model);
}

static void any_changes_keep_the_indexes_right(void **state)
{
  (void)state;
  struct rnd rnd = {run_seed()};
  struct blitz_table *table = new_indexed(__func__);
  struct model *model = calloc(2, sizeof *model), *own = model + 1;
  struct blitz_txn *txn = new_indexing_txn();
  for (unsigned round = 0; round < run_rounds(150); round++)
  {
    *own = *model;
    if (model->count == 0 && rnd_below(&rnd, 2))
      assert_ok(blitz_txn_expect_rows(txn, table, 0, false, ERR));
    for (unsigned n = rnd_below(&rnd, 30); n > 0; n--)
      random_change(&rnd, txn, table, own);
    if (rnd_below(&rnd, 4) == 0)
    {
      assert_same(table, txn, own, &rnd);
      assert_same(table, NULL, model, &rnd);
      random_change(&rnd, txn, table, own);
    }
    if (rnd_below(&rnd, 4) == 0)
      blitz_txn_rollback(txn);
    else
    {
      require_ok(blitz_txn_commit(txn, ERR));
      *model = *own;
    }
    assert_same(table, NULL, model, &rnd);
    if (rnd_below(&rnd, 10) == 0)
    {
      blitz_table_close(table);
      table = open_indexed(__func__);
      assert_same(table, NULL, model, &rnd);
    }
    if (rnd_below(&rnd, 20) == 0)
      assert_ok(blitz_table_rebuild_indexes(table, &indexer, ERR));
    if (rnd_below(&rnd, 20) == 0)
    {
      while (model->count > 0)
        random_remove(&rnd, txn, table, model);
      require_ok(blitz_txn_commit(txn, ERR));
    }
  }
  blitz_txn_free(txn);
  blitz_table_close(table);
  free(model);
}

/* ---- views ---------------------------------------------------------------------------- */

static void a_view_stays_while_others_change_all_rows(void **state)
{
  (void)state;
  struct blitz_table *table = new_indexed(__func__);
  struct blitz_txn *txn = new_indexing_txn();
  struct blitz_cursor *cursor;
  struct model *model = calloc(2, sizeof *model);
  const struct row *sorted[ROWS_MAX];
  struct rnd rnd = {7};

  for (uint64_t n = 0; n < 200; n++)
  {
    char key[16];
    snprintf(key, sizeof key, "%03u", rnd_below(&rnd, 50));
    model->rows[n] = make_row(n, key, "");
    assert_ok(insert_row(txn, table, &model->rows[n]));
  }
  require_ok(blitz_txn_commit(txn, ERR));
  /* Now no entry knows where its row is. */
  blitz_txn_set_indexer(txn, &indexer);
  for (uint64_t n = 0; n < 200; n++)
    assert_ok(
        blitz_update(txn, table, number_key(n), number_key(n), value_of(&model->rows[n]), ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  model->count = 200;
  sort_model(model, 0, sorted);

  assert_ok(blitz_cursor_open(table, NULL, &cursor));
  assert_ok(blitz_index_begin(cursor, 0, ERR));
  assert_ok(blitz_index_seek(cursor, text(""), BLITZ_SEEK_FIRST, ERR));
  blitz_txn_set_indexer(txn, &indexer);
  for (unsigned n = 0; n < 200; n++)
  {
    struct row row = make_row(n, "changed", "");
    if (n % 3 == 0)
      assert_ok(blitz_remove(txn, table, number_key(n), ERR));
    else
      assert_ok(blitz_update(txn, table, number_key(n), number_key(n + n % 3 * 1000),
                             value_of(&row), ERR));
    require_ok(blitz_txn_commit(txn, ERR));
  }
  for (unsigned n = 0; n < 200; n++)
  {
    assert_at(cursor, sorted[n], 0);
    assert_rc(n < 199 ? BLITZ_OK : BLITZ_END, blitz_index_step(cursor, true, ERR));
  }
  blitz_cursor_close(cursor);
  assert_ok(blitz_table_check_indexes(table, &indexer, ERR));
  blitz_txn_free(txn);
  blitz_table_close(table);
  free(model);
}

static void cursors_that_follow_share_a_moment(void **state)
{
  (void)state;
  struct blitz_table *table = new_indexed(__func__);
  struct blitz_txn *txn = new_indexing_txn();
  struct blitz_cursor *leader, *follower;
  struct row first = make_row(1, "a", "x"), second = make_row(2, "b", "y");
  assert_ok(insert_row(txn, table, &first));
  require_ok(blitz_txn_commit(txn, ERR));
  assert_ok(blitz_cursor_open(table, NULL, &leader));
  assert_ok(blitz_cursor_open(table, NULL, &follower));
  blitz_cursor_follow(follower, leader);
  assert_ok(blitz_index_begin(leader, 0, ERR));
  assert_ok(blitz_index_seek(leader, text(""), BLITZ_SEEK_FIRST, ERR));
  assert_ok(insert_row(txn, table, &second));
  require_ok(blitz_txn_commit(txn, ERR));
  assert_ok(blitz_index_begin(follower, 1, ERR));
  assert_ok(blitz_index_seek(follower, text(""), BLITZ_SEEK_LAST, ERR));
  assert_at(follower, &first, 1);
  blitz_index_end(leader);
  assert_rc(BLITZ_END, blitz_index_step(follower, true, ERR));
  blitz_index_end(follower);
  assert_ok(blitz_index_begin(follower, 1, ERR));
  assert_ok(blitz_index_seek(follower, text(""), BLITZ_SEEK_LAST, ERR));
  assert_at(follower, &second, 1);
  /* A position is good for all of them. */
  uint64_t position;
  struct blitz_slice value;
  assert_ok(blitz_cursor_position(follower, &position));
  blitz_index_end(follower);
  assert_ok(blitz_get_at(leader, position, &value, ERR));
  assert_true(slice_is(value, value_of(&second).data, value_of(&second).len));
  blitz_cursor_close(follower);
  blitz_cursor_close(leader);
  blitz_txn_free(txn);
  blitz_table_close(table);
}

/* ---- building --------------------------------------------------------------------------- */

static void fill(struct blitz_table *table, unsigned rows, bool load)
{
  struct blitz_txn *txn = new_indexing_txn();
  if (load)
    assert_ok(blitz_txn_expect_rows(txn, table, rows, true, ERR));
  for (unsigned n = 0; n < rows; n++)
  {
    char first[16], second[16];
    snprintf(first, sizeof first, "%05u", n * 7919 % 1000);
    snprintf(second, sizeof second, "%08u", n * 7919);
    struct row row = make_row(n, first, second);
    assert_ok(insert_row(txn, table, &row));
  }
  if (load)
    assert_ok(blitz_txn_finish_load(txn, table, NULL, NULL, ERR));
  require_ok(blitz_txn_commit(txn, ERR));
  blitz_txn_free(txn);
}

static unsigned count_entries(struct blitz_table *table, unsigned index_no)
{
  struct blitz_cursor *cursor;
  unsigned count = 0;
  uint8_t before[64] = {0};
  size_t before_len = 0;
  assert_ok(blitz_cursor_open(table, NULL, &cursor));
  assert_ok(blitz_index_begin(cursor, index_no, ERR));
  for (enum blitz_rc rc = blitz_index_seek(cursor, text(""), BLITZ_SEEK_FIRST, ERR); rc == BLITZ_OK;
       rc = blitz_index_step(cursor, true, ERR))
  {
    struct blitz_slice key = blitz_index_key(cursor);
    assert_true(memcmp(before, key.data, before_len < key.len ? before_len : key.len) <= 0);
    memcpy(before, key.data, key.len);
    before_len = key.len;
    count++;
  }
  blitz_cursor_close(cursor);
  return count;
}

static void a_load_that_does_not_fit_into_memory_is_sorted(void **state)
{
  (void)state;
  struct blitz_table *table = new_indexed(__func__);
  assert_ok(blitz_set_sort(test_dir(), 1));
  fill(table, 200000, true);
  assert_ok(blitz_set_sort(test_dir(), 64 << 20));
  assert_int_equal(count_entries(table, 0), 200000);
  assert_int_equal(count_entries(table, 1), 200000);
  assert_ok(blitz_table_check_indexes(table, &indexer, ERR));
  blitz_table_close(table);
}

static uint8_t duplicate_value[64];

static void note_duplicate(void *arg, struct blitz_slice value)
{
  (void)arg;
  assert_in_range(value.len, 1, sizeof duplicate_value);
  memcpy(duplicate_value, value.data, value.len);
}

static void a_late_duplicate_is_named(void **state)
{
  (void)state;
  struct blitz_table *table = new_indexed(__func__);
  struct blitz_txn *txn = new_indexing_txn();
  struct row rows[] = {make_row(1, "a", "x"), make_row(2, "b", "y"), make_row(3, "c", "x")};
  assert_ok(blitz_txn_expect_rows(txn, table, 0, true, ERR));
  for (unsigned i = 0; i < 3; i++)
    assert_ok(insert_row(txn, table, &rows[i]));
  assert_rc(BLITZ_DUPLICATE, blitz_txn_finish_load(txn, table, note_duplicate, NULL, ERR));
  assert_int_equal(last_error.index_no, 1);
  assert_memory_equal(duplicate_value, value_of(&rows[2]).data, value_of(&rows[2]).len);
  blitz_txn_rollback(txn);
  /* Among rows that have moved since. */
  assert_ok(blitz_txn_expect_rows(txn, table, 0, true, ERR));
  for (unsigned n = 10; n < 5000; n++)
  {
    char key[8];
    snprintf(key, sizeof key, "%05u", n == 3000 ? 17 : n);
    struct row row = make_row(n, "", key);
    assert_ok(insert_row(txn, table, &row));
  }
  assert_rc(BLITZ_DUPLICATE, blitz_txn_finish_load(txn, table, note_duplicate, NULL, ERR));
  assert_memory_equal(duplicate_value + 4, "00017", 5);
  blitz_txn_rollback(txn);
  /* Asked to, it says so at once. */
  assert_ok(blitz_txn_expect_rows(txn, table, 0, false, ERR));
  assert_ok(insert_row(txn, table, &rows[0]));
  assert_ok(insert_row(txn, table, &rows[1]));
  assert_rc(BLITZ_DUPLICATE, insert_row(txn, table, &rows[2]));
  assert_int_equal(last_error.index_no, 1);
  require_ok(blitz_txn_commit(txn, ERR));
  assert_int_equal(count_entries(table, 0), 2);
  assert_ok(blitz_table_check_indexes(table, &indexer, ERR));
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void indexes_are_added_and_dropped(void **state)
{
  (void)state;
  static const struct blitz_indexes second = {.count = 1, .ids = {42}};
  static const struct blitz_indexes one = {.count = 1, .ids = {17}};
  struct blitz_create_options options = {0};
  struct blitz_table *table;
  assert_ok(blitz_table_create(path_of(__func__), &options, false, ERR));
  assert_ok(open_with_indexes(__func__, &one, &indexer, &table, ERR));
  fill(table, 5000, false);
  assert_ok(blitz_table_drop_indexes(table, &second, ERR));
  assert_ok(blitz_table_add_indexes(table, &second, &indexer, NULL, ERR));
  blitz_table_close(table);
  catch_log();
  table = open_indexed(__func__);
  assert_null(strstr(log_text(), "anew"));
  assert_int_equal(count_entries(table, 1), 5000);
  blitz_table_close(table);
  assert_ok(open_with_indexes(__func__, &one, &indexer, &table, ERR));
  blitz_table_close(table);
  table = open_indexed(__func__); /* the second was dropped, so it is made anew */
  assert_non_null(strstr(log_text(), "anew"));
  assert_int_equal(count_entries(table, 1), 5000);
  blitz_table_close(table);
}

static void a_table_without_indexes_gets_some(void **state)
{
  (void)state;
  struct blitz_create_options options = {0};
  struct blitz_table *table;
  struct blitz_txn *txn = new_indexing_txn();
  struct row row = make_row(1, "a", "b");
  assert_ok(blitz_table_create(path_of(__func__), &options, false, ERR));
  assert_ok(blitz_table_open(path_of(__func__), 0, &table, ERR));
  assert_ok(insert_row(txn, table, &row));
  require_ok(blitz_txn_commit(txn, ERR));
  assert_ok(blitz_table_drop_indexes(table, &both, ERR));
  assert_ok(blitz_table_add_indexes(table, &both, &indexer, NULL, ERR));
  blitz_table_close(table);
  catch_log();
  table = open_indexed(__func__);
  assert_string_equal(log_text(), "");
  assert_int_equal(count_entries(table, 0), 1);
  assert_ok(blitz_table_check_indexes(table, &indexer, ERR));
  blitz_txn_free(txn);
  blitz_table_close(table);
}

static void disabled_indexes_are_remembered(void **state)
{
  (void)state;
  struct blitz_table *table = new_indexed(__func__);
  struct blitz_cursor *cursor;
  assert_ok(blitz_table_disable_indexes(table, 1, ERR));
  blitz_table_close(table);
  table = open_indexed(__func__);
  assert_int_equal(blitz_table_disabled_indexes(table), 1);
  fill(table, 3000, false);
  assert_ok(blitz_table_check_indexes(table, &indexer, ERR));
  assert_ok(blitz_cursor_open(table, NULL, &cursor));
  assert_rc(BLITZ_INVALID, blitz_index_begin(cursor, 0, ERR));
  blitz_cursor_close(cursor);
  assert_ok(blitz_table_enable_indexes(table, &indexer, ERR));
  assert_int_equal(count_entries(table, 0), 3000);
  blitz_table_close(table);
  table = open_indexed(__func__);
  assert_int_equal(blitz_table_disabled_indexes(table), 0);
  assert_ok(blitz_table_check_indexes(table, &indexer, ERR));
  blitz_table_close(table);
}

static bool go_on(void *arg)
{
  return arg == NULL;
}

static void all_rows_go_with_their_entries(void **state)
{
  (void)state;
  struct blitz_table *table = new_indexed(__func__);
  struct blitz_txn *txn = new_indexing_txn();
  struct row own = make_row(100000, "own", "own");
  fill(table, 3000, false);
  assert_ok(insert_row(txn, table, &own));
  assert_rc(BLITZ_STOPPED, blitz_remove_all(txn, table, go_on, txn, ERR));
  blitz_txn_rollback(txn);
  assert_int_equal(count_entries(table, 0), 3000);
  assert_ok(insert_row(txn, table, &own));
  assert_ok(blitz_remove_all(txn, table, go_on, NULL, ERR));
  assert_ok(insert_row(txn, table, &own));
  assert_int_equal(count_entries(table, 0), 3000);
  require_ok(blitz_txn_commit(txn, ERR));
  assert_int_equal(count_entries(table, 0), 1);
  assert_ok(blitz_table_check_indexes(table, &indexer, ERR));
  blitz_txn_free(txn);
  blitz_table_close(table);
}

/* ---- figures --------------------------------------------------------------------------- */

static void samples_and_estimates_are_near(void **state)
{
  (void)state;
  struct blitz_table *table = new_indexed(__func__);
  struct blitz_cursor *cursor;
  uint64_t count;
  uint8_t from[8], to[8];
  fill(table, 100000, true);
  assert_ok(blitz_cursor_open(table, NULL, &cursor));
  for (unsigned n = 100; n < 900; n += 100)
  {
    char low[8], high[8];
    size_t low_len, high_len;
    snprintf(low, sizeof low, "%05u", n);
    snprintf(high, sizeof high, "%05u", n + 49);
    low_len = encode((uint8_t *)low, 5, from);
    high_len = encode((uint8_t *)high, 5, to);
    assert_ok(blitz_index_estimate(cursor, 0, bytes(from, low_len), BLITZ_SEEK_FIRST,
                                   bytes(to, high_len), BLITZ_SEEK_AFTER, &count, ERR));
    assert_in_range(count, 4800, 5200); /* 5,000 it is */
  }
  blitz_cursor_close(cursor);
  blitz_table_close(table);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(any_changes_keep_the_indexes_right),
      cmocka_unit_test(a_view_stays_while_others_change_all_rows),
      cmocka_unit_test(cursors_that_follow_share_a_moment),
      cmocka_unit_test(a_load_that_does_not_fit_into_memory_is_sorted),
      cmocka_unit_test(a_late_duplicate_is_named),
      cmocka_unit_test(indexes_are_added_and_dropped),
      cmocka_unit_test(a_table_without_indexes_gets_some),
      cmocka_unit_test(disabled_indexes_are_remembered),
      cmocka_unit_test(all_rows_go_with_their_entries),
      cmocka_unit_test(samples_and_estimates_are_near),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
