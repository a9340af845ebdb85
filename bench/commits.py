# SPDX-License-Identifier: GPL-2.0-only
"""
Statements of one row each, by many connections at once: UPDATE of a column without
a key, by the primary key, of a random row, and INSERT with an ascending key. Durable,
each returns when it is on the device (CRASH_SAFE=YES; innodb_flush_log_at_trx_commit=1).
Relaxed, it is there within a second (CRASH_SAFE=NO; 2; MyISAM promises nothing). There
is no binary log.

Rounds are interleaved. Times are microseconds as the clients see them. `part` is what
part of its best peer's time BLITZDB needs for as many statements, `bytes a row` what was
written to the device for each changed row until all was in its place, by the server
and by the file system; nothing else should write to it.
"""

import sys

from connections import load
from engines import bytes_written, sql, start, write_out
from report import medians, table

FULL = {"rows": 200_000, "rounds": 3, "seconds": 4, "kinds": ["durable", "relaxed"],
        "statements": ["INSERT", "UPDATE"], "connections": [1, 8, 32]}
QUICK = {"rows": 20_000, "rounds": 1, "seconds": 2, "connections": [1, 8]}

ENGINES = {"durable": ["BLITZDB", "InnoDB"], "relaxed": ["BLITZDB", "InnoDB", "MyISAM"]}
TABLE_OPTION = {("durable", "BLITZDB"): "CRASH_SAFE=YES", ("relaxed", "BLITZDB"): "CRASH_SAFE=NO"}
FLUSH = {"durable": 1, "relaxed": 2}
STATEMENTS = {"INSERT": "INSERT INTO {} VALUES (%n, %r, 0, REPEAT('x', 100))",
              "UPDATE": "UPDATE {} SET c = c + 1 WHERE id = %r"}
# What of InnoDB's time is aimed at, durable.
AIMS = {1: 1.0, 8: 0.7, 32: 0.6}


def table_of(kind, engine):
    return f"{engine}_{kind}".lower()


def prepare(settings):
    for kind in settings.kinds:
        for engine in ENGINES[kind]:
            name = table_of(kind, engine)
            sql(f"CREATE TABLE {name} (id INT NOT NULL PRIMARY KEY, a INT NOT NULL,"
                f" c INT NOT NULL, pad VARCHAR(100) NOT NULL) ENGINE={engine}"
                f" {TABLE_OPTION.get((kind, engine), '')};"
                f" INSERT INTO {name} SELECT seq, seq, 0, REPEAT('x', 100)"
                f" FROM seq_1_to_{settings.rows}")
            write_out(engine, name)


def measure(settings, kind, statement, connections, engine):
    name = table_of(kind, engine)
    sql(f"SET GLOBAL innodb_flush_log_at_trx_commit = {FLUSH[kind]}")
    first = int(sql(f"SELECT MAX(id) + 1 FROM {name}"))
    before = bytes_written()
    figures = load(connections, settings.seconds, settings.rows,
                   [STATEMENTS[statement].format(name)], first)
    write_out(engine, name)
    figures["bytes a row"] = (bytes_written() - before) / figures["ended"]
    return figures


def show(results):
    records = []
    for (kind, statement, connections), of_engines in results.items():
        figures = {engine: medians(rounds) for engine, rounds in of_engines.items()}
        best = max(figures[engine]["a second"] for engine in figures if engine != "BLITZDB")
        for engine, of in figures.items():
            record = {"statement": f"{kind} {statement}", "connections": connections,
                      "engine": engine, **of}
            if engine == "BLITZDB":
                record["part"] = best / of["a second"]
                if kind == "durable" and connections in AIMS:
                    record["aim"] = AIMS[connections]
            records.append(record)
    table({"statement": 0, "connections": 0, "engine": 0, "a second": 0, "p50": 0, "p99": 0,
           "p99.9": 0, "bytes a row": 0, "part": 2, "aim": 1}, records)
    return records


def run(settings):
    options = start(["BLITZDB", "InnoDB", "MyISAM"])
    prepare(settings)
    results = {(kind, statement, connections): {engine: [] for engine in ENGINES[kind]}
               for kind in settings.kinds for statement in settings.statements
               for connections in settings.connections}
    for number in range(settings.rounds):
        for what, of_engines in results.items():
            for engine, rounds in of_engines.items():
                rounds.append(measure(settings, *what, engine))
        print(f"round {number + 1} of {settings.rounds}", file=sys.stderr)
    return {"options": options, "medians": show(results),
            "rounds": {" ".join(map(str, what)): rounds for what, rounds in results.items()}}
