"""Wait for something that happens in the same event loop: no polling, no sleeps, and a bound on patience.

Whoever changes a state calls `notify`; whoever needs it waits in `until`. The bound only turns a test that
would hang into one that fails and says what it was waiting for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE_S = 10.0


class Changes:
    """Wakes those who wait for a condition whenever the state behind it may have changed."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        self._changed.set()

    async def until(
        self, condition: Callable[[], bool], what: str, *, patience_s: float = PATIENCE_S
    ) -> None:
        """Return as soon as `condition()` holds; `AssertionError` naming `what` when it never does."""
        try:
            async with asyncio.timeout(patience_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"waited {patience_s:g} s in vain for {what}") from None
