/* SPDX-License-Identifier: GPL-2.0-only
 *
 * errors.cc: the one table from the engine's codes to the server's.
 *
 * The server knows two numbers for a failure: the handler error that functions
 * return (HA_ERR_*), by which it decides what to do, and the one the user sees
 * (ER_*). The text to go with the latter comes with the failure itself.
 */
#include "errors.h"

static const struct
{
  enum blitz_rc rc;
  int ha_error;
  uint user_error;
  bool serious;
} error_map[] = {
    {BLITZ_NOT_FOUND, HA_ERR_KEY_NOT_FOUND, 0, false},
    {BLITZ_END, HA_ERR_END_OF_FILE, 0, false},
    {BLITZ_DUPLICATE, HA_ERR_FOUND_DUPP_KEY, 0, false},
    {BLITZ_CHANGED, HA_ERR_RECORD_CHANGED, 0, false},
    {BLITZ_NOMEM, HA_ERR_OUT_OF_MEM, ER_OUT_OF_RESOURCES, true},
    {BLITZ_IO, HA_ERR_INTERNAL_ERROR, ER_GET_ERRNO, true},
    {BLITZ_FULL, HA_ERR_RECORD_FILE_FULL, ER_RECORD_FILE_FULL, true},
    {BLITZ_BUSY, HA_ERR_LOCK_WAIT_TIMEOUT, ER_LOCK_WAIT_TIMEOUT, false},
    {BLITZ_TOO_BIG, HA_ERR_TO_BIG_ROW, ER_TOO_BIG_ROWSIZE, false},
    {BLITZ_CORRUPT, HA_ERR_CRASHED, ER_CRASHED_ON_USAGE, true},
    {BLITZ_BAD_VERSION, HA_ERR_INCOMPATIBLE_DEFINITION, ER_NOT_FORM_FILE, true},
    {BLITZ_NOT_BLITZ, HA_ERR_NOT_A_TABLE, ER_NOT_FORM_FILE, true},
    {BLITZ_EXISTS, HA_ERR_TABLE_EXIST, ER_TABLE_EXISTS_ERROR, false},
    {BLITZ_INVALID, HA_ERR_INTERNAL_ERROR, ER_GET_ERRNO, true},
    {BLITZ_READONLY, HA_ERR_TABLE_READONLY, ER_OPEN_AS_READONLY, false},
    {BLITZ_STOPPED, HA_ERR_ABORTED_BY_USER, 0, false},
    {BLITZ_FOREIGN, HA_ERR_INCOMPATIBLE_DEFINITION, ER_NOT_FORM_FILE, true},
};

int blitz_ha_error(enum blitz_rc rc, int sys_errno)
{
  /* With these two the server tries again, read-only. */
  if ((rc == BLITZ_IO || rc == BLITZ_READONLY) && (sys_errno == EACCES || sys_errno == EROFS))
    return sys_errno;
  for (auto &entry : error_map)
    if (entry.rc == rc)
      return entry.ha_error;
  return HA_ERR_INTERNAL_ERROR;
}

uint blitz_user_error(enum blitz_rc rc)
{
  for (auto &entry : error_map)
    if (entry.rc == rc)
      return entry.user_error;
  return ER_GET_ERRNO;
}

bool blitz_error_is_serious(enum blitz_rc rc)
{
  for (auto &entry : error_map)
    if (entry.rc == rc)
      return entry.serious;
  return true;
}
