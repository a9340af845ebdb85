/* SPDX-License-Identifier: GPL-2.0-only
 *
 * strings.h: strings of a character set that are awkward to compare.
 */
#ifndef BLITZ_CODEC_STRINGS_H
#define BLITZ_CODEC_STRINGS_H

#include <string>
#include <vector>

#include "../../plugin/server.h"

/* Strings that are well-formed in the character set of CS, no two of them the same:
   RANDOM_COUNT mixtures, and those that a search with LIKE begins and ends with. */
std::vector<std::string> awkward_strings(CHARSET_INFO *cs, uint random_count);

#endif /* BLITZ_CODEC_STRINGS_H */
