"""PostgreSQL behind the `Database` seam: a bounded pool of connections, for any number of gateways on one database.

Opening needs the database: one that can't be reached is a `StoreError`, in a sentence, within `connect_timeout_s`;
whoever starts the program decides whether to start it again. Once open, an outage is the error of each call and
nothing else: each call has the pool connect anew, so the first one after the outage works.

Three limits keep a call from hanging. The server ends a statement after `statement_timeout_s`. A server that doesn't
even do that (stopped, or behind a network that swallows) is left `grace_s` later, by cutting the connection; that also
ends what was cancelled, since cancelling asks the server too. Connecting has its own limit. The other way round, the
server ends the transaction of a process that stops in the middle, so it can't keep others from a lock for ever.

Statements are prepared by nobody and no state is kept in a session but settings, so a transaction pooler may stand
in between. Times come out as text and go in as text, as in SQLite; booleans are `True` and `False`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, Self, TypeAlias
from zlib import crc32

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from recorders.stores.base import RecordsRefused, StoreError
from recorders.stores.database import Row, Statement, Value, time_value
from recorders.stores.migrations import (
    APPLIED,
    CREATE_MIGRATIONS,
    MARK_APPLIED,
    Migration,
    known_migrations,
    pending_migrations,
)
from recorders.stores.numbered import numbered

_Connection: TypeAlias = psycopg.AsyncConnection[DictRow]
_Pool: TypeAlias = AsyncConnectionPool[_Connection]

LOCKS: Final = 0x41495F47_00000000
"""Advisory locks are numbers; ours lie above this one. 1: migrations. 2: lineage. Those with a name are pairs."""

_REFUSALS: Final = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,  # a value too long for an index, a statement too long for the server
    UnicodeError,
    OverflowError,
)
_TRY_LOCK: Final = "SELECT pg_try_advisory_xact_lock($1::int, $2::int) AS ours"
_MAX_MESSAGE: Final = 300
_MIGRATION_S: Final = 3600.0
_SETTINGS: Final = """
    SELECT set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO', false),
           set_config('standard_conforming_strings', 'on', false), set_config('jit', 'off', false),
           set_config('max_parallel_workers_per_gather', '0', false),
           set_config('default_transaction_isolation', 'read committed', false),
           set_config('statement_timeout', $1, false),
           set_config('idle_in_transaction_session_timeout', $1, false)
