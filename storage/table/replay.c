/* SPDX-License-Identifier: GPL-2.0-only
 *
 * replay.c: makes the commits of the log again that the files lack. A file knows its last commit,
 * and its commits have numbers without a gap, so which records it lacks needs no position.
 *
 * The changes of a commit are made as they were made first, by a transaction, which the commit's
 * record ends; a transaction without such a record is rolled back, also if its changes
 * cannot be made: others may be in the file already. Some changes of a commit may be
 * in the file already, if the pages were taken in the middle of it (T6): a row that is to be
 * inserted is there, one that is to be removed is not. Then it is so, and how many rows there are
 * at last the record says.
 *
 * The file's header says also which commits the index file has at least (index_seq). Entries of
 * later ones are kept in memory for who opens it (bz_index_take_over()), also if the rows are
 * there: the indexes of a checkpoint are written before its rows. It does no harm if the index file
 * has them too. A table that was closed has all, and what was done to its file since is not our
 * business: it is left as it is.
 */
#include "base/counters.h"
#include "log/current.h"
#include "log/record.h"
#include "table/replayed.h"
#include "table/table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TELL_SECONDS 2   /* between lines that say how far it is */
#define FORGET_FROM 1000 /* removed rows, which are given up together */

/* A table that the log knows, by the number of one opening. */
struct replayed
{
  uint64_t number;
  struct blitz_table
      *table; /* NULL: it was closed, or is not there any more, or cannot be opened */
  char *path; /* NULL: it was closed, or is given up */
  uint64_t commits;
  struct replayed *next;
  struct replayed *same; /* the next one in its chain */
};

/* Changes of one table with a tag that are not committed yet. */
struct pending
{
  uint64_t tag;
  struct replayed *of;
  struct blitz_txn *txn; /* NULL: the rows are in the file, and only entries are wanted */
  struct bz_replayed_entries entries;
  struct bz_buffer row; /* of which only a difference is logged */
  uint8_t *rest;        /* the begin of a change that goes on in the next piece */
  size_t rest_len;
  struct blitz_error why; /* one of them could not be made; it matters if they are committed */
  struct pending *next;
};

#define CHAINS 4096

struct bz_replay
{
  struct replayed *tables;
  struct replayed *chains[CHAINS]; /* of these, by number, which is a random one */
  struct pending *pending;
  uint64_t from;     /* position in the log at which it has begun; UINT64_MAX: nowhere yet */
  time_t told_after; /* when what was done was told last; seconds */
};

struct bz_replay *bz_replay_begin(void)
{
  struct bz_replay *replay = calloc(1, sizeof *replay);

  if (replay == NULL)
    return NULL;
  replay->from = UINT64_MAX;
  replay->told_after = time(NULL);
  return replay;
}

/* A start that takes long says how far it is. */
static void tell_progress(struct bz_replay *replay, uint64_t at)
{
  time_t now = time(NULL);

  if (replay->from == UINT64_MAX)
    replay->from = at;
  if (now - replay->told_after < TELL_SECONDS)
    return;
  replay->told_after = now;
  bz_log(BLITZ_LOG_NOTE, "%" PRIu64 " MiB of the log are done", (at - replay->from) >> 20);
}

static enum blitz_rc no_memory(struct blitz_error *err)
{
  return bz_fail(err, BLITZ_NOMEM, 0, "out of memory making the log's changes again");
}

/* ---- changes that are not committed ---------------------------------------------- */

static void drop_pending(struct bz_replay *replay, struct pending *pending)
{
  struct pending **link = &replay->pending;

  while (*link != pending)
    link = &(*link)->next;
  *link = pending->next;
  if (pending->txn != NULL)
    blitz_txn_free(pending->txn);
  bz_replayed_entries_free(&pending->entries);
  free(pending->row.data);
  free(pending->rest);
  free(pending);
}

/* Drops what is pending of a table: there was no end of it. */
static void drop_pending_of(struct bz_replay *replay, const struct replayed *of)
{
  for (struct pending *pending = replay->pending, *next; pending != NULL; pending = next)
  {
    next = pending->next;
    if (pending->of == of)
      drop_pending(replay, pending);
  }
}

static struct pending *find_pending(const struct bz_replay *replay, uint64_t tag,
                                    const struct replayed *of)
{
  struct pending *pending = replay->pending;

  while (pending != NULL && (pending->tag != tag || pending->of != of))
    pending = pending->next;
  return pending;
}

