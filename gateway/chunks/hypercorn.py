"""hypercorn that writes several chunks of an answer in one go, each still in an HTTP chunk of its own.

A chunk by itself is framed here too: h11 would cost some 20 µs more for it. Only answers of HTTP/1.1 without a
declared length are cut in chunks; over HTTP/2 a chunk means nothing. hypercorn has no hook for this: the class that it
makes of each HTTP/1 request is replaced by one of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypercorn.protocol import h11 as hypercorn_h11
from hypercorn.protocol.events import Data
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.utils import suppress_body

from gateway.chunks import framed, tell
from middleware.exchange import CHUNKS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class ChunkedStream(HTTPStream):
    """A request over HTTP/1 whose answer may come several chunks at a time."""

    _chunked: bool | None = None
    """Whether the answer's framing is that of chunks; not known before its first piece."""

    async def app_send(self, message: Any) -> None:
        if message is not None and message["type"] == "http.response.body" and self._cuts():
            if body := message.get("body"):
                # Data goes to the connection as it is: the framing that h11 would do is done.
                data = framed(message.get(CHUNKS) or (body,))
                await self.send(Data(stream_id=self.stream_id, data=data))
            if message.get("more_body", False):
                return
            message = {**message, "body": b""}
        await super().app_send(message)

    def _cuts(self) -> bool:
        """Whether the answer is under way in chunks (RFC 9112, section 7.1)."""
        if self.closed or self.state is not ASGIHTTPState.RESPONSE:
            return False
        if self._chunked is None:
            self._chunked = (
                self.scope["http_version"] == "1.1"
                and not suppress_body(self.scope["method"], int(self.response["status"]))
                and all(name.lower() != b"content-length" for name, _ in self.response["headers"])
            )
        return self._chunked


def write_chunks_together() -> None:
    """Make hypercorn use `ChunkedStream` from now on, in this process."""
    hypercorn_h11.HTTPStream = ChunkedStream  # type: ignore[attr-defined]


def taking_chunks(app: ASGIApp) -> ASGIApp:
    """Tell the application that this server takes several chunks at once."""

    async def telling(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["http_version"] == "1.1":
            tell(scope)
        await app(scope, receive, send)

    return telling
