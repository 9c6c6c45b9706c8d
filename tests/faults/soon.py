"""Whether something becomes so within a time: the one place where scenarios look again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def soon(holds: Callable[[], Awaitable[bool]], *, within_s: float, every_s: float = 0.1) -> bool:
    """Look until it holds; False when it doesn't in time. A look that is under way then is broken off."""
    try:
        async with asyncio.timeout(within_s):
            while not await holds():  # noqa: ASYNC110 - what another process does sets no event of ours
                await asyncio.sleep(every_s)
    except TimeoutError:
        return False
    return True
