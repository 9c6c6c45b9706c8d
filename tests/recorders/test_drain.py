from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from recorders.drain import Backoff, Drain, DrainStats, wait_at_most
from recorders.journal import Batch, MemoryJournal
from recorders.records import Record
from recorders.stores.base import RecordsRefused, StoreError
from recorders.stores.memory import MemoryStore
from recorders.stores.sqlite import SQLiteDatabase, SQLiteStore
from tests.recorders import samples

DEADLINE_S = 10.0


class ScriptedStore(MemoryStore):
    """Fails as often as `failures` says, then works; `batches` are the sizes of what came."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.failures = list(failures)
        self.batches: list[int] = []

    async def write(self, records: Sequence[Record]) -> None:
        self.batches.append(len(records))
        if self.failures:
            raise self.failures.pop(0)
        await super().write(records)


class HangingStore(MemoryStore):
    """Writes when `released`; `asked` is set when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.released = asyncio.Event()

    async def write(self, records: Sequence[Record]) -> None:
        self.asked.set()
        await self.released.wait()
        await super().write(records)


class Pauses:
    """Keeps the delays instead of spending them."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    async def __call__(self, event: asyncio.Event, seconds: float) -> None:
        self.delays.append(seconds)


@asynccontextmanager
async def draining(journal: MemoryJournal, store: MemoryStore, **options: Any) -> AsyncIterator[Drain]:
    drain = Drain(journal, store, **({"linger_s": 0.0} | options))
    drain.start()
    try:
        yield drain
    finally:
        await drain.stop(0)


async def test_what_is_appended_is_stored_and_leaves_the_journal() -> None:
    """The drain wakes by itself; a flush only waits for it."""
    journal, store = MemoryJournal(), MemoryStore()
    async with draining(journal, store) as drain:
        for record in samples.whole():
            journal.append(record)

        assert await drain.flush(DEADLINE_S)

        assert store.records == samples.whole()
        assert drain.stats == DrainStats(stored=6, failures=0, refused=0, waiting=0, lag_s=0.0)


async def test_what_the_journal_holds_at_the_start_is_stored_too() -> None:
    """Nobody has to append something first."""
    journal, store = MemoryJournal(), MemoryStore()
    journal.append(samples.start())
    async with draining(journal, store) as drain:
        assert await drain.flush(DEADLINE_S)

    assert store.starts == [samples.start()]


async def test_records_that_gather_are_stored_in_bounded_batches() -> None:
    """Many small transactions would be slow, one huge one would not be bounded."""
    journal, store = MemoryJournal(), ScriptedStore()
    for index in range(25):
        journal.append(samples.start(f"i{index}"))
    async with draining(journal, store, batch_records=10) as drain:
        assert await drain.flush(DEADLINE_S)

    assert store.batches == [10, 10, 5]


async def test_a_store_that_fails_is_tried_again_until_it_works_and_nothing_is_lost() -> None:
    """The delays double, and the records come in their order."""
    journal, pauses = MemoryJournal(), Pauses()
    store = ScriptedStore(*(StoreError("down") for _ in range(5)))
    async with draining(journal, store, pause=pauses, chance=lambda: 1.0, linger_s=7.0) as drain:
        for record in samples.whole():
            journal.append(record)
        assert await drain.flush(DEADLINE_S)

        assert store.records == samples.whole()
        assert pauses.delays[:6] == [7.0, 0.1, 0.2, 0.4, 0.8, 1.6]
        assert drain.stats.failures == 5
        assert drain.stats.stored == 6


async def test_the_backoff_begins_anew_after_a_success() -> None:
    """A second outage isn't punished for the first."""
    journal, pauses = MemoryJournal(), Pauses()
    store = ScriptedStore(StoreError("down"), StoreError("down"))
    async with draining(journal, store, pause=pauses, chance=lambda: 1.0) as drain:
        journal.append(samples.start())
        await drain.flush(DEADLINE_S)
        store.failures = [StoreError("down again")]
        journal.append(samples.end())
        await drain.flush(DEADLINE_S)

    assert [delay for delay in pauses.delays if delay] == [0.1, 0.2, 0.1]


