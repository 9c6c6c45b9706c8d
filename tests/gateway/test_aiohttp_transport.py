"""The default upstream transport against raw loopback servers: the bytes on the wire, and what becomes of trouble."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import httpx
import pytest

from gateway.aiohttp_transport import AiohttpTransport
from tests.waiting import PATIENCE_S

Handler: TypeAlias = Callable[["Connection"], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Connection:
    """One connection of the transport, seen from the other end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The next request, as it stood on the wire; its body by `content-length`."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            (line.partition(b":")[2] for line in head.split(b"\r\n") if line.startswith(b"content-length:")),
            b"0",
        )
        return head + await self.reader.readexactly(int(length))

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def left(self) -> None:
        """Wait until the other side has closed."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while await self.reader.read(1024):
                    pass
            except ConnectionResetError:
                return

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        raw: Any = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Server:
    """`connections` counts what was opened to it."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._handler(Connection(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass  # the transport closed
        finally:
            writer.close()


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Server]:
    server = Server(handler)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield server


@asynccontextmanager
async def transport(**options: Any) -> AsyncIterator[AiohttpTransport]:
    made = AiohttpTransport(**options)
    try:
        yield made
    finally:
        await made.aclose()


def request(
    url: str, method: str = "GET", body: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None
) -> httpx.Request:
    """A request as `middleware.upstream` makes it: every header is given, none is added."""
    given = [(b"host", b"provider.test"), *(headers or [])]
    if body or method == "POST":
        given.append((b"content-length", b"%d" % len(body)))
    return httpx.Request(
        method,
        url,
        headers=given,
        stream=httpx.ByteStream(body),
        extensions={"timeout": {"connect": 5.0, "read": None}},
    )


async def read(response: httpx.Response) -> list[bytes]:
    """The chunks of an answer, as the upstream layer takes them."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    try:
        return [chunk async for chunk in response.stream]
    finally:
        await response.aclose()


def always(answer: bytes, kept: list[bytes] | None = None) -> Handler:
    """Answers each request on a connection alike."""

    async def handler(connection: Connection) -> None:
        while True:
            arrived = await connection.request()
            if kept is not None:
                kept.append(arrived)
            await connection.say(answer)

    return handler


# -- bytes ----------------------------------------------------------------------------------------------------------


async def test_the_request_on_the_wire_is_the_one_that_was_given() -> None:
    """Order, duplicates, case and bytes of the headers; the target as it is encoded; nothing added."""
    kept: list[bytes] = []
    async with serving(always(OK, kept)) as server, transport() as t:
        headers = [
            (b"x-b", b"2"),
            (b"anthropic-beta", b"one"),
            (b"X-Mixed-Case", b"kept"),
            (b"anthropic-beta", b"two"),
            (b"x-name", "Grüße 😀".encode()),
            (b"x-a", b"1"),
        ]
        asked = request(f"{server.url}/v1/a%2Fb%20c;d?x=%7B%22&y=a+b&y=", "POST", b'{"a": 1}', headers)
        await read(await t.handle_async_request(asked))
    assert kept == [
        b"POST /v1/a%2Fb%20c;d?x=%7B%22&y=a+b&y= HTTP/1.1\r\n"
        b"host: provider.test\r\n"
        b"x-b: 2\r\n"
        b"anthropic-beta: one\r\n"
        b"X-Mixed-Case: kept\r\n"
        b"anthropic-beta: two\r\n"
        b"x-name: " + "Grüße 😀".encode() + b"\r\n"
        b"x-a: 1\r\n"
        b"content-length: 8\r\n\r\n"
        b'{"a": 1}'
    ]


async def test_a_target_that_httpx_would_quote_goes_out_raw() -> None:
    """The `target` extension, which httpx's own transport honours too."""
    kept: list[bytes] = []
    async with serving(always(OK, kept)) as server, transport() as t:
        asked = request(f'{server.url}/v1/models?f={{"a":"<b>"}}')
        asked.extensions["target"] = b'/v1/models?f={"a":"<b>"}'
        await read(await t.handle_async_request(asked))
    assert kept[0].startswith(b'GET /v1/models?f={"a":"<b>"} HTTP/1.1\r\n')


