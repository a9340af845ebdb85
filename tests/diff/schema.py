# SPDX-License-Identifier: GPL-2.0-only
"""
Random tables: columns of every type that a key can have, awkward values for them,
and keys of all kinds. All is made by the `random.Random` that is passed in, so a
seed makes the same table again.
"""

import re
from dataclasses import dataclass, field

KEY_BYTES = 1000       # what MyISAM takes
LONG_KEY_BYTES = 3072  # what InnoDB takes


@dataclass
class Column:
    name: str
    sql: str                 # type and attributes
    kind: str                # of values: int, string, bytes, temporal, ...
    width: int               # bytes in a key, or 0: only prefixes go into keys
    values: list = field(default_factory=list)   # SQL literals
    nullable: bool = True
    generated: str = ""      # expression, VIRTUAL or STORED
    char_bytes: int = 1      # of a character at most
    chars: int = 0           # declared length of strings
    order: str = "{}"        # what of a value a sort is sure to look at
    levels: bool = False     # the end of a string may count more than its beginning

    def ddl(self):
        if self.generated:
            return f"{self.name} {self.sql} AS {self.generated}"
        return f"{self.name} {self.sql} {'NULL DEFAULT NULL' if self.nullable else 'NOT NULL'}"

    def value(self, rng):
        if self.nullable and rng.random() < 0.12:
            return "NULL"
        return rng.choice(self.values)


def sorted_by(collation):
    """A sort looks at some bytes of weights only, which for a long column are those of the
    first level; and it takes trailing NULs of a NOPAD collation for nothing.
    """
    form = "TRIM(TRAILING '\\0' FROM {})" if "nopad" in collation else "{}"
    first_level = re.sub(r"_(as_cs|as_ci|ai_cs)$", "_ai_ci", collation)
    return form if first_level == collation else f"{form} COLLATE {first_level}"


@dataclass
class Key:
    name: str
    unique: bool
    parts: list              # of (Column, prefix length or 0, descending)
    using: str = ""

    def ddl(self):
        parts = ", ".join(column.name + (f"({prefix})" if prefix else "")
                          + (" DESC" if desc else "") for column, prefix, desc in self.parts)
        if self.name == "PRIMARY":
            return f"PRIMARY KEY ({parts}){self.using}"
        return f"{'UNIQUE ' if self.unique else ''}KEY {self.name} ({parts}){self.using}"

    def whole(self):
        return all(prefix == 0 for _, prefix, _ in self.parts)


@dataclass
class Table:
    name: str
    columns: list
    keys: list

    def ddl(self, engine):
        inside = [c.ddl() for c in self.columns] + [k.ddl() for k in self.keys]
        return f"CREATE TABLE {self.name} ({', '.join(inside)}) ENGINE={engine}"

    def stored(self):
        return [c for c in self.columns if not c.generated]


# ---- values ----------------------------------------------------------------------


def quoted(text):
    """A literal of characters, in quotes if that is readable."""
    if all(" " <= c <= "~" and c not in "\\'" for c in text):
        return f"'{text}'"
    return f"_utf8mb4 x'{text.encode('utf-8').hex()}'"


def as_bytes(value):
    return f"x'{value.hex()}'"


def int_values(rng, low, high):
    values = [low, low + 1, high, high - 1, 0, 1, 2, 3]
    values += [rng.randint(low, high) for _ in range(3)] + [rng.randint(0, 40) for _ in range(4)]
    if low < 0:
        values += [-1, -2, rng.randint(-40, 0)]
    return [str(v) for v in values]


ASCII_LETTERS = "aAbBzZ09-_%'"
OTHER_LETTERS = "äÄéÉßsñłøæŒçÅ"
FAR_LETTERS = "жЖσςΣあアｱ日本한ห\u0e40ก\u0301\u00a0\u200d\uffff"
BEYOND_LETTERS = "😀𝔸"


