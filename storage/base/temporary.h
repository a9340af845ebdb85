/* SPDX-License-Identifier: GPL-2.0-only
 *
 * temporary.h: the directory for temporary files, which is /tmp until somebody names another.
 */
#ifndef BZ_TEMPORARY_H
#define BZ_TEMPORARY_H

#include "blitz.h"

enum blitz_rc bz_temporary_set_dir(const char *dir) BLITZ_MUST_CHECK;

/* The path of NAME in it. */
void bz_temporary_path(char *to, size_t len, const char *name);

/* Opens a file there for writing that has no name any more; NAME ends in XXXXXX. -1: errno
 * says why.
 */
int bz_temporary_open(const char *name);

#endif /* BZ_TEMPORARY_H */
