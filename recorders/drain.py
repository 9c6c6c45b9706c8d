"""The way from the journal to the store: a task of its own that no request waits for.

It sleeps until the journal says that something was appended, lingers a moment so that a batch can gather, writes
batches and commits them. A store that fails is tried again for ever, with backoff and jitter; meanwhile the journal
grows up to its own bound and then refuses. A record that the store refuses for what it says (not an outage) is
dropped, counted and logged, so that it can't hold up the others.

A store that keeps checkpoints is asked for them at the start, after each failure and when it had to be opened again:
what it has lost, the journal gives out once more. A file of the journal goes only when such a store is sure of what
was in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from recorders.journal import MEBIBYTE, Batch, Journal
from recorders.records import Record
from recorders.stores.base import CheckpointedStore, RecordsRefused, Store, checkpointed
from recorders.tasks import end

log = logging.getLogger("ai_gateway.recorders")

LAST_LOOK_S: Final = 1.0
"""How long the end waits for a store that is away when nothing is to be stored."""
LAST_SYNC_S: Final = 1.0
AGAIN_S: Final = 0.05
MAX_FORGOTTEN: Final = 64

Pause: TypeAlias = Callable[[asyncio.Event, float], Awaitable[None]]
"""Wait for the event, but at most so many seconds."""


async def wait_at_most(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling delays with jitter: the n-th lies between half and the whole of `first_s * 2 ** n`, capped."""

    first_s: float = 0.1
    max_s: float = 30.0

    def delay_s(self, attempt: int, chance: float) -> float:
        """`attempt` counts from 0; `chance` is a random number in [0, 1)."""
        whole = min(self.max_s, self.first_s * 2.0 ** min(attempt, 32))
        return whole * (0.5 + chance / 2)


@dataclass(frozen=True, slots=True)
class DrainStats:
    """Counted since the start, but for `waiting` and `lag_s`: the backlog now and the age of its oldest record.

    `restored` are records that the store had taken and lost, and that were given to it again.
    """

    stored: int
    failures: int
    refused: int
    waiting: int
    lag_s: float
    restored: int = 0


