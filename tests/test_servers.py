"""The loopback servers: ready when the block begins, silent when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from tests.servers import SERVERS, Server, serving

each_server = pytest.mark.parametrize("server", SERVERS)


@each_server
async def test_the_lifespan_of_the_app_surrounds_the_block(server: Server) -> None:
    """Start-up is over when the block begins, shutdown when it has ended."""
    told: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        told.append("up")
        yield
        told.append("down")

    async with serving(Starlette(lifespan=lifespan), server) as base_url:
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{base_url}/nowhere")).status_code == 404
        assert told == ["up"]
    assert told == ["up", "down"]


@each_server
async def test_an_app_without_a_lifespan_is_served(server: Server) -> None:
    """A bare ASGI app that knows HTTP only is ready at once."""

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("http only")
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with serving(bare, server) as base_url, httpx.AsyncClient() as client:
        assert (await client.get(base_url)).status_code == 204


@each_server
async def test_a_failed_start_comes_out(server: Server) -> None:
    """Nobody waits for a server whose app could not start."""

    class Lifespan:
        def __init__(self, app: Starlette) -> None: ...

        async def __aenter__(self) -> None:
            raise OSError("no database")

        async def __aexit__(self, *exc_info: object) -> None: ...

    with pytest.raises(Exception, match=r"ended before|startup|Lifespan"):
        async with serving(Starlette(lifespan=Lifespan), server):
            pytest.fail("the block must not begin")


@each_server
async def test_a_stream_left_open_does_not_hold_the_end(server: Server) -> None:
    """An answer that never ends is cut when the block ends."""

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await asyncio.Event().wait()

    async with httpx.AsyncClient() as client:
        async with serving(endless, server) as base_url:
            stream = client.stream("GET", base_url)
            answer = await stream.__aenter__()
            chunks = answer.aiter_raw()
            assert await anext(chunks) == b"one"
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(chunks)
        await stream.__aexit__(None, None, None)
