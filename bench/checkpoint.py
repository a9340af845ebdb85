# SPDX-License-Identifier: GPL-2.0-only
"""
How long updates of single rows take, relaxed, by one connection, while checkpoints are
written one after the other, as the log has `--log` MiB, and while there is none, as log
and write buffer are large. Times are microseconds as the client sees them.
"""

import sys

from connections import load
from engines import fail, server, sql, start, status, write_out
from phases import COLUMNS, MADE_UP
from report import medians, table

FULL = {"rows": 500_000, "rounds": 3, "seconds": 20, "log": 8}
QUICK = {"rows": 100_000, "rounds": 1, "seconds": 10, "log": 4}

LARGE = ["--blitzdb-log-size=1G", "--blitzdb-write-buffer-size=2G"]
FIGURES = ("p50", "p99", "p99.9", "max")
# Microseconds that may be added to p99.9.
AIM = 5000


def measure(settings, options):
    server("stop")
    server("start", *options)
    # A checkpoint comes each minute too, counted from the last one on; so does this begin anew.
    write_out("BLITZDB", "t")
    before = status("Blitzdb_checkpoints")
    figures = load(1, settings.seconds, settings.rows,
                   ["UPDATE t SET c = c + 1, pad = MD5(%r) WHERE id = %r"])
    figures["checkpoints"] = status("Blitzdb_checkpoints") - before
    return figures


def check(small, large):
    if small["checkpoints"] == 0:
        fail("no checkpoint was written: more --seconds or a smaller --log would help")
    if large["checkpoints"] > 0:
        fail(f"{large['checkpoints']:.0f} checkpoints were written where none was meant to be")


def show(results):
    small, large = results["small log"], results["large log"]
    more = {figure: small[figure] - large[figure] for figure in FIGURES}
    table({"": 0, "checkpoints": 0, "a second": 0, **dict.fromkeys(FIGURES, 0)},
          [{"": "small log", **small}, {"": "large log", **large}, {"": "more", **more},
           {"": "aim, at most", "p99.9": AIM}])
    return more


def run(settings):
    options = start(["BLITZDB"])
    small = [f"--blitzdb-log-size={settings.log}M"]
    sql(f"CREATE TABLE t ({COLUMNS}, PRIMARY KEY (id)) ENGINE=BLITZDB;"
        f" INSERT INTO t SELECT {MADE_UP} FROM seq_1_to_{settings.rows}")
    rounds = {"small log": [], "large log": []}
    for number in range(settings.rounds):
        for name, of_log in (("small log", small), ("large log", LARGE)):
            rounds[name].append(measure(settings, options + of_log))
        check(rounds["small log"][-1], rounds["large log"][-1])
        print(f"round {number + 1} of {settings.rounds}", file=sys.stderr)
    results = {name: medians(figures) for name, figures in rounds.items()}
    return {"options": {"small log": options + small, "large log": options + LARGE},
            "medians": results, "more": show(results), "rounds": rounds}
