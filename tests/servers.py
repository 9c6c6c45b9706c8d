"""Runs any ASGI app on a loopback socket, under hypercorn or uvicorn, in the event loop of the test.

    async with serving(app, "uvicorn") as base_url: ...

The port is the kernel's choice and already open before the server begins, so nobody is refused; the block begins
when the app has started, and a start-up that fails comes out as an exception. At the end the server closes its
idle connections, gives open ones `GRACE_S` and ends. Only for what only a socket shows: `tests.asgi` drives apps
without one.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeAlias, cast

import hypercorn.asyncio
import hypercorn.config
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Server: TypeAlias = Literal["hypercorn", "uvicorn", "uvicorn with httptools"]
SERVERS: tuple[Server, ...] = ("hypercorn", "uvicorn")

GRACE_S = 1

log = logging.getLogger("tests.servers")


@asynccontextmanager
async def serving(app: ASGIApp, server: Server = "hypercorn") -> AsyncIterator[str]:
    """Serve `app` on a free loopback port; the base URL, without a slash at its end, is what the block gets."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    stop = asyncio.Event()
    watched = _StartWatch(app)
    match server:
        case "hypercorn":
            running = _hypercorn(watched, listener, stop)
        case "uvicorn":  # of its two parsers the strict one, alike wherever the tests run
            running = _uvicorn(watched, listener, stop, http="h11")
        case "uvicorn with httptools":
            running = _uvicorn(watched, listener, stop, http="httptools")
    task = asyncio.create_task(running, name=f"{server} on {port}")
    task.add_done_callback(lambda _: watched.started.set())
    try:
        await watched.started.wait()
        if task.done():
            await task
            raise RuntimeError(f"{server} ended before it had started")
        yield f"http://127.0.0.1:{port}"
    finally:
        stop.set()
        await asyncio.wait([task])
        listener.close()
    await task


class _StartWatch:
    """Tells when the app's lifespan has started, or has shown that it has none. A failed one ends the server."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.started = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return

        failed = False

        async def watch(message: Message) -> None:
            nonlocal failed
            failed = failed or message["type"] == "lifespan.startup.failed"
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                self.started.set()

        try:
            await self.app(scope, receive, watch)
        finally:
            if not failed:
                self.started.set()


async def _hypercorn(app: ASGIApp, listener: socket.socket, stop: asyncio.Event) -> None:
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.graceful_timeout = GRACE_S
    config.errorlog = log
    await hypercorn.asyncio.serve(cast("Any", app), config, shutdown_trigger=stop.wait)


async def _uvicorn(
    app: ASGIApp, listener: socket.socket, stop: asyncio.Event, *, http: Literal["h11", "httptools"]
) -> None:
    config = uvicorn.Config(
        app, http=http, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE_S
    )
    server = uvicorn.Server(config)
    stopper = asyncio.create_task(_stop_uvicorn(server, stop))
    try:
        await server.serve(sockets=[listener])
    except SystemExit as exit_of_uvicorn:
        raise RuntimeError("uvicorn ended before it had started") from exit_of_uvicorn
    finally:
        stopper.cancel()


async def _stop_uvicorn(server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True
