/* SPDX-License-Identifier: GPL-2.0-only
 *
 * commit.c: how a transaction ends. A new row was written at once into a block that looks free
 * to everyone else; what is remembered in memory is only where it is. The commit numbers these
 * rows, hangs them into the trees, and takes out those that they replace.
 *
 * Invariants:
 *  T1. Before commit no file but for blocks of state BZ_STATE_INFLIGHT differs from
 *      what it was; so rollback frees those blocks, and a crash does too.
 *  T2. What can fail comes first: the changes in the log, copies of entries in memory, entries in
 *      index files, and last the record that says that it is committed. A commit of rows then
 *      allocates nothing, neither space nor memory, so it cannot fail.
 *  T3. A commit's last store in a table is its number in the header. Until then recovery by a scan
 *      finds the new rows numbered beyond it, and the old ones stamped as removed
 *      beyond it, but whole.
 *  T4. A key has one change in a transaction, the sum of all that was done to it.
 *  T5. Commits of logged tables are in the log, written, and if a table wants it on the device,
 *      before anyone sees them; or, by blitz_txns_commit_early(), before they are acknowledged:
 *      what others commit that have seen them is behind them in the log. Those of several tables
 *      are there by one record, so a crash leaves all or none.
 *  T6. change_lock of the tables is held from before a commit is logged until it is seen, but for
 *      moments in the middle of a large one: who takes the pages then finds `applying` and that
 *      the log is wanted from before the commit on. Replayed on a part of itself, the commit
 *      leaves what it leaves on nothing (table/replay.c).
 */
#include "base/counters.h"
#include "log/current.h"
#include "txn/entries.h"
#include "txn/load.h"
#include "txn/logging.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PREFETCH_AHEAD 16                /* changes */
#define KEEP_ROOM_MAX ((size_t)64 << 10) /* bytes of memory kept for the next commit */
#define PAUSE_EVERY 64 /* changes, after which a commit may let others take pages */

/* ---- making rows seen ------------------------------------------------------------ */

static bool apply_change(struct blitz_table *table, const struct bz_change *change, uint64_t seq)
{
  struct bz_row row;
  struct bz_key key;
  struct bz_place place;
  enum blitz_rc rc;

  if (!bz_block_row(table, change->new_off != 0 ? change->new_off : change->old_off, &row))
    return false;
  key = bz_key_of_row(&row);
  rc = bz_hash_find(table, &key, &place);
  if (rc != (change->old_off != 0 ? BLITZ_OK : BLITZ_NOT_FOUND))
    return false;
  if (change->new_off != 0)
    bz_seal(table, &row, seq);
  if (change->old_off != 0)
    bz_removed_add(table, place.row.off, bz_row_seq(&place.row), seq, change->hash);
  if (change->new_off == 0)
  {
    if (bz_hash_unlink(table, key.hash, &place) != BLITZ_OK)
      return false;
  }
  else if (change->old_off == 0)
    bz_hash_link(table, &key, &place, change->new_off);
  else
    bz_hash_replace(table, key.hash, &place, change->new_off);
  if (change->old_off != 0)
    bz_space_stamp_removed(table, place.row.off, place.row.len, seq);
  return true;
}

void bz_set_broken(struct blitz_table *table)
{
  if (!atomic_exchange(&table->broken, true))
    bz_log(BLITZ_LOG_ERROR,
           "%s is damaged: a change could not be finished, and there will be no more. "
           "The file is repaired when it is opened again",
           table->file);
  if (table->index != NULL)
    bz_index_set_broken(table);
}

/* Asks for what apply_change() will need, so that it need not wait for it: first the change's
 * bucket and blocks, and when they are there, what hangs on the bucket.
 */
static void prefetch_blocks(const struct blitz_table *table, const struct bz_change *change)
{
  const uint8_t *base = bz_base(table);
  uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_relaxed);

  bz_prefetch(base + bz_bucket_off_of(table, change->hash, count));
  if (change->new_off != 0)
    bz_prefetch_row(base, change->new_off);
  if (change->old_off != 0)
  {
    bz_removed_prefetch(table, change->hash);
    bz_prefetch_row(base, change->old_off);
  }
}

static void prefetch_tree(const struct blitz_table *table, const struct bz_change *change)
{
  uint64_t count = atomic_load_explicit(&table->bucket_count, memory_order_relaxed);

  if (change->old_off == 0)
    bz_prefetch_row(bz_base(table),
                    bz_link(bz_base(table), bz_bucket_off_of(table, change->hash, count)));
}