"""


class PostgresDatabase:
    """The database that a `postgresql://` URL names, in the form that libpq knows.

    Raises `ValueError`, which doesn't repeat the URL, when it can't be read.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float = 10.0,
        statement_timeout_s: float = 30.0,
        grace_s: float = 5.0,
        max_connections: int = 8,
        migrations: Iterable[Migration] | None = None,
    ) -> None:
        try:
            given = conninfo_to_dict(url)
        except psycopg.Error:
            raise ValueError(
                "the PostgreSQL URL can't be read: check its host, port and parameters"
            ) from None
        self._password = str(given.get("password") or "")
        self._name = _name(given)
        self._conninfo = make_conninfo("", **(_defaults(connect_timeout_s) | given))
        self._connect_timeout_s = connect_timeout_s
        self._statement_timeout_s = statement_timeout_s
        self._grace_s = grace_s
        self._max_connections = max_connections
        self._migrations = tuple(migrations) if migrations is not None else known_migrations()
        self._pool: _Pool | None = None
        self._in_vain = ""  # why the last attempt of the pool to connect was

    async def open(self) -> None:
        """Connect and migrate; after `close`, open again, in whatever event loop."""
        if self._pool is None:
            await self._migrate()
            self._pool = self._new_pool()
            await self._pool.open()

    async def fetch(self, sql: str, *parameters: Value) -> list[Row]:
        async with self._connection() as connection:
            cursor = await connection.execute(numbered(sql), parameters)
            return list(await cursor.fetchall())

    async def execute(self, sql: str, *parameters: Value) -> int:
        async with self._connection() as connection:
            return (await connection.execute(numbered(sql), parameters)).rowcount

    async def transaction(self, statements: Iterable[Statement]) -> None:
        """The statements go out together and are answered together: one wait, however many they are."""
        async with self._connection() as connection, connection.pipeline(), connection.transaction():
            for sql, parameters in statements:
                await connection.execute(numbered(sql), parameters)

    @contextlib.asynccontextmanager
    async def lock(self, name: str) -> AsyncIterator[bool]:
        """One connection waits in a transaction that sees and changes nothing, so it holds up no clean-up of rows."""
        async with contextlib.AsyncExitStack() as held:
            with self._border():
                connection = await held.enter_async_context(self._pooled())
                with self._limit(connection):
                    await held.enter_async_context(self._transaction(connection))
                    await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                    cursor = await connection.execute(_TRY_LOCK, (LOCKS >> 32, _number_of(name)))
                    row = await cursor.fetchone()
            yield row is not None and row["ours"] is True

    @contextlib.asynccontextmanager
    async def _transaction(self, connection: _Connection) -> AsyncIterator[None]:
        """One that a block holds open. What its end can't do is an error, unless the block has one of its own, or was
        cancelled: that must not get lost, or a task that is to end goes on."""
        with self._border(), self._limit(connection):
            transaction = connection.transaction()
            await transaction.__aenter__()
        try:
            yield
        except BaseException as error:
            with contextlib.suppress(psycopg.Error, OSError), self._limit(connection):
                await transaction.__aexit__(type(error), error, error.__traceback__)
            raise
        with self._border(), self._limit(connection):
            await transaction.__aexit__(None, None, None)

    async def sync(self) -> bool:
        """The server's own matter: `synchronous_commit`, and what it asks of its replicas."""
        return True

    @property
    def generation(self) -> int:
        """Connections come and go, and what a server has lost it doesn't tell."""
        return 0

    async def check(self) -> None:
        """Each connection is checked when it is used."""

    def trouble(self) -> str | None:
        return None

    async def close(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close(timeout=self._grace_s)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Connection]:
        """For one call: its errors are ours, and its time is limited."""
        with self._border():
            async with self._pooled() as connection:
                with self._limit(connection):
                    yield connection

    @contextlib.asynccontextmanager
    async def _pooled(self) -> AsyncIterator[_Connection]:
        """One that works, given back to the pool or, when it is broken, thrown away by it."""
        if self._pool is None:
            raise StoreError(f"{self._name}: closed")
        pool, connection = self._pool, await self._working(self._pool)
        try:
            yield connection
        finally:
            await pool.putconn(connection)

    async def _working(self, pool: _Pool) -> _Connection:
        """What lay in the pool while the server went away doesn't become a caller's error.

        The pool can check by itself, but rests for seconds between two that are broken.
        """
        for _ in range(self._max_connections):
            connection, works = await self._pooled_or_why(pool), False
            try:
                with contextlib.suppress(psycopg.Error), _cut_after(self._connect_timeout_s, connection):
                    await pool.check_connection(connection)
                    works = True
            finally:
                if not works:
                    await pool.putconn(connection)
            if works:
                return connection
        return await self._pooled_or_why(pool)

    async def _pooled_or_why(self, pool: _Pool) -> _Connection:
        """The pool says how long it tried to connect; why in vain is known here only."""
        try:
            return await pool.getconn()
        except PoolTimeout as error:
            if not self._in_vain:
                raise
            raise psycopg.OperationalError(f"{error}: {self._in_vain}") from error

    def _connected(self, in_vain: str) -> None:
        self._in_vain = in_vain

    def _limit(self, connection: _Connection) -> contextlib.AbstractContextManager[None]:
        return _cut_after(self._statement_timeout_s + self._grace_s, connection)

    def _new_pool(self) -> _Pool:
        return AsyncConnectionPool(
            self._conninfo,
            connection_class=_Telling,
            kwargs={**_CONNECTION, "tell": self._connected},
            min_size=1,
            max_size=self._max_connections,
            timeout=self._connect_timeout_s,
            reconnect_timeout=0,  # it would rest longer and longer between two attempts
            configure=self._configure,
            open=False,
            name="ai_gateway",
        )

    async def _configure(self, connection: _Connection) -> None:
        connection.adapters.register_loader("timestamptz", _TimeLoader)
        with _cut_after(self._connect_timeout_s, connection):
            await connection.execute(_SETTINGS, (f"{self._statement_timeout_s * 1000:.0f}",))

    async def _migrate(self) -> None:
        """Under a lock that each gateway waits for which starts at the same time; it ends with the transaction."""
        with self._border():
            connection = await psycopg.AsyncConnection[DictRow].connect(self._conninfo, **_CONNECTION)
            try:
                await self._configure(connection)
                with _cut_after(_MIGRATION_S, connection):
                    async with connection.transaction():
                        await self._migrate_with(connection)
            finally:
                await connection.close()

    async def _migrate_with(self, connection: _Connection) -> None:
        await connection.execute("SET LOCAL statement_timeout = 0")  # an index may take long
        await connection.execute("SELECT pg_advisory_xact_lock($1)", (LOCKS + 1,))
        await connection.execute(CREATE_MIGRATIONS)
        cursor = await connection.execute(APPLIED)
        applied = {row["version"] for row in await cursor.fetchall()}
        for migration in pending_migrations(applied, self._migrations, database=self._name):
            for statement in migration.statements:
                await connection.execute(numbered(statement))
            mark = (migration.version, migration.name, time_value(datetime.now(UTC)))
            await connection.execute(numbered(MARK_APPLIED), mark)

    @contextlib.contextmanager
    def _border(self) -> Iterator[None]:
        """What the driver raises becomes ours, without the password, whoever put it into the message."""
        try:
            yield
        except _REFUSALS as error:
            raise RecordsRefused(
                self._said(error)
            ) from None  # the cause repeats the row, and a row holds prompts
        except (psycopg.Error, OSError) as error:
            raise StoreError(self._said(error)) from error

    def _said(self, error: Exception) -> str:
        """The first line of what the server says: its details repeat the values of a row."""
        said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
        text = " ".join((said or str(error) or type(error).__name__).split())
        if self._password:
            text = text.replace(self._password, "***")
        return f"{self._name}: {text[:_MAX_MESSAGE]}"


