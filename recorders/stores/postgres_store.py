"""The store on PostgreSQL, beside the stores of other replicas on the same database.

Rows are written by all replicas at once. Threads are linked in a second transaction, under a lock that all replicas
share (`lineage` says why); it is held for this alone, so a writer that waits for it holds no rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from recorders.records import Record
from recorders.stores.database import Database, Statement
from recorders.stores.lineage import POSTGRES_LIST, lineage_of
from recorders.stores.postgres import LOCKS
from recorders.stores.statements import table_by_table
from recorders.stores.tables import rows_of

# The planner can't know how short the lists of a batch are, and would rather read whole tables than follow indexes.
TAKE_TURNS: Final = Statement(
    """
    SELECT pg_advisory_xact_lock(?), set_config('enable_hashjoin', 'off', true),
           set_config('enable_mergejoin', 'off', true), set_config('enable_seqscan', 'off', true),
           set_config('enable_bitmapscan', 'off', true)
    """,
    (LOCKS + 2,),
)


class PostgresStore:
    """Keeps records in `database`, which others (accounts, the management API) may share."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self) -> None:
        await self._database.open()

    async def write(self, records: Sequence[Record]) -> None:
        rows = rows_of(records)
        await self._database.transaction(table_by_table(rows))
        if lineage := lineage_of(rows, POSTGRES_LIST):
            await self._database.transaction([TAKE_TURNS, *lineage])

    async def close(self) -> None:
        await self._database.close()
