"""The scripted provider: an ASGI app that records each request exactly and answers as the test says.

    upstream = Upstream(Reply(chunks=[b"one", gate, b"two", CUT]))

A reply is a status, headers and steps: bytes are one chunk, an `asyncio.Event` holds the answer back until the
test sets it, `CUT` breaks the connection without an end. Answers come from a list, in order, or from a callable
that is shown each request; one too many gets a 500 that says so. `tests.answers` words replies as vendors do.

It runs in process as well as on a socket (`tests.servers`), in the event loop of the test. While it answers, it
listens: `Received.disconnected` is set as soon as the other side leaves before the answer has ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from starlette.types import Receive, Scope, Send

from tests.waiting import PATIENCE_S, Changes

RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]


class _Cut(Enum):
    CUT = "cut"


CUT = _Cut.CUT
"""A step that breaks the connection, so that the answer has no end."""

Step: TypeAlias = bytes | asyncio.Event | _Cut


class ConnectionCut(Exception):
    """Raised by the provider to make its server cut the connection."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. Without a `content-length` among the headers, the chunks are sent chunked."""

    status: int = 200
    headers: RawHeaders = ((b"content-type", b"application/json"),)
    chunks: Iterable[Step] = ()


@dataclass(slots=True)
class Received:
    """One request as it arrived, byte for byte and in order (names in the case in which the server gave them)."""

    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list, repr=False)
    """What the provider has said so far, chunk by chunk."""
    disconnected: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """The other side left before its answer had ended."""
    answered: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """The answer has ended as scripted; a cut is such an end too."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def values(self, name: str) -> list[bytes]:
        """All values of a header, in order."""
        wanted = name.lower().encode("latin-1")
        return [value for key, value in self.headers if key.lower() == wanted]

    def header(self, name: str) -> str | None:
        """The first value of a header as text."""
        return next((value.decode("latin-1") for value in self.values(name)), None)


Answer: TypeAlias = Reply | Callable[[Received], Reply]


class Upstream:
    """The provider. `requests` holds what arrived, in the order in which the bodies were complete."""

    def __init__(self, answers: Answer | Sequence[Answer] = ()) -> None:
        self.requests: list[Received] = []
        self._always = answers if callable(answers) else None
        self._answers: list[Answer] = []
        self._changes = Changes()
        if not callable(answers):
            self.then(*([answers] if isinstance(answers, Reply) else answers))

    def then(self, *answers: Answer) -> None:
        """Add answers to the end of the script."""
        self._answers.extend(answers)

    async def request(self, index: int = 0) -> Received:
        """The request number `index`, as soon as it is here."""
        await self._changes.until(lambda: len(self.requests) > index, f"request {index} to the provider")
        return self.requests[index]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await self._exchange(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Received(
            method=scope["method"],
            path=scope["path"],
            raw_path=scope.get("raw_path") or b"",
            query=scope["query_string"],
            headers=[(bytes(name), bytes(value)) for name, value in scope["headers"]],
        )
        await _read_body(request, receive)
        reply = self._next(request)
        self.requests.append(request)
        self._changes.notify()
        if request.disconnected.is_set():
            return
        listener = asyncio.create_task(_listen(request, receive))
        try:
            await _answer(reply, request, send)
        finally:
            listener.cancel()

    def _next(self, request: Received) -> Reply:
        if self._always is not None:
            answer: Answer = self._always
        elif self._answers:
            answer = self._answers.pop(0)
        else:
            note = (
                f"the script has no answer for request {len(self.requests)}: {request.method} {request.path}"
            )
            answer = Reply(500, chunks=[json.dumps({"error": {"message": note}}).encode()])
        return answer if isinstance(answer, Reply) else answer(request)


async def _read_body(request: Received, receive: Receive) -> None:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            request.disconnected.set()
            return
        request.body += message.get("body", b"")
        more = message.get("more_body", False)


async def _listen(request: Received, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    request.disconnected.set()


async def _answer(reply: Reply, request: Received, send: Send) -> None:
    """Play the steps. Once the other side has left there is nobody to play for."""
    await send({"type": "http.response.start", "status": reply.status, "headers": list(reply.headers)})
    for step in reply.chunks:
        if isinstance(step, asyncio.Event):
            await _first_of(step, request.disconnected)
        elif step is CUT:
            request.answered.set()
            raise ConnectionCut
        else:
            request.chunks.append(step)
            await send({"type": "http.response.body", "body": step, "more_body": True})
        if request.disconnected.is_set():
            return
    request.answered.set()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _first_of(gate: asyncio.Event, left: asyncio.Event) -> None:
    waiters = [asyncio.create_task(event.wait()) for event in (gate, left)]
    try:
        done, _ = await asyncio.wait(waiters, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise AssertionError(f"nobody opened the gate within {PATIENCE_S:g} s")
    finally:
        for waiter in waiters:
            waiter.cancel()


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
