"""Drives an ASGI application or layer by messages, as a server would, with every step in the test's hands.

    async with drive(app, http_scope("POST", "/v1/messages"), body=b"{}") as client:
        start = await client.message(0)        # waits for the first message, and for no more
        client.disconnect()                    # the app's next `receive` says so
        await client.completed()

The request body goes in as pieces, at once or when the test says so. What the app sends is kept in
`messages`; with `hold` a `send` stays open until `release` or `step`, as it does when the client reads
slowly. An exception of the app that the test did not ask for with `failed` comes out of the `async with`.
Nothing here knows the gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Message, Scope

from tests.waiting import Changes

RawHeaders = list[tuple[bytes, bytes]]


def http_scope(
    method: str = "GET",
    target: str | bytes = "/",
    *,
    headers: Iterable[tuple[str | bytes, str | bytes]] = (),
    root_path: str = "",
    client: tuple[str, int] | None = ("127.0.0.1", 50000),
    **extra: Any,
) -> Scope:
    """The scope that a server makes of a request line and headers.

    `target` is what stands on the request line, still percent-encoded, with the query if there is one.
    Header names are lower-cased, as servers do; order and duplicates stay.
    """
    raw = target.encode("ascii") if isinstance(target, str) else target
    raw_path, _, query = raw.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote_to_bytes(raw_path).decode("utf-8", "surrogateescape"),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": root_path,
        "headers": [(_raw(name).lower(), _raw(value)) for name, value in headers],
        "client": client,
        "server": ("127.0.0.1", 4001),
        "state": {},
        **extra,
    }


def _raw(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text


class Drive:
    """One request in flight: the client's side of it, and what the app said so far."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.receive_calls = 0
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._changes = Changes()
        self._send_may_return = asyncio.Event()
        self._send_may_return.set()
        self._task: asyncio.Task[None] | None = None
        self._failure_seen = False

    # -- the client's moves ----------------------------------------------------------------------------------

    def feed(self, piece: bytes, *, more: bool = True) -> None:
        """The next piece of the request body; `more=False` ends it."""
        self._incoming.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    def disconnect(self) -> None:
        """The client leaves. For good: each further `receive` says so again."""
        self._incoming.put_nowait({"type": "http.disconnect"})

    def hold(self) -> None:
        """From now on a `send` does not return: the client has stopped reading."""
        self._send_may_return.clear()

    def release(self) -> None:
        """The client reads on: sends return at once again."""
        self._send_may_return.set()

    def step(self) -> None:
        """Let the one `send` that is held return, and hold the next."""
        self.release()
        self.hold()

    def cancel(self) -> None:
        """Cancel the task that runs the app, as a server does when it must end."""
        self._running.cancel()

    # -- waiting for the app's moves -------------------------------------------------------------------------

    async def message(self, index: int) -> Message:
        """The app's message number `index`, as soon as the app has begun to send it."""
        await self._changes.until(
            lambda: len(self.messages) > index or self._running.done(), f"message {index} of the app"
        )
        if len(self.messages) <= index:
            await self.completed()
            raise AssertionError(f"the app ended after {len(self.messages)} messages")
        return self.messages[index]

    async def receiving(self, calls: int = 1) -> None:
        """Wait until the app has called `receive` that often."""
        await self._changes.until(lambda: self.receive_calls >= calls, f"call {calls} of receive")

    async def ended(self) -> None:
        """Wait until the app has ended, well or not."""
        await self._changes.until(self._running.done, "the end of the app")

    async def completed(self) -> None:
        """Wait until the app has returned; its exception, if it raised one, comes out here."""
        await self.ended()
        self._failure_seen = True
        self._running.result()

    async def failed(self) -> BaseException:
        """Wait until the app has raised, and hand over the exception: the very object."""
        await self.ended()
        self._failure_seen = True
        failure = self.exception
        if failure is None:
            raise AssertionError("the app returned instead of raising")
        return failure

    # -- what came of it -------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        return self._running.done()

    @property
    def exception(self) -> BaseException | None:
        """What the app raised, `CancelledError` included; None while it runs and when it returned."""
        if not self._running.done():
            return None
        try:
            return self._running.exception()
        except asyncio.CancelledError as cancelled:
            return cancelled

    @property
    def start(self) -> Message:
        return next(m for m in self.messages if m["type"] == "http.response.start")

    @property
    def status(self) -> int:
        status: int = self.start["status"]
        return status

    @property
    def headers(self) -> RawHeaders:
        return [(bytes(name), bytes(value)) for name, value in self.start["headers"]]

    def header(self, name: str | bytes) -> bytes | None:
        """The first answer header of that name, in any case."""
        wanted = _raw(name).lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    @property
    def chunks(self) -> list[bytes]:
        """The bodies of the body messages that carried any bytes, one each."""
        bodies = [m.get("body", b"") for m in self.messages if m["type"] == "http.response.body"]
        return [body for body in bodies if body]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def complete(self) -> bool:
        """Whether the app has said that the answer is over."""
        return any(m["type"] == "http.response.body" and not m.get("more_body", False) for m in self.messages)

    # -- the server's side -----------------------------------------------------------------------------------

    async def receive(self) -> Message:
        self.receive_calls += 1
        self._changes.notify()
        message = await self._incoming.get()
        if message["type"] == "http.disconnect":
            self.disconnect()
        return message

    async def send(self, message: Message) -> None:
        self.messages.append(message)
        self._changes.notify()
        await self._send_may_return.wait()

    def run(self, app: ASGIApp, scope: Scope) -> None:
        self._task = asyncio.create_task(_run(app, scope, self), name="driven app")
        self._task.add_done_callback(lambda _: self._changes.notify())

    async def close(self) -> None:
        """End what still runs; raise what the app raised if no test asked for it."""
        if not self._running.done():
            self._running.cancel()
            await asyncio.wait([self._running])
            self._failure_seen = isinstance(self.exception, asyncio.CancelledError)
        if not self._failure_seen:
            self._running.result()

    @property
    def _running(self) -> asyncio.Task[None]:
        if self._task is None:
            raise AssertionError("the drive has not begun")
        return self._task


async def _run(app: ASGIApp, scope: Scope, drive: Drive) -> None:
    await app(scope, drive.receive, drive.send)


@asynccontextmanager
async def drive(
    app: ASGIApp, scope: Scope, *, body: bytes | Iterable[bytes] | None = b"", held: bool = False
) -> AsyncIterator[Drive]:
    """Run `app` on `scope` in a task of its own, for as long as the `async with` lasts.

    `body` is the whole request body, or its pieces; None leaves it to the test to `feed` it. `held` starts
    with `hold`. What still runs at the end is cancelled.
    """
    client = Drive()
    if body is not None:
        pieces = [body] if isinstance(body, bytes) else list(body)
        for position, piece in enumerate(pieces):
            client.feed(piece, more=position + 1 < len(pieces))
    if held:
        client.hold()
    client.run(app, scope)
    try:
        yield client
    except BaseException:
        client._failure_seen = True  # the test's own failure is the one to show
        raise
    finally:
        await client.close()


async def call(app: ASGIApp, scope: Scope, body: bytes | Iterable[bytes] = b"") -> Drive:
    """Run `app` on `scope` to its end, and return what it said; its exception comes out."""
    async with drive(app, scope, body=body) as client:
        await client.completed()
    return client
