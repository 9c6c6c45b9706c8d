"""What another process sees of a SQLite database, and does to it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_LOCK_HOLDERS = """
import fcntl, json, os, struct, sys

def holder(path, start, length):
    descriptor = os.open(path, os.O_RDWR)
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else pid

path = sys.argv[1]
print(json.dumps({"": holder(path, 0x40000002, 510), "-shm": holder(path + "-shm", 120, 9)}))
"""
"""Of the database the bytes of the shared lock, of the index all that it has: SQLite's os_unix.c."""

_RUN = """
import json, sqlite3, sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
print(json.dumps([connection.execute(sql).fetchall() for sql in sys.argv[2:]]))
connection.close()
"""


def lock_holders(path: Path) -> dict[str, int | None]:
    """Which process keeps others from taking themselves for the only one: on the database, and on its index."""
    holders: dict[str, int | None] = json.loads(_python(_LOCK_HOLDERS, str(path)))
    return holders


def run_sql(path: Path, *statements: str) -> list[list[list[Any]]]:
    """The rows of each statement, from a process that opens the database, and closes it as the last one does."""
    rows: list[list[list[Any]]] = json.loads(_python(_RUN, str(path), *statements))
    return rows


def _python(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
