"""What another process sees of a SQLite database, and does to it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
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


_STAY = """
import json, sqlite3, sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
for line in sys.stdin:
    try:
        print(json.dumps(connection.execute(line).fetchall()), flush=True)
    except sqlite3.Error as error:
        print(json.dumps(str(error)), flush=True)
connection.close()
"""

_WRITE_SLOWLY = """
import asyncio, sys
from recorders.stores.base import StoreError
from recorders.stores.database import Statement
from recorders.stores.migrations import Migration
from recorders.stores.sqlite import SQLiteDatabase

def statements():
    yield Statement("DELETE FROM things", ())
    print("begun", flush=True)
    sys.stdin.readline()
    for n in range(3000):
        yield Statement("INSERT INTO things (id) VALUES (?)", (f"{n:04}" * 300,))

async def main():
    database = SQLiteDatabase(sys.argv[1], migrations=[Migration(1, "things", ())])
    await database.open()
    try:
        await database.transaction(statements())
        print("written", flush=True)
    except StoreError as error:
        print(error, flush=True)
    await database.close()

asyncio.run(main())
"""


class Peer:
    """A program that stays, and does what it is told a line at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, line: str) -> str:
        """What it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self.hear()

    def hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def sql_shell(path: Path) -> contextlib.AbstractContextManager[Peer]:
    """A plain SQLite connection: each line is a statement, each answer its rows as JSON, or an error."""
    return _peer(_STAY, path)


def slow_writer(path: Path) -> contextlib.AbstractContextManager[Peer]:
    """Another gateway, in the middle of a transaction that is larger than SQLite's log gets by itself."""
    return _peer(_WRITE_SLOWLY, path)


@contextlib.contextmanager
def _peer(program: str, path: Path) -> Iterator[Peer]:
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        text=True,
    ) as process:
        try:
            yield Peer(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)


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
