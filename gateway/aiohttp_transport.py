"""The default transport behind the upstream seam: an `httpx.AsyncBaseTransport` on aiohttp's connector.

httpx's own pool costs several times the CPU per request of aiohttp's; `make bench` prints both. It answers with the
provider's bytes as they arrive: nothing decompressed, no redirect followed, no cookie kept, no environment read, and
HTTP chunk boundaries kept. aiohttp's errors become httpx's at this border.

The session is made at the first request, because aiohttp binds it to the running loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Final

import aiohttp
import httpx
from aiohttp import hdrs
from multidict import CIMultiDict
from yarl import URL

from gateway.gathering import Gathering

MAX_HEADER_BYTES: Final = 64 * 1024
MAX_KEPT_URL: Final = 512
KEEPALIVE_S: Final = 15.0
"""Shorter than providers keep idle connections, so that a request seldom meets one that was just closed."""
GATHER_S: Final = 0.001
"""Less than anybody sees of words that appear, and many chunks of a provider that hurries."""

_NO_AUTO_HEADERS: Final = frozenset({hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT, hdrs.CONTENT_TYPE})


class AiohttpTransport(httpx.AsyncBaseTransport):
    """`max_connections` bounds the pool; 0 leaves it open, because concurrency is limited elsewhere. Chunks that come
    in a hurry may gather for `gather_s` where they are taken together (`gateway.gathering`).

    An answer doesn't hold on to its request, which may be large while the answer is long; whoever needs it has it.
    """

    def __init__(
        self, *, max_connections: int = 0, keepalive_s: float = KEEPALIVE_S, gather_s: float = GATHER_S
    ) -> None:
        self._max_connections = max_connections
        self._gather_s = gather_s
        self._keepalive_s = keepalive_s
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        session = self._session or self._open()
        connect_s = request.extensions.get("timeout", {}).get("connect")
        try:
            response = await session.request(
                request.method,
                _url(_address(request)),
                headers=CIMultiDict((_text(name), _text(value)) for name, value in request.headers.raw),
                data=_body(request),
                allow_redirects=False,
                timeout=_timeout(connect_s),
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _as_httpx(error, request) from error
        except ValueError as error:  # a control character in a header
            raise httpx.LocalProtocolError(type(error).__name__, request=request) from error
        stream = _Stream(response, self._gather_s)
        return httpx.Response(response.status, headers=list(response.raw_headers), stream=stream)

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=self._max_connections, keepalive_timeout=self._keepalive_s)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_NO_AUTO_HEADERS,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )
        return self._session

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class _Stream(httpx.AsyncByteStream):
    """The body as it arrives; closing it early closes the connection at once."""

    def __init__(self, response: aiohttp.ClientResponse, gather_s: float) -> None:
        self._response = response
        self._gather_s = gather_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            content = self._response.content
            # Not `iter_chunks`: on the stream that all answers without a body share, it ends once and never again.
            while not content.at_eof():
                chunk, _ = await content.readchunk()
                if chunk:
                    yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _as_httpx(error) from error

    async def together(self) -> AsyncIterator[list[bytes]]:
        """The same chunks, those at once that are here at once."""
        gathering = Gathering(self._gather_s)
        try:
            content = self._response.content
            while not content.at_eof():
                chunk, _ = await content.readchunk()
                chunks = [chunk, *_arrived(content)] if chunk else _arrived(content)
                if chunks:
                    yield chunks
                    connection = self._response.connection
                    gathering.passed_on(connection and connection.transport)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _as_httpx(error) from error

    async def aclose(self) -> None:
        self._response.close()


def _arrived(content: aiohttp.StreamReader) -> list[bytes]:
    """What else is here, cut where the provider cut it.

    aiohttp tells the chunks one by one only, each by a coroutine, and after each it parses on: that costs twice what
    reading them for the record does. So they are taken from where it keeps them, with their ends, which are offsets
    from the start of the answer; then it parses on, if it has stopped.
    """
    buffer = getattr(content, "_buffer", None)
    if not buffer:
        return []
    data = b"".join(buffer)[content._buffer_offset :]
    ends, start = content._http_chunk_splits or (), content._cursor
    chunks: list[bytes] = []
    taken = 0
    for end in ends:
        if end - start > taken:
            chunks.append(data[taken : end - start])
            taken = end - start
    if taken < len(data):
        chunks.append(data[taken:])
    _forget(content, len(data))
    return chunks


def _forget(content: aiohttp.StreamReader, size: int) -> None:
    """All that is in the buffer has been taken."""
    content._buffer.clear()
    if content._http_chunk_splits is not None:
        content._http_chunk_splits.clear()
    content._cursor += size
    content._size = content._buffer_offset = 0
    if content._protocol._reading_paused:
        content._protocol.resume_reading()


def _address(request: httpx.Request) -> str:
    """The URL with the target as httpx's `target` extension gives it, where httpx would have quoted more of it."""
    target: bytes | None = request.extensions.get("target")
    if target is None or b"#" in target:
        return str(request.url)
    return f"{request.url.scheme}://{request.url.netloc.decode('ascii')}{target.decode('ascii')}"


def _url(url: str) -> URL:
    """Kept, because URLs repeat; but for long ones, of which a thousand would fill the memory."""
    return (_kept_url if len(url) <= MAX_KEPT_URL else _kept_url.__wrapped__)(url)


@lru_cache(maxsize=1024)
def _kept_url(url: str) -> URL:
    return URL(url, encoded=True)


@lru_cache(maxsize=16)
def _timeout(connect_s: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect_s)


def _text(raw: bytes) -> str:
    """Header bytes for aiohttp, which writes UTF-8: text that isn't UTF-8 was Latin-1 on the wire."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _body(request: httpx.Request) -> bytes | AsyncIterator[bytes] | None:
    stream = request.stream
    if isinstance(stream, httpx.ByteStream):
        return b"".join(stream) or None
    if isinstance(stream, httpx.AsyncByteStream):
        return aiter(stream)
    raise TypeError(f"can't send a body of {type(stream).__name__}")


def _as_httpx(error: Exception, request: httpx.Request | None = None) -> httpx.TransportError:
    """Messages name the kind of trouble, never the target: a base URL may hold credentials."""
    kind: type[httpx.TransportError]
    match error:
        case aiohttp.ConnectionTimeoutError():
            kind = httpx.ConnectTimeout
        case aiohttp.ServerTimeoutError() | TimeoutError():
            kind = httpx.ReadTimeout
        case aiohttp.ClientConnectorError():
            kind = httpx.ConnectError
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError():
            kind = httpx.RemoteProtocolError
        case _:
            kind = httpx.ReadError
    return kind(type(error).__name__, request=request)
