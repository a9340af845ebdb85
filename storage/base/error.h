/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef BZ_ERROR_H
#define BZ_ERROR_H

#include "blitz.h"

#include <errno.h>

/* Of a file that is no regular one: the system has no number for that. */
#define BZ_ENOTREG EBADFD

/* Fills *ERR, if ERR is not NULL, and returns RC. If SYS_ERRNO is not 0 its
 * description goes behind the text.
 */
enum blitz_rc bz_fail(struct blitz_error *err, enum blitz_rc rc, int sys_errno, const char *format,
                      ...) __attribute__((format(printf, 4, 5)));

/* BLITZ_FULL, BLITZ_NOMEM or BLITZ_IO, as the operating system's error says. */
enum blitz_rc bz_rc_of_errno(int sys_errno);

/* A message to whom blitz_set_log() named. */
void bz_log(enum blitz_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif /* BZ_ERROR_H */
