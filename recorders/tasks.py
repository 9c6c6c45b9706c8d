"""End a task that runs beside the requests.

A cancellation can get lost on its way: before Python 3.12, `asyncio.wait_for` drops one that comes with its result
(CPython issue 86296), and drivers wait with it. So one cancellation isn't enough to be sure that a task ends.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

AGAIN_S: Final = 1.0


async def end(task: asyncio.Task[Any], *, again_s: float = AGAIN_S) -> None:
    """Cancel `task` until it has ended, every `again_s` seconds. How it ended is not told."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=again_s)
