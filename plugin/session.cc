/* SPDX-License-Identifier: GPL-2.0-only
 *
 * session.cc: a statement's changes, and ending them; see session.h.
 *
 * The server is told of the engine (trans_register_ha) at the first change of a
 * statement and not before: for temporary tables it makes no other call by
 * which a statement's beginning could be known.
 */
#include "errors.h"
#include "session.h"

#include <memory>
#include <mysqld.h>
#include <new>
#include <sql_class.h>
#include <vector>

namespace
{

/* The server's lock of a table that a statement changes. */
struct Lock
{
  THR_LOCK_DATA *data;
  std::atomic<uint> *changing; /* statements that have, or want, one of this table */
};

class Session
{
public:
  ~Session()
  {
    for (auto &change : m_changes)
      blitz_txn_free(change->txn);
  }

  Blitz_change *find(const struct blitz_table *table)
  {
    if (m_active > 0)
      for (auto &change : m_changes)
        if (change->table == table)
          return change.get();
    return NULL;
  }

  Blitz_change *begin(struct blitz_table *table)
  {
    Blitz_change *change = find(NULL);
    if (m_active == 0 && !m_changes.empty())
      change = m_changes[0].get();
    if (change == NULL)
    {
      struct blitz_txn *txn;
      if (blitz_txn_create(&txn) != BLITZ_OK)
        return NULL;
      std::unique_ptr<Blitz_change> owner(new Blitz_change{NULL, txn, 0, NULL, false});
      change = owner.get();
      m_changes.push_back(std::move(owner));
      m_txns.reserve(m_changes.size());
    }
    change->table = table;
    change->serial = ++m_last_serial;
    m_active++;
    return change;
  }

  /* What was not committed is undone. */
  void end(Blitz_change *change)
  {
    blitz_txn_rollback(change->txn);
    change->table = NULL;
    change->serial = 0;
    change->indexer = NULL;
    change->is_lost = false;
    m_active--;
  }

  void add_reader(struct blitz_cursor *cursor)
  {
    m_readers.push_back(cursor);
  }

  void add_lock(THR_LOCK_DATA *lock, std::atomic<uint> *changing)
  {
    m_locks.push_back({lock, changing});
    (*changing)++;
  }

  /* The first table to be unlocked ends it for all: of those that stay nothing more is made. */
  void forget_locks()
  {
    m_readers.clear();
    for (const Lock &lock : m_locks)
      (*lock.changing)--;
    m_locks.clear();
    m_reading = false;
  }

  /* Once for all tables that are locked by then: what is locked later, for a second position in
     one of them, must not disturb a read that has begun. If there is no memory for it, each
     reads at a moment of its own. */
  void begin_reading()
  {
    struct blitz_moment *moment;
    struct blitz_error err;
    if (m_reading || m_readers.empty())
      return;
    m_reading = true;
    if (m_readers.size() < 2)
      return;
    if (blitz_moment_take(m_readers.data(), static_cast<unsigned>(m_readers.size()), &moment,
                          &err) == BLITZ_OK)
      blitz_moment_end(moment);
  }

  /* Commits the changes of all tables, or undoes them. MAY_UNLOCK: the statement does nothing
     with its tables after that. */
  enum blitz_rc end_all(bool commit, bool may_unlock, struct blitz_error *err)
  {
    uint64_t position = 0;
    enum blitz_rc rc = commit ? finish_loads(err) : BLITZ_OK;
    bool unlock = may_unlock && others_change();
    if (commit && rc == BLITZ_OK)
      rc = commit_all(unlock ? &position : NULL, err);
    for (auto &change : m_changes)
      if (change->table != NULL)
        end(change.get());
    if (rc == BLITZ_OK && position != 0)
    {
      unlock_tables();
      rc = blitz_commit_wait(position, err);
    }
    return rc;
  }

private:
  /* Does another statement change one of the tables, and wait for the server's lock, or for the
     device? Then more of them are to be expected while this one waits. What is looked at may
     change at any time; nothing but time is lost by an answer that is not true any more. */
  bool others_change() const
  {
    for (const Lock &lock : m_locks)
      if (*lock.changing > 1)
        return true;
    return false;
  }

