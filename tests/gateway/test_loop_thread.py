"""An event loop in a thread: what it holds open, runs and raises."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.loop_thread import LoopThread


class Trouble(Exception):
    pass


def test_one_task_in_a_thread_of_its_own_enters_and_leaves_the_context() -> None:
    """As cancellation scopes and timeouts within it need."""
    tasks: list[tuple[object, int]] = []

    @asynccontextmanager
    async def context() -> AsyncIterator[None]:
        tasks.append((asyncio.current_task(), threading.get_ident()))
        yield
        tasks.append((asyncio.current_task(), threading.get_ident()))

    with LoopThread(context()):
        assert len(tasks) == 1
    assert tasks[0] == tasks[1]
    assert tasks[0][1] != threading.get_ident()


def test_work_gives_what_it_returns_and_raises_what_it_raises() -> None:
    """In the thread that waits."""

    async def divide(number: int) -> float:
        await asyncio.sleep(0)
        return 1 / number

    with LoopThread(_open()) as loop:
        assert loop.run(divide(2)) == 0.5
        with pytest.raises(ZeroDivisionError):
            loop.run(divide(0))


def test_what_fails_to_open_or_to_close_is_raised() -> None:
    """And the thread ends."""
    with pytest.raises(Trouble, match="to open"), LoopThread(_open(before="to open")):
        pytest.fail("it must not be entered")
    with pytest.raises(Trouble, match="to close"), LoopThread(_open(after="to close")):
        pass
    assert not any(thread.name == "event loop" for thread in threading.enumerate())


@asynccontextmanager
async def _open(*, before: str = "", after: str = "") -> AsyncIterator[None]:
    if before:
        raise Trouble(before)
    yield
    if after:
        raise Trouble(after)
