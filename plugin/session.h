/* SPDX-License-Identifier: GPL-2.0-only
 *
 * session.h: what one connection has changed in the statement that it runs, and what it reads.
 *
 * Each table changed has a transaction of its own, so that a table dropped in
 * the middle of a statement (a temporary one, in a stored function) can take
 * its changes with it. All are committed or rolled back together when the
 * server ends the statement.
 *
 * 1. A Blitz_change exists from its session's first use to the end of the
 *    connection; its serial number changes whenever its changes end. Who keeps
 *    a pointer to one keeps the serial number too, and compares.
 * 2. No change outlives the last open handler of its table: ha_blitz::close()
 *    calls blitz_session_forget().
 * 3. Sub-statements of functions and triggers commit nothing: the server ends
 *    the outermost statement only. A savepoint that they set is for engines that
 *    the server knows by then, so it is told of a table that they may change
 *    when that is locked. Under LOCK TABLES nothing tells of it in time.
 * 4. A statement that reads several tables, or partitions, sees them all as of one moment, but for
 *    those that it may change: of these it sees what is committed now. Tables of functions are
 *    read as of a moment of their own from the second call on.
 * 5. A statement that changes rows of tables that others change as well gives the server's locks
 *    of its tables back when it is committed but for the device, and then waits for that: so they
 *    share syncs.
 */
#ifndef BLITZ_SESSION_H
#define BLITZ_SESSION_H

#include "server.h"

#include <atomic>

struct Blitz_change
{
  struct blitz_table *table; /* NULL: not in use */
  struct blitz_txn *txn;
  ulonglong serial;
  const struct blitz_indexer *indexer; /* what TXN was told to ask; NULL: nothing */
  bool is_lost;                        /* a load has failed: it can only be rolled back */
};

/* Fills in the transaction functions and the connection's end. */
void blitz_session_init(handlerton *hton);

/* Tells the server that the engine takes part in THD's statement. */
void blitz_session_register(THD *thd, handlerton *hton);

/* The change of TABLE in THD's statement, begun if need be; NULL: out of memory. */
Blitz_change *blitz_session_change(THD *thd, handlerton *hton, struct blitz_table *table,
                                   unsigned lock_timeout);

/* The transaction whose changes a reader of TABLE must see; NULL: none. */
struct blitz_txn *blitz_session_txn(THD *thd, const handlerton *hton,
                                    const struct blitz_table *table);

/* A table is about to be locked for THD's statement: CURSOR's, to be read, or LOCK's, which is the
   server's, to be changed; CHANGING counts who is at that. 0, or the server's number of an error.
   And some table of THD's is unlocked, or closed. */
int blitz_session_to_read(THD *thd, const handlerton *hton, struct blitz_cursor *cursor);
int blitz_session_to_change(THD *thd, const handlerton *hton, THR_LOCK_DATA *lock,
                            std::atomic<uint> *changing);
void blitz_session_unlocked(THD *thd, const handlerton *hton);

/* All tables are locked, and the first one is going to be read. */
void blitz_session_begin_reading(THD *thd, const handlerton *hton);

/* Undoes what THD has changed in TABLE, which is about to be closed. */
void blitz_session_forget(THD *thd, const handlerton *hton, const struct blitz_table *table);

#endif /* BLITZ_SESSION_H */
