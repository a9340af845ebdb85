# SPDX-License-Identifier: GPL-2.0-only
"""
BLITZDB beside the server's own engines and MyRocks: one private server, in it the
same table with a primary and a secondary key, and the same statements for each
engine. BLITZDB takes part twice: with the primary key that one gets, and with one
USING HASH, which has no ordered index (BLITZ/HASH). Rounds are interleaved, in each
one every engine has its turn, so that what disturbs the machine disturbs all. The
figures are medians over the rounds, timed inside the server.

Every engine's cache is as large as the data, and none syncs at each statement
but Aria, which cannot be told not to: this compares the engines' work, not the
disk. What an engine does in the background is waited for between the turns.
MEMORY keeps nothing over a restart; it is shown, but it is not a peer that
ratios are taken of, and as its keys are hashes, it has no ranges.

The last columns are what part BLITZDB needs of the time of its best peer, the same for
BLITZ/HASH, and what part is aimed at.
"""

import statistics
import sys

from engines import ENGINES, NO_PEERS, OURS, sql, start
from phases import PHASES, Turn, prepare

FULL = {"rows": 1_000_000, "rounds": 3, "engines": ENGINES, "phases": list(PHASES)}
QUICK = {"rows": 50_000, "rounds": 1}


def medians(results, phases):
    return {phase: {engine: statistics.median(turn[phase] for turn in turns)
                    for engine, turns in results.items() if turns[0].get(phase) is not None}
            for phase in phases}


def ratios(figures):
    """What part each of ours needs of the best peer's time (or bytes)."""
    peers = [value for engine, value in figures.items() if engine not in NO_PEERS]
    return {ours: figures[ours] / min(peers) for ours in OURS if peers and ours in figures}


def show(engines, figures, rows, rounds):
    print(f"{rows} rows, medians of {rounds} rounds, seconds; the last columns are what part of its"
          " best\npeer's time BLITZDB needs, with either kind of primary key, MEMORY not being a"
          " peer,\nand what part is aimed at\n")
    print(f"{'':44}" + "".join(f"{engine:>11}" for engine in engines)
          + f"{'part':>8}{'hash':>6}{'aim':>6}")
    for phase, of_engines in figures.items():
        text, aim = PHASES[phase]
        line = f"{text:44}"
        for engine in engines:
            value = of_engines.get(engine)
            digits = 1 if phase == "bytes" else 3
            line += f"{'-':>11}" if value is None else f"{value:>11.{digits}f}"
        parts = ratios(of_engines)
        for ours, width in zip(OURS, (8, 6)):
            line += f"{parts[ours]:>{width}.2f}" if ours in parts else " " * width
        print(line + (f"{aim:>6}" if aim else ""))


def run(settings):
    engines, rows, rounds = settings.engines, settings.rows, settings.rounds
    options = start(engines)
    answers = prepare(rows)
    results = {engine: [] for engine in engines}
    for number in range(rounds):
        # Each round begins with another engine.
        first = number % len(engines)
        for engine in engines[first:] + engines[:first]:
            results[engine].append(Turn(engine, rows, settings.phases, answers).run())
            print(f"round {number + 1} of {rounds}: {engine}", file=sys.stderr)
    figures = medians(results, settings.phases)
    show(engines, figures, rows, rounds)
    return {"options": options, "phases": {phase: PHASES[phase][0] for phase in figures},
            "aims": {phase: PHASES[phase][1] for phase in figures}, "medians": figures,
            "parts": {phase: ratios(figures[phase]) for phase in figures}, "turns": results}
