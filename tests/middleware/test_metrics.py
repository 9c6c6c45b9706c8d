"""The metrics layer: what a meter is told of a request, and when."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.errors import AtCapacity
from middleware.exchange import Exchange
from middleware.metrics import Measured, MetricsMiddleware
from tests.asgi import drive, http_scope

START: Message = {"type": "http.response.start", "status": 201, "headers": []}


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Notes:
    """A meter that writes down what it hears, and what was known then."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.requests: list[Measured] = []

    def began(self, request: Measured) -> None:
        self.heard.append(("began", request.method, request.status))

    def answering(self, request: Measured) -> None:
        self.heard.append(("answering", request.status))

    def ended(self, request: Measured) -> None:
        self.heard.append(("ended", request.status, request.first_byte_s, request.duration_s))
        self.requests.append(request)


class Broken:
    """A meter with a mistake in each of its calls."""

    def began(self, request: Measured) -> None:
        raise LookupError("a mistake")

    answering = ended = began


def answering_in(clock: Clock, *chunks: bytes) -> ASGIApp:
    """Answers with a chunk every second, the start included."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        clock.now_s += 1
        await send(START)
        for chunk in chunks:
            clock.now_s += 1
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        clock.now_s += 1
        await send({"type": "http.response.body", "body": b""})

    return app


async def test_a_meter_hears_of_a_request_three_times() -> None:
    """At its beginning, with the start of its answer, and once it is over, when all times are known."""
    clock, notes = Clock(), Notes()
    app = MetricsMiddleware(answering_in(clock, b"one", b"two"), meter=notes, clock=clock)
    async with drive(app, http_scope("PUT", "/")) as client:
        await client.completed()
    assert notes.heard == [("began", "PUT", 0), ("answering", 201), ("ended", 201, 2.0, 4.0)]


async def test_the_first_byte_is_that_of_a_chunk_that_holds_one() -> None:
    """An empty message says nothing, and an answer without a body has no first byte."""
    clock, notes = Clock(), Notes()
    app = MetricsMiddleware(answering_in(clock, b"", b"", b"one"), meter=notes, clock=clock)
    empty = MetricsMiddleware(answering_in(clock), meter=notes, clock=clock)
    for each in (app, empty):
        async with drive(each, http_scope("GET", "/")) as client:
            await client.completed()
    assert [request.first_byte_s for request in notes.requests] == [4.0, None]


async def test_a_refusal_is_told_as_it_was_raised() -> None:
    """The meter gets the error itself, and the one outside gets it too."""
    notes, error = Notes(), AtCapacity()

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    async with drive(MetricsMiddleware(refuse, meter=notes), http_scope("GET", "/")) as client:
        assert await client.failed() is error
    (request,) = notes.requests
    assert (request.error, request.status) == (error, 0)
    assert request.exchange.measured


async def test_a_cancelled_request_is_over_too() -> None:
    """Exactly one end follows each beginning."""
    notes, waiting = Notes(), asyncio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        waiting.set()
        await asyncio.Event().wait()

    app = MetricsMiddleware(wait, meter=notes)
    scope = http_scope("GET", "/")

    async def no_message() -> Message:
        raise AssertionError("nobody reads")

    async def no_send(message: Message) -> None:
        raise AssertionError("nobody sends")

    task = asyncio.create_task(_call(app, scope, no_message, no_send))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [words[0] for words in notes.heard] == ["began", "ended"]
    assert notes.requests[0].error is None


async def _call(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


async def test_a_meter_that_fails_costs_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Who observes can't fail what is observed."""
    app = MetricsMiddleware(answering_in(Clock(), b"all of it"), meter=Broken())
    with caplog.at_level(logging.ERROR, "ai_gateway.metrics"):
        async with drive(app, http_scope("GET", "/")) as client:
            await client.completed()
    assert client.body == b"all of it"
    assert len(caplog.records) == 3


async def test_behind_the_first_byte_a_message_goes_straight_on() -> None:
    """Hundreds of chunks pass through no coroutine of this layer."""
    seen: list[Callable[..., Any]] = []

    async def out(message: Message) -> None:
        """Where the answer goes."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        passing: Any = send({"type": "http.response.body", "body": b"last"})
        seen.append(passing.cr_code)
        await passing

    async def no_message() -> Message:
        raise AssertionError("nobody reads")

    scope = http_scope("GET", "/")
    await MetricsMiddleware(app, meter=Notes())(scope, no_message, out)
    assert seen == [out.__code__]
    assert Exchange.of(scope).measured