/* A transaction for changes of TABLE; NULL: out of memory. */
static struct blitz_txn *begin_txn(struct blitz_table *table)
{
  struct blitz_txn *txn;

  if (blitz_txn_create(&txn) != BLITZ_OK)
    return NULL;
  if (atomic_load(&table->row_count) > 0 ||
      blitz_txn_expect_rows(txn, table, 0, false, NULL) == BLITZ_OK)
    return txn;
  blitz_txn_free(txn);
  return NULL;
}

/* The pending changes of that tag; before the first of them, those of a transaction that came to
 * nothing go. WITH_ROWS: the rows are wanted.
 */
static struct pending *get_pending(struct bz_replay *replay, uint64_t tag, struct replayed *of,
                                   bool with_rows)
{
  struct pending *pending = find_pending(replay, tag, of);

  if (pending != NULL)
    return pending;
  drop_pending_of(replay, of);
  pending = calloc(1, sizeof *pending);
  if (pending != NULL && with_rows)
    pending->txn = begin_txn(of->table);
  if (pending == NULL || (with_rows && pending->txn == NULL))
  {
    free(pending);
    return NULL;
  }
  pending->tag = tag;
  pending->of = of;
  pending->next = replay->pending;
  replay->pending = pending;
  return pending;
}

/* ---- tables ---------------------------------------------------------------------- */

static struct replayed *find_table(const struct bz_replay *replay, uint64_t number)
{
  struct replayed *of = replay->chains[number % CHAINS];

  while (of != NULL && of->number != number)
    of = of->same;
  return of;
}

static void close_table(struct bz_replay *replay, struct replayed *of)
{
  drop_pending_of(replay, of);
  free(of->path);
  of->path = NULL;
  if (of->table != NULL)
    bz_table_free(of->table);
  of->table = NULL;
}

/* What cannot be made again is told, and left as it is in the file. An image says itself that it
 * lacks something; a file that had been closed is what somebody has put there.
 */
static void give_up(struct bz_replay *replay, struct replayed *of, const char *why)
{
  bz_log(BLITZ_LOG_ERROR,
         "%s cannot be brought to its last commit, as the log wants it: %s. Restore it from a "
         "backup, or repair it, which keeps the rows that its file has",
         of->table->file, why);
  close_table(replay, of);
}

static bool is_meant(const struct bz_header *header, const struct bz_open_record *record,
                     uint64_t log_id)
{
  if (header->version < BZ_VERSION || header->secret.key[0] != record->secret)
    return false;
  if (header->version == BZ_VERSION_LOGGED)
    return header->log_position == BZ_COMPLETE || header->log_id == log_id;
  return !header->open;
}

/* Takes up the file, which is open. A closed one is an image too. */
static enum blitz_rc take_up(struct blitz_table *table, struct bz_header *header,
                             const struct bz_open_record *record, const struct bz_redo_record *at,
                             struct blitz_error *err)
{
  table->log_number = record->number;
  table->log_id = at->log_id;
  atomic_store(&table->needs_from, at->at);
  if (header->version != BZ_VERSION_LOGGED)
  {
    header->segment = 0;
    header->buckets_used = header->bucket_count;
  }
  bz_file_mark_dirty(table);
  pthread_mutex_lock(&table->change_lock);
  bz_note(table, BZ_BOOT_ID_OFF, BZ_BOOT_ID_LEN);
  memcpy(bz_base(table) + BZ_BOOT_ID_OFF, record->boot_id, BZ_BOOT_ID_LEN);
  pthread_mutex_unlock(&table->change_lock);
  return bz_image_open(table, header, err);
}

/* Opens the file, if it is there and is the one that the log means. Whatever may be better another
 * time is an error: the log is the only one to know what the file lacks.
 */
