/* SPDX-License-Identifier: GPL-2.0-only
 *
 * errors.h: the engine's errors -> the server's numbers.
 */
#ifndef BLITZ_ERRORS_H
#define BLITZ_ERRORS_H

#include "server.h"

/* The handler error for RC, which is a failure. */
int blitz_ha_error(enum blitz_rc rc, int sys_errno);

/* The number under which a user sees RC; 0: leave the message to the server. */
uint blitz_user_error(enum blitz_rc rc);

/* Does RC belong into the server's log, too? */
bool blitz_error_is_serious(enum blitz_rc rc);

#endif /* BLITZ_ERRORS_H */
