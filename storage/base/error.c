/* SPDX-License-Identifier: GPL-2.0-only
 *
 * error.c: names of codes, error texts and log messages.
 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void log_to_stderr(enum blitz_log_level level, const char *text)
{
  static const char *const names[] = {"note", "warning", "error"};

  fprintf(stderr, "blitz: %s: %s\n", names[level], text);
}

static blitz_log_fn *log_fn = log_to_stderr;

const char *blitz_rc_name(enum blitz_rc rc)
{
  switch (rc)
  {
  case BLITZ_OK: return "BLITZ_OK";
  case BLITZ_NOT_FOUND: return "BLITZ_NOT_FOUND";
  case BLITZ_END: return "BLITZ_END";
  case BLITZ_DUPLICATE: return "BLITZ_DUPLICATE";
  case BLITZ_CHANGED: return "BLITZ_CHANGED";
  case BLITZ_NOMEM: return "BLITZ_NOMEM";
  case BLITZ_IO: return "BLITZ_IO";
  case BLITZ_FULL: return "BLITZ_FULL";
  case BLITZ_BUSY: return "BLITZ_BUSY";
  case BLITZ_TOO_BIG: return "BLITZ_TOO_BIG";
  case BLITZ_CORRUPT: return "BLITZ_CORRUPT";
  case BLITZ_BAD_VERSION: return "BLITZ_BAD_VERSION";
  case BLITZ_NOT_BLITZ: return "BLITZ_NOT_BLITZ";
  case BLITZ_EXISTS: return "BLITZ_EXISTS";
  case BLITZ_INVALID: return "BLITZ_INVALID";
  case BLITZ_READONLY: return "BLITZ_READONLY";
  case BLITZ_STOPPED: return "BLITZ_STOPPED";
  case BLITZ_FOREIGN: return "BLITZ_FOREIGN";
  }
  return "BLITZ_?";
}

enum blitz_rc bz_rc_of_errno(int sys_errno)
{
  switch (sys_errno)
  {
  case ENOSPC:
  case EDQUOT:
  case EFBIG: return BLITZ_FULL;
  case ENOMEM: return BLITZ_NOMEM;
  case ENOENT: return BLITZ_NOT_FOUND;
  case EEXIST: return BLITZ_EXISTS;
  default: return BLITZ_IO;
  }
}

/* The system's words for its error, or better ones. */
static const char *describe(int sys_errno, char *buf, size_t len)
{
  switch (sys_errno)
  {
  case EMFILE:
    return "too many open files. Raise open_files_limit, or lower table_open_cache: a table takes "
           "up to four descriptors";
  case ENFILE:
    return "the system has too many open files. Raise fs.file-max, or lower table_open_cache";
  case ELOOP: return "it is a symbolic link, which is not followed";
  case BZ_ENOTREG: return "it is no regular file";
  case ENOSYS: return "/proc/self/fd, which this takes, is not there";
  default: return strerror_r(sys_errno, buf, len);
  }
}

enum blitz_rc bz_fail(struct blitz_error *err, enum blitz_rc rc, int sys_errno, const char *format,
                      ...)
{
  va_list args;
  size_t len;

  if (err == NULL)
    return rc;
  err->rc = rc;
  err->sys_errno = sys_errno;
  err->index_no = BLITZ_ROW_KEY;
  va_start(args, format);
  vsnprintf(err->text, sizeof err->text, format, args);
  va_end(args);
  if (sys_errno != 0)
  {
    char buf[128];
    len = strlen(err->text);
    snprintf(err->text + len, sizeof err->text - len, ": %s", describe(sys_errno, buf, sizeof buf));
  }
  return rc;
}

void blitz_set_log(blitz_log_fn *fn)
{
  log_fn = fn != NULL ? fn : log_to_stderr;
}

void bz_log(enum blitz_log_level level, const char *format, ...)
{
  char text[1024];
  va_list args;

  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  log_fn(level, text);
}
