/* SPDX-License-Identifier: GPL-2.0-only
 *
 * fingerprint.h: numbers that stand for definitions.
 *
 * What decides about some bytes is written down as text, and the text's hash is kept
 * with the bytes. Who would read them by another definition gets another number. The
 * text must say the same in every session and by every server that the bytes may meet.
 */
#ifndef BLITZ_FINGERPRINT_H
#define BLITZ_FINGERPRINT_H

#include <string>

#include "server.h"

/* Appends to a description. */
void blitz_describe(std::string *to, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

uint64_t blitz_fingerprint(const std::string &text);

/*
  The number of the layout of TABLE's rows: of all that decides how the bytes of a row
  and of its key are read. Two definitions with one number can read each other's rows.
  Names, defaults and comments, the length of a VARCHAR while its length takes as many
  bytes, and further values of an ENUM do not change it. 0: out of memory.
*/
uint64_t blitz_row_layout(const TABLE *table);

#endif /* BLITZ_FINGERPRINT_H */
