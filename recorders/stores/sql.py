"""The store on a SQL database that has one writer at a time: a batch of records, and what it does to threads, is one
transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain

from recorders.records import Record
from recorders.stores.base import ByteRange, Checkpoint
from recorders.stores.checkpoints import checkpoint_in, checkpoint_moved
from recorders.stores.database import Database, Statement
from recorders.stores.lineage import SQLITE_LIST, lineage_of
from recorders.stores.statements import row_by_row
from recorders.stores.tables import Rows, rows_of


class SqlStore:
    """Keeps records in `database`, which others (accounts, the management API) may share."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self) -> None:
        await self._database.open()

    async def write(self, records: Sequence[Record]) -> None:
        await self.write_from(records, {})

    async def write_from(
        self, records: Sequence[Record], ranges: Mapping[str, ByteRange], *, gone: Collection[str] = ()
    ) -> None:
        await self._write(rows_of(records), checkpoint_moved(ranges, gone))

    async def checkpoint(self, files: Collection[str]) -> Checkpoint:
        return await checkpoint_in(self._database, files)

    async def sync(self) -> bool:
        return await self._database.sync()

    @property
    def generation(self) -> int:
        return self._database.generation

    async def check(self) -> None:
        await self._database.check()

    def trouble(self) -> str | None:
        return self._database.trouble()

    async def close(self) -> None:
        await self._database.close()

    async def _write(self, rows: Rows, moved: Iterable[Statement]) -> None:
        await self._database.transaction(chain(row_by_row(rows), lineage_of(rows, SQLITE_LIST), moved))