static enum blitz_rc open_table(struct replayed *of, const struct bz_open_record *record,
                                const struct bz_redo_record *at, struct blitz_error *err)
{
  struct blitz_table *table = bz_table_new(of->path, 0);
  struct bz_header header;
  struct blitz_error why;
  enum blitz_rc rc;

  if (table == NULL)
    return no_memory(err);
  table->logged = table->opening = table->claimed = true;
  rc = bz_file_open(table, &header, &why);
  if (rc == BLITZ_OK && is_meant(&header, record, at->log_id))
  {
    rc = take_up(table, &header, record, at, &why);
    if (rc == BLITZ_OK)
      of->table = table;
  }
  if (of->table == NULL)
    bz_table_free(table);
  if (rc == BLITZ_NOMEM || rc == BLITZ_IO || rc == BLITZ_BUSY || rc == BLITZ_FULL)
  {
    if (err != NULL)
      *err = why;
    return rc;
  }
  if (rc != BLITZ_OK && rc != BLITZ_NOT_FOUND)
    bz_log(BLITZ_LOG_ERROR, "%s", why.text);
  return BLITZ_OK;
}

/* Closes the table of that path that is open by another number: it was given up, or marking its
 * file has failed, and no CLOSE tells. Its file is what the new number begins with.
 */
static bool close_other(struct bz_replay *replay, const char *path)
{
  struct replayed *of = replay->tables;

  while (of != NULL && (of->table == NULL || strcmp(of->path, path) != 0))
    of = of->next;
  if (of != NULL)
    close_table(replay, of);
  return of != NULL;
}

static enum blitz_rc replay_open(struct bz_replay *replay, const struct bz_redo_record *record,
                                 struct blitz_error *err)
{
  struct bz_open_record open;
  struct replayed *of, **chain;
  enum blitz_rc rc;

  if (!bz_open_record_get(record->payload, &open) || find_table(replay, open.number) != NULL)
    return BLITZ_OK;
  of = calloc(1, sizeof *of);
  if (of != NULL)
    of->path = strndup(open.path.data, open.path.len);
  if (of == NULL || of->path == NULL)
  {
    free(of);
    return no_memory(err);
  }
  chain = &replay->chains[open.number % CHAINS];
  of->number = open.number;
  of->same = *chain;
  *chain = of;
  of->next = replay->tables;
  replay->tables = of;
  rc = open_table(of, &open, record, err);
  return rc == BLITZ_BUSY && close_other(replay, of->path) ? open_table(of, &open, record, err)
                                                           : rc;
}

/* ---- changes --------------------------------------------------------------------- */

static enum blitz_rc make_row_change(struct pending *pending, enum bz_logged_change change,
                                     struct blitz_slice key, struct blitz_slice value,
                                     struct blitz_error *err)
{
  struct blitz_table *table = pending->of->table;
  enum blitz_rc rc = BLITZ_INVALID;

  if (pending->txn == NULL)
    return BLITZ_OK;
  blitz_txn_lock_timeout(pending->txn, 0);
  switch (change)
  {
  case BZ_LOGGED_INSERT:
    rc = bz_insert(pending->txn, table, key, value, err);
    return rc == BLITZ_DUPLICATE ? BLITZ_OK : rc;
  case BZ_LOGGED_DIFFERENCE:
    rc = bz_difference_value(table, key, &value, &pending->row, err);
    return rc == BLITZ_OK ? blitz_update(pending->txn, table, key, key, value, err) : rc;
  case BZ_LOGGED_UPDATE: return blitz_update(pending->txn, table, key, key, value, err);
  case BZ_LOGGED_REMOVE:
    rc = blitz_remove(pending->txn, table, key, err);
    return rc == BLITZ_NOT_FOUND ? BLITZ_OK : rc;
  default: break;
  }
  return rc;
}

static enum blitz_rc make_change(struct pending *pending, enum bz_logged_change change,
                                 struct blitz_slice key, struct blitz_slice value,
                                 struct blitz_error *err)
{
  switch (change)
  {
  case BZ_LOGGED_INDEX:
  case BZ_LOGGED_ENTRY:
  case BZ_LOGGED_ENTRY_REMOVE:
    return bz_replayed_entries_add(&pending->entries, change, key, value, err);
  default: return make_row_change(pending, change, key, value, err);
  }
}

/* Makes all changes that end in the LEN bytes at FROM; *USED: how many bytes these are. */
static enum blitz_rc make_changes(struct pending *pending, const uint8_t *from, size_t len,
                                  size_t *used, struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  *used = 0;
  while (rc == BLITZ_OK && *used < len)
  {
    enum bz_logged_change change;
    struct blitz_slice key, value;
    bool damaged;
    size_t change_len = bz_change_get(from + *used, len - *used, &change, &key, &value, &damaged);

    if (damaged)
      return bz_fail(err, BLITZ_CORRUPT, 0, "a record of the log is none");
    if (change_len == 0)
      break;
    rc = make_change(pending, change, key, value, err);
    *used += change_len;
  }
  return rc;
}

