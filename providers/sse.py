"""Server-sent events out of bytes in whatever pieces they come (WHATWG HTML, section 9.2.6).

`EventSplitter` finds where events end; `data_of` and `name_of` read one. Line ends are CR, LF or CRLF and nothing
else, so everything stays bytes: splitting decoded text would also split at U+2028. Splitting costs a few C calls for
a chunk, not Python for each line, because most events of an answer are text deltas that nobody has to look into.

It doesn't interpret `id` and `retry`, and it doesn't say which bytes of the stream an event came from: who has to
take an event out of a stream uses `event_end` on the bytes as they are.
"""

from __future__ import annotations

import re
from typing import Final

from providers.flaws import Flaws

MAX_EVENT_BYTES: Final = 16 * 1024 * 1024 + 64 * 1024

_BOM: Final = b"\xef\xbb\xbf"
_END_OF_EVENT: Final = re.compile(rb"\n\n|[\r\n]\r\n?")


def event_end(data: bytes | bytearray, start: int = 0) -> int:
    """Where the first event of `data[start:]` ends, its blank line included; -1 when it isn't complete.

    A CR at the very end may turn out to be half of a CRLF; the LF then opens what follows, as an empty line.
    """
    found = _END_OF_EVENT.search(data, start)
    return found.end() if found else -1


def data_of(event: bytes) -> bytes:
    """The `data` of an event as `EventSplitter` gives it: its data lines, joined by LF."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    start = 0 if event.startswith(b"data:") else event.find(b"\ndata:") + 1
    alone = event.find(b"\n", start) == -1 and event.find(b"data\n", 0, start) == -1
    if alone and event.startswith(b"data:", start):
        return event[start + 5 :].removeprefix(b" ")
    return b"\n".join(_values(event, b"data"))


def name_of(event: bytes) -> bytes:
    """The event's name; empty when it has none."""
    names = _values(event, b"event")
    return names[-1] if names else b""


def _values(event: bytes, field: bytes) -> list[bytes]:
    lines = (line.partition(b":") for line in event.split(b"\n"))
    return [value.removeprefix(b" ") for name, _, value in lines if name == field]


class EventSplitter:
    """Gives the events of a stream, whole, with LF line ends, without the blank line.

    An event longer than `max_event_bytes` is skipped and named in `flaws`; reading goes on behind it.
    """

    def __init__(self, flaws: Flaws, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._flaws = flaws
        self._max = max_event_bytes
        self._head: bytes | None = b""
        """The first bytes of the stream, until it is known whether they are a byte order mark."""
        self._after_cr = False
        self._rest = bytearray()
        """The event that is not complete yet; one LF when it is being skipped."""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        if self._head is not None:
            data = self._without_bom(data)
        if self._after_cr or b"\r" in data:
            data = self._with_lf(data)
        if not self._rest and not self._skipping:
            return self._split(data)
        return self._continue(data)

    def close(self) -> list[bytes]:
        """The last event, when no blank line ended it. It may be cut anywhere."""
        rest = (self._head or b"") + bytes(self._rest)
        too_long = self._skipping or len(rest) > self._max
        self._head, self._skipping = None, False
        self._rest.clear()
        return [rest] if rest and not too_long else []

    def _without_bom(self, data: bytes) -> bytes:
        data = (self._head or b"") + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._head = data
            return b""
        self._head = None
        return data.removeprefix(_BOM)

    def _with_lf(self, data: bytes) -> bytes:
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if data.endswith(b"\r"):
            self._after_cr = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _split(self, data: bytes) -> list[bytes]:
        events = data.split(b"\n\n")
        if rest := events.pop():
            self._hold(rest)
        if len(data) > self._max:
            events = [event for event in events if self._fits(event)]
        return events

    def _continue(self, data: bytes) -> list[bytes]:
        """As `_split`, while an event is being held or skipped."""
        if self._rest.endswith(b"\n") and data.startswith(b"\n"):
            event, behind = bytes(self._rest[:-1]), data[1:]
        else:
            end_of_event, blank_line, behind = data.partition(b"\n\n")
            if not blank_line:
                self._hold(data)
                return []
            event = bytes(self._rest) + end_of_event
        whole = not self._skipping and self._fits(event)
        self._skipping = False
        self._rest.clear()
        return [event, *self._split(behind)] if whole else self._split(behind)

    def _hold(self, data: bytes) -> None:
        self._rest += data
        if self._skipping or len(self._rest) > self._max + 1:
            self._too_long()
            self._skipping = True
            del self._rest[:-1]

    def _fits(self, event: bytes) -> bool:
        if len(event) <= self._max:
            return True
        self._too_long()
        return False

    def _too_long(self) -> None:
        self._flaws.note(f"an event longer than {self._max} bytes was skipped")
