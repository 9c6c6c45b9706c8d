"""What every layer promises, whatever it does: one function a promise, given a layer that stands alone.

A promise takes `standing`, builds the layer around an application of its own, and drives it message by message. A
layer of somebody else can be held to them as well: give it a `Standing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.exchange import Exchange
from tests.asgi import drive
from tests.middleware.exchanges import chunk, read_body, start

STREAM: Final = (b"content-type", b"text/event-stream")


@dataclass(frozen=True)
class Standing:
    """A layer that stands alone: how it is built around an app, and a request that it lets pass."""

    kind: type[Any]
    build: Callable[[ASGIApp], ASGIApp]
    scope: Callable[[], Scope]
    body: bytes


Promise = Callable[[Standing], Awaitable[None]]
PROMISES: Final[list[Promise]] = []


def promise(function: Promise) -> Promise:
    PROMISES.append(function)
    return function


@promise
async def other_scope_types_pass_untouched(standing: Standing) -> None:
    """The app gets the very objects: the layer is about HTTP and nothing else."""
    seen: list[tuple[Scope, Receive, Send]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, receive, send))

    async def receive() -> Message:
        raise AssertionError("nobody asked the layer to receive")

    async def send(message: Message) -> None:
        raise AssertionError("nobody asked the layer to send")

    layer = standing.build(app)
    for kind in ("lifespan", "websocket", "something.new"):
        scope = {"type": kind}
        await layer(scope, receive, send)
        assert all(mine is theirs for mine, theirs in zip(seen.pop(), (scope, receive, send), strict=True))
        assert scope == {"type": kind}


@promise
async def the_start_leaves_before_the_body_exists(standing: Standing) -> None:
    """Status and headers are with the client while the app still thinks about its first byte."""
    gate = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await send(start(201, STREAM))
        await gate.wait()
        await send(chunk(b"late", more=False))

    async with drive(standing.build(app), standing.scope(), body=standing.body) as client:
        assert (await client.message(0))["type"] == "http.response.start"
        gate.set()
        await client.completed()
    assert (client.status, client.body) == (201, b"late")


@promise
async def each_chunk_leaves_before_the_next_is_made(standing: Standing) -> None:
    """No chunk is merged, held or invented."""
    gates = [asyncio.Event() for _ in range(3)]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await send(start(200, STREAM))
        for number, gate in enumerate(gates):
            await send(chunk(b"data: %d\n" % number))
            await gate.wait()
        await send(chunk(b"", more=False))

    async with drive(standing.build(app), standing.scope(), body=standing.body) as client:
        for number, gate in enumerate(gates):
            message = await client.message(1 + number)
            assert message["body"] == b"data: %d\n" % number
            gate.set()
        await client.completed()
    assert len(client.messages) == 2 + len(gates)
    assert client.complete


@promise
async def a_slow_client_slows_the_app(standing: Standing) -> None:
    """A `send` of the app returns when the server's does, and not before."""
    returned: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        for message in (start(200, STREAM), chunk(b"one"), chunk(b"two", more=False)):
            await send(message)
            returned.append(message["type"])

    async with drive(standing.build(app), standing.scope(), body=standing.body, held=True) as client:
        for number in range(3):
            await client.message(number)
            assert len(returned) == number
            client.step()
        client.release()
        await client.completed()
    assert len(returned) == 3


@promise
async def a_disconnect_reaches_the_app(standing: Standing) -> None:
    """After the body, the app learns from `receive` that the client left."""
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await send(start(200, STREAM))
        seen.append(await receive())

    async with drive(standing.build(app), standing.scope(), body=standing.body) as client:
        await client.message(0)
        assert not seen
        client.disconnect()
        await client.completed()
    assert seen == [{"type": "http.disconnect"}]


@promise
async def unknown_messages_pass(standing: Standing) -> None:
    """What a later ASGI version or an extension brings is forwarded, as the very object."""
    early: Message = {"type": "http.response.something", "value": object()}
    late: Message = {"type": "http.response.trailers", "headers": [], "more_trailers": False}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        for message in (early, start(200, STREAM), chunk(b"", more=False), late):
            await send(message)

    async with drive(standing.build(app), standing.scope(), body=standing.body) as client:
        await client.completed()
    assert client.messages[0] is early
    assert client.messages[-1] is late
    assert len(client.messages) == 4


@promise
async def an_exception_comes_out_as_the_same_object(standing: Standing) -> None:
    """Once the answer began, the server sees what broke it, and the client sees a cut."""
    broken = RuntimeError("the stream broke")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await send(start(200, STREAM))
        await send(chunk(b"half"))
        raise broken

    async with drive(standing.build(app), standing.scope(), body=standing.body) as client:
        assert await client.failed() is broken
    assert client.body == b"half"
    assert not client.complete


@promise
async def an_exception_before_the_answer_comes_out_too(standing: Standing) -> None:
    """An error that nobody foresaw reaches the server's log, whoever words it for the client."""
    broken = RuntimeError("nothing began")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        raise broken

    async with drive(standing.build(app), standing.scope(), body=standing.body) as client:
        assert await client.failed() is broken


@promise
async def a_cancellation_reaches_the_app(standing: Standing) -> None:
    """A server that ends a request ends all of it."""
    cancelled = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await send(start(200, STREAM))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with drive(standing.build(app), standing.scope(), body=standing.body) as client:
        await client.message(0)
        client.cancel()
        assert isinstance(await client.failed(), asyncio.CancelledError)
    assert cancelled.is_set()
    assert not client.complete


@promise
async def the_body_arrives_whole(standing: Standing) -> None:
    """Every byte, in order, however it was cut on the way."""
    seen: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(await read_body(receive))
        await send(start())
        await send(chunk(b"", more=False))

    middle = len(standing.body) // 2
    for pieces in ([standing.body], [standing.body[:middle], b"", standing.body[middle:]]):
        async with drive(standing.build(app), standing.scope(), body=pieces) as client:
            await client.completed()
    assert seen == [standing.body] * 2


@promise
async def interleaved_requests_share_nothing(standing: Standing) -> None:
    """Two requests take turns in one layer; each keeps its own body, exchange, answer and fate."""
    gates = {b"first": asyncio.Event(), b"second": asyncio.Event()}
    exchanges: list[Exchange] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchanges.append(Exchange.of(scope))
        body = await read_body(receive)
        await send(start(200, (b"x-name", scope["name"])))
        await gates[scope["name"]].wait()
        await send(chunk(scope["name"] + body, more=False))

    layer = standing.build(app)
    before = {name: id(value) for name, value in vars(layer).items()}
    scopes = [{**standing.scope(), "name": name} for name in gates]
    async with (
        drive(layer, scopes[0], body=None) as first,
        drive(layer, scopes[1], body=None) as second,
    ):
        for client in (first, second):
            client.feed(standing.body[:3])
        for client in (second, first):
            client.feed(standing.body[3:], more=False)
        for client in (first, second):
            await client.message(0)
        gates[b"second"].set()
        await second.completed()
        assert not first.complete
        gates[b"first"].set()
        await first.completed()
    assert (first.header("x-name"), first.body) == (b"first", b"first" + standing.body)
    assert (second.header("x-name"), second.body) == (b"second", b"second" + standing.body)
    assert exchanges[0] is not exchanges[1]
    assert {name: id(value) for name, value in vars(layer).items()} == before


promises = pytest.mark.parametrize("kept", PROMISES, ids=lambda function: function.__name__)