def string_values(rng, chars, charset):
    letters = ASCII_LETTERS
    if charset not in ("ascii", "binary"):
        letters += rng.choice(("", "", OTHER_LETTERS))
    if charset in ("utf8mb3", "utf8mb4", "ucs2", "utf16", "utf16le", "utf32"):
        letters += rng.choice(("", FAR_LETTERS))
        if charset != "utf8mb3" and charset != "ucs2" and rng.random() < 0.3:
            letters += BEYOND_LETTERS
    letters = "".join(rng.sample(letters, min(len(letters), rng.randint(2, 8))))
    words = ["".join(rng.choice(letters) for _ in range(rng.randint(1, 4))) for _ in range(7)]
    tail = rng.choice((" ", "\t", "\0", "\x01", "\x1f", "a", "~", "\x7f"))
    words += [words[0] + " ", words[0] + "  " + words[1], words[1] + tail, words[2] + tail + tail,
              words[0] + "\t", words[3].upper(), words[4].lower() + " ", "", " ", tail]
    if chars > 8:
        long = (words[0] + "x") * (chars // len(words[0] + "x"))
        words += [long, long[:-1] + tail, long[:chars // 2], long + " "]
    return [quoted(w[:chars]) for w in words]


def bytes_values(rng, size):
    values = [b"", b"\0", b"\0\0", b"a", b"a\0", b"a ", b" ", b"A", b"\xff", b"\xff\xff",
              b"\xc3\x28", bytes(rng.randrange(256) for _ in range(min(size, 6))), b"a\xff",
              b"\x7f", b"\x80"]
    if size > 8:
        long = b"\xffab\0" * (size // 4)
        values += [long, long[:-1] + b"\1", b"\xff" * size, b"\0" * size]
    return [as_bytes(v[:size]) for v in values]


def fraction(rng, digits):
    return f".{rng.randrange(10 ** digits):0{digits}d}" if digits else ""


def temporal_values(rng, kind, digits):
    def day():
        year = rng.choice((1000, 1970, 1999, 2024, 2037))
        return f"{year}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"

    def clock():
        return f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}"

    nines = "." + "9" * digits if digits else ""
    if kind == "DATE":
        values = ["0000-00-00", "1000-01-01", "9999-12-31", "2024-02-29", "2020-00-00",
                  "2020-05-00"]
        values += [day() for _ in range(8)]
    elif kind == "TIME":
        values = ["-838:59:59" + nines, "838:59:59" + nines, "00:00:00", "-00:00:01", "00:00:01",
                  "-00:00:00" + nines, "00:00:00" + nines]
        values += [rng.choice(("", "-")) + clock() + fraction(rng, digits) for _ in range(7)]
    elif kind == "TIMESTAMP":
        values = ["1970-01-01 00:00:01", "2038-01-19 03:14:07" + nines, "0000-00-00 00:00:00"]
        values += [f"{rng.randint(1971, 2037)}-0{rng.randint(1, 9)}-11 {clock()}"
                   + fraction(rng, digits) for _ in range(8)]
    else:
        values = ["0000-00-00 00:00:00", "1000-01-01 00:00:00", "9999-12-31 23:59:59" + nines,
                  "2024-02-29 00:00:00" + nines, "2024-02-29 00:00:00", "2021-00-00 00:00:00"]
        values += [f"{day()} {clock()}{fraction(rng, digits)}" for _ in range(8)]
    return [f"'{v}'" for v in values]


# ---- columns ---------------------------------------------------------------------


def int_column(rng):
    name, size = rng.choice((("TINYINT", 1), ("SMALLINT", 2), ("MEDIUMINT", 3), ("INT", 4),
                             ("INT", 4), ("BIGINT", 8)))
    unsigned = rng.random() < 0.4
    bits = 8 * size
    low, high = (0, 2 ** bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return Column("", name + (" UNSIGNED" if unsigned else ""), "int", size,
                  int_values(rng, low, high))


def decimal_column(rng):
    digits, after = rng.choice(((1, 0), (5, 2), (10, 3), (18, 9), (30, 10), (38, 38), (65, 30)))
    before = digits - after
    # None has more digits than the column: `=` takes it for the rounded one by a key, not by
    # a scan, whatever the engine.
    values = [v for v in ("0", "-0.5", "0.5", "0.49", "1", "-1", "0.000000001")
              if len(v.partition(".")[2]) <= after]
    most = ("9" * before or "0") + ("." + "9" * after if after else "")
    values += [most, "-" + most]
    values += [f"{rng.choice(('', '-'))}{rng.randrange(10 ** min(before, 5))}"
               + fraction(rng, min(after, 4)) for _ in range(6)]
    return Column("", f"DECIMAL({digits},{after})", "decimal", digits // 2 + 2, values)


def float_column(rng):
    name = rng.choice(("FLOAT", "DOUBLE", "DOUBLE"))
    values = ["0", "-0.0e0", "1", "-1", "0.5", "-0.5", "0.1", "1.5e10", "-1.5e10", "1e-30",
              "-1e-30", "3.25", "1e38", "-1e38"]
    if name == "DOUBLE":
        values += ["1.7976931348623157e308", "-1.7976931348623157e308", "2.2250738585072014e-308"]
    return Column("", name, "float", 8, values)


def bit_column(rng):
    bits = rng.choice((1, 5, 8, 13, 64))
    values = [0, 1, 2 ** bits - 1, 2 ** (bits - 1)] + [rng.randrange(2 ** bits) for _ in range(5)]
    return Column("", f"BIT({bits})", "bit", 8, [f"b'{v:b}'" for v in values])


def temporal_column(rng):
    kind = rng.choice(("DATE", "TIME", "DATETIME", "DATETIME", "TIMESTAMP", "YEAR"))
    if kind == "YEAR":
        return Column("", kind, "year", 1, ["0", "1901", "2155", "2000", "1970", "1999", "2024"])
    digits = 0 if kind == "DATE" else rng.choice((0, 0, 1, 3, 6))
    return Column("", kind + (f"({digits})" if digits else ""), "temporal", 8,
                  temporal_values(rng, kind, digits))


def string_column(rng, collations, long):
    charset, collation, char_bytes = rng.choice(collations)
    of = f" CHARACTER SET {charset} COLLATE {collation}"
    kind = rng.choice(("VARCHAR", "VARCHAR", "VARCHAR", "CHAR", "TEXT"))
    if kind == "TEXT":
        name = rng.choice(("TINYTEXT", "TEXT", "MEDIUMTEXT"))
        return Column("", name + of, "string", 0, string_values(rng, 60, charset),
                      char_bytes=char_bytes, chars=60, order=sorted_by(collation),
                      levels=" COLLATE " in sorted_by(collation))
    if kind == "CHAR":
        # Indexes of other engines pad CHARs of NOPAD collations, and do not find what scans find.
        if "nopad" in collation:
            kind = "VARCHAR"
        chars = rng.choice((1, 4, 10, 40))
    else:
        chars = rng.choice((1, 5, 20, 60, 200) + ((700, 3000 // char_bytes) * 4 if long else ()))
    return Column("", f"{kind}({chars}){of}", "string", chars * char_bytes + 2,
                  string_values(rng, chars, charset), char_bytes=char_bytes, chars=chars,
                  order=sorted_by(collation), levels=" COLLATE " in sorted_by(collation))


def bytes_column(rng, long):
    kind = rng.choice(("VARBINARY", "BINARY", "BLOB"))
    if kind == "BLOB":
        return Column("", rng.choice(("TINYBLOB", "BLOB")), "bytes", 0, bytes_values(rng, 80),
                      chars=80)
    size = rng.choice((1, 4, 16, 100) + ((900, 3000) if long and kind == "VARBINARY" else ()))
    return Column("", f"{kind}({size})", "bytes", size + 2, bytes_values(rng, size), chars=size)


def list_column(rng, collations):
    charset, collation, _ = rng.choice(collations)
    of = f" CHARACTER SET {charset} COLLATE {collation}"
    if rng.random() < 0.5:
        return Column("", "ENUM('b','a','c','','zz')" + of, "enum", 1,
                      ["'a'", "'b'", "'c'", "''", "'zz'", "1", "3"])
    return Column("", "SET('y','x','w')" + of, "set", 1,
                  ["'x'", "'x,y'", "''", "'w'", "'w,y'", "7"])


def other_column(rng):
    kind = rng.choice(("INET6", "INET4", "UUID"))
    if kind == "UUID":
        values = ["'00000000-0000-0000-0000-000000000000'",
                  "'ffffffff-ffff-ffff-ffff-ffffffffffff'"]
        values += [f"'{rng.getrandbits(32):08x}-0000-1000-8000-{rng.getrandbits(48):012x}'"
                   for _ in range(6)]
    elif kind == "INET4":
        values = ["'0.0.0.0'", "'255.255.255.255'", "'10.0.0.1'", "'10.0.0.2'", "'127.0.0.1'"]
    else:
        values = ["'::'", "'::1'", "'ffff::'", "'::ffff:10.0.0.1'", "'2001:db8::1'",
                  "'2001:db8::2'"]
    return Column("", kind, "other", 16, values)


def any_column(rng, collations, long):
    maker = rng.choices(
        (int_column, decimal_column, float_column, bit_column, temporal_column,
         lambda r: string_column(r, collations, long), lambda r: bytes_column(r, long),
         lambda r: list_column(r, collations), other_column),
        weights=(6, 2, 2, 1, 3, 10, 3, 1, 1))[0]
    return maker(rng)


def generated_column(rng, base):
    """A column made from another one, by an expression that cannot fail."""
    stored = rng.choice(("VIRTUAL", "STORED"))
    forms = [("INT", "int", f"(LENGTH({base.name}))", 4, ["0", "1", "2", "3", "5"], 0),
             ("TINYINT", "int", f"({base.name} IS NULL)", 1, ["0", "1"], 0)]
    if base.kind == "int":
        forms.append(("BIGINT", "int", f"({base.name} % 7)", 8, ["0", "1", "2", "-3", "6"], 0))
    if base.kind == "string":
        of = base.sql[base.sql.index(" CHARACTER"):]
        chars = max(base.chars, 2)
        for call in ("UPPER({})", "LEFT({}, 2)", "REVERSE({})"):
            forms.append((f"VARCHAR({chars}){of}", "string", f"({call.format(base.name)})",
                          chars * base.char_bytes + 2, base.values, chars))
    sql, kind, expression, width, values, chars = rng.choice(forms)
    return Column("", sql, kind, width, values, True, f"{expression} {stored}",
                  base.char_bytes, chars, base.order if kind == "string" else "{}",
                  kind == "string" and base.levels)


# ---- keys and tables -------------------------------------------------------------


def key_part(rng, column, room):
    """The column, or a prefix of it, for a key that has ROOM bytes left; or None."""
    # Of descending keys on virtual columns the other engines lose rows.
    desc = rng.random() < 0.2 and "VIRTUAL" not in column.generated
    if column.kind in ("string", "bytes") and column.chars > 2 and (
            column.width == 0 or column.width > room or rng.random() < 0.2):
        longest = min((room - 3) // column.char_bytes, column.chars - 1, 255)
        prefix = rng.choice((1, 2, 3, 5, 20, 50, longest))
        # By a key on a prefix the server does not find what is before or behind by its end.
        if prefix > longest or prefix < 1 or column.levels:
            return None
        return column, prefix, desc
    if column.width == 0 or column.width + 1 > room:
        return None
    return column, 0, desc


def random_key(rng, name, columns, room, unique):
    parts = []
    for column in rng.sample(columns, min(len(columns), rng.choice((1, 1, 1, 2, 2, 3, 5)))):
        part = key_part(rng, column, room)
        if part:
            parts.append(part)
            room -= (part[1] * column.char_bytes + 3) if part[1] else column.width + 1
    return Key(name, unique, parts) if parts else None


def primary_key(rng, columns, room):
    """The table's primary key, or None: an own id, or columns that are not NULL."""
    kind = rng.random()
    using = rng.choice(("", "", " USING BTREE", " USING HASH"))
    if kind < 0.25:
        return None
    if kind < 0.5:
        return Key("PRIMARY", True, [(columns[0], 0, rng.random() < 0.1)], using)
    able = [c for c in columns if not c.generated and not c.nullable]
    key = random_key(rng, "PRIMARY", able, room, True) if able else None
    if key:
        key.using = using
    return key


def random_table(rng, name, columns, room):
    keys = [primary_key(rng, columns, room)]
    for n in range(rng.randint(1, 5)):
        keys.append(random_key(rng, f"k{n}", columns, room, rng.random() < 0.25))
    return Table(name, columns, [k for k in keys if k])


def random_tables(rng, collations, long):
    """Two tables of the same columns, with different keys. The first column is a number
    that no two rows share, so that an order can be made unique.
    """
    columns = [Column("id", "BIGINT", "int", 8, [str(n) for n in range(1, 40)], False)]
    for n in range(rng.randint(2, 6)):
        if columns[1:] and rng.random() < 0.15:
            column = generated_column(rng, rng.choice([c for c in columns if not c.generated]))
        else:
            column = any_column(rng, collations, long)
            column.nullable = rng.random() < 0.6
        column.name = "abcdefgh"[n]
        columns.append(column)
    room = LONG_KEY_BYTES if long else KEY_BYTES
    return [random_table(rng, name, columns, room) for name in ("t", "u")]
