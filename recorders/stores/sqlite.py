"""SQLite behind the `Database` seam: one file, one thread that writes, one that reads.

Neither thread is the event loop's. With write-ahead logging a reader doesn't wait for a writer, so a key is looked
up while a batch is being stored, or while another process holds the write lock. Several processes may share the
file; it must not lie on a network file system. `sqlite_files` says what holds them together, and what this process
must not do.

A lock by name is one on an empty file beside the database, because its own write lock is everybody's.

What is committed survives the process; what was committed last may be lost with the power (`synchronous=NORMAL`),
never half of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from recorders.stores.base import StoreError
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
from recorders.stores.sqlite_connection import SQLiteConnection, border
from recorders.stores.sqlite_files import NameLost, SQLiteFiles

log = logging.getLogger("ai_gateway.recorders")

CLOSING_S: Final = 1.0
"""How long others are waited for at the end."""

_T = TypeVar("_T")


class SQLiteDatabase:
    """The database in the file `path`, which is created, for its owner alone, with the folders above it.

    When the write-ahead log loses its name, the next who works with the database, or `check`, opens it again, and
    `generation` has grown: where others had begun another log by then, what stood in the lost one alone is missing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        busy_timeout_s: float = 5.0,
        migrations: Iterable[Migration] | None = None,
    ) -> None:
        self._path = Path(path)
        self._busy_timeout_s = busy_timeout_s
        self._migrations = tuple(migrations) if migrations is not None else known_migrations()
        self._files = SQLiteFiles(self._path, patience_s=busy_timeout_s)
        self._writer = SQLiteConnection(self._files, busy_timeout_s=busy_timeout_s, writes=True)
        self._reader = SQLiteConnection(self._files, busy_timeout_s=busy_timeout_s, writes=False)
        self._lost: NameLost | None = None
        self._generation = 0

    @property
    def generation(self) -> int:
        return self._generation

    async def open(self) -> None:
        """Migrate; after `close`, open again."""
        self._files.patience_s = self._busy_timeout_s
        self._writer.open()
        self._reader.open()
        await self._run(self._writer, self._set_up)

    async def fetch(self, sql: str, *parameters: Value) -> list[Row]:
        def work(connection: sqlite3.Connection) -> list[Row]:
            return [dict(row) for row in connection.execute(sql, parameters)]

        if not self._reader.is_connected:
            await self._run(self._writer, self._connect_reader)
        return await self._run(self._reader, work)

    async def execute(self, sql: str, *parameters: Value) -> int:
        def work(connection: sqlite3.Connection) -> int:
            return connection.execute(sql, parameters).rowcount

        return await self._run(self._writer, work)

    async def transaction(self, statements: Iterable[Statement]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            with _Transaction(connection):
                for sql, parameters in statements:
                    connection.execute(sql, parameters)

        await self._run(self._writer, work)

    @contextlib.asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[bool]:
        """Taken on the event loop: it's two calls that wait for nobody, and a cancelled thread would keep the lock."""
        with contextlib.ExitStack() as held:
            try:
                ours = held.enter_context(file_lock(Path(f"{self._path}-{name}.lock")))
            except OSError as error:
                raise StoreError(f"{self._path}: {error}") from error
            yield ours

    async def sync(self) -> bool:
        """Move the log into the database's file. False while somebody reads what was there before."""
        return await self._run(self._writer, _sync)

    async def check(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._check)

    def trouble(self) -> str | None:
        if self._lost is None:
            return None
        what = "file" if self._lost.moved else "write-ahead log"
        return f"the database's {what} was removed or replaced"

    async def close(self) -> None:
        """After what is running now; closing again does nothing."""
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    async def _run(self, connection: SQLiteConnection, work: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            return await connection.run(work)
        except NameLost:
            await self.check()
            return await connection.run(work)

    def _check(self) -> None:
        """Open again what has lost its name. In one go, for a caller that is cancelled must not leave it half done."""
        try:
            self._files.check()
        except NameLost as lost:
            self._tell(lost)
        if self._lost is None:
            return  # and nobody has to pause for it
        with self._writer.unused(), self._reader.unused(), border(self._path):
            try:
                self._files.check()
            except NameLost as lost:
                self._tell(lost)
                self._let_go(lost)
            self._files.check_place()
            if self._writer.is_retired:
                return  # whoever closes it need not wait for another
            with self._files.replacing():
                self._migrate(self._writer.connect())
                self._reader.connect()
            self._lost = None
            log.warning("%s: works again", self._path)

    def _let_go(self, lost: NameLost) -> None:
        """Disconnect, and save what stands in the log alone where that can do no harm. Raises `StoreError`, `OSError`.

        A database that was moved takes along what is in its log: what is put in its place must not find it.
        """
        if self._writer.is_connected or self._reader.is_connected:
            if lost.moved:
                self._writer.empty_log("TRUNCATE", patience_s=self._files.patience_s)
                self._disconnect()
            else:
                self._disconnect_sparing()
            self._generation += 1
            self._files.forget(with_database=False)

    def _disconnect_sparing(self) -> None:
        with self._files.replacing(), self._files.spared() as is_only_log:
            if is_only_log:
                self._writer.empty_log("FULL", patience_s=self._files.patience_s)
            else:
                log.warning("%s: what stood in the lost log alone is given up", self._path)
            self._disconnect()

    def _tell(self, lost: NameLost) -> None:
        if self._lost is None or self._lost.moved != lost.moved:
            self._lost = lost
            log.error("%s", lost)

    def _disconnect(self) -> None:
        self._reader.disconnect()
        self._writer.disconnect()

    def _close(self) -> None:
        self._files.patience_s = min(self._busy_timeout_s, CLOSING_S)
        for connection in (self._reader, self._writer):
            connection.retire()
        with self._writer.unused(), self._reader.unused(), border(self._path):
            try:
                if self._files.are_held:
                    self._close_as_it_is()
            except (StoreError, sqlite3.Error, OSError) as error:
                self._reader.abandon()
                self._writer.abandon()
                log.warning("%s: what stood in the lost log alone is given up: %s", self._path, error)
            finally:
                self._files.forget()
                self._lost = None

    def _close_as_it_is(self) -> None:
        try:
            self._files.check_place()
            with self._files.writing():
                self._files.check()
                self._disconnect()
        except NameLost as lost:
            self._tell(lost)
            self._let_go(lost)

    def _set_up(self, connection: sqlite3.Connection) -> None:
        self._migrate(connection)
        self._connect_reader(connection)

    def _connect_reader(self, connection: sqlite3.Connection) -> None:
        """Beside the writer, so that they have the same log; not by a thread of its own."""
        with self._reader.unused():
            self._reader.connect()

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """The write lock that the transaction takes first is the lock between processes."""
        with _Transaction(connection):
            connection.execute(CREATE_MIGRATIONS)
            applied = {version for (version,) in connection.execute(APPLIED)}
            pending = pending_migrations(applied, self._migrations, database=str(self._path))
            for migration in pending:
                for statement in migration.statements:
                    connection.execute(statement)
                now = time_value(datetime.now(UTC))
                connection.execute(MARK_APPLIED, (migration.version, migration.name, now))
        if pending:
            _sync(connection)


def _sync(connection: sqlite3.Connection) -> bool:
    busy, in_log, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return not busy and in_log == moved


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