struct commit
{
  struct bz_commit_part *parts;
  unsigned count;
  struct bz_logging logging;
  uint64_t *laterp; /* where in the log to wait for the device; NULL: that is not left for later */
};

/* ---- committing --------------------------------------------------------------------------- */

/* Entries of tables whose rows do not change after all. */
static void give_up_entries(struct commit *commit)
{
  for (unsigned i = 0; i < commit->count; i++)
  {
    struct bz_commit_part *part = &commit->parts[i];
    if (part->has_entries)
      bz_index_set_broken(part->table);
    else if (part->index_txn != NULL)
      bz_index_write_abort(part->table, part->index_txn);
    part->index_txn = NULL;
  }
}

static enum blitz_rc commit_entries(struct commit *commit, struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  for (unsigned i = 0; i < commit->count && rc == BLITZ_OK; i++)
  {
    struct bz_commit_part *part = &commit->parts[i];
    struct MDB_txn *index_txn = part->index_txn;
    if (index_txn == NULL)
      continue;
    part->index_txn = NULL;
    rc = bz_index_write_commit(part->table, index_txn, part->seq, err);
    part->has_entries = rc == BLITZ_OK;
  }
  return rc;
}

/* Copies the entries that are in memory, so that they need only be linked. */
static enum blitz_rc copy_entries(struct commit *commit, struct blitz_error *err)
{
  for (unsigned i = 0; i < commit->count; i++)
  {
    struct bz_commit_part *part = &commit->parts[i];
    if (part->own != NULL &&
        bz_index_copy(part->table, part->own, part->seq, &part->copies) != BLITZ_OK)
      return bz_fail(err, BLITZ_NOMEM, 0, "out of memory committing");
  }
  return BLITZ_OK;
}

/* Lets pages be taken, if memory is short. */
static void make_way(const struct commit *commit)
{
  for (unsigned i = commit->count; i > 0; i--)
    bz_change_end(commit->parts[i - 1].table);
  bz_current_wait_memory();
  for (unsigned i = 0; i < commit->count; i++)
    bz_change_begin(commit->parts[i].table);
}

static void apply(struct commit *commit, const struct bz_writes *writes, uint64_t seq)
{
  struct blitz_table *table = writes->table;

  if (writes->removed > 0 || writes->updated > 0)
    atomic_store_explicit(&table->unpublished, seq, memory_order_release);
  for (uint32_t i = 0; i < writes->count; i++)
  {
    const struct bz_change *change = &writes->changes[i];
    if (i + PREFETCH_AHEAD < writes->count)
      prefetch_blocks(table, change + PREFETCH_AHEAD);
    if (i + PREFETCH_AHEAD / 2 < writes->count)
      prefetch_tree(table, change + PREFETCH_AHEAD / 2);
    if ((change->new_off != 0 || change->old_off != 0) && !apply_change(table, change, seq))
      bz_set_broken(table);
    if ((i + 1) % PAUSE_EVERY == 0)
      make_way(commit);
  }
}

static void count_rows(const struct bz_writes *writes)
{
  bz_count(&bz_counters.rows_inserted, writes->inserted);
  bz_count(&bz_counters.rows_updated, writes->updated);
  bz_count(&bz_counters.rows_removed, writes->removed);
}

/* What a part's table needs no more, now that its commit is seen. */
static void finish_part(struct bz_commit_part *part)
{
  struct bz_writes *writes = part->writes;
  struct blitz_table *table = part->table;

  table->applying = false;
  if (part->has_entries)
  {
    pthread_mutex_lock(&table->snapshot_lock);
    bz_index_trim(table);
    pthread_mutex_unlock(&table->snapshot_lock);
  }
  if (writes == NULL)
    return;
  count_rows(writes);
  if (writes->load != NULL)
    bz_load_end(writes->load);
  writes->load = NULL;
  bz_removed_sweep(table, writes->removed + writes->updated);
}

/* Makes the commit seen in all of its tables at once (M1). All that it did is in the files, but for
 * its number.
 */
static void publish(struct commit *commit)
{
  for (unsigned i = 0; i < commit->count; i++)
    if (commit->parts[i].own != NULL)
      bz_index_link(commit->parts[i].table, &commit->parts[i].copies);
  bz_moments_begin();
  for (unsigned i = 0; i < commit->count; i++)
  {
    struct bz_commit_part *part = &commit->parts[i];
    bz_moments_pin(part->table);
    bz_snapshot_publish(part->table, part->seq, bz_rows_after(part));
  }
  bz_moments_end();
  for (unsigned i = 0; i < commit->count; i++)
    finish_part(&commit->parts[i]);
}