/* A piece, after what was left of the one before it. */
static enum blitz_rc make_piece(struct pending *pending, struct blitz_slice piece,
                                struct blitz_error *err)
{
  const uint8_t *from = piece.data;
  size_t len = piece.len, used;
  uint8_t *all = NULL;
  enum blitz_rc rc;

  if (pending->rest_len > 0)
  {
    all = realloc(pending->rest, pending->rest_len + len);
    if (all == NULL)
      return no_memory(err);
    pending->rest = all;
    memcpy(all + pending->rest_len, piece.data, len);
    from = all;
    len += pending->rest_len;
  }
  rc = make_changes(pending, from, len, &used, err);
  if (rc != BLITZ_OK || used == len)
  {
    pending->rest_len = 0;
    return rc;
  }
  if (all == NULL)
  {
    all = realloc(pending->rest, len - used);
    if (all == NULL)
      return no_memory(err);
    pending->rest = all;
  }
  memmove(all, from + used, len - used);
  pending->rest_len = len - used;
  return BLITZ_OK;
}

/* Does TABLE lack commit SEQ? *GAP: and one before it. */
static bool lacks(const struct blitz_table *table, uint64_t seq, bool *gap)
{
  uint64_t committed = atomic_load(&table->committed);

  *gap = seq > committed + 1;
  return seq > committed;
}

/* Are the entries of commit SEQ wanted? */
static bool wants_entries(const struct blitz_table *table, uint64_t seq)
{
  uint64_t index_seq = atomic_load(&table->index_seq);

  return index_seq != 0 && seq >= index_seq;
}

/* Writes all tables to their files, as one checkpoint, and gives their memory back. */
static enum blitz_rc write_tables(struct bz_replay *replay, struct blitz_error *err)
{
  struct blitz_table **tables;
  size_t count = 0;
  enum blitz_rc rc;

  for (const struct replayed *of = replay->tables; of != NULL; of = of->next)
    count += of->table != NULL;
  tables = calloc(count + 1, sizeof(struct blitz_table *));
  if (tables == NULL)
    return no_memory(err);
  count = 0;
  for (const struct replayed *of = replay->tables; of != NULL; of = of->next)
    if (of->table != NULL)
      tables[count++] = of->table;
  rc = bz_checkpoint(tables, count, BZ_JOURNAL_ALL, false, err);
  for (size_t i = 0; i < count && rc == BLITZ_OK; i++)
    bz_pages_drop(&tables[i]->pages);
  free(tables);
  return rc;
}

/* So much of what has changed goes to the files before the end. */
static enum blitz_rc save_memory(struct bz_replay *replay, struct blitz_error *err)
{
  if (bz_pages_all_private() * BZ_PAGE_LEN <= bz_current_memory_max())
    return BLITZ_OK;
  return write_tables(replay, err);
}

/* Makes changes of commit SEQ, not to be committed yet. */
static enum blitz_rc replay_piece(struct bz_replay *replay, struct replayed *of, uint64_t tag,
                                  uint64_t seq, struct blitz_slice piece, struct blitz_error *err)
{
  struct pending *pending;
  struct blitz_error why = {0};
  bool gap, with_rows;
  enum blitz_rc rc;

  if (of == NULL || of->table == NULL)
    return BLITZ_OK;
  with_rows = lacks(of->table, seq, &gap);
  if (!with_rows && !wants_entries(of->table, seq))
    return BLITZ_OK;
  if (gap)
  {
    give_up(replay, of, "the file is of an earlier time than the log");
    return BLITZ_OK;
  }
  pending = get_pending(replay, tag, of, with_rows);
  if (pending == NULL)
    return no_memory(err);
  if (pending->why.rc != BLITZ_OK)
    return BLITZ_OK;
  rc = make_piece(pending, piece, &why);
  if (rc == BLITZ_OK)
    return save_memory(replay, err);
  pending->why = why;
  /* What may be better another time ends the start; the log and the files stay as they are. */
  if (rc != BLITZ_NOMEM && rc != BLITZ_FULL && rc != BLITZ_IO)
    return BLITZ_OK;
  if (err != NULL)
    *err = why;
  return rc;
}

