"""Where the pipeline says what happened: one synchronous call per record, never a wait.

A `Sink` takes a record or refuses a start; only a start is ever refused, because after it the request is under way
and what it does must not depend on its being written down. `JournalSink` appends to the journal and then tells its
observers (the structured log, metrics). An observer can't fail the sink: what it raises becomes a log line.

When a start can't be taken, the operator's choice decides: the request is refused, or it goes on unrecorded. What goes
on unrecorded is counted and leaves nothing in the journal, so that no interception is recorded by halves.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, Literal, Protocol, TypeAlias

from recorders.journal import Journal, JournalFull
from recorders.records import InterceptionEnd, InterceptionStart, Record

log = logging.getLogger("ai_gateway.recorders")

Observer: TypeAlias = Callable[[Record], None]

WhenFull: TypeAlias = Literal["refuse", "unrecorded"]

QUIET_S: Final = 60.0
MAX_UNRECORDED: Final = 65_536
"""Interceptions that go on unrecorded at once; one more is refused, for the memory of them must end somewhere."""


class RecordingUnavailable(Exception):
    """The start of an interception can't be taken; nothing may go upstream unrecorded."""


class Sink(Protocol):
    def emit(self, record: Record) -> None:
        """Take the record. Raises `RecordingUnavailable` for a start, never for what follows one."""
        ...

    async def settle(self) -> None:
        """Wait until what was taken is as safe as was promised, mostly not at all. Raises `RecordingUnavailable`."""
        ...


class JournalSink:
    """Appends to a journal, then tells the observers.

    `when_full` says what becomes of an interception whose start the journal doesn't take. `refuse`: it doesn't happen,
    and no observer is told. `unrecorded`: it goes on, counted in `unrecorded`; observers are told, for they are no
    recording. `lost` counts the records after a start that the journal didn't take, `unsettled` how often it could
    not make sure of what it took. Each kind of trouble is logged at most once a minute.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        observers: Iterable[Observer] = (),
        when_full: WhenFull = "refuse",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._observers = tuple(observers)
        self._when_full = when_full
        self._clock = clock
        self._going_unrecorded: set[str] = set()
        self._logged_at: dict[str, float] = {}
        self.lost = 0
        self.unrecorded = 0
        self.unsettled = 0

    def emit(self, record: Record) -> None:
        if record.interception_id not in self._going_unrecorded:
            self._record(record)
        elif isinstance(record, InterceptionEnd):
            self._going_unrecorded.discard(record.interception_id)
        for observer in self._observers:
            self._tell(observer, record)

    async def settle(self) -> None:
        try:
            await self._journal.settle()
        except Exception as error:
            self.unsettled += 1
            self._complain("the journal could not make sure of what it took", error)
            if self._when_full == "refuse":
                raise RecordingUnavailable("the journal can't be relied on") from error

    def _record(self, record: Record) -> None:
        try:
            self._journal.append(record)
        except Exception as error:
            if isinstance(record, InterceptionStart):
                self._not_started(record, error)
            else:
                self.lost += 1
                self._complain("a record was lost: the journal did not take it", error)

    def _not_started(self, start: InterceptionStart, error: Exception) -> None:
        if self._when_full == "refuse" or len(self._going_unrecorded) >= MAX_UNRECORDED:
            self._complain("requests are refused: the journal does not take records", error)
            raise RecordingUnavailable("the journal does not take records") from error
        self.unrecorded += 1
        self._going_unrecorded.add(start.interception_id)
        self._complain("requests go on unrecorded: the journal does not take records", error)

    def _tell(self, observer: Observer, record: Record) -> None:
        try:
            observer(record)
        except Exception as error:
            self._complain(f"observer {_name(observer)} failed", error)

    def _complain(self, what: str, error: Exception) -> None:
        """Log the kind of error, and its words only where they can't quote the record."""
        kind = type(error).__name__
        now = self._clock()
        last = self._logged_at.get(what + kind)
        if last is None or now - last >= QUIET_S:
            self._logged_at[what + kind] = now
            log.error("%s (%s)", what, _words(error))


def _words(error: Exception) -> str:
    kind = type(error).__name__
    if isinstance(error, JournalFull):
        return f"{kind}: {error}"
    if isinstance(error, OSError) and error.filename:
        return f"{kind}: {error.strerror}: {error.filename}"
    return kind


def _name(observer: Observer) -> str:
    return getattr(observer, "__qualname__", type(observer).__qualname__)
