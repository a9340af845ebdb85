/* SPDX-License-Identifier: GPL-2.0-only
 *
 * crashed.h: files that a process has left when it was killed, kept in memory and put back
 * for each input, and looks at what is opened from them.
 */
#ifndef BLITZ_FUZZ_CRASHED_H
#define BLITZ_FUZZ_CRASHED_H

#include "support/support.h"

struct kept
{
  const char *name; /* in test_dir() */
  char *data;
  size_t len;
};

enum blitz_rc start_engine(void);
void keep_file(struct kept *kept, const char *name);
void put_back(const struct kept *kept, size_t count); /* alone: the directory is emptied first */

/* What an input is made of: a byte, or 0 behind its end. */
struct input
{
  const uint8_t *data;
  size_t len;
};

static inline uint8_t next_byte(struct input *input)
{
  if (input->len == 0)
    return 0;
  input->len--;
  return *input->data++;
}

/* Writes inputs to begin with to the directory BLITZ_SEEDS, if that is set. */
void write_seed(const char *name, const uint8_t *data, size_t len);

/* Each row of a scan can be looked up, and it ends after as many as there are. False: it did not
 * get so far. *SUM is of the rows.
 */
bool look_at_all(struct blitz_table *table, uint64_t *sum);

#endif
