"""A store on a database of either kind, and a look into its tables."""

from __future__ import annotations

from typing import Any

from recorders.records import Record
from recorders.stores.database import Row
from recorders.stores.tables import TABLES
from recorders.stores.urls import database_for, store_on


class Kept:
    def __init__(self, url: str) -> None:
        self.database = database_for(url)
        self.store = store_on(self.database)

    async def write(self, *records: Record) -> None:
        await self.store.write(records)

    async def rows(self, table: str) -> list[Row]:
        return await self.database.fetch(f"SELECT * FROM {table} ORDER BY id")

    async def everything(self) -> dict[str, list[Row]]:
        return {table.name: await self.rows(table.name) for table in TABLES}

    async def forget(self) -> None:
        for table in TABLES:
            await self.database.execute(f"DELETE FROM {table.name}")

    async def thread(self, interception_id: str) -> tuple[Any, ...]:
        return (await self.threads())[interception_id]

    async def threads(self) -> dict[str, tuple[Any, ...]]:
        """Parent, root and session of each interception."""
        rows = await self.database.fetch(
            "SELECT id, thread_parent_id, thread_root_id, session_id FROM aibridge_interceptions"
        )
        return {row["id"]: tuple(row.values())[1:] for row in rows}
