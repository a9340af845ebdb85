/* SPDX-License-Identifier: GPL-2.0-only
 *
 * private_dir.h: a directory of our own, for a moment.
 */
#ifndef BZ_PRIVATE_DIR_H
#define BZ_PRIVATE_DIR_H

/* Makes a directory that nobody else may write to, in memory if there is such a place. Its
 * descriptor; -1: errno says why. NAME is for bz_private_dir_remove().
 */
#define BZ_PRIVATE_DIR_MAX 4096
int bz_private_dir_make(char name[BZ_PRIVATE_DIR_MAX]);

/* Removes it with the entries that it may have. */
void bz_private_dir_remove(int fd, const char *name);

/* The entries that it may have. */
#define BZ_PRIVATE_FILE "x"
#define BZ_PRIVATE_LOCK "x-lock"

#endif /* BZ_PRIVATE_DIR_H */