static enum blitz_rc replay_changes(struct bz_replay *replay, const struct bz_redo_record *record,
                                    struct blitz_error *err)
{
  const uint8_t *from = record->payload.data;
  struct blitz_slice piece;

  if (record->payload.len < BZ_CHANGES_HEAD_LEN)
    return BLITZ_OK;
  piece.data = from + BZ_CHANGES_HEAD_LEN;
  piece.len = record->payload.len - BZ_CHANGES_HEAD_LEN;
  return replay_piece(replay, find_table(replay, bz_load_le64(from + 8)), bz_load_le64(from),
                      bz_load_le64(from + 16), piece, err);
}

/* ---- commits --------------------------------------------------------------------- */

static void put_numbers(struct blitz_table *table, const struct bz_commit_record *record)
{
  bz_set_index_seq(table, record->index_seq);
  if (record->counter > atomic_load(&table->counter))
    atomic_store(&table->counter, record->counter);
  pthread_mutex_lock(&table->change_lock);
  bz_put_be64(table, BZ_TC_ROW_COUNT_OFF, record->row_count);
  atomic_store(&table->row_count, record->row_count);
  if (record->next_row_id > bz_load_le64(bz_base(table) + BZ_NEXT_ROW_ID_OFF))
    bz_put_word(table, BZ_NEXT_ROW_ID_OFF, htole64(record->next_row_id));
  pthread_mutex_unlock(&table->change_lock);
}

/* Nobody reads, so what was removed is free, by this or by the part that was there. */
static void forget_removed(struct blitz_table *table)
{
  pthread_mutex_lock(&table->change_lock);
  bz_removed_sweep_all(table);
  pthread_mutex_unlock(&table->change_lock);
  if (table->removed.count == 0)
    table->walk_commit = atomic_load(&table->committed);
}

/* A commit of which the file has the rows. */
static enum blitz_rc commit_entries(struct bz_replay *replay, struct replayed *of, uint64_t tag,
                                    uint64_t seq, struct blitz_error *err)
{
  struct pending *pending = find_pending(replay, tag, of);
  enum blitz_rc rc;

  if (pending == NULL || !wants_entries(of->table, seq))
    return BLITZ_OK;
  if (pending->why.rc != BLITZ_OK || pending->rest_len > 0)
  {
    bz_log(BLITZ_LOG_WARNING, "the log has no whole entries for the indexes of %s: %s",
           of->table->file, pending->why.text);
    bz_set_index_seq(of->table, 0);
    bz_replayed_entries_forget(of->table);
    return BLITZ_OK;
  }
  rc = bz_replayed_entries_take(of->table, &pending->entries, seq, err);
  drop_pending(replay, pending);
  return rc;
}

static enum blitz_rc commit_table(struct bz_replay *replay, struct replayed *of, uint64_t tag,
                                  const struct bz_commit_record *record, struct blitz_error *err)
{
  struct pending *pending = find_pending(replay, tag, of);
  struct blitz_table *table = of->table;
  struct blitz_error why = {0};
  enum blitz_rc rc = BLITZ_OK;
  bool gap;

  if (!lacks(table, record->commit, &gap))
    return commit_entries(replay, of, tag, record->commit, err);
  if (gap || (pending != NULL && pending->rest_len > 0))
  {
    give_up(replay, of, "some of its commits are not in the log");
    return BLITZ_OK;
  }
  if (pending != NULL && pending->why.rc != BLITZ_OK)
  {
    give_up(replay, of, pending->why.text);
    return BLITZ_OK;
  }
  if (pending != NULL)
    rc = blitz_txn_commit(pending->txn, &why);
  if (rc == BLITZ_OK && atomic_load(&table->committed) != record->commit)
    rc = bz_publish(table, NULL, &why); /* no rows have changed */
  if (rc == BLITZ_NOMEM || rc == BLITZ_FULL || rc == BLITZ_IO)
  {
    if (err != NULL)
      *err = why;
    return rc;
  }
  if (rc != BLITZ_OK || atomic_load(&table->broken))
  {
    give_up(replay, of, rc != BLITZ_OK ? why.text : "it is damaged");
    return BLITZ_OK;
  }
  put_numbers(table, record);
  /* The commit has brought all into the index file, or there is none any more. */
  if (record->index_seq == record->commit + 1 || record->index_seq == 0)
    bz_replayed_entries_forget(table);
  else
    rc = pending == NULL ? BLITZ_OK
                         : bz_replayed_entries_take(table, &pending->entries, record->commit, err);
  if (rc != BLITZ_OK)
    return rc;
  if (table->removed.count >= FORGET_FROM)
    forget_removed(table);
  of->commits++;
  if (pending != NULL)
    drop_pending(replay, pending);
  return BLITZ_OK;
}

