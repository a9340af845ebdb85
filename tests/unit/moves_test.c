/* SPDX-License-Identifier: GPL-2.0-only
 *
 * moves_test.c: a position leads to its row, whatever a transaction has done to the
 * row's key since, and to no row if that is gone; and a row that the transaction has not
 * inserted has one position, whenever it is asked for. Compared with a list of rows that knows who
 * is who.
 */
#include "support/support.h"

enum
{
  ROWS = 24, /* few keys, so that rows get those of others */
  KEYS = 32,
  STEPS = 400,
  ROUNDS = 300
};

struct model
{
  struct blitz_table *table;
  struct blitz_txn *txn;
  struct blitz_cursor *taker; /* takes the positions */
  struct rnd rnd;
  bool there[ROWS + STEPS]; /* by identity, which is a row's value */
  unsigned key[ROWS + STEPS];
  uint64_t position[ROWS + STEPS]; /* 0: not taken yet */
  unsigned version[ROWS + STEPS];
  unsigned count;
};

static struct blitz_slice key_of(unsigned n, char *buf)
{
  return (struct blitz_slice){buf, (size_t)sprintf(buf, "key %u", n)};
}

static struct blitz_slice value_of(const struct model *m, unsigned id, char *buf)
{
  return (struct blitz_slice){buf, (size_t)sprintf(buf, "%u version %u", id, m->version[id])};
}

/* The row that has the key; m->count: nobody has. */
static unsigned owner(const struct model *m, unsigned key)
{
  unsigned id = 0;

  while (id < m->count && !(m->there[id] && m->key[id] == key))
    id++;
  return id;
}

static void add(struct model *m, unsigned key)
{
  char k[16], v[40];
  unsigned id = m->count;

  if (owner(m, key) != m->count)
    return;
  m->there[id] = true;
  m->key[id] = key;
  m->version[id] = 0;
  m->position[id] = 0;
  assert_ok(blitz_insert(m->txn, m->table, key_of(key, k), value_of(m, id, v), ERR));
  m->count++;
}

/* Reads the row by its key or by its position, and takes its position or compares it. */
static void visit(struct model *m, unsigned id)
{
  struct blitz_slice value;
  uint64_t position;
  char k[16], v[40];

  if (m->position[id] != 0 && rnd_below(&m->rnd, 2) == 0)
    assert_ok(blitz_get_at(m->taker, m->position[id], &value, ERR));
  else
    assert_ok(blitz_get(m->taker, key_of(m->key[id], k), &value, ERR));
  value_of(m, id, v);
  assert_true(slice_is(value, v, strlen(v)));
  assert_ok(blitz_cursor_position(m->taker, &position));
  if (id < ROWS && m->position[id] != 0 && m->position[id] != position)
    fail_msg("row %u is at %llu and at %llu", id, (unsigned long long)m->position[id],
             (unsigned long long)position);
  m->position[id] = position;
}

static void change(struct model *m, unsigned id)
{
  unsigned new_key = rnd_below(&m->rnd, 3) == 0 ? m->key[id] : rnd_below(&m->rnd, KEYS);
  unsigned other = owner(m, new_key);
  char k[16], v[40];
  enum blitz_rc rc;

  m->version[id]++;
  rc = blitz_cursor_update(m->taker, key_of(new_key, k), value_of(m, id, v), ERR);
  if (other != m->count && other != id)
  {
    assert_rc(BLITZ_DUPLICATE, rc);
    m->version[id]--;
    return;
  }
  assert_ok(rc);
  m->key[id] = new_key;
}

static void step(struct model *m)
{
  unsigned id = rnd_below(&m->rnd, m->count);

  if (rnd_below(&m->rnd, 8) == 0)
    add(m, rnd_below(&m->rnd, KEYS));
  if (!m->there[id])
    return;
  visit(m, id);
  if (rnd_below(&m->rnd, 10) == 0)
  {
    assert_ok(blitz_cursor_remove(m->taker, ERR));
    m->there[id] = false;
  }
  else if (rnd_below(&m->rnd, 2) == 0)
    change(m, id);
}

static void compare(struct model *m)
{
  for (unsigned id = 0; id < m->count; id++)
  {
    struct blitz_slice value;
    char v[40];

    if (m->position[id] == 0)
      continue;
    if (!m->there[id])
    {
      assert_rc(BLITZ_NOT_FOUND, blitz_get_at(m->taker, m->position[id], &value, ERR));
      continue;
    }
    assert_ok(blitz_get_at(m->taker, m->position[id], &value, ERR));
    value_of(m, id, v);
    assert_true(slice_is(value, v, strlen(v)));
  }
}

static bool go_on(void *arg)
{
  (void)arg;
  return true;
}

static void round_of_changes(struct model *m)
{
  m->count = 0;
  for (unsigned key = 0; key < ROWS; key++)
    add(m, key);
  assert_ok(blitz_txn_commit(m->txn, ERR));
  for (unsigned i = 0; i < STEPS && m->count < ROWS + STEPS; i++)
  {
    step(m);
    if (i % 16 == 0)
      compare(m);
  }
  compare(m);
  if (rnd_below(&m->rnd, 2) == 0)
    assert_ok(blitz_txn_commit(m->txn, ERR));
  else
    blitz_txn_rollback(m->txn);
  blitz_cursor_reset(m->taker);
  assert_ok(blitz_remove_all(m->txn, m->table, go_on, NULL, ERR));
  assert_ok(blitz_txn_commit(m->txn, ERR));
}

static void positions_lead_to_their_rows(void **state)
{
  struct model *m = calloc(1, sizeof *m);

  (void)state;
  m->rnd = (struct rnd){run_seed()};
  m->table = new_table("moves");
  m->txn = new_txn();
  m->taker = new_cursor(m->table, m->txn);
  for (unsigned i = 0; i < run_rounds(ROUNDS); i++)
    round_of_changes(m);
  blitz_cursor_close(m->taker);
  blitz_txn_free(m->txn);
  blitz_table_close(m->table);
  free(m);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(positions_lead_to_their_rows),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