async def test_a_get_has_neither_body_nor_length() -> None:
    """Some providers refuse a GET that announces a body."""
    kept: list[bytes] = []
    async with serving(always(OK, kept)) as server, transport() as t:
        await read(await t.handle_async_request(request(f"{server.url}/v1/models")))
    assert kept == [b"GET /v1/models HTTP/1.1\r\nhost: provider.test\r\n\r\n"]


async def test_a_header_that_is_not_utf_8_goes_out_as_utf_8() -> None:
    """A limit of aiohttp, which writes header text as UTF-8: Latin-1 keeps its characters, not its bytes."""
    kept: list[bytes] = []
    async with serving(always(OK, kept)) as server, transport() as t:
        await read(await t.handle_async_request(request(server.url, headers=[(b"x-name", b"caf\xe9")])))
    assert b"x-name: caf\xc3\xa9\r\n" in kept[0]


async def test_a_body_of_many_bytes_arrives_whole() -> None:
    """More than any buffer on the way holds."""
    kept: list[bytes] = []
    body = bytes(range(256)) * 4096
    async with serving(always(OK, kept)) as server, transport() as t:
        await read(await t.handle_async_request(request(server.url, "POST", body)))
    assert kept[0].partition(b"\r\n\r\n")[2] == body


async def test_a_body_that_is_a_stream_is_sent_as_it_comes() -> None:
    """For whoever uses the transport without the upstream layer, which has its bodies whole."""
    kept: list[bytes] = []

    class Pieces(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"one "
            yield b"two"

    async with serving(always(OK, kept)) as server, transport() as t:
        asked = httpx.Request("POST", server.url, headers=[(b"content-length", b"7")], stream=Pieces())
        await read(await t.handle_async_request(asked))
    assert kept[0].endswith(b"\r\n\r\none two")


async def test_a_body_that_would_block_is_refused() -> None:
    """A synchronous stream has no place in an event loop."""

    class Blocking(httpx.SyncByteStream):
        pass

    async with transport() as t:
        with pytest.raises(TypeError, match="can't send a body of Blocking"):
            await t.handle_async_request(httpx.Request("POST", "http://127.0.0.1:1", stream=Blocking()))


async def test_the_headers_of_an_answer_are_the_bytes_that_came() -> None:
    """Order, duplicates, case, and values that are no text in any encoding."""
    answer = (
        b"HTTP/1.1 203 Odd\r\nX-One: 1\r\nset-cookie: a=1\r\nx-name: caf\xe9\r\n"
        b"Set-Cookie: b=2\r\ncontent-length: 0\r\n\r\n"
    )
    async with serving(always(answer)) as server, transport() as t:
        response = await t.handle_async_request(request(server.url))
        await read(response)
    assert response.status_code == 203
    assert response.headers.raw == [
        (b"X-One", b"1"),
        (b"set-cookie", b"a=1"),
        (b"x-name", b"caf\xe9"),
        (b"Set-Cookie", b"b=2"),
        (b"content-length", b"0"),
    ]


async def test_chunks_keep_their_boundaries_also_when_they_arrive_together() -> None:
    """Three chunks in one segment are three; one chunk in two segments comes in pieces, at once."""
    gate = asyncio.Event()

    async def handler(connection: Connection) -> None:
        await connection.request()
        await connection.say(CHUNKED + b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n")
        await gate.wait()
        await connection.say(b"4\r\nfour\r\n0\r\n\r\n")

    async with serving(handler) as server, transport() as t:
        response = await t.handle_async_request(request(server.url))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        arriving = aiter(response.stream)
        assert [await anext(arriving) for _ in range(3)] == [b"one", b"two", b"three"]
        gate.set()
        assert [chunk async for chunk in arriving] == [b"four"]
        await response.aclose()


async def test_chunks_that_arrived_together_can_be_had_together() -> None:
    """Each is still one, and none is waited for: what comes later comes later."""
    gate = asyncio.Event()

    async def handler(connection: Connection) -> None:
        await connection.request()
        await connection.say(CHUNKED + b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n6\r\nfo")
        await gate.wait()
        await connection.say(b"ur__\r\n4\r\nfive\r\n0\r\n\r\n")

    async with serving(handler) as server, transport() as t:
        response = await t.handle_async_request(request(server.url))
        stream: Any = response.stream
        arriving = aiter(stream.together())
        first = await anext(arriving)
        while len(first) < 4:
            first += await anext(arriving)
        assert first == [b"one", b"two", b"three", b"fo"]
        gate.set()
        rest = [chunk async for chunks in arriving for chunk in chunks]
        assert rest == [b"ur__", b"five"]
        await response.aclose()


async def test_what_breaks_off_breaks_off_for_who_takes_chunks_together() -> None:
    """Nothing that ended early looks whole."""

    async def handler(connection: Connection) -> None:
        await connection.request()
        await connection.say(CHUNKED + b"3\r\none\r\n3\r\ntw")

    async with serving(handler) as server, transport() as t:
        response = await t.handle_async_request(request(server.url))
        stream: Any = response.stream
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in stream.together():
                pass
        await response.aclose()


async def test_the_answer_begins_before_its_first_chunk_is_there() -> None:
    """Status and headers are handed over as soon as they came."""
    gate = asyncio.Event()

    async def handler(connection: Connection) -> None:
        await connection.request()
        await connection.say(CHUNKED)
        await gate.wait()
        await connection.say(b"2\r\nok\r\n0\r\n\r\n")

    async with serving(handler) as server, transport() as t:
        response = await t.handle_async_request(request(server.url))
        assert response.status_code == 200
        gate.set()
        assert await read(response) == [b"ok"]


# -- what it does not do --------------------------------------------------------------------------------------------


async def test_a_redirect_is_an_answer_and_a_cookie_is_forgotten() -> None:
    """A transport that many users share follows nothing and remembers nothing."""
    kept: list[bytes] = []
    answer = b"HTTP/1.1 302 Found\r\nlocation: /other\r\nset-cookie: user=ada\r\ncontent-length: 0\r\n\r\n"
    async with serving(always(answer, kept)) as server, transport() as t:
        for _ in range(2):
            response = await t.handle_async_request(request(f"{server.url}/one"))
            assert (response.status_code, response.headers["location"]) == (302, "/other")
            await read(response)
    assert len(kept) == 2
    assert not any(b"cookie" in each or b"/other" in each for each in kept)


async def test_a_compressed_body_stays_compressed() -> None:
    """Its bytes are the client's to unpack."""
    body = gzip.compress(b'{"data":[]}', mtime=0)
    answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    async with serving(always(answer)) as server, transport() as t:
        response = await t.handle_async_request(request(server.url))
        assert response.headers["content-encoding"] == "gzip"
        assert b"".join(await read(response)) == body


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where requests go is in the settings and nowhere else."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(always(OK)) as server, transport() as t:
        assert await read(await t.handle_async_request(request(server.url))) == [b"ok"]


async def test_an_answer_to_head_announces_a_body_that_does_not_come() -> None:
    """Nothing is waited for."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"
    async with serving(always(answer)) as server, transport() as t:
        response = await t.handle_async_request(request(server.url, "HEAD"))
        assert response.headers["content-length"] == "5000"
        assert await read(response) == []


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_answers_that_have_no_body_end_each_time(status: bytes) -> None:
    """aiohttp shares one empty stream among all of them: the second must not run in circles."""
    async with serving(always(b"HTTP/1.1 " + status + b"\r\n\r\n")) as server, transport() as t:
        for _ in range(3):
            assert await read(await t.handle_async_request(request(server.url, "POST"))) == []


# -- trouble --------------------------------------------------------------------------------------------------------


async def _reset_at_once(connection: Connection) -> None:
    await connection.request()
    connection.reset()


async def _close_at_once(connection: Connection) -> None:
    await connection.request()


async def _speak_nonsense(connection: Connection) -> None:
    await connection.request()
    await connection.say(b"220 mail.test ESMTP ready\r\n\r\n")


async def _endless_headers(connection: Connection) -> None:
    await connection.request()
    await connection.say(b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 300_000 + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (_close_at_once, httpx.RemoteProtocolError),
        (_reset_at_once, httpx.TransportError),
        (_speak_nonsense, httpx.TransportError),
        (_endless_headers, httpx.TransportError),
    ],
)
async def test_trouble_before_the_answer_is_one_of_httpx_errors(
    handler: Handler, expected: type[httpx.TransportError]
) -> None:
    """Its message names the kind of trouble, and neither host nor port."""
    async with serving(handler) as server, transport() as t:
        with pytest.raises(expected) as raised:
            await t.handle_async_request(request(server.url, "POST", b"{}"))
    assert "127.0.0.1" not in str(raised.value)
    assert server.connections == 1


async def test_nobody_listening_is_a_connect_error() -> None:
    """The address is not in the message: a base URL may hold credentials."""
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]
    async with transport() as t:
        with pytest.raises(httpx.ConnectError) as raised:
            await t.handle_async_request(request(f"http://127.0.0.1:{port}"))
    assert str(port) not in str(raised.value)


async def test_an_unknown_host_is_a_connect_error() -> None:
    """A name that no resolver may know (RFC 6761)."""
    async with transport() as t:
        with pytest.raises(httpx.ConnectError):
            await t.handle_async_request(request("http://nobody.invalid"))


async def test_a_connection_that_is_not_taken_is_a_connect_timeout() -> None:
    """The kernel of the other side drops what its full queue has no room for."""
    full = socket.socket()
    waiting: list[socket.socket] = []
    with full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(full.getsockname())
            waiting.append(one)
        asked = request(f"http://127.0.0.1:{full.getsockname()[1]}")
        asked.extensions["timeout"]["connect"] = 0.05
        async with transport() as t:
            with pytest.raises(httpx.ConnectTimeout):
                await t.handle_async_request(asked)
        for one in waiting:
            one.close()


@pytest.mark.parametrize(
    "head", [CHUNKED + b"3\r\none\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\none"]
)
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_cut_in_mid_answer_is_an_error_behind_what_came(head: bytes, how: str) -> None:
    """Chunked or with a length, closed or reset: never an end."""
    gate = asyncio.Event()

    async def handler(connection: Connection) -> None:
        await connection.request()
        await connection.say(head)
        await gate.wait()
        if how == "reset":
            connection.reset()

    async with serving(handler) as server, transport() as t:
        response = await t.handle_async_request(request(server.url, "POST", b"{}"))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        arriving = aiter(response.stream)
        assert await anext(arriving) == b"one"
        gate.set()
        with pytest.raises(httpx.TransportError) as raised:
            await anext(arriving)
        await response.aclose()
    assert "127.0.0.1" not in str(raised.value)


# -- connections ----------------------------------------------------------------------------------------------------


async def test_closing_an_answer_early_closes_the_connection_at_once() -> None:
    """The provider hears of it, instead of producing for nobody."""
    left = asyncio.Event()

    async def handler(connection: Connection) -> None:
        await connection.request()
        await connection.say(CHUNKED + b"3\r\none\r\n")
        await connection.left()
        left.set()

    async with serving(handler) as server, transport() as t:
        response = await t.handle_async_request(request(server.url))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        assert await anext(aiter(response.stream)) == b"one"
        await response.aclose()
        await asyncio.wait_for(left.wait(), PATIENCE_S)


async def test_cancelling_a_request_closes_its_connection() -> None:
    """While it waits for the answer to begin."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def handler(connection: Connection) -> None:
        await connection.request()
        asked.set()
        await connection.left()
        left.set()

    async with serving(handler) as server, transport() as t:
        task = asyncio.create_task(t.handle_async_request(request(server.url)))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(left.wait(), PATIENCE_S)


async def test_a_connection_whose_answer_was_read_is_used_again() -> None:
    """Also when the upstream layer closes the answer afterwards."""
    async with serving(always(OK)) as server, transport() as t:
        for _ in range(3):
            assert await read(await t.handle_async_request(request(server.url, "POST", b"{}"))) == [b"ok"]
    assert server.connections == 1


async def test_a_connection_that_was_closed_while_idle_is_not_used_again() -> None:
    """What the event loop has heard of costs nothing: a new connection is made, also for a POST."""
    closed = asyncio.Event()

    async def once(connection: Connection) -> None:
        await connection.request()
        await connection.say(OK)
        if server.connections == 1:
            connection.writer.close()
            await connection.writer.wait_closed()
            closed.set()

    async with serving(once) as server, transport() as t:
        assert await read(await t.handle_async_request(request(server.url, "POST", b"{}"))) == [b"ok"]
        await closed.wait()
        await _heard_of_it(t)
        assert await read(await t.handle_async_request(request(server.url, "POST", b"{}"))) == [b"ok"]
    assert server.connections == 2


async def _heard_of_it(t: AiohttpTransport) -> None:
    """Let the event loop read the FIN: one exchange on another connection takes longer than that."""
    async with serving(always(OK)) as other:
        await read(await t.handle_async_request(request(other.url)))


@pytest.mark.parametrize(("method", "connections"), [("GET", 2), ("POST", 1)])
async def test_a_connection_that_is_closed_just_when_it_is_used_again(method: str, connections: int) -> None:
    """The known race of pooled connections: a GET is sent anew, a POST is not, because it might count twice."""

    async def fickle(connection: Connection) -> None:
        await connection.request()
        await connection.say(OK)
        await connection.request()
        if server.connections > 1:
            await connection.say(OK)

    async def handler(connection: Connection) -> None:
        if server.connections > 1:
            await always(OK)(connection)
        else:
            await fickle(connection)

    async with serving(handler) as server, transport() as t:
        await read(await t.handle_async_request(request(server.url)))
        again = t.handle_async_request(request(server.url, method))
        if method == "GET":
            assert await read(await again) == [b"ok"]
        else:
            with pytest.raises(httpx.RemoteProtocolError, match="ServerDisconnectedError"):
                await again
    assert server.connections == connections


async def test_closing_the_transport_closes_idle_connections_and_it_can_open_again() -> None:
    """A gateway whose lifespan begins a second time has its transport back."""
    left = asyncio.Event()

    async def handler(connection: Connection) -> None:
        await connection.request()
        await connection.say(OK)
        await connection.left()
        left.set()

    async with serving(handler) as server, transport() as t:
        await read(await t.handle_async_request(request(server.url)))
        await t.aclose()
        await asyncio.wait_for(left.wait(), PATIENCE_S)
        assert await read(await t.handle_async_request(request(server.url))) == [b"ok"]
    assert server.connections == 2


async def test_a_bound_of_connections_makes_the_next_request_wait() -> None:
    """For whoever wants one; the gateway sets none."""
    gate = asyncio.Event()

    async def handler(connection: Connection) -> None:
        while True:
            await connection.request()
            await gate.wait()
            await connection.say(OK)

    async with serving(handler) as server, transport(max_connections=1) as t:

        async def ask() -> list[bytes]:
            return await read(await t.handle_async_request(request(server.url)))

        asking = [asyncio.create_task(ask()) for _ in range(3)]
        gate.set()
        assert await asyncio.gather(*asking) == [[b"ok"]] * 3
    assert server.connections == 1
