# SPDX-License-Identifier: GPL-2.0-only
"""
The phases that bench/run measures: tables, statements, the plans that the server must
choose for them, and the answers that they must give.
"""

from engines import HASH, bytes_on_disk, fail, settle, sql

SINGLES = 100_000
RANGES = 20

# Name of a phase, what it is, and the part of the best peer's time that is aimed at.
PHASES = {
    "insert": ("INSERT ... SELECT in key order", 0.6),
    "insert_random": ("INSERT ... SELECT in random order", 0.6),
    "scan": ("scan", 0.75),
    "lookup": ("random look-ups by primary key, a join", 0.45),
    "lookup_k": ("random look-ups by secondary key, a join", 0.5),
    "range_index": (f"{RANGES} ranges, all rows, index only", 0.75),
    "range_rows": (f"{RANGES} ranges, a fifth of the rows, fetched", 0.5),
    "update": ("UPDATE of all rows, no key", None),
    "update_key": ("UPDATE of all rows, the secondary key", None),
    "add_index": ("ALTER TABLE ADD INDEX", None),
    "delete": ("DELETE of all rows", None),
    "singles": (f"{SINGLES} INSERT statements of a row", None),
    "bytes": ("bytes on disk a row", None),
}

# About 150 bytes a row. K is random, with hardly a value twice.
COLUMNS = ("id INT NOT NULL, k INT NOT NULL, a INT NOT NULL, c INT NOT NULL,"
           " name VARCHAR(40) NOT NULL, pad CHAR(100) NOT NULL")
KEYS = "PRIMARY KEY (id){}, KEY k (k)"
MADE_UP = ("seq, CRC32(seq) >> 1, seq * 7 % 1000003, 0, CONCAT('name of row ', seq),"
           " CONCAT(MD5(seq), MD5(seq + 1), MD5(seq + 2))")
K_MAX = 2 ** 31
OTHER_K = "k ^ 1431655765"

LOOK_UP = "SELECT SUM(t.a) FROM ids STRAIGHT_JOIN t ON t.id = ids.id"
LOOK_UP_K = "SELECT SUM(t.a) FROM ids STRAIGHT_JOIN t FORCE INDEX (k) ON t.k = ids.k"
OF_RANGE = "FROM t FORCE INDEX (k) WHERE k BETWEEN {} AND {}"


def prepare(rows):
    """Tables to fill the others from, in key order and not; the answers to expect."""
    sql(f"""
      CREATE TABLE in_order ({COLUMNS}, {KEYS.format("")}) ENGINE=Aria TRANSACTIONAL=0;
      INSERT INTO in_order SELECT {MADE_UP} FROM seq_1_to_{rows};
      CREATE TABLE shuffled ({COLUMNS}) ENGINE=Aria TRANSACTIONAL=0;
      INSERT INTO shuffled SELECT * FROM in_order ORDER BY RAND(1);
      CREATE TABLE ids (id INT NOT NULL, k INT NOT NULL) ENGINE=MyISAM;
      INSERT INTO ids SELECT id, k FROM in_order ORDER BY RAND(2);
      DELIMITER //
      CREATE PROCEDURE singles()
      BEGIN
        FOR i IN 1..{SINGLES} DO
          INSERT INTO t VALUES (i, CRC32(i) >> 1, i, 0, 'a name', 'abcdefghij');
        END FOR;
      END//
      DELIMITER ;
    """)

    def answer(query):
        return sql(query.replace("FROM t ", "FROM in_order ").replace("STRAIGHT_JOIN t ",
                                                                       "STRAIGHT_JOIN in_order t "))

    return {
        "scan": answer("SELECT SUM(a) FROM t "),
        "lookup": answer("SELECT SUM(a) FROM t "),
        "lookup_k": answer(LOOK_UP_K),
        "range_index": [answer(query) for query in range_queries("COUNT(*), SUM(k)", 1)],
        "range_rows": [answer(query) for query in range_queries("SUM(a)", 0.2)],
        "update_key": answer(f"SELECT SUM({OTHER_K}) FROM t "),
    }


def range_queries(what, part):
    """Ranges of K that together have PART of the rows."""
    step = K_MAX // RANGES
    for n in range(RANGES):
        # Not in the order of the key.
        low = step * (n * 7 % RANGES)
        yield f"SELECT {what} " + OF_RANGE.format(low, low + int(step * part) - 1)


