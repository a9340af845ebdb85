# SPDX-License-Identifier: GPL-2.0-only
"""
Runs statements on every engine's tables and says what is not the same.

The first engine is the one under test, the others are its peers. Peers differ among
themselves here and there, so what is asked for is this:

  1. What a statement does on the engine under test is what it does on one peer.
  2. Afterwards the table holds what it held before, if the statement failed, and
     what the table of a peer of rule 1 holds, if it did not.
  3. CHECK TABLE finds nothing, and no error is of the kind that nobody should see.

A peer of which the table then holds something else (MyISAM, after a statement that
failed midway) is filled again from the engine under test.
"""

import re
from collections import Counter

from client import Client

NOT_ATOMIC = {"MyISAM", "Aria", "MEMORY"}
ENGINE_ERRORS = {1017, 1026, 1030, 1032, 1033, 1034, 1035, 1105, 1194, 1195, 1815, 1877, 1712}


class Difference(Exception):
    """What differs, for a person."""


def database(engine):
    return f"d_{engine.lower()}"


class Engines:
    """A connection for each engine, each with a database of its own as the default."""

    def __init__(self, socket, engines):
        self.engines = engines
        self.clients = {engine: Client(socket) for engine in engines}
        self.helper = Client(socket)   # whose settings are the defaults
        self.helper.must("SET character_set_results = NULL")
        self.counts = Counter()
        self.active = []
        self.tables = {}
        self.held = {}        # table -> digest of what it holds

    def close(self):
        for client in [*self.clients.values(), self.helper]:
            client.close()

    # ---- a case ----------------------------------------------------------------------

    def begin(self, settings, tables):
        """New tables. False if a peer refuses them as the engine under test does."""
        self.active = []
        self.tables = {table.name: table for table in tables}
        refused = {}
        for engine in self.engines:
            client = self.clients[engine]
            for setting in settings:
                client.must(setting)
            for line in (f"DROP DATABASE IF EXISTS {database(engine)}",
                         f"CREATE DATABASE {database(engine)}", f"USE {database(engine)}"):
                client.must(line)
            for table in tables:
                outcome = client.query(table.ddl(engine))
                if outcome.errno:
                    refused[engine] = (outcome.errno, outcome.error)
                    break
            else:
                self.active.append(engine)
        subject = self.engines[0]
        if subject in refused:
            if refused[subject][0] not in {r[0] for e, r in refused.items() if e != subject}:
                raise Difference(f"{subject} refuses a table: {refused[subject][1]}")
            return False
        self.held = {name: self.digest(subject, name) for name in self.tables}
        return len(self.active) > 1

    def leave_out(self, engine):
        self.active.remove(engine)
        self.counts["peers left out"] += 1

    # ---- tables ----------------------------------------------------------------------

    def digest(self, engine, name):
        values = ", ".join(f"IFNULL(CAST({c.name} AS BINARY), x'1e')"
                           for c in self.tables[name].columns)
        row = f"CONCAT_WS(x'1f', {values})"
        return self.clients[engine].must(f"SELECT COUNT(*), SUM(CRC32({row})),"
                                         f" BIT_XOR(CRC32(CONCAT({row}, '!'))) FROM {name}")[0]

    def rows(self, engine, name):
        return self.clients[engine].must(f"SELECT * FROM {name}")

    def fill_again(self, engine, name):
        client = self.clients[engine]
        columns = ", ".join(c.name for c in self.tables[name].stored())
        client.must(f"TRUNCATE TABLE {name}")
        outcome = client.query(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM"
                               f" {database(self.engines[0])}.{name}")
        if outcome.errno or self.digest(engine, name) != self.held[name]:
            self.leave_out(engine)
        self.counts["tables filled again"] += 1

    # ---- what differs ----------------------------------------------------------------

    def classes(self, name, form):
        """A map from the values of a column to one of those that are equal to it, as FORM
        of it. DENSE_RANK() would do, but takes some equal values for different ones.
        """
        of = database(self.active[-1])
        values = (f"(SELECT {name}, CAST({name} AS BINARY) AS raw FROM"
                  f" (SELECT {name} FROM {of}.t UNION ALL SELECT {name} FROM {of}.u) both_tables"
                  " GROUP BY raw)")
        equal = form.format("y." + name) + " <=> " + form.format("x." + name)
        return dict(self.helper.must(
            f"SELECT {name}, (SELECT MIN(y.raw) FROM {values} y WHERE {equal}) FROM {values} x"))

    def alike(self, name, form, value, maps):
        if (name, form) not in maps:
            maps[name, form] = self.classes(name, form)
        return maps[name, form].get(value, value)

    def normalized(self, statement, outcomes, maps):
        """The rows of each answer with one value for equal ones, and the columns it is
        sorted by, with one for those that may be in any order.
        """
        orders = {c.name: c.order for c in self.tables["t"].columns}
        for outcome in outcomes:
            rows = outcome.rows or []
            values = Counter(tuple(self.alike(name, "{}", value, maps) if name else value
                                   for value, name in zip(row, statement.columns)) for row in rows)
            names = statement.columns
            ordered = [tuple(self.alike(names[i], form or orders[names[i]], row[i], maps)
                             if names[i] else row[i] for i, form in statement.ordered or ())
                       for row in rows]
            yield len(rows) if statement.partial else values, ordered

    def differ(self, statement, one, other, maps):
        """Why the outcomes are not the same; empty if they are."""
        for a, b in zip(one, other):
            # Which row fails first is said by the order of rows only if there is one.
            if a.errno != b.errno and (statement.exact or not a.errno or not b.errno):
                return f"errors {a.errno} and {b.errno}"
            if statement.exact and clean(a.error) != clean(b.error):
                return "messages"
            if statement.kind == "change" and not a.errno:
                if (a.affected, found(a.info)) != (b.affected, found(b.info)):
                    return "counts of rows"
                if statement.exact and clean(a.warnings) != clean(b.warnings):
                    return "warnings"
        if statement.kind == "read" and [o.rows for o in one] != [o.rows for o in other]:
            if list(self.normalized(statement, one, maps)) != \
                    list(self.normalized(statement, other, maps)):
                return "rows"
        return ""

    # ---- one statement ---------------------------------------------------------------

    def run(self, statement):
        """Raises Difference."""
        subject = self.engines[0]
        outcomes = {engine: [self.clients[engine].query(line) for line in statement.sql()]
                    for engine in self.active}
        own = outcomes[subject]
        self.counts["statements"] += 1
        for outcome in own:
            self.counts["errors"] += outcome.errno != 0
            if "is disabled" in outcome.error:
                return           # HANDLER told to use it; filling again has enabled the peer's
            if outcome.errno in ENGINE_ERRORS and not any(
                    o.errno == outcome.errno for e in self.active[1:] for o in outcomes[e]):
                raise Difference(f"error {outcome.errno}: {outcome.error}")
        if statement.kind == "admin":
            self.check_admin(own)
        else:
            maps = {}
            reasons = {peer: self.differ(statement, own, outcomes[peer], maps)
                       for peer in self.active[1:]}
            if all(reasons.values()):
                raise Difference(self.describe(statement, reasons, outcomes))
            self.counts["peers differ"] += any(reasons.values())
        if statement.kind != "read":
            self.check_tables(statement, outcomes)

    def check_tables(self, statement, outcomes):
        subject = self.engines[0]
        for name in self.tables:
            before, now = self.held[name], self.digest(subject, name)
            failed = statement.kind != "change" or any(o.errno for o in outcomes[subject])
            if (failed or name != statement.table) and now != before and subject not in NOT_ATOMIC:
                raise Difference(f"table {name} is not what it was before a statement that changes"
                                 " nothing")
            self.held[name] = now
            others = {peer: self.digest(peer, name) for peer in self.active[1:]}
            if not failed and now not in others.values():
                raise Difference(self.describe_rows(name))
            for peer, digest in others.items():
                if digest != now:
                    self.fill_again(peer, name)
        if statement.kind == "alter":
            for peer in self.active[1:]:
                if [o.errno for o in outcomes[peer]] != [o.errno for o in outcomes[subject]]:
                    self.leave_out(peer)

    def check_admin(self, outcomes):
        for outcome in outcomes:
            for row in outcome.rows or []:
                table, what, kind, text = (value.decode("utf-8", "replace") for value in row)
                if kind in ("error", "Error", "warning"):   # "Warning" is the server's
                    raise Difference(f"{what} of {table} says: {text}")

    def check(self):
        """CHECK TABLE."""
        for name in self.tables:
            self.check_admin([self.clients[self.engines[0]].query(f"CHECK TABLE {name} EXTENDED")])

    # ---- words -----------------------------------------------------------------------

    def describe(self, statement, reasons, outcomes):
        text = "; ".join(f"not the same as {peer}: {reason}" for peer, reason in reasons.items())
        for engine, of_engine in outcomes.items():
            for line, outcome in zip(statement.sql(), of_engine):
                text += f"\n{engine}: {shown(outcome)}"
                if len(of_engine) > 1:
                    text += f"    by {line}"
        return text

    def describe_rows(self, name):
        subject = self.engines[0]
        text = f"table {name} does not hold what any peer's holds"
        own = Counter(self.rows(subject, name))
        for peer in self.active[1:]:
            other = Counter(self.rows(peer, name))
            text += f"\nonly in {subject}: {list((own - other).elements())[:5]}"
            text += f"\nonly in {peer}: {list((other - own).elements())[:5]}"
        return text


def clean(message):
    """A message, or a list of warnings, without the names that must differ."""
    if isinstance(message, list):
        return [tuple(clean(part) for part in warning) for warning in message]
    return re.sub(r"\bd_(blitzdb|myisam|innodb|aria|memory)\b", "db", message)


def found(info):
    """The counts that an answer tells, but for those of a table that was known to be empty."""
    info = re.sub(r" *Warnings: \d+", "", info)
    return "" if info == "Rows matched: 0  Changed: 0" else info


def shown(outcome):
    if outcome.errno:
        return f"error {outcome.errno}: {outcome.error}"
    if outcome.rows is not None:
        more = f" and {len(outcome.rows) - 12} more" if len(outcome.rows) > 12 else ""
        return f"{len(outcome.rows)} rows: {outcome.rows[:12]}{more}"
    return f"{outcome.affected} rows, {outcome.info}, {len(outcome.warnings)} warnings" \
        f" {outcome.warnings[:3]}"