  /* Lets others have the tables while the commit's record is on its way to the device. The
     server finds them unlocked when it comes to that, which is nothing new to it. */
  void unlock_tables()
  {
    for (const Lock &lock : m_locks)
      if (lock.data->type != TL_UNLOCK)
        thr_unlock(lock.data, 0);
  }

  /* POSITIONP: see blitz_txns_commit_early(); NULL: all is done when this returns. */
  enum blitz_rc commit_all(uint64_t *positionp, struct blitz_error *err)
  {
    m_txns.clear();
    for (auto &change : m_changes)
      if (change->table != NULL && !change->is_lost && blitz_txn_changed(change->txn))
        m_txns.push_back(change->txn);
    unsigned count = static_cast<unsigned>(m_txns.size());
    return positionp ? blitz_txns_commit_early(m_txns.data(), count, positionp, err)
                     : blitz_txns_commit(m_txns.data(), count, err);
  }

  /* Ends loads that the server began and did not end. */
  enum blitz_rc finish_loads(struct blitz_error *err)
  {
    enum blitz_rc rc = BLITZ_OK;
    for (auto &change : m_changes)
      if (change->table != NULL && !change->is_lost && rc == BLITZ_OK)
        rc = blitz_txn_finish_load(change->txn, change->table, NULL, NULL, err);
    return rc;
  }

  std::vector<std::unique_ptr<Blitz_change>> m_changes;
  std::vector<struct blitz_txn *> m_txns; /* of which some are committed together */
  unsigned m_active = 0;                  /* changes in use */
  std::vector<Lock> m_locks;                    /* of tables that are locked to be changed */
  std::vector<struct blitz_cursor *> m_readers; /* of tables that are locked to be read */
  bool m_reading = false;                       /* some of them have begun */
  ulonglong m_last_serial = 0;
};

Session *session_of(THD *thd, const handlerton *hton)
{
  return static_cast<Session *>(thd_get_ha_data(thd, hton));
}

/* The same, made if need be. */
Session *need_session(THD *thd, const handlerton *hton)
{
  Session *session = session_of(thd, hton);
  if (session == NULL)
  {
    session = new Session;
    thd_set_ha_data(thd, hton, session);
  }
  return session;
}

/* Does the statement only give its tables back when it has been committed? */
bool ends_with_commit(THD *thd)
{
  switch (thd_sql_command(thd))
  {
  case SQLCOM_INSERT:
  case SQLCOM_UPDATE:
  case SQLCOM_DELETE:
  case SQLCOM_REPLACE:
    return thd->locked_tables_mode == LTM_NONE && !thd->in_sub_stmt;
  default:
    return false;
  }
}

/* Of a transaction of several statements nothing is left when it ends. The server has
   no words for a commit that fails but a number, and keeps the error that comes first. */
int end_statement(handlerton *hton, THD *thd, bool commit)
{
  Session *session = session_of(thd, hton);
  struct blitz_error err = {};
  enum blitz_rc rc =
      session ? session->end_all(commit, commit && ends_with_commit(thd), &err) : BLITZ_OK;
  if (rc == BLITZ_OK)
    return 0;
  uint number = rc == BLITZ_DUPLICATE ? ER_DUP_KEY : blitz_user_error(rc);
  my_printf_error(number ? number : ER_ERROR_DURING_COMMIT, "BLITZDB: %s", MYF(0), err.text);
  return blitz_ha_error(rc, err.sys_errno);
}

int commit_statement(handlerton *hton, THD *thd, bool)
{
  return end_statement(hton, thd, true);
}

int rollback_statement(handlerton *hton, THD *thd, bool)
{
  return end_statement(hton, thd, false);
}

/* Of all that is done to savepoints. What was changed stays: when they are gone back to,
   the server says so, as of other engines without transactions. */
int ignore_savepoint(handlerton *, THD *, void *)
{
  return 0;
}

/* Nothing is in the way of a commit. That there is this function lets the binary log and
   other engines agree on theirs in two steps. */
int prepare_statement(handlerton *, THD *, bool)
{
  return 0;
}

/* The server counts by recover() who takes part in two steps, and then asks all of them to
   end what a crash has left prepared: of that there is nothing here. */
int recover_prepared(handlerton *, XID *, uint)
{
  return 0;
}

int end_prepared(handlerton *, XID *)
{
  constexpr int unknown_xid = -4; /* XAER_NOTA of the XA specification */
  return unknown_xid;
}

int close_connection(handlerton *hton, THD *thd)
{
  delete session_of(thd, hton);
  thd_set_ha_data(thd, hton, NULL);
  return 0;
}

} // namespace

