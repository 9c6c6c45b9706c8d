"""An answer that is a stream of server-sent events: split, read event by event, told as soon as facts are complete.

What the events mean is the API's own affair and comes in as an `AnswerEvents`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from providers.base import Fact
from providers.documents import Unreadable
from providers.flaws import Flaws
from providers.sse import MAX_EVENT_BYTES, EventSplitter


class AnswerEvents(Protocol):
    """What one API makes of the events of one answer; `msg_id` and `complete` as a `Reader` has them."""

    msg_id: str
    complete: bool

    def passes_over(self, event: bytes) -> bool:
        """Whether the event surely tells nothing. Called for each event, so it must be cheap."""
        ...

    def read(self, event: bytes, facts: list[Fact]) -> None:
        """Add the facts that the event completes. Raises `Unreadable`."""
        ...

    def end(self, facts: list[Fact]) -> None:
        """The stream is over or was cut: add what was known and not yet told. May be called again."""
        ...


class StreamReader:
    """Reads a stream; an event that can't be read is named in `flaws`, and reading goes on behind it."""

    def __init__(
        self, events_for: Callable[[Flaws], AnswerEvents], max_event_bytes: int = MAX_EVENT_BYTES
    ) -> None:
        self.msg_id = ""
        self.complete = False
        self._flaws = Flaws()
        self.flaws: list[str] = self._flaws
        self._splitter = EventSplitter(self._flaws, max_event_bytes)
        self._events = events_for(self._flaws)

    def feed(self, data: bytes) -> Sequence[Fact]:
        facts: list[Fact] = []
        for event in self._splitter.feed(data):
            if self._events.passes_over(event):
                continue
            try:
                self._events.read(event, facts)
            except Unreadable as error:
                self._flaws.note(f"an event was not read: {error}")
        self.msg_id, self.complete = self._events.msg_id, self._events.complete
        return facts

    def close(self) -> Sequence[Fact]:
        facts: list[Fact] = []
        for event in self._splitter.close():
            try:
                self._events.read(event, facts)
            except Unreadable:
                continue  # cut in the middle
        self._events.end(facts)
        self.msg_id = self._events.msg_id
        return facts
