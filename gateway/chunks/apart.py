"""Sends chunks that arrived together one by one, or as one, to a server that takes no more than one a message.

Inside the gateway they travel together under any server, so that reading and recording them costs once for all. At its
edge there is a message for each, which keeps the provider's chunks, or one for all, which costs the server least.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from middleware.exchange import CHUNKS

if TYPE_CHECKING:
    from starlette.types import Message, Send


def apart(send: Send) -> Send:
    """A `send` that makes a message of each chunk."""

    async def send_apart(message: Message) -> None:
        chunks = message.get(CHUNKS)
        if not chunks:
            await send(message)
            return
        more, last = message.get("more_body", False), len(chunks) - 1
        for number, chunk in enumerate(chunks):
            await send({"type": "http.response.body", "body": chunk, "more_body": more or number < last})

    return send_apart


def merged(send: Send) -> Send:
    """A `send` that makes one message of them all."""

    async def send_merged(message: Message) -> None:
        if CHUNKS in message:
            message = {name: value for name, value in message.items() if name != CHUNKS}
        await send(message)

    return send_merged
