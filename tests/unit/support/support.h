/* SPDX-License-Identifier: GPL-2.0-only
 *
 * support.h: what the unit tests share. A directory of their own, slices,
 * checked return codes, replayable random numbers, rows whose value proves
 * which row and which version of it they are, and looks at a whole table.
 *
 * The assert_* of cmocka jump out of the test and are for its main thread. A
 * thread or a child process uses require(), which ends the program.
 */
#ifndef BLITZ_TEST_SUPPORT_H
#define BLITZ_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

#include "blitz.h"

/* ---- failures ---- */

extern _Thread_local struct blitz_error last_error; /* for the err arguments */
#define ERR (&last_error)

void check_rc(enum blitz_rc want, enum blitz_rc got, const char *what, const char *file, int line);
#define assert_rc(want, call) check_rc((want), (call), #call, __FILE__, __LINE__)
#define assert_ok(call) assert_rc(BLITZ_OK, call)

/* The failure of the last call says what happened, and in which file. */
void assert_error_names(const char *path);

_Noreturn void die(const char *what, const char *file, int line);
#define require(condition) ((condition) ? (void)0 : die(#condition, __FILE__, __LINE__))
#define require_ok(call) require((call) == BLITZ_OK)

/* Keeps the engine's messages to itself; log_text() gives them back. */
void catch_log(void);
const char *log_text(void);

/* ---- files ---- */

/* Group setup: a directory for the tables. If BLITZ_LOGGED is set the engine is started too; if it
 * is "small", with so little log and memory that there are checkpoints all the time.
 */
int make_dir(void **state);
int make_logged_dir(void **state); /* the engine is started in any case */
int remove_dir(void **state);      /* group teardown */
void use_dir(const char *dir);
const char *test_dir(void);
const char *path_of(const char *name); /* DIR/NAME, for the engine */
const char *file_of(const char *name); /* DIR/NAME.bzd */
uint64_t file_len(const char *file);   /* UINT64_MAX: there is none */
uint64_t file_sum(const char *file);   /* changes with every byte of it */
void copy_file(const char *from, const char *to);
char *read_whole(const char *file, size_t *lenp); /* free() it */
void write_whole(const char *file, const char *data, size_t len);
/* Lets a file's header say that it was opened in another run of the machine than this. */
void mark_other_boot(char *header);

/* ---- slices ---- */

struct blitz_slice text(const char *s);
struct blitz_slice bytes(const void *data, size_t len);
struct blitz_slice number_key(uint64_t n); /* 8 bytes; good for the next 15 calls */
bool slice_is(struct blitz_slice slice, const void *data, size_t len);

/* ---- random numbers ---- */

struct rnd
{
  uint64_t state;
};

uint64_t run_seed(void);             /* BLITZ_SEED, or a new one; printed once */
unsigned run_rounds(unsigned usual); /* BLITZ_ROUNDS, or USUAL */
uint64_t rnd_next(struct rnd *rnd);
uint32_t rnd_below(struct rnd *rnd, uint32_t n);

/* ---- rows that prove themselves ---- */

/* The value of version VERSION of row N: both numbers, then LEN - 16 bytes that
 * follow from them. LEN is at least 16.
 */
void row_fill(char *buf, size_t len, uint64_t n, uint64_t version);
/* Is SLICE a value that row_fill() made for row N? Then *VERSIONP is set. */
bool row_proves(struct blitz_slice slice, uint64_t n, uint64_t *versionp);

/* ---- tables ---- */

struct blitz_table *new_table(const char *name);        /* created and open */
struct blitz_table *new_row_id_table(const char *name); /* the same, with row ids */
struct blitz_table *open_table(const char *name);
enum blitz_rc open_with_indexes(const char *name, const struct blitz_indexes *indexes,
                                const struct blitz_indexer *indexer, struct blitz_table **tablep,
                                struct blitz_error *err);
struct blitz_txn *new_txn(void);
struct blitz_cursor *new_cursor(struct blitz_table *table, struct blitz_txn *txn);

/* Each is a transaction of its own, which commits. */
void put(struct blitz_table *table, const char *key, const char *value);
void remove_key(struct blitz_table *table, const char *key);
/* Rows FROM..TO-1 with number keys, of LEN bytes, version VERSION. */
void put_rows(struct blitz_table *table, uint64_t from, uint64_t to, size_t len, uint64_t version);
void remove_rows(struct blitz_table *table, uint64_t from, uint64_t to);

/* What a new cursor of TXN (NULL: nobody's) sees. */
enum blitz_rc look_up(struct blitz_table *table, struct blitz_txn *txn, const char *key,
                      char *value, size_t value_max);
void assert_row(struct blitz_table *table, struct blitz_txn *txn, const char *key,
                const char *value);
void assert_no_row(struct blitz_table *table, struct blitz_txn *txn, const char *key);
uint64_t row_count(struct blitz_table *table);
/* Scans and gets agree that exactly rows FROM..TO-1 of put_rows() are there. */
void assert_rows(struct blitz_table *table, uint64_t from, uint64_t to, uint64_t version);

/* The version of row N, of put_rows() or row_fill(), that CURSOR sees; 0: there is none. */
uint64_t row_version(struct blitz_cursor *cursor, uint64_t n);

/* ---- processes ---- */

/* Runs WORK in a process that ends without any leave. */
void in_killed_process(void (*work)(void));

/* Kills a child, which may have ended by itself, but not by a failure of its own. */
void kill_after(pid_t pid, unsigned microseconds);

#endif