async def test_any_exception_of_a_store_counts_as_an_outage() -> None:
    """A bug in a store ends neither the drain nor the record."""
    journal, store = MemoryJournal(), ScriptedStore(ZeroDivisionError())
    async with draining(journal, store, pause=Pauses()) as drain:
        journal.append(samples.start())
        assert await drain.flush(DEADLINE_S)

    assert store.starts == [samples.start()]


async def test_a_journal_that_cannot_be_read_is_tried_again() -> None:
    """An error of the disk doesn't end the drain."""

    class Unreadable(MemoryJournal):
        errors = 2

        async def read(self, max_records: int, max_bytes: int) -> Batch | None:
            if self.errors:
                self.errors -= 1
                raise OSError("input/output error")
            return await super().read(max_records, max_bytes)

    journal, store = Unreadable(), MemoryStore()
    async with draining(journal, store, pause=Pauses()) as drain:
        journal.append(samples.start())
        assert await drain.flush(DEADLINE_S)

        assert drain.stats.failures == 2
    assert store.starts == [samples.start()]


async def test_a_store_that_hangs_is_given_up_and_tried_again() -> None:
    """A query that never answers counts as a failure."""
    journal, store = MemoryJournal(), HangingStore()

    async def release(event: asyncio.Event, seconds: float) -> None:
        if store.asked.is_set():
            store.released.set()

    async with draining(journal, store, pause=release, write_timeout_s=0.001) as drain:
        journal.append(samples.start())
        assert await drain.flush(DEADLINE_S)

        assert drain.stats.failures >= 1
    assert store.starts == [samples.start()]


async def test_a_record_that_the_store_refuses_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is left out, counted, and named in the log without its text."""

    class Picky(MemoryStore):
        async def write(self, records: Sequence[Record]) -> None:
            if any(record == samples.prompt() for record in records):
                raise RecordsRefused("value out of range")
            await super().write(records)

    journal, store = MemoryJournal(), Picky()
    async with draining(journal, store) as drain:
        for record in samples.whole():
            journal.append(record)
        assert await drain.flush(DEADLINE_S)

        assert drain.stats.refused == 1
        assert drain.stats.stored == 5
    assert store.records == [record for record in samples.whole() if record != samples.prompt()]
    assert "a PromptUsage of i1 was refused" in caplog.text
    assert "monad" not in caplog.text


async def test_appending_never_waits_for_a_store_that_hangs() -> None:
    """A request goes on at once, and the lag tells how far the store is behind."""
    now = [0.0]
    journal, store = MemoryJournal(clock=lambda: now[0]), HangingStore()
    async with draining(journal, store) as drain:
        journal.append(samples.start())
        await store.asked.wait()
        now[0] = 30.0
        journal.append(samples.end())

        assert drain.stats == DrainStats(stored=0, failures=0, refused=0, waiting=2, lag_s=30.0)


async def test_a_flush_gives_up_at_its_deadline() -> None:
    """A dead store can't hold up a shutdown; the journal keeps the records."""
    journal, store = MemoryJournal(), HangingStore()
    drain = Drain(journal, store)
    drain.start()
    journal.append(samples.start())

    assert not await drain.flush(0.001)
    assert await drain.stop(0.001) == 1
    assert journal.backlog().records == 1


async def test_stopping_stores_what_was_left() -> None:
    """An orderly end loses nothing, even when the drain was resting."""
    journal, store = MemoryJournal(), MemoryStore()
    drain = Drain(journal, store, linger_s=3600)
    drain.start()
    journal.append(samples.start())

    assert await drain.stop(DEADLINE_S) == 0
    assert store.starts == [samples.start()]


