"""Other programs on the gateway's SQLite file: ten times a second one opens it, does its work and closes it.

Each closes as a program does that may be the last one: by POSIX locks it learns whether it is. The commands are the
real ones, called in one process that goes on, because ten interpreters a second would be the whole machine's work.

    python -m tests.faults.visitors DATABASE     until its standard input ends; then it prints what it did, as JSON
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import os
import sqlite3
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.gateway.command import clean_environment

EVERY_S: Final = 0.1
PATIENCE_S: Final = 60.0
BUSY: Final = "another process is deleting old records"
"""The gateway's own retention, at its start: a purge beside it has nothing to do."""
COMMANDS: Final = (
    ("users", "list"),
    ("keys", "list"),
    ("sessions", "--limit", "5"),
    ("purge", "--older-than", "30d"),
)


@dataclass(slots=True)
class Visits:
    """What they did, by the name of the program; `failed` are the first words of those who could not."""

    made: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)


@asynccontextmanager
async def visiting(database: Path) -> AsyncIterator[Visits]:
    """They come and go while the block lasts; what they did is known after it."""
    visits = Visits()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.visitors", str(database)),
        env=clean_environment() | {"CODER_AI_GATEWAY_DATABASE_URL": f"sqlite:///{database}"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield visits
    finally:
        try:
            async with asyncio.timeout(PATIENCE_S):
                said, _ = await process.communicate(b"")
        except TimeoutError:
            process.kill()
            raise
        made, failed = json.loads(said)
        visits.made.update(made)
        visits.failed += failed


def _read(path: str) -> None:
    connection = sqlite3.connect(path, timeout=10)
    try:
        connection.execute("SELECT count(*), max(started_at) FROM aibridge_interceptions").fetchall()
    finally:
        connection.close()


def _back_up(path: str) -> None:
    """As `.backup` of the command `sqlite3` does it; the copy must be whole."""
    with tempfile.TemporaryDirectory() as folder:
        source, copy = sqlite3.connect(path, timeout=10), sqlite3.connect(Path(folder, "backup.db"))
        try:
            source.backup(copy, pages=100)
            (verdict,) = copy.execute("PRAGMA integrity_check").fetchone()
        finally:
            copy.close()
            source.close()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"the backup is damaged: {verdict}")


def _command(arguments: tuple[str, ...]) -> None:
    from gateway.__main__ import main

    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        status = main(arguments)
    if status and BUSY not in said.getvalue():
        raise RuntimeError(said.getvalue().strip())


def _programs(path: str) -> dict[str, Callable[[], None]]:
    commands: dict[str, Callable[[], None]] = {
        arguments[0]: lambda arguments=arguments: _command(arguments)  # type: ignore[misc]
        for arguments in COMMANDS
    }
    return commands | {"reader": lambda: _read(path), "backup": lambda: _back_up(path)}


def _visit_until_told(path: str) -> Visits:
    told = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        told.set()

    threading.Thread(target=listen, daemon=True).start()
    visits = Visits()
    for name, program in itertools.cycle(_programs(path).items()):
        if told.wait(EVERY_S):
            return visits
        try:
            program()
            visits.made[name] += 1
        except Exception as error:
            visits.failed.append(f"{name}: {error}"[:300])
    raise AssertionError


if __name__ == "__main__":
    found = _visit_until_told(sys.argv[1])
    sys.stdout.write(json.dumps([found.made, found.failed[:20]]))
    sys.stdout.flush()
    os._exit(0)
