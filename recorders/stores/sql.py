"""The store on a SQL database that has one writer at a time: a batch of records, and what it does to threads, is one
transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from recorders.records import Record
from recorders.stores.database import Database
from recorders.stores.lineage import SQLITE_LIST, lineage_of
from recorders.stores.statements import row_by_row
from recorders.stores.tables import rows_of


class SqlStore:
    """Keeps records in `database`, which others (accounts, the management API) may share."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self) -> None:
        await self._database.open()

    async def write(self, records: Sequence[Record]) -> None:
        rows = rows_of(records)
        await self._database.transaction(chain(row_by_row(rows), lineage_of(rows, SQLITE_LIST)))

    async def close(self) -> None:
        await self._database.close()
