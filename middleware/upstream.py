"""Speaks to the provider: the innermost application, an ASGI face on an `httpx.AsyncBaseTransport`.

It sends the scope it is given, byte for byte, and forwards status, headers and each chunk as they come: none merged,
held or invented. Chunks that arrived together leave in one message that says where each begins, where transport and
server are up to it (`CHUNKS` in `exchange`); else each has a message of its own. It follows no redirect and keeps no
cookie, because it uses the transport and not a client.

While it waits for the provider it watches `receive`, since servers drop sends silently after a disconnect: when the
client leaves, the provider's connection is closed at once (or, with `on_client_left="drain"`, read on for a bounded
time to learn the final usage). Four timeouts, all explicit: connect, first byte, idle, total.

Before the answer began, trouble becomes `UpstreamUnreachable` or `UpstreamTimeout`; after it, `UpstreamBroke` goes up
to the server, so that the client sees a cut and not an end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, Self, TypeAlias, cast

import httpx

from middleware.errors import (
    BadRequest,
    ClientLeft,
    GatewayError,
    UpstreamBroke,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from middleware.exchange import CHUNKS, Exchange, takes_chunks
from middleware.request_body import whole_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.types import Message, Receive, Scope, Send

OnClientLeft: TypeAlias = Literal["close", "drain"]

MAX_KEPT_TARGET: Final = 512


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `first_byte_s` covers sending the request and thinking; `idle_s` the time between chunks."""

    connect_s: float = 10.0
    first_byte_s: float = 600.0
    idle_s: float = 600.0
    total_s: float = 3600.0

    def __post_init__(self) -> None:
        for name in ("connect_s", "first_byte_s", "idle_s", "total_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive: {getattr(self, name)}")


class Upstream:
    """The end of the pipeline. The transport belongs to whoever made it; this class never closes it."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        *,
        timeouts: Timeouts | None = None,
        on_client_left: OnClientLeft = "close",
        drain_s: float = 30.0,
    ) -> None:
        if on_client_left not in ("close", "drain"):
            raise ValueError(f"on_client_left must be close or drain: {on_client_left!r}")
        self.transport = transport
        self.timeouts = timeouts or Timeouts()
        self.on_client_left = on_client_left
        self.drain_s = drain_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"upstream speaks http only, not {scope['type']}")
        exchange = Exchange.of(scope)
        request = _request(scope, await whole_body(receive, exchange), self.timeouts.connect_s)
        with _Watch(self, exchange, receive) as watch:
            response = await self._ask(request)
            # The provider has the body, and the answer may take an hour: nobody needs to keep it.
            exchange.body = None
            del request
            try:
                await _relay(response, watch, send, together=takes_chunks(scope))
            except BaseException:
                _close_soon(response)
                raise
            await response.aclose()

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self.transport.handle_async_request(request)
        except (httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise UpstreamTimeout("connect", self.timeouts.connect_s) from error
        except httpx.TimeoutException as error:
            raise UpstreamTimeout("first byte", self.timeouts.first_byte_s) from error
        except httpx.LocalProtocolError as error:
            raise BadRequest("a header of the request has a character that can't be sent on") from error
        except httpx.TransportError as error:
            raise UpstreamUnreachable(f"could not reach the provider: {type(error).__name__}") from error


def _url(scheme: str, host: str, port: int, target: bytes) -> httpx.URL:
    """Targets repeat, so their URLs are kept; but for long ones, of which a thousand would fill the memory."""
    make = _kept_url if len(target) <= MAX_KEPT_TARGET else _kept_url.__wrapped__
    try:
        return make(scheme, host, port, target)
    except (httpx.InvalidURL, UnicodeDecodeError) as error:
        raise BadRequest("the query is too long, or has a character that must be percent-encoded") from error


@lru_cache(maxsize=1024)
def _kept_url(scheme: str, host: str, port: int, target: bytes) -> httpx.URL:
    return httpx.URL(scheme=scheme, host=host, port=port, raw_path=target)


def _request(scope: Scope, body: bytes, connect_s: float) -> httpx.Request:
    """The request as the scope has it. A body given as a stream keeps httpx from adding headers of its own."""
    host, port = scope["server"]
    target = scope["raw_path"]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    headers = list(scope["headers"])
    if body or scope["method"] not in ("GET", "HEAD", "OPTIONS", "DELETE"):
        headers.append((b"content-length", str(len(body)).encode()))
    url = _url(scope["scheme"], host, port, target)
    # The other timeouts are watched here, alike for every transport.
    limits = {"connect": connect_s, "pool": connect_s, "read": None, "write": None}
    extensions: dict[str, Any] = {"timeout": limits}
    if url.raw_path != target:
        extensions["target"] = target  # httpx quotes what a client left raw; this sends it as it came
    return httpx.Request(
        scope["method"], url, headers=headers, stream=httpx.ByteStream(body), extensions=extensions
    )


class _Arriving(Protocol):
    """What a transport's stream may offer beside its chunks: those that arrived together, as they come."""

    def together(self) -> AsyncIterator[Sequence[bytes]]: ...