static enum blitz_rc replay_commit(struct bz_replay *replay, const struct bz_redo_record *record,
                                   struct blitz_error *err)
{
  const uint8_t *from = record->payload.data;
  struct bz_commit_record commit;
  struct blitz_slice rest;
  uint64_t tag;
  uint32_t count;
  enum blitz_rc rc = BLITZ_OK;

  if (!bz_commit_head_get(record->payload, &tag, &count))
    return BLITZ_OK;
  rest.len = record->payload.len - BZ_COMMIT_HEAD_LEN - (size_t)count * BZ_COMMIT_TABLE_LEN;
  rest.data = from + record->payload.len - rest.len;
  for (uint32_t i = 0; i < count && rc == BLITZ_OK; i++)
  {
    struct replayed *of;
    bz_commit_record_get(from + BZ_COMMIT_HEAD_LEN + (size_t)i * BZ_COMMIT_TABLE_LEN, &commit);
    of = find_table(replay, commit.number);
    if (count == 1 && rest.len > 0)
      rc = replay_piece(replay, of, tag, commit.commit, rest, err);
    if (rc == BLITZ_OK && of != NULL && of->table != NULL)
      rc = commit_table(replay, of, tag, &commit, err);
  }
  return rc;
}

/* ---- records --------------------------------------------------------------------- */

static void replay_close(struct bz_replay *replay, const struct bz_redo_record *record)
{
  struct replayed *of =
      record->payload.len >= 8 ? find_table(replay, bz_load_le64(record->payload.data)) : NULL;

  if (of != NULL)
    close_table(replay, of);
}

static void replay_counter(struct bz_replay *replay, const struct bz_redo_record *record)
{
  const uint8_t *from = record->payload.data;
  struct replayed *of = record->payload.len >= 16 ? find_table(replay, bz_load_le64(from)) : NULL;

  if (of != NULL && of->table != NULL)
    atomic_store(&of->table->counter, bz_load_le64(from + 8));
}

enum blitz_rc bz_replay_record(void *arg, const struct bz_redo_record *record,
                               struct blitz_error *err)
{
  struct bz_replay *replay = arg;
  enum blitz_rc rc = BLITZ_OK;

  tell_progress(replay, record->at);
  switch (record->type)
  {
  case BZ_RECORD_OPEN: rc = replay_open(replay, record, err); break;
  case BZ_RECORD_CLOSE: replay_close(replay, record); break;
  case BZ_RECORD_COUNTER: replay_counter(replay, record); break;
  case BZ_RECORD_CHANGES: rc = replay_changes(replay, record, err); break;
  case BZ_RECORD_COMMIT: rc = replay_commit(replay, record, err); break;
  default:
    return bz_fail(err, BLITZ_BAD_VERSION, 0,
                   "the log has records of a later BlitzDB. Start that one, and stop it");
  }
  return rc;
}

size_t bz_replay_finish(struct bz_replay *replay)
{
  uint64_t commits = 0;
  size_t tables = 0;

  for (struct replayed *of = replay->tables; of != NULL; of = of->next)
  {
    if (of->table == NULL && of->path != NULL)
      bz_log(BLITZ_LOG_WARNING,
             "%s%s was open when the server stopped, and is not there, or another one is: what the "
             "log has of it is left out",
             of->path, BLITZ_FILE_EXT);
    if (of->table == NULL)
      continue;
    drop_pending_of(replay, of);
    tables++;
    commits += of->commits;
    bz_count(&bz_counters.recoveries, 1);
    forget_removed(of->table);
    bz_registry_leave(of->table);
    of->table = NULL;
  }
  if (tables > 0)
    bz_log(BLITZ_LOG_NOTE,
           "%zu tables were open when the server stopped; %" PRIu64
           " commits were made again from the log",
           tables, commits);
  return tables;
}

void bz_replay_free(struct bz_replay *replay)
{
  if (replay == NULL)
    return;
  while (replay->tables != NULL)
  {
    struct replayed *of = replay->tables;
    close_table(replay, of);
    replay->tables = of->next;
    free(of);
  }
  free(replay);
}
