/* SPDX-License-Identifier: GPL-2.0-only
 *
 * space.h: how the files of this room take and give space among themselves. All is for the
 * writer, but for bz_removed_read(), which is for look-ups.
 */
#ifndef BZ_SPACE_H
#define BZ_SPACE_H

#include "rows/rows.h"

/* ---- file.c ------------------------------------------------------------------ */

/* Makes the file at least LEN bytes long, allocated on the device and mapped. */
enum blitz_rc bz_file_reserve(struct blitz_table *table, uint64_t len,
                              struct blitz_error *err) BLITZ_MUST_CHECK;

/* Moves the end of the blocks, in memory and in the header. */
void bz_file_set_end(struct blitz_table *table, uint64_t end);

/* ---- space.c ----------------------------------------------------------------- */

/* A row that was in the block at OFF shall not be taken for one again, whatever is stored in
 * words 0 and 1: the end of a value, which may be anything, or a length.
 */
static inline void bz_space_stamp_out(struct blitz_table *table, uint64_t off, uint64_t len)
{
  if (len > BZ_ROW_SIZES_OFF)
    bz_put_byte(table, off + BZ_ROW_SIZES_OFF, 0);
}

/* As bz_space_alloc(), at the end of the file. */
enum blitz_rc bz_space_alloc_at_end(struct blitz_table *table, uint64_t len, uint64_t *offp,
                                    struct blitz_error *err) BLITZ_MUST_CHECK;

/* Blocks that nobody uses, from the end of the blocks to END. There is space for them. */
void bz_space_append_dropped(struct blitz_table *table, uint64_t end);

/* As bz_space_free(), and whoever reads beside the writer looks again. */
void bz_space_free_all(struct blitz_table *table, const uint64_t *offs, size_t count);

/* Makes the first LEN bytes of the free block at OFF no block any more. False: it is
 * damaged.
 */
bool bz_space_forget(struct blitz_table *table, uint64_t off, uint64_t len) BLITZ_MUST_CHECK;

/* Makes OFF to END, in which there is no row, free blocks. */
void bz_space_free_gap(struct blitz_table *table, uint64_t off, uint64_t end);

/* ---- removed.c --------------------------------------------------------------- */

/* Frees some, in the middle of a transaction that wants space. False: there are none. */
bool bz_removed_make_room(struct blitz_table *table);

/* Forgets all of them. */
void bz_removed_clear(struct blitz_table *table);

/* The version of the row KEY as of commit SEQ, copied into BUF, if it is here. */
enum blitz_rc bz_removed_read(struct blitz_table *table, uint64_t seq, const struct bz_key *key,
                              struct bz_buffer *buf, struct bz_row *row) BLITZ_MUST_CHECK;

/* ---- snapshot.c -------------------------------------------------------------- */

/* Does a scan want a block to begin at OFF? Needs snapshot_lock. */
bool bz_scan_watches(const struct blitz_table *table, uint64_t off);

#endif /* BZ_SPACE_H */
