"""Lets the chunks of a provider that hurries gather for a moment, so that many cost little more than one.

A model says some tens of words a second, and each of them is worth a turn of the event loop. What was said before (a
cached answer, a proxy that held it back, the end of a long tool call) comes as fast as the connection takes it: then
each chunk by itself costs ten times what it costs among others. The kernel gathers them for nothing while nobody reads.

So a connection rests for a moment once a chunk came sooner than that moment after listening for it began. The first
chunk of an answer never waits, nor does one that follows another after a pause; any other waits for `gather_s` at most.
"""

from __future__ import annotations

import asyncio
import math
from typing import Protocol


class Pausable(Protocol):
    """Of `asyncio.ReadTransport`, what is used here."""

    def is_closing(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Gathering:
    """One answer's; made within the event loop. With a `gather_s` of 0 nothing ever rests."""

    __slots__ = ("_gather_s", "_listening_since", "_loop", "_resting")

    def __init__(self, gather_s: float) -> None:
        self._gather_s = gather_s
        self._loop = asyncio.get_running_loop()
        self._listening_since = -math.inf
        self._resting = False

    def passed_on(self, transport: Pausable | None) -> None:
        """Chunks have been passed on; `transport` is where more come from, None when it is no more the answer's."""
        if self._resting or transport is None or transport.is_closing():
            return
        now = self._loop.time()
        if now - self._listening_since >= self._gather_s:
            self._listening_since = now
            return
        self._resting = True
        transport.pause_reading()
        self._loop.call_later(self._gather_s, self._listen, transport)

    def _listen(self, transport: Pausable) -> None:
        self._resting = False
        self._listening_since = self._loop.time()
        if not transport.is_closing():
            transport.resume_reading()
