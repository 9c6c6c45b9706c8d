"""uvicorn that writes several chunks of an answer in one go, each still in an HTTP chunk of its own.

    from gateway.chunks.uvicorn import write_chunks_together
    write_chunks_together()
    uvicorn.run(app)

For hosts that run the gateway under uvicorn with httptools, which `uvicorn[standard]` has; with h11, and without this,
each chunk is written by itself. uvicorn has no hook: the class that it makes of each request is replaced by ours.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.chunks import framed, tell
from middleware.exchange import CHUNKS


class ChunkedCycle(RequestResponseCycle):
    """A request whose answer may come several chunks at a time."""

    def __init__(self, scope: Any, *args: Any, **kwargs: Any) -> None:
        if scope["http_version"] == "1.1":
            tell(scope)
        super().__init__(scope, *args, **kwargs)

    async def send(self, message: Any) -> None:
        if CHUNKS in message and self._cuts():
            if self.flow.write_paused and not self.disconnected:
                await self.flow.drain()
            if not self.disconnected:
                self.transport.write(framed(message[CHUNKS]))
            if message.get("more_body", False):
                return
            message = {**message, "body": b""}
        await super().send(message)

    def _cuts(self) -> bool:
        """Whether the answer is under way and its framing is that of chunks."""
        under_way = self.response_started and not self.response_complete
        return under_way and self.chunked_encoding is True and self.scope["method"] != "HEAD"


def write_chunks_together() -> None:
    """Make uvicorn use `ChunkedCycle` from now on, in this process, where it parses with httptools."""
    httptools_impl.RequestResponseCycle = ChunkedCycle  # type: ignore[misc]
