/* SPDX-License-Identifier: GPL-2.0-only
 *
 * replayed.h: entries of ordered indexes that a start reads from the log, for replay.c. They are
 * kept in memory, table->replayed, for who opens the index file.
 */
#ifndef BZ_REPLAYED_H
#define BZ_REPLAYED_H

#include "index/deltas.h"
#include "log/record.h"

/* Those of changes that are not committed yet; zeros at first. */
struct bz_replayed_entries
{
  struct bz_deltas *deltas; /* NULL: there are none */
  unsigned index_no;        /* among these, of the next ones */
  uint64_t count;
};

/* Adds what a change says of entries. BLITZ_CORRUPT: it says nothing that can be. */
enum blitz_rc bz_replayed_entries_add(struct bz_replayed_entries *entries,
                                      enum bz_logged_change change, struct blitz_slice key,
                                      struct blitz_slice value,
                                      struct blitz_error *err) BLITZ_MUST_CHECK;

/* They are those of commit SEQ, of which the rows are done. For who has TABLE alone. */
enum blitz_rc bz_replayed_entries_take(struct blitz_table *table,
                                       const struct bz_replayed_entries *entries, uint64_t seq,
                                       struct blitz_error *err) BLITZ_MUST_CHECK;

void bz_replayed_entries_free(struct bz_replayed_entries *entries);

/* The index file has all until now, or is not to be believed. */
void bz_replayed_entries_forget(struct blitz_table *table);

#endif /* BZ_REPLAYED_H */
