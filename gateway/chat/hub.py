"""Tells subscribers in this process what happens in a chat. Nobody who runs a turn waits for who listens.

A feed holds a bounded number of events; one that isn't read loses them all and knows it, and its reader looks into the
store instead. Of a message that is still being said, a late subscriber gets what was said so far.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from gateway.chat.events import ChatEvent, Delta, MessageAdded, StatusChanged

MAX_EVENTS: Final = 1_000


class Feed:
    """One subscriber's events. `lost` says that there were too many; whoever sees it sets it back."""

    def __init__(self) -> None:
        self.lost = False
        self._events: deque[ChatEvent] = deque()
        self._changed = asyncio.Event()

    def put(self, event: ChatEvent) -> None:
        if len(self._events) >= MAX_EVENTS:
            self._events.clear()
            self.lost = True
        else:
            self._events.append(event)
        self._changed.set()

    def wake(self) -> None:
        """Have its reader look up, though nothing happened that could be taken."""
        self._changed.set()

    @property
    def waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self._events)

    def take(self) -> list[ChatEvent]:
        """All that came since the last time."""
        taken = list(self._events)
        self._events.clear()
        self._changed.clear()
        return taken

    async def changed(self, patience_s: float) -> None:
        """Return when there is something to take, when it is woken, or after `patience_s`."""
        try:
            async with asyncio.timeout(patience_s):
                await self._changed.wait()
        except TimeoutError:
            return


class Hub:
    def __init__(self) -> None:
        self._feeds: dict[str, set[Feed]] = {}
        self._said: dict[str, dict[Literal["text", "reasoning"], list[str]]] = {}

    def publish(self, chat_id: str, event: ChatEvent) -> None:
        self._keep(chat_id, event)
        for feed in self._feeds.get(chat_id, ()):
            feed.put(event)

    def wake(self, chat_id: str | None = None) -> None:
        """Those who listen to a chat, or to any, are to see whether they still should."""
        for feeds in list(self._feeds.values()) if chat_id is None else [self._feeds.get(chat_id, set())]:
            for feed in feeds:
                feed.wake()

    def forget(self, chat_id: str) -> None:
        """Nobody here is saying anything in the chat any more, whether or not that was told."""
        self._said.pop(chat_id, None)

    @contextmanager
    def feed(self, chat_id: str) -> Iterator[Feed]:
        """Subscribe for a block: everything from now on, and first what is being said."""
        feed = Feed()
        for kind, pieces in self._said.get(chat_id, {}).items():
            feed.put(Delta(kind=kind, text="".join(pieces)))
        feeds = self._feeds.setdefault(chat_id, set())
        feeds.add(feed)
        try:
            yield feed
        finally:
            feeds.discard(feed)
            if not feeds and self._feeds.get(chat_id) is feeds:
                del self._feeds[chat_id]

    def _keep(self, chat_id: str, event: ChatEvent) -> None:
        if isinstance(event, Delta):
            self._said.setdefault(chat_id, {}).setdefault(event.kind, []).append(event.text)
        elif isinstance(event, MessageAdded | StatusChanged):
            self._said.pop(chat_id, None)
