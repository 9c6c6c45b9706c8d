"""Takes in a request body whole, and gives one to the application inside.

No layer, but what several layers do with `receive`. The layer that meets the client's body first bounds it; those
inside read what that one replays. A client that leaves before its body is there ends the request (`ClientLeft`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from middleware.errors import BodyTooLarge, ClientLeft

if TYPE_CHECKING:
    from starlette.types import Message, Receive

    from middleware.exchange import Exchange


async def whole_body(receive: Receive, exchange: Exchange, *, max_bytes: int | None = None) -> bytes:
    """The body, read to its end. Raises `BodyTooLarge` with the piece that passes the limit, and `ClientLeft`."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            exchange.client_left = True
            raise ClientLeft
        piece = message.get("body", b"")
        size += len(piece)
        if max_bytes is not None and size > max_bytes:
            raise BodyTooLarge(max_bytes)
        pieces.append(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body first and is the real one afterwards, which tells when the client leaves."""
    kept: bytes | None = body
    del body

    async def receive_again() -> Message:
        nonlocal kept
        if kept is None:
            return await receive()
        given, kept = kept, None  # a stream may stay open for an hour, and its request's body need not
        return {"type": "http.request", "body": given, "more_body": False}

    return receive_again
