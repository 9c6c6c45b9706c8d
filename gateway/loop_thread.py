"""An event loop in a thread of its own, for a command that talks with a person.

The main thread keeps the terminal and the signals: it can wait in `input`, with all that line editing and Ctrl-C need
of it, while what is asynchronous goes on here. Nothing here reads or writes a terminal.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """As a context manager it holds `context` open in the loop, entered and left by one and the same task.

    What entering raises, `__enter__` raises; what leaving raises, `__exit__`. The thread keeps no process alive: who
    is interrupted while it starts or ends can leave at once.
    """

    def __init__(self, context: AbstractAsyncContextManager[Any]) -> None:
        self._context = context
        self._entered: Future[asyncio.AbstractEventLoop] = Future()
        self._left: Future[None] = Future()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="event loop", daemon=True)

    def __enter__(self) -> LoopThread:
        self._thread.start()
        try:
            self._loop = self._entered.result()
        except Exception:
            self._thread.join()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        error_of_leaving = self._left.exception()
        self._thread.join()
        if error_of_leaving is not None:
            raise error_of_leaving

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` in the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for `work` to end in the loop."""
        return self.begin(work).result()

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            (self._left if self._entered.done() else self._entered).set_exception(error)
        else:
            self._left.set_result(None)

    async def _live(self) -> None:
        async with self._context:
            self._entered.set_result(asyncio.get_running_loop())
            await self._stop.wait()