class _Telling(psycopg.AsyncConnection[DictRow]):
    """A connection of the pool, which keeps to itself why it can't connect: `tell` hears of each attempt."""

    @classmethod
    async def connect(  # type: ignore[override]
        cls, conninfo: str = "", *, tell: Callable[[str], None], **given: Any
    ) -> Self:
        try:
            connection = await super().connect(conninfo, **given)
        except Exception as error:
            tell(str(error))
            raise
        tell("")
        return connection


class _TimeLoader(Loader):
    """A time as the schema keeps it in SQLite."""

    def load(self, data: Buffer) -> str:
        return time_value(datetime.fromisoformat(bytes(data).decode()))


_CONNECTION: Final[dict[str, Any]] = {
    "autocommit": True,
    "prepare_threshold": None,
    "row_factory": dict_row,
    "cursor_factory": psycopg.AsyncRawCursor,
}


def _defaults(connect_timeout_s: float) -> dict[str, Any]:
    """What the URL may say otherwise. A peer that is gone without a word is noticed in half a minute."""
    return {
        "application_name": "ai-gateway",
        "connect_timeout": max(2, round(connect_timeout_s)),
        "keepalives_idle": 20,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 30_000,
    }


def _name(given: dict[str, Any]) -> str:
    """How errors call the database: where it is, and nothing that opens it."""
    host, port = given.get("host") or given.get("hostaddr") or "the default host", given.get("port")
    return f"PostgreSQL at {host}{f':{port}' if port else ''}"


def _number_of(name: str) -> int:
    """32 bits, signed."""
    return crc32(name.encode()) - (1 << 31)


@contextlib.contextmanager
def _cut_after(seconds: float, connection: _Connection) -> Iterator[None]:
    """Cut the connection if it is still in use by then: whoever waits for the server gets an error.

    The socket is duplicated now, because its number may be another file's by the time.
    """
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        timer = asyncio.get_running_loop().call_later(seconds, _cut, line)
        try:
            yield
        finally:
            timer.cancel()


def _cut(line: socket.socket) -> None:
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