def timed(statements, expected=None):
    """Seconds that statements take; NOW() is the time when a statement began."""
    if isinstance(statements, str):
        statements = [statements]
        expected = [expected] if expected is not None else None
    text = ";\n".join(statements)
    lines = sql(f"SET @begin = NOW(6);\n{text};\n"
                " SELECT TIMESTAMPDIFF(MICROSECOND, @begin, NOW(6));").split("\n")
    if expected is not None and lines[:-1] != expected:
        fail(f"{text[:1000]}\ngave {lines[:-1]} instead of {expected}")
    return int(lines[-1]) / 1e6


def expect_plan(engine, query, access, key, extra=""):
    """EXPLAIN must say how the table t, the last one, is read."""
    plan = sql("EXPLAIN " + query).split("\n")[-1].split("\t")
    if plan[2:4] != ["t", access] or plan[5] != key or extra not in plan[-1]:
        fail(f"{engine} reads t otherwise than by {access} of {key}: {plan}")


def create(engine):
    is_hash = engine == HASH
    keys = KEYS.format(" USING HASH" if is_hash else "")
    sql(f"DROP TABLE IF EXISTS t;"
        f" CREATE TABLE t ({COLUMNS}, {keys}) ENGINE={'BLITZDB' if is_hash else engine}")


class Turn:
    """One engine's turn of a round. `figures` has a figure for each phase."""

    def __init__(self, engine, rows, phases, answers):
        self.engine, self.rows, self.phases, self.answers = engine, rows, phases, answers
        self.figures = {}

    def run(self):
        self.begin("insert", "INSERT INTO t SELECT * FROM in_order")
        if "bytes" in self.phases:
            self.figures["bytes"] = bytes_on_disk(self.engine) / self.rows \
                if self.engine != "MEMORY" else None
        self.reads()
        self.changes()
        if "insert_random" in self.phases:
            self.begin("insert_random", "INSERT INTO t SELECT * FROM shuffled")
        if "singles" in self.phases:
            self.begin("singles", "CALL singles()")
        sql("DROP TABLE t")
        settle(self.engine)
        return self.figures

    def begin(self, phase, statement):
        """A new table, filled by the statement."""
        create(self.engine)
        settle(self.engine)
        self.figures[phase] = timed(statement)

    def measure(self, phase, statements, expected=None):
        if phase in self.phases:
            self.figures[phase] = timed(statements, expected)

    def reads(self):
        # A hash knows no order: MEMORY's keys would be no index for ranges.
        ordered = self.engine != "MEMORY"
        expect_plan(self.engine, LOOK_UP, "eq_ref", "PRIMARY")
        expect_plan(self.engine, LOOK_UP_K, "ref", "k")
        self.measure("scan", "SELECT SUM(a) FROM t", self.answers["scan"])
        self.measure("lookup", LOOK_UP, self.answers["lookup"])
        self.measure("lookup_k", LOOK_UP_K, self.answers["lookup_k"])
        for phase, what, part, extra in (("range_index", "COUNT(*), SUM(k)", 1, "Using index"),
                                         ("range_rows", "SUM(a)", 0.2, "")):
            queries = list(range_queries(what, part))
            if ordered:
                expect_plan(self.engine, queries[0], "range", "k", extra)
                self.measure(phase, queries, self.answers[phase])

    def changes(self):
        self.measure("update", "UPDATE t SET c = c + 1")
        if "update" in self.phases and sql("SELECT SUM(c) FROM t") != str(self.rows):
            fail(f"{self.engine}: not every row was updated")
        self.measure("update_key", f"UPDATE t SET k = {OTHER_K}")
        if "update_key" in self.phases:
            found = sql("SELECT SUM(k) FROM t FORCE INDEX (k) WHERE k >= 0")
            if found != self.answers["update_key"]:
                fail(f"{self.engine}: the sum of the new keys is {found}")
        self.measure("add_index", "ALTER TABLE t ADD INDEX a (a)")
        if "add_index" in self.phases:
            sql("ALTER TABLE t DROP INDEX a")
        self.measure("delete", "DELETE FROM t WHERE a >= 0")
        if "delete" in self.phases:
            left = sql("SELECT COUNT(*) FROM t;"
                       " SELECT COUNT(*) FROM t FORCE INDEX (k) WHERE k >= 0")
            if left != "0\n0":
                fail(f"{self.engine}: rows are left after DELETE")
