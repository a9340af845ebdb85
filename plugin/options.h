/* SPDX-License-Identifier: GPL-2.0-only
 *
 * options.h: what CREATE TABLE can say to the engine alone.
 */
#ifndef BLITZ_OPTIONS_H
#define BLITZ_OPTIONS_H

#include "server.h"

/* What PRIMARY KEY without a USING clause means. The order is that of the variable's
   and the option's values. */
enum blitz_primary_key
{
  PRIMARY_KEY_HASH,  /* found by all of it, in one look-up */
  PRIMARY_KEY_BTREE, /* found by an ordered index, too */
};

/* The option that says so for one table; users see USING HASH instead. */
#define BLITZ_DEFAULT_PRIMARY_KEY "DEFAULT_PRIMARY_KEY"

/* Commits wait until they are on the device. */
#define BLITZ_CRASH_SAFE "CRASH_SAFE"

/* As given: numbers beyond a limit the server would cut, and take what is none for 0. */
#define BLITZ_EXPECTED_ROWS "EXPECTED_ROWS"

/* The server asks for this name. */
struct ha_table_option_struct
{
  const char *expected_rows; /* NULL: not given */
  uint default_primary_key; /* enum blitz_primary_key */
  bool crash_safe;
};

#endif /* BLITZ_OPTIONS_H */
