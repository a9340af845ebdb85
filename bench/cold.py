# SPDX-License-Identifier: GPL-2.0-only
"""
Updates of random rows, of a column without a key, by one statement, of a table with
a primary and a secondary key. `clean`: after a restart, all of the table has been read.
`cold`: after a restart, nothing of it is in memory, and opening the table is part of it.
InnoDB has innodb_flush_log_at_trx_commit=2.

Rounds are interleaved. `seconds` are timed inside the server; `part` is what part of
its best peer's time BLITZDB needs, `settled` how long it then took until all was in
its place, `bytes a row` what was written to the device for each changed row until
then, by the server and by the file system; nothing else should write to it.
"""

import os
import sys
import time

from engines import bytes_written, fail, forget_files, server, sql, start, write_out
from phases import COLUMNS, KEYS, MADE_UP, timed
from report import medians, table

FULL = {"rows": 2_000_000, "updates": 60_000, "rounds": 3,
        "engines": ["BLITZDB", "InnoDB", "MyISAM"], "states": ["clean", "cold"]}
QUICK = {"rows": 200_000, "updates": 6_000, "rounds": 1}
AIM = 0.5


def prepare(settings):
    for engine in settings.engines:
        sql(f"CREATE TABLE {engine} ({COLUMNS}, {KEYS.format('')}) ENGINE={engine};"
            f" INSERT INTO {engine} SELECT {MADE_UP} FROM seq_1_to_{settings.rows}")
        write_out(engine, engine)


def restart(options, engine, state):
    server("stop")
    if state == "cold":
        forget_files()
    server("start", *options)
    if state == "clean":
        sql(f"SELECT SUM(a) FROM {engine};"
            f" SELECT COUNT(*) FROM {engine} FORCE INDEX (PRIMARY) WHERE id > 0;"
            f" SELECT COUNT(*) FROM {engine} FORCE INDEX (k) WHERE k >= 0")


def measure(settings, options, number, engine, state):
    # Other rows in each round.
    sql(f"CREATE OR REPLACE TABLE ids (id INT NOT NULL) ENGINE=MyISAM;"
        f" INSERT INTO ids SELECT seq FROM seq_1_to_{settings.rows}"
        f" ORDER BY RAND({number + 1}) LIMIT {settings.updates}")
    os.sync()
    restart(options, engine, state)
    sql("SELECT SUM(id) FROM ids")
    before = bytes_written()
    seconds = timed(f"UPDATE ids STRAIGHT_JOIN {engine} t ON t.id = ids.id SET t.c = t.c + 1")
    ended = time.monotonic()
    write_out(engine, engine)
    return {"seconds": seconds, "settled": time.monotonic() - ended,
            "bytes a row": (bytes_written() - before) / settings.updates}


def check(settings):
    """Each update of each round must be there."""
    changes = settings.updates * settings.rounds * len(settings.states)
    for engine in settings.engines:
        found = int(sql(f"SELECT SUM(c) FROM {engine}"))
        if found != changes:
            fail(f"{engine}: {found} rows were updated instead of {changes}")


def show(results):
    records = []
    for state, of_engines in results.items():
        figures = {engine: medians(rounds) for engine, rounds in of_engines.items()}
        best = min((of["seconds"] for engine, of in figures.items() if engine != "BLITZDB"),
                   default=None)
        for engine, of in figures.items():
            record = {"state": state, "engine": engine, **of}
            if engine == "BLITZDB" and best is not None:
                record.update(part=of["seconds"] / best, aim=AIM)
            records.append(record)
    table({"state": 0, "engine": 0, "seconds": 3, "settled": 1, "bytes a row": 0, "part": 2,
           "aim": 1}, records)
    return records


def run(settings):
    options = start(settings.engines, "--innodb-flush-log-at-trx-commit=2",
                    "--innodb-buffer-pool-dump-at-shutdown=OFF")
    prepare(settings)
    results = {state: {engine: [] for engine in settings.engines} for state in settings.states}
    for number in range(settings.rounds):
        for state, of_engines in results.items():
            for engine, rounds in of_engines.items():
                rounds.append(measure(settings, options, number, engine, state))
        print(f"round {number + 1} of {settings.rounds}", file=sys.stderr)
    check(settings)
    return {"options": options, "medians": show(results), "rounds": results}
