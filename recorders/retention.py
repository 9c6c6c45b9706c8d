"""Records are deleted when they are old: a task of its own that begins at start and then takes a turn every hour.

One replica at a time works, under a lock that the database keeps; the others skip their turn. The lock saves work and
is not needed to be right: two who delete the same find less to do. Between two short transactions the task rests, so
that who records hardly waits (`stores.expired` has what goes, and in which order). A turn that fails is logged; the
next one goes on where it stopped.

It frees space inside the database and doesn't give it back to the file system: SQLite uses it again for what comes,
PostgreSQL does so after its own vacuum.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from recorders.stores.database import Database, time_value
from recorders.stores.expired import Expired
from recorders.stores.tables import INTERCEPTIONS
from recorders.tasks import end

log = logging.getLogger("ai_gateway.recorders")

Pause: TypeAlias = Callable[[float], Awaitable[None]]

LOCK: Final = "retention"
EVERY_S: Final = 3600.0
REST_S: Final = 0.005


def utc_now() -> datetime:
    return datetime.now(UTC)


def cutoff_of(now: datetime, keep_s: float) -> datetime:
    """The time before which everything goes."""
    try:
        return now - timedelta(seconds=keep_s)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


async def purge(
    database: Database, cutoff: datetime, deleted: Counter[str], *, pause: Pause = asyncio.sleep
) -> bool:
    """Delete what is from before `cutoff`, unless another process is at it: then False.

    `deleted` counts rows by table while they go, so it is right also when this raises `StoreError`.
    """
    async with database.lock(LOCK) as ours:
        if ours:
            async with aclosing(Expired(database, cutoff).delete()) as steps:
                async for table, rows in steps:
                    deleted[table.name] += rows
                    await pause(REST_S)
        return ours


@dataclass(frozen=True, slots=True)
class RetentionStats:
    """Counted since the start. `deleted` are rows by table; a skipped turn was another replica's."""

    deleted: Mapping[str, int]
    turns: int
    skipped: int
    failures: int


class Retention:
    """Keeps records for `keep_s` seconds; 0 keeps them for ever. `start`, `stop`."""

    def __init__(
        self,
        database: Database,
        *,
        keep_s: float,
        every_s: float = EVERY_S,
        clock: Callable[[], datetime] = utc_now,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._database = database
        self._keep_s = keep_s
        self._every_s = every_s
        self._clock = clock
        self._pause = pause
        self._task: asyncio.Task[None] | None = None
        self._deleted: Counter[str] = Counter()
        self._turns = 0
        self._skipped = 0
        self._failures = 0

    @property
    def stats(self) -> RetentionStats:
        return RetentionStats(dict(self._deleted), self._turns, self._skipped, self._failures)

    def start(self) -> None:
        """Take the first turn now; after `stop`, begin again. The database must be open."""
        if self._keep_s > 0 and self._task is None:
            self._task = asyncio.create_task(self._run(), name="recorders.retention")

    async def stop(self) -> None:
        """Also in the middle of a turn: what is deleted is deleted, the rest has time."""
        if self._task is not None:
            task, self._task = self._task, None
            await end(task)

    async def _run(self) -> None:
        while True:
            await self._turn()
            await self._pause(self._every_s)

    async def _turn(self) -> None:
        self._turns += 1
        cutoff = cutoff_of(self._clock(), self._keep_s)
        deleted: Counter[str] = Counter()
        try:
            if not await purge(self._database, cutoff, deleted, pause=self._pause):
                self._skipped += 1
                log.debug("another replica is deleting old records")
        except Exception as error:
            self._failures += 1
            log.warning(
                "deleting old records failed, again in %.0f s: %s",
                self._every_s,
                str(error) or type(error).__name__,
            )
        finally:
            self._deleted += deleted
            if total := deleted.total():
                log.info(
                    "deleted %d interceptions from before %s, %d rows in all",
                    deleted[INTERCEPTIONS.name],
                    time_value(cutoff),
                    total,
                )
