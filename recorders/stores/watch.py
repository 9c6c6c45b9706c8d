"""Looks once a second whether the databases in use are still those that were opened, and has them opened again if not.

Who works with a database notices by himself. This is for one that nobody works with just then: what it was last told
may be lost, and a load balancer should hear of it. Nothing is queried, so it says nothing about a server that is away.

Every ten seconds it has what SQLite keeps in its log alone moved into the database: a user or a key that was made
yesterday must not go with a log that is removed today.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Final, Protocol, TypeAlias, runtime_checkable

from recorders.tasks import end

log = logging.getLogger("ai_gateway.recorders")

Pause: TypeAlias = Callable[[float], Awaitable[None]]

EVERY_S: Final = 1.0
SYNC_EVERY: Final = 10
"""Looks."""


@runtime_checkable
class Watchable(Protocol):
    """A database, or a store on one: see `Database`."""

    @property
    def generation(self) -> int: ...

    async def check(self) -> None: ...

    async def sync(self) -> bool: ...

    def trouble(self) -> str | None: ...


class DatabaseWatch:
    """`opened_again` is called when one of them was, by whomever; `look` whenever it looks. `start`, `stop`."""

    def __init__(
        self,
        watched: Sequence[Watchable],
        *,
        opened_again: Callable[[], None],
        look: Callable[[], object] = lambda: None,
        every_s: float = EVERY_S,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._watched = watched
        self._opened_again = opened_again
        self._look = look
        self._every_s = every_s
        self._pause = pause
        self._task: asyncio.Task[None] | None = None

    @property
    def generations(self) -> int:
        """How often one of them was opened again."""
        return sum(one.generation for one in self._watched)

    def trouble(self) -> str | None:
        """Why one of them can't be relied on, in words for anybody."""
        return next((trouble for one in self._watched if (trouble := one.trouble())), None)

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="recorders.database_watch")

    async def stop(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            await end(task)

    async def _run(self) -> None:
        known = self.generations, self.trouble()
        for number in count(1):
            await self._pause(self._every_s)
            self._look()
            for one in self._watched:
                try:
                    await one.check()
                    if number % SYNC_EVERY == 0:
                        await one.sync()
                except Exception as error:
                    log.debug("a database is not as it should be: %s", error)
            now = self.generations, self.trouble()
            if now != known and now[1] is None:
                self._opened_again()
            known = now
