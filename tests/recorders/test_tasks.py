from __future__ import annotations

import asyncio

from recorders.tasks import end


async def test_a_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    """One that swallowed the first ends with the second."""
    lost: list[str] = []
    started = asyncio.Event()

    async def loses_one() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.append("first")
        await asyncio.Event().wait()

    task = asyncio.create_task(loses_one())
    await started.wait()
    await end(task, again_s=0.001)
    assert task.cancelled()
    assert lost == ["first"]


async def test_how_a_task_ended_stays_with_the_task() -> None:
    """Who ends it isn't told of its error, and one that has ended is left as it is."""

    async def fails() -> None:
        raise ValueError("mine")

    task = asyncio.create_task(fails())
    await asyncio.wait({task})
    await end(task)
    assert str(task.exception()) == "mine"
