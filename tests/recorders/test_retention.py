from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recorders.retention import LOCK, REST_S, Retention, RetentionStats, cutoff_of, purge
from recorders.stores.base import StoreError
from recorders.stores.database import Database, Value
from recorders.stores.expired import INTERCEPTIONS_A_STEP, ROWS_A_STEP
from recorders.stores.tables import INTERCEPTIONS, TABLES
from recorders.stores.urls import database_for
from tests.recorders import aged
from tests.recorders.stores.kept import Kept
from tests.waiting import Changes

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
EACH = {table.name: 1 for table in TABLES}
NOTHING: dict[str, int] = {}


class Hours:
    """The pauses of a retention, and the clock: an hour passes when a test lets it."""

    def __init__(self) -> None:
        self.now = NOW
        self.pauses: list[float] = []
        self._changes = Changes()
        self._turn = asyncio.Event()
        self.waiting = False

    def clock(self) -> datetime:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if seconds < 60:
            return
        self.waiting = True
        self._changes.notify()
        await self._turn.wait()
        self._turn.clear()

    async def turn_done(self) -> None:
        await self._changes.until(lambda: self.waiting, "the end of a turn")

    async def next_turn(self, later: timedelta = timedelta(hours=1)) -> None:
        self.now += later
        self.waiting = False
        self._turn.set()
        await self.turn_done()


