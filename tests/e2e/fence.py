"""The end of the world for a client under test: the only proxy it knows refuses everything, and takes notes.

Whoever obeys `HTTP_PROXY` and `HTTPS_PROXY` comes here with every request that is not for loopback.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Fence:
    """`attempts` holds the request line of each attempt to get out."""

    url: str = ""
    attempts: list[str] = field(default_factory=list)

    async def refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if line:
            self.attempts.append(line.decode("latin-1").strip())
            writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()


@asynccontextmanager
async def fenced() -> AsyncIterator[Fence]:
    fence = Fence()
    server = await asyncio.start_server(fence.refuse, "127.0.0.1", 0)
    fence.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield fence
