"""Where the pipeline says what happened: one synchronous call per record, never a wait.

A `Sink` takes a record or refuses a start; only a start is ever refused, because after it the request is under way
and what it does must not depend on its being written down. `JournalSink` appends to the journal and then tells its
observers (the structured log, metrics). An observer can't fail the sink: what it raises becomes a log line.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias

from recorders.journal import Journal
from recorders.records import InterceptionStart, Record

log = logging.getLogger("ai_gateway.recorders")

Observer: TypeAlias = Callable[[Record], None]

QUIET_S: Final = 60.0


class RecordingUnavailable(Exception):
    """The start of an interception can't be taken; nothing may go upstream unrecorded."""


class Sink(Protocol):
    def emit(self, record: Record) -> None:
        """Take the record. Raises `RecordingUnavailable` for a start, never for what follows one."""
        ...


class JournalSink:
    """Appends to a journal, then tells the observers.

    `lost` counts the records after a start that the journal didn't take; each kind of trouble is logged at most
    once a minute. A record that the journal refused isn't shown to observers when it is a start: that interception
    doesn't happen.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        observers: Iterable[Observer] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._observers = tuple(observers)
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self.lost = 0

    def emit(self, record: Record) -> None:
        try:
            self._journal.append(record)
        except Exception as error:
            if isinstance(record, InterceptionStart):
                raise RecordingUnavailable("the journal does not take records") from error
            self.lost += 1
            self._complain("a record was lost: the journal did not take it", error)
        for observer in self._observers:
            self._tell(observer, record)

    def _tell(self, observer: Observer, record: Record) -> None:
        try:
            observer(record)
        except Exception as error:
            self._complain(f"observer {_name(observer)} failed", error)

    def _complain(self, what: str, error: Exception) -> None:
        """Log the kind of error, not its text: that may quote the record."""
        kind = type(error).__name__
        now = self._clock()
        last = self._logged_at.get(what + kind)
        if last is None or now - last >= QUIET_S:
            self._logged_at[what + kind] = now
            log.error("%s (%s)", what, kind)


def _name(observer: Observer) -> str:
    return getattr(observer, "__qualname__", type(observer).__qualname__)
