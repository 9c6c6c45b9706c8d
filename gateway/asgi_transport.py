"""An httpx transport whose other end is an ASGI application in the same process, streaming both ways.

The mirror image of `middleware.upstream`. It serves `httpx` and `httpx2` clients alike: it answers in the classes of
the request it was given. Each message of the application waits until the caller takes it, so that a slow reader slows
the application. Closing the response, or cancelling the caller, tells the application that its client left. When the
application breaks in mid-answer, the reader of the body gets an error and not an end.

It does not run the application's lifespan.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httpx

if TYPE_CHECKING:
    from types import ModuleType

    from starlette.types import ASGIApp, Message, Scope


class AsgiTransport(httpx.AsyncBaseTransport):
    """`rewrite` may change the scope before the application sees it. A type checker knows it as httpx's transport."""

    def __init__(self, app: ASGIApp, *, rewrite: Callable[[Scope], Scope] = lambda scope: scope) -> None:
        self._app = app
        self._rewrite = rewrite

    async def handle_async_request(self, request: Any) -> Any:
        """Send one request; returns when the answer has begun. Raises the library's `ConnectError` if it never does."""
        library = _library_of(request)
        call = _Call(self._app, self._rewrite(scope_of(request)), aiter(request.stream))
        try:
            start = await call.begin()
        except Exception as error:
            call.hang_up()
            message = f"the application failed: {type(error).__name__}"
            raise library.ConnectError(message, request=request) from error
        except BaseException:
            call.hang_up()
            raise
        stream = _stream_class(library)(call, library, request)
        return library.Response(
            start["status"], headers=list(start["headers"]), stream=stream, request=request
        )

    async def aclose(self) -> None:
        """Nothing to close: the application belongs to whoever made it."""


def scope_of(request: Any) -> Scope:
    """The request as a server would present it."""
    raw_path, _, query = request.url.raw_path.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": unquote(raw_path.decode("ascii")),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": None,
        "server": (request.url.host, request.url.port),
        "extensions": {},
    }


class _Call:
    """One request: the application runs in a task of its own."""

    def __init__(self, app: ASGIApp, scope: Scope, body: AsyncIterator[bytes]) -> None:
        self._body: AsyncIterator[bytes] | None = body
        self._reading: asyncio.Future[bytes | None] | None = None
        self._left = asyncio.Event()
        self._offered: asyncio.Queue[Message | None] = asyncio.Queue()
        self._taken = asyncio.Semaphore(0)
        self._task = asyncio.get_running_loop().create_task(self._run(app, scope))

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._send)
        finally:
            self._offered.put_nowait(None)

    async def _receive(self) -> Message:
        if self._body is not None and not self._left.is_set():
            reading = self._reading = asyncio.ensure_future(anext(self._body, None))
            try:
                await asyncio.wait((reading,))
            finally:
                reading.cancel()
            if not reading.cancelled():
                return self._piece(reading.result())
        await self._left.wait()
        return {"type": "http.disconnect"}

    def _piece(self, piece: bytes | None) -> Message:
        if piece is None:
            self._body = None
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def _send(self, message: Message) -> None:
        if self._left.is_set():
            return  # as servers do
        self._offered.put_nowait(message)
        await self._taken.acquire()

    async def begin(self) -> Message:
        """The message that starts the answer."""
        while True:
            message = await self._next()
            if message is None:
                raise RuntimeError("the application ended without an answer")
            if message["type"] == "http.response.start":
                return message

    async def chunks(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._next()
            if message is None:
                raise RuntimeError("the application ended in mid-answer")
            if message["type"] == "http.response.body":
                more = message.get("more_body", False)
                if message.get("body"):
                    yield message["body"]

    async def _next(self) -> Message | None:
        message = await self._offered.get()
        self._taken.release()
        if message is None:
            await self._task  # raises what broke it
        return message

    def hang_up(self) -> None:
        """The caller wants no more. The application hears of it by `http.disconnect` and ends in its own time."""
        self._left.set()
        self._taken.release()
        if self._reading is not None:
            self._reading.cancel()  # a body that was never to go on would keep the application waiting
        _running.add(self._task)
        self._task.add_done_callback(_let_go)


_running: set[asyncio.Task[None]] = set()


def _let_go(task: asyncio.Task[None]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # seen: the caller has left


def _library_of(request: object) -> ModuleType:
    """`httpx` or `httpx2`, whichever made the request: a client accepts answers of its own library only."""
    return sys.modules[type(request).__module__.partition(".")[0]]


class _Stream:
    """The answer's body, for either library."""

    def __init__(self, call: _Call, library: ModuleType, request: Any) -> None:
        self._call = call
        self._library = library
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._call.chunks():
                yield chunk
        except Exception as error:
            message = (
                f"the answer broke off: {error if isinstance(error, RuntimeError) else type(error).__name__}"
            )
            raise self._library.RemoteProtocolError(message, request=self._request) from error

    async def aclose(self) -> None:
        self._call.hang_up()


_stream_classes: dict[str, type[Any]] = {}


def _stream_class(library: ModuleType) -> type[Any]:
    """`_Stream` as an async byte stream of `library`, which its client insists on."""
    made = _stream_classes.get(library.__name__)
    if made is None:
        made = type("ApplicationStream", (_Stream, library.AsyncByteStream), {})
        _stream_classes[library.__name__] = made
    return made
