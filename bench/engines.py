# SPDX-License-Identifier: GPL-2.0-only
"""
The server that bench/run measures in, its engines, what must be over and done with
before the next one's turn, and what of the server the system knows.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = Path(os.environ.get("BLITZ_BUILD", ROOT / "build")) / "bench"
SERVER = [str(ROOT / "tests/crash/server"), str(OUT / "server")]
PACKAGED_PLUGINS = Path("/usr/lib/mysql/plugin")
# BLITZDB as it is, with an ordered primary key, and with one that is a hash alone.
HASH = "BLITZ/HASH"
OURS = ("BLITZDB", HASH)
ENGINES = [*OURS, "MyISAM", "Aria", "InnoDB", "ROCKSDB", "MEMORY"]
NO_PEERS = (*OURS, "MEMORY")
OPTIONS = [
    "--innodb-buffer-pool-size=2G", "--innodb-log-file-size=1G",
    "--innodb-flush-log-at-trx-commit=0", "--key-buffer-size=1G",
    "--aria-pagecache-buffer-size=1G", "--max-heap-table-size=8G", "--tmp-table-size=1G",
    "--character-set-server=latin1", "--sort-buffer-size=256M", "--secure-file-priv=",
]
ROCKSDB_OPTIONS = [
    "--plugin-load-add=ha_rocksdb.so", "--rocksdb-block-cache-size=2G",
    "--rocksdb-flush-log-at-trx-commit=0", "--rocksdb-max-row-locks=1073741824",
]

socket = ""


def fail(text):
    sys.exit(f"bench/run: {text}")


def server(*arguments):
    """Runs tests/crash/server, which prints the socket's path if it starts one."""
    global socket
    done = subprocess.run(SERVER + list(arguments), stdout=subprocess.PIPE, text=True, timeout=300)
    if done.returncode != 0:
        fail(f"tests/crash/server {arguments[0]} failed")
    socket = done.stdout.strip() or socket


def start(engines, *more):
    """A new server with these engines; gives its options."""
    OUT.mkdir(parents=True, exist_ok=True)
    server("fresh", *OPTIONS, *more)
    if "ROCKSDB" not in engines:
        return OPTIONS + list(more)
    # What a packaged engine is told must be told when the server starts.
    server("stop")
    shutil.copy(PACKAGED_PLUGINS / "ha_rocksdb.so", OUT / "server/plugins")
    server("start", *OPTIONS, *more, *ROCKSDB_OPTIONS)
    return OPTIONS + list(more) + ROCKSDB_OPTIONS


def sql(text):
    """Runs statements, and gives what the client printed."""
    command = ["mariadb", "--no-defaults", f"--socket={socket}", "--user=root", "--batch",
               "--skip-column-names", "test"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=3600)
    if done.returncode != 0:
        fail(done.stderr.strip())
    return done.stdout.strip()


def status(name):
    return int(sql(f"SHOW GLOBAL STATUS LIKE '{name}'").split()[1])


def settle(engine):
    """What an engine left to do later shall not be done in another one's time."""
    if engine == "InnoDB":
        sql("SET GLOBAL innodb_max_purge_lag_wait = 0;"
            " SET GLOBAL innodb_io_capacity_max = 20000, GLOBAL innodb_io_capacity = 20000,"
            " GLOBAL innodb_max_dirty_pages_pct = 0, GLOBAL innodb_max_dirty_pages_pct_lwm = 0")
        for _ in range(600):
            if status("Innodb_buffer_pool_pages_dirty") < 100:
                break
            time.sleep(0.1)
        sql("SET GLOBAL innodb_max_dirty_pages_pct = 90, GLOBAL innodb_io_capacity = 200,"
            " GLOBAL innodb_io_capacity_max = 2000")
    if engine == "ROCKSDB":
        sql("SET GLOBAL rocksdb_force_flush_memtable_and_lzero_now = ON;"
            " SET GLOBAL rocksdb_compact_cf = 'default'")
    os.sync()


def checkpoint():
    """Waits for a checkpoint of BLITZDB; False if too little was changed for one."""
    before = status("Blitzdb_checkpoints")
    usual = sql("SELECT @@blitzdb_write_buffer_size")
    # Half of it is two megabytes; who makes a change asks for what is due.
    sql("CREATE TABLE IF NOT EXISTS change_of_one (n INT) ENGINE=BLITZDB;"
        " SET GLOBAL blitzdb_write_buffer_size = 4194304; INSERT INTO change_of_one VALUES (1)")
    for _ in range(100):
        if status("Blitzdb_checkpoints") > before:
            break
        time.sleep(0.1)
    sql(f"SET GLOBAL blitzdb_write_buffer_size = {usual}")
    return status("Blitzdb_checkpoints") > before


def write_out(engine, table):
    """All that was changed is brought to where it stays."""
    if engine == "MyISAM" or engine == "BLITZDB" and not checkpoint():
        sql(f"FLUSH TABLES {table}")
    settle(engine)


def bytes_written():
    """What was written to the device of the data so far, by anybody: nothing else should write.
    What /proc knows of the server alone is no measure: of a page in the system's cache that
    is part of a larger piece, it counts all of that."""
    device = os.stat(OUT).st_dev
    path = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    return int(path.read_text(encoding="utf-8").split()[6]) * 512 if path.exists() else 0


def forget_files():
    """Takes the files of a server that is stopped out of the system's cache."""
    files = [f for f in (OUT / "server/data").rglob("*") if f.is_file() and f.stat().st_size > 0]
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    command = ["fincore", "--bytes", "--noheadings", "--output", "RES", *map(str, files)]
    left = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    if sum(map(int, left.split())) > 16 << 20:
        fail(f"{left} bytes stay in the system's cache")


def bytes_on_disk(engine):
    """What the table's files take."""
    data = OUT / "server/data"
    if engine == "ROCKSDB":
        settle(engine)
        # Files of tables that were dropped go a moment after the compaction.
        time.sleep(1)
        files = (data / "#rocksdb").glob("*.sst")
    else:
        sql("FLUSH TABLES t")
        files = [f for f in (data / "test").glob("t.*") if f.suffix != ".frm"]
    return sum(f.stat().st_blocks * 512 for f in files)
