"""Between the request and the store: an ordered buffer that takes records now and gives them out later.

A sink appends, one drain reads in order, stores, and moves the checkpoint. Entries that were read but not committed
are read again, so storing must be idempotent. `append` and `commit` don't wait; all calls are made on the event
loop's thread.

`MemoryJournal` is NOT crash-proof: what it holds and no store has yet is lost with the process. It keeps its bound,
its order and its checkpoint exactly as a journal on disk does, so that one can take its place.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple, Protocol

from recorders import codec
from recorders.records import InterceptionStart, Record
from recorders.stores.base import ByteRange, Checkpoint

MEBIBYTE: Final = 1 << 20
USUAL_START_BYTES: Final = 1024
"""About what the start of an interception takes."""


class JournalFull(Exception):
    """The journal holds as much as it may; what was offered was not taken."""


class JournalUnusable(OSError):
    """The journal can't be opened; the message names the folder and says what to do."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in the order in which they were appended.

    `position` is what `mark_stored` and `commit` want once they are stored. `ranges` says by file where they stood.
    """

    records: Sequence[Record]
    position: int
    ranges: Mapping[str, ByteRange] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is appended and not committed. `oldest_age_s` is how long the first of it has been waiting."""

    records: int
    size_bytes: int
    oldest_age_s: float


class Journal(Protocol):
    """The seam between recording and storing; see the module for the promises."""

    async def open(self) -> None:
        """Make it ready. Raises `JournalUnusable`."""
        ...

    async def close(self) -> None:
        """Give up what it holds in this process; what is not committed stays where it is, if that outlives us."""
        ...

    async def settle(self) -> None:
        """Wait until all that was appended is as safe as this journal makes it. Raises `OSError`."""
        ...

    def append(self, record: Record) -> None:
        """Take a record. Raises `JournalFull`, or `OSError` when the medium fails."""
        ...

    async def read(self, max_records: int, max_bytes: int) -> Batch | None:
        """The next uncommitted records, at least one whatever its size; None when there are none."""
        ...

    def mark_stored(self, position: int) -> None:
        """All records up to this batch's position are stored. They are kept for `rewind` as long as there is room."""
        ...

    def commit(self, position: int) -> None:
        """All records up to this batch's position are stored for good and may go."""
        ...

    @property
    def stored(self) -> int:
        """The position up to which all is stored."""
        ...

    @property
    def may_go(self) -> bool:
        """Whether a `commit` of what is stored would free anything."""
        ...

    def files(self) -> Sequence[str]:
        """The names of the files that it holds, the oldest first; none where it is in memory."""
        ...

    def take_gone(self) -> Collection[str]:
        """The names of the files that have gone since this was asked last."""
        ...

    async def rewind(self, checkpoint: Checkpoint) -> int:
        """Give out again what it takes for stored behind the checkpoint. Returns how many records those are.

        Not while a batch is on its way.
        """
        ...

    def backlog(self) -> Backlog: ...

    def refusal(self) -> str | None:
        """Why a start would not be taken now, in words for anybody; None when it would be."""
        ...

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each append. One listener: the drain."""
        ...


class _Entry(NamedTuple):
    data: bytes
    appended_at: float


class MemoryJournal:
    """A bounded journal in memory; not crash-proof.

    A start is refused when `max_bytes` of encoded records are waiting. What follows a start that was taken (its
    usage, its end) may use `reserve_bytes` more, so that a full journal doesn't tear interceptions in two.
    """

    def __init__(
        self,
        *,
        max_bytes: int = 64 * MEBIBYTE,
        reserve_bytes: int = 64 * MEBIBYTE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_bytes <= 0:
            raise ValueError(f"max_bytes must be positive, not {max_bytes}")
        if reserve_bytes < 0:
            raise ValueError(f"reserve_bytes must not be negative, not {reserve_bytes}")
        self._max_bytes = max_bytes
        self._reserve_bytes = reserve_bytes
        self._clock = clock
        self._entries: deque[_Entry] = deque()
        self._size_bytes = 0
        self._committed = 0
        self._wake: Callable[[], None] = _nobody

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do: what it holds goes with the process."""

    async def settle(self) -> None:
        """Nothing to wait for."""

    def append(self, record: Record) -> None:
        data = codec.encode(record)
        limit = self._max_bytes
        if not isinstance(record, InterceptionStart):
            limit += self._reserve_bytes
        if self._size_bytes + len(data) > limit:
            raise JournalFull(self._fullness(limit))
        self._entries.append(_Entry(data, self._clock()))
        self._size_bytes += len(data)
        self._wake()

    async def read(self, max_records: int, max_bytes: int) -> Batch | None:
        records: list[Record] = []
        size = 0
        for entry in islice(self._entries, max_records):
            size += len(entry.data)
            if records and size > max_bytes:
                break
            records.append(codec.decode(entry.data))
        return Batch(records, self._committed + len(records)) if records else None

    def mark_stored(self, position: int) -> None:
        """There is no file to keep it in."""
        self.commit(position)

    def commit(self, position: int) -> None:
        while self._committed < position and self._entries:
            self._size_bytes -= len(self._entries.popleft().data)
            self._committed += 1

    @property
    def stored(self) -> int:
        return self._committed

    @property
    def may_go(self) -> bool:
        return False

    def files(self) -> Sequence[str]:
        return ()

    def take_gone(self) -> Collection[str]:
        return ()

    async def rewind(self, checkpoint: Checkpoint) -> int:
        return 0

    def backlog(self) -> Backlog:
        age = self._clock() - self._entries[0].appended_at if self._entries else 0.0
        return Backlog(len(self._entries), self._size_bytes, age)

    def refusal(self) -> str | None:
        full = self._size_bytes + USUAL_START_BYTES > self._max_bytes
        return self._fullness(self._max_bytes) if full else None

    def _fullness(self, limit: int) -> str:
        return f"{self._size_bytes} bytes of records are waiting, the limit is {limit}"

    def listen(self, wake: Callable[[], None]) -> None:
        self._wake = wake


def _nobody() -> None:
    """Nobody listens yet."""
