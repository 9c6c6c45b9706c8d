"""The store on a SQL database: a batch of records is one transaction, in the order of their coming."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from recorders.records import Record
from recorders.stores.database import Database
from recorders.stores.statements import statements_for


class SqlStore:
    """Keeps records in `database`, which others (accounts, the management API) may share."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self) -> None:
        await self._database.open()

    async def write(self, records: Sequence[Record]) -> None:
        await self._database.transaction(chain.from_iterable(map(statements_for, records)))

    async def close(self) -> None:
        await self._database.close()
