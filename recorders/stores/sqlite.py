"""SQLite behind the `Database` seam: one file, one thread that writes, one that reads.

Neither thread is the event loop's. With write-ahead logging a reader doesn't wait for a writer, so a key is looked
up while a batch is being stored, or while another process holds the write lock. Several processes may share the
file; it must not lie on a network file system.

A lock by name is one on an empty file beside the database, because its own write lock is everybody's.

What is committed survives the process; what was committed last may be lost with the power (`synchronous=NORMAL`),
never half of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from recorders.stores.base import RecordsRefused, StoreError
from recorders.stores.database import Row, Statement, Value, time_value
from recorders.stores.file_lock import file_lock
from recorders.stores.migrations import (
    APPLIED,
    CREATE_MIGRATIONS,
    MARK_APPLIED,
    Migration,
    known_migrations,
    pending_migrations,
)
from recorders.stores.sql import SqlStore

_T = TypeVar("_T")

_REFUSALS: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeError,
)
_WAL_RETRY_S: Final = 0.02


class _Connection:
    """A connection and the one thread that uses it."""

    def __init__(self, path: Path, *, busy_timeout_s: float, name: str) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._name = name
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self.open()

    def open(self) -> None:
        """Be ready, at first and after `close`; the file is opened by the first work."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"sqlite-{self._name}")

    async def run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._thread is None:
            raise StoreError(f"{self._path}: closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    async def close(self) -> None:
        """After what is running now; closing again does nothing."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await asyncio.get_running_loop().run_in_executor(thread, self._disconnect)
            thread.shutdown(wait=False)

    def _work(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            return work(self._connect())
        except _REFUSALS as error:
            raise RecordsRefused(f"{self._path}: {error}") from error
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self._path}: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        """Connect at first use, and again after a failure to do so."""
        if self._connection is None:
            _create_private(self._path)
            connection = sqlite3.connect(self._path, timeout=self._busy_timeout_s, isolation_level=None)
            try:
                connection.row_factory = sqlite3.Row
                _use_write_ahead_log(connection, self._busy_timeout_s)
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute("PRAGMA foreign_keys=ON")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class SQLiteDatabase:
    """The database in the file `path`, which is created, for its owner alone, with the folders above it."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        busy_timeout_s: float = 5.0,
        migrations: Iterable[Migration] | None = None,
    ) -> None:
        self._path = Path(path)
        self._migrations = tuple(migrations) if migrations is not None else known_migrations()
        self._writer = _Connection(self._path, busy_timeout_s=busy_timeout_s, name="writer")
        self._reader = _Connection(self._path, busy_timeout_s=busy_timeout_s, name="reader")

    async def open(self) -> None:
        """Migrate; after `close`, open again."""
        self._writer.open()
        self._reader.open()
        await self._writer.run(self._migrate)

    async def fetch(self, sql: str, *parameters: Value) -> list[Row]:
        def work(connection: sqlite3.Connection) -> list[Row]:
            return [dict(row) for row in connection.execute(sql, parameters)]

        return await self._reader.run(work)

    async def execute(self, sql: str, *parameters: Value) -> int:
        def work(connection: sqlite3.Connection) -> int:
            return connection.execute(sql, parameters).rowcount

        return await self._writer.run(work)

    async def transaction(self, statements: Iterable[Statement]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            with _Transaction(connection):
                for sql, parameters in statements:
                    connection.execute(sql, parameters)

        await self._writer.run(work)

    @contextlib.asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[bool]:
        """Taken on the event loop: it's two calls that wait for nobody, and a cancelled thread would keep the lock."""
        with contextlib.ExitStack() as held:
            try:
                ours = held.enter_context(file_lock(Path(f"{self._path}-{name}.lock")))
            except OSError as error:
                raise StoreError(f"{self._path}: {error}") from error
            yield ours

    async def close(self) -> None:
        await self._reader.close()
        await self._writer.close()

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """The write lock that the transaction takes first is the lock between processes."""
        with _Transaction(connection):
            connection.execute(CREATE_MIGRATIONS)
            applied = {version for (version,) in connection.execute(APPLIED)}
            for migration in pending_migrations(applied, self._migrations, database=str(self._path)):
                for statement in migration.statements:
                    connection.execute(statement)
                now = time_value(datetime.now(UTC))
                connection.execute(MARK_APPLIED, (migration.version, migration.name, now))


class SQLiteStore(SqlStore):
    """Records in the SQLite file `path`."""

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout_s: float = 5.0) -> None:
        super().__init__(SQLiteDatabase(path, busy_timeout_s=busy_timeout_s))


class _Transaction:
    """All or nothing, with the write lock from the start: waiting for it later could not be resolved."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            try:
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        """A full disk may have rolled back already."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _create_private(path: Path) -> None:
    """The file holds prompts, so nobody but its owner reads it; SQLite gives its side files the same mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _use_write_ahead_log(connection: sqlite3.Connection, patience_s: float) -> None:
    """Only one process can make the switch, and SQLite doesn't wait for it as it waits for other locks."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_WAL_RETRY_S)
