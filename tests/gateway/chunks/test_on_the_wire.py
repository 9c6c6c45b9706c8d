"""Several chunks in one go, on real sockets: as `ai-gateway serve` writes them, and as uvicorn does when asked to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeAlias

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.app import create_app
from gateway.chunks import framed
from gateway.chunks.uvicorn import write_chunks_together
from gateway.server import without_lifespan
from middleware.exchange import CHUNKS
from recorders.stores.memory import MemoryStore
from tests.answers import anthropic
from tests.answers.turn import Turn
from tests.gateway.connected import Client
from tests.gateway.connected import connected as connected_to_hypercorn
from tests.gateway.rig import TOKEN, gateway_settings
from tests.servers import serving
from tests.waiting import PATIENCE_S

Connected: TypeAlias = Callable[[ASGIApp], AbstractAsyncContextManager[Client]]

GET: Final = b"GET / HTTP/1.1\r\nhost: gateway.test\r\n\r\n"
THREE: Final = (b"one", b"two\r\n", b"three")
THREE_FRAMED: Final = b"3\r\none\r\n5\r\ntwo\r\n\r\n5\r\nthree\r\n"


class Site:
    """Answers with chunks at once, and tells what the server said that it can do."""

    def __init__(self, *bodies: dict[str, Any], headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.bodies = bodies
        self.headers = headers
        self.extensions: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.extensions = scope.get("extensions", {})
        await send({"type": "http.response.start", "status": 200, "headers": list(self.headers)})
        for body in self.bodies:
            await send({"type": "http.response.body", **body})


def together(*chunks: bytes, more: bool) -> dict[str, Any]:
    return {"body": b"".join(chunks), "more_body": more, CHUNKS: list(chunks)}


@pytest.fixture(params=["hypercorn", "uvicorn"])
def connected(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Connected:
    """A connection to an application under a server that takes chunks."""
    if request.param == "hypercorn":
        return connected_to_hypercorn
    monkeypatch.setattr(httptools_impl, "RequestResponseCycle", RequestResponseCycle)  # put back at the end
    write_chunks_together()
    return connected_to_uvicorn


@asynccontextmanager
async def connected_to_uvicorn(app: ASGIApp) -> AsyncIterator[Client]:
    async with serving(without_lifespan(app), "uvicorn with httptools") as url:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield reader, writer
        finally:
            writer.close()


async def answer_to(connected: Connected, app: Any, request: bytes, *, until: bytes) -> bytes:
    """Head and body as they stood on the wire."""
    async with connected(app) as (reader, writer), asyncio.timeout(PATIENCE_S):
        writer.write(request)
        return await reader.readuntil(until)


@pytest.mark.parametrize("more", [True, False])
async def test_each_piece_stands_in_a_chunk_of_its_own(connected: Connected, more: bool) -> None:
    """Also where the last message holds several, and the connection goes on after it."""
    bodies = [together(*THREE, more=more)] + ([{"body": b"", "more_body": False}] if more else [])
    site = Site(*bodies)
    async with connected(site) as (reader, writer), asyncio.timeout(PATIENCE_S):
        for _ in range(2):
            writer.write(GET)
            raw = await reader.readuntil(b"\r\n0\r\n\r\n")
            assert raw.partition(b"\r\n\r\n")[2] == THREE_FRAMED + b"0\r\n\r\n"
    assert CHUNKS in site.extensions


async def test_an_answer_with_a_length_is_not_cut(connected: Connected) -> None:
    """There are no chunks in it."""
    site = Site(together(*THREE, more=False), headers=[(b"content-length", b"13")])
    raw = await answer_to(connected, site, GET, until=b"three")
    assert raw.partition(b"\r\n\r\n")[2] == b"".join(THREE)


async def test_a_client_of_http_1_0_gets_the_bytes_alone() -> None:
    """It knows no chunks, and isn't promised any. (uvicorn sends it chunks, with or without us.)"""
    site = Site(together(*THREE, more=False))
    raw = await answer_to(connected_to_hypercorn, site, b"GET / HTTP/1.0\r\n\r\n", until=b"three")
    assert raw.partition(b"\r\n\r\n")[2] == b"".join(THREE)
    assert CHUNKS not in site.extensions


async def test_an_answer_to_head_has_no_body(connected: Connected) -> None:
    """Whatever the application says; the next request finds the connection in order."""
    site = Site(together(*THREE, more=False))
    async with connected(site) as (reader, writer), asyncio.timeout(PATIENCE_S):
        writer.write(GET.replace(b"GET", b"HEAD") + GET)
        await reader.readuntil(b"\r\n\r\n")
        raw = await reader.readuntil(b"\r\n0\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 200")


def test_an_empty_piece_does_not_end_the_body() -> None:
    """An empty chunk would."""
    assert framed([b"one", b"", b"two"]) == b"3\r\none\r\n3\r\ntwo\r\n"
    assert framed([]) == b""


async def test_the_chunks_on_the_wire_are_the_providers_also_when_they_arrive_together(
    connected: Connected,
) -> None:
    """A whole gateway: the provider writes its stream at once, and the client gets the same chunks, byte for byte."""
    events = anthropic.events(Turn(text="one two three four five", thought="hm hm"))
    stream = framed(events) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

    async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b'"stream":true}')
        writer.write(head + stream)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(provider, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    store = MemoryStore()
    app = create_app(gateway_settings(f"http://127.0.0.1:{port}"), store=store)
    body = b'{"model":"m","stream":true}'
    request = (
        b"POST /anthropic/v1/messages HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer %b\r\n"
        b"content-length: %d\r\n\r\n%b" % (TOKEN.encode(), len(body), body)
    )
    async with listening, app.lifespan():
        raw = await answer_to(connected, app, request, until=b"\r\n0\r\n\r\n")
        assert raw.partition(b"\r\n\r\n")[2] == stream
        assert await app.drain.flush(PATIENCE_S)
    assert [end.outcome for end in store.ends] == ["completed"]
