"""Connections on a real socket: let go when their client lets go, and not when the time to keep them alive is over."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest
from starlette.types import Receive, Scope, Send

from tests.gateway.connected import Client, connected
from tests.waiting import PATIENCE_S

REQUEST: Final = b"GET / HTTP/1.1\r\nhost: gateway.test\r\n\r\n"
HTTP2_REQUEST: Final = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # SETTINGS
    b"\x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x84\x86\x41\x01g"  # HEADERS: GET http://g/
)


class Site:
    """Answers `/`, at once or when its client has left, where it does not end without an answer then."""

    def __init__(self, *, waits: bool = False, answers: bool = True) -> None:
        self.waits, self.answers = waits, answers
        self.asked = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.set()
        if self.waits:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()
        if not self.answers:
            return
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


async def closed_by_the_server(client: Client) -> bytes:
    """What was still to read when the client has ended its side and the server has ended its own."""
    reader, writer = client
    writer.write_eof()
    async with asyncio.timeout(PATIENCE_S):
        return await reader.read()


async def test_a_connection_that_asked_for_nothing_ends_with_its_client() -> None:
    """A port scan, or a client that had opened one to spare."""
    async with connected(Site()) as client:
        assert await closed_by_the_server(client) == b""


async def test_an_idle_connection_ends_with_its_client() -> None:
    """After an answer the server would have kept it for the next request."""
    async with connected(Site()) as client:
        reader, writer = client
        for _ in range(2):  # it is kept while the client is there
            writer.write(REQUEST)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        assert await closed_by_the_server(client) == b""


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("request_bytes", [REQUEST, HTTP2_REQUEST], ids=["HTTP/1.1", "HTTP/2"])
async def test_a_connection_whose_client_leaves_amid_a_request_ends_with_that(
    request_bytes: bytes, answers: bool
) -> None:
    """The request learns of it, and is not held up by an answer that nobody takes."""
    site = Site(waits=True, answers=answers)
    async with connected(site) as client:
        client[1].write(request_bytes)
        await site.asked.wait()
        await closed_by_the_server(client)
        assert site.left.is_set()
