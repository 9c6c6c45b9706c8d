"""A chat's events as server-sent events (WHATWG HTML, section 9.2).

Each event leaves when it happens. A message carries its position as the event's ID, so that a client that lost the
connection gets, by `Last-Event-ID`, what it missed; what is said of an unfinished answer comes again as one delta.

The stream ends when the client leaves, when the chat is deleted, and when the service shuts down and has ended the
turn: until then a client would only wait, and the shutdown with it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.chat.api.mistakes import told
from gateway.chat.api.parameters import Position
from gateway.chat.events import ChatEvent, MessageAdded
from gateway.chat.storable import storable
from middleware.errors import BadRequest
from middleware.exchange import Exchange, Identity, header
from recorders.tasks import end

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from gateway.chat.service import ChatService

SIGN_OF_LIFE_S: Final = 15.0
"""Between comments that keep proxies from closing a connection on which nothing happens."""

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]
_LINE_ENDS: Final = {"\u0085": b"\\u0085", "\u2028": b"\\u2028", "\u2029": b"\\u2029"}
"""No line ends in a stream of events, but to clients that split it with what splits text."""


class EventStream:
    """The answer to who asks for a chat's events. `pause` is between signs of life."""

    def __init__(
        self,
        service: ChatService,
        caller: Identity,
        chat_id: str,
        *,
        after: int,
        pause: Callable[[float], Awaitable[Any]],
    ) -> None:
        self._service = service
        self._caller = caller
        self._chat_id = chat_id
        self._after = after
        self._pause = pause
        self._sending = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        after = _last_event_id(scope, self._after)
        async with aclosing(self._service.events(self._caller, self._chat_id, after=after)) as events:
            with told():
                first = await anext(events)
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await self._write(send, framed(first))
            exchange = Exchange.of(scope)
            await _first_of(
                self._tell(events, send), self._show_life(send), _client_leaves(receive, exchange)
            )
            if not exchange.client_left:
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, events: AsyncIterator[ChatEvent], send: Send) -> None:
        async for event in events:
            await self._write(send, framed(event))

    async def _show_life(self, send: Send) -> None:
        while True:
            await self._pause(SIGN_OF_LIFE_S)
            await self._write(send, b":\n\n")

    async def _write(self, send: Send, piece: bytes) -> None:
        async with self._sending:
            await send({"type": "http.response.body", "body": piece, "more_body": True})


def framed(event: ChatEvent) -> bytes:
    """The event as its client reads it, with an ID when it is something to go on from."""
    position = b"id: %d\n" % event.position if isinstance(event, MessageAdded) else b""
    kind = str(event.__struct_config__.tag).encode()
    return b"event: %b\n%bdata: %b\n\n" % (kind, position, _json(event))


def _json(event: ChatEvent) -> bytes:
    """On one line. Half a character becomes what the store makes of it."""
    try:
        data = msgspec.json.encode(event)
    except UnicodeEncodeError:
        data = storable(json.dumps(msgspec.to_builtins(event), ensure_ascii=False)).encode()
    for end_of_line, escaped in _LINE_ENDS.items():
        data = data.replace(end_of_line.encode(), escaped)
    return data


def _last_event_id(scope: Scope, otherwise: int) -> int:
    """The header is of the connection that was lost, the query of the first one: a browser repeats it unchanged."""
    given = header(scope, b"last-event-id")
    if not given:
        return otherwise
    try:
        return msgspec.convert(given, Position, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(f"Last-Event-ID: {error}") from error


async def _client_leaves(receive: Receive, exchange: Exchange) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    exchange.client_left = True


async def _first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run them side by side until one ends, then end the others; what it raised comes out."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await asyncio.gather(*(end(task) for task in tasks))
        for task in tasks:
            task.cancelled() or task.exception()  # seen: only the first end counts
    for task in done:
        task.result()