async def _relay(response: httpx.Response, watch: _Watch, send: Send, *, together: bool) -> None:
    await send(
        {"type": "http.response.start", "status": response.status_code, "headers": response.headers.raw}
    )
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise TypeError(f"the transport answered with {type(response.stream).__name__}, not an async stream")
    watch.answering()
    bytes_left, more = _declared_length(response), True
    try:
        async for message in _messages(response.stream, together=together):
            bytes_left -= len(message["body"])
            message["more_body"] = more = bytes_left != 0
            watch.sending() if more else watch.finished()
            await send(message)
            if more:
                watch.waiting()
    except httpx.TransportError as error:
        if more:  # what follows a whole answer concerns nobody
            raise UpstreamBroke(f"the provider's answer broke off: {type(error).__name__}") from error
    if more:
        watch.finished()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _messages(stream: httpx.AsyncByteStream, *, together: bool) -> AsyncIterator[Message]:
    if together and hasattr(stream, "together"):
        async for chunks in cast("_Arriving", stream).together():
            if len(chunks) == 1:
                yield {"type": "http.response.body", "body": chunks[0]}
            else:
                yield {"type": "http.response.body", "body": b"".join(chunks), CHUNKS: chunks}
    else:
        async for chunk in stream:
            if chunk:
                yield {"type": "http.response.body", "body": chunk}


def _declared_length(response: httpx.Response) -> int:
    """How long the answer says it is, so that its last chunk can end it; -1 where only its end can tell."""
    declared = response.headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdecimal() else -1


_closing: set[asyncio.Task[None]] = set()


def _close_soon(response: httpx.Response) -> None:
    """Close without waiting: the request may be cancelled, and an await in a cancelled scope never runs."""
    task = asyncio.get_running_loop().create_task(response.aclose())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


class _Watch:
    """Ends the request it is entered in when the client leaves or a timeout passes.

    It cancels the task, as `asyncio.timeout` does, and turns that cancellation into the error that says why; a
    cancellation from elsewhere passes. Timers are re-armed lazily: a chunk costs two attribute writes.
    """

    __slots__ = (
        "_cancelling",
        "_exchange",
        "_finished",
        "_layer",
        "_limit_s",
        "_loop",
        "_phase",
        "_reason",
        "_receive",
        "_since",
        "_task",
        "_timers",
        "_watcher",
    )

    FIRST_BYTE: ClassVar = "first byte"

    def __init__(self, layer: Upstream, exchange: Exchange, receive: Receive) -> None:
        self._layer, self._exchange, self._receive = layer, exchange, receive
        self._reason: GatewayError | None = None
        self._finished = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("the upstream runs inside an asyncio task")
        self._task, self._cancelling = task, task.cancelling()
        self._loop = task.get_loop()
        timeouts = self._layer.timeouts
        self._phase, self._limit_s = self.FIRST_BYTE, timeouts.first_byte_s
        self._since: float | None = self._loop.time()
        self._timers = {
            "total": self._loop.call_later(timeouts.total_s, self._took_too_long),
            "phase": self._loop.call_later(self._limit_s, self._tick),
        }
        self._watcher: asyncio.Task[None] | None = self._loop.create_task(self._watch_client())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finished()
        for timer in self._timers.values():
            timer.cancel()
        if self._reason is None or self._task.uncancel() > self._cancelling:
            return  # not ended from here, or somebody else wants this task cancelled as well
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            raise self._reason from None

    def answering(self) -> None:
        """The answer began: from now on the time between chunks counts."""
        self._timers["phase"].cancel()
        self._phase, self._limit_s = "idle", self._layer.timeouts.idle_s
        self._timers["phase"] = self._loop.call_later(self._limit_s, self._tick)
        self.waiting()

    def waiting(self) -> None:
        self._since = self._loop.time()

    def sending(self) -> None:
        """A slow client is not a slow provider: the clock stands while a chunk is on its way down."""
        self._since = None

    def finished(self) -> None:
        """All is there: a server that now says `http.disconnect` means the end and not a client that left."""
        self._finished = True
        self._since = None
        if self._watcher is not None:
            # Let go of it: a cancelled task keeps the frames it was cancelled in, this object among them, and all that
            # the request holds would wait for the garbage collector.
            self._watcher.cancel()
            self._watcher = None

    async def _watch_client(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._finished:
            return
        self._exchange.client_left = True
        if self._layer.on_client_left == "close":
            self._stop(ClientLeft())
        else:
            self._timers["drain"] = self._loop.call_later(self._layer.drain_s, self._stop, ClientLeft())

    def _took_too_long(self) -> None:
        self._stop(UpstreamTimeout("the whole answer", self._layer.timeouts.total_s))

    def _tick(self) -> None:
        waited_s = 0.0 if self._since is None else self._loop.time() - self._since
        if waited_s >= self._limit_s:
            self._stop(UpstreamTimeout(self._phase, self._limit_s))
        else:
            self._timers["phase"] = self._loop.call_later(self._limit_s - waited_s, self._tick)

    def _stop(self, reason: GatewayError) -> None:
        if self._reason is None:
            self._reason = reason
            self._task.cancel()
