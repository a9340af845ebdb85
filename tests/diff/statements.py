# SPDX-License-Identifier: GPL-2.0-only
"""
Random statements on the tables of schema.py, and what of their answers must be equal.

A statement is made without knowing what is in the tables, so that it can be left out
of a script, or run on other rows, and still means something.
"""

from dataclasses import dataclass, field, replace

import schema


@dataclass
class Statement:
    """`kind`: read, change, alter (what is in the tables stays) or admin (its answer is
    the engine's own affair). `columns`: of each column of the answer the column of a table
    of which it has a value, or None. `ordered`: by which columns of the answer it is
    sorted, and by what form of them ("" for the column's), or None. `partial`: rows that
    are equal in these may be others. `exact`: messages and warnings are equal too, else
    only the numbers of errors.
    """

    kind: str
    lines: list
    table: str = "t"
    columns: list = field(default_factory=list)
    ordered: list = None
    partial: bool = False
    exact: bool = False
    rows: list = None        # of an INSERT, which then stand between the two lines

    def sql(self):
        if self.rows is None:
            return self.lines
        return [self.lines[0] + ", ".join(self.rows) + self.lines[1]]

    def smaller(self):
        """The same with fewer rows."""
        for n in range(len(self.rows or []) if len(self.rows or []) > 1 else 0):
            yield replace(self, rows=self.rows[:n] + self.rows[n + 1:])


