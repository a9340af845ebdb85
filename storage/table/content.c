/* SPDX-License-Identifier: GPL-2.0-only
 *
 * content.c: opening the data file of a table: whether it is what it is taken for, and what it
 * takes to make it whole.
 */
#include "log/current.h"
#include "table/table.h"

#include <inttypes.h>

enum blitz_rc bz_table_check_layout(const struct blitz_table *table, const struct bz_header *header,
                                    const struct blitz_open_options *options,
                                    struct blitz_error *err)
{
  uint64_t layout = options->layout;

  if (header->version < BZ_VERSION && (options->flags & BLITZ_OPEN_NO_CONVERT))
    return bz_fail(err, BLITZ_FOREIGN, 0,
                   "%s has format version %u, in which keys of this kind were written in another "
                   "way. Dump the table with the version that wrote it, and load it into this one",
                   table->file, header->version);
  if (layout == 0 || header->layout == 0 || layout == header->layout)
    return BLITZ_OK;
  return bz_fail(err, BLITZ_FOREIGN, 0,
                 "%s belongs to another table definition: its rows have the layout %016" PRIx64
                 ", those of this definition %016" PRIx64
                 ". Put the file that belongs to the definition in its place",
                 table->file, header->layout, layout);
}

/* Has the file all commits, though it was not closed? If not, the start has not found it by what
 * the log said: it is of another log, or was put there since.
 */
static enum blitz_rc check_log(const struct blitz_table *table, const struct bz_header *header,
                               struct blitz_error *err)
{
  if (table->logged && header->log_position == BZ_COMPLETE)
    return BLITZ_OK;
  return bz_fail(
      err, BLITZ_CORRUPT, 0,
      "%s was open when the server stopped, and its last changes are in a log "
      "(%016" PRIx64 ", from %" PRIu64 " on) that is not here. Restore it with the "
      "blitz_log files that belong to it, or repair it, which keeps all changes but these",
      table->file, header->log_id, header->log_position);
}

/* Makes a file whole that was opened, or finds that it is. *TRUST: how far its indexes may
 * be believed after that.
 */
static enum blitz_rc open_content(struct blitz_table *table, const struct bz_header *header,
                                  const struct blitz_open_options *options,
                                  struct bz_index_trust *trust, struct blitz_error *err)
{
  bool repair = (options->flags & BLITZ_OPEN_REPAIR) != 0;
  enum blitz_rc rc;

  trust->committed = header->committed;
  trust->check_bytes = !header->open;
  trust->never = trust->may_be_later = trust->was_killed = false;
  if (header->version == BZ_VERSION_LOGGED && !repair)
  {
    trust->may_be_later = true;
    trust->was_killed = bz_file_is_of_this_boot(table, header);
    rc = check_log(table, header, err);
    return rc == BLITZ_OK ? bz_image_open(table, header, err) : rc;
  }
  if (header->open || repair)
  {
    rc = bz_recover(table, header, options, err);
    atomic_store(&table->damaged,
                 (bz_word_load(bz_base(table), BZ_STATE_OFF) & htole64(BZ_FILE_DAMAGED)) != 0);
    /* What the machine wrote of the index file before it died, nobody knows. */
    trust->never = table->rows_lost > 0 || repair || !bz_file_is_of_this_boot(table, header);
    return rc;
  }
  if (bz_load_le32(bz_base(table) + BZ_CLOSED_CRC_OFF) != bz_file_closed_crc(table))
    return bz_fail(err, BLITZ_CORRUPT, 0,
                   "the header or the bucket array of %s is damaged. Restore it from a backup, "
                   "or repair it, which keeps all rows that are intact",
                   table->file);
  return options->flags & BLITZ_OPEN_READONLY ? BLITZ_OK : bz_space_load(table, err);
}

/* What changes a file as a whole does so in the file itself, and closes it: a scan after a crash of
 * who had no log, a repair, a conversion.
 */
static bool is_to_remake(const struct bz_header *header, const struct blitz_open_options *options)
{
  return (options->flags & BLITZ_OPEN_REPAIR) || header->version < BZ_VERSION ||
         (header->open && header->version != BZ_VERSION_LOGGED);
}

static enum blitz_rc remake(struct blitz_table *table, struct bz_header *header,
                            const struct blitz_open_options *options, struct bz_index_trust *trust,
                            struct blitz_error *err)
{
  bool logged = table->logged;
  enum blitz_rc rc = bz_checkpoints_settle(err);

  if (rc != BLITZ_OK)
    return rc;
  bz_file_close(table);
  table->logged = false;
  rc = bz_file_open(table, header, err);
  if (rc == BLITZ_OK)
    rc = open_content(table, header, options, trust, err);
  if (rc == BLITZ_OK && header->version < BZ_VERSION)
  {
    rc = bz_convert(table, options->layout, err);
    if (rc == BLITZ_OK)
      rc = bz_file_open(table, header, err);
    if (rc == BLITZ_OK)
      rc = open_content(table, header, &(struct blitz_open_options){0}, trust, err);
  }
  if (rc != BLITZ_OK || !logged)
    return rc;
  if (!bz_table_finish(table, NULL))
    return bz_fail(err, BLITZ_IO, 0, "%s cannot be closed: see the error log", table->file);
  table->dirty = false;
  bz_space_clear(table);
  bz_file_close(table);
  table->logged = true;
  rc = bz_file_open(table, header, err);
  return rc == BLITZ_OK ? bz_space_load(table, err) : rc;
}

enum blitz_rc bz_table_open_rows(struct blitz_table *table,
                                 const struct blitz_open_options *options,
                                 struct bz_index_trust *trust, struct blitz_error *err)
{
  struct bz_header header;
  enum blitz_rc rc;

  table->logged =
      bz_current_log() != NULL && !(options->flags & (BLITZ_OPEN_READONLY | BLITZ_OPEN_TEMPORARY));
  table->crash_safe = (options->flags & BLITZ_OPEN_CRASH_SAFE) != 0;
  rc = bz_file_open(table, &header, err);
  if (rc == BLITZ_OK)
    rc = bz_table_check_layout(table, &header, options, err);
  if (rc != BLITZ_OK)
    return rc;
  return is_to_remake(&header, options) ? remake(table, &header, options, trust, err)
                                        : open_content(table, &header, options, trust, err);
}
