# SPDX-License-Identifier: GPL-2.0-only
"""
How long a server takes from its start to its first answers after it was killed: a row
by primary key, then one by the secondary key, of a table of which four connections were
updating 100,000 rows, one at a time, in turn a column with a key and one without. More
rows would fill the write buffer first, and a checkpoint would end that. It is killed when
the log has grown by `--log` MiB since the last checkpoint, or in 50 seconds if that is
less; a checkpoint is written at 128, and each minute. The files are in the system's
cache, as they are when a process dies. `stopped` is the same server after it was shut
down.

`ready` is when the server answers at all, which includes reading the log. The lines of
the error log of the last start after a kill follow.
"""

import random
import subprocess
import sys
import time

import connections
from engines import OUT, fail, server, sql, start, status
from phases import COLUMNS, KEYS, MADE_UP
from report import medians, table

FULL = {"rows": [1_000_000, 5_000_000], "rounds": 3, "log": 100}
QUICK = {"rows": [100_000], "rounds": 1, "log": 10}

UPDATES = ["UPDATE t SET c = c + 1 WHERE id = %r", "UPDATE t SET k = %r WHERE id = %r"]
UPDATED = 100_000
# Since a checkpoint, for the log to grow.
GROW_SECONDS = 50
# Seconds after a kill, "by key".
AIM = 2.0
ERROR_LOG = OUT / "server/error.log"


def prepare(rows):
    sql(f"CREATE OR REPLACE TABLE t ({COLUMNS}, {KEYS.format('')}) ENGINE=BLITZDB;"
        f" INSERT INTO t SELECT {MADE_UP} FROM seq_1_to_{rows}")


def start_timed(options, rows):
    """Seconds from the start to the answers, and the lines of the error log."""
    known = ERROR_LOG.stat().st_size
    row = random.randint(1, rows)
    begin = time.monotonic()
    server("start", *options)
    figures = {"ready": time.monotonic() - begin}
    if not sql(f"SELECT id FROM t WHERE id = {row}"):
        fail(f"row {row} is not there")
    figures["by key"] = time.monotonic() - begin
    if not sql("SELECT k FROM t FORCE INDEX (k) WHERE k >= 0 ORDER BY k LIMIT 1"):
        fail("nothing is found by the index")
    figures["by index"] = time.monotonic() - begin
    with ERROR_LOG.open(encoding="utf-8", errors="replace") as log:
        log.seek(known)
        return figures, [line.strip() for line in log if "BLITZ" in line.upper()]


def kill_while_updating(settings):
    checkpoints = -1
    work = subprocess.Popen(connections.command(4, 5 * GROW_SECONDS, UPDATED, UPDATES),
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while True:
            written, count = status("Blitzdb_log_bytes_written"), status("Blitzdb_checkpoints")
            if count != checkpoints:
                begin, before, checkpoints = time.monotonic(), written, count
            if written - before > settings.log << 20 or time.monotonic() - begin > GROW_SECONDS:
                break
            if work.poll() is not None:
                fail("the updates ended before the log was long enough: "
                     + work.stderr.read().decode().strip())
            time.sleep(0.2)
        server("kill")
    finally:
        work.kill()
        work.communicate()
    return (written - before) / 2 ** 20


def check(rows):
    found = sql("SELECT COUNT(*) FROM t; SELECT SUM(id) FROM t; CHECK TABLE t").split("\n")
    if found[:2] != [str(rows), str(rows * (rows + 1) // 2)] or not found[-1].endswith("OK"):
        fail(f"after the kill there is: {found}")


def measure(settings, options, rows):
    """Leaves the server running."""
    server("stop")
    stopped, _ = start_timed(options, rows)
    log = kill_while_updating(settings)
    killed, lines = start_timed(options, rows)
    check(rows)
    return {"stopped": stopped, "killed": {"log MiB": log, **killed}}, lines


def run(settings):
    options = start(["BLITZDB"], "--skip-innodb", "--default-storage-engine=MyISAM")
    results, lines_of = {}, {}
    for rows in settings.rows:
        prepare(rows)
        results[rows] = []
        for number in range(settings.rounds):
            figures, lines_of[rows] = measure(settings, options, rows)
            results[rows].append(figures)
            print(f"{rows} rows, round {number + 1} of {settings.rounds}", file=sys.stderr)
    found = {rows: {state: medians([figures[state] for figures in rounds])
                    for state in ("stopped", "killed")} for rows, rounds in results.items()}
    table({"rows": 0, "": 0, "log MiB": 0, "ready": 2, "by key": 2, "by index": 2, "aim": 1},
          [{"rows": rows, "": state, **of[state], **({"aim": AIM} if state == "killed" else {})}
           for rows, of in found.items() for state in ("stopped", "killed")])
    for rows, lines in lines_of.items():
        print(f"\n{rows} rows:", *lines, sep="\n")
    return {"options": options, "medians": found, "rounds": results, "lines": lines_of}
