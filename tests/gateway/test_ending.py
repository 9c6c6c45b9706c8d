"""The steps of an end, in this process; `test_server` shows them in processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from gateway.ending import Ending
from tests.waiting import Changes


class Watched:
    """What the gateway is told, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.changes = Changes()

    def leave(self) -> None:
        self.told.append("leave")
        self.changes.notify()

    def refuse_new_requests(self) -> None:
        self.told.append("refuse")
        self.changes.notify()

    async def heard(self, *words: str) -> None:
        await self.changes.until(lambda: self.told == list(words), f"{words}, not {self.told}")


@pytest.fixture
def app() -> Watched:
    return Watched()


@pytest.fixture
async def ending(app: Watched) -> Ending:
    return Ending(app)


@pytest.fixture
def signals() -> Iterator[None]:
    """The handlers of this process come back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def end_by_signal(ending: Ending) -> None:
    loop = asyncio.get_running_loop()
    ending.by_signals()
    try:
        signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            await ending.now.wait()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("delay_s", [0.0, 0.01])
async def test_it_leaves_before_it_refuses_and_ends_last(
    app: Watched, ending: Ending, delay_s: float
) -> None:
    """Whether there is a time between them or not."""
    ending.delay_s = delay_s
    await end_by_signal(ending)
    assert app.told == ["leave", "refuse"]


async def test_a_supervisor_that_goes_ends_it_in_the_same_steps(
    app: Watched, ending: Ending, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says why."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        ending.delay_s = 3600.0
        ending.with_supervisor()
        os.write(writing, b"something")
        os.close(writing)
        await app.heard("leave")
    assert not ending.now.is_set()
    assert "the supervisor is gone" in caplog.messages
