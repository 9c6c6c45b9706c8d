"""The store on PostgreSQL, beside the stores of other replicas on the same database.

Rows are written by all replicas at once. Threads are linked in a second transaction, under a lock that all replicas
share (`lineage` says why); it is held for this alone, so a writer that waits for it holds no rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Final

from recorders.stores.database import Statement
from recorders.stores.lineage import POSTGRES_LIST, lineage_of
from recorders.stores.postgres import LOCKS
from recorders.stores.sql import SqlStore
from recorders.stores.statements import table_by_table
from recorders.stores.tables import Rows

# The planner can't know how short the lists of a batch are, and would rather read whole tables than follow indexes.
TAKE_TURNS: Final = Statement(
    """
    SELECT pg_advisory_xact_lock(?), set_config('enable_hashjoin', 'off', true),
           set_config('enable_mergejoin', 'off', true), set_config('enable_seqscan', 'off', true),
           set_config('enable_bitmapscan', 'off', true)
    """,
    (LOCKS + 2,),
)


class PostgresStore(SqlStore):
    """Keeps records in `database`, which others (accounts, the management API) may share."""

    async def _write(self, rows: Rows, moved: Iterable[Statement]) -> None:
        await self._database.transaction(chain(table_by_table(rows), moved))
        if lineage := lineage_of(rows, POSTGRES_LIST):
            await self._database.transaction([TAKE_TURNS, *lineage])