class Drain:
    """Moves records from `journal` to `store`, in order, at least once each. `start`, `flush`, `stop`."""

    def __init__(
        self,
        journal: Journal,
        store: Store,
        *,
        batch_records: int = 256,
        batch_bytes: int = 4 * MEBIBYTE,
        linger_s: float = 0.1,
        write_timeout_s: float = 60.0,
        backoff: Backoff | None = None,
        pause: Pause = wait_at_most,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._journal = journal
        self._store = store
        self._checkpointed = checkpointed(store)
        self._batch_records = batch_records
        self._batch_bytes = batch_bytes
        self._linger_s = linger_s
        self._write_timeout_s = write_timeout_s
        self._backoff = backoff or Backoff()
        self._pause = pause
        self._chance = chance
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._empty = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stored = 0
        self._failures = 0
        self._refused = 0
        self._restored = 0
        self._compared: int | None = None
        """The generation of the store whose checkpoint was compared with the journal."""
        self._gone: list[str] = []
        """Files of the journal whose checkpoints are of no use any more."""
        self._forgotten: deque[str] = deque(maxlen=MAX_FORGOTTEN)
        """Those that the store was told of; if it loses that too, it is told again."""
        journal.listen(self._appended)

    @property
    def stats(self) -> DrainStats:
        backlog = self._journal.backlog()
        return DrainStats(
            self._stored,
            self._failures,
            self._refused,
            backlog.records,
            backlog.oldest_age_s,
            self._restored,
        )

    def start(self) -> None:
        """Begin, also with what the journal already holds; after `stop`, begin again."""
        if self._task is None:
            # Events belong to the event loop that waits for them first, and this may be another one.
            self._wake, self._hurry, self._empty = asyncio.Event(), asyncio.Event(), asyncio.Event()
            self._compared = None
            self._appended()
            self._task = asyncio.create_task(self._run(), name="recorders.drain")

    async def flush(self, deadline_s: float) -> bool:
        """Wait until all that was appended is stored; False when the deadline came first."""
        if self._task is None:
            raise RuntimeError("the drain is not running")
        self._appended()
        try:
            async with asyncio.timeout(deadline_s):
                # Records may come between the moment when all is stored and the one in which this task hears of it.
                while not self._empty.is_set():
                    self._hurry.set()
                    await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self, deadline_s: float) -> int:
        """Flush, then end. Returns how many records are left in the journal, which keeps them if it can."""
        if self._task is None:
            return self._journal.backlog().records
        self._compared = None  # what was lost without a word shall be found before the journal is empty
        if not self._journal.backlog().records:
            await self.flush(LAST_LOOK_S)
        if self._journal.backlog().records:
            await self.flush(deadline_s)
        task, self._task = self._task, None
        await end(task)
        await self._let_go(LAST_SYNC_S, at_the_end=True)
        left = self._journal.backlog().records
        if left:
            log.warning("%d records are not stored; the journal keeps what outlives the process", left)
        return left

    def look_again(self) -> None:
        """Go on at once, and compare with the store, should it have been opened again."""
        self._appended()
        self._hurry.set()

    async def forget_gone(self) -> None:
        """Once the journal is closed: the store need not remember the files that have gone with that."""
        if self._checkpointed is not None and (gone := self._take_gone()):
            try:
                async with asyncio.timeout(LAST_SYNC_S):
                    await self._checkpointed.write_from([], {}, gone=gone)
                self._forget(gone)
            except Exception as error:
                log.debug("checkpoints of %d files that are gone stay in the store: %s", len(gone), error)

    def _appended(self) -> None:
        self._empty.clear()
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await self._rest(self._linger_s)
            self._wake.clear()
            await self._drain_all()
            if not self._wake.is_set():
                self._empty.set()

    async def _drain_all(self) -> None:
        failed = 0
        while True:
            try:
                await self._compare()
                await self._let_go(self._write_timeout_s)
                batch = await self._journal.read(self._batch_records, self._batch_bytes)
                if batch is None:
                    return
                await self._write(batch)
                self._journal.mark_stored(batch.position)
            except Exception as error:
                self._failures += 1
                self._compared = None
                delay_s = self._backoff.delay_s(failed, self._chance())
                failed += 1
                log.warning(
                    "storing records failed, again in %.1f s: %s", delay_s, error or type(error).__name__
                )
                await self._rest(delay_s)
            else:
                if failed:
                    log.info("storing works again after %d failures", failed)
                    failed = 0

    async def _compare(self) -> None:
        """Where the store is not as far as the journal takes it for, it has lost what it had taken."""
        store = self._checkpointed
        if store is None or store.generation == self._compared:
            return
        generation = store.generation
        await self._rewind(store)
        self._gone += self._forgotten
        self._forgotten.clear()
        self._compared = generation

    async def _rewind(self, store: CheckpointedStore) -> int:
        """Returns how many records are stored again."""
        async with asyncio.timeout(self._write_timeout_s):
            checkpoint = await store.checkpoint(self._journal.files())
        if lost := await self._journal.rewind(checkpoint):
            self._restored += lost
            log.error(
                "the database has lost %d records that it had taken: they are stored again from the journal",
                lost,
            )
        return lost

    async def _let_go(self, deadline_s: float, *, at_the_end: bool = False) -> None:
        """Of the journal what is stored for good: what the store is sure of, and has indeed. Else it is asked later."""
        store, stored = self._checkpointed, self._journal.stored
        if store is None:
            self._journal.commit(stored)
        elif self._journal.may_go or at_the_end:
            try:
                async with asyncio.timeout(deadline_s):
                    # Another worker may be at it, and end too.
                    while not (sure := await store.sync()) and at_the_end:  # noqa: ASYNC110
                        await asyncio.sleep(AGAIN_S)
                    sure = sure and not await self._rewind(store)
                if sure and store.generation == self._compared:
                    self._journal.commit(stored)
            except Exception as error:
                log.debug("the store can't make sure of what it has: %s", error or type(error).__name__)

    def _take_gone(self) -> list[str]:
        self._gone += self._journal.take_gone()
        return self._gone

    def _forget(self, gone: list[str]) -> None:
        self._forgotten += gone
        gone.clear()

    async def _write(self, batch: Batch) -> None:
        try:
            async with asyncio.timeout(self._write_timeout_s):
                if self._checkpointed is None:
                    await self._store.write(batch.records)
                else:
                    gone = self._take_gone()
                    await self._checkpointed.write_from(batch.records, batch.ranges, gone=gone)
                    self._forget(gone)
            self._stored += len(batch.records)
        except RecordsRefused:
            await self._write_one_by_one(batch)

    async def _write_one_by_one(self, batch: Batch) -> None:
        """Find the records that the store will never take, and leave only those out."""
        taken: list[Record] = []
        refused = 0
        for record in batch.records:
            try:
                async with asyncio.timeout(self._write_timeout_s):
                    await self._store.write([record])
                taken.append(record)
            except RecordsRefused as error:
                refused += 1
                log.warning(
                    "a %s of %s was refused: %s", type(record).__name__, record.interception_id, error
                )
        if self._checkpointed is not None:
            # Together once more: a checkpoint must not move without the records before it.
            async with asyncio.timeout(self._write_timeout_s):
                await self._checkpointed.write_from(taken, batch.ranges)
        self._stored += len(taken)
        self._refused += refused

    async def _rest(self, seconds: float) -> None:
        """A pause that a flush cuts short, once: a failing store is not hurried twice."""
        await self._pause(self._hurry, seconds)
        self._hurry.clear()
