/* SPDX-License-Identifier: GPL-2.0-only
 *
 * delta_test.c: entries in memory (index/delta.h). At each commit's number a place finds what a
 * model says, forward and backward and from any key; and readers find that too while a thread adds.
 */
#include "support.h"

#include "index/delta.h"

#include <pthread.h>
#include <stdatomic.h>

enum
{
  KEYS = 300,
  COMMITS = 400,
  READERS = 3
};

/* ---- keys ---- */

/* Key N, so that keys ascend; some begin with others. */
static size_t make_key(unsigned n, uint8_t *to)
{
  size_t len = 2 + n % 3;
  to[0] = (uint8_t)(n / 3 >> 8);
  to[1] = (uint8_t)(n / 3);
  memset(to + 2, 0, len - 2);
  return len;
}

static void check_version(const struct bz_delta_version *version, unsigned n, uint64_t number,
                          bool removed)
{
  uint8_t key[8];
  size_t len = make_key(n, key);
  uint64_t value;
  require(slice_is(version->sort_key, key, len));
  require(version->number == number && version->removed == removed);
  require(version->value.len == (removed ? 0 : sizeof value + n % 50));
  if (removed)
    return;
  memcpy(&value, version->value.data, sizeof value);
  require(value == number * 1000 + n);
}

static void add(struct bz_delta *delta, unsigned n, uint64_t number, bool removed)
{
  uint8_t key[8], value[8 + 50] = {0};
  uint64_t content = number * 1000 + n;
  memcpy(value, &content, sizeof content);
  struct bz_delta_version version = {.sort_key = bytes(key, make_key(n, key)),
                                     .value = bytes(value, removed ? 0 : 8 + n % 50),
                                     .number = number,
                                     .removed = removed};
  struct bz_delta_node *node = bz_delta_make(delta, &version);
  require(node != NULL);
  bz_delta_chain(NULL, node);
  bz_delta_link(delta, node);
}

/* ---- the model: what each commit has done to each key ---- */

static uint8_t done[COMMITS + 1][KEYS]; /* 0: nothing; 1: made; 2: removed */

/* The commit of the last version of key N up to NUMBER; 0: there is none. */
static uint64_t last_commit(unsigned n, uint64_t number)
{
  while (number > 0 && done[number][n] == 0)
    number--;
  return number;
}

/* The next key from N on, in the direction BY, that has a version; KEYS: none. */
static unsigned next_key(int n, int by, uint64_t number)
{
  for (; n >= 0 && n < KEYS; n += by)
    if (last_commit((unsigned)n, number) != 0)
      return (unsigned)n;
  return KEYS;
}

static void fill(struct rnd *rnd)
{
  memset(done, 0, sizeof done);
  for (unsigned commit = 1; commit <= COMMITS; commit++)
    for (unsigned i = 1 + rnd_below(rnd, 8); i > 0; i--)
      done[commit][rnd_below(rnd, rnd_below(rnd, 2) ? 20 : KEYS)] =
          (uint8_t)(1 + rnd_below(rnd, 2));
}

static void add_commit(struct bz_delta *delta, uint64_t commit)
{
  for (unsigned n = 0; n < KEYS; n++)
    if (done[commit][n] != 0)
      add(delta, n, commit, done[commit][n] == 2);
}

static void check_at(const struct bz_delta_place *place, unsigned n)
{
  struct bz_delta_version version = bz_delta_at(place);
  uint64_t commit = last_commit(n, place->number);
  check_version(&version, n, commit, done[commit][n] == 2);
}

static void check_walk(const struct bz_delta *delta, uint64_t number, bool forward)
{
  struct bz_delta_place place = {.delta = delta, .number = number};
  int by = forward ? 1 : -1;
  unsigned n = next_key(forward ? 0 : KEYS - 1, by, number);
  bool found = bz_delta_seek(&place, bytes("", 0), forward ? BLITZ_SEEK_FIRST : BLITZ_SEEK_LAST);
  for (; n < KEYS; n = next_key((int)n + by, by, number))
  {
    require(found);
    check_at(&place, n);
    found = bz_delta_step(&place, forward);
  }
  require(!found && place.at == NULL);
}

