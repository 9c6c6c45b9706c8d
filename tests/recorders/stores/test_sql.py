from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

from recorders.records import Record
from recorders.stores.base import Store
from recorders.stores.database import Database, Row, Statement, Value
from recorders.stores.lineage import SQLITE_LIST, lineage_of
from recorders.stores.sql import SqlStore
from recorders.stores.statements import row_by_row
from recorders.stores.tables import rows_of
from tests.recorders import samples


class Notebook:
    """A database that only writes down what it is asked."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def open(self) -> None:
        self.calls.append("open")

    async def fetch(self, sql: str, *parameters: Value) -> list[Row]:
        raise NotImplementedError

    async def execute(self, sql: str, *parameters: Value) -> int:
        raise NotImplementedError

    async def transaction(self, statements: Iterable[Statement]) -> None:
        self.calls.append(list(statements))

    def lock(self, name: str) -> AbstractAsyncContextManager[bool]:
        raise NotImplementedError

    async def sync(self) -> bool:
        raise NotImplementedError

    @property
    def generation(self) -> int:
        return 0

    async def check(self) -> None:
        raise NotImplementedError

    def trouble(self) -> str | None:
        return None

    async def close(self) -> None:
        self.calls.append("close")


async def test_a_batch_and_its_threads_are_one_transaction() -> None:
    """On a database with one writer at a time, nobody sees records without their threads."""
    database = Notebook()
    seam: Database = database
    store: Store = SqlStore(seam)
    records: list[Record] = [
        samples.start(),
        samples.tool(),
        samples.start("i2", correlating_tool_call_id="call_1"),
    ]

    await store.open()
    await store.write(records)
    await store.close()

    rows = rows_of(records)
    assert database.calls == ["open", [*row_by_row(rows), *lineage_of(rows, SQLITE_LIST)], "close"]
    assert len(database.calls[1]) == 4
