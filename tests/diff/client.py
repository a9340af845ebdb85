# SPDX-License-Identifier: GPL-2.0-only
"""
A connection to the server through the client library, by ctypes: a statement takes
tens of microseconds, and bytes come as they are.
"""

import ctypes
from dataclasses import dataclass, field

_lib = ctypes.CDLL("libmariadb.so.3")
_void, _text, _ulong = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_ulong
for _name, _result, _arguments in (
    ("mysql_init", _void, [_void]),
    ("mysql_options", ctypes.c_int, [_void, ctypes.c_int, _void]),
    ("mysql_real_connect", _void,
     [_void, _text, _text, _text, _text, ctypes.c_uint, _text, _ulong]),
    ("mysql_real_query", ctypes.c_int, [_void, _text, _ulong]),
    ("mysql_store_result", _void, [_void]),
    ("mysql_num_fields", ctypes.c_uint, [_void]),
    ("mysql_fetch_row", ctypes.POINTER(_void), [_void]),
    ("mysql_fetch_lengths", ctypes.POINTER(_ulong), [_void]),
    ("mysql_free_result", None, [_void]),
    ("mysql_field_count", ctypes.c_uint, [_void]),
    ("mysql_affected_rows", ctypes.c_ulonglong, [_void]),
    ("mysql_warning_count", ctypes.c_uint, [_void]),
    ("mysql_info", _text, [_void]),
    ("mysql_errno", ctypes.c_uint, [_void]),
    ("mysql_error", _text, [_void]),
    ("mysql_close", None, [_void]),
):
    getattr(_lib, _name).restype = _result
    getattr(_lib, _name).argtypes = _arguments

OPT_READ_TIMEOUT = 11
SERVER_GONE = (2002, 2006, 2013, 2055)


@dataclass
class Outcome:
    """What a statement did. `rows` is None if it has no result set."""

    errno: int = 0
    error: str = ""
    rows: list = None
    affected: int = 0
    info: str = ""
    warnings: list = field(default_factory=list)


class ServerGone(Exception):
    """The server has died, or does not answer."""


class Client:
    def __init__(self, socket, timeout=60):
        self.handle = _lib.mysql_init(None)
        seconds = ctypes.c_uint(timeout)
        _lib.mysql_options(self.handle, OPT_READ_TIMEOUT, ctypes.byref(seconds))
        if not _lib.mysql_real_connect(self.handle, None, b"root", b"", None, 0,
                                       socket.encode(), 0):
            raise ServerGone(_lib.mysql_error(self.handle).decode("utf-8", "replace"))

    def close(self):
        if self.handle:
            _lib.mysql_close(self.handle)
        self.handle = None

    def _failure(self):
        errno = _lib.mysql_errno(self.handle)
        error = _lib.mysql_error(self.handle).decode("utf-8", "backslashreplace")
        if errno in SERVER_GONE:
            raise ServerGone(f"error {errno}: {error}")
        return Outcome(errno, error)

    def _rows(self, result):
        rows = []
        columns = range(_lib.mysql_num_fields(result))
        string_at = ctypes.string_at
        while True:
            row = _lib.mysql_fetch_row(result)
            if not row:
                return rows
            lengths = _lib.mysql_fetch_lengths(result)
            rows.append(tuple(None if row[i] is None else string_at(row[i], lengths[i])
                              for i in columns))

    def _send(self, statement):
        text = statement.encode("utf-8", "surrogateescape")
        return _lib.mysql_real_query(self.handle, text, len(text)) == 0

    def query(self, statement):
        """Runs one statement, and gives all that it did, warnings included."""
        if not self._send(statement):
            outcome = self._failure()
        else:
            outcome = Outcome()
            result = _lib.mysql_store_result(self.handle)
            if result:
                outcome.rows = self._rows(result)
                _lib.mysql_free_result(result)
            elif _lib.mysql_field_count(self.handle):
                outcome = self._failure()
            else:
                outcome.affected = _lib.mysql_affected_rows(self.handle)
                outcome.info = (_lib.mysql_info(self.handle) or b"").decode()
        if _lib.mysql_warning_count(self.handle) and self._send("SHOW WARNINGS"):
            result = _lib.mysql_store_result(self.handle)
            outcome.warnings = [tuple(v.decode("utf-8", "backslashreplace") for v in row)
                                for row in self._rows(result)]
            _lib.mysql_free_result(result)
        return outcome

    def must(self, statement):
        """Runs a statement that cannot fail, and gives its rows."""
        outcome = self.query(statement)
        if outcome.errno:
            raise RuntimeError(f"error {outcome.errno}: {outcome.error} in {statement[:300]}")
        return outcome.rows