/* Commits all or nothing. Needs change_lock of all tables (T6). */
static enum blitz_rc commit_parts(struct commit *commit, struct blitz_error *err)
{
  enum blitz_rc rc = bz_log_changes(&commit->logging, commit->parts, commit->count, err);

  if (rc == BLITZ_OK)
    rc = copy_entries(commit, err);
  if (rc == BLITZ_OK)
    rc = commit_entries(commit, err);
  if (rc == BLITZ_OK)
    rc = bz_log_commit(&commit->logging, commit->parts, commit->count, commit->laterp, err);
  bz_log_end(&commit->logging);
  if (rc != BLITZ_OK)
  {
    give_up_entries(commit);
    return rc;
  }
  for (unsigned i = 0; i < commit->count; i++)
    commit->parts[i].table->applying = true;
  for (unsigned i = 0; i < commit->count; i++)
    if (commit->parts[i].writes != NULL && commit->parts[i].writes->load == NULL)
      apply(commit, commit->parts[i].writes, commit->parts[i].seq);
  publish(commit);
  return BLITZ_OK;
}

/* Commits a load as what a checkpoint writes: whole on the device before it is seen. The table is
 * claimed; needs change_lock.
 */
static enum blitz_rc commit_load(struct commit *commit, struct blitz_error *err)
{
  struct bz_commit_part *part = commit->parts;
  struct blitz_table *table = part->table;
  enum blitz_rc rc = commit_entries(commit, err);

  assert(atomic_load(&table->row_count) == 0);
  if (rc == BLITZ_OK)
  {
    bz_put_word(table, BZ_COMMITTED_OFF, htole64(part->seq));
    bz_put_be64(table, BZ_TC_ROW_COUNT_OFF, (uint64_t)part->writes->row_delta);
    rc = bz_checkpoint_locked(table, err);
  }
  if (rc == BLITZ_OK)
  {
    publish(commit);
    return BLITZ_OK;
  }
  bz_put_word(table, BZ_COMMITTED_OFF, htole64(part->seq - 1));
  bz_put_be64(table, BZ_TC_ROW_COUNT_OFF, 0);
  give_up_entries(commit);
  return rc;
}

enum blitz_rc bz_publish(struct blitz_table *table, struct MDB_txn *index_txn,
                         struct blitz_error *err)
{
  struct bz_buffer buf = {0};
  struct bz_commit_part part = {
      .table = table, .index_txn = index_txn, .seq = bz_next_commit(table)};
  struct commit commit = {.parts = &part, .count = 1, .logging.buf = &buf};
  enum blitz_rc rc;

  bz_change_begin(table);
  part.row_count = atomic_load(&table->row_count);
  rc = commit_parts(&commit, err);
  bz_change_end(table);
  free(buf.data);
  return rc;
}

/* ---- undoing ----------------------------------------------------------------------- */

static void rollback_table(struct bz_writes *writes)
{
  bz_change_begin(writes->table);
  bz_entries_rollback(writes);
  if (writes->load != NULL)
    bz_load_rollback(writes->table, writes->load);
  for (uint32_t i = writes->count; i > 0; i--)
    if (writes->changes[i - 1].new_off != 0)
      (void)bz_space_free(writes->table, writes->changes[i - 1].new_off);
  bz_change_end(writes->table);
}

/* ---- what callers ask for ---------------------------------------------------------- */

/* Brings entries that were sorted first into their indexes. Equal rows that
 * blitz_txn_finish_load() was not asked for must not get in.
 */
static enum blitz_rc settle(struct bz_writes *writes, struct blitz_error *err)
{
  enum blitz_rc rc;

  if (writes->doomed)
    return bz_fail(err, BLITZ_INVALID, 0,
                   "%s: a change that failed in part cannot be committed, and is undone",
                   writes->table->file);
  rc = bz_entries_finish(writes, err);
  if (rc == BLITZ_OK && writes->load != NULL)
    bz_txn_settle(&(struct blitz_txn){.writes = writes}, writes->table);
  return rc;
}

static bool has_changed(const struct bz_writes *writes)
{
  return writes->load != NULL || writes->count > 0;
}

/* Several transactions that end as one. */
struct group
{
  struct blitz_txn *const *txns;
  unsigned txn_count;
  unsigned count; /* of tables that have changed */
};

