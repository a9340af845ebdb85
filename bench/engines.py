# SPDX-License-Identifier: GPL-2.0-only
"""
The server that bench/run measures in, its engines, and what must be over and done
with before the next one's turn.
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


def start(engines):
    """A new server with these engines; gives its options."""
    OUT.mkdir(parents=True, exist_ok=True)
    server("fresh", *OPTIONS)
    if "ROCKSDB" not in engines:
        return OPTIONS
    # What a packaged engine is told must be told when the server starts.
    server("stop")
    shutil.copy(PACKAGED_PLUGINS / "ha_rocksdb.so", OUT / "server/plugins")
    server("start", *OPTIONS, *ROCKSDB_OPTIONS)
    return OPTIONS + ROCKSDB_OPTIONS


def sql(text):
    """Runs statements, and gives what the client printed."""
    command = ["mariadb", "--no-defaults", f"--socket={socket}", "--user=root", "--batch",
               "--skip-column-names", "test"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=3600)
    if done.returncode != 0:
        fail(done.stderr.strip())
    return done.stdout.strip()


def settle(engine):
    """What an engine left to do later shall not be done in another one's time."""
    if engine == "InnoDB":
        sql("SET GLOBAL innodb_max_purge_lag_wait = 0;"
            " SET GLOBAL innodb_max_dirty_pages_pct = 0, GLOBAL innodb_max_dirty_pages_pct_lwm = 0")
        for _ in range(600):
            if int(sql("SHOW STATUS LIKE 'Innodb_buffer_pool_pages_dirty'").split()[1]) < 100:
                break
            time.sleep(0.1)
        sql("SET GLOBAL innodb_max_dirty_pages_pct = 90")
    if engine == "ROCKSDB":
        sql("SET GLOBAL rocksdb_force_flush_memtable_and_lzero_now = ON;"
            " SET GLOBAL rocksdb_compact_cf = 'default'")
    os.sync()


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
