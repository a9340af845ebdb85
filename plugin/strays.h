/* SPDX-License-Identifier: GPL-2.0-only
 *
 * strays.h: files that a crash left and that nobody is going to ask for.
 */
#ifndef BLITZ_STRAYS_H
#define BLITZ_STRAYS_H

/* Removes them from the databases' directories in DATA_HOME, with a note in the log for each. */
void blitz_remove_strays(const char *data_home);

#endif /* BLITZ_STRAYS_H */
