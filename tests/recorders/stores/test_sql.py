from __future__ import annotations

from collections.abc import Iterable

from recorders.records import Record
from recorders.stores.base import Store
from recorders.stores.database import Database, Row, Statement, Value
from recorders.stores.sql import SqlStore
from recorders.stores.statements import statements_for
from tests.recorders import samples


class Notebook:
    """A database that only writes down what it is asked."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    async def open(self) -> None:
        self.calls.append("open")

    async def fetch(self, sql: str, *parameters: Value) -> list[Row]:
        raise NotImplementedError

    async def execute(self, sql: str, *parameters: Value) -> int:
        raise NotImplementedError

    async def transaction(self, statements: Iterable[Statement]) -> None:
        self.calls.append(list(statements))

    async def close(self) -> None:
        self.calls.append("close")


async def test_a_batch_is_one_transaction_in_the_order_of_its_records() -> None:
    """On any database behind the seam; lineage relies on the order."""
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

    expected = [statement for record in records for statement in statements_for(record)]
    assert database.calls == ["open", expected, "close"]
    assert len(expected) == 4