/* Lists the tables that have changed. */
static void list_parts(const struct group *group, struct bz_commit_part *parts)
{
  unsigned n = 0;

  for (unsigned i = 0; i < group->txn_count; i++)
    for (struct bz_writes *writes = group->txns[i]->writes; writes != NULL; writes = writes->next)
      if (has_changed(writes))
        parts[n++] = (struct bz_commit_part){.table = writes->table,
                                             .writes = writes,
                                             .index_txn = bz_entries_take(writes),
                                             .own = bz_entries_in_memory(writes),
                                             .seq = bz_next_commit(writes->table)};
  assert(n == group->count);
}

static enum blitz_rc commit_tables(const struct group *group, struct bz_commit_part *parts,
                                   uint64_t *laterp, struct blitz_error *err)
{
  struct bz_buffer *record = &group->txns[0]->record;
  struct commit commit = {
      .parts = parts, .count = group->count, .logging.buf = record, .laterp = laterp};
  bool claimed;
  enum blitz_rc rc;

  list_parts(group, parts);
  claimed = group->count == 1 && bz_load_is_large(parts->writes);
  if (claimed)
    bz_table_claim(parts->table);
  for (unsigned i = 0; i < group->count; i++)
    bz_change_begin(parts[i].table);
  rc = claimed ? commit_load(&commit, err) : commit_parts(&commit, err);
  for (unsigned i = 0; i < group->count; i++)
    bz_change_end(parts[i].table);
  if (claimed)
    bz_table_unclaim(parts->table);
  if (record->room > KEEP_ROOM_MAX)
  {
    free(record->data);
    *record = (struct bz_buffer){0};
  }
  return rc;
}

static enum blitz_rc commit_group(struct group *group, uint64_t *laterp, struct blitz_error *err)
{
  struct bz_commit_part one, *parts = &one;
  enum blitz_rc rc = BLITZ_OK;

  for (unsigned i = 0; i < group->txn_count; i++)
    for (struct bz_writes *writes = group->txns[i]->writes; writes != NULL && rc == BLITZ_OK;
         writes = writes->next)
    {
      rc = settle(writes, err);
      group->count += has_changed(writes);
    }
  if (rc != BLITZ_OK || group->count == 0)
    return rc;
  if (group->count > 1)
    parts = calloc(group->count, sizeof *parts);
  if (parts == NULL)
    return bz_fail(err, BLITZ_NOMEM, 0, "out of memory committing");
  rc = commit_tables(group, parts, laterp, err);
  if (parts != &one)
    free(parts);
  return rc;
}

static void end_txn(struct blitz_txn *txn, bool committed)
{
  while (txn->writes != NULL)
  {
    /* Entries may have been looked for, and nothing changed. */
    if (!committed || !has_changed(txn->writes))
      rollback_table(txn->writes);
    bz_entries_end(txn->writes);
    bz_writes_end(txn, txn->writes);
  }
}

static enum blitz_rc commit_txns(struct blitz_txn *const *txns, unsigned count, uint64_t *laterp,
                                 struct blitz_error *err)
{
  struct group group = {.txns = txns, .txn_count = count};
  enum blitz_rc rc;

  if (count == 0)
    return BLITZ_OK;
  bz_count(&bz_counters.commits, 1);
  rc = commit_group(&group, laterp, err);
  for (unsigned i = 0; i < count; i++)
    end_txn(txns[i], rc == BLITZ_OK);
  return rc;
}

enum blitz_rc blitz_txns_commit(struct blitz_txn *const *txns, unsigned count,
                                struct blitz_error *err)
{
  return commit_txns(txns, count, NULL, err);
}

enum blitz_rc blitz_txns_commit_early(struct blitz_txn *const *txns, unsigned count,
                                      uint64_t *positionp, struct blitz_error *err)
{
  *positionp = 0;
  return commit_txns(txns, count, positionp, err);
}

enum blitz_rc blitz_commit_wait(uint64_t position, struct blitz_error *err)
{
  return position != 0 ? bz_redo_sync(bz_current_log(), position, err) : BLITZ_OK;
}

enum blitz_rc blitz_txn_commit(struct blitz_txn *txn, struct blitz_error *err)
{
  return txn->writes != NULL ? blitz_txns_commit(&txn, 1, err) : BLITZ_OK;
}

void blitz_txn_rollback(struct blitz_txn *txn)
{
  if (txn->writes != NULL)
    bz_count(&bz_counters.rollbacks, 1);
  end_txn(txn, false);
}
