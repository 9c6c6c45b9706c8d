"""What is older than a cutoff: found and deleted in small steps, oldest first, in constant memory.

An interception goes when it started before the cutoff, with all its rows. Orphans go too: an interception of which
only the end is known, by its end, and rows whose interception isn't there, by their own time.

A step is one short transaction, bounded in rows, so whoever writes beside it hardly waits. Rows go before the
interception that they belong to: what stops half-way is found again. Nothing here keeps a connection, a transaction
or a list longer than a step, and nothing asks for what can't be read off an index; orphans are found by their IDs,
which are UUIDv7 and so begin with a time.

What stays may name what went: the parent and the root of a thread whose beginning is gone keep their IDs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from recorders.stores.database import Database, Row, Value, time_value
from recorders.stores.tables import INTERCEPTIONS, TABLES, Table

INTERCEPTIONS_A_STEP: Final = 100
ROWS_A_STEP: Final = 500

PARTS: Final = tuple(table for table in TABLES if table is not INTERCEPTIONS)

# All names in these statements come from `tables`.

_STARTED: Final = f"""
    SELECT started_at, id FROM {INTERCEPTIONS.name}
    WHERE started_at < ? AND (started_at, id) > (?, ?) ORDER BY started_at, id LIMIT ?
"""  # noqa: S608
_NEVER_STARTED: Final = f"""
    SELECT id FROM {INTERCEPTIONS.name}
    WHERE started_at IS NULL AND ended_at < ? AND id > ? ORDER BY id LIMIT ?
"""  # noqa: S608
_EARLIEST: Final = time_value(datetime.min.replace(tzinfo=UTC))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Step(NamedTuple):
    table: Table
    rows: int


class Expired:
    """Of `database`, what was before `cutoff`. Both verbs raise `StoreError`, and can be used again after it."""

    def __init__(
        self,
        database: Database,
        cutoff: datetime,
        *,
        interceptions_a_step: int = INTERCEPTIONS_A_STEP,
        rows_a_step: int = ROWS_A_STEP,
    ) -> None:
        self._database = database
        self._cutoff = time_value(cutoff)
        self._first_id_kept = first_id_of(cutoff)
        self._interceptions_a_step = interceptions_a_step
        self._rows_a_step = rows_a_step

    async def delete(self) -> AsyncGenerator[Step, None]:
        """Each step has been done when it comes; the pause after it is the caller's."""
        async for ids in self._interceptions():
            for table in PARTS:
                more = True
                while more:
                    rows = await self._database.execute(
                        _delete_parts(table, len(ids)), *ids, self._rows_a_step
                    )
                    more = rows == self._rows_a_step
                    yield Step(table, rows)
            yield Step(INTERCEPTIONS, await self._delete(INTERCEPTIONS, ids))
        for table in PARTS:
            async for ids in self._orphans(table):
                yield Step(table, await self._delete(table, ids))

    async def count(self) -> AsyncGenerator[Step, None]:
        """What `delete` would do now."""
        async for ids in self._interceptions():
            for table in PARTS:
                (row,) = await self._database.fetch(_count_parts(table, len(ids)), *ids)
                yield Step(table, row["number"])
            yield Step(INTERCEPTIONS, len(ids))
        for table in PARTS:
            async for ids in self._orphans(table):
                yield Step(table, len(ids))

    async def _delete(self, table: Table, ids: Sequence[str]) -> int:
        return await self._database.execute(_delete(table, len(ids)), *ids)

    async def _interceptions(self) -> AsyncGenerator[list[str], None]:
        pages = (
            self._pages(_STARTED, (_EARLIEST, ""), self._interceptions_a_step),
            self._pages(_NEVER_STARTED, ("",), self._interceptions_a_step),
        )
        for of_kind in pages:
            async for page in of_kind:
                yield [row["id"] for row in page]

    async def _orphans(self, table: Table) -> AsyncGenerator[list[str], None]:
        async for page in self._pages(_old_parts(table), ("",), self._rows_a_step, self._first_id_kept):
            wanted = sorted({row["interception_id"] for row in page})
            found = await self._database.fetch(_known(len(wanted)), *wanted)
            known = {row["id"] for row in found}
            if ids := [row["id"] for row in page if row["interception_id"] not in known]:
                yield ids

    async def _pages(
        self, sql: str, after: tuple[Value, ...], limit: int, *bounds: Value
    ) -> AsyncGenerator[list[Row], None]:
        """Page by page, each after the last row of the one before, whose first columns are the place to go on.

        A page doesn't begin at the beginning again: in PostgreSQL what was deleted stands in the way for a while.
        """
        while rows := await self._database.fetch(sql, self._cutoff, *bounds, *after, limit):
            yield rows
            if len(rows) < limit:
                return
            after = tuple(rows[-1].values())[: len(after)]


def first_id_of(time: datetime) -> str:
    """What sorts after each UUIDv7 from before `time`, to the millisecond, and before all later ones."""
    milliseconds = max(0, (time - _EPOCH) // timedelta(milliseconds=1))
    digits = f"{milliseconds:012x}"
    return f"{digits[:8]}-{digits[8:]}"


def _old_parts(table: Table) -> str:
    where = "created_at < ? AND id < ? AND id > ?"
    return f"SELECT id, interception_id FROM {table.name} WHERE {where} ORDER BY id LIMIT ?"  # noqa: S608


def _known(number: int) -> str:
    return f"SELECT id FROM {INTERCEPTIONS.name} WHERE id IN ({_marks(number)})"  # noqa: S608


def _delete(table: Table, number: int) -> str:
    return f"DELETE FROM {table.name} WHERE id IN ({_marks(number)})"  # noqa: S608


def _delete_parts(table: Table, number: int) -> str:
    some = f"SELECT id FROM {table.name} WHERE interception_id IN ({_marks(number)}) LIMIT ?"  # noqa: S608
    return f"DELETE FROM {table.name} WHERE id IN ({some})"  # noqa: S608


def _count_parts(table: Table, number: int) -> str:
    return f"SELECT count(*) AS number FROM {table.name} WHERE interception_id IN ({_marks(number)})"  # noqa: S608


def _marks(number: int) -> str:
    return ", ".join("?" * number)
