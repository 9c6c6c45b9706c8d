"""Requests under way: how many, and a way to wait until there are none."""

from __future__ import annotations

import asyncio

from recorders.drain import wait_at_most


class RunningRequests:
    """Counted in and out by whoever runs them."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: asyncio.Event | None = None

    def add(self) -> None:
        self._count += 1

    def remove(self) -> None:
        self._count -= 1
        if self._count == 0 and self._waiting is not None:
            self._waiting.set()

    async def none_left(self, deadline_s: float) -> None:
        if self._count:
            self._waiting = asyncio.Event()
            await wait_at_most(self._waiting, deadline_s)
            self._waiting = None
