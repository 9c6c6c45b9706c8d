"""Looks into the store for what other processes leave there: chats that nobody runs any more, and wishes to interrupt.

One look is for all the chats of this process. It looks for wishes only while something runs here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from gateway.chat.endings import ABANDONED
from gateway.chat.events import StatusChanged
from gateway.chat.means import Means
from recorders.stores.base import StoreError
from recorders.tasks import end

log = logging.getLogger("ai_gateway.chat")


class Here(Protocol):
    """What runs in this process."""

    busy: asyncio.Event
    """Something runs."""

    def runs(self, chat_id: str) -> bool: ...

    async def interrupt_run(self, chat_id: str, runner_id: str) -> None:
        """End the turn of a chat, if it is this runner's and runs here, and those of its agents."""
        ...


class Watch:
    """`open` within the event loop, `close` in the end."""

    def __init__(self, means: Means, here: Here) -> None:
        self._means = means
        self._here = here
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        means = self._means
        self._tasks = [
            asyncio.create_task(self._repeat(self._end_abandoned, means.lease_s), name="abandoned chats"),
            asyncio.create_task(self._repeat(self._interrupt, means.poll_s), name="interrupted chats"),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            await end(task)

    async def _repeat(self, look: Callable[[], Awaitable[None]], every_s: float) -> None:
        while True:
            try:
                await look()
            except StoreError as error:
                log.warning("what other processes do with chats is looked at later: %s", error)
            await self._means.pause(every_s)

    async def _end_abandoned(self) -> None:
        """Say of chats whose process died that nobody answers there: else they would look busy for ever.

        What waits in their queue is answered with the next message. Only a while after their lease: a runner that had
        no database for a moment may still renew it.
        """
        store = self._means.store
        for chat_id, runner_id in await store.abandoned(self._means.lease_s / 3):
            if not self._here.runs(chat_id) and await store.finish(chat_id, runner_id, error=ABANDONED):
                log.warning("the chat %s was abandoned by who ran it", chat_id)
                self._means.hub.publish(chat_id, StatusChanged(status="error", error=ABANDONED))

    async def _interrupt(self) -> None:
        await self._here.busy.wait()
        for chat_id, runner_id in await self._means.store.interrupted():
            await self._here.interrupt_run(chat_id, runner_id)
