/* SPDX-License-Identifier: GPL-2.0-only
 *
 * crash_fs.h: what a file system may hold after the machine or the process died at any
 * moment. While it is recorded, a program works on real files in one directory; each call
 * that changes them is noted. Afterwards the calls are played again, one by one, without the
 * program, and between any two of them a directory can be made that looks as after a crash:
 *
 *  - after the death of the process it has all that was done, and of the call that was under
 *    way a part, unless that writes into one sector alone;
 *  - after the loss of power it has, of each file, what was synced, and of each sector that
 *    was written since any of the states that it has been in; of the names all changes up to
 *    the last sync of the directory, and some of those that came after it, in order.
 *
 * A program that uses this is linked with --wrap for the calls that are recorded: see
 * CMakeLists.txt. One thread may work while it is recorded.
 */
#ifndef BLITZ_TEST_CRASH_FS_H
#define BLITZ_TEST_CRASH_FS_H

#include "support.h"

struct crash_record;
struct crash_player;

/* Begins to record what is done to files in DIR, which exists and whose content is on the
 * device; ends it.
 */
void crash_begin(const char *dir);
struct crash_record *crash_end(void);
void crash_record_free(struct crash_record *record);

/* Notes between two calls that the program has been told something: NUMBER now holds for KIND. */
enum
{
  CRASH_KINDS = 8
};

void crash_note(unsigned kind, uint64_t number);

/* Faults of the program, as if it had left a call out; to see that a check finds them. */
enum crash_fault
{
  CRASH_NO_FAULT,
  CRASH_NO_FSYNC,    /* fsync() and fdatasync() of files do nothing */
  CRASH_NO_DSYNC,    /* nor does RWF_DSYNC */
  CRASH_NO_DIR_SYNC, /* nor does fsync() of the directory */
  CRASH_FAULTS
};

/* A player stands before the first call. step() does the next one; false: there is none. */
struct crash_player *crash_play(const struct crash_record *record, enum crash_fault fault);
bool crash_step(struct crash_player *player);
void crash_player_free(struct crash_player *player);

/* What has been noted last for KIND before where the player stands; 0 at first. */
uint64_t crash_noted(const struct crash_player *player, unsigned kind);

/* Makes DIR, which is emptied first, what a crash would leave now: the death of the process, if
 * KILLED, or else loss of power. The same SEED makes the same again.
 */
void crash_image(const struct crash_player *player, bool killed, uint64_t seed, const char *dir);

/* As crash_begin(), for a DIR that crash_image() has just made. After the death of the process
 * no more of it is on the device than PLAYER knows to be.
 */
void crash_begin_image(const struct crash_player *player, bool killed, const char *dir);

void crash_empty_dir(const char *dir);

/* What the program gets for random follows from SEED, so that a run can be repeated. */
void crash_seed(uint64_t seed);

#endif
