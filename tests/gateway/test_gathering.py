"""When a connection rests, on a loop whose clock stands still until a test moves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from gateway.gathering import Gathering
from tests.gateway.test_aiohttp_transport import CHUNKED, Connection, request, serving, transport
from tests.waiting import PATIENCE_S

GATHER_S = 0.001


@dataclass
class Clock:
    """The two things of an event loop that are used, by hand."""

    now: float = 100.0
    timers: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, callback: Callable[..., None], *args: Any) -> None:
        self.timers.append((self.now + delay_s, lambda: callback(*args)))

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        due = [call for when, call in self.timers if when <= self.now]
        self.timers = [(when, call) for when, call in self.timers if when > self.now]
        for call in due:
            call()


@dataclass
class Line:
    """A transport that says whether it reads."""

    reading: bool = True
    closing: bool = False

    def reads(self) -> bool:
        return self.reading

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("gateway.gathering.asyncio.get_running_loop", lambda: clock)
    return clock


def test_the_first_chunk_never_waits_and_the_second_is_the_sign_of_a_hurry(clock: Clock) -> None:
    """What comes after it gathers, for a moment and not longer."""
    line, gathering = Line(), Gathering(GATHER_S)
    gathering.passed_on(line)
    assert line.reads()
    clock.pass_by(0.0002)
    gathering.passed_on(line)
    assert not line.reads()
    clock.pass_by(GATHER_S)
    assert line.reads()


def test_it_rests_again_as_long_as_the_provider_hurries(clock: Clock) -> None:
    """Counted from when it listened again, not from the chunk before."""
    line, gathering = Line(), Gathering(GATHER_S)
    gathering.passed_on(line)
    for _ in range(3):
        clock.pass_by(0.0001)
        gathering.passed_on(line)
        assert not line.reads()
        clock.pass_by(GATHER_S)
        assert line.reads()


def test_a_provider_that_takes_its_time_never_waits(clock: Clock) -> None:
    """Also after it has hurried once."""
    line, gathering = Line(), Gathering(GATHER_S)
    for pause_s in (0.0, 0.0001, GATHER_S):
        clock.pass_by(pause_s)
        gathering.passed_on(line)
    clock.pass_by(GATHER_S)
    for _ in range(3):
        clock.pass_by(0.01)
        gathering.passed_on(line)
        assert line.reads()


def test_what_was_here_already_does_not_make_the_rest_longer(clock: Clock) -> None:
    """While it rests, chunks may be passed on that had come before."""
    line, gathering = Line(), Gathering(GATHER_S)
    for _ in range(4):
        gathering.passed_on(line)
    assert not line.reads()
    assert len(clock.timers) == 1


def test_an_answer_that_is_over_leaves_its_connection_alone(clock: Clock) -> None:
    """It may be another's already, or closed: then nothing is done to it."""
    line, gathering = Line(), Gathering(GATHER_S)
    gathering.passed_on(line)
    gathering.passed_on(None)
    assert line.reads()
    gathering.passed_on(line)
    line.closing = True
    clock.pass_by(GATHER_S)
    assert not line.reads()
    gathering.passed_on(line)
    assert clock.timers == []


def test_with_no_time_to_gather_nothing_rests(clock: Clock) -> None:
    """The setting's 0."""
    line, gathering = Line(), Gathering(0.0)
    for _ in range(5):
        gathering.passed_on(line)
    assert line.reads()


@pytest.mark.parametrize("gather_s", [0.0, 0.0001, 0.001, 0.02])
async def test_the_bytes_of_a_hurried_answer_are_all_there_and_its_connection_is_used_again(
    gather_s: float,
) -> None:
    """However long it gathers: each chunk once, in order, then the end, and the next request on the same line."""
    sent = [b"event %d\n\n" % number for number in range(500)]

    async def handler(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.say(CHUNKED)
            for event in sent:
                await connection.say(b"%x\r\n%b\r\n" % (len(event), event))
                await asyncio.sleep(0)
            await connection.say(b"0\r\n\r\n")

    async with serving(handler) as server, transport(gather_s=gather_s) as t:
        for _ in range(3):
            response = await t.handle_async_request(request(server.url))
            async with asyncio.timeout(PATIENCE_S):
                assert [chunk async for chunks in taken(response) for chunk in chunks] == sent
            await response.aclose()
        assert server.connections == 1


async def test_an_answer_closed_while_it_rests_closes_its_connection() -> None:
    """The provider sees at once that nobody wants the rest."""
    second, left = asyncio.Event(), asyncio.Event()

    async def handler(connection: Connection) -> None:
        await connection.request()
        await connection.say(CHUNKED + b"3\r\none\r\n")
        await second.wait()
        await connection.say(b"3\r\ntwo\r\n")
        await connection.left()
        left.set()

    async with serving(handler) as server, transport(gather_s=3600.0) as t:
        response = await t.handle_async_request(request(server.url))
        arriving = aiter(taken(response))
        assert await anext(arriving) == [b"one"]
        second.set()
        assert await anext(arriving) == [b"two"]
        waiting = asyncio.ensure_future(anext(arriving))
        await asyncio.sleep(0)  # now it rests, for an hour
        await response.aclose()
        async with asyncio.timeout(PATIENCE_S):
            await left.wait()
        waiting.cancel()
        with pytest.raises((asyncio.CancelledError, httpx.TransportError, StopAsyncIteration)):
            await waiting


async def taken(response: httpx.Response) -> AsyncIterator[list[bytes]]:
    stream: Any = response.stream
    async for chunks in stream.together():
        yield chunks