class Generator:
    def __init__(self, rng, tables, room):
        self.rng = rng
        self.tables = tables
        self.room = room
        self.number = 0
        self.id = 0
        self.keys_made = 0

    # ---- parts of statements ---------------------------------------------------------

    def chance(self, p):
        return self.rng.random() < p

    def next_id(self, table):
        # Where ids are the key, one that may be there already is of interest.
        if self.chance(0.3) and self.id > 5 and table.keys and table.keys[0].name == "PRIMARY" \
                and [p[0].name for p in table.keys[0].parts] == ["id"]:
            return self.rng.randint(max(1, self.id - 60), self.id)
        self.id += 1
        return self.id

    def row(self, table):
        return "(" + ", ".join(str(self.next_id(table)) if c.name == "id" else c.value(self.rng)
                               for c in table.stored()) + ")"

    def constant(self, column):
        if column.name == "id":
            return str(self.rng.randint(1, max(self.id, 2)))
        return self.rng.choice(column.values)

    def condition(self, column, prefix=""):
        """One that an index may answer."""
        rng, name = self.rng, prefix + column.name
        form = rng.random()
        if form < 0.3:
            return f"{name} {rng.choice(('=', '=', '<=>'))} {self.constant(column)}"
        if form < 0.55:
            return f"{name} {rng.choice(('<', '<=', '>', '>='))} {self.constant(column)}"
        if form < 0.7:
            return f"{name} BETWEEN {self.constant(column)} AND {self.constant(column)}"
        if form < 0.8:
            constants = [self.constant(column) for _ in range(rng.randint(2, 6))]
            return f"{name} IN ({', '.join(constants)})"
        if form < 0.85:
            return f"{name} IS {rng.choice(('', 'NOT '))}NULL"
        if form < 0.9:
            return f"{name} <> {self.constant(column)}"
        if form < 0.96 and column.kind == "string":
            return f"{name} LIKE CONCAT(LEFT({self.constant(column)}, {rng.randint(0, 3)}), '%')"
        return (f"({name} > {self.constant(column)} AND {name} "
                f"{rng.choice(('<', '<='))} {self.constant(column)})")

    def where(self, table, key=None, prefix=""):
        """Conditions on the columns of a key, from its first one on, and on others."""
        rng = self.rng
        key = key or (rng.choice(table.keys) if table.keys else None)
        columns = [part[0] for part in key.parts] if key and self.chance(0.85) else \
            rng.sample(table.columns, rng.randint(1, 2))
        text = self.condition(columns[0], prefix)
        for column in columns[1:]:
            if self.chance(0.6):
                text += " AND " + self.condition(column, prefix)
        if self.chance(0.15):
            text = f"({text}) {rng.choice(('OR', 'OR', 'AND'))} " + \
                self.condition(rng.choice(table.columns), prefix)
        if self.chance(0.04):
            text = f"NOT ({text})"
        return text

    def hint(self, table, key=None):
        if not table.keys or self.chance(0.25):
            return ""
        keys = [key or self.rng.choice(table.keys)]
        if self.chance(0.15):
            keys += self.rng.sample(table.keys, min(2, len(table.keys)))
        word = "FORCE" if self.chance(0.9) else self.rng.choice(("USE", "IGNORE"))
        return f" {word} INDEX ({', '.join(dict.fromkeys(k.name for k in keys))})"

    def some_table(self):
        return self.tables[0] if self.chance(0.8) else self.tables[1]

    # ---- reads -----------------------------------------------------------------------

    def select_rows(self):
        table = self.some_table()
        key = self.rng.choice(table.keys) if table.keys else None
        what = self.rng.random()
        if key and what < 0.4:
            names = [p[0].name for p in key.parts]
        elif what < 0.6:
            names = ["id"]
        else:
            names = [c.name for c in table.columns]
        where = f" WHERE {self.where(table, key)}" if self.chance(0.85) else ""
        sql = f"SELECT {', '.join(names)} FROM {table.name}{self.hint(table, key)}{where}"
        return Statement("read", [sql], columns=names)

    def select_ordered(self):
        """In the order of a key, whole or in part, one way or the other."""
        table = self.some_table()
        if not table.keys:
            return self.select_rows()
        key = self.rng.choice(table.keys)
        parts = key.parts[:self.rng.randint(1, len(key.parts))]
        back = self.chance(0.5)
        names = list(dict.fromkeys(p[0].name for p in key.parts))
        if self.chance(0.5):
            names = ["id"] + [c.name for c in table.columns if c.name != "id"]
        order = ", ".join(f"{p[0].name}{' DESC' if p[2] != back else ''}" for p in parts)
        ordered = [(names.index(p[0].name), "") for p in parts]
        where = f" WHERE {self.where(table, key)}" if self.chance(0.7) else ""
        limit = f" LIMIT {self.rng.choice((1, 2, 5, 20))}" if self.chance(0.5) else ""
        if limit and self.chance(0.2):
            limit += f" OFFSET {self.rng.randint(1, 5)}"
        sql = (f"SELECT {', '.join(names)} FROM {table.name}{self.hint(table, key)}{where}"
               f" ORDER BY {order}{limit}")
        return Statement("read", [sql], columns=names, ordered=ordered, partial=limit != "")

    def select_group(self):
        table = self.some_table()
        rng = self.rng
        key = rng.choice(table.keys) if table.keys else None
        columns = [p[0].name for p in key.parts] if key else ["a"]
        if key and any(p[0].kind == "bit" for p in key.parts):
            return self.select_rows()    # MIN() of a BIT is a number or bytes, as the plan wants
        first, last = columns[0], columns[-1]
        where = f" WHERE {self.where(table, key)}" if self.chance(0.5) else ""
        of = f" FROM {table.name}{self.hint(table, key)}{where}"
        names = list(dict.fromkeys(columns))
        text = ", ".join(names)
        return rng.choice((
            Statement("read", [f"SELECT MIN({first}), MAX({first}){of}"], columns=[first, first]),
            Statement("read", [f"SELECT MAX({first}){of}"], columns=[first]),
            Statement("read", [f"SELECT MIN({first}){of}"], columns=[first]),
            Statement("read", [f"SELECT COUNT(*), COUNT({first}), COUNT(DISTINCT {first}){of}"],
                      columns=[None] * 3),
            Statement("read", [f"SELECT DISTINCT {text}{of}"], columns=names),
            Statement("read", [f"SELECT {first}, COUNT(*), SUM(id){of} GROUP BY {first}"],
                      columns=[first, None, None]),
            Statement("read", [f"SELECT {first}, MIN({last}), MAX({last}){of} GROUP BY {first}"],
                      columns=[first, last, last]),
            Statement("read", [f"SELECT {first}, MAX({last}){of} GROUP BY {first}"
                               f" ORDER BY {first} DESC"], columns=[first, last],
                      ordered=[(0, "")]),
            Statement("read", [f"SELECT COUNT(*){of}"], columns=[None]),
        ))

    def select_join(self):
        t, u = self.tables if self.chance(0.8) else (self.tables[0], self.tables[0])
        rng = self.rng
        key = rng.choice(u.keys) if u.keys else None
        columns = [p[0] for p in key.parts] if key else [u.columns[1]]
        on = " AND ".join(f"x.{c.name} {rng.choice(('=', '=', '=', '<=>'))} y.{c.name}"
                          for c in columns[:rng.randint(1, len(columns))])
        kind = rng.choice(("JOIN", "STRAIGHT_JOIN", "LEFT JOIN"))
        where = f" WHERE {self.where(t, None, 'x.')}" if self.chance(0.6) else ""
        force = self.hint(u, key)
        of = f" FROM {t.name} x {kind} {u.name} y{force} ON {on}{where}"
        first = columns[0].name
        inner = f"SELECT {first} FROM {u.name}{force} WHERE {self.where(u, key)}"
        return rng.choice((
            Statement("read", [f"SELECT COUNT(*), SUM(x.id), SUM(y.id), MAX(y.id){of}"],
                      columns=[None] * 4),
            Statement("read", [f"SELECT x.id, y.id, y.{first}{of}"], columns=[None, None, first]),
            Statement("read", [f"SELECT x.id, y.{first}{of} ORDER BY x.id, y.{first} LIMIT 30"],
                      columns=[None, first], ordered=[(0, ""), (1, "")], partial=True),
            Statement("read", [f"SELECT id, {first} FROM {t.name} WHERE {first} IN ({inner})"],
                      columns=[None, first]),
            Statement("read", [f"SELECT id FROM {t.name} x WHERE {rng.choice(('', 'NOT '))}EXISTS"
                               f" (SELECT 1 FROM {u.name} y{force} WHERE {on})"], columns=[None]),
        ))

    def handler(self):
        """HANDLER, which uses an index as it is told to."""
        table = self.some_table()
        rng = self.rng
        # A primary key may be a hash, which has no order.
        keys = [k for k in table.keys if k.name != "PRIMARY" or "BTREE" in k.using]
        if not keys:
            return self.select_rows()
        key = rng.choice(keys)
        name = f"`{key.name}`"
        lines = [f"HANDLER {table.name} OPEN"]
        for _ in range(rng.randint(1, 4)):
            limit = f" LIMIT {rng.choice((1, 2, 5, 30))}" if self.chance(0.6) else ""
            if self.chance(0.6):
                sign = rng.choice(("=", ">=", ">", "<=", "<"))
                # At which of the equal ones `<=` begins is the engine's choice.
                limit = "" if sign == "<=" else limit
                count = len(key.parts)
                parts = key.parts[:count if sign == "<=" else rng.randint(1, count)]
                values = ", ".join("NULL" if p[0].nullable and self.chance(0.1)
                                   else self.constant(p[0]) for p in parts)
                lines.append(f"HANDLER {table.name} READ {name}"
                             f" {sign} ({values}){limit}")
                # After a look-up that found nothing engines stand at different places.
                lines.append(f"HANDLER {table.name} READ {name}"
                             f" {rng.choice(('FIRST', 'LAST'))}{limit}")
            else:
                first, step = rng.choice((("FIRST", "NEXT"), ("LAST", "PREV")))
                lines.append(f"HANDLER {table.name} READ {name} {first}{limit}")
                lines += [f"HANDLER {table.name} READ {name} {step}{limit}"] * rng.randint(1, 3)
        lines.append(f"HANDLER {table.name} CLOSE")
        names = [c.name for c in table.columns]
        ordered = [(names.index(c.name), f"LEFT({{}}, {prefix})" if prefix else "{}")
                   for c, prefix, _ in key.parts]
        return Statement("read", lines, columns=names, ordered=ordered, partial=True)

    # ---- changes ---------------------------------------------------------------------

    def insert(self):
        table = self.some_table()
        rng = self.rng
        names = ", ".join(c.name for c in table.stored())
        rows = [self.row(table) for _ in range(rng.choice((1, 1, 2, 3, 5, 10, 25)))]
        verb, tail = rng.choice((("INSERT", ""), ("INSERT", ""), ("INSERT IGNORE", ""),
                                 ("REPLACE", ""), ("INSERT", "update"),
                                 ("INSERT IGNORE", "update")))
        if tail:
            sets = []
            columns = table.stored()[1:]
            for column in rng.sample(columns, rng.randint(1, min(2, len(columns)))):
                value = rng.choice((f"VALUES({column.name})", column.value(rng), column.name))
                sets.append(f"{column.name} = {value}")
            tail = " ON DUPLICATE KEY UPDATE " + ", ".join(sets)
        return Statement("change", [f"{verb} INTO {table.name} ({names}) VALUES ", tail],
                         table.name, exact=True, rows=rows)

    def insert_select(self):
        """From the other table or the same one; the rows get ids that are new."""
        to = self.some_table()
        source = self.rng.choice(self.tables)
        names = [c.name for c in to.stored()]
        self.id += 100
        new = f"ROW_NUMBER() OVER (ORDER BY id) + {self.id - 100}"
        inner = f"SELECT * FROM {source.name} WHERE {self.where(source)} ORDER BY id LIMIT 90"
        verb = self.rng.choice(("INSERT", "INSERT", "INSERT IGNORE", "REPLACE"))
        sql = (f"{verb} INTO {to.name} ({', '.join(names)}) SELECT {new},"
               f" {', '.join(names[1:])} FROM ({inner}) x ORDER BY id")
        return Statement("change", [sql], to.name)

    def assignments(self, table, safe):
        """SAFE: that leave unique keys alone, so that the order of rows does not matter."""
        rng = self.rng
        unique = {p[0].name for k in table.keys if k.unique for p in k.parts}
        columns = [c for c in table.stored() if c.name != "id" and not (safe and c.name in unique)]
        # A generated column in a unique key changes with its base.
        if safe and any(c.generated and c.name in unique for c in table.columns):
            columns = []
        sets = []
        for column in rng.sample(columns, min(len(columns), rng.randint(1, 2))):
            forms = [column.value(rng)] * 3
            if column.kind in ("int", "decimal"):
                forms += [f"{column.name} + 1", f"{column.name} - 1", f"-{column.name}"]
            if column.kind == "string":
                forms += [f"CONCAT({column.name}, ' ')", f"UPPER({column.name})",
                          f"LEFT({column.name}, 1)", f"CONCAT({column.name}, {column.value(rng)})"]
            sets.append(f"{column.name} = {rng.choice(forms)}")
        return ", ".join(sets)

    def update(self):
        table = self.some_table()
        safe = self.chance(0.5)
        sets = self.assignments(table, safe)
        if not sets:
            safe, sets = False, self.assignments(table, False)
        key = self.rng.choice(table.keys) if table.keys else None
        ignore = "IGNORE " if self.chance(0.2) else ""
        sql = f"UPDATE {ignore}{table.name}{self.hint(table, key)} SET {sets}"
        if self.chance(0.9):
            sql += f" WHERE {self.where(table, key)}"
        if not safe or self.chance(0.3):
            column = self.rng.choice(table.columns).name
            by = f"{column}{self.rng.choice(('', ' DESC'))}, id"
            sql += f" ORDER BY {by if self.chance(0.5) and column != 'id' else 'id'}"
            if self.chance(0.7):
                sql += f" LIMIT {self.rng.choice((1, 3, 10))}"
        return Statement("change", [sql], table.name)

    def update_id(self):
        table = self.some_table()
        self.id += 1
        return Statement("change", [f"UPDATE {table.name} SET id = {self.id} WHERE id ="
                                    f" {self.rng.randint(1, self.id)}"], table.name, exact=True)

    def update_join(self):
        t, u = self.tables
        column = self.rng.choice(t.columns[1:]).name
        sets = self.assignments(t, True).split(" = ")[0]
        if not sets:
            return self.update()
        value = next(c for c in t.columns if c.name == sets).value(self.rng)
        return Statement("change", [f"UPDATE t JOIN u ON t.{column} = u.{column}"
                                    f" SET t.{sets} = {value} WHERE {self.where(u, None, 'u.')}"])

    def delete(self):
        table = self.some_table()
        form = self.rng.random()
        if form < 0.1:
            column = self.rng.choice(self.tables[0].columns[1:]).name
            return Statement("change", [f"DELETE t FROM t JOIN u ON t.{column} = u.{column}"
                                        f" WHERE {self.where(self.tables[1], None, 'u.')}"])
        key = self.rng.choice(table.keys) if table.keys else None
        sql = f"DELETE FROM {table.name} WHERE {self.where(table, key)}"
        if form < 0.75:
            sql += (f" ORDER BY id{self.rng.choice(('', ' DESC'))}"
                    f" LIMIT {self.rng.choice((1, 2, 5, 10, 30))}")
        return Statement("change", [sql], table.name)

    def empty(self):
        table = self.some_table()
        return Statement("change", [self.rng.choice((f"TRUNCATE TABLE {table.name}",
                                                     f"DELETE FROM {table.name}"))], table.name)

    # ---- tables ----------------------------------------------------------------------

    def new_key(self, table):
        self.keys_made += 1
        return schema.random_key(self.rng, f"n{self.keys_made}", table.columns, self.room,
                                 self.chance(0.25))

    def alter(self):
        table = self.some_table()
        rng = self.rng
        form = rng.random()
        name = table.name
        secondary = [k for k in table.keys if k.name != "PRIMARY"]
        added = self.new_key(table) if form < 0.65 and len(table.keys) < 8 else None
        how = rng.choice(("", "", ", ALGORITHM=COPY"))
        if added and form < 0.4:
            table.keys.append(added)
            return Statement("alter", [f"ALTER TABLE {name} ADD {added.ddl()}{how}"], name)
        if secondary and form < 0.75:
            gone = rng.choice(secondary)
            table.keys.remove(gone)
            if added and form < 0.6:
                table.keys.append(added)
                return Statement("alter", [f"ALTER TABLE {name} DROP KEY {gone.name},"
                                           f" ADD {added.ddl()}{how}"], name)
            return Statement("alter", [f"ALTER TABLE {name} DROP KEY {gone.name}"], name)
        if form < 0.85:
            return Statement("alter", [f"ALTER TABLE {name} {rng.choice(('DISABLE', 'ENABLE'))}"
                                       " KEYS"], name)
        if form < 0.9:
            return Statement("alter", [f"ALTER TABLE {name} ADD COLUMN z INT DEFAULT 5 FIRST",
                                       f"ALTER TABLE {name} DROP COLUMN z"], name)
        return Statement("alter", [f"ALTER TABLE {name} FORCE"], name)

    def admin(self):
        table = self.some_table().name
        return Statement("admin", [self.rng.choice((
            f"ANALYZE TABLE {table}", f"ANALYZE TABLE {table} PERSISTENT FOR ALL",
            "FLUSH TABLES", f"FLUSH TABLES {table}", f"CHECK TABLE {table} EXTENDED",
            f"OPTIMIZE TABLE {table}", f"REPAIR TABLE {table}",
            f"REPAIR TABLE {table} USE_FRM"))], table)

    # ---- one after the other ------------------------------------------------------------

    def next(self):
        self.number += 1
        if self.number <= 6:
            return self.insert()
        makers = ((self.select_rows, 16), (self.select_ordered, 20), (self.select_group, 12),
                  (self.select_join, 8), (self.handler, 12), (self.insert, 14),
                  (self.insert_select, 4), (self.update, 12), (self.update_id, 1),
                  (self.update_join, 1), (self.delete, 7), (self.empty, 0.4), (self.alter, 3),
                  (self.admin, 1.5))
        maker = self.rng.choices([m for m, _ in makers], [w for _, w in makers])[0]
        return maker()
