/* SPDX-License-Identifier: GPL-2.0-only
 *
 * sync_dir.h: bringing names to the device: those of files that were made, renamed or removed.
 */
#ifndef BZ_SYNC_DIR_H
#define BZ_SYNC_DIR_H

#include <stdbool.h>

/* False: errno says why. */
bool bz_sync_dir(const char *dir);

/* The same for the directory in which the file NAME is. */
bool bz_sync_dir_of(const char *name);

#endif /* BZ_SYNC_DIR_H */
