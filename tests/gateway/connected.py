"""A client's bare connection to an application that is served as `ai-gateway serve` does it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

from starlette.types import ASGIApp

from gateway.server import serve_until, without_lifespan

Client: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(app: ASGIApp) -> AsyncIterator[Client]:
    """The application is asked for requests alone; its lifespan is the test's."""
    listener, stop = socket.create_server(("127.0.0.1", 0)), asyncio.Event()
    host, port = listener.getsockname()
    serving = asyncio.create_task(serve_until(without_lifespan(app), listener, stop, grace_s=1.0))
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.close()
        stop.set()
        await serving