void blitz_session_init(handlerton *hton)
{
  hton->commit = commit_statement;
  hton->rollback = rollback_statement;
  hton->close_connection = close_connection;
  /* Without a binary log the server would begin to keep a log for it. */
  if (opt_bin_log)
  {
    hton->prepare = prepare_statement;
    hton->recover = recover_prepared;
    hton->commit_by_xid = end_prepared;
    hton->rollback_by_xid = end_prepared;
  }
  hton->savepoint_set = ignore_savepoint;
  hton->savepoint_rollback = ignore_savepoint;
  hton->savepoint_release = ignore_savepoint;
}

/*
  In a transaction of several statements, too: a statement of which the transaction knows
  nothing would end it, and with it the savepoints that were set. A transaction by XA goes
  on without: what was changed here is not part of what it prepares.
*/
void blitz_session_register(THD *thd, handlerton *hton)
{
  trans_register_ha(thd, false, hton, 0);
  if (thd->in_multi_stmt_transaction_mode() && !thd->transaction->xid_state.is_explicit_XA())
    trans_register_ha(thd, true, hton, 0);
}

Blitz_change *blitz_session_change(THD *thd, handlerton *hton, struct blitz_table *table,
                                   unsigned lock_timeout)
{
  try
  {
    Session *session = need_session(thd, hton);
    Blitz_change *change = session->find(table);
    if (change == NULL)
    {
      change = session->begin(table);
      if (change == NULL)
        return NULL;
      blitz_txn_lock_timeout(change->txn, lock_timeout);
    }
    blitz_session_register(thd, hton);
    return change;
  }
  catch (const std::bad_alloc &)
  {
    return NULL;
  }
}

struct blitz_txn *blitz_session_txn(THD *thd, const handlerton *hton,
                                    const struct blitz_table *table)
{
  Session *session = session_of(thd, hton);
  Blitz_change *change = session ? session->find(table) : NULL;
  return change ? change->txn : NULL;
}

int blitz_session_to_read(THD *thd, const handlerton *hton, struct blitz_cursor *cursor)
{
  try
  {
    need_session(thd, hton)->add_reader(cursor);
    return 0;
  }
  catch (const std::bad_alloc &)
  {
    return HA_ERR_OUT_OF_MEM;
  }
}

int blitz_session_to_change(THD *thd, const handlerton *hton, THR_LOCK_DATA *lock,
                            std::atomic<uint> *changing)
{
  try
  {
    need_session(thd, hton)->add_lock(lock, changing);
    return 0;
  }
  catch (const std::bad_alloc &)
  {
    return HA_ERR_OUT_OF_MEM;
  }
}

void blitz_session_unlocked(THD *thd, const handlerton *hton)
{
  if (Session *session = session_of(thd, hton))
    session->forget_locks();
}

void blitz_session_begin_reading(THD *thd, const handlerton *hton)
{
  if (Session *session = session_of(thd, hton))
    session->begin_reading();
}

void blitz_session_forget(THD *thd, const handlerton *hton, const struct blitz_table *table)
{
  Session *session = thd ? session_of(thd, hton) : NULL;
  if (Blitz_change *change = session ? session->find(table) : NULL)
    session->end(change);
}
