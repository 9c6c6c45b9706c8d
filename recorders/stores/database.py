"""The seam to a SQL database: statements with `?` for their parameters, rows as mappings, one transaction a batch.

SQLite implements it here, another database in a file of its own; whoever keeps something in SQL (records, users,
keys) is written against this and against the part of SQL that the schema names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol, TypeAlias

Value: TypeAlias = str | int | bool | None
Row: TypeAlias = Mapping[str, Any]


class Statement(NamedTuple):
    sql: str
    parameters: tuple[Value, ...]


class Database(Protocol):
    """Safe to use from many tasks at once. Every method raises `StoreError` naming the database, and nothing else."""

    async def open(self) -> None:
        """Connect and migrate; once open, opening again does nothing. Raises `SchemaTooNew` as well."""
        ...

    async def fetch(self, sql: str, *parameters: Value) -> list[Row]:
        """The rows of a query that changes nothing."""
        ...

    async def execute(self, sql: str, *parameters: Value) -> int:
        """One statement in a transaction of its own; returns how many rows it changed."""
        ...

    async def transaction(self, statements: Iterable[Statement]) -> None:
        """All statements in order, or none. The iterable may be consumed in another thread.

        Raises `RecordsRefused` when the database works but won't take a value.
        """
        ...

    def lock(self, name: str) -> AbstractAsyncContextManager[bool]:
        """The lock `name`, which all processes on this database share, for a block: False, at once, when it is taken.

        It is advice: it holds up nobody who doesn't ask for it. A process that dies lets go of it.
        """
        ...

    async def sync(self) -> bool:
        """Bring what is committed to where no loss of power or of a log takes it. False: not yet, ask again later."""
        ...

    @property
    def generation(self) -> int:
        """Grows when the database had to be opened again while it was in use: what was committed last may be gone."""
        ...

    async def check(self) -> None:
        """See whether it is still the one that was opened, and open it again if not."""
        ...

    def trouble(self) -> str | None:
        """Why it can't be relied on now, in words for anybody; None when it can, or nobody knows."""
        ...

    async def close(self) -> None: ...


def time_value(time: datetime) -> str:
    """An aware time as the schema keeps it: UTC, fixed width."""
    utc = time if time.tzinfo is UTC else time.astimezone(UTC)
    return utc.isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


def read_time(value: Any) -> datetime:
    """A time column, whether the driver gives text or a datetime."""
    time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return time.astimezone(UTC)


def read_time_or_none(value: Any) -> datetime | None:
    return None if value is None else read_time(value)
