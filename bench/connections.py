# SPDX-License-Identifier: GPL-2.0-only
"""Statements by many connections at once: builds load.c, and runs it."""

import subprocess

import engines
from engines import OUT, ROOT, fail

FIGURES = ("ended", "count", "seconds", "p50", "p99", "p99.9", "max")
SOURCE = ROOT / "bench/load.c"
PROGRAM = OUT / "load"


def build():
    if PROGRAM.exists() and PROGRAM.stat().st_mtime > SOURCE.stat().st_mtime:
        return
    OUT.mkdir(parents=True, exist_ok=True)
    flags = subprocess.run(["mariadb_config", "--cflags", "--libs"], capture_output=True,
                           text=True, timeout=60, check=True).stdout.split()
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-pthread", "-o", PROGRAM, SOURCE, *flags],
                   timeout=300, check=True)


def command(connections, seconds, rows, statements, first=1):
    build()
    return [str(part) for part in
            (PROGRAM, engines.socket, connections, seconds, rows, first, *statements)]


def load(connections, seconds, rows, statements, first=1):
    """What load.c prints, as {name: figure}; times in microseconds, and `a second`, how many."""
    done = subprocess.run(command(connections, seconds, rows, statements, first),
                          capture_output=True, text=True, timeout=seconds + 300)
    if done.returncode != 0:
        fail(f"{statements}: {done.stderr.strip() or done.returncode}")
    figures = dict(zip(FIGURES, map(float, done.stdout.split())))
    return {**figures, "a second": figures["count"] / figures["seconds"]}