/* The first or last key that begins with key N, itself; others begin with it if they come from the
 * same three.
 */
static void check_seek(const struct bz_delta *delta, uint64_t number, unsigned n, struct rnd *rnd)
{
  struct bz_delta_place place = {.delta = delta, .number = number};
  uint8_t key[8];
  struct blitz_slice at = bytes(key, make_key(n, key));
  unsigned beyond = n - n % 3 + 3, wanted = KEYS;
  enum blitz_seek where = (enum blitz_seek)rnd_below(rnd, 4);
  switch (where)
  {
  case BLITZ_SEEK_FIRST: wanted = next_key((int)n, 1, number); break;
  case BLITZ_SEEK_AFTER: wanted = next_key((int)beyond, 1, number); break;
  case BLITZ_SEEK_LAST: wanted = next_key((int)beyond - 1, -1, number); break;
  case BLITZ_SEEK_BEFORE: wanted = next_key((int)n - 1, -1, number); break;
  }
  require(bz_delta_seek(&place, at, where) == (wanted < KEYS));
  if (wanted < KEYS)
    check_at(&place, wanted);
}

static void each_commit_is_found(void **state)
{
  struct rnd rnd = {run_seed()};
  (void)state;
  for (unsigned round = run_rounds(20); round > 0; round--)
  {
    struct bz_delta *delta = bz_delta_new();
    require(delta != NULL);
    fill(&rnd);
    for (uint64_t commit = 1; commit <= COMMITS; commit++)
    {
      uint64_t number = 1 + rnd_below(&rnd, (uint32_t)commit);
      add_commit(delta, commit);
      check_seek(delta, number, rnd_below(&rnd, KEYS), &rnd);
    }
    for (unsigned i = 0; i < 40; i++)
    {
      uint64_t number = rnd_below(&rnd, COMMITS + 1);
      check_walk(delta, number, true);
      check_walk(delta, number, false);
    }
    assert_true(bz_delta_len(delta) > 0);
    bz_delta_free(delta);
  }
}

/* ---- threads ---- */

static struct bz_delta *shared;
static atomic_ullong committed;
static uint64_t seed;

static void *read_commits(void *arg)
{
  struct rnd rnd = {seed + (uint64_t)(uintptr_t)arg};
  uint64_t last;
  do
  {
    last = atomic_load(&committed);
    uint64_t number = rnd_below(&rnd, 4) ? last : rnd_below(&rnd, (uint32_t)last + 1);
    check_walk(shared, number, rnd_below(&rnd, 2) != 0);
    for (unsigned i = 0; i < 20; i++)
      check_seek(shared, number, rnd_below(&rnd, KEYS), &rnd);
  } while (last < COMMITS);
  return NULL;
}

static void readers_find_it_meanwhile(void **state)
{
  struct rnd rnd = {run_seed()};
  (void)state;
  for (unsigned round = run_rounds(10); round > 0; round--)
  {
    pthread_t readers[READERS];
    shared = bz_delta_new();
    require(shared != NULL);
    fill(&rnd);
    seed = rnd_next(&rnd);
    atomic_store(&committed, 0);
    for (uintptr_t i = 0; i < READERS; i++)
      assert_int_equal(pthread_create(&readers[i], NULL, read_commits, (void *)i), 0);
    for (uint64_t commit = 1; commit <= COMMITS; commit++)
    {
      add_commit(shared, commit);
      atomic_store(&committed, commit);
    }
    for (unsigned i = 0; i < READERS; i++)
      pthread_join(readers[i], NULL);
    bz_delta_free(shared);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_commit_is_found),
      cmocka_unit_test(readers_find_it_meanwhile),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
