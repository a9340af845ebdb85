/* SPDX-License-Identifier: GPL-2.0-only
 *
 * moment.c: several tables as they were at one moment.
 */
#include "read/cursor.h"

#include <sched.h>

static void let_go(struct blitz_cursor *const *cursors, unsigned count)
{
  for (unsigned i = 0; i < count; i++)
    blitz_cursor_reset(cursors[i]);
}

/* Takes views of now. *SAMEP: they are of one moment, MOMENT. */
static enum blitz_rc take_views(struct blitz_cursor *const *cursors, unsigned count,
                                const struct blitz_moment *moment, bool *samep,
                                struct blitz_error *err)
{
  enum blitz_rc rc = BLITZ_OK;

  *samep = true;
  for (unsigned i = 0; i < count && rc == BLITZ_OK; i++)
  {
    blitz_cursor_reset(cursors[i]);
    cursors[i]->keeps_moment = true;
    rc = bz_view_take(cursors[i], cursors[i]->table->index != NULL, err);
  }
  for (unsigned i = 0; i < count && rc == BLITZ_OK; i++)
    *samep &= bz_moment_is_now(moment, cursors[i]->table);
  if (rc != BLITZ_OK || !*samep)
    let_go(cursors, count);
  return rc;
}

enum blitz_rc blitz_moment_take(struct blitz_cursor *const *cursors, unsigned count,
                                struct blitz_moment **momentp, struct blitz_error *err)
{
  bool same = false;
  enum blitz_rc rc = BLITZ_OK;

  *momentp = NULL;
  /* A commit of one of the tables may come between. It is microseconds. */
  while (rc == BLITZ_OK && !same)
  {
    if (*momentp != NULL)
      sched_yield();
    blitz_moment_end(*momentp);
    *momentp = bz_moment_new();
    rc = *momentp != NULL ? take_views(cursors, count, *momentp, &same, err)
                          : bz_fail(err, BLITZ_NOMEM, 0, "out of memory reading several tables");
  }
  if (rc == BLITZ_OK)
    return BLITZ_OK;
  blitz_moment_end(*momentp);
  *momentp = NULL;
  return rc;
}

void blitz_cursor_set_moment(struct blitz_cursor *cursor, const struct blitz_moment *moment)
{
  blitz_cursor_reset(cursor);
  cursor->keeps_moment = true;
  cursor->moment = moment;
}
