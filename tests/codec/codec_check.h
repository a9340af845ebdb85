/* SPDX-License-Identifier: GPL-2.0-only
 *
 * codec_check.h: what the checks of the key codec find.
 */
#ifndef BLITZ_CODEC_CHECK_H
#define BLITZ_CODEC_CHECK_H

#include <string>

#include "../../plugin/key_codec.h"

struct Check_result
{
  ulonglong strings = 0; /* strings, or rows */
  ulonglong pairs = 0;   /* how many comparisons were made */
  ulonglong failures = 0;
  std::string example; /* the first failure */
};

/* Checks Key_string for one collation, with so many random strings beside the others. */
void check_collation(CHARSET_INFO *cs, uint random_count, Check_result *result);

/* Checks Key_codec for an index of TABLE, by the order in which the table's own engine
   walks through it; true: that engine failed, and an error was sent. */
bool check_key(TABLE *table, uint key_no, Key_codec::Use use, Check_result *result);

#endif /* BLITZ_CODEC_CHECK_H */