async def test_a_record_that_comes_while_a_flush_ends_is_waited_for() -> None:
    """A request that ends during shutdown leaves its last records when the rest is just stored."""
    journal = MemoryJournal()
    first, *late = samples.whole()

    class Crossing(MemoryStore):
        async def write(self, records: Sequence[Record]) -> None:
            await super().write(records)
            if late:
                asyncio.get_running_loop().call_soon(journal.append, late.pop(0))

    store = Crossing()
    async with draining(journal, store) as drain:
        journal.append(first)

        assert await drain.flush(DEADLINE_S)

        assert store.records == samples.whole()


async def test_a_flush_cuts_a_backoff_short_once() -> None:
    """At shutdown the store gets another chance at once, but a failing one isn't hammered."""
    journal = MemoryJournal()
    store = ScriptedStore(*(StoreError("down") for _ in range(1000)))
    drain = Drain(journal, store, linger_s=0.0, backoff=Backoff(first_s=3600, max_s=3600))
    drain.start()
    journal.append(samples.start())

    assert not await drain.flush(0.01)
    await drain.stop(0.01)

    assert len(store.batches) <= 3


async def test_a_drain_that_is_not_running_says_so() -> None:
    """Waiting for it would be waiting for ever."""
    journal = MemoryJournal()
    journal.append(samples.start())
    drain = Drain(journal, MemoryStore())

    with pytest.raises(RuntimeError, match="not running"):
        await drain.flush(DEADLINE_S)
    assert await drain.stop(DEADLINE_S) == 1


async def test_starting_twice_makes_one_drain() -> None:
    """Two would read the same records."""
    journal, store = MemoryJournal(), ScriptedStore()
    async with draining(journal, store) as drain:
        drain.start()
        journal.append(samples.start())
        await drain.flush(DEADLINE_S)

    assert store.batches == [1]


async def test_records_wait_while_another_process_locks_the_database(tmp_path: Path) -> None:
    """With the real store: nothing is lost and nothing is doubled."""
    store = SQLiteStore(tmp_path / "x.db", busy_timeout_s=0.0)
    await store.open()
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    failed: list[float] = []

    async def unlock_after_three(event: asyncio.Event, seconds: float) -> None:
        failed.extend([seconds] if seconds else [])
        if len(failed) == 3:
            other.close()

    journal = MemoryJournal()
    drain = Drain(journal, store, linger_s=0.0, pause=unlock_after_three)
    drain.start()
    for record in samples.whole():
        journal.append(record)
    assert await drain.flush(DEADLINE_S)
    assert await drain.stop(DEADLINE_S) == 0

    database = SQLiteDatabase(tmp_path / "x.db")
    rows = await database.fetch("SELECT id, outcome FROM aibridge_interceptions")
    assert rows == [{"id": "i1", "outcome": "completed"}]
    assert len(failed) == 3
    await database.close()
    await store.close()


def test_the_backoff_doubles_up_to_its_bound_and_spreads() -> None:
    """Replicas that lost the same database don't come back in step."""
    backoff = Backoff(first_s=1.0, max_s=8.0)

    assert [backoff.delay_s(attempt, 1.0) for attempt in range(5)] == [1, 2, 4, 8, 8]
    assert backoff.delay_s(2, 0.0) == 2.0
    assert backoff.delay_s(10_000, 0.5) == 6.0


async def test_waiting_at_most_ends_with_the_event_or_the_time() -> None:
    """Neither of the two is an error."""
    event = asyncio.Event()
    await wait_at_most(event, 0.001)
    event.set()

    await wait_at_most(event, 3600)


def test_a_drain_can_be_started_again_in_another_event_loop() -> None:
    """An application that is started twice in one process records both times."""
    journal, store = MemoryJournal(), MemoryStore()
    drain = Drain(journal, store)

    async def once(interception_id: str) -> int:
        drain.start()
        journal.append(samples.start(interception_id))
        return await drain.stop(DEADLINE_S)

    assert asyncio.run(once("a")) == asyncio.run(once("b")) == 0
    assert store.starts == [samples.start("a"), samples.start("b")]