class Failing:
    """A database whose statements fail `failures` times."""

    def __init__(self, database: Database, failures: int) -> None:
        self._database = database
        self._failures = failures

    async def execute(self, sql: str, *parameters: Value) -> int:
        if self._failures:
            self._failures -= 1
            raise StoreError("the database is down")
        return await self._database.execute(sql, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
async def replica(database_url: str, kept: Kept) -> AsyncIterator[Database]:
    """Another process's connection to the same database."""
    database = database_for(database_url)
    await database.open()
    yield database
    await database.close()


def retention(database: Database, hours: Hours, *, keep: timedelta = 30 * DAY) -> Retention:
    return Retention(database, keep_s=keep.total_seconds(), clock=hours.clock, pause=hours.pause)


async def left(kept: Kept) -> dict[str, int]:
    return {name: len(rows) for name, rows in (await kept.everything()).items() if rows}


async def test_it_deletes_what_is_too_old_at_start_and_then_every_hour(kept: Kept, hours: Hours) -> None:
    """With time, more gets old."""
    for age in (31, 30, 29):
        await kept.write(*aged.whole(NOW - age * DAY))
    task = retention(kept.database, hours)

    task.start()
    await hours.turn_done()
    assert task.stats == RetentionStats(deleted=EACH, turns=1, skipped=0, failures=0)
    assert hours.pauses[-1] == 3600

    await hours.next_turn()
    assert await left(kept) == EACH

    await hours.next_turn(2 * DAY)
    assert await left(kept) == NOTHING
    assert task.stats.deleted == {name: 3 for name in EACH}
    await task.stop()


async def test_a_retention_of_zero_keeps_records_for_ever(kept: Kept, hours: Hours) -> None:
    """However old they are."""
    await kept.write(*aged.whole(NOW - 9999 * DAY))
    task = retention(kept.database, hours, keep=timedelta())

    task.start()
    await task.stop()

    assert task.stats.turns == 0
    assert await left(kept) == EACH


async def test_it_rests_after_each_short_transaction(kept: Kept, hours: Hours) -> None:
    """Whoever records gets in between."""
    number = INTERCEPTIONS_A_STEP + 1
    await kept.write(*(record for _ in range(number) for record in aged.whole(NOW - 40 * DAY)))
    task = retention(kept.database, hours)

    task.start()
    await hours.turn_done()
    await task.stop()

    assert task.stats.deleted == {name: number for name in EACH}
    assert number < ROWS_A_STEP
    assert hours.pauses == [*[REST_S] * 2 * len(EACH), 3600]


async def test_recording_goes_on_while_it_works(kept: Kept, hours: Hours) -> None:
    """What comes between two steps is stored, and stays if it is young."""
    await kept.write(*(record for _ in range(5) for record in aged.whole(NOW - 40 * DAY)))
    written = 0

    async def pause(seconds: float) -> None:
        nonlocal written
        await kept.write(*aged.whole(NOW))
        written += 1

    assert await purge(kept.database, NOW - 30 * DAY, Counter(), pause=pause)

    assert written == len(EACH)
    assert await left(kept) == {name: written for name in EACH}


async def test_of_several_replicas_one_works_and_the_others_skip_their_turn(
    kept: Kept, replica: Database, hours: Hours
) -> None:
    """They look again an hour later, when the first may be gone."""
    await kept.write(*aged.whole(NOW - 40 * DAY))
    task = retention(replica, hours)
    async with kept.database.lock(LOCK):
        task.start()
        await hours.turn_done()
        assert task.stats == RetentionStats(deleted=NOTHING, turns=1, skipped=1, failures=0)
        assert await left(kept) == EACH

    await hours.next_turn()
    await task.stop()

    assert task.stats == RetentionStats(deleted=EACH, turns=2, skipped=1, failures=0)


async def test_the_lock_is_held_from_the_first_step_to_the_last(kept: Kept, replica: Database) -> None:
    """A replica that comes in the middle doesn't begin, one that comes after does."""
    await kept.write(*aged.whole(NOW - 40 * DAY))
    cutoff = NOW - 30 * DAY
    others: list[bool] = []

    async def pause(seconds: float) -> None:
        others.append(await purge(replica, cutoff, Counter()))

    assert await purge(kept.database, cutoff, Counter(), pause=pause)

    assert others == [False] * len(EACH)
    assert await purge(replica, cutoff, Counter())


async def test_what_fails_is_logged_and_goes_on_at_the_next_turn(
    kept: Kept, hours: Hours, caplog: pytest.LogCaptureFixture
) -> None:
    """The database may be down for a while; the lock is free meanwhile."""
    await kept.write(*aged.whole(NOW - 40 * DAY))
    task = retention(Failing(kept.database, 1), hours)

    task.start()
    await hours.turn_done()
    assert task.stats == RetentionStats(deleted=NOTHING, turns=1, skipped=0, failures=1)
    assert "deleting old records failed, again in 3600 s: the database is down" in caplog.text

    await hours.next_turn()
    await task.stop()

    assert task.stats == RetentionStats(deleted=EACH, turns=2, skipped=0, failures=1)


async def test_what_was_deleted_before_an_error_is_counted(kept: Kept) -> None:
    """It is gone, after all."""
    await kept.write(*aged.whole(NOW - 40 * DAY))
    deleted: Counter[str] = Counter()

    async def pause(seconds: float) -> None:
        if len(deleted) == 2:
            raise StoreError("gone")

    with pytest.raises(StoreError, match="gone"):
        await purge(kept.database, NOW - 30 * DAY, deleted, pause=pause)

    assert deleted.total() == 2
    assert sum((await left(kept)).values()) == len(EACH) - 2


async def test_stopping_does_not_wait_for_the_end_of_a_turn(kept: Kept, replica: Database) -> None:
    """The lock is free at once, and the next start goes on."""
    await kept.write(*aged.whole(NOW - 40 * DAY))
    resting = asyncio.Event()

    async def pause(seconds: float) -> None:
        resting.set()
        await asyncio.Event().wait()

    task = Retention(kept.database, keep_s=DAY.total_seconds(), clock=lambda: NOW, pause=pause)
    task.start()
    task.start()
    await resting.wait()
    await task.stop()
    await task.stop()
    assert task.stats.deleted == {name: 1 for name in task.stats.deleted}
    assert INTERCEPTIONS.name not in task.stats.deleted

    assert await purge(replica, NOW - DAY, Counter())
    assert await left(kept) == NOTHING

    resting.clear()
    task.start()
    await resting.wait()
    await task.stop()
    assert task.stats.turns == 2


async def test_what_was_deleted_is_logged(kept: Kept, hours: Hours, caplog: pytest.LogCaptureFixture) -> None:
    """A turn that finds nothing says nothing."""
    caplog.set_level(logging.INFO, "ai_gateway.recorders")
    await kept.write(*aged.whole(NOW - 40 * DAY), *aged.whole(NOW - 40 * DAY))
    task = retention(kept.database, hours)

    task.start()
    await hours.turn_done()
    await hours.next_turn()
    await task.stop()

    assert caplog.messages == [
        "deleted 2 interceptions from before 2026-01-30T12:00:00.000000Z, 10 rows in all"
    ]


def test_a_retention_longer_than_the_calendar_keeps_everything() -> None:
    """Ten thousand years are a way to say for ever."""
    assert cutoff_of(NOW, 60 * 86_400) == NOW - 60 * DAY
    assert cutoff_of(NOW, 10_000 * 366 * 86_400.0) == datetime.min.replace(tzinfo=UTC)
    assert cutoff_of(NOW, 1e30) == datetime.min.replace(tzinfo=UTC)
