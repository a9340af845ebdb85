# SPDX-License-Identifier: GPL-2.0-only
"""What benchmarks have in common: medians, tables, files of results, arguments."""

import argparse
import json
import os
import platform
import statistics


def medians(rounds):
    """Of a list of {name: figure}, the same with medians."""
    return {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}


def table(columns, records):
    """Prints a line for each record, {name: value}. COLUMNS has for each name how many digits a
    number has behind the point; the first column is aligned to the left."""
    def cell(record, name):
        value = record.get(name, "")
        return f"{value:.{columns[name]}f}" if isinstance(value, (int, float)) else value

    lines = [list(columns), *([cell(record, name) for name in columns] for record in records)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    for line in lines:
        print("  ".join([line[0].ljust(widths[0])]
                        + [text.rjust(width) for text, width in zip(line[1:], widths[1:])]))


def write_result(path, version, options, **results):
    with open(path, "w", encoding="utf-8") as out:
        json.dump({"server": version, "machine": platform.platform(),
                   "processors": os.cpu_count(), "options": options, **results}, out, indent=1)


def list_like(known):
    """An argument's type: a list of numbers, or of words that are among the known ones."""
    def parse(text):
        if isinstance(known[0], int):
            return [int(number) for number in text.split(",")]
        for word in text.split(","):
            if word not in known:
                raise argparse.ArgumentTypeError(f"{word} is none of {', '.join(known)}")
        return text.split(",")
    return parse
