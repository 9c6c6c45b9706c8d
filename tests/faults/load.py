"""A steady, bounded load: some clients, each with a key, that ask one question after the other until they are told."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import count

import httpx

from tests.faults.apis import APIS
from tests.faults.callers import Caller
from tests.faults.scene import Scene

PAUSE_S = 0.1
BROKEN = 0
"""Stands for the status of an answer that broke off."""


@dataclass(frozen=True, slots=True)
class Asked:
    status: int
    took_s: float
    retry_after: str | None


class Load:
    """Every question has a number of its own; `delivered` are those whose answer came whole."""

    def __init__(self, one: Scene) -> None:
        self._one = one
        self._numbers = count()
        self.delivered: set[int] = set()
        self.statuses: Counter[int] = Counter()
        """Of the clients of `going`."""
        self.slowest_s = 0.0
        """Likewise; to be set to nothing when a new time begins."""

    async def ask(self, caller: Caller) -> Asked:
        """One question, of whichever API is next."""
        number = next(self._numbers)
        api = APIS[number % len(APIS)]
        began = asyncio.get_running_loop().time()
        status, retry_after = BROKEN, None
        with contextlib.suppress(httpx.HTTPError):
            answer = await self._one.client.post(api.path, content=api.body(number), headers=caller.headers)
            status, retry_after = answer.status_code, answer.headers.get("retry-after")
        if status == 200:
            self.delivered.add(number)
        return Asked(status, asyncio.get_running_loop().time() - began, retry_after)

    @contextlib.asynccontextmanager
    async def going(self, callers: Sequence[Caller]) -> AsyncIterator[None]:
        """One client for each caller, while the block lasts; what is under way at its end is waited for."""
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for caller in callers:
                group.create_task(self._ask_on(caller, enough))
            try:
                yield
            finally:
                enough.set()

    async def _ask_on(self, caller: Caller, enough: asyncio.Event) -> None:
        while not enough.is_set():
            asked = await self.ask(caller)
            self.statuses[asked.status] += 1
            self.slowest_s = max(self.slowest_s, asked.took_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_S):
                    await enough.wait()
